"""C3: the card's tree, its variants and when they coincide, alternatives after the fact, what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.evidence import Asked, Bill
from apportion.evidence.learned import trajectory_keys
from apportion.evidence.team_critic import LearnedQ, fit_q

from .fakes import FakeSampler

LEAVES = [[1.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0]]
Q_REASONER, Q_ACTOR = [0.6, 0.5], [0.8, 0.7, 0.4, 0.7, 0.3, 0.5, 0.2, 0.4]
FIRST, SECOND = slice(0, 4), slice(4, 8)


def _tree(leaves: Any = LEAVES, fan: int = 4, **changes: Any) -> Batch:
    """A reasoner's messages with an actor's answers to each: an episode per answer, two trajectories each."""
    node, parent = [], []
    flat = np.ravel(leaves)
    for leaf in range(flat.size):
        node += [leaf // fan, 100 + leaf]
        parent += [-1, leaf // fan]
    columns: dict[str, Any] = {
        "outcome": np.repeat(flat, 2), "group": [0] * 2 * flat.size, "agent": ["reasoner", "actor"] * flat.size,
        "episode": np.repeat(np.arange(flat.size), 2).tolist(), "node": node, "parent": parent, **changes,
    }  # fmt: skip
    return Batch.from_turns([[2]] * 2 * flat.size, **columns)


def _q() -> np.ndarray:
    q = np.empty(16)
    q[0::2], q[1::2] = np.repeat(Q_REASONER, 4), Q_ACTOR
    return q


def _c3(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "c3", **options)
    assert isinstance(credit, Credit)
    return credit


def _roles(credit: Credit) -> tuple[np.ndarray, np.ndarray]:
    """Credit of the two reasoner messages (all of whose copies agree) and of the eight answers."""
    reasoner = credit.unit[0::2].reshape(2, 4)
    assert_array_equal(reasoner, np.repeat(reasoner[:, :1], 4, axis=1))
    return reasoner[:, 0], credit.unit[1::2]


T = 1 / 3
CARD: list[tuple[dict[str, Any], list[float], list[float]]] = [
    ({}, [0.5, -0.5], [T, T, -1, T, -T, 1, -T, -T]),
    ({"baseline": "full_mean"}, [0.25, -0.25], [0.25, 0.25, -0.75, 0.25, -0.25, 0.75, -0.25, -0.25]),
    ({"variant": "value_only"}, [0.1, -0.1], [0.2, 0.0667, -0.3333, 0.0667, -0.0667, 0.2, -0.2, 0.0667]),
    ({"variant": "value_assisted"}, [0.25, -0.35], [0.4, 0.3667, -0.7333, 0.3667, -0.3667, 0.7, -0.4, -0.3333]),
    (
        {"variant": "value_assisted", "alpha": 0.5},
        [0.375, -0.425], [0.3667, 0.35, -0.8667, 0.35, -0.35, 0.85, -0.3667, -0.3333],
    ),
    ({"replay": False}, [0.5, -0.5], [0.5714, 0.5714, -0.5714, 0.5714, -0.5714, 0.5714, -0.5714, -0.5714]),
]  # fmt: skip


@pytest.mark.parametrize(("options", "reasoner", "actor"), CARD)
def test_worked_example_of_the_card(options: dict[str, Any], reasoner: list[float], actor: list[float]) -> None:
    got = _roles(_c3(_tree(), q=_q(), normalise=False, **options))
    assert_allclose(got[0], reasoner, atol=5e-5)
    assert_allclose(got[1], actor, atol=5e-5)


def test_worked_example_after_normalising() -> None:
    reasoner, actor = _roles(_c3(_tree()))
    assert_allclose(reasoner, [1, -1], atol=1e-6)
    assert_allclose(actor[FIRST], [0.5774, 0.5774, -1.7321, 0.5774], atol=5e-5)
    reasoner, actor = _roles(_c3(_tree(), q=_q(), variant="value_assisted"))
    assert_allclose(reasoner, [1, -1], atol=1e-5)
    assert_allclose(actor[FIRST], [0.6233, 0.5540, -1.7314, 0.5540], atol=5e-5)


def test_after_normalising_leave_one_out_the_full_mean_and_grpo_among_siblings_are_one() -> None:
    loo, mean = _roles(_c3(_tree())), _roles(_c3(_tree(), baseline="full_mean"))
    assert_allclose(loo[1], mean[1], atol=1e-6)
    for part, leaves in zip((FIRST, SECOND), LEAVES, strict=True):
        grpo = assign(Batch.from_turns([[1]] * 4, outcome=leaves, group=[0] * 4), "grpo", spread="population", eps=0.0)
        assert isinstance(grpo, Credit)
        assert_allclose(loo[1][part], grpo.unit, atol=1e-6)
    plain, full = (_roles(_c3(_tree(), normalise=False, baseline=b))[1] for b in ("leave_one_out", "full_mean"))
    assert_allclose(plain, 4 / 3 * full, atol=1e-12)  # without it they part by n / (n - 1)


def test_q_alone_still_speaks_where_all_rewards_are_equal() -> None:
    same = np.full((2, 4), 0.3)
    assert not _c3(_tree(same)).token.any()
    assisted = _c3(_tree(same), q=_q(), variant="value_assisted")
    assert np.abs(assisted.unit).max() > 1  # blown up to unit scale
    assert not _c3(_tree(same), q=_q(), variant="value_assisted", alpha=0.0, normalise=False).unit.round(12).any()


def test_its_fidelity_is_one_by_construction_when_the_target_is_made_of_the_same_returns() -> None:
    rng = np.random.default_rng(0)
    worth = rng.random((64, 4))  # success probabilities of sixteen contexts' answers, four answers each
    drawn, again = (rng.random((64, 4)) < worth for _ in range(2))
    credit = _c3(_tree(drawn.astype(float)), normalise=False).unit[1::2]

    def within(x: np.ndarray) -> np.ndarray:
        return np.asarray((x - (x.sum(1, keepdims=True) - x) / 3).ravel())

    assert np.corrcoef(credit, within(drawn * 1.0))[0, 1] == pytest.approx(1.0)
    assert 0.05 < np.corrcoef(credit, within(again * 1.0))[0, 1] < 0.6


def test_a_message_is_worth_the_mean_of_its_leaves_not_of_its_children() -> None:
    # node 0 leads to 1 (three leaves: 1, 1, 1) and 2 (one leaf: 0); node 9 to one leaf of .5
    node = [0, 1, 11, 0, 1, 12, 0, 1, 13, 0, 2, 9]
    parent = [-1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, -1]
    batch = Batch.from_turns(
        [[1, 1, 1]] * 3 + [[1, 1], [1]], outcome=[1, 1, 1, 0, 0.5], group=[0] * 5, node=node, parent=parent
    )  # fmt: skip
    credit = _c3(batch, normalise=False)
    assert_allclose(credit.unit[[0, -1]], [0.25, -0.25])
    assert_allclose(credit.unit[[1, 10]], [1.0, -1.0])
    assert not credit.unit[[2, 5, 8]].any()
    assert credit.diagnostics["messages"] == 7.0


def test_a_message_is_in_the_loss_once_and_unscored_without_siblings() -> None:
    credit = _c3(_tree())
    assert credit.kept.sum() == 2 * 10  # two reasoner and eight actor messages
    assert credit.loss.denominator == "token"
    lone = _c3(_tree([[1.0], [0.0]], fan=1))
    assert credit.scored is not None
    assert credit.scored.all()
    assert lone.scored is not None
    assert_array_equal(lone.scored, [True, False] * 2)
    assert_array_equal(lone.unit[1::2], 0.0)
    assert lone.diagnostics["alone"] == 0.5


def test_roots_of_any_name_are_the_prompt_and_a_message_counts_once_a_rollout() -> None:
    two = _tree([[1.0, 0.0], [0.0, 0.0]], fan=2, parent=[-1, 0, -1, 0, -2, 1, -2, 1])
    assert_allclose(two.outcome[::2], [1, 0, 0, 0])  # type: ignore[index]
    assert_allclose(_c3(two, normalise=False).unit[0::2], [0.5, 0.5, -0.5, -0.5])
    # the first rollout shows message 0 to both of its agents: still one of two rollouts that hold it
    shown = Batch.from_turns(
        [[1, 1], [1, 1], [1], [1]], outcome=[1.0, 1.0, 0.0, 0.2], group=[0] * 4, episode=[0, 0, 1, 2], node=[0, 1, 0, 2, 0, 9],
        parent=[-1, 0, -1, 0, -1, -1],
    )  # fmt: skip
    assert_allclose(_c3(shown, normalise=False).unit[0], 0.5 - 0.2)


def test_a_message_alone_gets_nothing_from_its_value_either() -> None:
    lone = _tree([[1.0], [0.0]], fan=1)
    for variant in ("value_only", "value_assisted"):
        credit = _c3(lone, variant=variant, q=[0.9, 0.7, 0.1, 0.2], normalise=False)
        assert_array_equal(credit.unit[1::2], 0.0)


def test_rollouts_of_other_prompts_are_no_siblings() -> None:
    two = _tree([[1.0, 0.0], [0.0, 0.0]], fan=2, group=[0] * 4 + [1] * 4, parent=[-1, 0, -1, 0, -2, 1, -1, 1])
    assert not _c3(two).unit[0::2].any()


def test_alternatives_written_afresh_join_the_siblings() -> None:
    batch = Batch.from_turns([[1, 1], [1]], outcome=[1.0, 0.0], group=[0, 0])
    given = np.array([[0.0, 0.5], [1.0, np.nan], [np.nan, np.nan]])
    credit = _c3(batch, alternatives=given, siblings="fresh", normalise=False)
    assert_allclose(credit.unit, [0.75, 0.0, 0.0])
    assert credit.scored is not None
    assert_array_equal(credit.scored, [True, True, False])
    whole = np.array([1.0, 0.0, 0.5])
    a = 1.5 * (whole - whole.mean())
    assert_allclose(_c3(batch, alternatives=given, siblings="fresh").unit[0], a[0] / np.sqrt(a.var() + 1e-8))
    mean = _c3(batch, alternatives=given, siblings="fresh", normalise=False, baseline="full_mean")
    assert_allclose(mean.unit[0], 0.5)
    tree = Batch.from_turns([[1], [1]], outcome=[1.0, 0.0], group=[0, 0], node=[0, 1], parent=[-1, -1])
    joined = _c3(tree, alternatives=[0.5, np.nan], normalise=False)  # three siblings: 1, 0 and .5
    assert_allclose(joined.unit, [0.75, -0.75])


def test_with_recorded_rewards_and_fresh_alternatives_it_is_unbiased_where_nothing_is_divided() -> None:
    """E[(R - mean of K independent rewards) grad log pi] over one choice of two, summed over every outcome."""
    p, worth, total = 0.3, np.array([0.9, 0.2]), 0.0
    value = p * worth[0] + (1 - p) * worth[1]
    for first in (0, 1):
        for own in (0.0, 1.0):
            for other in (0.0, 1.0):
                chance = (p if first == 0 else 1 - p) * (worth[first] if own else 1 - worth[first])
                chance *= value if other else 1 - value
                batch = Batch.from_turns([[1]], outcome=[own], group=[0])
                a = _c3(batch, alternatives=[other], siblings="fresh", normalise=False).unit[0]
                total += chance * a * ((1 - p) if first == 0 else -p)
    assert total == pytest.approx(p * (1 - p) * (worth[0] - worth[1]))


def test_alternatives_are_asked_for_before_each_message_once_a_context() -> None:
    sampler = FakeSampler(answer=lambda prefix: [float(prefix), 0.0])
    batch = Batch.from_turns([[1, 1], [1]], outcome=[1.0, 0.0], group=[0, 0])
    credit = _c3(batch, sampler=sampler, siblings="fresh", k=2, normalise=False)
    assert sampler.asked == [("prefix", [0, 1, 3])]
    assert_allclose(credit.unit, [1.0, 1 - 0.5, -1.5])
    assert credit.bill.generated == 60.0
    sampler = FakeSampler(answer=lambda prefix: [0.0, 1.0])
    _c3(_tree(), sampler=sampler, k=2)
    assert sampler.asked == [("prefix", [0, 2, 18])]  # the prompt, and what follows each of two reasoner messages


def test_a_critic_learns_values_without_seeing_the_prompt_it_scores() -> None:
    rng = np.random.default_rng(0)
    n = 120
    good, turn = rng.integers(0, 2, n), np.arange(2 * n)
    batch = Batch.from_turns(
        [[1, 1]] * n, ids=np.stack([np.full(n, 7), good], axis=1).ravel(), outcome=good.astype(float),
        group=(np.arange(n) // 4).tolist(), node=turn, parent=np.where(turn % 2, turn - 1, -1),
    )  # fmt: skip
    learned = fit_q(batch, rng=rng, buckets=64)
    q = learned.evidence(batch).arrays["q"][1::2]
    assert q[good == 1].mean() > q[good == 0].mean() + 0.5
    steep = replace(learned, q=replace(learned.q, weights=5.0 * learned.q.weights)).evidence(batch).arrays["q"]
    assert steep.min() >= 0
    assert steep.max() == 1
    again = LearnedQ.load(learned.save())
    assert_array_equal(again.evidence(batch).arrays["q"][1::2], q)
    assert np.unique(learned.q.fold).size == 5
    part = learned.q.fold[np.searchsorted(learned.q.keys, trajectory_keys(batch))].reshape(-1, 4)
    assert_array_equal(part, np.repeat(part[:, :1], 4, axis=1))  # siblings are held out together
    credit = _c3(batch, fit=True, variant="value_only", buckets=64)
    assert credit.bill.trained == 2 * n


def test_what_it_refuses() -> None:
    plain = Batch.from_turns([[1], [1]], outcome=[1.0, 0.0], group=[0, 0])
    with pytest.raises(MissingColumn, match="node"):
        _c3(plain)
    with pytest.raises(MissingColumn, match="alternatives"):
        _c3(plain, siblings="fresh")
    with pytest.raises(MissingColumn, match="'q'"):
        _c3(_tree(), variant="value_only")
    with pytest.raises(OptionError, match=r"q\[1\] is null"):
        _c3(_tree(), variant="value_only", q=np.where(np.arange(16) == 1, np.nan, 0.5))
    assert np.isfinite(_c3(_tree(), variant="value_only", q=np.where(np.arange(16) == 0, np.nan, 0.5)).unit).all()
    with pytest.raises(OptionError, match="rewards of alternatives only"):
        _c3(plain, siblings="fresh", alternatives=[0.0, 1.0], variant="value_only", q=[0.1, 0.2])
    with pytest.raises(OptionError, match="alpha = 2"):
        _c3(_tree(), alpha=2.0)
    with pytest.raises(OptionError, match="k = 0"):
        _c3(plain, siblings="fresh", sampler=FakeSampler(), k=0)
    with pytest.raises(BatchError, match=r"parent\[2\] = 5: the same node has another parent"):
        _c3(_tree([[1.0, 0.0]], fan=2, parent=[-1, 0, 5, 0]))
    with pytest.raises(BatchError, match=r"node\[2\] = 0: the same node stands in two groups"):
        _c3(_tree([[1.0, 0.0]], fan=2, group=[0, 0, 1, 1]))
    _c3(_tree([[1.0, 0.0]], fan=2, parent=[-1, 0, -2, 0]))  # two names of one root

    class Short(FakeSampler):
        def continuations(self, *args: Any, **kwargs: Any) -> Asked:
            return Asked(np.zeros((1, 1)), Bill())

    with pytest.raises(OptionError, match=r"shape \(1, 1\), expected \(2, 3\)"):
        _c3(plain, siblings="fresh", sampler=Short())


def test_equal_rewards_are_exactly_nothing_whatever_the_size_of_the_teams() -> None:
    # a mean of two tenths and a mean of three are not the same number; what they differ by is no credit
    batch = Batch.from_turns(
        [[1]] * 5, outcome=[0.1] * 5, group=[0] * 5, episode=[0, 0, 1, 1, 1], node=[0, 1, 2, 3, 4], parent=[-1, 0, -1, 2, 3]
    )  # fmt: skip
    assert_array_equal(_c3(batch).token, 0.0)
    assert_array_equal(_c3(batch, normalise=False).token, 0.0)
    three = Batch.from_turns([[1]] * 3, outcome=[0.3] * 3, group=[0] * 3, node=[0, 1, 2], parent=[-1] * 3)
    for variant, q in (("value_only", [0.1] * 3), ("value_assisted", [0.1, 0.5, 0.7])):
        assert_array_equal(_c3(three, variant=variant, q=q, alpha=0.0, normalise=False).token, 0.0)


def test_with_fresh_siblings_every_message_has_its_own_alternatives_even_in_a_tree() -> None:
    tree = Batch.from_turns(
        [[1, 1], [1, 1], [1]], outcome=[1.0, 0.0, 0.0], group=[0] * 3, node=[0, 1, 0, 2, 3], parent=[-1, 0, -1, 0, -1]
    )  # fmt: skip
    bare = tree.with_columns(node=None, parent=None)
    found = []
    for batch in (tree, bare):
        sampler = FakeSampler(answer=lambda prefix: [1.0, 0.0])
        credit = _c3(batch, sampler=sampler, siblings="fresh", k=2, normalise=False)
        assert sampler.asked == [("prefix", [0, 1, 3, 4, 6])]
        assert credit.scored is not None
        assert credit.scored.all()
        found.append(credit.token)
    assert_array_equal(found[0], found[1])


def test_the_full_mean_holds_the_message_itself_in_both_means() -> None:
    q, r = np.array(Q_ACTOR).reshape(2, 4), np.array(LEAVES)
    full: dict[str, Any] = {"q": _q(), "baseline": "full_mean", "normalise": False}
    reasoner, actor = _roles(_c3(_tree(), variant="value_only", **full))
    assert_allclose(reasoner, [0.05, -0.05], atol=1e-12)
    assert_allclose(actor, (q - q.mean(axis=1, keepdims=True)).ravel(), atol=1e-12)
    assisted = _roles(_c3(_tree(), variant="value_assisted", alpha=0.5, **full))[1]
    assert_allclose(assisted, (r - 0.5 * (r + q).mean(axis=1, keepdims=True)).ravel(), atol=1e-12)
