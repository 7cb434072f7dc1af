'use strict';
// What a row unfolds to, and how far the order of rows agrees with the paper's.

H.layerMap = row => {
  if (!row.layers || !row.layers.length) return null;
  return H.el(
      'div', {class: 'block'}, H.el('h4', {}, 'Layers'), H.el('ol', {class: 'layers'}, row.layers.map((at, i) => {
        const l = H.shared[at];
        const kind = /parallel|hybrid/.test(l.mixer) ? 'hybrid' :
            /mamba|ssm/.test(l.mixer)                ? 'mamba' :
            /attention/.test(l.mixer)                ? 'attention' :
            /ffn|mlp|glu|relu/.test(l.mixer)         ? 'ffn' :
                                                       'mamba';  // a mixer of the user's own
        const attends = kind === 'hybrid' || kind === 'attention';
        const parts = [
          l.mixer, attends ? (l.window ? `window ${l.window}` : 'full attention') : null,
          l.kv_source >= 0 ? `K and V of layer ${l.kv_source + 1}` : null, l.meta ? `${l.meta} meta tokens` : null
        ].filter(Boolean);
        return H.el(
            'li', {
              class: `${kind}${attends && !l.window ? ' full' : ''}${l.kv_source >= 0 ? ' shared' : ''}`,
              title: `Layer ${i + 1}: ${parts.join(', ')}`,
              'aria-label': `Layer ${i + 1}: ${parts.join(', ')}`
            },
            String(i + 1));
      })),
      H.el(
          'p', {class: 'note'},
          'Filled: full attention. Pale: sliding window, Mamba or FFN. Dashed: K and V of the layer before.'));
};

H.details = (row, span) => {
  const fact = (name, text) => text === null || text === undefined || text === '' ?
      [] :
      [H.el('div', {}, H.el('dt', {}, name), H.el('dd', {}, text))];
  const range = H.known(row.decode_tok_s_min) ?
      `${H.speed(row.decode_tok_s_min)} to ${H.speed(row.decode_tok_s_max)} tok/s` :
      null;
  const facts = H.el(
      'dl', {class: 'facts'}, fact('Design', row.design), fact('Built from', row.from), fact('Size', row.size),
      fact('Seeds', row.seeds || null),
      fact('Chance, general', H.known(row.chance.general) ? H.percent(row.chance.general) + ' %' : null),
      fact('Chance, recall', H.known(row.chance.recall) ? H.percent(row.chance.recall) + ' %' : null),
      fact('Decode, range', range),
      fact('Prefill', row.prefill_tok_s === null ? null : H.speed(row.prefill_tok_s) + ' tok/s'),
      fact('Batch', row.batch ? `${row.batch} (asked ${row.batch_asked || row.batch})` : null),
      fact('Context', row.context || row.cache_context || null),
      fact('Cache, exact', H.mega(row.cache_mb_exact) && H.mega(row.cache_mb_exact) + ' MB'),
      fact('Cache, measured', H.mega(row.cache_mb_measured) && H.mega(row.cache_mb_measured) + ' MB'),
      fact('Cache, this size', H.mega(row.cache_mb_paper) && H.mega(row.cache_mb_paper) + ' MB'),
      fact('Decode, this size', row.decode_tok_s === null ? null : H.speed(row.decode_tok_s) + ' tok/s'),
      fact('Paper\'s shapes, params', H.count(row.at_paper_shapes.params_total)),
      fact('Paper\'s shapes, exact cache', H.mega(row.at_paper_shapes.cache_mb_exact) && H.mega(row.at_paper_shapes.cache_mb_exact) + ' MB'),
      fact('Paper\'s shapes, decode at', H.known(row.at_paper_shapes.decode_tok_s) ? `${row.at_paper_shapes.context} tokens, ${row.at_paper_shapes.dtype}, batch ${row.at_paper_shapes.batch}` : null),
      fact('Config hash', (row.config_hash || []).join(', ')), fact('Host', row.hosts.map(i => H.shared[i]).join('; ')));
  const tasks = row.tasks.length ?
      H.el(
          'div', {class: 'block'}, H.el('h4', {}, 'Tasks'),
          H.el(
              'div', {class: 'scroll'},
              H.table(['task', 'suite', 'metric', 'value', '± s.e.', 'chance', 'items', 'seeds'], row.tasks.map(([at, value, error]) => {
                const t = H.shared[at];
                const show = t.metric === 'acc' ? H.percent : v => H.known(v) ? v.toPrecision(5) : null;
                return [t.task, t.suite, t.metric, show(value), show(error), show(t.chance), t.n, t.seeds];
              })))) :
      null;
  const config = row.config ?
      H.el('details', {}, H.el('summary', {}, 'Resolved config'), H.el('pre', {tabindex: '0'}, row.config.map(i => H.shared[i]).join('\n'))) :
      null;
  const records = row.records.length ?
      H.el(
          'details', {}, H.el('summary', {}, `Records (${row.records_total})`),
          H.el(
              'div', {class: 'scroll', tabindex: '0'},
              H.table(
                  ['metric', 'task', 'value', 's.e.', 'unit', 'n', 'seed', 'commit', 'time'],
                  row.records.map(
                      r => r.map((v, i) => (i === 2 || i === 3) && H.known(v) ? String(+v.toPrecision(6)) : v)))),
          row.records.length < row.records_total ?
              H.el('p', {class: 'note'}, `The first ${row.records.length}; the results folder has all.`) :
              null) :
      null;
  return H.el(
      'tr', {class: 'details'},
      H.el(
          'td', {colspan: span},
          H.el(
              'div', {class: 'inside'},
              row.run ? null : H.el('p', {class: 'none'}, 'not run: no Records of this row at this size'), facts,
              H.layerMap(row), tasks, config, records)));
};

