"""Bills at the user's G and K are those of a real run at that size, and the line to type is what was billed."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from apportion.bench.entrants import run_entrant
from apportion.bench.knobs import entrant
from apportion.bench.selection.answer import answer, code
from apportion.bench.selection.bills import continuations, cost
from apportion.bench.selection.grid import ENTRANTS
from apportion.bench.selection.measured import measured
from apportion.bench.selection.needs import lacks
from apportion.bench.tasks import find
from apportion.survey.profile import Profile, profile

TASKS = {"agentic": "bifurcation/horizon-10", "reasoning": "reasoning/steps-10", "multi-agent": "team/two"}


@functools.cache
def _real(task: str, name: str, group: int) -> float:
    """Tokens generated for the credit of a rollout, counted in a run."""
    made = find(task)
    rng, own = np.random.default_rng(0), np.random.default_rng(1)
    found = run_entrant(entrant(name), made, made.start_theta, max(128 // group, 4), group, rng, own)
    return found.credit.bill.generated / len(found.rollouts.prompt)


def _user(setting: str, **more: object) -> Profile:
    s = measured().settings[TASKS[setting]]
    length = {"N": s.horizon, "T": s.horizon * s.written} if setting == "reasoning" else {"turns": s.horizon, "T": 2 * s.horizon}
    return profile({"setting": setting, **length, **more})


def _billed(name: str, setting: str, group: int) -> float:
    found = cost(measured(), name, _user(setting, G=group))
    assert found is not None
    return found.counts["generated"]


@pytest.mark.parametrize("setting", TASKS)
@pytest.mark.parametrize("group", [2, 8, 32])
def test_what_is_sampled_once_a_prompt_is_shared_by_its_rollouts(setting: str, group: int) -> None:
    assert _billed("remax", setting, group) == pytest.approx(_real(TASKS[setting], "remax", group), rel=0.03)


@pytest.mark.parametrize("name", ["carl", "at2po"])
def test_branches_are_shared_by_a_group_and_a_group_too_small_for_them_is_left_out(name: str) -> None:
    assert _billed(name, "agentic", 8) == pytest.approx(_real(TASKS["agentic"], name, 8), rel=0.2)
    assert 0.6 < _billed(name, "agentic", 32) / _real(TASKS["agentic"], name, 32) < 1.1
    have = {"can_fork": "yes", "budget": "high"}
    assert lacks(entrant(name), _user("agentic", G=6, **have)) == []
    assert _real(TASKS["agentic"], name, 6) > 0
    (small,) = lacks(entrant(name), _user("agentic", G=5, **have))
    assert small.need == "G"
    assert small.says.endswith("needs --G 6; you said 5")


def test_a_group_of_one_is_enough_for_a_method_that_compares_nothing() -> None:
    assert lacks(entrant("gae"), _user("agentic", G=1, critic="yes")) == []


@pytest.mark.parametrize("name", ["vineppo", "c3", "math_shepherd"])
def test_what_is_sampled_for_every_rollout_costs_the_same_in_any_group(name: str) -> None:
    assert _billed(name, "agentic", 2) == _billed(name, "agentic", 32)
    assert _real(TASKS["agentic"], name, 32) == pytest.approx(_real(TASKS["agentic"], name, 2), rel=0.3)


def test_the_line_to_type_has_the_k_that_was_billed() -> None:
    with_k = {e for e in ENTRANTS if continuations(e) is not None}
    assert with_k >= {"vineppo", "spo", "c3", "math_shepherd", "omegaprm", "ccpo", "sharp", "scar-replay", "int-blame80"}
    assert code(entrant("vineppo"), 16) == 'ap.assign(batch, "vineppo", sampler=sampler, k=16)'
    assert code(entrant("spo"), 16) == 'ap.assign(batch, "spo", sampler=sampler, k=16)'
    assert code(entrant("capo-judge80"), 16) == 'ap.assign(batch, "capo", judge=judge, k=4)'  # four opinions, no rollouts
    have = {"can_fork": "yes", "judge": "yes", "aux_model": "yes", "budget": "high", "K": 16}
    for setting in TASKS:
        found = answer(_user(setting, **have), measured())
        rows = {r["entrant"]: r["code"] for r in found["measured"]["candidates"]}
        rows |= {c["method"]: c["code"] for t in found["trees"] for c in t["candidates"] if c["implemented"] and c["runs"]}
        for name, line in rows.items():
            assert ("k=16" in line) == (name in with_k or any(line.startswith(code(entrant(e), 16)) for e in with_k)), line
        more, less = (cost(measured(), "vineppo", _user(setting, **{**have, "K": k})) for k in (16, 4))
        assert more is not None
        assert less is not None
        assert more.counts["generated"] == pytest.approx(4 * less.counts["generated"])
