"""ArCHer: the card's worked example, its targets, twins and token baseline, replay that goes on exactly, and fresh actions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import apportion as ap
from apportion import Batch
from apportion.bench.layouts import choices, situation, to_batch
from apportion.bench.samplers import TabularSampler
from apportion.bench.tasks import find
from apportion.bench.world import Rollouts, roll
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.evidence import Actor, Evidence, Learned, Sampler, load_learned, save_learned
from apportion.evidence.replay import transitions, turn_keys
from apportion.evidence.twins import LearnedTwins
from apportion.methods.archer import collect, fit
from apportion.ops.features import NONE, mix
from apportion.ops.suffixes import bucketed, products, suffix_keys

from .fakes import FakeSampler

_Q = np.array([[0.55, 0.60], [0.75, 0.70], [0.95, 1.00]])
_V = np.array([[0.50, 0.52], [0.72, 0.65], [0.80, 0.90]])
SMALL: dict[str, Any] = {"buckets": 512, "folds": 2}


def _turns(**columns: Any) -> Batch:
    return Batch.from_turns([[2, 1, 3]], **columns)


def _archer(batch: Batch, **given: Any) -> Credit:
    credit = ap.assign(batch, "archer", **given)
    assert isinstance(credit, Credit)
    return credit


# --- the formula -----------------------------------------------------------------------------------------


def test_worked_example_of_the_card() -> None:
    credit = _archer(_turns(), q=_Q, v=_V)
    assert_allclose(credit.unit, [0.05, 0.05, 0.15], atol=1e-12)
    assert_allclose(credit.token, [0.05, 0.05, 0.05, 0.15, 0.15, 0.15], atol=1e-12)
    assert_allclose(credit.targets["token_baseline"], credit.token)
    assert_allclose(-(credit.unit * [-1.2, -0.8, -2.0]).mean(), 0.1333, atol=5e-5)  # the actor's loss
    assert (credit.loss.denominator, credit.loss.ratio, credit.kind) == ("unit", "token", "advantage")


def test_targets_of_the_card() -> None:
    """y_t of one trajectory, from the buffer's rewards and its ends, and the target values at the turns."""
    replay = transitions(_turns(outcome=[1.0], ids=np.arange(6)), np.zeros(1, dtype=np.int64), 0.95)
    assert_array_equal(replay.reward, [0.0, 0.0, 1.0])
    assert_array_equal(replay.goes_on, [True, True, False])
    assert_array_equal(replay.after[:2], replay.seen[1:])
    for v, expected in (([0.5, 0.6, 0.8], [0.57, 0.76, 1.0]), ([0.4, 0.7, 0.9], [0.665, 0.855, 1.0])):
        after = np.append(v[1:], 0.0)
        assert_allclose(replay.reward + 0.95 * replay.goes_on * after, expected)


def test_the_lower_of_the_twins_counts_on_both_sides() -> None:
    both = _archer(_turns(), q=_Q, v=_V).unit
    swapped = _archer(_turns(), q=_Q[:, ::-1], v=_V).unit
    assert_array_equal(both, swapped)
    one = _archer(_turns(), q=_Q[:, 0], v=_V[:, 1]).unit
    assert_allclose(one, _Q[:, 0] - _V[:, 1])
    with pytest.raises(OptionError, match=r"'q' has shape \(3, 2, 1\)"):
        _archer(_turns(), q=_Q[:, :, None], v=_V)


def test_a_token_baseline_leaves_each_token_its_residual() -> None:
    b = np.array([0.02, 0.04, 0.0, 0.0, 0.0, 0.0])
    credit = _archer(_turns(), q=_Q, v=_V, token_baseline=b, baseline="token")
    assert_allclose(credit.token, [0.03, 0.01, 0.05, 0.15, 0.15, 0.15], atol=1e-12)
    assert_allclose(credit.unit, [0.05, 0.05, 0.15], atol=1e-12)
    assert_allclose(credit.targets["token_baseline"], [0.05, 0.05, 0.05, 0.15, 0.15, 0.15], atol=1e-12)
    assert_allclose(((credit.targets["token_baseline"] - b)[:2] ** 2).mean(), 0.0005, atol=5e-5)
    assert_array_equal(_archer(_turns(), q=_Q, v=_V, token_baseline=b).token, _archer(_turns(), q=_Q, v=_V).token)
    with pytest.raises(MissingColumn, match="'token_baseline'"):
        _archer(_turns(), q=_Q, v=_V, baseline="token")


