'use strict';
// The figures of the page.

H.groups = rows => [...new Set(rows.map(r => r.group))];
H.rowName = r => r.row > 0 ? `${r.row}. ${r.title}` : r.title;
H.fraction = {
  low: 0,
  text: v => String(+(v * 100).toFixed(1))
};
H.accuracyTop = values => Math.min(1, Math.ceil((Math.max(0.1, ...values.filter(H.known)) + 0.02) * 10) / 10);

// Both sources side by side, a row at a time.
H.bars = rows => {
  let suite = 'recall';
  const shown = rows.slice(0, 60);
  const draw = (box, legend) => {
    const top = H.accuracyTop(shown.flatMap(r => [r[suite] + (r[suite + '_stderr'] || 0), r.paper && r.paper[suite]]));
    const plot = H.plot(box, {
      label: 'Accuracy by row',
      x: {
        low: 0.5,
        high: shown.length + 0.5,
        bare: true,
        label: 'Row',
        ticks: shown.map((_, i) => i + 1),
        text: i => shown[i - 1].row || 'own'
      },
      y: {...H.fraction, high: top, label: (suite === 'recall' ? 'Recall' : 'General') + ' accuracy, %'}
    });
    const groups = H.groups(rows), wide = Math.min(24, (plot.edge.right - plot.edge.left) / shown.length * 0.36);
    shown.forEach((r, i) => {
      const x = plot.x(i + 1), color = H.color(groups.indexOf(r.group));
      const bar = (left, v, kind, lines) => {
        const node = H.svg('rect', {
          class: kind,
          x: left,
          y: plot.y(v),
          width: wide,
          height: Math.max(0, plot.edge.bottom - plot.y(v)),
          rx: 2,
          style: kind === 'ours' ? `fill:${color}` : `stroke:${color};fill:${color}`
        });
        H.hover(node, H.rowName(r) + (kind === 'ours' ? '' : ' (paper)'), lines);
        plot.svg.append(node);
      };
      const error = r[suite + '_stderr'];
      if (H.known(r[suite])) {
        bar(x - wide - 1, r[suite], 'ours',
            [['accuracy', H.percent(r[suite]) + (H.known(error) ? ' ±' + H.percent(error) : '') + ' %']]);
        if (H.known(error))
          H.whisker(plot.svg, x - wide / 2 - 1, plot.y(r[suite] - error), plot.y(r[suite] + error), 3);
      } else {
        plot.svg.append(H.svg(
            'text', {class: 'tick', transform: `translate(${x - wide / 2 + 3} ${plot.edge.bottom - 5}) rotate(-90)`},
            'not run'));
      }
      if (r.paper) bar(x + 1, r.paper[suite], 'paper', [['accuracy', H.percent(r.paper[suite]) + ' %']]);
      const chance = r.chance[suite];
      if (H.known(chance))
        plot.svg.append(H.svg(
            'line', {class: 'chance', x1: x - wide - 3, x2: x + wide + 3, y1: plot.y(chance), y2: plot.y(chance)}));
    });
    legend.replaceChildren(
        ...groups.slice(0, 20).map((g, i) => H.el('span', {}, H.el('i', {style: `background:${H.color(i)}`}), g)),
        H.el('span', {}, H.el('i', {class: 'filled'}), 'ours'), H.el('span', {}, H.el('i', {class: 'ring'}), 'paper'),
        H.el('span', {}, H.el('i', {class: 'dashed'}), 'chance'));
  };
  return H.figure({
    name: 'accuracy-by-row',
    title: 'Accuracy by row',
    draw,
    caption: 'Whiskers: one standard error, of the items and of the spread between seeds.' +
        (rows.length > 60 ? ` The first 60 of ${rows.length} designs.` : ''),
    controls: redraw => H.choice(
        'Accuracy', [['recall', 'recall'], ['general', 'general']], suite,
        v => {
          suite = v;
          redraw();
        }),
    table: () => [
        ['row', 'design', suite, 'stderr', 'paper', 'chance'],
        ...rows.map(
            r =>
                [r.row || null, r.title, r[suite], r[suite + '_stderr'], r.paper ? r.paper[suite] : null,
                 r.chance[suite]])]
  });
};

