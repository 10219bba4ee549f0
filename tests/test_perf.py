"""The harness of ``make bench`` on tiny sizes, and that the peers mean the same by GAE (where they are installed)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from perf import clock, methods, page, peers, run, world

import apportion as ap
from apportion.bench.settings import Gradient, Settings


def test_contestants_take_turns_and_ratios_pair_the_rounds() -> None:
    order: list[str] = []
    taken = clock.in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2, inner={"b": 2})
    assert "".join(order) == "ab" + "abb" * 2
    assert {name: len(x) for name, x in taken.items()} == {"a": 2, "b": 2}
    found = clock.ratio([4.0, 9.0, 1.0], [2.0, 3.0, 1.0])
    assert found == clock.Spread(2.0, 1.0, 3.0)


def test_slope_is_the_exponent_of_growth() -> None:
    sizes = [2**p for p in range(4)]
    assert methods.slope(sizes, [3.0 * s**1.5 for s in sizes]) == pytest.approx(1.5)


def test_batches_hold_about_the_tokens_asked_for_and_all_columns_counted() -> None:
    for make in (methods.batch, methods.long_batch):
        batch = make(2**13)
        assert 0.5 * 2**13 <= batch.n_tokens <= 2 * 2**13
        assert 0.25 < 1 - batch.action.mean() < 0.35 or batch.n_tokens / batch.n_turns < 10
        assert methods.size_of(batch) > 25 * batch.n_tokens
    assert len(np.unique(methods.batch(2**13).need("node"))) < methods.batch(2**13).n_turns  # turns are shared


def test_memory_counts_what_a_call_allocates() -> None:
    batch = methods.batch(2**13)
    got = methods.peak(ap.methods()["rloo"], batch)
    assert got * methods.size_of(batch) >= batch.n_tokens * 8  # the credit itself
    assert methods.peak(ap.methods()["m_grpo"], batch) < 6  # of the batch it credits, which has copies in it


def test_every_method_runs_in_both_shapes() -> None:
    found = methods.scaling([10, 11], repeats=1)
    assert {m.method for m in found} == set(ap.methods())
    assert all(np.isfinite([m.slope, m.memory]).all() and m.seconds.low > 0 and m.memory > 0 for m in found)
    page.show({"machine": run.machine(), "methods": found})


def test_the_page_shows_ratios_and_which_promise_was_broken(capsys: pytest.CaptureFixture[str]) -> None:
    one, many = clock.Spread(1.0, 1.0, 1.0), clock.Spread(99.0, 90.0, 110.0)
    rows = [peers.Ratio("verl", "packed", 1, many, one, many, 100.0), peers.Ratio("torchrl", "tensors", 1, one, one, one, None)]
    page.show({"machine": run.machine(), "ratios": rows, "apart": {"verl": 1e-6}})
    shown = capsys.readouterr().out
    assert "99 (90-110)" in shown
    assert "100 broken" in shown
    assert "1.0 (1.0-1.0)" in shown


def test_share_outside_is_a_share() -> None:
    how = Settings(gradient=Gradient(batch_sizes=(16,), replicates=(2,)))
    for found in world.shares(["rloo"], "bifurcation/horizon-10", how):
        assert 0 < found.outside < 1


def test_broken_promises_are_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = clock.Spread(1.0, 1.0, 1.0)
    kept = methods.Scaling("quick", 2**20, one, one, 1.0, 2.0)
    slow = methods.Scaling("slow", 2**20, one, one, 1.2, 2.0)
    ratio = peers.Ratio("verl", "packed", 1, one, one, clock.Spread(99.0, 90.0, 110.0), 100.0)
    for rows, code in (([kept], 0), ([kept, slow], 1)):
        monkeypatch.setattr(methods, "scaling", lambda *_, rows=rows, **__: rows)
        assert run.main(["--part", "methods", "--json", str(tmp_path / "out.json")]) == code
    assert "slow" in capsys.readouterr().err
    assert json.loads((tmp_path / "out.json").read_text())["broken"][0].startswith("slow: 1.000 s, slope 1.20")
    assert run.broken({"ratios": [ratio]}) == ["packed against verl (1 threads): 99.0 x, promised 100 x"]


def test_peers_agree_and_are_raced() -> None:
    for name in run.PEERS:
        pytest.importorskip(name)
    apart, ratios = peers.peers(rows=3, width=400, rounds=1)
    assert max(apart.values()) <= peers.TOLERANCE
    assert {(r.peer, r.ours) for r in ratios} == {(p, o) for p in ("verl", "torchrl") for o in ("packed", "tensors")}


def test_without_the_peers_the_page_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perf.run.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="make bench"):
        run.main(["--part", "peers"])
