'use strict';
// Small building blocks: elements, axes, tooltips, downloads. Text from the data only ever becomes text nodes.
const H = {};

H.build = (node, attrs, kids) => {
  for (const [key, value] of Object.entries(attrs || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on'))
      node.addEventListener(key.slice(2), value);
    else
      node.setAttribute(key, value === true ? '' : value);
  }
  for (const kid of kids.flat())
    if (kid !== null && kid !== undefined) node.append(kid);
  return node;
};
H.el = (tag, attrs, ...kids) => H.build(document.createElement(tag), attrs, kids);
H.svg = (tag, attrs, ...kids) => H.build(document.createElementNS('http://www.w3.org/2000/svg', tag), attrs, kids);

H.known = v => typeof v === 'number' && isFinite(v);
H.minus = text => text.replace('-', '−');
H.percent = v => H.known(v) ? (v * 100).toFixed(2) : null;
H.speed = v => !H.known(v) ? null : v >= 100000 ? H.count(v) : v.toFixed(1);
H.mega = v => !H.known(v) ? null : Math.abs(v) >= 1 || v === 0 ? v.toFixed(2) : String(+v.toPrecision(3));
H.count = v => {
  if (!H.known(v)) return null;
  for (const [unit, letter] of [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']])
    if (Math.abs(v) >= unit) return +(v / unit).toPrecision(3) + letter;
  return String(+v.toPrecision(3));
};

// Okabe and Ito's colours; the styles give each its light and dark shade. After seven the dashes change.
H.color = i => `var(--c${i % 7})`;
H.dash = i => ['', '6 3', '2 3', '8 3 2 3'][Math.floor(i / 7) % 4];

// Tick values of [low, high]: decades (with 2 and 5 where there are few) or a step of 1, 2 or 5.
H.ticks = (low, high, log) => {
  const list = [];
  if (log) {
    const decades = Math.log10(high / low);
    const parts = decades > 3 ? [1] : decades > 1.4 ? [1, 3] : [1, 2, 3, 5];
    for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); ++e)
      for (const part of parts)
        if (part * 10 ** e >= low && part * 10 ** e <= high) list.push(part * 10 ** e);
    return list;
  }
  const rough = (high - low) / 5, unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find(s => s * unit >= rough) * unit;
  for (let i = Math.ceil(low / step); i * step <= high * 1.0001; ++i) list.push(i * step);
  return list;
};

H.scale = (low, high, from, to, log) => v =>
    from + (to - from) * (log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low));

// An empty plot with both axes. spec: {height, x: {low, high, log, label, text}, y: {...}, label}
H.plot = (box, spec) => {
  const width = Math.max(280, box.clientWidth), height = spec.height || Math.min(460, Math.max(300, width * 0.58));
  const edge = {left: 46, right: width - 14, top: 28, bottom: height - 44};
  const svg = H.svg('svg', {viewBox: `0 0 ${width} ${height}`, width, height, role: 'group', 'aria-label': spec.label});
  const x = H.scale(spec.x.low, spec.x.high, edge.left, edge.right, spec.x.log);
  const y = H.scale(spec.y.low, spec.y.high, edge.bottom, edge.top, spec.y.log);
  let xs = spec.x.ticks || H.ticks(spec.x.low, spec.x.high, spec.x.log);
  const ys = H.ticks(spec.y.low, spec.y.high, spec.y.log);
  const room = Math.max(2, Math.floor((edge.right - edge.left) / (spec.x.bare ? 26 : 52)));
  if (xs.length > room) xs = xs.filter((_, i) => i % Math.ceil(xs.length / room) === 0);
  for (const v of ys) {
    svg.append(
        H.svg('line', {class: 'grid', x1: edge.left, x2: edge.right, y1: y(v), y2: y(v)}),
        H.svg('text', {class: 'tick', x: edge.left - 8, y: y(v) + 4, 'text-anchor': 'end'}, spec.y.text(v)));
  }
  for (const v of xs) {
    if (!spec.x.bare) svg.append(H.svg('line', {class: 'grid', x1: x(v), x2: x(v), y1: edge.top, y2: edge.bottom}));
    svg.append(H.svg('text', {class: 'tick', x: x(v), y: edge.bottom + 18, 'text-anchor': 'middle'}, spec.x.text(v)));
  }
  svg.append(
      H.svg('line', {class: 'axis', x1: edge.left, x2: edge.right, y1: edge.bottom, y2: edge.bottom}),
      H.svg('text', {class: 'label', x: 4, y: 14}, spec.y.label),
      H.svg('text', {class: 'label', x: edge.right, y: height - 6, 'text-anchor': 'end'}, spec.x.label));
  box.replaceChildren(svg);
  return {svg, x, y, edge, width, height};
};

