// Puts the page together: reads the summary, fills the selectors, draws tables and figures.
(function (report) {
  "use strict";
  const { el, num, digits, short, times, span, table } = report;
  const summary = JSON.parse(document.getElementById("data-summary").textContent);
  const view = { task: summary.headline.task, batch: summary.reference_batch, series: summary.headline.series };
  const $ = (id) => document.getElementById(id);
  const find = (measure, task, method, batch) => summary[measure].find((r) => r.task === task && r.method === method && (batch === undefined || r.batch === batch));
  const value = (row, key) => (row ? num(row[key].value) : NaN);
  const places = (v, n) => (Number.isNaN(num(v)) ? "–" : num(v).toFixed(n).replace("-", "−"));

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

  function board() {
    const ranks = new Map(summary.ranking.map((r) => [r.method, r]));
    const rows = summary.methods.map((m) => ({
      ...m, rank: ranks.get(m.id), learned: find("learning", view.task, m.id), found: find("gradient", view.task, m.id, view.batch), identified: find("identification", view.task, m.id),
    }));
    const kind = (r) => (r.oracle ? "oracle" : r.paid ? "paid" : "free");
    const L = "learning, the headline", G = `gradient, the fast proxy · batch ${view.batch}`, I = "identification";
    table($("board"), [
      { key: "rank", label: "#", hint: "mean rank over all tasks", value: (r) => (r.rank ? r.rank.rank : NaN), text: (r) => (r.rank ? (r.rank.by === "gradient" && summary.learning.length ? "·" : String(r.rank.rank)) : "") },
      { key: "method", label: "method", kind: "text", heading: true, value: (r) => r.title.toLowerCase(), text: (r) => el("span", {}, r.name + " ", el("span", { class: `badge kind-${kind(r)}` }, kind(r))), sub: (r) => [r.title.split(",").slice(1).join(",").trim(), r.rank && r.rank.by === "gradient" ? "ranked by gradient only" : ""].filter(Boolean).join(" · ") },
      { key: "cost", group: L, edge: true, label: `cost to ${summary.goal}`, hint: "expected total cost in price units, failed runs included; 95 % interval over seeds", value: (r) => value(r.learned, "cost"), text: (r) => (r.learned ? short(r.learned.cost.value) : "–"), sub: (r) => (r.learned && num(r.learned.cost.value) === Infinity ? `spent ${short(r.learned.spent)}` : r.learned ? span(r.learned.cost) : "") },
      { key: "speedup", group: L, down: true, label: "vs RLOO", hint: "how many times cheaper than RLOO", value: (r) => (r.learned && r.learned.at_least !== null ? Infinity : value(r.learned, "speedup")), text: (r) => speedup(r.learned), sub: (r) => (r.learned && r.id !== "rloo" && Number.isFinite(num(r.learned.speedup.value ?? NaN)) && r.learned.at_most === null ? span(r.learned.speedup, times) : "") },
      { key: "reached", group: L, down: true, label: "reached", hint: "share of seeds that reached the goal", value: (r) => (r.learned ? num(r.learned.reached) : NaN), text: (r) => (r.learned ? `${Math.round(100 * num(r.learned.reached))} %` : "–") },
      { key: "gain", group: L, down: true, label: "gained", hint: "share of the attainable improvement at the end, interquartile mean over seeds", value: (r) => value(r.learned, "gain"), text: (r) => (r.learned ? places(r.learned.gain.value, 2) : "–") },
      { key: "rho", group: G, edge: true, down: true, label: "alignment ρ", hint: "signed alignment of the update with the exact gradient", value: (r) => value(r.found, "rho"), text: (r) => (r.found ? places(r.found.rho.value, 2) : "–"), sub: (r) => (r.found ? span(r.found.rho, (v) => places(v, 2)) : "") },
      { key: "multiplier", group: G, down: true, label: "sample ×", hint: "how many RLOO trajectories one is worth", value: (r) => worth(r.found, "multiplier"), text: (r) => multiplier(r.found, "multiplier") },
      { key: "net", group: G, down: true, label: "net ×", hint: "the same at equal total cost", value: (r) => worth(r.found, "net"), text: (r) => multiplier(r.found, "net") },
      { key: "correlation", group: I, edge: true, down: true, label: "corr.", hint: "correlation with exact credit", value: (r) => value(r.identified, "correlation"), text: (r) => (r.identified ? places(r.identified.correlation.value, 2) : "–") },
      { key: "fork", group: I, down: true, label: "forks", hint: "average precision in finding the forks", value: (r) => value(r.identified, "fork_ap"), text: (r) => (r.identified ? places(r.identified.fork_ap.value, 2) : "–") },
    ], rows, { sort: "rank", caption: `Figures at ${view.task}; rank over all tasks` });
  }

  function identified() {
    const rows = summary.methods.map((m) => ({ ...m, row: find("identification", view.task, m.id) })).filter((r) => r.row);
    const others = [...new Set(rows.flatMap((r) => Object.keys(r.row)))].filter((key) => key.startsWith("correlation:"));
    const nothing = { value: null, low: null, high: null }, at = (r, key) => r.row[key] || nothing;
    const column = (key, label, hint, down) => ({ key, label, hint, down, bar: true, value: (r) => num(at(r, key).value), text: (r) => places(at(r, key).value, 2), sub: (r) => span(at(r, key), (v) => places(v, 2)) });
    table($("identified"), [
      { key: "method", label: "method", kind: "text", heading: true, value: (r) => r.title.toLowerCase(), text: (r) => r.name },
      column("correlation", "correlation", "with exact credit, over turns", true), column("sign", "sign agreement", "over pairs of turns whose exact credit differs", true),
      column("fork_ap", "fork precision", "average precision in finding the forks", true), column("leak_routine", "leaks to routine turns", "share of credit on turns that cannot matter", false),
      column("leak_luck", "leaks to luck", "share of credit explained by the environment’s dice", false),
      ...(rows.some((r) => r.row.silent) ? [column("silent", "silent", "share of forks the method says nothing about", false)] : []),
      ...others.map((key) => column(key, `corr. ${key.slice(12).replace(/_/g, " ")}`, "with another estimand: see the protocol", true)),
    ], rows, { caption: `At ${view.task}` });
  }

  function costs() {
    const rows = summary.methods.map((m) => ({ ...m, row: find("cost", view.task, m.id) })).filter((r) => r.row);
    const column = (key, label) => ({ key, label, value: (r) => num(r.row[key]), text: (r) => short(r.row[key]) });
    table($("costs"), [
      { key: "method", label: "method", kind: "text", heading: true, value: (r) => r.title.toLowerCase(), text: (r) => r.name },
      column("generated", "tokens generated"), column("scored", "tokens scored"), column("env_steps", "environment steps"), column("judge_calls", "judge calls"), column("trained", "tokens trained on"), column("price", "price per trajectory"),
    ], rows, { caption: `Per trajectory at ${view.task}` });
  }

  function legend(id) {
    const key = el("p", { class: "key" });
    const mark = (symbol, fill, label, hollow) => {
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      svg.setAttribute("viewBox", "-8 -8 16 16"); svg.setAttribute("class", "mark"); svg.setAttribute("aria-hidden", "true");
      path.setAttribute("d", d3.symbol(shapes[symbol], 70)());
      path.style.fill = hollow ? "none" : fill; path.style.stroke = fill; path.style.strokeWidth = 1.6;
      svg.append(path);
      key.append(el("span", {}, svg, label));
    };
    if (id === "multipliers") summary.batches.forEach((b, i) => mark(report.SHAPES[i % report.SHAPES.length], report.shade(i, summary.batches.length), `batch of ${b}`));
    if (id === "frontier") for (const [role, label] of [["reference", "RLOO"], ["free", "free"], ["paid", "paid evidence"], ["exact", "oracle"]]) mark(report.ROLES[role].symbol, `var(--c-${role})`, label);
    if (id === "bias") { mark("circle", "var(--c-reference)", "bias"); mark("circle", "var(--muted)", "with the common factor", true); mark("diamond", "var(--c-exact)", "between prompts"); mark("triangle", "var(--c-paid)", "within a prompt"); }
    return key.childElementCount ? key : null;
  }
  const shapes = { circle: d3.symbolCircle, square: d3.symbolSquare, diamond: d3.symbolDiamond, triangle: d3.symbolTriangle, star: d3.symbolStar, cross: d3.symbolCross };

  function draw(id) {
    const figure = document.querySelector(`[data-figure="${id}"]`);
    const plot = report.charts[id](summary, view, Math.max(560, figure.clientWidth));
    if (!plot) { figure.replaceChildren(el("p", { class: "note" }, "Not measured for this selection.")); return; }
    const svg = plot.tagName === "svg" ? plot : plot.querySelector("svg:last-of-type");
    for (const more of plot.tagName === "svg" ? [] : plot.querySelectorAll("svg")) if (more !== svg) more.setAttribute("aria-hidden", "true");
    svg.setAttribute("role", "img");
    const here = view.task === summary.headline.task && view.batch === summary.reference_batch && view.series === summary.headline.series;
    svg.setAttribute("aria-label", here ? figure.dataset.alt : `${$(id + "-title").textContent}, for ${id === "headline" ? view.series : view.task}`);
    const key = legend(id);
    figure.replaceChildren(...(key ? [key] : []), plot);
  }

  const FIGURES = ["headline", "multipliers", "frontier", "bias", ...(summary.breakeven.length ? ["breakeven"] : [])];
  function all() { board(); identified(); costs(); FIGURES.forEach(draw); }

  function options(select, values, label, chosen, change) {
    select.replaceChildren(...values.map((v) => el("option", { value: v }, label(v))));
    select.value = chosen;
    select.addEventListener("change", () => { change(select.value); all(); });
  }
  options($("task"), summary.tasks.map((t) => t.id), (id) => { const t = summary.tasks.find((x) => x.id === id); return t.title ? `${t.id} (${t.title})` : t.id; }, view.task, (v) => { view.task = v; });
  options($("batch"), summary.batches, String, view.batch, (v) => { view.batch = Number(v); });
  const series = [...new Set(summary.tasks.filter((t) => summary.learning.some((r) => r.task === t.id)).map((t) => t.series))];
  if (series.length > 1) {
    const select = el("select", { id: "series" });
    document.querySelector('[data-control="series"]').append(el("label", {}, "Tasks ", select));
    options(select, series, String, view.series, (v) => { view.series = v; });
  }

  for (const svg of document.querySelectorAll("svg[data-role]")) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", d3.symbol(shapes[report.ROLES[svg.dataset.role].symbol], 150)());
    path.style.fill = `var(--c-${svg.dataset.role})`;
    svg.append(path);
  }

  const rank = summary.agreement;
  if (rank.mean === null) {
    const most = Math.max(0, ...rank.per_task.map((p) => p.methods));
    if (most) $("agreement").textContent = `Does the proxy predict learning? Not said here: a rank correlation needs ${rank.fewest} methods that learned, this run has ${most}.`;
  } else {
    const per = rank.per_task.filter((p) => p.spearman !== null).map((p) => `${p.task} ${digits(p.spearman)} from ${p.methods} methods`).join(", ");
    $("agreement").textContent = `Does the proxy predict learning? Rank correlation of learning speed with the net multiplier (1: same order, 0: unrelated), mean over tasks: ${digits(rank.mean)} (${per}). Where the two part, learning ranks.`;
  }
  all();
  let width = document.body.clientWidth;
  new ResizeObserver(() => { if (document.body.clientWidth !== width) { width = document.body.clientWidth; FIGURES.forEach(draw); } }).observe(document.body);
})(window.apportion);
