// Each method against the estimand it claims and against the advantage, at one task.
(function (report) {
  "use strict";
  const { num, places, span, table, who, figures, el } = report;
  const words = (name) => (name === null || name === "none" ? "–" : name.replace(/_/g, " "));
  const two = (v) => places(v, 2);

  figures.estimands = (node, summary, pick) => {
    const found = new Map(summary.estimands.methods.filter((r) => r.task === pick.task).map((r) => [r.method, r]));
    const rows = pick.methods.filter((m) => found.has(m.id)).map((m) => ({ ...m, row: found.get(m.id) }));
    const column = (key, label, hint) => ({ key, label, hint, down: true, bar: key !== "gap", value: (r) => num(r.row[key].value), text: (r) => two(r.row[key].value), sub: (r) => span(r.row[key], two) });
    table(node.querySelector("table"), [
      who("method "),
      { key: "claims", label: "claims", kind: "text", hint: "the estimand on its card", value: (r) => words(r.row.claims), text: (r) => words(r.row.claims) },
      column("own", "with its own", "correlation with the estimand it claims"), column("advantage", "with the advantage", "correlation with the exact advantage"),
      column("gap", "own − advantage", "paired by seed; above 0 it resembles what it claims more"),
      { key: "best", label: "resembles most", kind: "text", hint: "the estimand with the highest correlation", value: (r) => words(r.row.best), text: (r) => el("span", {}, words(r.row.best), r.row.surely ? el("span", { class: "sub" }, "surely") : "") },
    ], rows, { caption: `At ${pick.task}`, most: 40, none: "No method of this selection was measured here." });
  };
})(window.apportion);
