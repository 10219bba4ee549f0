// The trajectory lens: plain DOM, no library. All text goes in through textContent.
(function () {
  "use strict";
  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
    node.append(...children.filter((c) => c !== null));
    return node;
  };
  const label = () => (window.innerWidth <= 720 ? 92 : 132); // px, the row headings
  const ROLE = /^(?=(?:system|developer|user|assistant|tool): )/m;
  const many = (n, word) => `${n.toLocaleString("en")} ${n === 1 ? word : word.endsWith("y") ? `${word.slice(0, -1)}ies` : `${word}s`}`;
  const show = (v) => (v === null || v === undefined ? "no opinion" : v === 0 ? "0" : (v > 0 ? "+" : "−") + Number(Math.abs(v).toPrecision(3)));
  const largest = (rows) => Math.max(0, ...rows.flatMap((r) => r.values.filter((v) => v !== null).map(Math.abs)));

  function rowsOf(trajectory, titles) {
    const rows = [];
    if (trajectory.truth) rows.push({ id: "truth", name: "exact truth", values: trajectory.truth, known: true });
    if (trajectory.luck) rows.push({ id: "luck", name: "luck", values: trajectory.luck, known: true });
    for (const [id, values] of Object.entries(trajectory.methods)) {
      rows.push({ id, name: titles[id] || id, values, known: false, dropped: new Set((trajectory.dropped || {})[id] || []) });
    }
    return rows;
  }

  // Truth and luck add up to reward minus value, so they always share a scale.
  function scales(rows, shared) {
    const known = rows.filter((r) => r.known);
    const top = largest(rows), own = largest(known);
    return rows.map((r) => (shared ? top : r.known ? own : largest([r])));
  }

  // Messages apart, each under its role, where the text is a chat; else the text as it is.
  function said(text) {
    if (!text) return [make("pre", { class: "lens-text" }, "(no text recorded)")];
    if (text.search(ROLE) !== 0) return [make("pre", { class: "lens-text" }, text)];
    const box = make("div", { class: "lens-text" });
    for (const part of text.split(ROLE)) {
      const at = part.indexOf(": "), role = part.slice(0, at);
      box.append(make("div", { class: `message ${role}` }, make("span", { class: "role" }, role), make("pre", {}, part.slice(at + 2).replace(/\n$/, ""))));
    }
    return [box];
  }

  // A trajectory as one strip: hard-edged stripes, a colour per unit.
  function stripes(row, top) {
    const n = row.values.length, stops = row.values.map((v, k) => {
      const m = v === null || !top ? 0 : Math.round((100 * Math.abs(v)) / top);
      const color = v === null || (row.dropped && row.dropped.has(k)) ? "transparent" : `color-mix(in oklab, var(--${v > 0 ? "pos" : "neg"}) ${m}%, var(--zero))`;
      return `${color} ${((100 * k) / n).toFixed(3)}% ${((100 * (k + 1)) / n).toFixed(3)}%`;
    });
    return `linear-gradient(90deg, ${stops.join(",")})`;
  }

  function lens(root, data) {
    const titles = data.titles || {}, unit = data.unit || "turn";
    const state = { task: 0, trajectory: 0, shared: false, at: 0, row: 0 };
    const task = make("select", { id: "lens-task" }), trajectory = make("select", { id: "lens-trajectory" });
    const own = make("input", { type: "radio", name: "lens-scale", value: "own", checked: true });
    const shared = make("input", { type: "radio", name: "lens-scale", value: "shared" });
    const scroller = make("div", { class: "lens-scroll" });
    const panel = make("div", { class: "lens-panel", "aria-live": "polite" });
    const prompt = make("p", { class: "lens-prompt" });
    const about = make("p", { class: "lens-about" });
    const method = make("select", { id: "lens-overview" }), strips = make("div", { class: "lens-strips" });
    const overview = make("section", { class: "lens-all", "aria-label": "All trajectories" },
      make("div", { class: "controls" }, make("h3", {}, ""), make("label", {}, "Method ", method)),
      make("div", { class: "strips-head", "aria-hidden": "true" }, make("span", {}, "trajectory"), make("span", {}, `${unit}s, from left to right`), make("span", { class: "num" }, "reward")), strips);
    const some = (test) => data.tasks.some((t) => t.trajectories.some(test));
    root.append(
      make("div", { class: "controls" },
        make("label", {}, "Task ", task), make("label", {}, "Trajectory ", trajectory),
        make("fieldset", {}, make("legend", {}, "Colour scale"),
          make("label", {}, own, " each row its own"), make("label", {}, shared, " one for all rows"))),
      about, prompt, scroller,
      make("p", { class: "lens-key", "aria-hidden": "true" },
        make("span", { class: "ramp" }), "hurt · 0 · helped", ...(some((x) => x.turns.some((u) => u.fork)) ? [make("span", { class: "fork-mark" }, "◆"), ` fork: a ${unit} whose choice matters`] : []),
        make("span", { class: "cell null swatch" }), " no opinion",
        ...(some((x) => Object.keys(x.dropped || {}).length) ? [make("span", { class: "cell dropped swatch" }), " not in the loss"] : [])),
      panel);
    if (data.overview && some(() => true)) root.append(overview);
    data.tasks.forEach((t, i) => task.append(make("option", { value: i, title: t.task }, t.task.length > 70 ? `${t.task.slice(0, 69)}…` : t.task)));

    const current = () => data.tasks[state.task].trajectories[state.trajectory];
    const firstFork = () => Math.max(0, current().turns.findIndex((t) => t.fork));
    const cellAt = (row, at) => scroller.querySelector(`[data-row="${row}"][data-at="${at}"]`);

    function listTrajectories() {
      trajectory.replaceChildren(...data.tasks[state.task].trajectories.map((t, i) => {
        const reward = t.reward === null || t.reward === undefined ? "" : ` · reward ${Number(t.reward.toPrecision(3))}`;
        return make("option", { value: i }, `${t.id}${reward}`);
      }));
    }

    // The first method that tells units apart says more at a glance than one value per trajectory.
    const telling = () => {
      const rows = data.tasks.flatMap((t) => t.trajectories.map((x) => rowsOf(x, titles)));
      return Math.max(0, rows[0].findIndex((_, i) => rows.some((r) => new Set(r[i].values).size > 1)));
    };
    let glance = data.overview ? telling() : 0;
    // Every trajectory of the task under one method, on one colour scale, longest strip for most units.
    function drawOverview() {
      const all = data.tasks[state.task].trajectories, names = rowsOf(all[0], titles).map((r) => r.name);
      const picked = Math.min(glance, names.length - 1);
      method.replaceChildren(...names.map((name, i) => make("option", { value: i, selected: i === picked }, name)));
      const rows = all.map((x) => rowsOf(x, titles)[picked]), top = largest(rows), longest = Math.max(...all.map((x) => x.turns.length));
      overview.querySelector("h3").textContent = `${many(all.length, "trajectory")} of this task`;
      strips.replaceChildren(...all.map((x, i) => {
        const bar = make("span", { class: "strip" });
        bar.style.background = stripes(rows[i], top);
        bar.style.width = `${(100 * x.turns.length) / longest}%`;
        const text = x.reward === null || x.reward === undefined ? "" : String(Number(x.reward.toPrecision(3)));
        const line = make("button", { type: "button", "data-trajectory": i, "aria-current": i === state.trajectory ? "true" : null, "aria-label": `Show ${x.id}${text && `, reward ${text}`}, ${many(x.turns.length, unit)}` },
          make("span", { class: "who", title: x.id }, x.id), make("span", { class: "room" }, bar), make("span", { class: "num" }, text));
        return line;
      }));
    }

    function draw() {
      if (data.overview) drawOverview();
      const now = current(), n = now.turns.length, rows = rowsOf(now, titles), tops = scales(rows, state.shared);
      const room = Math.max(280, root.clientWidth - label() - 4);
      const width = Math.max(9, Math.min(64, Math.floor(room / n)));
      const grid = make("div", { class: "lens-grid", role: "grid", "aria-label": `Credit of each ${unit}, a row per method`, "aria-rowcount": rows.length, "aria-colcount": n });
      grid.style.setProperty("--w", `${width}px`);
      const head = make("div", { class: "lens-row head", "aria-hidden": "true" }, make("span", { class: "lens-name" }, unit));
      const step = width >= 22 ? 1 : width >= 14 ? 5 : 10;
      now.turns.forEach((t, k) => {
        const mark = t.fork ? make("b", { class: "fork-mark" }, "◆") : null;
        const number = k === 0 || (k + 1) % step === 0 ? make("span", { class: "tick" }, String(k + 1)) : null;
        head.append(make("span", { class: "lens-head" + (t.fork ? " fork" : "") }, ...[mark, number].filter(Boolean)));
      });
      grid.append(head);
      rows.forEach((row, i) => {
        const last = row.known && rows[i + 1] && !rows[i + 1].known;
        const line = make("div", { class: `lens-row${row.known ? " known" : ""}${last ? " last" : ""}`, role: "row" }, make("span", { class: "lens-name", role: "rowheader", title: row.name }, row.name));
        row.values.forEach((v, k) => {
          const none = v === null, m = none || !tops[i] ? 0 : Math.abs(v) / tops[i];
          const out = row.dropped && row.dropped.has(k);
          const cell = make("span", {
            class: `cell ${none ? "null" : v > 0 ? "pos" : v < 0 ? "neg" : "zero"}${now.turns[k].fork ? " fork" : ""}${out ? " dropped" : ""}`,
            role: "gridcell", tabindex: "-1", "data-row": i, "data-at": k,
            "aria-label": `${row.name}, ${unit} ${k + 1}${now.turns[k].fork ? ", fork" : ""}: ${show(v)}${out ? ", not in the loss" : ""}`,
          });
          cell.style.setProperty("--m", Math.min(1, m).toFixed(3));
          line.append(cell);
        });
        grid.append(line);
      });
      scroller.replaceChildren(grid);
      const size = now.turns.reduce((sum, t) => sum + (t.tokens ? t.tokens[0] : 0), 0);
      about.textContent = [
        now.reward === null || now.reward === undefined ? null : `reward ${Number(now.reward.toPrecision(4))}`,
        many(n, unit), size ? many(size, "token") : null, now.truncated ? "cut off before its end" : null,
      ].filter(Boolean).join(" · ");
      about.hidden = !data.overview;
      prompt.textContent = now.prompt ? `Prompt: ${now.prompt}` : "";
      prompt.hidden = !now.prompt;
      state.row = Math.min(state.row, rows.length - 1);
      state.at = Math.min(state.at, n - 1);
      cellAt(state.row, state.at).tabIndex = 0;
      detail(state.at);
    }

    function detail(at) {
      const now = current(), turn = now.turns[at], rows = rowsOf(now, titles), tops = scales(rows, state.shared);
      scroller.querySelectorAll(".here").forEach((c) => c.classList.remove("here"));
      scroller.querySelectorAll(`[data-at="${at}"]`).forEach((c) => c.classList.add("here"));
      const list = make("dl", {});
      rows.forEach((row, i) => {
        const v = row.values[at], bar = make("span", { class: `bar ${v > 0 ? "pos" : "neg"}` });
        bar.style.setProperty("--m", v && tops[i] ? (Math.abs(v) / tops[i]).toFixed(3) : 0);
        list.append(make("div", {}, make("dt", {}, row.name), make("dd", {}, bar, make("span", { class: "num" }, (row.dropped && row.dropped.has(at) ? "not in the loss, " : "") + show(v)))));
      });
      const facts = [
        turn.tokens ? `${many(turn.tokens[0], "token")}, ${turn.tokens[1].toLocaleString("en")} by the policy` : null,
        turn.reward ? `reward ${show(turn.reward)}` : null,
      ].filter(Boolean).join(" · ");
      panel.replaceChildren(
        make("div", { class: "lens-turn" },
          make("h3", {}, `${unit[0].toUpperCase()}${unit.slice(1)} ${at + 1} of ${now.turns.length}`, turn.fork ? make("span", { class: "badge" }, "◆ fork") : null,
            facts ? make("span", { class: "facts" }, facts) : null),
          ...said(turn.text)),
        list);
    }

    function go(row, at, focus) {
      const old = cellAt(state.row, state.at), cell = cellAt(row, at);
      if (!cell) return;
      if (old) old.tabIndex = -1;
      state.row = row; state.at = at;
      cell.tabIndex = 0;
      if (focus) cell.focus();
      detail(at);
    }

    const pick = (event, focus) => {
      const cell = event.target.closest(".cell[data-at]");
      if (cell) go(Number(cell.dataset.row), Number(cell.dataset.at), focus);
    };
    scroller.addEventListener("pointerover", (e) => pick(e, false));
    scroller.addEventListener("click", (e) => pick(e, true));
    scroller.addEventListener("focusin", (e) => { if (e.target.dataset.at && Number(e.target.dataset.at) !== state.at) pick(e, false); });
    scroller.addEventListener("keydown", (e) => {
      const n = current().turns.length - 1;
      const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[e.key];
      if (move) go(state.row + move[0], state.at + move[1], true);
      else if (e.key === "Home") go(state.row, 0, true);
      else if (e.key === "End") go(state.row, n, true);
      else if (e.key === "PageDown" || e.key === "PageUp") nextFork(e.key === "PageDown" ? 1 : -1);
      else return;
      e.preventDefault();
    });
    function nextFork(way) {
      const turns = current().turns;
      for (let k = state.at + way; k >= 0 && k < turns.length; k += way) if (turns[k].fork) return go(state.row, k, true);
    }
    task.addEventListener("change", () => { state.task = Number(task.value); state.trajectory = 0; state.at = firstFork(); listTrajectories(); draw(); });
    trajectory.addEventListener("change", () => { state.trajectory = Number(trajectory.value); state.at = firstFork(); draw(); });
    method.addEventListener("change", () => { glance = Number(method.value); drawOverview(); });
    strips.addEventListener("click", (e) => {
      const line = e.target.closest("[data-trajectory]");
      if (!line) return;
      state.trajectory = Number(line.dataset.trajectory);
      trajectory.value = state.trajectory;
      state.at = firstFork();
      draw();
      strips.querySelector(`[data-trajectory="${state.trajectory}"]`).focus({ preventScroll: true });
      root.scrollIntoView({ block: "start" });
    });
    for (const input of [own, shared]) input.addEventListener("change", () => { state.shared = shared.checked; draw(); });
    let width = root.clientWidth;
    new ResizeObserver(() => { if (Math.abs(root.clientWidth - width) > 8) { width = root.clientWidth; draw(); } }).observe(root);
    listTrajectories();
    state.at = firstFork();
    draw();
  }

  const root = document.getElementById("lens-root");
  if (root) lens(root, JSON.parse(document.getElementById("data-lens").textContent));
})();
