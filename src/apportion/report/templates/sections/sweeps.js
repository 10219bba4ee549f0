// Sweeps: each method along one knob of a family, and the same numbers as a table.
(function (report) {
  "use strict";
  const { num, short, times, span, table, places, who, figures } = report;
  const COLORS = ["var(--c-free)", "var(--c-paid)", "var(--b1)", "var(--c-other)"], DASHES = [null, "7 3", "2 3", "9 2 2 2"], MARKS = ["square", "diamond", "star", "cross"];
  const select = document.getElementById("sweeps-measure"), seen = new Map(); // what each figure was drawn from last
  const sweep = (summary, node) => summary.sweeps.find((s) => s.knob === node.dataset.knob);
  const round = (text) => text.replace(/\.0+(?=\D|$)/, "").replace(/(\.\d*?)0+(?=\D|$)/, "$1");
  const name = (v) => (typeof v === "number" ? (v >= 1000 ? round(short(v)) : String(v)) : v);
  // Powers of ten within a domain, with 2 and 5 between them where they are few.
  function steps([low, high]) {
    const out = [], few = Math.log10(high / low) < 2.5;
    for (let k = Math.floor(Math.log10(low)); k <= Math.ceil(Math.log10(high)); k++) for (const m of few ? [1, 2, 5] : [1]) if (m * 10 ** k >= low && m * 10 ** k <= high) out.push(m * 10 ** k);
    return out;
  }

  // How a line looks: RLOO, exact credit and the others that are drawn in full; undefined for a faint one.
  function look(row, method) {
    if (method === "rloo") return { stroke: "var(--c-reference)", symbol: "circle", dash: null };
    if (method === "exact") return { stroke: "var(--c-exact)", symbol: "triangle", dash: "2 3" };
    const i = row.shown.filter((m) => m !== "rloo" && m !== "exact").indexOf(method);
    return i < 0 ? undefined : { stroke: COLORS[i % 4], symbol: MARKS[i % 4], dash: DASHES[i % 4] };
  }

  // Labels at the right end, apart from each other: [{y in pixels, …}].
  function apart(labels, gap, bottom) {
    labels.sort((a, b) => a.py - b.py);
    labels.forEach((l, i) => { if (i) l.py = Math.max(l.py, labels[i - 1].py + gap); });
    for (let i = labels.length - 1, most = bottom; i >= 0; i -= 1, most -= gap) labels[i].py = Math.min(labels[i].py, most);
    return labels;
  }

  figures.sweep = (node, summary, pick) => {
    seen.set(node, [summary, pick]);
    const row = sweep(summary, node), of = select.value, net = of === "net", width = Math.max(560, node.clientWidth);
    const methods = new Map(pick.methods.map((m) => [m.id, m]));
    const dots = row.lines.filter((l) => methods.has(l.method)).flatMap((l) => row.points.map((p, i) => ({
      method: l.method, m: methods.get(l.method), look: look(row, l.method), x: p.value, i, verdict: l.verdict[i],
      y: l[of][i] ? num(l[of][i].value) : NaN, low: l[of][i] ? num(l[of][i].low) : NaN, high: l[of][i] ? num(l[of][i].high) : NaN,
    }))).filter((d) => d.verdict !== null);
    const known = dots.filter((d) => Number.isFinite(d.y) && (!net || d.y > 0));
    if (!known.length) { node.replaceChildren(report.el("p", { class: "note" }, "No method of this selection has a value here.")); return; }
    const xs = row.points.map((p) => p.value), numbers = xs.every((v) => typeof v === "number");
    const wide = numbers && xs[0] > 0 && xs[xs.length - 1] / xs[0] > 4;
    const ys = known.map((d) => d.y);
    const domain = net ? [Math.min(0.5, ...ys) / 1.6, Math.max(2, ...ys) * 1.6] : [Math.min(0, ...ys) - 0.06, Math.min(1.04, Math.max(...ys) + 0.08)];
    const clip = (v) => Math.min(domain[1], Math.max(domain[0], v));
    const height = 360, top = 24, bottom = 46, right = 190;
    const scale = net ? (v) => Math.log(v / domain[0]) / Math.log(domain[1] / domain[0]) : (v) => (v - domain[0]) / (domain[1] - domain[0]);
    const back = net ? (s) => domain[0] * (domain[1] / domain[0]) ** s : (s) => domain[0] + s * (domain[1] - domain[0]);
    const full = known.filter((d) => d.look), faint = known.filter((d) => !d.look);
    const drawn = row.shown.filter((m) => full.some((d) => d.method === m));
    const ends = drawn.map((m) => full.filter((d) => d.method === m).pop());
    const inner = height - top - bottom;
    const labels = apart(ends.map((d) => ({ ...d, py: (1 - scale(d.y)) * inner })), 16, inner).map((l) => ({ ...l, ly: back(1 - l.py / inner) }));
    const last = xs[xs.length - 1];
    const tip = (d) => `${d.m.name}${d.m.oracle ? " (oracle)" : ""} at ${name(d.x)}\n${net ? `${times(d.y)} at equal cost (${times(d.low)} – ${times(d.high)})` : `alignment ${places(d.y, 2)} (${places(d.low, 2)} – ${places(d.high, 2)})`}`;
    const plot = Plot.plot({
      width, height, marginLeft: 62, marginRight: right, marginTop: top, marginBottom: bottom,
      style: { fontSize: "12.5px", fontFamily: "inherit", background: "none", overflow: "visible" },
      x: numbers ? { type: wide ? "log" : "linear", axis: null }
        : { type: "point", domain: xs, label: row.title, labelAnchor: "center", labelArrow: "none", padding: 0.4 },
      y: net ? { type: "log", domain, axis: null }
        : { domain, ticks: 5, label: "↑ alignment ρ", labelArrow: "none" },
      symbol: { type: "identity" },
      marks: [ // axes of our own, since those of a log scale leave labels out
        Plot.gridY(net ? steps(domain) : undefined, { stroke: "var(--line)", strokeOpacity: 1, ...(net ? {} : { ticks: 5 }) }),
        ...(numbers ? [Plot.axisX(xs, { text: name, label: `${row.title} →`, labelAnchor: "center", labelArrow: "none" })] : []),
        ...(net ? [Plot.axisY(steps(domain), { text: (v) => round(times(v)), label: "↑ worth at equal cost, in RLOO’s", labelArrow: "none" })] : []),
        Plot.ruleY([net ? 1 : 0], { stroke: "var(--faint)", strokeWidth: 1.2 }),
        Plot.line(faint, { x: "x", y: "y", z: "method", stroke: "var(--faint)", strokeWidth: 1, strokeOpacity: 0.7 }),
        Plot.dot(faint, { x: "x", y: "y", r: 2, fill: "var(--faint)" }),
        Plot.ruleX(full, { x: "x", y1: (d) => clip(net ? d.low || domain[0] : d.low), y2: (d) => clip(Number.isFinite(d.high) ? d.high : domain[1]), stroke: (d) => d.look.stroke, strokeOpacity: 0.35, strokeWidth: 2 }),
        ...drawn.map((m) => { const mine = full.filter((d) => d.method === m); return Plot.line(mine, { x: "x", y: "y", stroke: mine[0].look.stroke, strokeWidth: 2.2, ...(mine[0].look.dash ? { strokeDasharray: mine[0].look.dash } : {}) }); }),
        Plot.dot(full, { x: "x", y: "y", r: 4.6, symbol: (d) => d.look.symbol, fill: (d) => d.look.stroke, stroke: "var(--paper)" }),
        Plot.text(dots.filter((d) => d.look && !Number.isFinite(d.y)), { x: "x", y: () => domain[0], text: () => "✕", fill: (d) => d.look.stroke, dy: -6, fontWeight: 700 }),
        Plot.text(labels, { x: () => last, y: "ly", text: (d) => `${d.m.name}${d.m.oracle ? " (oracle)" : ""}${d.x === last ? "" : `, to ${name(d.x)}`}`, dx: numbers ? 12 : 26, textAnchor: "start", fill: (d) => (d.look.stroke === "var(--c-other)" ? "var(--muted)" : d.look.stroke), fontWeight: 650 }),
        Plot.tip(known, Plot.pointer({ x: "x", y: "y", title: tip })),
      ],
    });
    const svg = plot.tagName === "svg" ? plot : plot.querySelector("svg");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", node.dataset.alt);
    node.replaceChildren(plot);
  };

  figures["sweep-table"] = (node, summary, pick) => {
    const row = sweep(summary, node), lines = new Map(row.lines.map((l) => [l.method, l]));
    const rows = pick.methods.filter((m) => lines.has(m.id)).map((m) => ({ ...m, line: lines.get(m.id) }));
    const column = (p, i) => ({
      key: `at-${i}`, label: name(p.value), hint: p.task, down: true,
      value: (r) => (r.line.net[i] ? num(r.line.net[i].value) : NaN),
      text: (r) => (r.line.net[i] === null ? "–" : r.line.net[i].value === null ? (r.line.verdict[i] === "pushes the wrong way" ? "✕ wrong way" : "?") : times(r.line.net[i].value)),
      sub: (r) => [r.line.net[i] && r.line.net[i].value !== null ? span(r.line.net[i], times) : "", r.line.rho[i] ? `ρ ${places(r.line.rho[i].value, 2)} (${span(r.line.rho[i], (v) => places(v, 2))})` : ""].filter(Boolean).join("; "),
    });
    table(node.querySelector("table"), [who("method "), ...row.points.map(column)], rows, { caption: `Net multiplier, and alignment ρ below it, by ${row.title}`, most: 20, none: "No method fits the filter." });
  };

  select.addEventListener("change", () => { for (const [node, [summary, pick]] of seen) figures.sweep(node, summary, pick); });
})(window.apportion);
