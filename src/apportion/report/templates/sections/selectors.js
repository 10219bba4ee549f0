// How often advice holds: a dot and its interval for each selector.
(function (report) {
  "use strict";
  const { figures } = report;
  figures.selectors = (node, summary) => {
    const rows = summary.selectors.map((r) => ({ name: r.title, x: r.first.value, low: r.first.low, high: r.first.high, ours: r.selector === "measured" }));
    const narrow = node.clientWidth < 560;
    const svg = Plot.plot({
      width: Math.max(320, Math.min(node.clientWidth, 900)), height: 60 + 34 * rows.length, marginLeft: narrow ? 150 : 300, marginRight: 24, marginBottom: 44,
      style: { fontSize: narrow ? "11px" : "12.5px", fontFamily: "inherit", background: "none", overflow: "visible" },
      x: { domain: [0, 1], ticks: narrow ? 3 : 5, tickFormat: (v) => `${Math.round(100 * v)} %`, label: "cases within 10 % of the best →", labelAnchor: "center", labelArrow: "none" },
      y: { domain: rows.map((r) => r.name), label: null, tickSize: 0, tickFormat: (name) => (narrow && name.length > 22 ? `${name.slice(0, 21)}…` : name) },
      marks: [
        Plot.gridX({ stroke: "var(--line)", strokeOpacity: 1, ticks: narrow ? 3 : 5 }),
        Plot.ruleY(rows, { y: "name", x1: "low", x2: "high", stroke: (r) => (r.ours ? "var(--c-free)" : "var(--c-reference)"), strokeWidth: 2 }),
        Plot.dot(rows, { y: "name", x: "x", fill: (r) => (r.ours ? "var(--c-free)" : "var(--c-reference)"), symbol: (r) => (r.ours ? "square" : "circle"), stroke: "var(--paper)", r: 6 }),
        Plot.tip(rows, Plot.pointerY({ y: "name", x: "x", title: (r) => `${r.name}\n${Math.round(100 * r.x)} % (${Math.round(100 * r.low)} to ${Math.round(100 * r.high)})` })),
      ],
    });
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", node.dataset.alt);
    node.replaceChildren(svg);
  };
})(window.apportion);