// Lines of named series; the legend turns designs on and off.
// spec: {id, title, caption, xLabel, yLabel, xLog, series: [{name, design, points: [[x, y, error]]}], percent, chance}
H.lines = spec => {
  const designs = [...new Set(spec.series.map(s => s.design))], hidden = new Set(designs.slice(24));
  const names = new Map(spec.series.map(s => [s.design, s.name]));
  const text = spec.percent ? v => H.percent(v) + ' %' : v => v.toFixed(4);
  const draw = (box, legend) => {
    const shown = spec.series.filter(s => !hidden.has(s.design)),
          all = shown.flatMap(s => s.points).filter(p => H.known(p[1]));
    const xs = all.map(p => p[0]), ys = all.map(p => p[1] + (H.known(p[2]) ? p[2] : 0));
    const fold = (f, list, empty) => list.length ? list.reduce((a, b) => f(a, b)) : empty;
    const left = fold(Math.min, xs, 0), right = fold(Math.max, xs, 1), bottom = fold(Math.min, ys, 0),
          top = fold(Math.max, ys, 1);
    const pad = (right - left || 1) * 0.03, room = (top - bottom || 1) * 0.06;
    const log = spec.xLog && left > 0;
    const plot = H.plot(box, {
      label: spec.title,
      x: {
        low: log          ? left / 1.1 :
            spec.fromZero ? 0 :
                            left - pad,
        high: log ? right * 1.1 : right + pad,
        log,
        label: spec.xLabel,
        text: v => H.count(v) || '0',
        ticks: log ? [...new Set(xs)].sort((a, b) => a - b).slice(0, 40) : null
      },
      y: spec.percent ? {...H.fraction, high: H.accuracyTop(ys), label: spec.yLabel} :
                        {low: bottom - room, high: top + room, label: spec.yLabel, text: v => String(+v.toFixed(2))}
    });
    if (H.known(spec.chance))
      plot.svg.append(H.svg('line', {
        class: 'chance',
        x1: plot.edge.left,
        x2: plot.edge.right,
        y1: plot.y(spec.chance),
        y2: plot.y(spec.chance)
      }));
    for (const s of shown) {
      const at = designs.indexOf(s.design), points = s.points.filter(p => H.known(p[1]));
      plot.svg.append(H.svg('path', {
        class: 'line',
        'data-design': at,
        style: `stroke:${H.color(at)}`,
        'stroke-dasharray': H.dash(at),
        d: points.map((p, i) => (i ? 'L' : 'M') + plot.x(p[0]).toFixed(1) + ' ' + plot.y(p[1]).toFixed(1)).join('')
      }));
      if (points.length > 40) continue;
      for (const p of points) {
        if (H.known(p[2])) H.whisker(plot.svg, plot.x(p[0]), plot.y(Math.max(0, p[1] - p[2])), plot.y(spec.percent ? Math.min(1, p[1] + p[2]) : p[1] + p[2]), 2);
        plot.svg.append(
            H.svg('circle', {class: 'ours', cx: plot.x(p[0]), cy: plot.y(p[1]), r: 3.5, style: `fill:${H.color(at)}`}));
      }
    }
    H.nearest(plot, shown, p => [[spec.xLabel, H.count(p[0]) || '0'], [spec.yLabel, text(p[1])]]);
    H.toggles(legend, designs, names, hidden, plot.svg, () => draw(box, legend));
  };
  return H.figure({
    name: spec.id,
    title: spec.title,
    caption: spec.caption,
    draw,
    table: () => [
        ['design', 'seed', spec.xLabel, spec.yLabel, 'stderr'],
        ...spec.series.flatMap(s => s.points.map(p => [s.name, s.seed, p[0], p[1], p[2]]))]
  });
};

// The point nearest to the pointer, over all the plot's area.
H.nearest = (plot, shown, lines) => {
  const ring = H.svg('circle', {class: 'ring', r: 6, visibility: 'hidden'});
  plot.svg.append(ring);
  plot.svg.addEventListener('pointermove', event => {
    const box = plot.svg.getBoundingClientRect(), mx = event.clientX - box.left, my = event.clientY - box.top;
    let best = null;
    for (const s of shown)
      for (const p of s.points) {
        if (!H.known(p[1])) continue;
        const d = Math.hypot(plot.x(p[0]) - mx, plot.y(p[1]) - my);
        if (!best || d < best.d) best = {d, s, p};
      }
    const near = best && best.d < 40;
    ring.setAttribute('visibility', near ? 'visible' : 'hidden');
    if (!near) return H.tip(null);
    ring.setAttribute('cx', plot.x(best.p[0]));
    ring.setAttribute('cy', plot.y(best.p[1]));
    H.tip(best.s.name, lines(best.p), {x: event.clientX, y: event.clientY});
  });
  plot.svg.addEventListener('pointerleave', () => {
    ring.setAttribute('visibility', 'hidden');
    H.tip(null);
  });
};

H.toggles = (legend, designs, names, hidden, svg, redraw) => {
  const focused =
      document.activeElement && legend.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const emphasize = at => svg.querySelectorAll('.line').forEach(
      l => l.classList.toggle('faint', at !== null && l.dataset.design !== String(at)));
  const button = (key, pressed, click, ...kids) => H.el(
      'button', {
        type: 'button',
        class: 'toggle',
        'data-key': key,
        'aria-pressed': pressed,
        onclick: click,
        onpointerenter: () => emphasize(/^\d+$/.test(key) ? key : null),
        onpointerleave: () => emphasize(null)
      },
      ...kids);
  const allShown = hidden.size === 0;
  legend.replaceChildren(
      button(
          'all', null,
          () => {
            if (allShown)
              designs.forEach(d => hidden.add(d));
            else
              hidden.clear();
            redraw();
          },
          allShown ? 'hide all' : 'show all'),
      ...designs.slice(0, 60).map(
          (d, i) => button(
              String(i), String(!hidden.has(d)),
              () => {
                if (hidden.has(d))
                  hidden.delete(d);
                else
                  hidden.add(d);
                redraw();
              },
              H.svg(
                  'svg', {width: 22, height: 8, 'aria-hidden': 'true'},
                  H.svg(
                      'path',
                      {class: 'line', d: 'M1 4H21', style: `stroke:${H.color(i)}`, 'stroke-dasharray': H.dash(i)})),
              names.get(d))));
  if (focused !== null) {
    const again = [...legend.children].find(c => c.dataset.key === focused);
    if (again) again.focus();
  }
};
