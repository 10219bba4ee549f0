// The figures, drawn with Observable Plot from the summary. Colours are CSS variables, so dark mode needs no redraw.
(function (report) {
  "use strict";
  const { num, short, times } = report;
  const ROLES = {
    reference: { symbol: "circle", dash: null }, free: { symbol: "square", dash: null },
    paid: { symbol: "diamond", dash: "7 3" }, exact: { symbol: "triangle", dash: "2 3" },
  };
  const grid = { stroke: "var(--line)", strokeOpacity: 1 };
  const color = (role) => `var(--c-${role})`;
  const known = (v) => Number.isFinite(num(v));
  const style = { fontSize: "12.5px", fontFamily: "inherit", background: "none", overflow: "visible" };
  // Round numbers on an axis: 10k, not 10.0k.
  const tick = (v) => short(v).replace(/\.0+(?=\D|$)/, "").replace(/(\.\d*?)0+(?=\D|$)/, "$1");
  const tickTimes = (v) => `${tick(v)}×`;
  const range = (values, pad) => {
    const good = values.filter((v) => Number.isFinite(v) && v > 0);
    return good.length ? [Math.min(...good) / pad, Math.max(...good) * pad] : [0.1, 10];
  };
  // Powers of ten, with 2 and 5 between where there are few decades.
  function logTicks([low, high]) {
    const out = [], few = Math.log10(high / low) < 2.5;
    for (let k = Math.floor(Math.log10(low)); k <= Math.ceil(Math.log10(high)); k++)
      for (const m of few ? [1, 2, 5] : [1]) { const v = m * 10 ** k; if (v >= low && v <= high) out.push(v); }
    return out;
  }
  // Labels near each other are pushed apart: y in pixels, at least `gap` between neighbours.
  function dodge(labels, gap, low, high) {
    labels.sort((a, b) => a.py - b.py);
    for (let i = 1; i < labels.length; i++) labels[i].py = Math.max(labels[i].py, labels[i - 1].py + gap);
    const over = labels.length ? labels[labels.length - 1].py - high : 0;
    if (over > 0) {
      labels[labels.length - 1].py -= over;
      for (let i = labels.length - 2; i >= 0; i--) labels[i].py = Math.max(low, Math.min(labels[i].py, labels[i + 1].py - gap));
    }
    return labels;
  }
  const logScale = (domain, pixels) => (v) => pixels[0] + ((pixels[1] - pixels[0]) * Math.log(v / domain[0])) / Math.log(domain[1] / domain[0]);
  const unlog = (domain, pixels) => (p) => domain[0] * (domain[1] / domain[0]) ** ((p - pixels[0]) / (pixels[1] - pixels[0]));

  function headline(summary, view, width) {
    const tasks = new Map(summary.tasks.filter((t) => t.series === view.series).map((t) => [t.id, t]));
    const methods = new Map(summary.methods.map((m) => [m.id, m]));
    const rows = summary.learning.filter((r) => tasks.has(r.task) && tasks.get(r.task).horizon).map((r) => {
      const m = methods.get(r.method), cost = num(r.cost.value), reached = Number.isFinite(cost);
      return { ...r, m, role: m.role, x: tasks.get(r.task).horizon, share: num(r.reached), reached, y: reached ? cost : num(r.spent), low: num(r.cost.low), high: num(r.cost.high) };
    }).filter((r) => Number.isFinite(r.y)).sort((a, b) => a.x - b.x);
    if (!rows.length) return null;
    const horizons = [...new Set(rows.map((r) => r.x))], single = horizons.length < 2;
    const height = 430, left = 62, right = 150, top = 22, bottom = 46;
    // From few seeds an interval may span many powers of ten: the figure shows what lies within a factor of 20, the tip all.
    const domain = range(rows.flatMap((r) => [r.y, Math.max(r.low, r.y / 20), Math.min(r.high, r.y * 20)]), 1.5);
    const clip = (v) => Math.min(domain[1], Math.max(domain[0], v)), bottom_ = (r) => clip(r.low);
    const xs = single ? [horizons[0] / 2, horizons[0] * 2] : [horizons[0] / 1.08, horizons[horizons.length - 1] * 1.08];
    // A band without an upper end (too many seeds never got there) stops at what had been spent by then.
    const top_ = (r) => clip(Number.isFinite(r.high) ? r.high : Math.max(r.y, num(r.spent) || 0));
    const main = rows.filter((r) => r.role !== "other"), faint = rows.filter((r) => r.role === "other");
    const of = (role) => main.filter((r) => r.role === role);
    const tip = (r) => `${r.m.title}${r.m.oracle ? " (oracle)" : r.m.paid ? " (paid)" : ""} at ${r.x} turns\n` +
      (r.reached ? `${short(r.y)} price units (${short(r.cost.low)} – ${short(r.cost.high)})` : `not reached after ${short(r.y)} price units`) +
      `\nreached by ${Math.round(100 * r.share)} % of ${r.seeds} seeds\nbest of ${r.settings} settings: batch ${r.batch}, learning rate ${r.lr}`;
    const pixels = [height - bottom, top], py = logScale(domain, pixels), back = unlog(domain, pixels);
    const ends = [...new Set(main.map((r) => r.method))].map((id) => main.filter((r) => r.method === id).pop());
    const labels = dodge(ends.map((r) => ({ ...r, py: py(r.y) })), 17, top, height - bottom).map((r) => ({ ...r, y: back(r.py) }));
    const lines = (data, more) => Plot.line(data, { x: "x", y: "y", z: "method", ...more });
    const marks = [
      Plot.gridY(logTicks(domain), grid),
      lines(faint.filter((r) => r.reached), { stroke: "var(--faint)", strokeWidth: 1.25 }),
      Plot.dot(faint.filter((r) => r.reached), { x: "x", y: "y", r: 2.2, fill: "var(--faint)" }),
      Plot.text(faint.filter((r) => !r.reached), { x: "x", y: "y", text: () => "↑", fill: "var(--faint)", fontSize: 13 }),
    ];
    for (const role of ["exact", "paid", "free", "reference"]) {
      const data = of(role), reached = data.filter((r) => r.reached), stroke = color(role);
      if (single) marks.push(Plot.ruleX(reached, { x: "x", y1: bottom_, y2: top_, stroke, strokeOpacity: 0.5, strokeWidth: 3 }));
      else marks.push(Plot.areaY(reached.filter((r) => Number.isFinite(r.low)), { x: "x", y1: bottom_, y2: top_, z: "method", fill: stroke, fillOpacity: 0.16 }));
      marks.push(lines(data, { stroke, strokeWidth: 1.2, strokeDasharray: "1 4" }));
      marks.push(lines(reached, { stroke, strokeWidth: 2.4, ...(ROLES[role].dash ? { strokeDasharray: ROLES[role].dash } : {}) }));
      marks.push(Plot.dot(reached, { x: "x", y: "y", r: 5, symbol: ROLES[role].symbol, fill: stroke, stroke: "var(--paper)", strokeWidth: 1.2 }));
      marks.push(Plot.text(data.filter((r) => !r.reached), { x: "x", y: "y", text: () => "↑", fill: stroke, fontSize: 20, fontWeight: 700, dy: -2 }));
    }
    marks.push(Plot.text(labels, { x: "x", y: "y", text: (r) => r.m.name + (r.reached ? "" : " ↑"), dx: 12, textAnchor: "start", fill: (r) => color(r.role), fontWeight: 650 }));
    marks.push(Plot.tip(rows, Plot.pointer({ x: "x", y: "y", title: tip })));
    return Plot.plot({
      width, height, style, marginLeft: left, marginRight: right, marginTop: top, marginBottom: bottom,
      x: { type: "log", domain: xs, ticks: horizons, tickFormat: (v) => String(v), label: "horizon (turns) →", labelAnchor: "center", labelArrow: "none" },
      y: { type: "log", domain, ticks: logTicks(domain), tickFormat: tick, label: `↑ cost to ${summary.goal} of the attainable return (price units)`, labelArrow: "none" },
      marks,
    });
  }

  const room = (methods) => Math.min(220, 16 + 7.3 * Math.max(...methods.map((m) => name(m).length)));
  const name = (m) => (m.oracle ? `${m.name} (oracle)` : m.name);
  const SHAPES = ["circle", "square", "triangle", "diamond", "star", "cross"];
  // Batch sizes from small to large: lighter to stronger.
  const shade = (i, n) => `var(--b${n < 2 ? 3 : 1 + Math.round((2 * i) / (n - 1))})`;

  // Batches without a multiplier, in words: "pushes the wrong way at every batch size", "undetermined at 64".
  function verdicts(rows, sizes) {
    if (!rows.length) return null;
    const words = [...new Set(rows.map((r) => r.verdict))].map((v) => {
      const at = rows.filter((r) => r.verdict === v).map((r) => r.batch);
      return `${v === "undetermined" ? "?" : "✕"} ${v === "undetermined" ? "direction undetermined" : v} ${at.length === sizes ? "at every batch size" : `at ${at.join(", ")}`}`;
    });
    return { name: rows[0].name, text: words.join("; ") };
  }

  function multipliers(summary, view, width) {
    const measured = new Set(summary.gradient.filter((r) => r.task === view.task).map((r) => r.method));
    const methods = view.methods.filter((m) => measured.has(m.id));
    const title = new Map(methods.map((m) => [m.id, name(m)]));
    const rows = summary.gradient.filter((r) => r.task === view.task && title.has(r.method)).map((r) => ({
      ...r, name: title.get(r.method), v: num(r.multiplier.value), low: num(r.multiplier.low), high: num(r.multiplier.high),
    }));
    if (!rows.length) return null;
    const domain = range([...rows.flatMap((r) => [r.v, Math.max(r.low, r.v / 8), Math.min(r.high, r.v * 8)]), 0.5, 2], 1.4);
    const clip = (v) => Math.min(domain[1], Math.max(domain[0], v));
    const good = rows.filter((r) => known(r.v) && r.v > 0), endless = rows.filter((r) => r.v === Infinity);
    const none = methods.map((m) => verdicts(rows.filter((r) => r.method === m.id && Number.isNaN(r.v)), summary.batches.length)).filter(Boolean);
    const sizes = summary.batches, at = (b) => sizes.indexOf(b);
    const tip = (r) => `${r.name}, batch ${r.batch}\n` + (Number.isNaN(r.v) ? r.verdict : `${times(r.v)} (${times(r.low)} – ${times(r.high)})\nat equal cost ${times(num(r.net.value))}`) + `\nalignment ρ ${short(r.rho.value)}`;
    return Plot.plot({
      width, style, marginLeft: room(methods), marginRight: 30, marginTop: 30, marginBottom: 42, height: 74 + 40 * methods.length,
      x: { type: "log", domain, ticks: logTicks(domain), tickFormat: tickTimes, label: "sample multiplier over RLOO →", labelAnchor: "center", labelArrow: "none" },
      fy: { domain: methods.map(name), label: null, padding: 0.12 },
      y: { type: "band", domain: sizes, axis: null, padding: 0.25 },
      symbol: { domain: sizes, range: sizes.map((_, i) => SHAPES[i % SHAPES.length]) },
      color: { type: "ordinal", domain: sizes, range: sizes.map((_, i) => shade(i, sizes.length)) },
      marks: [
        Plot.gridX(logTicks(domain), grid),
        Plot.ruleX([1], { stroke: "var(--c-reference)", strokeWidth: 1.5 }),
        Plot.ruleY(good, { fy: "name", y: "batch", x1: (r) => clip(r.low), x2: (r) => clip(r.high), stroke: "batch", strokeWidth: 2 }),
        Plot.dot(good, { fy: "name", y: "batch", x: (r) => clip(r.v), symbol: "batch", fill: "batch", stroke: "var(--paper)", strokeWidth: 0.8, r: 4.6 }),
        Plot.text(endless, { fy: "name", y: "batch", x: () => domain[1], text: () => "∞", fill: "batch", fontSize: 15, fontWeight: 700, dx: 10 }),
        Plot.text(none, { fy: "name", x: () => domain[1], textAnchor: "end", fontSize: 12, text: "text", fill: "var(--muted)", stroke: "var(--paper)", strokeWidth: 5 }),
        Plot.tip([...good, ...endless], Plot.pointer({ fy: "name", y: "batch", x: (r) => clip(r.v), title: tip })),
      ],
    });
  }

  function frontier(summary, view, width) {
    const methods = new Map(view.methods.map((m) => [m.id, m]));
    const rows = summary.gradient.filter((r) => methods.has(r.method) && r.task === view.task && r.batch === view.batch && known(r.multiplier.value) && known(r.relative_price))
      .map((r) => ({ ...r, m: methods.get(r.method), x: num(r.relative_price), y: num(r.multiplier.value), low: num(r.multiplier.low), high: num(r.multiplier.high) }))
      .filter((r) => r.x > 0 && r.y > 0);
    if (!rows.length) return null;
    const height = 420, left = 62, right = 128, top = 24, bottom = 46;
    const xs = range([...rows.map((r) => r.x), 0.8, 3], 1.25), ys = range([...rows.flatMap((r) => [r.y]), 0.5, 3], 1.7);
    const clip = (v) => Math.min(ys[1], Math.max(ys[0], v));
    const fair = rows.filter((r) => !r.m.oracle).sort((a, b) => a.x - b.x || b.y - a.y);
    const best = [];
    for (const r of fair) if (!best.length || r.y > best[best.length - 1].y) best.push(r);
    const px = logScale(xs, [left, width - right]), py = logScale(ys, [height - bottom, top]), back = unlog(ys, [height - bottom, top]);
    // Points that share a column share a dodge, so that their labels do not cover each other.
    const columns = [];
    // Of many methods only those at the frontier and the landmarks are named; the others say their name when pointed at.
    const named = rows.length <= 24 ? rows : rows.filter((r) => best.includes(r) || r.m.role !== "other");
    for (const r of [...named].sort((a, b) => a.x - b.x)) {
      const last = columns[columns.length - 1], point = { ...r, py: py(r.y) };
      if (last && px(r.x) - px(last[last.length - 1].x) < 75) last.push(point); else columns.push([point]);
    }
    const labels = columns.flatMap((c) => dodge(c, 15, top, height - bottom).map((r) => {
      const beside = c.filter((o) => Math.abs(py(o.y) - r.py) < 9 && px(o.x) - px(r.x) < 60).map((o) => o.x);
      return { ...r, ly: back(r.py), lx: Math.max(r.x, ...beside) };
    }));
    const kind = (r) => (r.m.id === "rloo" ? "reference" : r.m.oracle ? "exact" : r.m.paid ? "paid" : "free");
    const symbol = (r) => ROLES[kind(r)].symbol;
    const tip = (r) => `${r.m.title}${r.m.oracle ? " (oracle)" : ""}\nworth ${times(r.y)} (${times(r.low)} – ${times(r.high)})\nprice ${times(r.x)} RLOO’s\nat equal cost ${times(num(r.net.value))}`;
    const low = Math.max(xs[0], ys[0]), high = Math.min(xs[1], ys[1]);
    return Plot.plot({
      width, height, style, marginLeft: left, marginRight: right, marginTop: top, marginBottom: bottom,
      x: { type: "log", domain: xs, ticks: logTicks(xs), tickFormat: tickTimes, label: "price of a trajectory, relative to RLOO →", labelAnchor: "center", labelArrow: "none" },
      y: { type: "log", domain: ys, ticks: logTicks(ys), tickFormat: tickTimes, label: "↑ sample multiplier", labelArrow: "none" },
      marks: [
        Plot.gridX(logTicks(xs), grid), Plot.gridY(logTicks(ys), grid),
        Plot.line([[low, low], [high, high]], { stroke: "var(--muted)", strokeDasharray: "4 4" }),
        Plot.text([[high, high]], { text: () => "worth its price", fill: "var(--muted)", fontSize: 11, ...(xs[1] <= ys[1] ? { textAnchor: "start", dx: 6 } : { dy: -8 }) }),
        Plot.line([...best, { ...best[best.length - 1], x: xs[1] }], { x: "x", y: "y", curve: "step-after", stroke: color("free"), strokeOpacity: 0.55, strokeWidth: 2 }),
        Plot.ruleX(named, { x: "x", y1: (r) => clip(r.low), y2: (r) => clip(r.high), stroke: (r) => color(kind(r)), strokeOpacity: 0.45, strokeWidth: 2 }),
        Plot.dot(rows.filter((r) => !named.includes(r)), { x: "x", y: "y", r: 3.5, symbol, fill: (r) => color(kind(r)), fillOpacity: 0.55 }),
        Plot.dot(named, { x: "x", y: "y", r: 5.5, symbol, fill: (r) => color(kind(r)), stroke: "var(--paper)", strokeWidth: 1.2 }),
        Plot.text(labels, { x: "lx", y: "ly", text: (r) => r.m.name, dx: 11, textAnchor: "start", fill: "currentColor", stroke: "var(--paper)", strokeWidth: 6 }),
        Plot.tip(rows, Plot.pointer({ x: "x", y: "y", title: tip })),
      ],
    });
  }

  function bias(summary, view, width) {
    const rows = summary.gradient.filter((r) => r.task === view.task && r.batch === view.batch && known(r.bias.value));
    const measured = new Set(rows.map((r) => r.method)), methods = view.methods.filter((m) => measured.has(m.id));
    if (!methods.length) return null;
    const title = new Map(methods.map((m) => [m.id, name(m)]));
    const marks = [];
    for (const r of rows.filter((r) => title.has(r.method))) {
      const add = (what, e) => { if (e && known(e.value)) marks.push({ name: title.get(r.method), what, v: num(e.value), low: num(e.low), high: num(e.high) }); };
      add("with the common factor", r.bias); add("bias", r.bias_rescaled);
      add("between prompts", r.between2); add("within a prompt", r.within2);
    }
    // The estimates set the range; an interval may be cut off (its ends are in the tip).
    const high = Math.min(1e4, Math.max(0.1, ...marks.map((r) => r.v)) * 2), low = Math.max(-3, Math.min(-0.01, ...marks.map((r) => r.v)) * 2);
    const edges = [-10, -1, -0.3, -0.1, -0.03, 0, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 100, 1000, 10000].filter((v) => v >= low && v <= high);
    const clip = (v) => Math.max(low, Math.min(high, v));
    const looks = [["with the common factor", "circle", "var(--muted)", false], ["bias", "circle", "var(--c-reference)", true],
      ["between prompts", "diamond", "var(--c-exact)", true], ["within a prompt", "triangle", "var(--c-paid)", true]];
    const shift = { bias: -5, "with the common factor": -5, "between prompts": 5, "within a prompt": 5 };
    return Plot.plot({
      width, style, marginLeft: room(methods), marginRight: 30, marginTop: 16, marginBottom: 42, height: 64 + 32 * methods.length,
      x: { type: "symlog", constant: 0.02, domain: [low, high], ticks: edges, tickFormat: (v) => String(v), label: "squared bias as a share of the squared gradient →", labelAnchor: "center", labelArrow: "none" },
      y: { domain: methods.map(name), label: null, padding: 0.3 },
      marks: [
        Plot.gridX(edges, grid),
        Plot.ruleX([0], { stroke: "var(--c-reference)", strokeWidth: 1.5 }),
        ...looks.flatMap(([what, symbol, tint, filled]) => {
          const data = marks.filter((r) => r.what === what);
          return [
            Plot.ruleY(data.filter((r) => Number.isFinite(r.low)), { y: "name", x1: (r) => clip(r.low), x2: (r) => clip(r.high), dy: shift[what], stroke: tint, strokeOpacity: 0.6, strokeWidth: 2 }),
            Plot.dot(data, { y: "name", x: (r) => clip(r.v), dy: shift[what], symbol, r: 4.6, fill: filled ? tint : "var(--paper)", stroke: filled ? "var(--paper)" : tint, strokeWidth: filled ? 0.8 : 1.8 }),
          ];
        }),
        Plot.tip(marks, Plot.pointer({ y: "name", x: (r) => clip(r.v), title: (r) => `${r.name}: ${r.what}\n${short(r.v)} (${short(r.low)} – ${short(r.high)})` })),
      ],
    });
  }

  Object.assign(report, { charts: { headline, multipliers, frontier, bias }, ROLES, shade, SHAPES });
})(window.apportion);
