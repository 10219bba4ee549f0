// Who claims to know: signs in the two worlds that no log can tell apart.
(function (report) {
  "use strict";
  const { el, num, places, span, table, who, figures } = report;
  const TONE = { "claims to know": "paid", "abstains": "oracle", "says nothing wrong": "oracle", "tells them apart": "free", "undecided": "other" };
  const MARKS = { "the log": "circle", "the log and the model": "diamond", "restored states": "square", "the truth (oracle)": "triangle" };
  const COLORS = { "the log": "var(--c-reference)", "the log and the model": "var(--c-paid)", "restored states": "var(--c-free)", "the truth (oracle)": "var(--c-exact)" };
  const MOST = 14;
  const rowsOf = (summary, pick) => {
    const found = new Map(summary.witness.map((r) => [r.method, r]));
    return pick.methods.filter((m) => found.has(m.id)).map((m) => ({ ...m, row: found.get(m.id) }));
  };

  figures.witness = (node, summary, pick) => {
    const rows = rowsOf(summary, pick).map((m) => ({ ...m, x: num(m.row.sign.plus.value), y: num(m.row.sign.minus.value), x1: num(m.row.sign.plus.low), x2: num(m.row.sign.plus.high), y1: num(m.row.sign.minus.low), y2: num(m.row.sign.minus.high) })).filter((r) => Number.isFinite(r.x) && Number.isFinite(r.y));
    if (!rows.length) { node.replaceChildren(el("p", { class: "note" }, "No method of this selection was measured in both worlds.")); return; }
    const color = (r) => COLORS[r.row.evidence], kinds = Object.keys(MARKS).filter((k) => rows.some((r) => r.row.evidence === k));
    const off = (r) => Math.abs(r.x + r.y - 1) + 0.3 * Math.abs(r.x - r.y);
    const named = new Set([...rows].sort((a, b) => off(b) - off(a)).slice(0, MOST).map((r) => r.id).concat("rloo", "exact"));
    const size = Math.min(640, Math.max(480, node.clientWidth));
    // A name is left out where one already stands close by.
    const placed = [];
    const labels = rows.filter((r) => named.has(r.id)).filter((r) => { const near = placed.some((p) => Math.abs(p.x - r.x) < 0.16 && Math.abs(p.y - r.y) < 0.035); if (!near) placed.push(r); return !near; });
    const svg = Plot.plot({
      width: size + 110, height: size, marginLeft: 56, marginRight: 120, marginTop: 20, marginBottom: 46,
      style: { fontSize: "12.5px", fontFamily: "inherit", background: "none", overflow: "visible" },
      x: { domain: [0, 1], ticks: 5, label: "right signs in the world where the action helps →", labelAnchor: "center", labelArrow: "none" },
      y: { domain: [0, 1], ticks: 5, label: "↑ right signs in the world where it hurts", labelArrow: "none" },
      symbol: { domain: kinds, range: kinds.map((k) => MARKS[k]) },
      marks: [
        Plot.gridX({ stroke: "var(--line)", strokeOpacity: 1, ticks: 5 }), Plot.gridY({ stroke: "var(--line)", strokeOpacity: 1, ticks: 5 }),
        Plot.line([[0, 1], [1, 0]], { stroke: "var(--muted)", strokeDasharray: "4 4" }),
        Plot.text([[0.985, 0.985]], { text: () => "right in both", textAnchor: "end", fill: "var(--muted)" }),
        Plot.text([[0.985, 0.03]], { text: () => "right in one, wrong in the other", textAnchor: "end", fill: "var(--muted)" }),
        Plot.ruleY(rows, { y: "y", x1: "x1", x2: "x2", stroke: color, strokeOpacity: 0.3, strokeWidth: 1.5, clip: true }),
        Plot.ruleX(rows, { x: "x", y1: "y1", y2: "y2", stroke: color, strokeOpacity: 0.3, strokeWidth: 1.5, clip: true }),
        Plot.dot(rows, { x: "x", y: "y", symbol: (r) => r.row.evidence, fill: color, stroke: "var(--paper)", r: 5 }),
        Plot.text(labels, { x: "x", y: "y", text: "name", dx: 9, textAnchor: "start", fill: color, fontWeight: 600, stroke: "var(--paper)", strokeWidth: 4 }),
        Plot.tip(rows, Plot.pointer({ x: "x", y: "y", title: (r) => `${r.title}\ngoes by: ${r.row.evidence}\n${r.row.verdict}: right signs ${places(r.x, 2)} and ${places(r.y, 2)}` })),
      ],
    });
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", node.dataset.alt);
    const shape = { circle: d3.symbolCircle, square: d3.symbolSquare, diamond: d3.symbolDiamond, triangle: d3.symbolTriangle };
    const key = el("p", { class: "key" }, ...kinds.map((k) => {
      const mark = document.createElementNS("http://www.w3.org/2000/svg", "svg"), path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      mark.setAttribute("viewBox", "-8 -8 16 16"); mark.setAttribute("class", "mark"); mark.setAttribute("aria-hidden", "true");
      path.setAttribute("d", d3.symbol(shape[MARKS[k]], 70)()); path.style.fill = COLORS[k]; mark.append(path);
      return el("span", {}, mark, `goes by ${k}`);
    }));
    node.replaceChildren(key, svg);
  };

  figures["witness-table"] = (node, summary, pick) => {
    const rows = rowsOf(summary, pick);
    const column = (key, world, label, hint, down) => ({
      key: `${key}-${world}`, group: world === "plus" ? "the action helps" : "the action hurts", edge: key === "sign", label, hint, down,
      value: (r) => num(r.row[key][world].value), text: (r) => places(r.row[key][world].value, 2), sub: (r) => span(r.row[key][world], (v) => places(v, 2)),
    });
    const both = (world) => [column("sign", world, "right signs", "pairs of choices whose true contrasts differ", true), column("correlation", world, "corr.", "with the true contrast", true), column("silent", world, "silent", "share of the choices that decide about which it says nothing", true)];
    table(node.querySelector("table"), [
      who("method "),
      { key: "verdict", label: "verdict", kind: "text", value: (r) => r.row.verdict, text: (r) => el("span", { class: `badge kind-${TONE[r.row.verdict]}` }, r.row.verdict) },
      { key: "evidence", label: "goes by", kind: "text", value: (r) => r.row.evidence, text: (r) => r.row.evidence },
      ...both("plus"), ...both("minus"),
    ], rows, { caption: "Both worlds, 95 % intervals over seeds", most: 40, none: "No method fits the filter." });
  };
})(window.apportion);
