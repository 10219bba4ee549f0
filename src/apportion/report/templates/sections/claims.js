// Claims stand in the page as they are; only the choice of a verdict hides some.
(function () {
  "use strict";
  const select = document.getElementById("claims-verdict"), claims = [...document.querySelectorAll("section.claim")], count = document.getElementById("claims-count");
  select.addEventListener("change", () => {
    for (const claim of claims) claim.hidden = Boolean(select.value) && claim.dataset.verdict !== select.value;
    const shown = claims.filter((claim) => !claim.hidden).length;
    count.textContent = shown === claims.length ? "" : `${shown} of ${claims.length} claims shown`;
  });
})();
