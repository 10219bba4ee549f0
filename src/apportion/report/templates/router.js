// Views have addresses: #/cost, #/method/gigpo, #/task/team~two, with the selection behind a question mark.
// An older address (#leaderboard) is a place in a view: the view is shown, then the place.
(function (report) {
  "use strict";
  const { el } = report;
  const views = new Map([...document.querySelectorAll(".view")].map((v) => [v.dataset.view, v]));
  const title = document.getElementById("title"), crumb = document.getElementById("crumb"), selectors = document.getElementById("selectors");
  const suite = document.title;
  let here = null;

  function parse() {
    const hash = location.hash.slice(1);
    if (hash && !hash.startsWith("/")) {
      const place = document.getElementById(hash), view = place && place.closest(".view");
      return { name: view ? view.dataset.view : place ? here || "" : "nowhere", rest: "", query: new URLSearchParams(), place };
    }
    const [path, query] = hash.slice(1).split("?");
    const [name, ...rest] = (path || "").split("/");
    let slug = rest.join("/");
    try { slug = decodeURIComponent(slug); } catch { slug = ""; }
    return { name, rest: slug, query: new URLSearchParams(query || ""), place: null };
  }

  // Shows what the address names: `prepare(name, rest, query, node)` fills a page and says its heading, place and selectors.
  function show(prepare, draw, moved) {
    const { name, rest, query, place } = parse();
    title.after(selectors); // a page that is made anew must not take them along
    let node = views.get(name), found = node && prepare(name, rest, query, node);
    if (!found) { node = views.get("nowhere"); found = { heading: node.dataset.heading, nav: null, uses: [] }; }
    for (const view of views.values()) view.hidden = view !== node;
    here = node.dataset.view;
    title.textContent = found.heading;
    document.title = node.dataset.view === "" ? suite : `${found.heading} · ${suite}`;
    const paged = found.nav !== node.dataset.view && found.nav;
    crumb.hidden = !paged;
    if (paged) crumb.replaceChildren(el("a", { href: `#/${found.nav}` }, document.querySelector(`nav [data-nav="${found.nav}"]`).textContent), " /");
    for (const link of document.querySelectorAll("nav [data-nav]")) {
      if (link.dataset.nav === found.nav) link.setAttribute("aria-current", paged ? "true" : "page"); else link.removeAttribute("aria-current");
    }
    const slot = node.querySelector("[data-selectors]");
    for (const one of selectors.querySelectorAll("[data-use]")) one.hidden = !found.uses.includes(one.dataset.use);
    selectors.hidden = !found.uses.length;
    if (slot) slot.append(selectors); else node.prepend(selectors);
    draw(node);
    if (place && place.closest(".view")) place.scrollIntoView();
    else if (moved) { title.focus({ preventScroll: true }); window.scrollTo(0, (history.state && history.state.y) || 0); }
  }

  // The selection in the address, without a new entry in the history.
  function remember(query) {
    const path = location.hash.startsWith("#/") ? location.hash.split("?")[0] : `#/${here}`;
    const said = new URLSearchParams(query).toString();
    history.replaceState(history.state, "", said ? `${path}?${said}` : path);
  }

  function start(prepare, draw) {
    document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); title.focus(); });
    history.scrollRestoration = "manual";
    let waiting = null;
    window.addEventListener("scroll", () => { clearTimeout(waiting); waiting = setTimeout(() => history.replaceState({ y: window.scrollY }, ""), 100); }, { passive: true });
    window.addEventListener("hashchange", () => { clearTimeout(waiting); show(prepare, draw, true); });
    show(prepare, draw, Boolean(history.state && history.state.y));
  }
  Object.assign(report, { router: { start, remember, view: () => views.get(here) } });
})(window.apportion);