H.agreement = roadmap => {
  const at = v => ((v + 1) * 50).toFixed(1) + '%';
  const signed = v => H.minus((v >= 0 ? '+' : '') + v.toFixed(2));
  return H.el(
      'section', {class: 'agreement', 'aria-labelledby': 'agreement-title'},
      H.el('h2', {id: 'agreement-title'}, 'Does the order of the rows agree with the paper\'s?'),
      H.el(
          'p', {class: 'caption'},
          'Kendall\'s τ-b with its 95 % bootstrap interval over the rows: +1 is the paper\'s order, ' +
               '0 no relation, −1 the reverse. p: two-sided permutation test.'),
      H.el(
          'table', {class: 'plain wide'},
          H.el(
              'thead', {},
              H.el(
                  'tr', {}, ['Column', 'τ', '', '95 % interval', 'p', 'rows'].map(t => H.el('th', {scope: 'col'}, t)))),
          H.el(
              'tbody', {},
              roadmap.agreement.map(
                  a => H.el(
                      'tr', {}, H.el('td', {}, a.column),
                      H.el(
                          'td', {},
                          H.known(a.tau) ? signed(a.tau) :
                              a.n        ? '–' :
                                           'not run'),
                      H.el(
                          'td', {class: 'track-cell'},
                          H.el(
                              'span', {class: 'track', 'aria-hidden': 'true'},
                              H.known(a.low) ?
                                  H.el('b', {style: `left:${at(a.low)};width:${((a.high - a.low) * 50).toFixed(1)}%`}) :
                                  null,
                              H.known(a.tau) ? H.el('i', {style: `left:${at(a.tau)}`}) : null)),
                      H.el('td', {}, H.known(a.low) ? `${signed(a.low)} to ${signed(a.high)}` : '–'),
                      H.el('td', {}, H.known(a.p) ? (a.p < 1e-4 ? '< 0.0001' : a.p.toFixed(4)) : '–'),
                      H.el('td', {}, a.n))))),
      roadmap.warnings.map(w => H.el('p', {class: 'warning'}, 'Warning: ' + w)));
};
