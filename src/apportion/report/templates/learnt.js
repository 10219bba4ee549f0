// What learning cost: one task in full, and every task at a glance.
(function (report) {
  "use strict";
  const { el, num, short, times, span, table, summary, find, value, places, speedup, speed, who, figures, inside, MOST } = report;
  const percent = (v) => (v === null || v === undefined ? "–" : `${Math.round(100 * num(v))} %`);
  const COLUMNS = [
    { key: "cost", label: "cost", hint: "expected total cost in price units, failed runs included", value: (r) => value(r.row, "cost"), text: (r) => short(r.row.cost.value), sub: (r) => (num(r.row.cost.value) === Infinity ? `spent ${short(r.row.spent)}` : span(r.row.cost)) },
    { key: "speedup", label: "vs RLOO", hint: "how many times cheaper than RLOO", down: true, value: (r) => speed(r.row), text: (r) => speedup(r.row), sub: (r) => (r.row.method === "rloo" || !Number.isFinite(value(r.row, "speedup")) || r.row.at_most !== null ? "" : span(r.row.speedup, times)) },
    { key: "reached", label: "reached", hint: "share of seeds that reached the goal", down: true, value: (r) => num(r.row.reached), text: (r) => percent(r.row.reached) },
    { key: "gain", label: "gained", hint: "share of the attainable improvement at the end", down: true, value: (r) => value(r.row, "gain"), text: (r) => places(r.row.gain.value, 2), sub: (r) => span(r.row.gain, (v) => places(v, 2)) },
    { key: "collapse", label: "collapsed", hint: "share of all trainings, every setting of the grid, that lost what they had gained or grew certain before the goal", value: (r) => (r.row.collapse ? num(r.row.collapse.value) : NaN), text: (r) => (r.row.collapse ? percent(r.row.collapse.value) : "–"), sub: (r) => (r.row.collapse ? `${span(r.row.collapse, percent)} of ${r.row.collapse.runs}` : "") },
    { key: "updates", label: "updates", hint: "median number of updates", value: (r) => num(r.row.updates), text: (r) => short(r.row.updates) },
    { key: "setting", label: "at", hint: "the best of the grid", kind: "text", value: (r) => r.row.batch, text: (r) => `batch ${r.row.batch}, rate ${r.row.lr}`, sub: (r) => `best of ${r.row.settings}` },
  ];
  const some = (rows) => COLUMNS.filter((c) => c.key !== "collapse" || rows.some((r) => r.row.collapse));

  figures.learnt = (node, _, pick) => {
    const rows = pick.methods.map((m) => ({ ...m, row: find("learning", pick.task, m.id) })).filter((r) => r.row);
    table(inside(node), [who(), ...some(rows)], rows, { sort: "cost", caption: `At ${pick.task}`, most: MOST, none: "Learning was not measured for this selection." });
  };

  figures["learnt-tasks"] = (node, _, pick) => {
    const learned = new Set(summary.learning.map((r) => r.method)), used = new Set(summary.learning.map((r) => r.task));
    const rows = pick.methods.filter((m) => learned.has(m.id)).map((m) => ({ ...m }));
    const cell = (r) => {
      if (!r) return "–";
      const low = num(r.speedup.low), high = num(r.speedup.high), better = low > 1 || (r.at_least !== null && num(r.at_least) > 1), worse = high < 1 && r.at_most === null;
      const said = num(r.cost.value) === Infinity ? "never" : speedup(r);
      return r.method === "rloo" ? said : better ? el("strong", {}, said) : worse ? el("s", {}, said) : said;
    };
    const columns = summary.tasks.filter((t) => used.has(t.id)).map((t) => ({
      key: t.id, label: t.id.replace("/", "/\u200b"), hint: t.title, down: true, value: (r) => speed(find("learning", t.id, r.id)), text: (r) => cell(find("learning", t.id, r.id)),
    }));
    table(inside(node), [who(), ...columns], rows, { caption: "Times cheaper than RLOO", none: "Learning was not measured in this run." });
  };
  report.LEARNT = some;
})(window.apportion);
