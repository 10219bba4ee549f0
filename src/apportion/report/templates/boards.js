// Tables of methods at one task: leaderboard, identification, cost; and the list of methods.
(function (report) {
  "use strict";
  const { el, num, short, times, span, table, summary, ranks, find, value, places, multiplier, worth, speedup, speed, who, figures, NOTHING } = report;
  const MOST = 20, inside = (node) => node.querySelector("table");

  figures.board = (node, _, pick) => {
    const rows = pick.methods.map((m) => ({
      ...m, rank: ranks.get(m.id), learned: find("learning", pick.task, m.id), found: find("gradient", pick.task, m.id, pick.batch), identified: find("identification", pick.task, m.id),
    }));
    const L = "learning, the headline", G = `gradient, the fast proxy · batch ${pick.batch}`, I = "identification";
    table(inside(node), [
      { key: "rank", label: "#", hint: "mean rank over all tasks", value: (r) => (r.rank ? r.rank.rank : NaN), text: (r) => (r.rank ? (r.rank.by === "gradient" && summary.learning.length ? "·" : String(r.rank.rank)) : "") },
      who(),
      { key: "cost", group: L, edge: true, label: `cost to ${summary.goal}`, hint: "expected total cost in price units, failed runs included; 95 % interval over seeds", value: (r) => value(r.learned, "cost"), text: (r) => (r.learned ? short(r.learned.cost.value) : "–"), sub: (r) => (r.learned && num(r.learned.cost.value) === Infinity ? `spent ${short(r.learned.spent)}` : r.learned ? span(r.learned.cost) : "") },
      { key: "speedup", group: L, down: true, label: "vs RLOO", hint: "how many times cheaper than RLOO", value: (r) => (r.learned && r.learned.at_least !== null ? Infinity : value(r.learned, "speedup")), text: (r) => speedup(r.learned), sub: (r) => (r.learned && r.id !== "rloo" && Number.isFinite(num(r.learned.speedup.value ?? NaN)) && r.learned.at_most === null ? span(r.learned.speedup, times) : "") },
      { key: "reached", group: L, down: true, label: "reached", hint: "share of seeds that reached the goal", value: (r) => (r.learned ? num(r.learned.reached) : NaN), text: (r) => (r.learned ? `${Math.round(100 * num(r.learned.reached))} %` : "–") },
      { key: "gain", group: L, down: true, label: "gained", hint: "share of the attainable improvement at the end, interquartile mean over seeds", value: (r) => value(r.learned, "gain"), text: (r) => (r.learned ? places(r.learned.gain.value, 2) : "–") },
      { key: "rho", group: G, edge: true, down: true, label: "alignment ρ", hint: "signed alignment of the update with the exact gradient", value: (r) => value(r.found, "rho"), text: (r) => (r.found ? places(r.found.rho.value, 2) : "–"), sub: (r) => (r.found ? span(r.found.rho, (v) => places(v, 2)) : "") },
      { key: "multiplier", group: G, down: true, label: "sample ×", hint: "how many RLOO trajectories one is worth", value: (r) => worth(r.found, "multiplier"), text: (r) => multiplier(r.found, "multiplier") },
      { key: "net", group: G, down: true, label: "net ×", hint: "the same at equal total cost", value: (r) => worth(r.found, "net"), text: (r) => multiplier(r.found, "net") },
      { key: "correlation", group: I, edge: true, down: true, label: "corr.", hint: "correlation with exact credit", value: (r) => value(r.identified, "correlation"), text: (r) => (r.identified ? places(r.identified.correlation.value, 2) : "–") },
      { key: "fork", group: I, down: true, label: "forks", hint: "average precision in finding the forks", value: (r) => value(r.identified, "fork_ap"), text: (r) => (r.identified ? places(r.identified.fork_ap.value, 2) : "–") },
    ], rows, { sort: "rank", caption: `Figures at ${pick.task}; rank over all tasks${rows.some((r) => r.rank && r.rank.by === "gradient") && summary.learning.length ? " (·: learning was not measured, in order of net ×)" : ""}`, most: MOST, none: "No method fits the filter." });
  };

  const estimated = (key, label, hint, down) => ({
    key, label, hint, down, bar: true,
    value: (r) => num((r.row[key] || NOTHING).value), text: (r) => places((r.row[key] || NOTHING).value, 2), sub: (r) => span(r.row[key] || NOTHING, (v) => places(v, 2)),
  });
  const IDENTIFIED = [
    estimated("correlation", "correlation", "with exact credit, over turns", true), estimated("sign", "sign agreement", "over pairs of turns whose exact credit differs", true),
    estimated("fork_ap", "fork precision", "average precision in finding the forks", true), estimated("leak_routine", "leaks to routine turns", "share of credit on turns that cannot matter", false),
    estimated("leak_luck", "leaks to luck", "share of credit explained by the environment’s dice", false),
  ];
  figures.identified = (node, _, pick) => {
    const rows = pick.methods.map((m) => ({ ...m, row: find("identification", pick.task, m.id) })).filter((r) => r.row);
    const others = [...new Set(rows.flatMap((r) => Object.keys(r.row)))].filter((key) => key.startsWith("correlation:"));
    table(inside(node), [
      who(), ...IDENTIFIED,
      ...(rows.some((r) => r.row.silent) ? [estimated("silent", "silent", "share of forks the method says nothing about", false)] : []),
      ...others.map((key) => estimated(key, `corr. ${key.slice(12).replace(/_/g, " ")}`, "with another estimand: see the protocol", true)),
    ], rows, { caption: `At ${pick.task}`, most: MOST });
  };

  const COSTS = [["generated", "tokens generated"], ["scored", "tokens scored"], ["env_steps", "environment steps"], ["judge_calls", "judge calls"], ["trained", "tokens trained on"], ["price", "price per trajectory"]];
  const cost = ([key, label]) => ({ key, label, value: (r) => num(r.row[key]), text: (r) => short(r.row[key]) });
  figures.costs = (node, _, pick) => {
    const rows = pick.methods.map((m) => ({ ...m, row: find("cost", pick.task, m.id) })).filter((r) => r.row);
    table(inside(node), [who(), ...COSTS.map(cost)], rows, { caption: `Per trajectory at ${pick.task}`, most: MOST });
  };

  figures.catalogue = (node, _, pick) => {
    const rows = pick.methods.map((m) => ({ ...m, rank: ranks.get(m.id), known: report.pages.methods.library[m.method] || {} }));
    table(inside(node), [
      who(),
      { key: "what", label: "what it is", kind: "text", value: (r) => r.known.summary || "", text: (r) => r.known.summary || "" },
      { key: "unit", label: "credits", kind: "text", value: (r) => r.known.unit || "", text: (r) => r.known.unit || "" },
      { key: "asks", label: "asks for", kind: "text", value: (r) => r.asks || "", text: (r) => r.asks || "" },
      { key: "status", label: "formula", hint: "how far its formula was checked against the source", kind: "text", value: (r) => r.known.status || "", text: (r) => r.known.status || "" },
      { key: "rank", label: "rank", hint: "over all tasks, by learning and then by gradient", value: (r) => (r.rank ? r.rank.rank : NaN), text: (r) => (r.rank ? String(r.rank.rank) : "–") },
    ], rows, { caption: `${rows.length} entrants`, most: 60, none: "No method fits the filter." });
  };

  Object.assign(report, { IDENTIFIED, COSTS, MOST, inside, speed });
})(window.apportion);
