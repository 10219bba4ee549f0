"""Teams whose parts combine by design: worked out by hand, and where difference rewards and Shapley values part."""

from __future__ import annotations

import numpy as np
import pytest

from apportion.bench.coupled import START, Coupling, coupled, variants
from apportion.bench.entrants import entrants, run_entrant
from apportion.bench.estimands import coalition_value, estimands, of_agents
from apportion.bench.forks import CLASSES
from apportion.bench.oracle import oracle, truth
from apportion.bench.tabular import Task
from apportion.bench.tasks import find
from apportion.bench.world import Rollouts, roll
from apportion.errors import OptionError

GAP = 0.8
NEVER = 1e-12
TEAMS = [id_ for id_ in variants() if id_ != "team/chain"]


def played(kind: Coupling, did: str, right: float = NEVER, mend: float = 1.0) -> Rollouts:
    """One rollout of a team in which the agents did right (r) or wrong (w), in order; without a room to stand in."""
    n = len(did)
    task = coupled("own/x", kind=kind, agents=n, title="", horizon=2 * n, prompts=1, rooms=1, gap=GAP, right=right, mend=mend)
    best = (task.kernel_of[0] - 1) % CLASSES
    action = np.zeros(2 * n, dtype=np.int64)
    for i, word in enumerate(did):
        at = 2 * i + 1
        assert task.fork[0, at]
        action[at] = best[at] if word == "r" else (best[at] + 1) % task.actions
    states = [0]
    for t, a in enumerate(action):
        states.append(int(task.kernels[task.kernel_of[0, t], states[-1], a].argmax()))
    zero = np.zeros(1, dtype=np.int64)
    return Rollouts(task, task.start_theta, np.array([states]), action[None], zero, zero, np.ones(1))


def credited(r: Rollouts) -> list[list[float]]:
    """Difference reward and Shapley value of each agent, in units of the gap."""
    assert r.task.roles is not None
    _, first = np.unique(r.task.roles, return_index=True)
    return [(x[0, first] / GAP).tolist() for x in of_agents(r)]


@pytest.mark.parametrize(
    ("kind", "did", "difference", "shapley"),
    [
        ("independent", "rr", [1 / 2, 1 / 2], [1 / 2, 1 / 2]),
        ("independent", "rwrr", [1 / 4, 0, 1 / 4, 1 / 4], [1 / 4, 0, 1 / 4, 1 / 4]),
        ("redundant", "rr", [0, 0], [1 / 2, 1 / 2]),
        ("redundant", "rw", [1, 0], [1, 0]),
        ("redundant", "rwrw", [0, 0, 0, 0], [1 / 2, 0, 1 / 2, 0]),
        ("redundant", "rrrr", [0] * 4, [1 / 4] * 4),
        ("complementary", "rr", [1, 1], [1 / 2, 1 / 2]),
        ("complementary", "rw", [0, 0], [0, 0]),
        ("complementary", "rrrr", [1] * 4, [1 / 4] * 4),
        ("chain", "rrr", [1, 0, 0], [2 / 3, 1 / 6, 1 / 6]),  # whoever solved, without the plan nothing; one of the two will do
        ("chain", "rwr", [1, 0, 1], [1 / 2, 0, 1 / 2]),
        ("chain", "rrw", [1, 1, 0], [1 / 2, 1 / 2, 0]),
        ("chain", "wrr", [0, 0, 0], [0, 0, 0]),
    ],
)
def test_credit_by_hand_where_the_policy_by_itself_never_does_right(
    kind: Coupling, did: str, difference: list[float], shapley: list[float]
) -> None:
    found = credited(played(kind, did))
    np.testing.assert_allclose(found[0], difference, atol=1e-9)
    np.testing.assert_allclose(found[1], shapley, atol=1e-9)


def test_credit_by_hand_where_the_policy_does_right_now_and_then() -> None:
    """Left out is drawn anew, so that whoever is left out does right with chance q."""
    q = 0.3
    spared = (1 - q) ** 2 / 2
    np.testing.assert_allclose(credited(played("redundant", "rr", q)), [[0.0, 0.0], [spared, spared]], atol=1e-12)
    alone = (1 - (1 - q) ** 2) / 2
    np.testing.assert_allclose(credited(played("redundant", "ww", q)), [[-q, -q], [-alone, -alone]], atol=1e-12)
    needed = (1 - q**2) / 2
    np.testing.assert_allclose(credited(played("complementary", "rr", q)), [[1 - q] * 2, [needed] * 2], atol=1e-12)
    mend = 0.7  # a solver left out is mended where it fails; a verifier left out is not missed
    assert credited(played("chain", "rrr", q, mend))[0] == pytest.approx([1 - q, (1 - q) * (1 - mend), 0.0], abs=1e-12)


