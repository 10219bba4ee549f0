// The page of a family: its question, its tasks, and its leaderboard with intervals.
(function (report) {
  "use strict";
  const { el, num, span, table, summary, tasks, places, times, who, taskLink, open, figures, MOST } = report;
  const SCORES = [
    ["speed", "By learning", "Interquartile mean, over all runs of all tasks, of RLOO’s cost over the method’s own: 1 is as cheap as RLOO, 0 never got there, and 10 is whatever was cheaper still. Chance: that a run of the method beats one of RLOO on the same task.", (v) => (num(v) === 0 ? "never" : times(v))],
    ["alignment", "By gradient", "Interquartile mean of the alignment of the update with the exact gradient: 1 is the exact direction, 0 says nothing, below 0 points downhill. A fast proxy: where the two part, learning decides.", (v) => places(v, 2)],
  ];

  function board(node, family, score, show, pick) {
    const rows = summary.aggregate.filter((r) => r.family === family && r.score === score).flatMap((row) => {
      const m = pick.methods.find((one) => one.id === row.method);
      return m ? [{ ...m, row }] : [];
    });
    table(node, [
      who(),
      { key: "iqm", label: score === "speed" ? "times cheaper" : "alignment", hint: "interquartile mean over runs and tasks, 95 % interval", down: true, value: (r) => num(r.row.iqm.value), text: (r) => (r.row.bound && num(r.row.iqm.value) > 0 ? ">" : "") + show(r.row.iqm.value), sub: (r) => span(r.row.iqm, show) },
      { key: "poi", label: "chance to beat RLOO", hint: "probability of improvement over RLOO on the same task; ties count half", down: true, bar: true, value: (r) => num(r.row.poi.value), text: (r) => places(r.row.poi.value, 2), sub: (r) => (r.id === "rloo" ? "" : span(r.row.poi, (v) => places(v, 2))) },
      { key: "gap", label: "falls short by", hint: "optimality gap: how far runs fall short of 1 on average", value: (r) => num(r.row.gap.value), text: (r) => places(r.row.gap.value, 2), sub: (r) => span(r.row.gap, (v) => places(v, 2)) },
      { key: "tasks", label: "tasks", hint: "measured on, of those of the family", value: (r) => r.row.tasks.length, text: (r) => `${r.row.tasks.length} of ${r.row.of}`, sub: (r) => (r.row.tasks.length < r.row.of ? "not comparable" : "") },
      { key: "runs", label: "seeds", value: (r) => r.row.runs, text: (r) => String(r.row.runs) },
    ], rows, { sort: "iqm", way: -1, caption: rows.length ? `${rows.length} methods` : "", most: MOST, none: score === "speed" ? "Learning was not measured here." : "No method fits the filter." });
  }

  open.family = (root, slug) => {
    const mine = summary.tasks.filter((t) => String(t.family || "").replaceAll("/", "~") === slug);
    if (!mine.length) return null;
    const card = report.pages.families.find((f) => f.slug === slug);
    const list = el("ul", { class: "plain" }, ...mine.map((t) => el("li", {}, taskLink(t.id), t.title ? ` ${t.title}` : "")));
    const parts = SCORES.map(([score, title, read, show]) => {
      const node = el("table", { class: "data" }), name = `family-${score}`;
      figures[name] = (at, _, pick) => board(at.querySelector("table"), card.id, score, show, pick);
      return el("section", { "aria-label": title }, el("h2", {}, title), el("p", { class: "read" }, read), el("div", { class: "wide", "data-figure": name }, node));
    });
    root.replaceChildren(el("p", { class: "lead" }, card.asks), list, el("div", { "data-selectors": "" }), ...parts);
    return { heading: card.title, nav: "families", uses: ["filter"] };
  };
})(window.apportion);
