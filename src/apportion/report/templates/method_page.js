// The page of a method: what it is, what it needs, where it shines and fails, and all its figures.
(function (report) {
  "use strict";
  const { el, num, span, table, times, summary, pages, methods, ranks, find, value, places, short, multiplier, worth, speedup, speed, kind, taskLink, methodLink, terms, open, figures, IDENTIFIED, COSTS, LEARNT } = report;
  const task = { key: "task", label: "task", kind: "text", heading: true, value: (r) => r.id, text: (r) => taskLink(r.id) };
  const section = (title, ...parts) => el("section", { "aria-label": title }, el("h2", {}, title), ...parts);
  const columns = (...names) => el("div", { class: "columns" }, ...names);

  function highlights(title, list, none) {
    return el("section", { class: "side", "aria-label": title }, el("h2", {}, title),
      list && list.length ? el("ul", { class: "plain" }, ...list.map((one) => el("li", {}, taskLink(one.task), `: ${one.text}`))) : el("p", { class: "read" }, none));
  }

  function facts(m, known) {
    const options = Object.entries(m.options || {}).map(([k, v]) => `${k} = ${v}`).join(", ");
    const evidence = Object.entries(known.evidence || {}).map(([name, axis]) => `${name} (one per ${axis.replace("_", " ")})`).join(", ");
    const paper = known.paper ? el("span", {}, known.paper, known.arxiv ? el("span", {}, " · ", el("a", { href: `https://arxiv.org/abs/${known.arxiv}`, rel: "noreferrer" }, "read it")) : "") : null;
    const rank = ranks.get(m.id);
    return terms([
      ["rank", rank ? `${rank.rank}, by ${rank.by}, over ${rank.tasks} task${rank.tasks === 1 ? "" : "s"}` : m.oracle ? "none: an oracle" : null],
      ["credits", known.unit], ["asks for", m.asks], ["reads", (known.reads || []).join(", ") || null], ["evidence", evidence || null],
      ["extra cost", known.cost === "0" ? "nothing" : known.cost], ["unbiased", known.unbiased], ["formula", known.status],
      ["approach", [known.methodology, ...(known.granularity || [])].filter(Boolean).join(", ") || null], ["options here", options || null], ["paper", paper],
    ]);
  }

  // A table with a row per task where the method was measured.
  function perTask(title, read, measure, made, more) {
    const rows = summary.tasks.map((t) => ({ id: t.id, row: more ? more(t) : made.of(t) })).filter((r) => r.row);
    if (!rows.length) return null;
    const name = `method-${measure}`;
    figures[name] = (node) => table(node.querySelector("table"), [task, ...made.columns], rows.map((r) => ({ ...r })), { caption: `${rows.length} task${rows.length === 1 ? "" : "s"}` });
    return section(title, el("p", { class: "read" }, read), el("div", { class: "wide", "data-figure": name }, el("table", { class: "data" })));
  }

  function gradient(id) {
    const at = (t) => { const found = summary.batches.map((b) => find("gradient", t.id, id, b)); return found.some(Boolean) ? found : null; };
    const main = (r) => r.row[summary.batches.indexOf(summary.reference_batch)];
    return {
      of: at,
      columns: [
        ...summary.batches.map((b, i) => ({ key: `rho${b}`, label: `alignment at ${b}`, down: true, value: (r) => value(r.row[i], "rho"), text: (r) => (r.row[i] ? places(r.row[i].rho.value, 2) : "–"), sub: (r) => (r.row[i] ? span(r.row[i].rho, (v) => places(v, 2)) : "") })),
        { key: "multiplier", label: `sample × at ${summary.reference_batch}`, down: true, value: (r) => worth(main(r), "multiplier"), text: (r) => multiplier(main(r), "multiplier"), sub: (r) => (main(r) && id !== "rloo" ? span(main(r).multiplier, times) : "") },
        { key: "net", label: "net ×", hint: "at equal total cost", down: true, value: (r) => worth(main(r), "net"), text: (r) => multiplier(main(r), "net"), sub: (r) => (main(r) && id !== "rloo" ? span(main(r).net, times) : "") },
        { key: "bias", label: "bias", hint: "squared, a common factor taken out, as a share of the squared gradient", value: (r) => value(main(r), "bias_rescaled"), text: (r) => (main(r) ? places(main(r).bias_rescaled.value, 2) : "–") },
        { key: "price", label: "price", hint: "of a trajectory, relative to RLOO’s", value: (r) => (main(r) ? num(main(r).relative_price) : NaN), text: (r) => (main(r) ? times(main(r).relative_price) : "–") },
      ],
    };
  }

  open.method = (root, slug) => {
    const m = [...methods.values()].find((one) => one.slug === slug);
    if (!m) return null;
    const known = pages.methods.library[m.method] || {}, id = m.id;
    const learned = summary.learning.filter((r) => r.method === id).map((row) => ({ row }));
    const variants = [...methods.values()].filter((one) => one.method === m.method && one.id !== id);
    const card = known.card && known.card.length ? el("details", {}, el("summary", {}, "Card: what its number claims to be"), terms(known.card)) : null;
    root.replaceChildren(...[
      el("p", { class: "lead" }, el("span", { class: `badge kind-${kind(m)}` }, kind(m)), " ", known.summary || "This version of apportion does not know the method behind this entrant."),
      facts(m, known), card,
      variants.length ? el("p", { class: "note" }, "Other entrants of the same method: ", ...variants.flatMap((v, i) => [i ? ", " : "", methodLink(v)])) : null,
      m.oracle ? el("p", { class: "note" }, "An oracle: its evidence touches the truth, so it is a reference and never ranked.") : null,
      id === "rloo" ? el("p", { class: "note" }, "The yardstick: every multiplier in this report is measured in RLOO’s trajectories.") : columns(
        highlights("Where it shines", m.shines, "No task of this run where an interval puts it above RLOO."),
        highlights("Where it fails", m.fails, "No task of this run where an interval puts it below RLOO."),
      ),
      perTask("Learning", `Cost to ${summary.goal} of the attainable return at its best setting.`, "learning", { columns: LEARNT(learned) }, (t) => find("learning", t.id, id)),
      perTask("Gradient", "Its update from one batch against the exact gradient.", "gradient", gradient(id)),
      perTask("Identification", "How much the credit itself resembles the truth.", "identification", { columns: IDENTIFIED }, (t) => find("identification", t.id, id)),
      perTask("Cost", "What it asks for, per trajectory, beyond sampling the batch itself.", "cost", { columns: COSTS.map(([key, label]) => ({ key, label, value: (r) => num(r.row[key]), text: (r) => short(r.row[key]) })) }, (t) => find("cost", t.id, id)),
    ].filter(Boolean));
    return { heading: m.title, nav: "methods", uses: [] };
  };
})(window.apportion);
