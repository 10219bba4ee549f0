"""AT2PO: the card's tree under every weighting, turns shared by rows, how the tree grows, and chains without one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.evidence import Bill
from apportion.methods.at2po import collect
from apportion.ops.tree import child_means

from .fakes import FakeSampler

# root -> A -> a1, a2; root -> B
H = [0.5, 0.2, 0.5, 0.8, 1.5]
LEAVES = [1.4142, -0.7071, -0.7071]


def _card(**more: Any) -> Batch:
    columns: dict[str, Any] = {
        "outcome": [1.0, 0.0, 0.0], "group": [0, 0, 0], "node": [0, 1, 0, 2, 3], "parent": [-1, 0, -1, 0, -1],
        "logp": -np.array(H), **more,
    }  # fmt: skip
    return Batch.from_turns([[1, 1], [1, 1], [1]], **columns)


def _at2po(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "at2po", **options)
    assert isinstance(credit, Credit)
    return credit


def _form(a: float, a1: float, a2: float, b: float) -> list[float]:
    return [a, a1, a, a2, b]


@pytest.mark.parametrize(
    ("weights", "value", "root", "diff_a1", "diff_a"),
    [
        ("softmax", 0.0446, -0.5049, 1.3696, 0.5495),
        ("linear", -0.2828, -0.6010, 1.6971, 0.3182),
        ("mean", 0.3536, -0.1768, 1.0607, 0.5303),
        ("leaves", 0.3536, 0.0, 1.0607, 0.3536),
    ],
)
def test_worked_example_of_the_card(weights: Any, value: float, root: float, diff_a1: float, diff_a: float) -> None:
    a1, a2, b = LEAVES
    forms = {
        "node_value": _form(value, a1, a2, b),
        "diff_parent": _form(diff_a, diff_a1, a2 - value, b - root),
        "diff_global": _form(value - root, a1 - root, a2 - root, b - root),
        "diff_localglobal": _form(2 * diff_a, a1 - root + diff_a1, a2 - root + a2 - value, 2 * (b - root)),
    }
    for advantage, expected in forms.items():
        credit = _at2po(_card(), weights=weights, advantage=advantage)
        assert_allclose(credit.unit, expected, atol=1.5e-4)
    assert_allclose(_at2po(_card(), weights=weights).unit, forms["node_value"], atol=6e-5)


def test_the_loss_has_one_ratio_a_turn_and_a_narrow_clip() -> None:
    loss = _at2po(_card()).loss
    assert (loss.ratio, loss.form, loss.denominator) == ("turn", "geometric", "sequence")
    assert loss.clip is not None
    assert_allclose(loss.clip, np.tile([0.997, 1.004], (5, 1)))
    assert np.exp(np.mean([0.02, -0.01, 0.05])) > loss.clip[0, 1]  # the card's ratio of 1.0202 is outside
    wide = _at2po(_card(), clip_low=0.2, clip_high=0.3).loss.clip
    assert wide is not None
    assert_allclose(wide[0], [0.8, 1.3])


def test_a_turn_shared_by_rows_is_one_child_one_uncertainty_and_one_leaf() -> None:
    plain = _at2po(_card())
    # A is shared by three rows now, and its leaf a2 by two of them: the tree is the same
    columns: dict[str, Any] = {
        "outcome": [1.0, 0.0, 0.0, 0.0], "group": [0] * 4, "node": [0, 1, 0, 2, 3, 0, 2], "parent": [-1, 0, -1, 0, -1, -1, 0],
        "logp": -np.array([*H, 0.5, 0.8]),
    }  # fmt: skip
    copied = Batch.from_turns([[1, 1], [1, 1], [1], [1, 1]], **columns)
    for weights in ("softmax", "linear", "mean", "leaves"):
        once, again = (_at2po(b, weights=weights, advantage="diff_localglobal") for b in (_card(), copied))
        assert_allclose(again.unit, [*once.unit, *once.unit[2:4]], atol=1e-12)
    assert_array_equal(plain.unit[[0]], plain.unit[[2]])
    assert plain.kept.all()  # every path is a training sample
    assert _at2po(copied).diagnostics == {"leaves": 3.0, "nodes": 4.0, "shared": pytest.approx(3 / 7)}
    first = _at2po(copied, copies="first")
    assert_array_equal(first.kept, [True, True, False, True, True, False, False])
    assert_array_equal(first.unit, _at2po(copied).unit)


def test_rollouts_that_end_in_one_node_are_one_leaf_worth_their_mean() -> None:
    columns: dict[str, Any] = {"outcome": [1, 0, 0, 1], "node": [0, 0, 1, 2], "parent": [-1] * 4, "logp": [-1.0] * 4}
    batch = Batch.from_turns([[1]] * 4, group=[0] * 4, **columns)
    assert_allclose(_at2po(batch).unit, [0, 0, -1.2247, 1.2247], atol=5e-5)


def test_a_rollout_that_ends_where_others_go_on_is_one_more_child() -> None:
    columns: dict[str, Any] = {"outcome": [1.0, 0.0], "group": [0, 0], "node": [0, 0, 1], "parent": [-1, -1, 0]}
    batch = Batch.from_turns([[1], [1, 1]], logp=[-0.3, -0.3, -1.3], **columns)
    w = np.exp([0.3, 1.3]) / np.exp([0.3, 1.3]).sum()
    assert_allclose(_at2po(batch).unit, [w[0] - w[1], w[0] - w[1], -1], atol=1e-5)
    assert_allclose(_at2po(batch, weights="linear").unit[0], (0.3 - 1.3) / 1.6, atol=1e-5)
    assert_allclose(_at2po(batch, weights="leaves").unit[0], 0, atol=1e-12)
    sure = batch.with_columns(logp=np.zeros(3))
    assert_allclose(_at2po(sure, weights="linear").unit[0], 0, atol=1e-12)
    assert_allclose(_at2po(batch.with_columns(logp=[-0.3, -0.3, -900.0])).unit[0], -1, atol=1e-5)


def test_uncertainty_is_a_mean_over_policy_tokens() -> None:
    action = [False, True, True, True, True, False, True]
    logp = [-9.0, -0.2, -0.4, -1.0, -0.5, -9.0, -0.9]  # second turns: 1.0 and 0.9; the first: 0.3
    columns: dict[str, Any] = {"outcome": [1, 0], "group": [0, 0], "node": [0, 1, 0, 2], "parent": [-1, 0, -1, 0]}
    batch = Batch.from_turns([[3, 1], [1, 2]], action=action, logp=logp, **columns)
    w = np.exp([1.0, 0.9]) / np.exp([1.0, 0.9]).sum()
    assert_allclose(_at2po(batch).unit[0], w[0] - w[1], atol=1e-5)


def test_entropy_can_stand_for_surprisal() -> None:
    told = _card(logp=None, entropy=H)
    assert_allclose(_at2po(told, uncertainty="entropy").unit, _at2po(_card()).unit)
    with pytest.raises(MissingColumn, match="logp="):
        _at2po(told)
    with pytest.raises(MissingColumn, match="entropy="):
        _at2po(_card(), uncertainty="entropy")


def test_very_unsure_and_entirely_sure_children_break_nothing() -> None:
    far = _card(logp=-np.array([0.5, 900.0, 0.5, 0.0, 0.0]))
    for weights in ("softmax", "linear"):
        assert_allclose(_at2po(far, weights=weights).unit[0], LEAVES[0], atol=1e-4)
    sure = _card(logp=np.zeros(5))
    assert_allclose(_at2po(sure, weights="linear").unit, _at2po(sure, weights="mean").unit)
    assert_allclose(_at2po(sure).unit, _at2po(sure, weights="mean").unit)


def test_equal_leaves_give_zero_exactly_and_scale_and_shift_cancel() -> None:
    for reward in (0.1, 0.3, 1e9):
        assert not _at2po(_card(outcome=[reward] * 3)).unit.any()
    assert_allclose(_at2po(_card(outcome=[7.0, 5.0, 5.0])).unit, _at2po(_card()).unit, atol=1e-5)
    assert not _at2po(Batch.from_turns([[1, 1]], outcome=[1.0], group=[0], logp=[-1.0, -1.0])).unit.any()


def test_chains_that_share_nothing_are_grpo_with_the_population_s_spread() -> None:
    rng = np.random.default_rng(0)
    batch = Batch.from_turns([[2, 1], [1], [3, 1, 1]], outcome=rng.random(3), group=[0] * 3, logp=-rng.random(9))
    grpo = assign(batch, "grpo", spread="population")
    assert isinstance(grpo, Credit)
    assert_allclose(_at2po(batch).token, grpo.token)
    raw = batch.reward - batch.reward.mean()
    assert_allclose(_at2po(batch, spread="none").unit, raw[batch.within("turn", "trajectory")])


def test_trees_of_prompts_are_apart() -> None:
    columns: dict[str, Any] = {
        "outcome": [1, 0, 0, 1], "group": [0, 1, 0, 1], "node": [0, 1, 2, 3, 0, 4, 5], "parent": [-1, 0, -1, 2, -1, 0, -1],
        "logp": -np.array([0.5, 0.2, 0.3, 0.3, 0.5, 0.8, 1.0]),
    }  # fmt: skip
    both = Batch.from_turns([[1, 1], [1, 1], [1, 1], [1]], **columns)
    whole = _at2po(both, advantage="diff_global").unit
    assert_allclose(_at2po(both.take([0, 2]), advantage="diff_global").unit, whole[[0, 1, 4, 5]])
    assert_allclose(_at2po(both.take([1, 3]), advantage="diff_global").unit, whole[[2, 3, 6]])


def test_columns_that_are_no_tree_or_half_of_one_are_refused() -> None:
    with pytest.raises(BatchError, match="expected the node of the turn before"):
        _at2po(_card(parent=[-1, 5, -1, 0, -1]))
    with pytest.raises(MissingColumn, match="parent="):
        _at2po(_card(parent=None))


@pytest.mark.parametrize("option", [{"clip_low": 1.0}, {"clip_high": -0.1}])
def test_clip_bounds_out_of_range_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(option))):
        _at2po(_card(), **option)


# --- how the tree grows ---------------------------------------------------------------------------

CHAINS: dict[str, Any] = {"logp": [-0.2, -0.9, -3.0, -0.5, -0.7, -4.0], "outcome": [0, 1], "group": [0, 0]}


def test_the_least_certain_turns_are_tried_again_but_never_a_last_one() -> None:
    sampler = FakeSampler(turns=1)
    batch = Batch.from_turns([[1, 1, 1], [1, 1, 1]], **CHAINS)
    evidence = collect(batch, sampler, rounds=1, branches=3, rng=np.random.default_rng(0))
    # H: 0.2 - 0.05, 0.9 and 0.5 - 0.05, 0.7; the prompt 0 - 0.05; last turns (3.0 and 4.0) are out
    assert sampler.asked == [("prefix", [1, 5, 4])]
    tree = evidence.batch
    assert tree is not None
    assert tree.n_trajectories == 5
    assert_array_equal(tree.need("parent")[tree.trajectory_turns[2:5]], [-1, -1, -1])
    assert evidence.bill == Bill(generated=6.0)
    assert evidence.diagnostics == {"branches": 3.0}


def test_siblings_that_were_added_lower_the_score() -> None:
    batch = Batch.from_turns([[1, 1, 1], [1, 1, 1]], **CHAINS)
    asked = []
    for penalty in (0.0, 0.3):
        sampler = FakeSampler(turns=1)
        collect(batch, sampler, rounds=2, branches=1, penalty=penalty, rng=np.random.default_rng(0))
        asked.append([prefixes for _, prefixes in sampler.asked])
    assert asked == [[[1], [1]], [[1], [5]]]  # 0.9 - 0.3 is below 0.7


def test_the_penalty_is_a_twentieth_by_default_and_counts_the_chains_of_a_prompt() -> None:
    batch = Batch.from_turns([[1, 1, 1], [1]], logp=[-0.52, -0.50, -3.0, -0.1], outcome=[0, 1], group=[0, 0])
    plain, free = FakeSampler(turns=1), FakeSampler(turns=1)
    collect(batch, plain, rounds=1, branches=1, rng=np.random.default_rng(0))
    collect(batch, free, rounds=1, branches=1, penalty=0.0, rng=np.random.default_rng(0))
    assert plain.asked == [("prefix", [1])]  # 0.52 - 0.05 is below 0.50
    assert free.asked == [("prefix", [0])]


def test_the_prompt_itself_is_a_candidate_without_uncertainty() -> None:
    # root -> A -> a -> leaf; A -> b, c; root -> B. With penalty 1: A 0.2 - 1, the prompt 0 - 1, a 0.5 - 2
    tree = Batch.from_turns(
        [[1, 1, 1], [1, 1], [1, 1], [1]], outcome=[0] * 4, group=[0] * 4, node=[0, 1, 2, 0, 3, 0, 4, 5],
        parent=[-1, 0, 1, -1, 0, -1, 0, -1], logp=[-0.2, -0.5, -1, -0.2, -1, -0.2, -1, -1],
    )  # fmt: skip
    sampler = FakeSampler(turns=1)
    collect(tree, sampler, rounds=1, branches=3, penalty=1.0, rng=np.random.default_rng(0))
    assert sampler.asked == [("prefix", [0, 0, 1])]


def test_a_turn_that_rows_share_is_one_candidate() -> None:
    batch = _card(logp=-np.array([2.0, 0.2, 2.0, 0.8, 1.5]))
    sampler = FakeSampler(turns=1)
    collect(batch, sampler, rounds=1, branches=2, rng=np.random.default_rng(0))
    assert sampler.asked == [("prefix", [0, 0])]  # A, then the prompt: B, a1 and a2 are last turns
    again = FakeSampler(turns=1)
    collect(batch, again, rounds=1, branches=3, rng=np.random.default_rng(0))
    assert again.asked == [("prefix", [0, 0, 0])]  # two candidates: the best is taken again


def test_every_prompt_grows_by_the_same_number_and_two_rounds_of_six_by_default() -> None:
    rng = np.random.default_rng(0)
    batch = Batch.from_turns([[1, 1, 1], [1], [1, 1]], outcome=[0, 1, 0], group=["a", "b", "a"], logp=-rng.random(6))
    credit = _at2po(batch, sampler=FakeSampler(), rng=0)
    assert_array_equal(np.bincount(credit.batch.within("trajectory", "group")), [2 + 12, 1 + 12])
    assert credit.diagnostics["branches"] == 24
    assert credit.bill == Bill(generated=24 * 4.0)
    assert credit.diagnostics["shared"] > 0
    none = collect(batch, FakeSampler(), rounds=0, rng=np.random.default_rng(0)).batch
    assert none is not None
    assert none.n_trajectories == 3


def test_ties_go_to_the_earliest_and_entropy_can_choose() -> None:
    sampler = FakeSampler(turns=1)
    batch = Batch.from_turns([[1, 1, 1]], logp=[-1.0, -1.0, -1.0], outcome=[0], group=[0], entropy=[0.1, 0.9, 0.2])
    collect(batch, sampler, rounds=1, branches=1, rng=np.random.default_rng(0))
    collect(batch, sampler, rounds=1, branches=1, uncertainty="entropy", rng=np.random.default_rng(0))
    assert sampler.asked == [("prefix", [0]), ("prefix", [1])]


def test_a_sampler_that_loses_branches_and_bad_options_are_refused() -> None:
    class Lossy(FakeSampler):
        def branch(self, batch: Batch, prefixes: Any, rng: np.random.Generator) -> tuple[Batch, Bill]:
            return batch, Bill()

    with pytest.raises(BatchError, match="one new for each of 6"):
        _at2po(Batch.from_turns([[1, 1, 1], [1, 1, 1]], **CHAINS), sampler=Lossy())
    for bad in ({"rounds": -1}, {"branches": 0}, {"penalty": np.inf}):
        with pytest.raises(OptionError, match=next(iter(bad))):
            _at2po(_card(), sampler=FakeSampler(), **bad)
    with pytest.raises(MissingColumn, match="group"):
        _at2po(_card(group=None), sampler=FakeSampler())


def test_weighted_means_of_children() -> None:
    parent, ended = np.array([3, 3, 4, 4, -1]), np.array([1.0, 0.0, 0.5, np.nan, np.nan])
    weight = np.ones((2, 5))
    weight[0, :4] = [3.0, 1.0, 1.0, 4.0]
    value, children = child_means(parent, ended, weight)
    assert_allclose(value, [1.0, 0.0, 0.5, 0.75, (0.5 + 4 * 0.75) / 5])
    assert_array_equal(children, [1, 1, 1, 2, 2])
