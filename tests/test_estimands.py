"""Truth, one per estimand: against brute force, and where they must agree and must part."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from apportion.bench.estimands import coalition_value, contrast, estimands, leave_one_out, of_agents, shapley_of_forks
from apportion.bench.interaction import interaction
from apportion.bench.oracle import oracle, truth
from apportion.bench.tabular import Float, Task
from apportion.bench.tasks import find
from apportion.bench.team import team
from apportion.bench.world import Rollouts, roll
from apportion.errors import TruthAccessError


def rollouts_of(task: Task, n: int = 32, seed: int = 0) -> Rollouts:
    return roll(task, task.start_theta + 0.3, n // 4, 4, np.random.default_rng(seed))


def small(kind: str, **more: object) -> Task:
    return interaction(f"own/{kind}", kind=kind, title=kind, **{"horizon": 5, "forks": 2, "prompts": 3, **more})  # type: ignore[arg-type]


def brute(r: Rollouts, i: int, kept: tuple[int, ...]) -> float:
    """Expected reward from the first state with the kept choices forced, by walking every path."""
    task, pi = r.task, r.task.policy(r.theta)

    def walk(t: int, s: int) -> float:
        p = int(r.prompt[i])
        if t == task.horizon:
            return float(task.success[p, s])
        total = 0.0
        for a in range(task.actions):
            chance = float(a == r.actions[i, t]) if t in kept else float(pi[task.context[p, t, s], a])
            if chance:
                row = task.kernels[task.kernel_of[p, t], s, a]
                total += chance * float(sum(float(row[u]) * walk(t + 1, u) for u in np.flatnonzero(row).tolist()))
        return total

    return walk(0, int(r.states[i, 0]))


@pytest.mark.parametrize("kind", ["additive", "and", "or", "xor", "order"])
def test_coalitions_are_worth_what_all_paths_say(kind: str) -> None:
    r = rollouts_of(small(kind, horizon=4), 4)
    for kept in ((), (0, 3), (0, 1, 2, 3), (1, 2)):
        mask = np.zeros((4, 4), dtype=np.bool_)
        mask[:, list(kept)] = True
        np.testing.assert_allclose(coalition_value(r, mask), [brute(r, i, kept) for i in range(4)], atol=1e-12)


@pytest.mark.parametrize("kind", ["additive", "and", "or", "xor", "order"])
def test_shapley_is_the_mean_over_all_orders_of_all_choices(kind: str) -> None:
    """Among *all* choices as players: routine ones are null players, which is why forks alone will do."""
    r = rollouts_of(small(kind, rooms=1), 4)
    for i in range(2):
        worth = {kept: brute(r, i, kept) for k in range(6) for kept in itertools.combinations(range(5), k)}
        expected = np.zeros(5)
        for order in itertools.permutations(range(5)):
            before: tuple[int, ...] = ()
            for t in order:
                after = tuple(sorted((*before, t)))
                expected[t] += worth[after] - worth[before]
                before = after
        np.testing.assert_allclose(shapley_of_forks(r)[i], expected / math.factorial(5), atol=1e-12)


def test_leave_one_out_draws_one_choice_anew_and_keeps_the_later_ones() -> None:
    r = rollouts_of(small("xor"), 4)
    task, pi = r.task, r.task.policy(r.theta)

    def open_loop(i: int, t: int, s: int, first: int) -> float:
        p = int(r.prompt[i])
        if t == task.horizon:
            return float(task.success[p, s])
        a = first if first >= 0 else int(r.actions[i, t])
        row = task.kernels[task.kernel_of[p, t], s, a]
        return float(sum(float(row[u]) * open_loop(i, t + 1, u, -1) for u in np.flatnonzero(row).tolist()))

    found = leave_one_out(r)
    for i in range(4):
        for t in range(5):
            s = int(r.states[i, t])
            row = pi[task.context[r.prompt[i], t, s]]
            own = open_loop(i, t, s, int(r.actions[i, t]))
            assert found[i, t] == pytest.approx(own - sum(row[a] * open_loop(i, t, s, a) for a in range(4)), abs=1e-12)


def correlation(x: Float, y: Float) -> float:
    return float(np.corrcoef(x.ravel(), y.ravel())[0, 1])


def test_estimands_agree_where_forks_add_up_and_part_where_they_do_not() -> None:
    """Exactly where the policy cannot see what happened before; one that does acts on it, and this is credit too."""
    found = {}
    for kind in ("additive", "and", "or", "xor", "order"):
        r = rollouts_of(interaction("own/x", kind=kind, title="x", hidden=kind == "additive"), 400)
        made = estimands(r)
        with oracle():
            found[kind] = {n: correlation(made.advantage, getattr(made, n)) for n in ("leave_one_out", "shapley")}
    assert min(found["additive"].values()) > 1 - 1e-12
    for kind in ("and", "or", "xor", "order"):
        assert min(found[kind].values()) < 0.97, (kind, found[kind])


def test_two_redundant_choices_leave_one_out_nothing_and_shapley_shares() -> None:
    """OR with a policy that is nearly always right: each right choice alone can be spared."""
    task = find("interaction/or")
    r = rollouts_of(task, 400)
    forks = task.fork[r.prompt]
    number = np.where(forks, np.cumsum(forks, axis=1) - 1, -1)
    right = forks & (r.actions == task.kernel_of[r.prompt] - 1)
    both = right.sum(axis=1) >= 2
    last = right & (number == np.where(right, number, -1).max(axis=1, keepdims=True))
    assert both.sum() > 5
    np.testing.assert_allclose(leave_one_out(r)[both][last[both]], 0.0, atol=1e-12)
    assert (shapley_of_forks(r)[both][last[both]] > 0.01).all()


def test_all_coalitions_at_once_are_worth_what_each_is_worth_where_prompts_have_forks_of_their_own() -> None:
    task = find("bifurcation/position-per-prompt")
    r = rollouts_of(task, 12)
    fork = task.fork[r.prompt]
    assert len({tuple(row) for row in fork.tolist()}) > 1
    worth = shapley_of_forks(r)
    for i, t in zip(*(x.tolist() for x in np.nonzero(fork)), strict=True):
        others = np.flatnonzero(fork[i] & (np.arange(task.horizon) != t))
        expected = 0.0
        for size in range(others.size + 1):
            weight = math.factorial(size) * math.factorial(others.size - size) / math.factorial(others.size + 1)
            for some in itertools.combinations(others.tolist(), size):
                kept = np.zeros(fork.shape, dtype=np.bool_)
                kept[i, list(some)] = True
                without = coalition_value(r, kept)[i]
                kept[i, t] = True
                expected += weight * (coalition_value(r, kept)[i] - without)
        assert worth[i, t] == pytest.approx(expected, abs=1e-12)


def test_shapley_shares_what_the_choices_gained() -> None:
    r = rollouts_of(find("interaction/order"), 40)
    every = np.ones_like(r.actions, dtype=np.bool_)
    gained = coalition_value(r, every) - coalition_value(r, ~every)
    np.testing.assert_allclose(shapley_of_forks(r).sum(axis=1), gained, atol=1e-12)


def test_routine_choices_earn_nothing_whatever_the_estimand() -> None:
    r = rollouts_of(find("interaction/and"), 40)
    made, routine = estimands(r), ~r.task.fork[r.prompt]
    with oracle():
        for name in ("advantage", "contrast", "leave_one_out", "shapley"):
            np.testing.assert_allclose(getattr(made, name)[routine], 0.0, atol=1e-12)


def test_the_contrast_with_the_policy_itself_is_the_advantage() -> None:
    r = rollouts_of(find("interaction/or"), 40)
    np.testing.assert_allclose(
        contrast(r, "policy"), _advantage_of(r), atol=1e-12
    )  # fmt: skip
    best = contrast(r, "uniform", "best")
    assert not np.allclose(best, contrast(r, "uniform"))


def _advantage_of(r: Rollouts) -> Float:
    T = r.actions.shape[1]
    with oracle():
        table = truth(r.task, r.theta).A
    at: Float = table[r.prompt[:, None], np.arange(T)[None, :], r.states[:, :T], r.actions]
    return at


def test_difference_rewards_of_a_team_are_what_is_lost_without_the_agent() -> None:
    r = rollouts_of(team("own/t", horizon=4, workers=1, title="t", forks=2, prompts=2, rooms=1), 4)
    difference, shared = of_agents(r)
    roles = r.task.roles
    assert roles is not None
    for i in range(4):
        whole = brute(r, i, (0, 1, 2, 3))
        for t in range(4):
            others = tuple(u for u in range(4) if roles[u] != roles[t])
            assert difference[i, t] == pytest.approx(whole - brute(r, i, others), abs=1e-12)
        each = [shared[i, int(np.flatnonzero(roles == a)[0])] for a in range(2)]
        assert sum(each) == pytest.approx(whole - brute(r, i, ()), abs=1e-12)


def test_estimands_are_truth_and_guarded() -> None:
    made = estimands(rollouts_of(small("and"), 4))
    with pytest.raises(TruthAccessError):
        _ = made.shapley
