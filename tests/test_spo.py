"""SPO: the card's worked chains and trees, cuts, masks and nulls, trees of turns and of tokens, its sampler."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.bench.layouts import choices, to_batch
from apportion.bench.oracle import oracle, truth
from apportion.bench.samplers import TabularSampler
from apportion.bench.tasks import find
from apportion.bench.world import roll
from apportion.credit import Credit
from apportion.errors import MissingColumn, OptionError
from apportion.methods import spo as module

from .fakes import FakeSampler

NAN = np.nan
P = np.array([0.95, 0.5, 0.99, 0.7, 0.92, 0.4, 0.97, 0.6, 0.93, 0.8])


def _spo(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "spo", **options)
    assert isinstance(credit, Credit)
    return credit


def _chain(p: Any = P, outcome: float = 1.0, **columns: Any) -> Batch:
    return Batch.from_turns([[len(p)]], outcome=[outcome], logp=np.log(p), **columns)


def _values(n: int, at: dict[int, float], rest: float = 0.77) -> Any:
    """Values at the cuts; what stands elsewhere is never read."""
    return np.array([at.get(t, rest) for t in range(n)])


# cut states 0, 4, 8 of the card are those *after* these tokens: before the uncertain tokens 1, 5, 9
VALUES = _values(10, {1: 3 / 9, 5: 5 / 9, 9: 4 / 9})


def test_worked_chain_of_the_card() -> None:
    credit = _spo(_chain(), cut_value=VALUES, interval=2)
    assert_allclose(credit.token, [0, 0.2222, 0, 0.2222, 0, -0.1111, 0, -0.1111, 0, 0.5556], atol=5e-5)
    assert credit.keep is not None
    assert_array_equal(np.flatnonzero(credit.keep), [1, 3, 5, 7, 9])
    assert credit.loss.denominator == "token"
    assert credit.diagnostics["trained"] == 0.5
    whole = _spo(_chain(), cut_value=VALUES, interval=2, mask=False)
    assert_allclose(whole.token, [0] + [0.2222] * 4 + [-0.1111] * 4 + [0.5556], atol=5e-5)
    assert whole.keep is None
    white = _spo(_chain(), cut_value=VALUES, interval=2, whiten=True)
    assert_allclose(white.token[[1, 3, 5, 7, 9]], [0.2390, 0.2390, -0.9562, -0.9562, 1.4343], atol=5e-5)
    assert_array_equal(white.token[[0, 2, 4, 6, 8]], 0.0)


def test_worked_chain_whose_first_token_is_uncertain() -> None:
    credit = _spo(_chain([0.3, 0.95, 0.8, 0.85], 0.0), cut_value=_values(4, {0: 2 / 9, 3: 1 / 9}), interval=2)
    assert_allclose(credit.token, [-0.1111, 0, -0.1111, -0.1111], atol=5e-5)


def test_the_segments_of_a_trajectory_add_up_to_its_reward_less_the_first_value() -> None:
    batch = Batch.from_turns(
        [[3, 4], [5]], outcome=[1.0, 0.3], turn_reward=[0.5, 0.0, 0.0], logp=-np.ones(12),
        action=[False, True, True, False, True, True, True, True, True, True, True, False],
    )  # fmt: skip
    value = np.random.default_rng(0).random(12)
    credit = _spo(batch, cut_value=value, interval=1)
    acts = np.flatnonzero(batch.action)
    starts = {0: 1, 1: 7}
    for i in range(2):
        mine = acts[batch.within("token", "trajectory")[acts] == i]
        assert_allclose(credit.token[mine].sum(), batch.reward[i] - value[starts[i]])
    assert_allclose(credit.token[2], 0.5 + value[4] - value[2])  # a reward belongs to the segment it falls in
    assert_allclose(credit.token[10], 0.3 - value[10])


def test_a_segment_ends_with_its_trajectory() -> None:
    batch = Batch.from_turns([[2], [3]], outcome=[1.0, 0.0], logp=[-1.0, -1.0, -0.01, -1.0, -1.0])
    credit = _spo(batch, cut_value=np.array([0.25, 9, 9, 0.5, 9]), mask=False)  # one cut each
    assert_allclose(credit.token, [0.75, 0.75, 0, -0.5, -0.5])


def test_a_probability_of_exactly_rho_is_certain() -> None:
    batch = Batch.from_turns([[3]], outcome=[1.0], logp=np.log([0.5, 0.25, 0.125]))
    credit = _spo(batch, cut_value=np.full(3, 0.5), rho=0.5, interval=1)
    assert credit.keep is not None
    assert_array_equal(credit.keep, [False, True, True])


def test_only_policy_tokens_are_uncertain_and_counted_trajectory_by_trajectory() -> None:
    batch = Batch.from_turns(
        [[6], [4]], outcome=[1.0, 0.0], logp=-np.ones(10), action=[True, False, True, False, True, True, False, True, True, True]
    )  # fmt: skip
    assert_array_equal(module._cuts(batch, module._unsure(batch, 0.9), 1), [0, 2, 4, 5, 7, 8, 9])
    assert_array_equal(module._cuts(batch, module._unsure(batch, 0.9), 2), [0, 4, 7, 9])
    assert_array_equal(module._cuts(batch, module._unsure(batch, 0.9), 3), [0, 5, 7])


def test_a_cut_that_was_not_asked_joins_the_segment_before_it() -> None:
    credit = _spo(_chain(), cut_value=np.where(np.arange(10) == 5, NAN, VALUES), interval=2, mask=False)
    assert_allclose(credit.token, [0] + [1 / 9] * 8 + [5 / 9])
    first = _spo(_chain(), cut_value=np.where(np.arange(10) == 1, NAN, VALUES), interval=2, mask=False)
    assert_allclose(first.token, [0] * 5 + [-1 / 9] * 4 + [5 / 9])
    assert_array_equal(_spo(_chain(), cut_value=np.full(10, NAN), interval=2).token, 0.0)


def test_a_certain_answer_gets_nothing_and_leaves_the_loss() -> None:
    sure = _spo(_chain(np.full(4, 0.99)), cut_value=np.full(4, 0.2))
    assert_array_equal(sure.token, 0.0)
    assert sure.keep is not None
    assert not sure.keep.any()
    assert_array_equal(_spo(_chain(np.full(4, 0.99)), cut_value=np.full(4, 0.2), whiten=True).token, 0.0)
    sampler = FakeSampler()
    assert _spo(_chain(np.full(4, 0.99)), sampler=sampler).bill.generated == 0
    assert sampler.asked == []


def test_with_every_token_cut_and_no_mask_it_is_vineppo_on_tokens() -> None:
    n, value = 6, np.random.default_rng(0).random(6)
    batch = Batch.from_turns([[n]], steps=[[1] * n], outcome=[1.0], logp=-np.ones(n))
    vine = assign(batch, "vineppo", prefix_value=np.append(value, 0.0))
    assert isinstance(vine, Credit)
    assert_allclose(_spo(batch, cut_value=value, interval=1, mask=False).token, vine.token)


def test_the_sampler_is_asked_before_every_fifth_uncertain_token() -> None:
    sampler = FakeSampler(answer=lambda t: [1.0] * 3 + [0.0] * 5 + [NAN])
    batch = Batch.from_turns([[8], [3]], outcome=[1.0, 0.0], logp=[-1.0, *[-0.01] * 2, *[-1.0] * 5, *[-1.0] * 3])
    found = module.collect(batch, sampler, rng=np.random.default_rng(0))
    assert sampler.asked == [("token", [0, 7, 8])]
    assert_allclose(found.arrays["cut_value"][[0, 7, 8]], 3 / 8)
    assert np.isnan(np.delete(found.arrays["cut_value"], [0, 7, 8])).all()
    assert found.bill.generated == 10 * 9 * 3
    assert found.diagnostics == {"cuts": 3.0, "lost": 0.0}
    lost = module.collect(batch, FakeSampler(answer=lambda t: [NAN] * 9), rng=np.random.default_rng(0))
    assert lost.diagnostics["lost"] == 3.0


@pytest.mark.parametrize(
    ("option", "message"),
    [({"k": 0}, "k = 0"), ({"interval": 0}, "interval = 0"), ({"rho": 0.0}, "rho = 0"), ({"rho": 1.5}, "rho = 1"),
     ({"variant": "tree"}, "asks nothing")],
)  # fmt: skip
def test_options_out_of_range_are_refused_before_anything_is_asked(option: dict[str, Any], message: str) -> None:
    sampler = FakeSampler()
    with pytest.raises(OptionError, match=message):
        _spo(_chain(), sampler=sampler, **option)
    assert sampler.asked == []


# --- trees -------------------------------------------------------------------------------------------

#: root -> n1 (0), n2 (1, ends with 1); n1 -> n11 (2), n12 (3); leaves 4 (1), 5 (0) and 6 (0), 7 (0)
NODES = [[0, 2, 4], [0, 2, 5], [0, 3, 6], [0, 3, 7], [1]]
TREE: dict[str, Any] = {
    "outcome": [1.0, 0.0, 0.0, 0.0, 1.0],
    "node": [n for path in NODES for n in path],
    "parent": [p for path in NODES for p in [-1, *path[:-1]]],
    "group": [0] * 5,
}


def _grown(**columns: Any) -> Batch:
    lengths = [[1] * len(path) for path in NODES]
    n = sum(map(len, NODES))
    return Batch.from_turns(lengths, **{**TREE, "logp": -np.ones(n), **columns})


def _by_node(batch: Batch, values: Any) -> dict[int, float]:
    nodes = batch.need("node").tolist()
    first = {n: nodes.index(n) for n in sorted(set(nodes))}
    return {n: float(values[t]) for n, t in first.items()}


def test_worked_tree_of_the_card() -> None:
    batch = _grown()
    credit = _spo(batch, variant="tree")
    expected = {0: -0.375, 1: 0.375, 2: 0.25, 3: -0.25, 4: 0.5, 5: -0.5, 6: 0.0, 7: 0.0}
    assert _by_node(batch, credit.token) == pytest.approx(expected)
    std = {0: -1, 1: 1, 2: 1, 3: -1, 4: 1, 5: -1, 6: 0.0, 7: 0.0}
    assert _by_node(batch, _spo(batch, variant="tree", form="std").token) == pytest.approx(std, abs=1e-6)


def test_each_edge_is_trained_once_and_edges_without_advantage_never() -> None:
    batch = _grown()
    credit = _spo(batch, variant="tree")
    assert credit.keep is not None
    assert_array_equal(credit.keep, [1, 1, 1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1])
    assert_array_equal(credit.token[~credit.keep], 0.0)
    certain = _grown(logp=np.where(np.arange(13) == 1, np.log(0.95), -1.0))
    masked = _spo(certain, variant="tree")
    assert masked.keep is not None
    assert_array_equal(np.flatnonzero(masked.keep), [0, 2, 5, 7, 12])
    open_ = _spo(certain, variant="tree", mask=False)
    assert open_.keep is not None
    assert_array_equal(open_.keep, credit.keep)


def test_an_only_child_and_a_child_at_the_mean_are_dropped() -> None:
    chain = Batch.from_turns([[1, 1], [1]], outcome=[1.0, 0.0], node=[0, 1, 2], parent=[-1, 0, -1], group=[0, 0], logp=[-1.0] * 3)
    assert_allclose(_spo(chain, variant="tree").token, [0.5, 0, -0.5])
    three = Batch.from_turns(
        [[1]] * 3, outcome=[0.1, 0.2, 0.3], node=[0, 1, 2], parent=[-1] * 3, group=[0] * 3, logp=[-1.0] * 3
    )  # fmt: skip
    credit = _spo(three, variant="tree")
    assert credit.keep is not None
    assert_array_equal(credit.keep, [True, False, True])


def test_a_tree_may_be_the_prefix_tree_of_the_responses() -> None:
    # prompt 9; 1 2 | 1 3 5 | 1 3 6 | 4: the same shape as turns 0 -> ...
    ids = [[9, 1, 2], [9, 1, 3, 5], [9, 1, 3, 6], [9, 4]]
    batch = Batch.from_turns(
        [[len(x)] for x in ids], ids=[t for x in ids for t in x], outcome=[1.0, 1.0, 0.0, 0.0], group=[0] * 4, logp=-np.ones(13)
    )  # fmt: skip
    credit = _spo(batch, variant="tree")
    # V: 135 1, 136 0, 13 .5, 12 1, 1 .75, 4 0, root .375
    assert_allclose(credit.token, [0, 0.375, 0.25, 0, 0, -0.25, 0.5, 0, 0, 0, -0.5, 0, -0.375])
    assert credit.keep is not None
    assert_array_equal(np.flatnonzero(credit.keep), [1, 2, 5, 6, 10, 12])


def test_a_response_that_others_continue_is_one_child_more() -> None:
    ids = [[1], [1, 2], [1, 3], [5]]
    batch = Batch.from_turns(
        [[len(x)] for x in ids], ids=[t for x in ids for t in x], outcome=[1.0, 0.0, 0.5, 0.0], group=[0] * 4, logp=-np.ones(6)
    )  # fmt: skip
    for form, scale, above in (("difference", 1.0, 1.0), ("std", np.std([1.0, 0.0, 0.5]), 0.25)):
        credit = _spo(batch, variant="tree", form=form)
        assert_allclose(credit.token[:5], [0.25 / above, 0, -0.5 / scale, 0, 0], atol=1e-6)
    node = Batch.from_turns(
        [[1], [1, 1], [1, 1], [1]], node=[0, 0, 1, 0, 2, 3], parent=[-1, -1, 0, -1, 0, -1], outcome=[1.0, 0.0, 0.5, 0.0],
        group=[0] * 4, logp=-np.ones(6),
    )  # fmt: skip
    for form in ("difference", "std"):
        assert_allclose(_spo(node, variant="tree", form=form).token, _spo(batch, variant="tree", form=form).token, atol=1e-12)


def test_equal_responses_share_a_leaf_worth_their_mean() -> None:
    ids = [[1], [1], [1], [2]]
    batch = Batch.from_turns(
        [[1]] * 4, ids=[t for x in ids for t in x], outcome=[1.0, 0.0, 0.0, 1.0], group=[0] * 4, logp=-np.ones(4)
    )
    turns = batch.with_columns(node=np.array([0, 0, 0, 1]), parent=np.full(4, -1))
    for tree in (batch, turns):
        credit = _spo(tree, variant="tree")
        assert_allclose(credit.token, [-1 / 3, 0, 0, 1 / 3])


def test_one_continuation_is_enough() -> None:
    found = module.collect(_chain(), FakeSampler(answer=lambda t: [0.25]), k=1, rng=np.random.default_rng(0))
    assert_array_equal(np.flatnonzero(found.arrays["cut_value"] == 0.25), [1])


def test_trees_of_different_groups_are_apart() -> None:
    ids = [1, 2, 1, 3]
    batch = Batch.from_turns([[2], [2]], ids=ids, outcome=[1.0, 0.0], group=[0, 1], logp=-np.ones(4))
    assert_array_equal(_spo(batch, variant="tree").token, 0.0)
    with pytest.raises(MissingColumn, match="ids"):
        _spo(batch.with_columns(ids=None), variant="tree")
    with pytest.raises(MissingColumn, match="parent"):
        _spo(batch.with_columns(node=[0, 1]), variant="tree")
    with pytest.raises(MissingColumn, match="'node' is missing for spo"):
        _spo(batch.with_columns(parent=[-1, -1]), variant="tree")
    with pytest.raises(OptionError, match="needs variant='tree'"):
        _spo(batch, cut_value=np.zeros(4), form="std")


def test_a_chain_needs_its_values_and_a_tree_does_not() -> None:
    with pytest.raises(MissingColumn, match="cut_value"):
        _spo(_grown())
    assert _spo(_grown(), variant="tree").evidence == {}


# --- the benchmark's sampler at tokens ------------------------------------------------------------------


@pytest.mark.parametrize("id_", ["reasoning/steps-10", "bifurcation/horizon-10", "team/two"])
def test_continuations_from_tokens_have_the_exact_value_as_their_mean(id_: str) -> None:
    task = find(id_)
    r = roll(task, task.start_theta, 2, 2, np.random.default_rng(0))
    batch = to_batch(r)
    at, k = choices(task, batch), 4000
    some = np.arange(0, at.row.size, 3)
    with oracle():
        solved = truth(task, r.theta)
    row, time = at.row[some], at.time[some]
    state, action = r.states[row, time], r.actions[row, time]
    pi = task.policy(r.theta)[task.context[r.prompt[row], time, state]]
    q = solved_q(solved, r.prompt[row], time, state)
    for j in range(task.words.shape[1]):  # before the first, the second … word of the action
        left = pi * task.spelling[action, j]
        expected = (left * q).sum(axis=1) / left.sum(axis=1)
        got = TabularSampler(r).continuations(batch, at.first[some] + j, k, np.random.default_rng(j), axis="token")
        assert_allclose(got.values.mean(axis=1), expected, atol=0.045)
    first, second = (
        TabularSampler(r).continuations(batch, at.first[some] + j, 2, np.random.default_rng(0), axis="token").bill.generated
        for j in (0, 1)
    )
    assert first - second == 2 * some.size


def solved_q(solved: Any, prompt: Any, time: Any, state: Any) -> Any:
    with oracle():
        return solved.Q[prompt, time, state]


def test_the_world_cannot_be_continued_after_its_last_action() -> None:
    task = find("reasoning/steps-10")
    r = roll(task, task.start_theta, 1, 2, np.random.default_rng(0))
    batch = to_batch(r)
    last = batch.offsets("trajectory")[1:] - 1
    with pytest.raises(OptionError, match="finished trajectory"):
        TabularSampler(r).continuations(batch, last, 1, np.random.default_rng(0), axis="token")
    echo = TabularSampler(r).continuations(batch, batch.offsets("step")[1:2] - 1, 1, np.random.default_rng(0), axis="token")
    assert echo.bill.generated == 9 * (task.words.shape[1] + 2)


def test_it_says_how_many_of_its_cuts_have_a_value() -> None:
    assert _spo(_chain(), cut_value=VALUES, interval=2).diagnostics["valued"] == 1.0
    holed = _spo(_chain(), cut_value=np.where(np.arange(10) == 5, NAN, VALUES), interval=2)
    assert holed.diagnostics["valued"] == pytest.approx(2 / 3)
    assert _spo(_chain(), cut_value=np.full(10, NAN), interval=2).diagnostics["valued"] == 0.0
    assert "valued" not in _spo(_grown(), variant="tree").diagnostics
