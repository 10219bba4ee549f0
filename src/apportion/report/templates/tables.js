// Sortable tables. A column: {key, label, hint, group, kind, value(row) -> number|string, text(row) -> string, sub(row)}.
// Options: sort, caption, and most: how many rows are shown before somebody asks for all (oracles: a quarter of them).
(function (report) {
  "use strict";
  const el = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
    node.append(...children.filter((c) => c !== null && c !== undefined));
    return node;
  };

  // Numbers of the summary: null is not measured, "inf" is never.
  const num = (v) => (v === null || v === undefined ? NaN : v === "inf" ? Infinity : v === "-inf" ? -Infinity : v);
  const digits = (v) => {
    if (v === 0 || Math.abs(v) >= 1e6 || Math.abs(v) < 1e-3) return String(Number(v.toPrecision(3)));
    return v.toFixed(Math.max(0, 2 - Math.floor(Math.log10(Math.abs(v)) + 1e-9)));
  };
  const short = (value) => {
    const v = num(value);
    if (Number.isNaN(v)) return "–";
    if (!Number.isFinite(v)) return "never";
    for (const [size, letter] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]]) if (Math.abs(v) >= size * 0.9995) return digits(v / size) + letter;
    return digits(v);
  };
  const times = (value) => (num(value) === Infinity ? "∞" : Number.isNaN(num(value)) ? "–" : short(value) + "×");
  const span = (e, f = short) => (e && e.low !== null && e.high !== null ? `${f(e.low)} – ${f(e.high)}` : "");

  // Rows that cannot be compared (not measured) always stand last.
  function compare(column, way) {
    return (a, b) => {
      const x = column.value(a), y = column.value(b);
      const noX = typeof x === "number" && Number.isNaN(x), noY = typeof y === "number" && Number.isNaN(y);
      if (noX || noY) return noX - noY;
      return way * (x < y ? -1 : x > y ? 1 : 0);
    };
  }

  function table(node, columns, rows, options = {}) {
    const state = node.sorting || (node.sorting = { key: options.sort || null, way: options.way || 1 });
    const caption = el("caption", {}, options.caption || "");
    const head = el("thead");
    if (columns.some((c) => c.group)) {
      const groups = [];
      for (const c of columns) {
        const last = groups[groups.length - 1];
        if (last && last.name === c.group) last.count += 1; else groups.push({ name: c.group, count: 1 });
      }
      head.append(el("tr", { class: "groups" }, ...groups.map((g) => el("th", { colspan: g.count, scope: "colgroup", class: `g-${(g.name || "none").split(" ")[0]}` }, g.name || ""))));
    }
    const headings = el("tr");
    for (const c of columns) {
      const sorted = state.key === c.key;
      const button = el("button", { type: "button", title: c.hint }, c.label, el("span", { class: "arrow", "aria-hidden": "true" }, sorted ? (state.way > 0 ? "▲" : "▼") : ""));
      button.addEventListener("click", () => {
        state.way = sorted ? -state.way : c.down ? -1 : 1;
        state.key = c.key;
        table(node, columns, rows, options);
        node.querySelector(`th[data-key="${c.key}"] button`).focus();
      });
      headings.append(el("th", { scope: "col", "data-key": c.key, class: cls(c), "aria-sort": sorted ? (state.way > 0 ? "ascending" : "descending") : "none" }, button));
    }
    head.append(headings);
    const parts = [rows.filter((r) => !r.oracle), rows.filter((r) => r.oracle)];
    const by = columns.find((c) => c.key === state.key);
    let hidden = 0;
    const bodies = parts.filter((p) => p.length).map((part) => {
      const body = el("tbody", { class: part[0].oracle ? "oracle" : null });
      if (part[0].oracle) body.append(el("tr", { class: "divider" }, el("th", { colspan: columns.length, scope: "rowgroup" }, "Oracle: reads the exact truth; a reference, not ranked")));
      const ordered = by ? [...part].sort(compare(by, state.way)) : part;
      const most = !options.most || state.all ? Infinity : part[0].oracle ? Math.ceil(options.most / 4) : options.most;
      hidden += Math.max(0, ordered.length - most);
      for (const row of ordered.slice(0, most)) body.append(el("tr", { "data-method": row.id }, ...columns.map((c, i) => cell(c, row, i))));
      return body;
    });
    const foot = [];
    if (hidden) {
      const more = el("button", { type: "button", class: "more" }, `Show all ${rows.length} (${hidden} more)`);
      more.addEventListener("click", () => { state.all = true; table(node, columns, rows, options); node.tabIndex = -1; node.focus({ preventScroll: true }); });
      foot.push(el("tfoot", {}, el("tr", {}, el("td", { colspan: columns.length }, more))));
    }
    if (!rows.length) foot.push(el("tbody", {}, el("tr", {}, el("td", { colspan: columns.length }, options.none || "Nothing here was measured for this selection."))));
    node.replaceChildren(caption, head, ...bodies, ...foot);
  }

  const cls = (c) => [c.kind === "text" ? "" : "num", c.edge ? "edge" : "", c.group ? `g-${c.group.split(" ")[0]}` : ""].filter(Boolean).join(" ") || null;

  function cell(c, row, i) {
    const node = el(c.heading ? "th" : "td", { class: cls(c), scope: c.heading ? "row" : null });
    const shown = c.text(row);
    node.append(shown instanceof Node ? shown : document.createTextNode(shown));
    const sub = c.sub ? c.sub(row) : "";
    if (sub) node.append(el("span", { class: "sub" }, sub));
    if (c.bar) {
      const v = c.value(row);
      if (Number.isFinite(v)) { node.classList.add("barred"); node.style.setProperty("--m", Math.max(0, Math.min(1, v)).toFixed(3)); }
    }
    return node;
  }

  Object.assign(report, { el, num, digits, short, times, span, table });
})((window.apportion = window.apportion || {}));
