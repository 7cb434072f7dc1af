"use strict";
// The table of the roadmap, its details, and the page as a whole.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const ratio = text => { const [a, m] = (text || "").split(":").map(Number); return text ? m / a : NaN; };
  const points = v => H.minus((v > 0 ? "+" : "") + (v * 100).toFixed(2));
  const times = v => "×" + (v >= 100 ? v.toFixed(0) : +v.toPrecision(3));
  const minusOf = (a, b) => a - b, over = (a, b) => a / b;

  // ours and paper give numbers to sort by; a column with `text` shows them with a bar.
  const columns = [
    {key: "row", title: "#", ours: r => r.row || Infinity},
    {key: "design", title: "Design", ours: r => r.title, words: true},
    {key: "ratio", title: "Attn : Mamba", ours: r => ratio(r.ratio), paper: p => ratio(p.ratio)},
    {key: "general", title: "General, %", ours: r => r.general, paper: p => p.general, error: r => r.general_stderr,
     text: H.percent, difference: minusOf, differenceText: points, shared: true, chance: r => r.chance.general},
    {key: "recall", title: "Recall, %", ours: r => r.recall, paper: p => p.recall, error: r => r.recall_stderr,
     text: H.percent, difference: minusOf, differenceText: points, shared: true, chance: r => r.chance.recall},
    {key: "decode", title: "Decode, tok/s", ours: r => r.decode_tok_s, paper: p => p.throughput_tok_s, text: H.speed,
     difference: over, differenceText: times, note: r => r.batch && r.batch < r.batch_asked ? `batch ${r.batch} of ${r.batch_asked}` : null},
    {key: "cache", title: "Cache, MB", ours: r => r.cache_mb_paper, paper: p => p.cache_mb, text: H.mega, difference: over, differenceText: times},
    {key: "params", title: "Params", ours: r => r.params_total}];

  const state = {size: 0, sort: "row", falling: false, by: "ours", filter: "", open: new Set()};
  const value = (column, row) => {
    const ours = column.ours(row), paper = column.paper && row.paper ? column.paper(row.paper) : null;
    if (state.by === "ours" || !column.paper) return ours;
    return state.by === "paper" ? paper : H.known(ours) && H.known(paper) ? (column.difference || minusOf)(ours, paper) : null;
  };
  const missing = v => v === null || v === undefined || Number.isNaN(v);
  const sorted = rows => {
    const column = columns.find(c => c.key === state.sort);
    return rows.map((row, i) => ({row, i, v: value(column, row)})).sort((a, b) => {
      if (missing(a.v) || missing(b.v)) return missing(a.v) - missing(b.v) || a.i - b.i;
      const order = column.words ? a.v.localeCompare(b.v) : a.v < b.v ? -1 : a.v > b.v ? 1 : 0;
      return (state.falling ? -order : order) || a.i - b.i;
    }).map(entry => entry.row);
  };
  const matches = row => {
    const words = `${row.row} ${row.title} ${row.design} ${row.group} ${row.from} ${row.ratio}`.toLowerCase();
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
    const share = (v, of) => Math.max(0, Math.min(100, v / of * 100)).toFixed(1) + "%";
    const cell = H.el("td", {class: "value", "data-label": column.title},
      text === null ? H.el("span", {class: "none"}, "not run")
                    : H.el("span", {class: "main"}, text, H.known(error) ? H.el("small", {}, " ±" + H.percent(error)) : null),
      H.el("span", {class: "bar", "aria-hidden": "true"},
        H.known(ours) ? H.el("b", {style: `width:${share(ours, most.ours)};background:${color}`}) : null,
        H.known(paper) ? H.el("u", {style: `left:${share(paper, most.paper)}`}) : null),
      H.el("span", {class: "second"}, H.known(paper) ? H.el("span", {}, H.el("abbr", {title: "the paper's value"}, "paper"), " " + column.text(paper)) : null,
        H.known(paper) && H.known(ours) ? H.el("span", {class: "delta", title: column.shared ? "ours minus the paper's, points" : "ours over the paper's"},
          column.differenceText(column.difference(ours, paper))) : null));
    const note = column.note && column.note(row);
    if (note) cell.append(H.el("span", {class: "second"}, note));
    return cell;
  };

  const layerMap = row => {
    if (!row.layers || !row.layers.length) return null;
    return H.el("div", {class: "block"}, H.el("h4", {}, "Layers"), H.el("ol", {class: "layers"}, row.layers.map((l, i) => {
      const kind = /parallel|hybrid/.test(l.mixer) ? "hybrid" : /mamba|ssm/.test(l.mixer) ? "mamba" : /ffn|mlp/.test(l.mixer) ? "ffn" : "attention";
      const attends = kind === "hybrid" || kind === "attention";
      const parts = [l.mixer, attends ? (l.window ? `window ${l.window}` : "full attention") : null,
                     l.kv_source >= 0 ? `K and V of layer ${l.kv_source + 1}` : null, l.meta ? `${l.meta} meta tokens` : null].filter(Boolean);
      return H.el("li", {class: `${kind}${attends && !l.window ? " full" : ""}${l.kv_source >= 0 ? " shared" : ""}`,
                         title: `Layer ${i + 1}: ${parts.join(", ")}`, "aria-label": `Layer ${i + 1}: ${parts.join(", ")}`}, String(i + 1));
    })), H.el("p", {class: "note"}, "Filled: full attention. Pale: sliding window, Mamba or FFN. Dashed: K and V of the layer before."));
  };

  const details = row => {
    const fact = (name, text) => text === null || text === undefined || text === "" ? [] : [H.el("dt", {}, name), H.el("dd", {}, text)];
    const range = H.known(row.decode_tok_s_min) ? `${H.speed(row.decode_tok_s_min)} to ${H.speed(row.decode_tok_s_max)} tok/s` : null;
    const facts = H.el("dl", {class: "facts"}, fact("Design", row.design), fact("Built from", row.from), fact("Size", row.size),
      fact("Seeds", row.seeds || null), fact("Decode, range", range), fact("Prefill", row.prefill_tok_s === null ? null : H.speed(row.prefill_tok_s) + " tok/s"),
      fact("Batch", row.batch ? `${row.batch} (asked ${row.batch_asked || row.batch})` : null), fact("Context", row.context || row.cache_context || null),
      fact("Cache, exact", H.mega(row.cache_mb_exact) && H.mega(row.cache_mb_exact) + " MB"),
      fact("Cache, measured", H.mega(row.cache_mb_measured) && H.mega(row.cache_mb_measured) + " MB"),
      fact("Config hash", (row.config_hash || []).join(", ")), fact("Host", (row.hosts || []).join("; ")));
    const tasks = row.tasks.length ? H.el("div", {class: "block"}, H.el("h4", {}, "Tasks"), H.el("div", {class: "scroll"},
      H.table(["task", "suite", "metric", "value", "± s.e.", "chance", "items", "seeds"], row.tasks.map(t => {
        const show = t.metric === "acc" ? H.percent : v => H.known(v) ? v.toPrecision(5) : null;
        return [t.task, t.suite, t.metric, show(t.value), show(t.stderr), show(t.chance), t.n, t.seeds];
      })))) : null;
    const config = row.config ? H.el("details", {}, H.el("summary", {}, "Resolved config"), H.el("pre", {tabindex: "0"}, row.config)) : null;
    const records = row.records.length ? H.el("details", {}, H.el("summary", {}, `Records (${row.records_total})`), H.el("div", {class: "scroll", tabindex: "0"},
      H.table(["metric", "task", "value", "s.e.", "unit", "n", "seed", "commit", "time"],
              row.records.map(r => r.map((v, i) => (i === 2 || i === 3) && H.known(v) ? String(+v.toPrecision(6)) : v)))),
      row.records.length < row.records_total ? H.el("p", {class: "note"}, `The first ${row.records.length}; the results folder has all.`) : null) : null;
    return H.el("tr", {class: "details"}, H.el("td", {colspan: columns.length},
      H.el("div", {class: "inside"}, row.run ? null : H.el("p", {class: "none"}, "not run: no Records of this row at this size"), facts, layerMap(row), tasks, config, records)));
  };

  const tableRow = (row, most, color) => {
    const open = state.open.has(row.design);
    const toggle = () => { if (open) state.open.delete(row.design); else state.open.add(row.design); renderBody(row.design); };
    const line = H.el("tr", {class: row.run ? "row" : "row unrun", onclick: event => { if (!event.target.closest("button") && !String(getSelection())) toggle(); }});
    for (const column of columns) {
      if (column.key === "row") line.append(H.el("td", {class: "number", "data-label": "Row"}, row.row || "–"));
      else if (column.key === "design") line.append(H.el("td", {class: "design"}, H.el("button", {type: "button", class: "unfold", "data-design": row.design, "aria-expanded": String(open), onclick: toggle},
        H.el("i", {class: "dot", style: `background:${color}`, "aria-hidden": "true"}), row.title),
        row.title !== row.design ? H.el("span", {class: "second"}, row.design) : null));
      else if (column.key === "ratio") line.append(H.el("td", {class: "value", "data-label": column.title}, row.ratio ? H.el("span", {class: "main"}, row.ratio) : H.el("span", {class: "none"}, "not run"),
        H.el("span", {class: "second"}, row.paper ? "paper " + row.paper.ratio : "")));
      else if (column.key === "params") line.append(H.el("td", {class: "value", "data-label": column.title}, H.count(row.params_total) ? H.el("span", {class: "main"}, H.count(row.params_total)) : H.el("span", {class: "none"}, "not run")));
      else line.append(valueCell(column, row, most[column.key], color));
    }
    return open ? [line, details(row)] : [line];
  };

  const body = H.el("tbody"), head = H.el("thead"), found = H.el("span", {class: "note", role: "status"});
  const renderHead = () => head.replaceChildren(H.el("tr", {}, columns.map(c => H.el("th", {scope: "col", class: c.text || c.paper || c.key === "params" ? "value" : c.key,
    "aria-sort": state.sort === c.key ? (state.falling ? "descending" : "ascending") : "none"}, H.el("button", {type: "button", "data-sort": c.key, onclick: () => {
      state.falling = state.sort === c.key ? !state.falling : c.key !== "row" && !c.words;
      state.sort = c.key;
      renderHead();
      renderBody();
      head.querySelector(`[data-sort="${c.key}"]`).focus();
    }}, c.title, H.el("span", {class: "arrow", "aria-hidden": "true"}, state.sort === c.key ? (state.falling ? " ↓" : " ↑") : ""))))));
  const renderBody = focus => {
    const all = data.roadmaps[state.size].rows, groups = H.groups(all), shown = sorted(all.filter(matches));
    const most = Object.fromEntries(columns.filter(c => c.text).map(c => [c.key, largest(c, all)]));
    const lines = [];
    let group = null;
    for (const row of shown) {
      if (state.sort === "row" && row.group !== group)
        lines.push(H.el("tr", {class: "group"}, H.el("th", {colspan: columns.length, scope: "rowgroup"}, row.group)));
      group = row.group;
      lines.push(...tableRow(row, most, H.color(groups.indexOf(row.group))));
    }
    body.replaceChildren(...lines);
    found.textContent = shown.length === all.length ? `${all.length} rows` : `${shown.length} of ${all.length} rows`;
    const button = focus && [...body.querySelectorAll(".unfold")].find(b => b.dataset.design === focus);
    if (button) button.focus({preventScroll: true});
  };

  const agreement = roadmap => {
    const at = v => ((v + 1) * 50).toFixed(1) + "%";
    const signed = v => H.minus((v >= 0 ? "+" : "") + v.toFixed(2));
    return H.el("section", {class: "agreement", "aria-labelledby": "agreement-title"}, H.el("h2", {id: "agreement-title"}, "Does the order of the rows agree with the paper's?"),
      H.el("p", {class: "caption"}, "Kendall's τ-b with its 95 % bootstrap interval over the rows: +1 is the paper's order, 0 no relation, −1 the reverse. p: two-sided permutation test."),
      H.el("table", {class: "plain wide"}, H.el("thead", {}, H.el("tr", {}, ["Column", "τ", "", "95 % interval", "p", "rows"].map(t => H.el("th", {scope: "col"}, t)))),
        H.el("tbody", {}, roadmap.agreement.map(a => H.el("tr", {}, H.el("td", {}, a.column), H.el("td", {}, H.known(a.tau) ? signed(a.tau) : a.n ? "–" : "not run"),
          H.el("td", {class: "track-cell"}, H.el("span", {class: "track", "aria-hidden": "true"}, H.known(a.low) ? H.el("b", {style: `left:${at(a.low)};width:${((a.high - a.low) * 50).toFixed(1)}%`}) : null,
            H.known(a.tau) ? H.el("i", {style: `left:${at(a.tau)}`}) : null)),
          H.el("td", {}, H.known(a.low) ? `${signed(a.low)} to ${signed(a.high)}` : "–"), H.el("td", {}, H.known(a.p) ? (a.p < 1e-4 ? "< 0.0001" : a.p.toFixed(4)) : "–"), H.el("td", {}, a.n))))),
      roadmap.warnings.map(w => H.el("p", {class: "warning"}, "Warning: " + w)));
  };

  const lineFigures = roadmap => {
    const titles = new Map(roadmap.rows.map(r => [r.design, H.rowName(r)]));
    const order = new Map(roadmap.rows.map((r, i) => [r.design, i])), name = d => titles.get(d) || d;
    const ours = list => list.filter(s => s.size === roadmap.size || !roadmap.size).sort((a, b) => (order.get(a.design) ?? 1e9) - (order.get(b.design) ?? 1e9));
    const figures = [], sets = new Map();
    for (const b of ours(data.breakdowns)) sets.set(b.by + "\n" + b.task, [...(sets.get(b.by + "\n" + b.task) || []), b]);
    for (const [key, list] of sets) {
      const [by, task] = key.split("\n");
      figures.push(H.lines({id: `accuracy-by-${by}-${task}`.replace(/[^\w-]+/g, "-"), title: `Accuracy by ${by === "pairs" ? "number of pairs" : by}: ${task}`,
        caption: "Whiskers: one standard error. Dashed level: chance. Click a name to hide or show it.", xLabel: by, yLabel: "accuracy, %", xLog: true, percent: true, chance: list[0].chance,
        series: list.map(b => ({design: b.design, name: name(b.design), seed: null, points: b.points}))}));
    }
    const curves = ours(data.curves);
    if (curves.length) figures.push(H.lines({id: "training-loss", title: "Training curves", caption: "Training loss over tokens, one line a seed. Click a name to hide or show it.", fromZero: true,
      xLabel: "tokens", yLabel: "loss", series: curves.map(c => ({design: c.design, name: name(c.design), seed: c.seed, points: c.points}))}));
    return figures;
  };

  const render = () => {
    const roadmap = data.roadmaps[state.size];
    renderHead();
    renderBody();
    document.getElementById("subtitle").textContent = [roadmap.size && `size ${roadmap.size}`, `${roadmap.rows.filter(r => r.run).length} of ${roadmap.rows.length} rows run`,
      data.generated && `measured until ${data.generated.slice(0, 10)}`].filter(Boolean).join(" · ");
    const filter = H.el("input", {type: "search", placeholder: "Filter rows", "aria-label": "Filter rows", value: state.filter, oninput: e => { state.filter = e.target.value; renderBody(); }});
    const caption = "Ours, ± one standard error, beside the paper's published numbers (300M parameters, one A100). Accuracy differs in points, speed and cache by the factor of ours over the paper's. " +
      "Bars: ours, tick: the paper's; of speed and cache each on its own scale. Cache in 10⁶ bytes by the paper's count.";
    document.getElementById("main").replaceChildren(
      H.el("section", {class: "roadmap", "aria-labelledby": "roadmap-title"},
        H.el("div", {class: "head"}, H.el("h2", {id: "roadmap-title"}, "Every row beside the paper"), H.el("div", {class: "controls"}, found, filter,
          H.choice("Sort by", [["ours", "ours"], ["paper", "paper"], ["difference", "difference"]], state.by, v => { state.by = v; renderBody(); }))),
        H.el("p", {class: "caption"}, caption), H.el("table", {class: "main-table"}, head, body)),
      agreement(roadmap),
      H.el("div", {class: "figures"}, H.scatter(roadmap.rows, {id: "accuracy-cache", title: "Accuracy against cache", caption: "Up and to the left is better. Area: decode throughput, relative to the fastest of each source.",
          key: "cache_mb_paper", paper: "cache_mb", sizeKey: "decode_tok_s", paperSize: "throughput_tok_s", label: "Cache, MB (log)", name: "cache MB", sizeName: "tok/s", format: H.mega, sizeFormat: H.speed}),
        H.scatter(roadmap.rows, {id: "accuracy-throughput", title: "Accuracy against throughput", caption: "Up and to the right is better. Area: cache, relative to the largest of each source.",
          key: "decode_tok_s", paper: "throughput_tok_s", sizeKey: "cache_mb_paper", paperSize: "cache_mb", label: "Decode, tok/s (log)", name: "tok/s", sizeName: "cache MB", format: H.speed, sizeFormat: H.mega}),
        H.bars(roadmap.rows), lineFigures(roadmap)));
  };

  const root = document.documentElement;
  try { if (localStorage.getItem("theme")) root.dataset.theme = localStorage.getItem("theme"); } catch (_) { /* a file: page may have no storage */ }
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch (_) { /* as above */ }
  });
  if (data.roadmaps.length > 1) {
    const select = document.getElementById("size");
    select.append(...data.roadmaps.map((r, i) => H.el("option", {value: i}, r.size || "unnamed")));
    select.addEventListener("change", () => { state.size = +select.value; state.open.clear(); render(); });
    document.getElementById("size-label").hidden = false;
  }
  render();
})();