H.whisker = (svg, x, low, high, half) => svg.append(H.svg(
    'path',
    {class: 'whisker', d: `M${x} ${low}V${high}M${x - half} ${low}h${2 * half}M${x - half} ${high}h${2 * half}`}));

// Labels beside their points: the first place around the point where no label and no point is yet.
H.labels = svg => {
  const taken = [], free = box => !taken.some(b => box[0] < b[2] && b[0] < box[2] && box[1] < b[3] && b[1] < box[3]);
  return {
    occupy: (x, y, r) => taken.push([x - r, y - r, x + r, y + r]),
    place: (x, y, r, text, kind) => {
      const w = 7 * text.length, d = r * 0.72;
      const places = [
        [0, -r - 4], [r + w / 2 + 4, 4], [0, r + 13], [-r - w / 2 - 4, 4], [d + w / 2 + 3, -d - 2],
        [-d - w / 2 - 3, -d - 2], [d + w / 2 + 3, d + 11], [-d - w / 2 - 3, d + 11], [0, -r - 16], [0, r + 25]
      ];
      const box = ([dx, dy]) => [x + dx - w / 2, y + dy - 10, x + dx + w / 2, y + dy + 1];
      const at = places.find(p => free(box(p)));
      if (!at) return;  // crowded: the tooltip still names the point
      taken.push(box(at));
      svg.append(H.svg('text', {class: kind, x: x + at[0], y: y + at[1], 'text-anchor': 'middle'}, text));
    }
  };
};

// Tooltips for pointer and keyboard alike. lines: [[name, value], ...]
H.tip = (title, lines, at) => {
  const tip = document.getElementById('tip');
  if (!title) {
    tip.hidden = true;
    return;
  }
  tip.replaceChildren(
      H.el('strong', {}, title),
      H.el('dl', {}, lines.flatMap(([name, value]) => [H.el('dt', {}, name), H.el('dd', {}, value)])));
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = Math.min(at.x + 14, innerWidth - box.width - 8);
  const top = at.y + 14 + box.height > innerHeight ? at.y - box.height - 14 : at.y + 14;
  tip.style.left = Math.max(8, left) + 'px';
  tip.style.top = Math.max(8, top) + 'px';
};
H.hover = (node, title, lines) => {
  const show = event => {
    const box = node.getBoundingClientRect();
    H.tip(title, lines, H.known(event.clientX) ? {x: event.clientX, y: event.clientY} : {x: box.right, y: box.bottom});
  };
  node.setAttribute('tabindex', '0');
  node.setAttribute('role', 'img');
  node.setAttribute('aria-label', title + ': ' + lines.map(l => l.join(' ')).join(', '));
  for (const name of ['pointermove', 'focus']) node.addEventListener(name, show);
  for (const name of ['pointerleave', 'blur']) node.addEventListener(name, () => H.tip(null));
};

H.save = (name, type, text) => {
  const link = H.el('a', {href: URL.createObjectURL(new Blob([text], {type})), download: name});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};

