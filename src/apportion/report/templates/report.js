// Puts the page together: selectors, what is drawn in a view, and what an address shows.
(function (report) {
  "use strict";
  const { el, num, digits, short, summary, tasks, figures, open, router } = report;
  const initial = { task: summary.headline.task, batch: summary.reference_batch };
  const pick = { ...initial, series: summary.headline.series, methods: report.filtered(), all: new Set() };
  const $ = (id) => document.getElementById(id);
  const shapes = { circle: d3.symbolCircle, square: d3.symbolSquare, diamond: d3.symbolDiamond, triangle: d3.symbolTriangle, star: d3.symbolStar, cross: d3.symbolCross };
  const inSvg = (tag) => document.createElementNS("http://www.w3.org/2000/svg", tag);
  const lens = JSON.parse($("data-lens").textContent);

  function legend(id) {
    const key = el("p", { class: "key" });
    const mark = (symbol, fill, label, hollow) => {
      const svg = inSvg("svg"), path = inSvg("path");
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

  // A chart of at most some twenty methods as a figure with a name and a button for the rest.
  function chart(id) {
    const words = (node) => { const h = node.closest("section").querySelector("h2"); return h ? h.textContent : id; };
    const rank = (m) => { return report.worth(report.find("gradient", pick.task, m.id, pick.batch), "multiplier"); };
    const bounded = id === "multipliers" || id === "bias";
    figures[id] = (node) => {
      const methods = bounded ? report.few(pick.methods, rank, pick.all.has(id)) : pick.methods;
      const plot = report.charts[id](summary, { ...pick, methods }, Math.max(560, node.clientWidth));
      if (!plot) { node.replaceChildren(el("p", { class: "note" }, "Not measured for this selection.")); return; }
      const all = plot.tagName === "svg" ? [plot] : [...plot.querySelectorAll("svg")];
      const big = all.filter((svg) => !svg.closest("[class*=swatch]"));
      for (const svg of all) svg.setAttribute("aria-hidden", "true");
      const here = pick.task === initial.task && pick.batch === initial.batch && pick.series === summary.headline.series && node.dataset.alt;
      for (const svg of big.length > 1 && plot.tagName !== "FIGURE" ? big : big.slice(-1)) {
        svg.removeAttribute("aria-hidden"); svg.setAttribute("role", "img");
        svg.setAttribute("aria-label", here ? node.dataset.alt : `${words(node)}, for ${id === "headline" ? pick.series : pick.task}`);
      }
      const key = legend(id), left = bounded ? pick.methods.length - methods.length : 0;
      const more = left > 0 ? el("button", { type: "button", class: "more" }, `Show all ${pick.methods.length} methods`) : null;
      if (more) more.addEventListener("click", () => { pick.all.add(id); draw(); });
      node.replaceChildren(...[key, plot, more].filter(Boolean));
      if (node.scrollWidth > node.clientWidth) node.tabIndex = 0; else node.removeAttribute("tabindex"); // scrolled by keyboard
    };
  }
  Object.keys(report.charts).forEach(chart);

  function draw(view = router.view()) {
    for (const node of view.querySelectorAll("[data-figure]")) {
      const make = figures[node.dataset.figure];
      if (make) make(node, summary, pick);
    }
  }
  const redraw = () => { pick.methods = report.filtered(); draw(); };

  function options(select, values, label, chosen, change) {
    select.replaceChildren(...values.map((v) => el("option", { value: v }, label(v))));
    select.value = chosen;
    select.addEventListener("change", () => { change(select.value); remember(); draw(); });
  }
  function remember() {
    const said = {};
    if (pick.task !== initial.task) said.task = tasks.get(pick.task).slug;
    if (pick.batch !== initial.batch) said.batch = pick.batch;
    router.remember(said);
  }
  options($("task"), summary.tasks.map((t) => t.id), (id) => { const t = tasks.get(id); return t.title ? `${t.id} (${t.title})` : t.id; }, pick.task, (v) => { pick.task = v; });
  options($("batch"), summary.batches, String, pick.batch, (v) => { pick.batch = Number(v); });
  report.filter(redraw);
  const series = [...new Set(summary.tasks.filter((t) => summary.learning.some((r) => r.task === t.id)).map((t) => t.series))];
  if (series.length > 1) {
    const places = [...document.querySelectorAll('[data-control="series"]')], selects = places.map((_, i) => el("select", { id: i ? `series-${i}` : "series" }));
    const set = (v) => { pick.series = v; for (const select of selects) select.value = v; };
    places.forEach((place, i) => { place.append(el("label", {}, "Tasks ", selects[i])); options(selects[i], series, String, pick.series, set); });
  }

  for (const svg of document.querySelectorAll("svg[data-role]")) {
    const path = inSvg("path");
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
    $("agreement").textContent = `Does the proxy predict learning? Rank correlation of learning speed with the net multiplier (1: same order, 0: unrelated), mean over tasks: ${digits(rank.mean)} (${per}). ${rank.mean < 0.5 ? "Below .5: the proxy does not order methods as learning does, and learning ranks." : "Where the two part, learning ranks."}`;
  }

  const hasLens = (id) => lens.tasks.some((t) => t.task === id);
  // What an address shows: false where there is nothing of that name.
  function prepare(name, rest, query, node) {
    const task = [...tasks.values()].find((t) => t.slug === query.get("task")), batch = Number(query.get("batch"));
    if (task) pick.task = task.id;
    if (summary.batches.includes(batch)) pick.batch = batch;
    const page = open[name];
    if (Boolean(page) !== Boolean(rest)) return null;
    const found = page ? page(node, rest, pick, hasLens) : { heading: node.dataset.heading, nav: name, uses: node.dataset.uses.split(" ").filter(Boolean) };
    if (name === "lens" && task && hasLens(task.id)) {
      const select = $("lens-task");
      select.value = String(lens.tasks.findIndex((t) => t.task === task.id));
      select.dispatchEvent(new Event("change"));
    }
    $("task").value = pick.task; $("batch").value = String(pick.batch);
    return found;
  }
  router.start(prepare, draw);
  let width = document.body.clientWidth;
  new ResizeObserver(() => { if (document.body.clientWidth !== width) { width = document.body.clientWidth; draw(); } }).observe(document.body);
})(window.apportion);
