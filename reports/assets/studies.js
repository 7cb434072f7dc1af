'use strict';
// Figures of the studies: the page holds them drawn; here they get tooltips, a keyboard and downloads.
(() => {
  // What a mark says: [title, [[name, value], ...]].
  const told = mark => {
    if (mark.dataset.t) {
      const [title, ...lines] = mark.dataset.t.split('|');
      return [title, lines.map(l => [l.slice(0, l.indexOf(':')), l.slice(l.indexOf(':') + 2)])];
    }
    const group = mark.parentNode.dataset, [row, column, value] = mark.dataset.v.split(',');
    const name = (list, i) => list.split('\x1f')[i];
    return [
      `${name(group.rows, row)} → ${name(group.cols, column)}`,
      [[group.y || 'row', name(group.rows, row)], [group.x || 'column', name(group.cols, column)], ['value', value]]
    ];
  };
  const show = (mark, at) => {
    const box = mark.getBoundingClientRect();
    H.tip(...told(mark), at || {x: box.right, y: box.bottom});
  };

  // All panels as one picture, two in a line, with the figure's title.
  const saveFigure = section => {
    const panels = [...section.querySelectorAll('.panels > svg')], columns = Math.min(2, panels.length);
    const width = 40 + columns * 432, height = 60 + Math.ceil(panels.length / columns) * 280;
    const all = H.svg('svg', {xmlns: 'http://www.w3.org/2000/svg', viewBox: `0 0 ${width} ${height}`, width, height,
      'font-family': 'Segoe UI, Helvetica, Arial, sans-serif'});
    all.append(
        H.svg('rect', {width: '100%', height: '100%', fill: '#fff'}),
        H.svg('text', {x: 24, y: 34, 'font-size': 17, 'font-weight': 600, fill: '#1d2430'}, section.querySelector('h2').textContent));
    panels.forEach((panel, i) => {
      const copy = H.standAlone(panel);
      for (const [key, value] of Object.entries(
               {x: 20 + (i % columns) * 432, y: 50 + Math.floor(i / columns) * 280, width: 420, height: 270}))
        copy.setAttribute(key, value);
      for (const node of copy.querySelectorAll('[data-t],[data-v],[data-rows]'))
        for (const key of ['data-t', 'data-v', 'data-rows', 'data-cols', 'data-x', 'data-y']) node.removeAttribute(key);
      all.append(copy);
    });
    H.save(section.id + '.svg', 'image/svg+xml', new XMLSerializer().serializeToString(all));
  };
  const saveNumbers = section => {
    const all = section.querySelector('.all-rows');  // a long table stands in the page only in part
    if (all)
      H.save(section.id + '.csv', 'text/csv', JSON.parse(all.textContent));
    else
      H.saveCsv(tableOf(section), section.id);
  };
  const tableOf = section => [...section.querySelectorAll('tr')].map(tr => [...tr.children].map(cell => cell.textContent));

  for (const section of document.querySelectorAll('.study')) {
    section.querySelector('.controls').append(
        H.el('button', {type: 'button', onclick: () => saveFigure(section)}, 'SVG'),
        H.el('button', {type: 'button', onclick: () => saveNumbers(section)}, 'CSV'));
    for (const svg of section.querySelectorAll('.panels > svg')) {
      let at = -1;
      const marks = svg.getElementsByClassName('m');
      const mark = i => {
        if (marks[at]) marks[at].classList.remove('on');
        at = i;
        if (!marks[at]) return H.tip(null);
        marks[at].classList.add('on');
        show(marks[at]);
      };
      svg.addEventListener('pointermove', event => {
        const hit = event.target.closest('.m');
        if (hit)
          show(hit, {x: event.clientX, y: event.clientY});
        else
          H.tip(null);
      });
      svg.addEventListener('pointerleave', () => H.tip(null));
      svg.addEventListener('blur', () => mark(-1));
      svg.addEventListener('keydown', event => {
        const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
        if (step && marks.length) {
          event.preventDefault();
          mark((at + step + marks.length) % marks.length);
        } else if (event.key === 'Escape') {
          mark(-1);
        }
      });
    }
  }
})();
