'use strict';
// The table of the roadmap, its details, and the page as a whole.
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  H.shared = data.shared;  // what rows say alike: they hold indices
  for (const roadmap of data.roadmaps) {
    for (const row of roadmap.rows) row.at_paper_shapes = H.shared[row.at_paper_shapes];
  }
  const ratio = text => {
    const [a, m] = (text || '').split(':').map(Number);
    return text ? m / a : NaN;
  };
  const points = v => H.minus((v > 0 ? '+' : '') + (v * 100).toFixed(2));
  const times = v => '×' + (v >= 100 ? v.toFixed(0) : +v.toPrecision(3));
  const minusOf = (a, b) => a - b, over = (a, b) => a / b;

  // Each column is of one size: the paper's shapes or the roadmap's own.
  const shown = {
    ratio: r => r.at_paper_shapes.counted ? r.at_paper_shapes.ratio : r.ratio,
    cache: r => r.at_paper_shapes.counted ? r.at_paper_shapes.cache_mb : r.cache_mb_paper,
    decode: r => r.at_paper_shapes.timed ? r.at_paper_shapes.decode_tok_s : r.decode_tok_s
  };

  // ours and paper give numbers to sort by; a column with `text` shows them with a bar.
  const columns = [
    {key: 'row', title: '#', ours: r => r.row || Infinity},
    {key: 'design', title: 'Design', ours: r => r.title, words: true},
    {key: 'ratio', title: 'Attn : Mamba', ours: r => ratio(shown.ratio(r)), paper: p => ratio(p.ratio)}, {
      key: 'general',
      title: 'General, %',
      ours: r => r.general,
      paper: p => p.general,
      error: r => r.general_stderr,
      text: H.percent,
      difference: minusOf,
      differenceText: points,
      shared: true
    },
    {
      key: 'recall',
      title: 'Recall, %',
      ours: r => r.recall,
      paper: p => p.recall,
      error: r => r.recall_stderr,
      text: H.percent,
      difference: minusOf,
      differenceText: points,
      shared: true
    },
    {
      key: 'decode',
      title: 'Decode, tok/s',
      ours: r => shown.decode(r),
      paper: p => p.throughput_tok_s,
      text: H.speed,
      difference: over,
      differenceText: times,
      note: r => {
        const of = r.at_paper_shapes.timed ? r.at_paper_shapes : r;
        return of.batch && of.batch < of.batch_asked ? `batch ${of.batch} of ${of.batch_asked}` : null;
      }
    },
    {
      key: 'cache',
      title: 'Cache, MB',
      ours: r => shown.cache(r),
      paper: p => p.cache_mb,
      text: H.mega,
      difference: over,
      differenceText: times
    },
    {key: 'params', title: 'Params', ours: r => r.params_total}
  ];

  const state = {size: 0, sort: 'row', falling: false, by: 'ours', filter: '', open: new Set()};
  const value = (column, row) => {
    const ours = column.ours(row), paper = column.paper && row.paper ? column.paper(row.paper) : null;
    if (state.by === 'ours' || !column.paper) return ours;
    return state.by === 'paper'         ? paper :
        H.known(ours) && H.known(paper) ? (column.difference || minusOf)(ours, paper) :
                                          null;
  };
  const missing = v => v === null || v === undefined || Number.isNaN(v);
  const sorted = rows => {
    const column = columns.find(c => c.key === state.sort);
    return rows.map((row, i) => ({row, i, v: value(column, row)}))
        .sort((a, b) => {
          if (missing(a.v) || missing(b.v)) return missing(a.v) - missing(b.v) || a.i - b.i;
          const order = column.words ? a.v.localeCompare(b.v) : a.v < b.v ? -1 : a.v > b.v ? 1 : 0;
          return (state.falling ? -order : order) || a.i - b.i;
        })
        .map(entry => entry.row);
  };
  const matches = row => {
    const words = `${row.row} ${row.title} ${row.design} ${row.group} ${row.from} ${shown.ratio(row)}`.toLowerCase();
    return state.filter.toLowerCase().split(/\s+/).every(word => words.includes(word));
  };

  const largest = (column, rows) => {
    const most = list => Math.max(1e-12, ...list.filter(H.known));
    const ours = most(rows.map(column.ours)), paper = most(rows.map(r => r.paper ? column.paper(r.paper) : null));
    return column.shared ? {ours: Math.max(ours, paper), paper: Math.max(ours, paper)} : {ours, paper};
  };

  const valueCell = (column, row, most, color) => {
    const ours = column.ours(row), text = column.text(ours), error = column.error ? column.error(row) : null;
    const paper = row.paper ? column.paper(row.paper) : null;
    const share = (v, of) => Math.max(0, Math.min(100, v / of * 100)).toFixed(1) + '%';
    const cell =
        H.el(
            'td', {class: 'value', 'data-label': column.title},
            text === null ?
                H.el('span', {class: 'none'}, 'not run') :
                H.el('span', {class: 'main'}, text, H.known(error) ? H.el('small', {}, ' ±' + H.percent(error)) : null),
            H.el(
                'span', {class: 'bar', 'aria-hidden': 'true'},
                H.known(ours) ? H.el('b', {style: `width:${share(ours, most.ours)};background:${color}`}) : null,
                H.known(paper) ? H.el('u', {style: `left:${share(paper, most.paper)}`}) : null),
            H.el(
                'span', {class: 'second'},
                H.known(paper) ?
                    H.el('span', {}, H.el('abbr', {title: 'the paper\'s value'}, 'paper'), ' ' + column.text(paper)) :
                    null,
                H.known(paper) && H.known(ours) ?
                    H.el(
                        'span', {
                          class: 'delta',
                          title: column.shared ? 'ours minus the paper\'s, points' : 'ours over the paper\'s'
                        },
                        column.differenceText(column.difference(ours, paper))) :
                    null));
    const note = column.note && column.note(row);
    if (note) cell.append(H.el('span', {class: 'second'}, note));
    return cell;
  };

  const tableRow = (row, most, color) => {
    const open = state.open.has(row.design);
    const toggle = () => {
      if (open)
        state.open.delete(row.design);
      else
        state.open.add(row.design);
      renderBody(row.design);
    };
    const line = H.el('tr', {
      class: row.run ? 'row' : 'row unrun',
      onclick: event => {
        if (!event.target.closest('button') && !String(getSelection())) toggle();
      }
    });
    for (const column of columns) {
      if (column.key === 'row')
        line.append(H.el('td', {class: 'number', 'data-label': 'Row'}, row.row || '–'));
      else if (column.key === 'design')
        line.append(H.el(
            'td', {class: 'design'},
            H.el(
                'button', {
                  type: 'button',
                  class: 'unfold',
                  'data-design': row.design,
                  'aria-expanded': String(open),
                  onclick: toggle
                },
                H.el('i', {class: 'dot', style: `background:${color}`, 'aria-hidden': 'true'}), row.title),
            row.title !== row.design ? H.el('span', {class: 'second'}, row.design) : null));
      else if (column.key === 'ratio')
        line.append(H.el(
            'td', {class: 'value', 'data-label': column.title},
            shown.ratio(row) ? H.el('span', {class: 'main'}, shown.ratio(row)) : H.el('span', {class: 'none'}, 'not run'),
            H.el('span', {class: 'second'}, row.paper ? 'paper ' + row.paper.ratio : '')));
      else if (column.key === 'params')
        line.append(H.el(
            'td', {class: 'value', 'data-label': column.title},
            H.count(row.params_total) ? H.el('span', {class: 'main'}, H.count(row.params_total)) :
                                        H.el('span', {class: 'none'}, 'not run')));
      else
        line.append(valueCell(column, row, most[column.key], color));
    }
    return open ? [line, H.details(row, columns.length)] : [line];
  };

  const body = H.el('tbody'), head = H.el('thead'), found = H.el('span', {class: 'note', role: 'status'});
  const renderHead =
      () =>
          head.replaceChildren(H.el(
              'tr', {},
              columns.map(
                  c => H
                           .el('th', {
                             scope: 'col',
                             class: c.text || c.paper || c.key === 'params' ? 'value' : c.key,
                             'aria-sort': state.sort === c.key ? (state.falling ? 'descending' : 'ascending') : 'none'
                           },
                               H.el(
                                   'button', {
                                     type: 'button',
                                     'data-sort': c.key,
                                     onclick: () => {
                                       state.falling =
                                           state.sort === c.key ? !state.falling : c.key !== 'row' && !c.words;
                                       state.sort = c.key;
                                       renderHead();
                                       renderBody();
                                       head.querySelector(`[data-sort="${c.key}"]`).focus();
                                     }
                                   },
                                   c.title,
                                   H.el(
                                       'span', {class: 'arrow', 'aria-hidden': 'true'},
                                       state.sort === c.key ? (state.falling ? ' ↓' : ' ↑') : ''))))));
  const renderBody = focus => {
    const all = data.roadmaps[state.size].rows, groups = H.groups(all), shown = sorted(all.filter(matches));
    const most = Object.fromEntries(columns.filter(c => c.text).map(c => [c.key, largest(c, all)]));
    const lines = [];
    let group = null;
    for (const row of shown) {
      if (state.sort === 'row' && row.group !== group)
        lines.push(H.el('tr', {class: 'group'}, H.el('th', {colspan: columns.length, scope: 'rowgroup'}, row.group)));
      group = row.group;
      lines.push(...tableRow(row, most, H.color(groups.indexOf(row.group))));
    }
    body.replaceChildren(...lines);
    found.textContent = shown.length === all.length ? `${all.length} rows` : `${shown.length} of ${all.length} rows`;
    const button = focus && [...body.querySelectorAll('.unfold')].find(b => b.dataset.design === focus);
    if (button) button.focus({preventScroll: true});
  };

  const lineFigures = roadmap => {
    const titles = new Map(roadmap.rows.map(r => [r.design, H.rowName(r)]));
    const order = new Map(roadmap.rows.map((r, i) => [r.design, i])), name = d => titles.get(d) || d;
    const ours = list => list.filter(s => s.size === roadmap.size || !roadmap.size)
                             .sort((a, b) => (order.get(a.design) ?? 1e9) - (order.get(b.design) ?? 1e9));
    const figures = [], sets = new Map();
    for (const b of ours(data.breakdowns))
      sets.set(b.by + '\n' + b.task, [...(sets.get(b.by + '\n' + b.task) || []), b]);
    for (const [key, list] of sets) {
      if (new Set(list.flatMap(b => b.points.map(p => p[0]))).size < 2) continue;  // one place is no curve: the row's Records have it
      const [by, task] = key.split('\n');
      figures.push(H.lines({
        id: `accuracy-by-${by}-${task}`.replace(/[^\w-]+/g, '-'),
        title: `Accuracy by ${by === 'pairs' ? 'number of pairs' : by}: ${task}`,
        caption: 'Whiskers: one standard error. Dashed level: chance. Click a name to hide or show it.' +
            (data.breakdowns_left_out ? ` ${data.breakdowns_left_out} lines are left out, as the page would be too large; the results folder has them.` : ''),
        xLabel: by,
        yLabel: 'accuracy, %',
        xLog: true,
        percent: true,
        chance: list[0].chance,
        series: list.map(b => ({design: b.design, name: name(b.design), seed: null, points: b.points}))
      }));
    }
    const curves = ours(data.curves);
    if (curves.length && !document.getElementById('curves'))  // the study of curves has them too
      figures.push(H.lines({
        id: 'training-loss',
        title: 'Training curves',
        caption: 'Training loss over tokens, one line a seed. Click a name to hide or show it.',
        fromZero: true,
        xLabel: 'tokens',
        yLabel: 'loss',
        series: curves.map(c => ({design: c.design, name: name(c.design), seed: c.seed, points: c.points}))
      }));
    return figures;
  };

  const render = () => {
    const roadmap = data.roadmaps[state.size];
    renderHead();
    renderBody();
    document.getElementById('subtitle').textContent = [
      roadmap.size && `size ${roadmap.size}`,
      `${roadmap.rows.filter(r => r.run).length} of ${roadmap.rows.length} rows run`,
      data.generated && `measured until ${data.generated.slice(0, 10)}`
    ].filter(Boolean).join(' · ');
    const filter = H.el('input', {
      type: 'search',
      placeholder: 'Filter rows',
      'aria-label': 'Filter rows',
      value: state.filter,
      oninput: e => {
        state.filter = e.target.value;
        renderBody();
      }
    });
    const caption =
        'Ours, ± one standard error, beside the paper\'s published numbers (300M parameters, one A100). Accuracy ' +
        'differs in points, speed and cache by the factor of ours over the paper\'s. ' +
        'Bars: ours, tick: the paper\'s; of speed and cache each on its own scale. Cache in 10⁶ bytes by the paper\'s count. ' + roadmap.shapes_note;
    document.getElementById('main').replaceChildren(
        H.el(
            'section', {class: 'roadmap', 'aria-labelledby': 'roadmap-title'},
            H.el(
                'div', {class: 'head'}, H.el('h2', {id: 'roadmap-title'}, 'Every row beside the paper'),
                H.el(
                    'div', {class: 'controls'}, found, filter,
                    H.choice(
                        'Sort by', [['ours', 'ours'], ['paper', 'paper'], ['difference', 'difference']], state.by,
                        v => {
                          state.by = v;
                          renderBody();
                        }))),
            H.el('p', {class: 'caption'}, caption), H.el('table', {class: 'main-table'}, head, body)),
        H.agreement(roadmap),
        H.el(
            'div', {class: 'figures'},
            H.bars(roadmap.rows), lineFigures(roadmap)));
  };

  const root = document.documentElement;
  try {
    if (localStorage.getItem('theme')) root.dataset.theme = localStorage.getItem('theme');
  } catch (_) { /* a file: page may have no storage */
  }
  document.getElementById('theme').addEventListener('click', () => {
    const dark =
        root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    root.dataset.theme = dark ? 'light' : 'dark';
    try {
      localStorage.setItem('theme', root.dataset.theme);
    } catch (_) { /* as above */
    }
  });
  if (location.hash) state.open.add(decodeURIComponent(location.hash.slice(1)));  // page.html#row-09 opens that row
  if (data.roadmaps.length > 1) {
    const select = document.getElementById('size');
    select.append(...data.roadmaps.map((r, i) => H.el('option', {value: i}, r.size || 'unnamed')));
    select.addEventListener('change', () => {
      state.size = +select.value;
      state.open.clear();
      render();
    });
    document.getElementById('size-label').hidden = false;
  }
  render();
})();
