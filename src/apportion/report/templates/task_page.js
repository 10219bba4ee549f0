// The page of a task: its knobs and exact facts, its leaderboard, its frontier.
(function (report) {
  "use strict";
  const { el, places, tasks, terms, href, open, summary } = report;
  const drawn = (id, title, read, node) => el("section", { "aria-label": title }, el("h2", { id: `${id}-title-task` }, title), read ? el("p", { class: "read" }, read) : null, node);
  const board = (id) => el("div", { class: "wide", "data-figure": id }, el("table", { class: "data" }));

  open.task = (root, slug, pick, hasLens) => {
    const t = [...tasks.values()].find((one) => one.slug === slug);
    if (!t) return null;
    pick.task = t.id;
    const gap = t.start !== null && t.best !== null ? t.best - t.start : null;
    const lensed = hasLens(t.id);
    root.replaceChildren(...[
      el("p", { class: "lead" }, t.title ? `${t.title[0].toUpperCase()}${t.title.slice(1)}. ` : "", t.family ? el("span", {}, "Family ", el("a", { href: href("family", t.family_slug) }, t.family), ".") : null,
        lensed ? el("span", {}, " See single trajectories in the ", el("a", { href: `#/lens?task=${encodeURIComponent(t.slug)}` }, "lens"), ".") : null),
      terms([
        ["horizon", t.horizon === null ? null : `${t.horizon}`], ["tags", t.tags.join(", ")],
        ["expected return at the start", t.start === null ? null : places(t.start, 3)], ["best possible", t.best === null ? null : places(t.best, 3)], ["to be gained", gap === null ? null : places(gap, 3)],
      ]),
      Object.keys(t.knobs).length ? el("details", {}, el("summary", {}, "Knobs and facts of this task"), terms(Object.entries(t.knobs))) : null,
      el("div", { "data-selectors": "" }),
      drawn("board", "Leaderboard", "Figures at this task; the rank is over all tasks of the run.", board("board")),
      drawn("frontier", "Worth against price", "Up is cleaner, right is dearer: methods above the dashed diagonal are worth more than they cost.", el("figure", { class: "chart", "data-figure": "frontier", "data-alt": "" })),
      drawn("multipliers", "What one batch is worth", "How many of RLOO’s trajectories one of the method’s is worth, at each batch size.", el("figure", { class: "chart", "data-figure": "multipliers", "data-alt": "" })),
      drawn("identified", "Identification", "How much the credit itself resembles the truth at this task.", board("identified")),
    ].filter(Boolean));
    return { heading: t.id, nav: "tasks", uses: summary.batches.length ? ["batch", "filter"] : ["filter"] };
  };
})(window.apportion);
