"""Sweeps, estimands, witness and claims in a real headless Chromium: drawn, readable without the picture, filtered, and quiet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from apportion.bench.claims.record import document
from apportion.errors import BenchError
from apportion.report import write_report

from .fake_run import EVIL, Rows, write_rows

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("playwright")

TASKS = ("bifurcation/horizon-10", "bifurcation/horizon-30", "interaction/or", "interaction/xor", "witness/plus", "witness/minus")
#: id -> (asks, oracle, noise of its update beside RLOO's, growth along a sweep, right signs in witness/plus)
METHODS: dict[str, tuple[str, bool, float, float, float]] = {
    "rloo": ("nothing", False, 1.0, 1.0, 0.7),
    "gigpo": ("nothing", False, 0.3, 8.0, 0.7),
    "vineppo": ("sampler", False, 0.2, 1.0, 0.5),
    "scar": ("fit", False, 0.8, 1.0, 0.75),
    "exact": ("truth", True, 0.01, 1.0, 0.5),
}


def rows() -> Rows:
    made: Rows = []
    for method, (_, _, noise, growth, right) in METHODS.items():
        for at, task in enumerate(TASKS):
            for seed in range(6):
                rng = np.random.default_rng([seed, at, len(method)])
                n = 4.0 * noise * (growth if at % 2 else 1.0) * rng.uniform(0.95, 1.05)
                moments = {"inner": 1.0, "norm2": 1.0 + n, "truth2": 1.0, "cross": 1.0, "replicates": 8.0, "price": 10.0}
                made += [(method, task, seed, "gradient", k, 64, float("nan"), v) for k, v in moments.items()]
                sign = right if task.endswith("plus") else 1 - right
                found = {
                    "correlation": 0.4 / (1 + noise), "sign": 0.6, "fork_ap": 0.5, "leak_routine": 0.3, "leak_luck": 0.1,
                    "silent": 0.0, "correlation:contrast": 0.3, "correlation:shapley": 0.5, "sign:contrast": sign,
                }  # fmt: skip
                if method == "exact":
                    found |= {"silent": 1.0 if "witness" in task else 0.0, "correlation": 1.0, "correlation:shapley": 0.6}
                made += [
                    (method, task, seed, "identification", k, 0, float("nan"), v + rng.normal(0, 1e-3) * (k == "sign:contrast"))
                    for k, v in found.items()
                ]
    return made


def claim(id_: str, verdict: str, **more: Any) -> dict[str, Any]:
    number = {"what": "share", "value": 0.5, "low": 0.4, "high": 0.6, "claimed": 0.5}
    return {
        "id": id_, "claim": f"Claim {id_}.", "source": "a paper", "experiment": "what was done", "verdict": verdict, "when": None,
        "seeds": 6, "numbers": [number], "command": f"apportion bench claims {id_} --seeds 6", **more,
    }  # fmt: skip


CLAIMS = (
    claim("first", "holds"),
    claim("second", "holds only when", when=EVIL, source=EVIL),
    claim("third", "does not hold", numbers=[{"what": EVIL, "value": None, "low": None, "high": None, "claimed": None}]),
)


def folder(path: Path, *, claims: tuple[dict[str, Any], ...] = CLAIMS) -> Path:
    path.mkdir()
    write_rows(path, rows())
    manifest = {
        "suite": "own", "command": "apportion bench run --suite own", "versions": {}, "prices": {"generated": 1.0},
        "tasks": [{"id": t, "family": t.split("/")[0], "tags": [], "horizon": 10, "title": t} for t in TASKS],
        "entrants": [
            {"id": m, "title": m.upper(), "oracle": oracle, "paid": asks != "nothing", "method": m, "ask": asks}
            for m, (asks, oracle, *_) in METHODS.items()
        ],
    }  # fmt: skip
    (path / "manifest.json").write_text(json.dumps(manifest))
    if claims:
        (path / "claims.json").write_bytes(document(claims))
    return path


@dataclass
class Seen:
    page: Page
    file: Path
    complaints: list[str] = field(default_factory=list)

    def go(self, name: str) -> Page:
        self.page.goto(f"{self.file.as_uri()}#/{name}")
        self.page.wait_for_selector(f'.view[data-view="{name}"]:not([hidden])')
        return self.page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sections")
    return write_report(folder(place / "run"), place / "report.html")


@pytest.fixture
def seen(browser: Browser, report: Path) -> Iterator[Seen]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    found = Seen(page, report)
    page.on("console", lambda m: found.complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: found.complaints.append(str(e)))
    yield found
    page.close()


def view(name: str) -> str:
    return f'.view[data-view="{name}"]'


def test_a_figure_for_each_knob_with_marks_words_and_a_table(seen: Seen) -> None:
    page = seen.go("sweeps")
    figures = page.locator(f"{view('sweeps')} figure")
    assert figures.count() == 2
    for i in range(2):
        image = figures.nth(i).locator('svg[role="img"]')
        assert "separates" in (image.get_attribute("aria-label") or "")
        assert image.locator('g[aria-label="dot"] path').count() >= 2 * len(METHODS)
    assert "GIGPO falls from" in page.locator(f"{view('sweeps')} .read").nth(0).inner_text()
    page.locator(f"{view('sweeps')} details summary").first.click()
    assert page.locator(f"{view('sweeps')} details table").first.locator("tbody tr[data-method]").count() == len(METHODS)
    assert seen.complaints == []


def test_the_height_of_a_sweep_can_be_alignment(seen: Seen) -> None:
    page = seen.go("sweeps")
    page.select_option("#sweeps-measure", "rho")
    assert "alignment" in page.locator(f"{view('sweeps')} figure svg").first.inner_html()
    assert seen.complaints == []


def test_the_filter_leaves_out_methods_everywhere(seen: Seen) -> None:
    page = seen.go("sweeps")
    before = page.locator(f"{view('sweeps')} figure svg").first.locator('g[aria-label="dot"] path').count()
    page.fill("#filter-text", "gigpo")
    page.wait_for_selector("#filter-count:text('1 of')")
    assert page.locator(f"{view('sweeps')} figure svg").first.locator('g[aria-label="dot"] path').count() < before
    page = seen.go("witness")
    assert page.locator("#witness-table tbody tr[data-method]").count() == 1
    page.fill("#filter-text", "nobody at all")
    page.wait_for_selector("#filter-count:text('0 of')")
    assert page.locator(f"{view('witness')} figure svg").count() == 0
    seen.go("sweeps")
    assert seen.complaints == []


def test_witness_says_who_claims_to_know(seen: Seen) -> None:
    page = seen.go("witness")
    said = page.locator("#witness-table").inner_text()
    assert page.locator('#witness-table tr[data-method="rloo"] .badge').last.inner_text() == "claims to know"
    assert page.locator('#witness-table tr[data-method="vineppo"] .badge').last.inner_text() == "says nothing wrong"
    assert page.locator('#witness-table tr[data-method="exact"] .badge').last.inner_text() == "abstains"
    assert "restored states" in said
    label = page.locator(f"{view('witness')} figure svg[role='img']").get_attribute("aria-label") or ""
    assert "claim to know" in label
    assert seen.complaints == []


def test_estimands_follow_the_task(seen: Seen) -> None:
    page = seen.go("estimands")
    page.select_option("#task", "interaction/or")
    row = page.locator('#estimands tr[data-method="scar"]').inner_text()
    assert "shapley" in row
    assert "0.50" in row
    assert page.locator("#estimands caption").inner_text() == "At interaction/or"
    assert "interaction/or" in page.locator("#estimands-part").inner_text()
    assert seen.complaints == []


def test_claims_are_chips_numbers_and_commands_and_never_run(seen: Seen) -> None:
    page = seen.go("claims")
    claims = page.locator("section.claim")
    assert [claims.nth(i).locator(".badge").inner_text().split(" ", 1)[1] for i in range(3)] == [
        "holds", "holds only when", "does not hold",
    ]  # fmt: skip
    assert claims.nth(0).locator("code").inner_text() == "apportion bench claims first --seeds 6"
    assert "0.4 – 0.6" in claims.nth(0).inner_text()
    assert EVIL.split("{{", maxsplit=1)[0].strip()[:30] in claims.nth(1).inner_text()
    assert page.evaluate("window.evil") is None
    page.select_option("#claims-verdict", "holds")
    assert [claims.nth(i).is_visible() for i in range(3)] == [True, False, False]
    assert page.locator("#claims-count").inner_text() == "1 of 3 claims shown"
    assert seen.complaints == []


def test_headings_descend_by_one_from_a_single_first(seen: Seen) -> None:
    for name in ("sweeps", "estimands", "witness", "claims"):
        page = seen.go(name)
        levels = page.eval_on_selector_all(
            "h1, h2, h3, h4", "all => all.filter(h => h.offsetParent !== null).map(h => Number(h.tagName[1]))"
        )
        assert levels.count(1) == 1
        assert all(b - a <= 1 for a, b in pairwise(levels))


def test_nothing_to_say_is_no_view_and_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    run = folder(tmp_path / "run", claims=())
    assert "#/claims" not in write_report(run, tmp_path / "report.html").read_text()
    (run / "claims.json").write_text("{}")
    with pytest.raises(BenchError, match=r"claims\.json: format"):
        write_report(run, tmp_path / "other.html")
    assert not (tmp_path / "other.html").exists()