// A picture that stands alone: the styles become attributes, in the light colours whatever the page shows.
H.standAlone = svg => {
  const root = document.documentElement, theme = root.dataset.theme;
  root.dataset.theme = 'light';
  const copy = svg.cloneNode(true);
  const from = [svg, ...svg.querySelectorAll('*')], to = [copy, ...copy.querySelectorAll('*')];
  const kept = [
    'fill', 'fill-opacity', 'stroke', 'stroke-width', 'stroke-dasharray', 'stroke-opacity', 'opacity', 'font-size',
    'font-weight', 'font-family', 'text-anchor'
  ];
  from.forEach((node, i) => {
    const style = getComputedStyle(node);
    for (const key of kept) to[i].setAttribute(key, style.getPropertyValue(key));
    for (const key of ['class', 'tabindex', 'style']) to[i].removeAttribute(key);
  });
  if (theme)
    root.dataset.theme = theme;
  else
    delete root.dataset.theme;
  return copy;
};
H.saveSvg = (svg, name) => {
  const copy = H.standAlone(svg);
  copy.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  copy.prepend(H.svg('rect', {width: '100%', height: '100%', fill: '#fff'}));
  H.save(name + '.svg', 'image/svg+xml', new XMLSerializer().serializeToString(copy));
};

H.saveCsv = (table, name) => {
  const field = text => /[",\r\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
  H.save(
      name + '.csv', 'text/csv',
      table.map(line => line.map(v => field(v === null ? '' : String(v))).join(',')).join('\r\n') + '\r\n');
};

// A figure: heading, caption, choices, the drawing, its legend, the numbers behind it, downloads.
// figure: {name, title, caption, draw(box, legend), table() -> rows with a first line of names, controls: []}
H.figure = figure => {
  const box = H.el('div', {class: 'plot'}), legend = H.el('div', {class: 'legend'});
  const numbers =
      H.el('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Numbers of: ' + figure.title});
  const draw = () => {
    figure.draw(box, legend);
    const [names, ...lines] = figure.table();
    const shown = lines.slice(0, 500);
    numbers.replaceChildren(
        H.table(names, shown.map(line => line.map(v => H.known(v) ? String(+v.toPrecision(6)) : v))));
    if (lines.length > shown.length)
      numbers.append(H.el('p', {class: 'note'}, `The first 500 of ${lines.length}; the CSV has all.`));
  };
  const section = H.el(
      'section', {class: 'figure', id: figure.name, 'aria-labelledby': figure.name + '-title'},
      H.el(
          'div', {class: 'head'}, H.el('h2', {id: figure.name + '-title'}, figure.title),
          H.el(
              'div', {class: 'controls'}, figure.controls ? figure.controls(draw) : null,
              H.el('button', {type: 'button', onclick: () => H.saveSvg(box.querySelector('svg'), figure.name)}, 'SVG'),
              H.el('button', {type: 'button', onclick: () => H.saveCsv(figure.table(), figure.name)}, 'CSV'))),
      H.el('p', {class: 'caption'}, figure.caption), box, legend,
      H.el('details', {}, H.el('summary', {}, 'Numbers'), numbers));
  let width = 0;
  new ResizeObserver(() => {
    if (box.clientWidth === width) return;
    width = box.clientWidth;
    requestAnimationFrame(draw);
  }).observe(box);
  return section;
};

H.table = (names, lines) => H.el(
    'table', {class: 'plain'}, H.el('thead', {}, H.el('tr', {}, names.map(n => H.el('th', {scope: 'col'}, n)))),
    H.el(
        'tbody', {},
        lines.map(
            line => H.el('tr', {}, line.map(v => H.el('td', {}, v === null || v === undefined ? '–' : String(v)))))));

H.choice = (label, options, value, change) => H.el(
    'label', {}, label + ' ',
    H.el(
        'select', {onchange: event => change(event.target.value)},
        options.map(([key, text]) => H.el('option', {value: key, selected: key === value}, text))));
