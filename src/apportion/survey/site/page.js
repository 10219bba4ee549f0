// Search, filters, sorting and the open record. The page reads without it: every record stands below the table.
(function () {
  "use strict";
  const all = (selector, node = document) => [...node.querySelectorAll(selector)];
  const one = (selector, node = document) => node.querySelector(selector);
  const form = one("#ask-form"), body = one("#record-table tbody"), panel = one("#record-panel"), content = one(".body", panel);
  const rows = all("tr", body), selects = all("select", form).filter((s) => s.name !== "sort");
  const state = { key: "name", way: 1 };
  document.documentElement.classList.add("script");

  const shown = () => all("tr", body).filter((row) => !row.hidden);

  function filter() {
    const sought = form.elements.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const asked = selects.filter((s) => s.value);
    for (const row of rows) {
      const fits = asked.every((s) => row.dataset[s.name].split(" ").includes(s.value));
      row.hidden = !(fits && sought.every((word) => row.dataset.search.includes(word)));
    }
    const count = shown().length, s = rows.length === 1 ? "" : "s";
    one("#record-count").textContent = count === rows.length ? `${count} record${s}` : `${count} of ${rows.length} record${s}`;
    one("#no-record").hidden = count > 0;
    one("#record-table").hidden = count === 0;
  }

  const value = (row, key) => one(`[data-key="${key}"]`, row).dataset.sort;
  const compare = (x, y) => (x < y ? -1 : x > y ? 1 : 0);

  function sort(key, way) {
    Object.assign(state, { key, way });
    rows.sort((a, b) => way * compare(value(a, key), value(b, key)) || compare(value(a, "name"), value(b, "name")));
    body.append(...rows);
    for (const head of all("#record-table thead th")) {
      const here = head.dataset.key === key;
      head.setAttribute("aria-sort", here ? (way > 0 ? "ascending" : "descending") : "none");
      one(".arrow", head).textContent = here ? (way > 0 ? "▲" : "▼") : "";
    }
    form.elements.sort.value = key;
  }

  const isRecord = (node) => node !== null && node.matches("article.record");

  const named = () => document.getElementById(location.hash.slice(1));
  let last = null; // the id of the record that was open last

  // The address says which record is open, so that it can be linked to and the back button closes it.
  function follow() {
    const article = named();
    if (!isRecord(article)) {
      if (panel.open) panel.close();
      return;
    }
    content.replaceChildren(...[...article.childNodes].map((node) => node.cloneNode(true)));
    const ids = shown().map((row) => row.dataset.id), at = ids.indexOf(article.id);
    for (const [rel, to] of [["prev", ids[at - 1]], ["next", at < 0 ? undefined : ids[at + 1]]]) {
      const link = one(`[rel="${rel}"]`, panel);
      link.hidden = to === undefined;
      if (to !== undefined) link.href = `#${to}`;
    }
    last = article.id;
    if (!panel.open) panel.showModal();
    panel.scrollTop = 0;
    one("h2", content).focus();
  }

  panel.addEventListener("close", () => {
    if (isRecord(named())) history.replaceState(null, "", location.href.split("#")[0]);
    one(`tr[data-id="${last}"] a`, body).focus();
  });
  panel.addEventListener("click", (event) => {
    if (event.target === panel || event.target.closest("[data-close]")) panel.close();
  });
  window.addEventListener("hashchange", follow);

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    if (event.target.name === "sort") sort(event.target.value, 1);
    else filter();
  });
  form.addEventListener("reset", () => setTimeout(() => { sort("name", 1); filter(); }));
  one("[data-reset]").addEventListener("click", () => { form.reset(); form.elements.search.focus(); });
  for (const button of all("#record-table thead button")) {
    button.addEventListener("click", () => {
      const key = button.closest("th").dataset.key;
      sort(key, state.key === key ? -state.way : key === "date" ? -1 : 1);
    });
  }
  for (const button of all(".map button")) {
    button.addEventListener("click", () => {
      form.elements.granularity.value = button.dataset.granularity;
      form.elements.methodology.value = button.dataset.methodology;
      filter();
      one("#record-count").scrollIntoView({ block: "nearest" });
    });
  }
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (!event.target.closest("a") && String(getSelection()) === "") location.hash = row.dataset.id;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !panel.open && !event.target.matches("input, select, textarea")) {
      event.preventDefault();
      form.elements.search.focus();
    }
  });

  if (matchMedia("(max-width: 860px)").matches) one(".filters").open = false;
  form.reset();
  sort("name", 1);
  filter();
  follow();
})();
