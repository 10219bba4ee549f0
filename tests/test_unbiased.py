"""What a method says about its bias, checked by enumerating every group that could be sampled.

Two tiny tasks, small enough to list all trajectories with their probabilities, and so all groups of
rollouts. The expected update of a method, E[1/G sum_i sum_t A_it grad log pi(a_it | s_it)], is then a
finite sum, and so is the true gradient of the expected reward.
"""

from __future__ import annotations

import functools
import itertools
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

import apportion as ap
from apportion import Batch, Credit, Spans
from apportion.words import Axis

from .contract.factory import evidence as plausible
from .contract.factory import levels

Float = NDArray[np.float64]


class Trajectory(NamedTuple):
    states: tuple[int, ...]
    actions: tuple[int, ...]
    reward: float
    probability: float


@dataclass(frozen=True, eq=False)
class Task:
    """T turns, two states, two actions. From state s action a leads to state 1 with ``up[t][s][a]``."""

    up: Float  # (T - 1, 2, 2)
    policy: Float  # (T, 2, 2)
    reward: Float  # (2, 2): last state, last action
    timed: bool = True  # whether state keys tell the turn

    @property
    def turns(self) -> int:
        return int(self.policy.shape[0])

    def trajectories(self) -> list[Trajectory]:
        return list(self._walk((0,), (), 1.0))

    def _walk(self, states: tuple[int, ...], actions: tuple[int, ...], p: float) -> Iterator[Trajectory]:
        t, s = len(actions), states[-1]
        for a in (0, 1):
            here = p * float(self.policy[t, s, a])
            if t == self.turns - 1:
                yield Trajectory(states, (*actions, a), float(self.reward[s, a]), here)
                continue
            for s2, chance in ((1, float(self.up[t, s, a])), (0, 1 - float(self.up[t, s, a]))):
                if chance > 0:
                    yield from self._walk((*states, s2), (*actions, a), here * chance)

    def q(self, t: int, s: int, a: int) -> float:
        if t == self.turns - 1:
            return float(self.reward[s, a])
        up = float(self.up[t, s, a])
        return up * self.v(t + 1, 1) + (1 - up) * self.v(t + 1, 0)

    def v(self, t: int, s: int) -> float:
        return sum(float(self.policy[t, s, a]) * self.q(t, s, a) for a in (0, 1))

    def hindsight(self, t: int, s: int, a: int, reward: float) -> float:
        """P(a_t | s_t, the reward that came of it)."""
        same = [w for w in self.trajectories() if w.states[t] == s and w.reward == reward]
        return sum(w.probability for w in same if w.actions[t] == a) / sum(w.probability for w in same)

    def score(self, t: int, s: int, a: int) -> Float:
        """grad log pi(a | s), a softmax over two logits in every (turn, state)."""
        g = np.zeros_like(self.policy)
        g[t, s] = -self.policy[t, s]
        g[t, s, a] += 1
        return g

    def gradient(self) -> Float:
        total = np.zeros_like(self.policy)
        for w in self.trajectories():
            for t, (s, a) in enumerate(zip(w.states, w.actions, strict=True)):
                total += w.probability * w.reward * self.score(t, s, a)
        return total


def softmax(logits: Float) -> Float:
    e = np.exp(logits)
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def task(turns: int, *, dice: bool, timed: bool = True) -> Task:
    rng = np.random.default_rng(turns)
    up = rng.uniform(0.2, 0.8, (turns - 1, 2, 2)) if dice else np.tile([[0.0, 1.0], [1.0, 0.0]], (turns - 1, 1, 1))
    return Task(up, softmax(rng.normal(0, 0.7, (turns, 2, 2))), np.array([[0.0, 1.0], [1.0, 0.0]]), timed)


#: name -> (task, group size): random transitions in groups of three; three turns with states that
#: merge; the same with keys that recur within a trajectory and hide how much time is left
TASKS = {"dice": (task(2, dice=True), 3), "merging": (task(3, dice=False), 2), "timeless": (task(3, dice=False, timed=False), 2)}


#: Where a biased method is unbiased all the same. SORL's 1/|y| makes no difference where all rollouts are equally long.
UNBIASED_HERE = [("pooled_td", "dice"), ("pooled_td", "merging"), *(("sorl", name) for name in TASKS)]


