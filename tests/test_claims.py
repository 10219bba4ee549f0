"""Claims as experiments: verdicts follow from numbers, and the quick ones are run."""

from __future__ import annotations

import json
import math

import pytest

from apportion.bench.bifurcation import bifurcation
from apportion.bench.claims import CLAIMS, learning, run
from apportion.bench.claims.finding import Number, over_seeds, said
from apportion.bench.claims.gradients import cleaner, worth
from apportion.bench.claims.learning import final
from apportion.bench.claims.signal import signal_to_noise
from apportion.bench.entrants import Entrant, entrants
from apportion.bench.tasks import find
from apportion.cli import main
from apportion.errors import BenchError

#: Claims that take a second or less, and what becomes of them.
QUICK = {
    "signal-falls-with-horizon": "holds only when",
    "one-decides-update": "holds",
    "smearing": "holds",
    "restored-contrasts-unbiased": "holds",
    "logs-leave-the-sign-open": "holds",
    "leave-one-out-under-redundancy": "holds",
    "sum-form-is-hacked": "holds only when",
    "plain-baseline-collapse": "holds",
    "per-turn-baselines-biased": "holds",
    "hindsight-blind-in-failure": "holds",
}


@pytest.mark.parametrize("id_", QUICK)
def test_quick_claims_get_their_verdict(id_: str) -> None:
    [(claim, finding)] = run([id_], seeds=4)
    assert claim.id == id_
    assert finding.verdict == QUICK[id_], [(n.what, n.value, n.low, n.high) for n in finding.numbers]
    assert all(math.isfinite(n.value) for n in finding.numbers)


def test_signals_have_their_closed_forms() -> None:
    """Equal shares .8 / T over nearly 1; one decides 4/3 at any horizon; a sum of effects 1 / sqrt(T - 1)."""
    assert signal_to_noise("equal shares", 10, 0) == pytest.approx(0.08, abs=0.006)
    assert signal_to_noise("one decides", 100, 0) == pytest.approx(4 / 3, rel=0.01)
    assert signal_to_noise("sum of effects", 10, 0) == pytest.approx(1 / 3, rel=0.02)


def test_exact_credit_is_worth_more_than_rloo_and_rloo_is_worth_itself() -> None:
    task = bifurcation("own/claims", horizon=10, title="x", prompts=4)
    assert worth("rloo", task, 0) == pytest.approx(1.0)
    assert worth("exact", task, 0) > 3


def test_the_deep_trap_holds_even_exact_credit() -> None:
    assert final(entrants()["exact"], find("agentic/echo-trap"), 0, 64) > 0.8
    assert final(entrants()["exact"], find("agentic/echo-trap-deep"), 0, 64) < 0.5


def test_numbers_agree_within_their_interval_only() -> None:
    number = over_seeds("x", [1.9, 2.0, 2.1], claimed=2.0)
    assert number.agrees
    assert number.above
    assert not over_seeds("x", [1.9, 2.0, 2.1], claimed=3.5).agrees
    assert Number("exact", 0.5, claimed=0.5).agrees
    assert not Number("exact", 0.5, claimed=0.6).agrees
    assert Number("x", -1.0, -2.0, -0.5).below


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["bench", "claims", *words])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_command_prints_numbers_beside_what_was_claimed(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "leave-one-out-under-redundancy", "--seeds", "2")
    assert "-> holds" in out
    assert "Shapley value of each: 0.5, claimed 0.5" in out
    [data] = json.loads(printed(capsys, "smearing", "--seeds", "2", "--json"))
    assert data["verdict"] == "holds"
    assert data["command"] == "apportion bench claims smearing --seeds 2"
    assert {row["id"] for row in json.loads(printed(capsys, "--list", "--json"))} == set(CLAIMS)


def test_an_unknown_claim_and_too_few_seeds_are_refused() -> None:
    with pytest.raises(BenchError, match="smearing"):
        list(run(["smear"]))
    with pytest.raises(BenchError, match="at least 2"):
        list(run(["smearing"], seeds=1))


def test_what_noise_hides_is_undecided_and_not_refuted() -> None:
    def gain(low: float, high: float) -> Number:
        return Number("x", (low + high) / 2, low, high)

    sure, none, wide = gain(0.1, 0.3), gain(-0.1, 0.1), gain(-1.0, 1.0)
    verdicts = {(sure, sure): "holds", (sure, none): "holds only when", (sure, wide): "undecided", (none, none): "does not hold",
                (wide, none): "undecided"}  # fmt: skip
    for (here, there), verdict in verdicts.items():
        assert cleaner(here, there, [here, there], "it is so").verdict == verdict
    assert said(False, [wide], fails=False).verdict == "undecided"
    assert said(False, [none]).verdict == "does not hold"


@pytest.mark.parametrize(("apart", "verdict"), [(0.2, "holds"), (-0.2, "does not hold"), (0.0, "undecided")])
def test_two_seeds_that_disagree_decide_nothing(monkeypatch: pytest.MonkeyPatch, apart: float, verdict: str) -> None:
    def won(entrant: Entrant, task: object, seed: int) -> float:
        return 0.5 + (apart + 0.01 * (1 - 2 * (seed % 2)) if entrant.options["form"] == "softmax" else 0.0)

    monkeypatch.setattr(learning, "final", won)
    [(_, finding)] = run(["min-form-resists-hacking"], seeds=2)
    assert finding.verdict == verdict