def test_a_critic_without_an_opinion_trains_nothing() -> None:
    q = _Q.copy()
    q[1, 0] = np.nan
    credit = _archer(_turns(), q=q, v=_V)
    assert credit.scored is not None
    assert_array_equal(credit.scored, [True, False, True])
    assert_array_equal(credit.kept, [True, True, False, True, True, True])
    assert_allclose(credit.unit, [0.05, 0.0, 0.15], atol=1e-12)
    b = np.zeros(6)
    b[4] = np.nan
    holed = _archer(_turns(), q=_Q, v=_V, token_baseline=b, baseline="token")
    assert_array_equal(holed.kept, [True, True, True, False, False, False])
    assert holed.unit[2] == 0.0


# --- features: the same text, however it is cut ------------------------------------------------------------


def test_a_turn_and_the_same_words_as_one_context_have_the_same_features() -> None:
    ids = np.array([5, 1, 2, 6, 3, 4])
    cut = Batch.from_turns([[3, 3]], ids=ids, action=[0, 1, 1, 0, 1, 1])
    whole = Batch.from_turns([[6]], ids=ids, action=[0, 0, 0, 0, 1, 1])
    for a, b in zip(turn_keys(cut), turn_keys(whole), strict=True):
        assert_array_equal(a[1], b[0])


def test_a_text_is_told_by_its_end_and_its_beginning_and_nothing_after_it() -> None:
    def keys(ids: list[int], end: int) -> Any:
        return suffix_keys(mix(np.asarray(ids)), np.zeros(1, dtype=np.int64), np.array([end]))[0]

    text = [7, 1, 2, 3, 4, 5]
    assert_array_equal(keys(text, 5), keys([*text[:5], 9], 5))
    for other in ([8, *text[1:]], [*text[:4], 9, 5], [*text[:3], 9, 4, 5]):
        assert (keys(text, 5) != keys(other, 5)).any()
    assert (keys([7, 1], 2) != keys([8, 1], 2)).sum() >= 4  # the very first token is one of the last ones too
    empty = keys(text, 0)
    assert (empty == NONE).sum() == empty.size - 1  # only how long it is
    assert (keys(text, 1) == NONE).sum() < empty.size - 1


def test_the_twins_do_not_share_their_collisions() -> None:
    keys = mix(np.arange(1000))[:, None]
    a, b = bucketed(keys, 0, 64), bucketed(keys, 1, 64)
    same_a, same_b = (x == x.T for x in (a, b))
    assert 0.5 < same_a.sum() / same_b.sum() < 2
    both = (same_a & same_b).sum() - 1000
    assert both < 0.1 * (same_a.sum() - 1000)
    assert_array_equal(bucketed(np.array([[NONE]]), 0, 64), 64)


def test_products_are_those_of_the_dense_features() -> None:
    rng = np.random.default_rng(0)
    a, b, w, fold = rng.integers(-1, 5, (30, 3)), rng.integers(-1, 4, (30, 2)), rng.normal(size=30), rng.integers(0, 2, 30)
    x, z = np.zeros((30, 5)), np.zeros((30, 4))
    for i in range(30):
        for j in a[i][a[i] >= 0]:
            x[i, j] += 1
        for j in b[i][b[i] >= 0]:
            z[i, j] += 1
    got = products(a, b, w, fold, (2, 5, 4))
    for f in (0, 1):
        assert_allclose(got[f], (x * w[:, None])[fold == f].T @ z[fold == f], atol=1e-12)


# --- what is learned ------------------------------------------------------------------------------------------


