// The data of the page as rows again, found by key; and the words that tables and pages share.
(function (report) {
  "use strict";
  const { el, num, short, times } = report;
  const read = (id) => JSON.parse(document.getElementById(`data-${id}`).textContent);
  const NOTHING = Object.freeze({ value: null, low: null, high: null });

  // The opposite of report/compact.py: columns to rows.
  function rows(table) {
    const made = Array.from({ length: table.rows }, () => ({}));
    for (const [key, { words, at }] of Object.entries(table.words)) at.forEach((k, i) => { made[i][key] = words[k]; });
    for (const [key, values] of Object.entries(table.plain)) values.forEach((v, i) => { made[i][key] = v; });
    for (const [key, values] of Object.entries(table.estimates)) {
      values.forEach((v, i) => { if (v !== null) made[i][key] = v === 0 ? NOTHING : { value: v[0], low: v[1], high: v[2] }; });
    }
    return made;
  }

  const summary = read("summary"), pages = read("pages"), index = {};
  for (const measure of ["gradient", "learning", "identification", "cost"]) {
    summary[measure] = rows(summary[measure]);
    index[measure] = new Map();
    for (const r of summary[measure]) index[measure].set(`${r.task}\n${r.method}${measure === "gradient" ? `\n${r.batch}` : ""}`, r);
  }
  const find = (measure, task, method, batch) => index[measure].get(`${task}\n${method}${measure === "gradient" ? `\n${batch}` : ""}`);
  const methods = new Map(summary.methods.map((m) => [m.id, { ...m, ...pages.methods.entrants[m.id] }]));
  const tasks = new Map(pages.tasks.map((t) => [t.id, t]));
  const ranks = new Map(summary.ranking.map((r) => [r.method, r]));

  const value = (row, key) => (row ? num(row[key].value) : NaN);
  const places = (v, n) => (Number.isNaN(num(v)) ? "–" : num(v).toFixed(n).replace(/^-(?=0\.?0*$)/, "").replace("-", "−"));
  function multiplier(row, key) {
    if (!row) return "–";
    if (row[key].value === null) return row.verdict === "pushes the wrong way" ? "✕ wrong way" : "?";
    return times(row[key].value);
  }
  const worth = (row, key) => {
    if (!row) return NaN;
    const v = num(row[key].value);
    return Number.isNaN(v) ? (row.verdict === "pushes the wrong way" ? -1 : NaN) : v;
  };
  function speedup(r) {
    if (!r) return "–";
    if (r.at_least !== null) return ">" + times(r.at_least);
    if (r.at_most !== null) return "<" + times(r.at_most);
    return times(r.speedup.value);
  }
  // For sorting: a bound stands where it is known to stand.
  const speed = (r) => (!r ? NaN : r.at_least !== null ? num(r.at_least) : r.at_most !== null ? num(r.at_most) : value(r, "speedup"));

  const kind = (m) => (m.oracle ? "oracle" : m.paid ? "paid" : "free");
  const href = (page, slug) => `#/${page}/${encodeURIComponent(slug)}`;
  const taskLink = (id) => el("a", { href: href("task", id.replaceAll("/", "~")) }, id);
  const methodLink = (m) => el("span", {}, el("a", { href: href("method", m.id.replaceAll("/", "~")) }, m.name), " ", el("span", { class: `badge kind-${kind(m)}` }, kind(m)));
  // The first column of every table of methods.
  const who = () => ({ key: "method", label: "method", kind: "text", heading: true, value: (r) => r.name.toLowerCase(), text: methodLink, sub: (r) => r.title.split(",").slice(1).join(",").trim() });
  const terms = (pairs) => el("dl", { class: "facts" }, ...pairs.filter(([, said]) => said !== null && said !== undefined && said !== "").map(([name, said]) => el("div", {}, el("dt", {}, name), el("dd", {}, said))));

  Object.assign(report, { summary, pages, methods, tasks, ranks, find, value, places, multiplier, worth, speedup, speed, kind, href, taskLink, methodLink, who, terms, NOTHING, short, figures: {}, open: {} });
})(window.apportion);
