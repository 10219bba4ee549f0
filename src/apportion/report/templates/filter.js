// Which methods are shown: by name, by what they cost and by what they ask for. One choice for every view.
(function (report) {
  "use strict";
  const { el, summary, methods, kind } = report;
  const filter = { text: "", kind: "", ask: "" };
  const all = [...methods.values()];
  const matches = (m) =>
    (!filter.kind || kind(m) === filter.kind || (filter.kind === "no oracle" && !m.oracle)) &&
    (!filter.ask || m.ask === filter.ask) &&
    filter.text.toLowerCase().split(/\s+/).every((word) => `${m.id} ${m.name} ${m.title}`.toLowerCase().includes(word));

  function setUp(changed) {
    const text = document.getElementById("filter-text"), kinds = document.getElementById("filter-kind"), asks = document.getElementById("filter-ask");
    const options = (select, pairs) => select.replaceChildren(...pairs.map(([v, label]) => el("option", { value: v }, label)));
    const have = (test) => all.some(test);
    options(kinds, [["", "any"], ["free", "free"], ["paid", "paid"], ["no oracle", "free or paid"], ["oracle", "oracle"]].filter(([v]) => !v || v === "no oracle" || have((m) => kind(m) === v)));
    options(asks, [["", "anything"], ...Object.entries(Object.fromEntries(all.filter((m) => m.ask).map((m) => [m.ask, m.asks]))).sort((a, b) => (a[1] < b[1] ? -1 : 1))]);
    const set = (key, node) => { filter[key] = node.value.trim(); count(); changed(); };
    let waiting = null;
    text.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(() => set("text", text), 120); });
    kinds.addEventListener("change", () => set("kind", kinds));
    asks.addEventListener("change", () => set("ask", asks));
    count();
  }
  function count() {
    const shown = all.filter(matches).length;
    document.getElementById("filter-count").textContent = shown === all.length ? `${all.length} methods` : `${shown} of ${all.length}`;
  }

  // Of many methods the best at `rank` (higher is better), with RLOO and exact credit beside them, in the order given.
  const FEW = 20;
  function few(list, rank, everything) {
    if (everything || list.length <= FEW + 2) return list;
    const order = [...list].sort((a, b) => { const x = rank(a), y = rank(b); return (Number.isNaN(y) ? -Infinity : y) - (Number.isNaN(x) ? -Infinity : x); });
    const kept = new Set([...order.filter((m) => !m.oracle).slice(0, FEW), ...list.filter((m) => m.id === "rloo" || m.id === "exact")]);
    return list.filter((m) => kept.has(m));
  }

  Object.assign(report, { filtered: () => summary.methods.map((m) => methods.get(m.id)).filter(matches), filter: setUp, few });
})(window.apportion);