def groups(task: Task, size: int) -> Iterator[tuple[tuple[Trajectory, ...], float]]:
    """Every group of rollouts and its probability; the order of its members is irrelevant (contract)."""
    for group in itertools.combinations_with_replacement(task.trajectories(), size):
        orders = math.factorial(size)
        for count in Counter(group).values():
            orders //= math.factorial(count)
        yield group, orders * math.prod(w.probability for w in group)


@functools.cache
def batch_of(group: tuple[Trajectory, ...], task: Task) -> Batch:
    """Each turn: one observation token that shows turn and state, one policy token."""
    n, turns = len(group), task.turns
    logp = [[x for t, (s, a) in enumerate(zip(w.states, w.actions, strict=True)) for x in (0.0, np.log(task.policy[t, s, a]))]
            for w in group]  # fmt: skip
    first, written = 2 * turns * np.arange(n), 2 * np.arange(n * turns) + 1
    return Batch.from_turns(
        [[2] * turns] * n,
        action=[False, True] * turns * n,
        outcome=[w.reward for w in group],
        group=[0] * n,
        ids=[[x for t, (s, a) in enumerate(zip(w.states, w.actions, strict=True)) for x in (10 * t + s, 100 + a)] for w in group],
        state=[[f"{t * task.timed}:{s}" for t, s in enumerate(w.states)] + [f"end:{w.reward}"] for w in group],
        logp=logp,
        ref_logp=[[0.7 * x for x in row] for row in logp],
        entropy=[[0.1 - x for x in row] for row in logp],
        agent=["main"] * n,
        node=np.arange(n * turns),
        parent=[t - 1 if t % turns else -1 for t in range(n * turns)],
        limit=turns,
        spans={"option": Spans(first, first + 2 * turns), "part": Spans(written, written + 1, ("action",) * (n * turns))},
    )


#: evidence by name -> its exact value before or at turn t of a trajectory
EXACT: dict[str, Callable[[Task, Trajectory, int], list[float]]] = {
    "value": lambda task, w, t: [0.0, task.v(t, w.states[t])],
    "prefix_value": lambda task, w, t: [task.v(t, w.states[t])] + [0.0] * (t == task.turns - 1),
    "process": lambda task, w, t: [2 * task.q(t, w.states[t], w.actions[t]) - 1],
    "hindsight_logp": lambda task, w, t: [0.0, np.log(task.hindsight(t, w.states[t], w.actions[t], w.reward))],
}


def evidence_of(id_: str, group: Sequence[Trajectory], task: Task) -> dict[str, Any]:
    """Exact where a method's claim hangs on it; for what no exact value is defined, numbers fixed per trajectory."""
    spec, batch = ap.get(id_), batch_of(tuple(group), task)
    found: dict[str, Any] = {}
    for name, axis in spec.evidence.items():
        if name in EXACT:
            found[name] = np.array([x for w in group for t in range(task.turns) for x in exact(name, task, w, t)])
        elif axis == "group":
            found[name] = np.full(batch.count(axis), 0.3)
        else:
            found[name] = np.concatenate([anything(name, axis, id_, w, task) for w in group])
    return found


@functools.cache
def anything(name: str, axis: Axis, id_: str, w: Trajectory, task: Task) -> NDArray[Any]:
    """Plausible evidence for one trajectory, the same in every group it is in."""
    rng = np.random.default_rng([zlib.crc32(repr((name, w.states, w.actions, w.reward)).encode())])
    return plausible(
        name, axis, batch_of((w,), task).with_columns(**{name: None} if name in Batch.columns() else {}), rng, levels(ap.get(id_))
    )


@functools.cache
def exact(name: str, task: Task, w: Trajectory, t: int) -> list[float]:
    return EXACT[name](task, w, t)


def expected_update(id_: str, task: Task, size: int, *, evidence: dict[str, Any] | None = None, **options: Any) -> Float:
    """E of the policy-gradient step, over every group of ``size`` rollouts."""
    total = np.zeros_like(task.policy)
    for group, p in groups(task, size):
        given = evidence_of(id_, group, task) if evidence is None else {n: f(group) for n, f in evidence.items()}
        credit = ap.get(id_)(batch_of(group, task), **given, **options)
        assert isinstance(credit, Credit)
        acted = np.where(credit.kept, credit.token, 0.0)[1::2].reshape(-1, task.turns)
        taken = range(size) if credit.rows is None else credit.rows.tolist()
        weight = 1.0 / len(taken) if credit.loss.denominator != "unit" else 1.0 / max(int(credit.kept.sum()), 1)
        for i, w in enumerate(group[row] for row in taken):
            for t, (s, a) in enumerate(zip(w.states, w.actions, strict=True)):
                total += p * weight * acted[i, t] * task.score(t, s, a)
    return total