def _world(n: int, seed: int = 0) -> tuple[Batch, Any]:
    """Two turns: at the first the right word (of three) for what is seen leads on, at the second nothing matters."""
    rng = np.random.default_rng(seed)
    seen, word, idle = rng.integers(0, 3, n), rng.integers(0, 3, n), rng.integers(0, 3, n)
    right = seen == word
    reward = (rng.random(n) < np.where(right, 0.9, 0.2)).astype(float)
    ids = np.stack([100 + seen, 10 + word, 200 + right, 20 + idle], axis=1)
    lengths = [[2, 2]] * n
    batch = Batch.from_turns(lengths, action=[False, True] * (2 * n), ids=ids.ravel(), outcome=reward, group=np.arange(n) // 5)
    return batch, right


def _fit(batch: Batch, state: LearnedTwins | None = None, seed: int = 0, **options: Any) -> LearnedTwins:
    return fit(
        batch, rng=np.random.default_rng(seed), state=state, **{**SMALL, "gamma": 1.0, "tau": 0.5, "epochs": 40, **options}
    )


def _advantage(batch: Batch, learned: LearnedTwins) -> Any:
    return _archer(batch, learned=learned).unit.reshape(-1, 2)


def test_it_improves_with_data_and_finds_the_turn_that_matters() -> None:
    exact = {True: 0.7 * 2 / 3, False: -0.7 / 3}
    error, wasted = [], []
    for n in (20, 200, 2000):
        a, truth = [], []
        for seed in range(4):
            batch, right = _world(n, seed)
            a.append(_advantage(batch, _fit(batch)))
            truth.append([exact[bool(r)] for r in right])
        each = np.concatenate(a)
        error.append(np.sqrt(np.mean((each[:, 0] - np.concatenate(truth)) ** 2)))
        wasted.append(np.abs(each[:, 1]).mean())
    assert error[0] > error[1] > error[2]
    assert error[2] < 0.1
    assert wasted[2] < 0.05


def test_values_are_those_of_the_world_and_travel_over_turns() -> None:
    batch, right = _world(4000)
    learned = _fit(batch, gamma=0.9, epochs=60)
    found = learned.evidence(batch)
    q, v = (found.arrays[name].reshape(-1, 2, 2) for name in ("q", "v"))
    ends = np.where(right, 0.9, 0.2)
    assert_allclose(v[:, 1].mean(axis=1)[right].mean(), 0.9, atol=0.05)
    assert_allclose(q[:, 1].mean(axis=1)[~right].mean(), 0.2, atol=0.05)
    for good in (True, False):  # one turn away: discounted once
        assert_allclose(q[right == good, 0].mean(), 0.9 * ends[right == good].mean(), atol=0.05)
    assert_allclose(v[:, 0].mean(), 0.9 * (0.9 + 2 * 0.2) / 3, atol=0.05)


def test_shuffled_outcomes_teach_nothing() -> None:
    found = []
    for seed in range(6):
        batch, right = _world(600, seed)
        shuffled = batch.with_columns(outcome=np.random.default_rng(seed + 1).permutation(batch.need("outcome")))
        a = _advantage(shuffled, _fit(shuffled))
        found.append([np.corrcoef(a[:, 0], right)[0, 1], np.corrcoef(a.sum(axis=1), shuffled.reward)[0, 1]])
    assert np.abs(np.mean(found, axis=0)).max() < 0.3


def test_no_reward_reaches_the_heads_that_judge_its_trajectory() -> None:
    batch, _ = _world(40)
    other = batch.need("outcome").copy()
    other[7] = 1.0 - other[7]
    plain, changed = (_fit(b).evidence(b).arrays for b in (batch, batch.with_columns(outcome=other)))
    for name in ("q", "v", "token_baseline"):
        mine = batch.within("token" if name == "token_baseline" else "turn", "trajectory") == 7
        assert_array_equal(plain[name][mine], changed[name][mine])
        assert (plain[name][~mine] != changed[name][~mine]).any()


def test_it_stays_held_out_when_learning_goes_on() -> None:
    (first, _), (second, _) = _world(40), _world(40, 1)
    other = first.need("outcome").copy()
    other[7] = 1.0 - other[7]
    states = [_fit(second, _fit(b), seed=1) for b in (first, first.with_columns(outcome=other))]
    mine = first.within("turn", "trajectory") == 7
    plain, changed = (s.evidence(first).arrays["q"] for s in states)
    assert_array_equal(plain[mine], changed[mine])
    assert (plain[~mine] != changed[~mine]).any()


def test_a_trajectory_that_comes_again_stays_where_it_was() -> None:
    batch, _ = _world(40)
    state = _fit(batch)
    again = _fit(batch, state, seed=5)
    assert_array_equal(again.rows(batch), state.rows(batch))
    both = again.replay.fold.reshape(2, -1)
    assert_array_equal(both[0], both[1])


def test_the_token_baseline_tells_how_a_turn_is_going() -> None:
    """Two words a turn: after the first one, which decides, the advantage is known; before it, it is 0 on average."""
    rng = np.random.default_rng(0)
    n = 1500
    word, idle = rng.integers(0, 2, n), rng.integers(0, 2, n)
    ids = np.stack([np.full(n, 100), 10 + word, 20 + idle], axis=1).ravel()
    batch = Batch.from_turns([[3]] * n, action=[False, True, True] * n, ids=ids, outcome=word.astype(float))
    learned = _fit(batch)
    b = learned.evidence(batch).arrays["token_baseline"].reshape(n, 3)
    assert_array_equal(b[:, 0], 0.0)
    assert_allclose(b[:, 1], 0.0, atol=0.05)
    assert_allclose(b[:, 2], word - 0.5, atol=0.1)
    credit = _archer(batch, learned=learned, baseline="token")
    residual = credit.token.reshape(n, 3)
    assert np.abs(residual[:, 2]).mean() < 0.1 * np.abs(residual[:, 1]).mean()


# --- state: replay, targets, warm-up ----------------------------------------------------------------------------


def test_three_batches_are_two_then_saved_loaded_and_one_more(tmp_path: Path) -> None:
    batches = [_world(30, seed)[0] for seed in range(3)]
    straight: Any = None
    for i, batch in enumerate(batches):
        straight = ap.learn(batch, "archer", state=straight, rng=i, **SMALL)
    half: Any = None
    for i, batch in enumerate(batches[:2]):
        half = ap.learn(batch, "archer", state=half, rng=i, **SMALL)
    save_learned(half, tmp_path / "critic.npz")
    resumed = ap.learn(batches[2], "archer", state=load_learned(tmp_path / "critic.npz"), rng=2, **SMALL)
    a, b = straight.save(), resumed.save()
    assert a.keys() == b.keys()
    for name in a:
        assert_array_equal(a[name], b[name])
        assert a[name].dtype == b[name].dtype
    assert straight.updates == 3
    assert isinstance(straight, Learned)
    for one, two in zip(*(x.evidence(batches[0]).arrays.values() for x in (straight, resumed)), strict=True):
        assert_array_equal(one, two)


def test_learning_goes_on_and_changes_nothing_in_place() -> None:
    (first, _), (second, right) = _world(300), _world(300, 1)
    state = _fit(first)
    before = {name: array.copy() for name, array in state.save().items()}
    more = _fit(second, state, seed=1)
    for name, array in state.save().items():
        assert_array_equal(array, before[name])
    assert more.replay.size == 2 * state.replay.size == 1200
    assert more.replay.newest.sum() == 600
    assert more.evidence(second).diagnostics == {"updates": 2.0, "remembered": 1200.0}
    exact = np.where(right, 0.7 * 2 / 3, -0.7 / 3)
    error = [np.sqrt(np.mean((_advantage(second, x)[:, 0] - exact) ** 2)) for x in (_fit(second), more)]
    assert error[1] < error[0]


def test_what_is_beyond_its_capacity_is_forgotten() -> None:
    (first, _), (second, _) = _world(20), _world(20, 1)
    state = _fit(second, _fit(first, capacity=50), capacity=50)
    assert state.replay.size == 50
    assert state.replay.newest[-40:].all()
    assert not state.replay.newest[:10].any()
    kept = transitions(first, np.zeros(20, dtype=np.int64), 1.0)
    assert_array_equal(state.replay.seen[:10], kept.seen[-10:])
    old = state.rows(first)
    assert (old[:15] == state.folds).all()  # forgotten: weights of everything
    assert (old[15:] < state.folds).all()


def test_targets_follow_slowly() -> None:
    batch, _ = _world(60)
    slow, fast = (_fit(batch, tau=tau, epochs=1) for tau in (0.1, 1.0))
    assert_allclose(slow.target_q, 0.1 * fast.q)
    assert_array_equal(fast.target_q, fast.q)
    assert_array_equal(slow.q, fast.q)  # nothing to bootstrap from yet
    assert not slow.v.any()
    two = _fit(batch, tau=0.1, epochs=2)
    assert_allclose(two.target_q, 0.9 * slow.target_q + 0.1 * two.q, atol=1e-12)
    assert two.v.any()


def test_v_learns_from_the_actions_of_the_newest_batch() -> None:
    """Where the policy changed, V of now is not that of the actions once taken; Q is."""
    batch, right = _world(900)
    good = batch.take(np.flatnonzero(right))  # a policy that has learned it
    states = {how: _fit(good, _fit(batch), seed=1, values=how, epochs=200) for how in ("newest", "replay")}
    v = {how: s.evidence(good).arrays["v"].reshape(-1, 2, 2)[:, 0].mean() for how, s in states.items()}
    assert_allclose(v["newest"], 0.9, atol=0.06)
    assert v["replay"] < v["newest"] - 0.1
    with pytest.raises(ValueError, match="values"):
        _fit(batch, values="nonsense")


def test_during_the_warm_up_nothing_is_trained() -> None:
    batch, _ = _world(20)
    state = None
    for age in range(1, 4):
        state = _fit(batch, state, warmup=2)
        credit = _archer(batch, learned=state)
        assert credit.kept.any() == credit.token.any() == (age > 2)


def test_where_a_trajectory_was_cut_off_its_value_goes_on() -> None:
    plain = Batch.from_turns([[1, 1], [1]], ids=[1, 2, 3], outcome=[1.0, 0.0], truncated=[True, False])
    replay = transitions(plain, np.zeros(2, dtype=np.int64), 0.9)
    assert_array_equal(replay.goes_on, [True, True, False])
    told = transitions(plain.with_columns(bootstrap=np.array([0.5, 0.7])), np.zeros(2, dtype=np.int64), 0.9)
    assert_array_equal(told.goes_on, [True, False, False])
    assert_allclose(told.reward, [0.0, 1.45, 0.0])
    done = transitions(plain.with_columns(truncated=None), np.zeros(2, dtype=np.int64), 0.9)
    assert_array_equal(done.goes_on, [True, False, False])


def test_training_is_paid_by_the_buffer() -> None:
    batch, _ = _world(20)
    first = _fit(batch, epochs=40)
    assert first.bill.trained == 40  # a policy token a turn
    assert _fit(_world(20, 1)[0], first, epochs=40).bill.trained == 2 * 40


def test_texts_without_token_ids_are_read_as_words() -> None:
    turns = [f"see {i % 2} do {i % 3}" for i in range(40)]
    batch = Batch.from_turns([[2, 2]] * 20, text=turns, outcome=np.tile([1.0, 0.0], 10))
    credit = _archer(batch, fit=True, rng=0, **SMALL)
    assert np.isfinite(credit.token).all()
    assert credit.token.any()


_BAD = {"gamma": 1.1, "tau": 0.0, "epochs": 0, "capacity": 0, "warmup": -1, "folds": 1, "ridge": 0.0, "buckets": 0}


@pytest.mark.parametrize("bad", [{name: value} for name, value in _BAD.items()])
def test_settings_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(bad))):
        _fit(_world(6)[0], **bad)