@pytest.mark.parametrize("id_", [*TEAMS, "team/chain"])
def test_every_team_starts_with_the_same_worth_and_only_forks_matter(id_: str) -> None:
    task = find(id_)
    with oracle():
        solved = truth(task, task.start_theta)
    floor, gap = task.success.min(axis=1).mean(), np.ptp(task.success, axis=1)
    np.testing.assert_allclose(gap, GAP)
    assert roll_value(task) == pytest.approx(floor + START * GAP, abs=1e-9)
    with oracle():
        routine = np.ptp(solved.Q, axis=3)[~task.fork]
        deciding = np.ptp(solved.A, axis=3).max(axis=2)[task.fork]
    np.testing.assert_allclose(routine, 0.0, atol=1e-12)
    assert (deciding > 0.05).all()
    assert task.roles is not None
    times = np.flatnonzero(task.fork[0])
    assert task.roles[times].tolist() == list(range(task.agents))
    assert np.bincount(task.roles).tolist() == [24 // task.agents] * task.agents


def roll_value(task: Task) -> float:
    with oracle():
        return float(truth(task, task.start_theta).J)


@pytest.mark.parametrize("id_", [*TEAMS, "team/chain"])
def test_shapley_shares_what_was_gained_and_differences_part_from_it_as_designed(id_: str) -> None:
    task = find(id_)
    r = roll(task, task.start_theta, 64, 4, np.random.default_rng(0))
    made, every = estimands(r), np.ones(r.actions.shape, dtype=np.bool_)
    times = np.flatnonzero(task.fork[0])  # one of each agent
    with oracle():
        difference, shapley = made.difference[:, times], made.team_shapley[:, times]
    gained = coalition_value(r, every) - coalition_value(r, ~every)
    np.testing.assert_allclose(shapley.sum(axis=1), gained, atol=1e-12)
    right = r.actions[:, times] == (task.kernel_of[r.prompt][:, times] - 1) % CLASSES
    n = right.sum(axis=1)
    if "independent" in id_:
        np.testing.assert_allclose(difference, shapley, atol=1e-12)
        assert ((shapley > 0) == right).all()
        return
    assert np.abs(difference - shapley).max() > 0.1
    if "redundant" in id_:
        several = n > 1
        assert several.sum() > 5
        np.testing.assert_allclose(difference[several], 0.0, atol=1e-12)
        assert (shapley[several][right[several]] > 0.01).all()
    if "complementary" in id_:
        done = n == task.agents
        assert done.sum() > 20
        assert (difference[done].sum(axis=1) > gained[done] + 0.05).all()


def test_nobody_sees_what_the_others_did_but_in_a_chain() -> None:
    for id_, seen in (("team/redundant-4", False), ("team/independent-2", False), ("team/chain", True)):
        task = find(id_)
        S, rooms = task.observation.shape[2], 2
        looks = {tuple(np.unique(task.observation[0, t]).tolist()) for t in range(25)}
        assert all(len(one) == (S if seen else rooms) for one in looks)


def test_per_agent_credit_can_be_scored_on_every_team() -> None:
    for id_ in ("team/independent-2", "team/redundant-4", "team/chain"):
        task = find(id_)
        for name in ("ccpo", "sharp-shapley", "c3", "dr_mas"):
            outcome = run_entrant(
                entrants()[name], task, task.start_theta, 4, 8, np.random.default_rng(0), np.random.default_rng(1)
            )
            assert np.isfinite(outcome.credit.token).all()


def test_teams_that_cannot_be_are_refused() -> None:
    for more in ({"agents": 1}, {"agents": 9, "horizon": 27}, {"agents": 5}, {"agents": 4, "kind": "chain"}):
        with pytest.raises(OptionError, match="expected 2 to 8"):
            coupled("own/x", **{"kind": "redundant", "title": "", **more})  # type: ignore[arg-type]