def test_the_enumeration_is_complete() -> None:
    for tiny, _ in TASKS.values():
        assert sum(w.probability for w in tiny.trajectories()) == pytest.approx(1.0, abs=1e-14)
        assert sum(p for _, p in groups(tiny, 2)) == pytest.approx(1.0, abs=1e-14)
        direct = sum(w.probability * w.reward for w in tiny.trajectories())
        assert tiny.v(0, 0) == pytest.approx(direct, abs=1e-14)


def test_the_gradient_is_that_of_the_expected_reward() -> None:
    tiny, step = TASKS["dice"][0], 1e-6
    logits = np.log(tiny.policy)
    for at in np.ndindex(*logits.shape):
        up, down = logits.copy(), logits.copy()
        up[at] += step
        down[at] -= step
        slope = (Task(tiny.up, softmax(up), tiny.reward).v(0, 0) - Task(tiny.up, softmax(down), tiny.reward).v(0, 0)) / (2 * step)
        assert tiny.gradient()[at] == pytest.approx(slope, abs=1e-9)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("id_", [i for i, spec in ap.methods().items() if spec.unbiased == "yes"])
def test_unbiased_methods_are(id_: str, name: str) -> None:
    tiny, size = TASKS[name]
    np.testing.assert_allclose(expected_update(id_, tiny, size), tiny.gradient(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("id_", [i for i, spec in ap.methods().items() if spec.unbiased != "yes"])
def test_biased_methods_are(id_: str) -> None:
    """The bias is real in every task, or where keys leave something out for a method that trusts them."""
    for name, (tiny, size) in TASKS.items():
        if (id_, name) not in UNBIASED_HERE:
            truth = tiny.gradient()
            options: dict[str, Any] = {"rng": np.random.default_rng(0)} if "rng" in ap.get(id_).options else {}
            error = np.linalg.norm(expected_update(id_, tiny, size, **options) - truth) / np.linalg.norm(truth)
            assert error > 1e-6, f"{id_} says it is biased, but its expected update in '{name}' is the gradient"


@pytest.mark.parametrize(("id_", "name"), UNBIASED_HERE)
def test_biased_methods_are_unbiased_where_the_reason_of_their_bias_is_missing(id_: str, name: str) -> None:
    """Pooled values with states that cannot recur are learned from fresh randomness only; SORL has one length."""
    tiny, size = TASKS[name]
    np.testing.assert_allclose(expected_update(id_, tiny, size), tiny.gradient(), rtol=0, atol=1e-12)


def test_gae_needs_no_exact_critic_unless_it_bootstraps() -> None:
    tiny, size = TASKS["dice"]

    def wrong(group: Sequence[Trajectory]) -> Float:
        return np.array([x for w in group for t, s in enumerate(w.states) for x in (0.0, 0.9 - 0.5 * s + 0.2 * t)])

    truth = tiny.gradient()
    np.testing.assert_allclose(expected_update("gae", tiny, size, evidence={"value": wrong}), truth, rtol=0, atol=1e-12)
    biased = expected_update("gae", tiny, size, evidence={"value": wrong}, lam=0.5)
    assert np.linalg.norm(biased - truth) > 0.01 * np.linalg.norm(truth)


def test_continuations_are_unbiased_only_where_all_states_were_asked() -> None:
    tiny, size = TASKS["merging"]
    truth = tiny.gradient()
    capped = expected_update("vineppo", tiny, size, cap=1)
    assert np.linalg.norm(capped - truth) > 0.01 * np.linalg.norm(truth)
    np.testing.assert_allclose(capped[0], truth[0], rtol=0, atol=1e-12)  # the first step knows both its states


def test_grpo_without_spread_is_the_gradient_but_for_one_factor() -> None:
    tiny, size = TASKS["merging"]
    update = expected_update("grpo", tiny, size, spread="none")
    np.testing.assert_allclose(update * size / (size - 1), tiny.gradient(), rtol=0, atol=1e-12)