def test_one_trajectory_is_refused_unless_learning_goes_on() -> None:
    batch, _ = _world(20)
    with pytest.raises(BatchError, match="state="):
        _fit(batch.take([0]))
    state = _fit(_world(1, 1)[0], _fit(batch))
    assert state.replay.size == 42
    with pytest.raises(OptionError, match="buckets = 64"):
        _fit(batch, state, buckets=64)


# --- fresh actions --------------------------------------------------------------------------------------------------


def _rolled(id_: str, n: int = 6) -> tuple[Rollouts, Batch]:
    task = find(id_)
    rolled = roll(task, task.start_theta, n, 4, np.random.default_rng(0))
    return rolled, to_batch(rolled, reference=True)


@pytest.mark.parametrize("id_", ["bifurcation/horizon-10", "team/two"])
def test_fresh_actions_stand_where_the_old_ones_stood_and_execute_nothing(id_: str) -> None:
    rolled, batch = _rolled(id_)
    sampler = TabularSampler(rolled)
    assert isinstance(sampler, Actor)
    assert isinstance(sampler, Sampler)
    fresh, bill = sampler.actions(batch, batch.prefix_before, 2, np.random.default_rng(1))
    source = np.repeat(np.arange(batch.n_turns), 2)
    assert fresh.n_trajectories == fresh.n_turns == source.size
    assert bill.env_steps == 0
    assert bill.generated == fresh.action.sum() == source.size * rolled.task.words.shape[1]
    at, (prompt, time, state, action) = choices(rolled.task, fresh), situation(sampler.rollouts, fresh)
    words = fresh.need("ids")[at.first[:, None] + np.arange(rolled.task.words.shape[1])]
    assert_array_equal(words, rolled.task.words[action])
    for mine, theirs in zip((prompt, time, state), situation(rolled, batch)[:3], strict=True):
        assert_array_equal(mine, theirs[source])
    for name in ("logp", "ref_logp"):  # of the action only
        column = getattr(fresh, name)
        assert not column[~fresh.action].any()
        pi = rolled.task.policy(rolled.theta)[rolled.task.context[prompt, time, state], action]
        assert_allclose(np.bincount(fresh.within("token", "turn"), weights=column), np.log(pi))
    starts, owner = batch.offsets("trajectory"), batch.within("turn", "trajectory")
    for j in range(0, source.size, 7):  # the context is the text so far
        u = int(source[j])
        text = batch.need("ids")[starts[owner[u]] : batch.turn_offsets[u + 1]]
        own = fresh.need("ids")[fresh.offsets("turn")[j] : fresh.offsets("turn")[j + 1]]
        L = rolled.task.words.shape[1]
        assert_array_equal(own[:-L], text[:-L])
        i = int(owner[u])
        assert fresh.group is not None
        assert fresh.group.name(j) == f"{batch.trajectory.name(i)}@{batch.turn_index[u]}"
    assert fresh.outcome is None
    taken = np.bincount(action, minlength=rolled.task.actions) / action.size
    expected = rolled.task.policy(rolled.theta)[rolled.task.context[prompt, time, state]].mean(axis=0)
    assert_allclose(taken, expected, atol=0.08)


