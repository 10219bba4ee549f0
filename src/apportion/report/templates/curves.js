// Learning curves: a panel a method, with RLOO's curve behind; bands over seeds, and every seed as a thin line.
(function (report) {
  "use strict";
  const { el, num, short, span, table, summary, find, value, places, who, figures, inside, MOST } = report;
  const of = (pick) => {
    const task = summary.curves.some((r) => r.task === pick.task) ? pick.task : summary.curves[0].task;
    return [task, summary.curves.filter((r) => r.task === task)];
  };
  const color = (m) => (m.role === "other" ? "var(--b1)" : `var(--c-${m.role})`);
  const name = (m) => (m.oracle ? `${m.name} (oracle)` : m.name);
  const points = (row, panel) => row.shares.map((s, i) => ({ ...panel, x: s * num(row.budget), y: num(row.value[i]), low: num(row.low[i]), high: num(row.high[i]) }));
  const PANELS = 12;

  figures.curves = (node, _, pick) => {
    if (!summary.curves.length) return;
    const [task, rows] = of(pick), base = rows.find((r) => r.method === "rloo"), by = new Map(rows.map((r) => [r.method, r]));
    const all = pick.methods.filter((m) => by.has(m.id) && m.id !== "rloo"), methods = all.length || !base ? all.slice(0, PANELS) : pick.methods.filter((m) => m.id === "rloo");
    if (!methods.length) { node.replaceChildren(el("p", { class: "note" }, "No method of this selection has a curve.")); return; }
    const width = Math.max(560, node.clientWidth), columns = Math.min(methods.length, width > 900 ? 4 : 2), lines = Math.ceil(methods.length / columns);
    const panel = (i) => ({ fx: i % columns, fy: Math.floor(i / columns) });
    const drawn = methods.map((m, i) => ({ m, row: by.get(m.id), at: panel(i), stroke: color(m) }));
    const own = drawn.map((d) => ({ ...d, data: points(d.row, { ...d.at, m: d.m }) }));
    const behind = base ? drawn.filter((d) => d.row !== base).flatMap((d) => points(base, { ...d.at, z: d.m.id })) : [];
    const low = Math.min(num(rows[0].start), ...rows.flatMap((r) => r.seeds.flat().map(num))), high = Math.max(num(rows[0].attainable), ...rows.flatMap((r) => r.seeds.flat().map(num)));
    const domain = [Math.max(0, low - 0.04), Math.min(1, high + 0.06)], clip = (v) => Math.min(domain[1], Math.max(domain[0], v));
    const band = (data, stroke, opacity) => Plot.areaY(data.filter((p) => Number.isFinite(p.low)), { x: "x", y1: (p) => clip(p.low), y2: (p) => clip(p.high), z: "z", fx: "fx", fy: "fy", fill: stroke, fillOpacity: opacity, curve: "step-after" });
    const tip = (p) => `${name(p.m)} after ${short(p.x)} price units\nreturn ${places(p.y, 3)}${Number.isFinite(p.low) ? ` (${places(p.low, 3)} – ${places(p.high, 3)})` : ""}`;
    const words = `Return against price units spent on ${task}, a panel for each of ${methods.map(name).join(", ")}, with RLOO behind.`;
    const plot = Plot.plot({
      width, height: 60 + 230 * lines, marginLeft: 52, marginRight: 16, marginTop: 34, marginBottom: 44,
      style: { fontSize: "12.5px", fontFamily: "inherit", background: "none", overflow: "visible" },
      x: { domain: [0, num(rows[0].budget)], ticks: 3, tickFormat: (v) => short(v).replace(/\.0+(?=\D|$)/, ""), label: "price units spent →", labelAnchor: "center", labelArrow: "none" },
      y: { domain, ticks: 5, label: "↑ return", labelArrow: "none" }, fx: { axis: null, padding: 0.08 }, fy: { axis: null, padding: 0.16 },
      marks: [
        Plot.gridY({ stroke: "var(--line)", strokeOpacity: 1, ticks: 5 }),
        Plot.ruleY([num(rows[0].attainable)], { stroke: "var(--muted)", strokeDasharray: "2 3" }),
        band(behind, "var(--c-reference)", 0.1),
        Plot.line(behind, { x: "x", y: "y", z: "z", fx: "fx", fy: "fy", stroke: "var(--c-reference)", strokeWidth: 1.4, strokeDasharray: "5 3", curve: "step-after" }),
        ...own.flatMap((d) => [
          band(d.data, d.stroke, 0.18),
          ...d.row.seeds.map((line) => Plot.line(line.map((v, i) => ({ ...d.at, x: d.row.shares[i] * num(d.row.budget), y: num(v) })).filter((p) => Number.isFinite(p.y)), { x: "x", y: "y", fx: "fx", fy: "fy", stroke: d.stroke, strokeWidth: 0.8, strokeOpacity: 0.55, curve: "step-after" })),
          Plot.line(d.data, { x: "x", y: "y", fx: "fx", fy: "fy", stroke: d.stroke, strokeWidth: 2.4, curve: "step-after" }),
        ]),
        Plot.text(drawn, { fx: (d) => d.at.fx, fy: (d) => d.at.fy, frameAnchor: "top-left", dy: -18, text: (d) => name(d.m), fill: "currentColor", fontWeight: 650, fontSize: 13 }),
        Plot.tip(own.flatMap((d) => d.data), Plot.pointer({ x: "x", y: "y", fx: "fx", fy: "fy", title: tip })),
      ],
    });
    const svg = plot.tagName === "svg" ? plot : plot.querySelector("svg");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", words);
    const left = all.length - methods.length;
    node.replaceChildren(...[plot, left > 0 ? el("p", { class: "note" }, `The first ${PANELS} of ${all.length} methods; the filter chooses others.`) : null].filter(Boolean));
    if (node.scrollWidth > node.clientWidth) node.tabIndex = 0; else node.removeAttribute("tabindex");
  };

  const three = (key, label, hint) => ({ key, label, hint, down: true, value: (r) => value(r.row, key), text: (r) => places(r.row[key].value, 3), sub: (r) => span(r.row[key], (v) => places(v, 3)) });
  figures["curve-table"] = (node, _, pick) => {
    if (!summary.curves.length) return;
    const [task, rows] = of(pick), by = new Map(rows.map((r) => [r.method, { ahead: { value: 0, low: 0, high: 0 }, ...Object.fromEntries(Object.entries(r).filter(([, v]) => v !== null)) }]));
    const shown = pick.methods.filter((m) => by.has(m.id)).map((m) => ({ ...m, row: by.get(m.id), at: find("learning", task, m.id) }));
    const columns = [
      who(), three("final", "return at the end", "once the whole budget is spent"), three("ahead", "less RLOO’s", "paired by seed"), three("whole", "mean on the way", "mean return over the budget"),
      { key: "cost", label: "cost", hint: `expected price units to ${summary.goal} of the attainable return`, value: (r) => (r.at ? value(r.at, "cost") : NaN), text: (r) => (r.at ? short(r.at.cost.value) : "–"), sub: (r) => (r.at && num(r.at.cost.value) !== Infinity ? span(r.at.cost) : "") },
      { key: "lr", label: "at", hint: "the best of the grid, chosen on all seeds", kind: "text", value: (r) => r.row.lr, text: (r) => `rate ${r.row.lr}` },
    ];
    table(inside(node), columns, shown, { sort: "final", way: -1, caption: `At ${task}, ${short(rows[0].budget)} price units each`, most: MOST, none: "No method fits the filter." });
  };
})(window.apportion);
