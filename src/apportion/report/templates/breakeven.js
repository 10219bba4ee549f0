// Break-even curves: what a method is worth at equal cost, along a knob of its evidence.
(function (report) {
  "use strict";
  const { num, short, times } = report;
  const STROKES = ["var(--c-free)", "var(--c-paid)", "var(--c-exact)", "var(--c-reference)"], DASHES = [null, "7 3", "2 3"];

  function breakeven(summary, view, width) {
    const curves = summary.breakeven.filter((c) => c.task === view.task);
    if (!curves.length) return null;
    const knobs = [...new Set(curves.map((c) => c.knob))];
    const plots = knobs.map((knob) => {
      const mine = curves.filter((c) => c.knob === knob);
      const points = mine.flatMap((c, i) => c.points.map((p) => ({ base: c.base, i, x: p.at, y: num(p.value), low: num(p.low), high: num(p.high), verdict: p.verdict })));
      const known = points.filter((p) => Number.isFinite(p.y) && p.y > 0), none = points.filter((p) => !Number.isFinite(p.y));
      const ys = known.map((p) => p.y), low = Math.min(0.5, ...ys) / 1.5, high = Math.max(2, ...ys) * 1.5;
      const clip = (v) => Math.min(high, Math.max(low, v));
      const xs = [...new Set(points.map((p) => p.x))].sort((a, b) => a - b), wide = xs[0] > 0 && xs[xs.length - 1] / xs[0] > 4;
      const stroke = (p) => STROKES[p.i % STROKES.length];
      const ends = mine.map((c, i) => known.filter((p) => p.i === i).pop()).filter(Boolean);
      return Plot.plot({
        width, height: 340, marginLeft: 62, marginRight: 170, marginTop: 24, marginBottom: 46,
        style: { fontSize: "12.5px", fontFamily: "inherit", background: "none", overflow: "visible" },
        x: { type: wide ? "log" : "linear", ticks: xs, tickFormat: String, label: `${mine[0].label} →`, labelAnchor: "center", labelArrow: "none" },
        y: { type: "log", domain: [low, high], ticks: 5, tickFormat: (v) => `${short(v)}×`, label: "↑ worth at equal cost, in RLOO’s", labelArrow: "none" },
        marks: [
          Plot.gridY({ stroke: "var(--line)", strokeOpacity: 1 }),
          Plot.ruleY([1], { stroke: "var(--c-reference)", strokeWidth: 1.5 }),
          Plot.ruleX(known, { x: "x", y1: (p) => clip(p.low || low), y2: (p) => clip(Number.isFinite(p.high) ? p.high : high), stroke, strokeOpacity: 0.35, strokeWidth: 2 }),
          ...mine.map((c, i) => Plot.line(known.filter((p) => p.i === i), { x: "x", y: "y", stroke: STROKES[i % STROKES.length], strokeWidth: 2.2, ...(DASHES[i % 3] ? { strokeDasharray: DASHES[i % 3] } : {}) })),
          Plot.dot(known, { x: "x", y: "y", r: 4.5, fill: stroke, stroke: "var(--paper)" }),
          Plot.text(none, { x: "x", y: () => low, text: () => "✕", fill: stroke, dy: -8 }),
          Plot.text(ends, { x: "x", y: "y", text: "base", dx: 10, textAnchor: "start", fill: stroke, fontWeight: 650 }),
          Plot.tip(known, Plot.pointer({ x: "x", y: "y", title: (p) => `${p.base}, ${knob} ${p.x}\n${times(p.y)} at equal cost (${times(p.low)} – ${times(p.high)})` })),
        ],
      });
    });
    const box = document.createElement("div");
    box.append(...plots);
    return box;
  }
  report.charts.breakeven = breakeven;
})(window.apportion);