def test_answers_in_steps_have_no_single_turns_to_act_at() -> None:
    rolled, batch = _rolled("reasoning/steps-10")
    with pytest.raises(OptionError, match="single turns"):
        TabularSampler(rolled).actions(batch, batch.prefix_before, 1, np.random.default_rng(0))


def test_credit_is_of_the_fresh_actions_and_the_critic_of_the_old_ones() -> None:
    rolled, batch = _rolled("bifurcation/horizon-10", 16)
    sampler = TabularSampler(rolled)
    credit = _archer(batch, sampler=sampler, fit=True, rng=0, samples=50, k=2, **SMALL)
    assert credit.batch.n_turns == 100
    assert credit.bill.generated == 200
    assert credit.bill.scored == 200
    assert credit.bill.env_steps == 0
    learned = fit(batch, rng=np.random.default_rng(0), **SMALL)
    fresh = ap.assign(credit.batch, "archer", learned=learned)
    assert isinstance(fresh, Credit)
    assert fresh.token.any()


def test_samplers_that_cannot_act_are_refused() -> None:
    class Old:
        provenance = "exact_restore"
        continuations = branch = None

    batch = _turns(outcome=[1.0])
    with pytest.raises(OptionError, match="Old has no actions"):
        collect(batch, Old(), rng=np.random.default_rng(0))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="samples = 0"):
        collect(batch, FakeSampler(), rng=np.random.default_rng(0), samples=0)
    with pytest.raises(OptionError, match="k = 0"):
        collect(batch, FakeSampler(), rng=np.random.default_rng(0), k=0)
    found: Evidence = collect(batch, FakeSampler(), rng=np.random.default_rng(0))
    assert found.batch is not None
    assert found.batch.n_turns == 3
