"""SWEET-RL: the card's worked example in both forms of the mean, candidates and pairs, and a critic that is told c."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import apportion as ap
from apportion import Batch, Preferences
from apportion.bench.layouts import to_batch
from apportion.bench.samplers import TabularSampler
from apportion.bench.tasks import find
from apportion.bench.world import roll
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.evidence import Learned, load_learned, save_learned
from apportion.evidence.privileged import LearnedCritic, Texts, best_pairs
from apportion.methods.sweet_rl import fit

from .fakes import FakeSampler

_CRITIC = np.array([-0.5, -0.3, -0.2, -0.4, -0.6, -1.0, -1.2, -0.8])
_SEED = np.array([-0.9, -0.5, -0.5, -0.6, -0.7, -0.7, -0.9, -0.6])
_CANDIDATES = np.array([0.10, -0.05, 0.30, -0.20])
SMALL: dict[str, Any] = {"buckets": 2**16, "folds": 2, "beta": 1.0, "ridge": 1.0}


def _card(**changes: Any) -> Batch:
    return Batch.from_turns([[2, 3], [2, 1]], **{"outcome": [1.0, 0.0], "group": [0, 0], **changes})


def _sweet(batch: Batch, **given: Any) -> Credit:
    if not {"learned", "fit", "critic_logp"} & set(given):
        given = {"critic_logp": _CRITIC, **({} if given.get("reference") == "sampled" else {"seed_logp": _SEED}), **given}
    credit = ap.assign(batch, "sweet_rl", **given)
    assert isinstance(credit, Credit)
    return credit


def _states(n: int = 4, **columns: Any) -> Batch:
    return Batch.from_turns([[1]] * n, **{"group": ["s"] * n, **columns})


def _prefer(batch: Batch, score: Any, **given: Any) -> Preferences:
    ones = np.full(batch.n_tokens, -1.0)
    found = ap.assign(batch, "sweet_rl", critic_logp=ones + score, seed_logp=ones, form="preferences", **given)
    assert isinstance(found, Preferences)
    return found


# --- the formula, and where paper and code differ ----------------------------------------------------------------


def test_worked_example_of_the_card() -> None:
    credit = _sweet(_card())
    assert_allclose(credit.unit, [0.30, 0.20, -0.30, -0.20])
    assert_allclose(credit.token, [0.30] * 2 + [0.20] * 3 + [-0.30] * 2 + [-0.20])
    assert_allclose(credit.diagnostics["loss"], 0.6444, atol=5e-5)
    assert credit.diagnostics["pairs"] == 1


def test_the_code_takes_one_mean_over_the_trajectory() -> None:
    credit = _sweet(_card(), mean="trajectory")
    assert_allclose(credit.unit, np.array([0.6 / 5, 0.6 / 5, -0.6 / 3, -0.2 / 3]))
    assert_allclose(np.bincount([0, 0, 1, 1], weights=credit.unit), [0.24, -0.2667], atol=5e-5)
    assert_allclose(credit.diagnostics["loss"], 0.6681, atol=5e-5)
    whole = _sweet(_card(), mean="none")
    assert_allclose(whole.unit, [0.6, 0.6, -0.6, -0.2])
    assert_allclose(whole.diagnostics["loss"], np.logaddexp(0, -0.1 * 2.0))


def test_the_code_compares_with_what_was_recorded_while_sampling() -> None:
    logp = _SEED - np.arange(8) / 10
    credit = _sweet(_card(logp=logp), reference="sampled")
    assert_allclose(credit.unit[:2], [0.35, 0.20 + 0.3])
    with pytest.raises(MissingColumn, match="'logp'"):
        _sweet(_card(), reference="sampled")
    with pytest.raises(MissingColumn, match="'seed_logp'"):
        ap.assign(_card(), "sweet_rl", critic_logp=_CRITIC)


def test_beta_scales_the_loss_and_not_the_credit() -> None:
    credit = _sweet(_card(), beta=1.0)
    assert_allclose(credit.unit, _sweet(_card()).unit)
    assert_allclose(credit.diagnostics["loss"], np.logaddexp(0, -1.0))


def test_a_critic_that_is_its_seed_gives_nothing() -> None:
    assert_array_equal(_sweet(_card(), critic_logp=_SEED, seed_logp=_SEED).token, 0.0)


def test_rewards_and_groups_are_for_the_diagnostics_only() -> None:
    credit = _sweet(_card(outcome=None, group=None))
    assert_array_equal(credit.token, _sweet(_card()).token)
    assert credit.diagnostics == {}
    assert _sweet(_card(outcome=[0.5, 0.0])).diagnostics == {"pairs": 0.0}  # none perfect
    assert _sweet(_card(outcome=[0.5, 0.0]), at_least=None).diagnostics["pairs"] == 1
    assert _sweet(_card(outcome=[1.0, 1.0])).diagnostics == {"pairs": 0.0}


def test_observation_tokens_are_in_no_mean() -> None:
    spaced = Batch.from_turns([[3, 3], [2, 2]], action=[1, 0, 1, 1, 1, 1, 1, 1, 0, 1], outcome=[1.0, 0.0], group=[0, 0])
    critic, seed = (np.insert(x, [1, 7], np.nan) for x in (_CRITIC, _SEED))
    for mean in ("turn", "trajectory"):
        credit = _sweet(spaced, critic_logp=critic, seed_logp=seed, mean=mean)
        assert_allclose(credit.unit, _sweet(_card(), mean=mean).unit)
        assert_array_equal(credit.token[[1, 8]], 0.0)


def test_bad_evidence_is_refused_by_name_and_index() -> None:
    for name in ("critic_logp", "seed_logp"):
        for value in (0.2, np.nan):
            given = {"critic_logp": _CRITIC.copy(), "seed_logp": _SEED.copy()}
            given[name][3] = value
            with pytest.raises(OptionError, match=rf"'{name}'\[3\]"):
                _sweet(_card(), **given)
    for bad in ({"beta": 0.0}, {"pairs": 0}):
        with pytest.raises(OptionError, match=next(iter(bad))):
            _sweet(_card(), **bad)


# --- candidates ------------------------------------------------------------------------------------------------------


def test_upper_half_is_preferred_to_lower_half() -> None:
    found = _prefer(_states(), _CANDIDATES, pairs=50)
    assert set(found.chosen.tolist()) == {0, 2}
    assert set(found.rejected.tolist()) == {1, 3}
    assert len({*zip(found.chosen.tolist(), found.rejected.tolist(), strict=True)}) == 4
    assert found.margin is not None
    assert_allclose(found.margin, _CANDIDATES[found.chosen] - _CANDIDATES[found.rejected])
    assert found.chosen.size == 50
    assert (found.method, found.level) == ("sweet_rl", "turn")
    assert _prefer(_states(), _CANDIDATES).chosen.size == 4  # the paper's


def test_the_middle_of_an_odd_number_is_in_neither_half() -> None:
    found = _prefer(_states(5), [0.3, 0.0, 0.1, -0.2, 0.2], pairs=80)
    assert set(found.chosen.tolist()) == {0, 4}
    assert set(found.rejected.tolist()) == {1, 3}


def test_ties_keep_their_order_and_a_lone_candidate_has_no_pair() -> None:
    found = _prefer(_states(), np.zeros(4), pairs=60)
    assert set(found.chosen.tolist()) == {0, 1}
    assert set(found.rejected.tolist()) == {2, 3}
    assert _prefer(_states(1), np.zeros(1)).chosen.size == 0
    mixed = _prefer(_states(5, group=["a", "b", "a", "c", "c"]), [0.1, 0.9, 0.3, 0.2, 0.4], pairs=3)
    assert mixed.chosen.tolist() == [2, 2, 2, 4, 4, 4]
    assert mixed.rejected.tolist() == [0, 0, 0, 3, 3, 3]


def test_pairs_are_drawn_uniformly_and_from_a_seed() -> None:
    batch = _states(8)
    found = _prefer(batch, -np.arange(8.0), pairs=4000, rng=3)
    for index, low in ((found.chosen, 0), (found.rejected, 4)):
        assert_allclose(np.bincount(index, minlength=8)[low : low + 4] / 4000, 0.25, atol=0.03)
    table = np.zeros((8, 8))
    np.add.at(table, (found.chosen, found.rejected), 1)
    assert_allclose(table[:4, 4:] / 4000, 1 / 16, atol=0.015)  # independent
    assert_array_equal(_prefer(batch, -np.arange(8.0), rng=3).chosen, _prefer(batch, -np.arange(8.0), rng=3).chosen)
    given = {"critic_logp": np.arange(-8.0, 0), "seed_logp": np.full(8, -1.0), "form": "preferences"}
    first, second = (ap.get("sweet_rl")(batch, **given) for _ in range(2))
    assert isinstance(first, Preferences)
    assert isinstance(second, Preferences)
    assert_array_equal(first.chosen, second.chosen)


def test_credit_can_be_above_the_mean_of_the_candidates() -> None:
    batch = _states(5, group=["a", "a", "a", "b", "b"])
    score = np.array([0.1, -0.05, 0.3, -0.2, -0.4])
    credit = _sweet(batch, critic_logp=score - 1, seed_logp=np.full(5, -1.0), baseline="candidates")
    assert_allclose(credit.unit, [*(score[:3] - score[:3].mean()), 0.1, -0.1], atol=1e-12)
    lone = _sweet(_states(1), critic_logp=[-0.5], seed_logp=[-1.0], baseline="candidates")
    assert_array_equal(lone.unit, 0.0)


def test_logged_turns_are_no_candidates() -> None:
    for how in ({"form": "preferences"}, {"baseline": "candidates"}):
        with pytest.raises(OptionError, match="trajectory 0 has 2 turns"):
            _sweet(_card(), **how)
    with pytest.raises(MissingColumn, match="'group'"):
        _prefer(_states(2, group=None), np.zeros(2))


def test_candidates_are_collected_and_cost_no_environment_step() -> None:
    task = find("bifurcation/horizon-10")
    rolled = roll(task, task.start_theta, 8, 8, np.random.default_rng(0))
    batch = to_batch(rolled, reference=True)
    given: dict[str, Any] = {"sampler": TabularSampler(rolled), "fit": True, "k": 4, "samples": 20, "rng": 0, **SMALL}
    found = ap.assign(batch, "sweet_rl", form="preferences", **given)
    assert isinstance(found, Preferences)
    assert found.batch.n_turns == 80
    assert found.bill.generated == 160
    assert found.bill.env_steps == 0
    group = found.batch.within("turn", "group")
    assert_array_equal(group[found.chosen], group[found.rejected])
    credit = _sweet(batch, baseline="candidates", **{**given, "sampler": TabularSampler(rolled)})
    assert credit.token.any()
    assert_allclose(np.bincount(credit.batch.within("turn", "group"), weights=credit.unit), 0.0, atol=1e-12)
    with pytest.raises(OptionError, match="sweet_rl asks for fresh actions"):
        ap.get("sweet_rl").collect(batch, object(), rng=np.random.default_rng(0))  # type: ignore[misc]
    assert _sweet(_card(ids=np.arange(8), ref_logp=_SEED), fit=True, sampler=FakeSampler(), **SMALL).batch.n_turns == 4 * 16


# --- pairs that the critic learns from -----------------------------------------------------------------------------------


def test_the_best_of_a_task_is_paired_with_every_worse_one() -> None:
    batch = Batch.from_turns(
        [[1]] * 9, group=list("aaabbbccc"), outcome=[0.2, 1.0, 0.0, 1.0, 1.0, 0.5, 0.9, 0.3, 0.9]
    )  # fmt: skip
    up, down, weight = best_pairs(batch, 1.0)
    assert {*zip(up.tolist(), down.tolist(), strict=True)} == {(1, 0), (1, 2), (3, 5)}
    assert_allclose(weight[np.argsort(down)], [0.75, 0.75, 1.5])  # half of three rollouts a task
    assert {*zip(*(x.tolist() for x in best_pairs(batch, None)[:2]), strict=True)} == {(1, 0), (1, 2), (3, 5), (6, 7)}
    assert best_pairs(batch.with_columns(outcome=np.ones(9)), 1.0)[0].size == 0


# --- the critic ----------------------------------------------------------------------------------------------------------


def _world(n: int, seed: int = 0) -> tuple[Batch, Any, list[list[int]]]:
    """Two turns of two words; the second word of the first turn is right where it is the task's, which only c tells.

    Tasks are new every time (a hundred prompts), so that what was learned of one says nothing of the next.
    """
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(n // 4), 4)
    answer = rng.integers(0, 3, n // 4)[task]
    word, idle = rng.integers(0, 3, n), rng.integers(0, 3, n)
    right = word == answer
    ids = np.stack([1000 * (seed + 1) + task, np.full(n, 7), 10 + word, np.full(n, 8), np.full(n, 9), 10 + idle], axis=1)
    logp = np.tile([0.0, 0.0, -np.log(3)], 2 * n)
    batch = Batch.from_turns(
        [[3, 3]] * n, action=[False, True, True] * (2 * n), ids=ids.ravel(), ref_logp=logp, logp=logp, group=task,
        trajectory=[f"{seed}-{i}" for i in range(n)], outcome=(rng.random(n) < np.where(right, 0.9, 0.2)).astype(float),
    )  # fmt: skip
    return batch, right, [[3, 7, 10 + int(a), 4] for a in answer]


def _fit(batch: Batch, seed: int = 0, **options: Any) -> LearnedCritic:
    return fit(batch, rng=np.random.default_rng(seed), **{**SMALL, **options})


def _told_apart(batch: Batch, right: Any, critic: LearnedCritic) -> float:
    a = _sweet(batch, learned=critic).unit.reshape(-1, 2)
    return float(np.corrcoef(a[:, 0], right)[0, 1]) if np.ptp(a[:, 0]) else 0.0


def test_a_critic_that_is_told_the_answer_learns_to_trust_it() -> None:
    """On new tasks c is all there is to go by; the ablation without it is at chance, and more data help only the told one."""
    new, right, c = _world(400, 99)
    blind, told = [], []
    for n in (8, 80, 800):
        for seed in range(3):
            batch, _, texts = _world(n, seed)
            blind.append(_told_apart(new, right, _fit(batch)))
            told.append(_told_apart(new, right, _fit(batch, privileged=texts).with_texts(new, c)))
    assert np.abs(blind).max() < 0.25
    each = np.reshape(told, (3, 3)).mean(axis=1)
    assert each[0] <= each[2]
    assert each[2] > 0.7  # a word nobody else in its task outdid has nothing to be compared with
    batch, _, texts = _world(800)
    small, large = (
        _sweet(new, learned=_fit(b, privileged=t).with_texts(new, c)).unit.reshape(-1, 2) for b, t in
        ((batch.take(np.arange(40)), texts[:40]), (batch, texts))
    )  # fmt: skip
    assert small[:, 0].std() < large[:, 0].std()
    assert large[:, 1].std() < 0.4 * large[:, 0].std()  # the turn of which c says nothing
    a = _sweet(new, learned=_fit(batch, privileged=texts).with_texts(new, c)).unit[::2]
    task = new.within("trajectory", "group")
    for g in np.unique(task[right]):
        assert a[(task == g) & right].min() > a[(task == g) & ~right].max(initial=-1.0)


def test_shuffled_outcomes_teach_no_trust() -> None:
    found = []
    for seed in range(6):
        batch, right, texts = _world(400, seed)
        shuffled = batch.with_columns(outcome=np.random.default_rng(seed).permutation(batch.need("outcome")))
        a, b = (_sweet(x, learned=_fit(x, privileged=texts)).unit.reshape(-1, 2)[:, 0] for x in (shuffled, batch))
        found.append([a[right].mean() - a[~right].mean(), b[right].mean() - b[~right].mean()])
    wrong, true = np.mean(found, axis=0)
    assert abs(wrong) < 0.25 * true


def test_without_privilege_it_learns_what_the_text_shows() -> None:
    """The same tasks again and again: outcomes alone tell the right word of each."""
    rng = np.random.default_rng(0)

    def world(n: int) -> tuple[Batch, Any]:
        seen, word = rng.integers(0, 3, n), rng.integers(0, 3, n)
        right = seen == word
        return Batch.from_turns(
            [[2]] * n, action=[False, True] * n, ids=np.stack([100 + seen, 10 + word], axis=1).ravel(), group=np.arange(n) // 5,
            ref_logp=np.tile([0.0, -np.log(3)], n), outcome=(rng.random(n) < np.where(right, 0.9, 0.2)).astype(float),
        ), right  # fmt: skip

    found = []
    for n in (20, 200, 2000):
        batch, right = world(n)
        found.append(np.corrcoef(_sweet(batch, learned=_fit(batch)).unit, right)[0, 1])
    assert found[0] < found[2]
    assert found[2] > 0.9


def test_no_reward_reaches_the_critic_of_its_own_trajectory() -> None:
    batch, _, texts = _world(80)
    flipped = batch.need("outcome").copy()
    flipped[5] = 1 - flipped[5]
    a, b = (_sweet(x, learned=_fit(x, privileged=texts)) for x in (batch, batch.with_columns(outcome=flipped)))
    mine = batch.within("turn", "trajectory") == 5
    assert_array_equal(a.unit[mine], b.unit[mine])
    assert (a.unit[~mine] != b.unit[~mine]).any()


@pytest.mark.parametrize("mean", ["turn", "trajectory", "none"])
def test_the_loss_it_minimises_has_the_mean_it_was_told(mean: Any) -> None:
    """With enough data beta times the difference of sums is the log-odds: a mean over two tokens doubles the log-ratio."""
    rng = np.random.default_rng(0)
    n = 4000
    seen, word = rng.integers(0, 3, n), rng.integers(0, 3, n)
    right = seen == word
    ids = np.stack([100 + seen, np.full(n, 7), 10 + word, np.full(n, 8), np.full(n, 9), np.full(n, 10)], axis=1)
    batch = Batch.from_turns(
        [[3, 3]] * n, action=[False, True, True] * (2 * n), ids=ids.ravel(), group=np.arange(n) // 5,
        ref_logp=np.tile([0.0, 0.0, -np.log(3), 0.0, 0.0, 0.0], n),
        outcome=(rng.random(n) < np.where(right, 0.9, 0.2)).astype(float),
    )  # fmt: skip
    critic = _fit(batch, mean=mean, pairing="all", ridge=1e-3, steps=100, beta=0.5)
    ratio = critic.model.log_ratio(batch).reshape(-1, 6)[:, 2]
    expected = np.log(0.9 / 0.1) - np.log(0.2 / 0.8)
    share = {"turn": 0.5, "trajectory": 0.25, "none": 1.0}[mean]
    assert_allclose(0.5 * share * (ratio[right].mean() - ratio[~right].mean()), expected, rtol=0.1)


def test_fresh_actions_have_the_text_of_the_turn_they_answer() -> None:
    batch, _, c = _world(8)
    texts = Texts.of(batch, [None, *c[1:]])
    fresh = Batch.from_turns(
        [[3]] * 3, action=[0, 1, 1] * 3, ids=[1, 7, 10, 1, 7, 11, 1, 7, 12], group=["0-1@0", "0-0@1", "9-9@0"],
        trajectory=["x", "y", "z"],
    )  # fmt: skip
    assert texts.rows(fresh).tolist() == [1, 0, -1]
    code, agrees = texts.told(fresh, "turn")
    assert code[0] != 0
    assert code[1] == code[2] == 0  # no text
    assert agrees.tolist()[2::3] == [c[1][2] == 10, False, False]
    assert texts.rows(batch).tolist() == list(range(8))


def test_what_a_text_suggests_is_what_follows_a_word_that_stands_there_once() -> None:
    batch = Batch.from_turns([[2, 3]], action=[0, 1, 0, 1, 1], ids=[5, 1, 6, 2, 3], trajectory=["t"])

    def agrees(*text: int) -> list[bool]:
        return [bool(x) for x in Texts.of(batch, [list(text)]).told(batch, "turn")[1]]

    assert agrees(6, 2, 3) == [False, False, False, True, True]
    assert agrees(6, 4, 3) == [False, False, False, False, True]  # one word on after the six
    assert agrees(6, 2, 6, 3) == [False] * 5  # a word that stands there twice says nothing
    assert agrees(5, 1) == [False, True, False, False, False]
    assert agrees(9, 9, 9) == agrees() == [False] * 5
    two = Batch.from_turns([[1, 2]], action=[1, 0, 1], ids=[6, 8, 2], trajectory=["t"])  # only the turn's own words count
    assert Texts.of(two, [[8, 2]]).told(two, "turn")[1].tolist() == [False, False, True]
    talk = Batch.from_turns([[2, 1]], action=[0, 1, 1], ids=[6, 7, 2], trajectory=["t"])
    assert Texts.of(talk, [[6, 2]]).told(talk, "turn")[1].tolist() == [False, False, True]
    later = Batch.from_turns([[2], [2]], action=[0, 1, 0, 1], ids=[6, 9, 8, 2], trajectory=["a", "b"])
    assert not Texts.of(later, [[6, 2], [6, 2]]).told(later, "turn")[1].any()  # never across trajectories


def test_the_critic_is_frozen_saved_and_goes_on_exactly(tmp_path: Path) -> None:
    worlds = [_world(40, seed) for seed in range(3)]
    for told in (False, True):
        straight: Any = None
        for i, (batch, _, c) in enumerate(worlds):
            straight = ap.learn(batch, "sweet_rl", state=straight, rng=i, privileged=c if told else None, **SMALL)
        half: Any = None
        for i, (batch, _, c) in enumerate(worlds[:2]):
            half = ap.learn(batch, "sweet_rl", state=half, rng=i, privileged=c if told else None, **SMALL)
        before = {name: array.copy() for name, array in half.save().items()}
        save_learned(half, tmp_path / "critic.npz")
        batch, _, c = worlds[2]
        state = load_learned(tmp_path / "critic.npz")
        resumed: LearnedCritic = ap.learn(batch, "sweet_rl", state=state, rng=2, privileged=c if told else None, **SMALL)
        assert resumed.save().keys() == straight.save().keys()
        for name, array in straight.save().items():
            assert_array_equal(array, resumed.save()[name])
        for name, array in half.save().items():
            assert_array_equal(array, before[name])
        assert isinstance(resumed, Learned)
        assert resumed.evidence(batch).provenance == ("privileged" if told else "learned")
        assert resumed.evidence(batch).diagnostics.get("told") == (1.0 if told else None)
        alone = ap.learn(batch, "sweet_rl", rng=2, privileged=c if told else None, **SMALL)
        assert (alone.model.weights != resumed.model.weights).any()


def test_bad_fits_are_refused() -> None:
    batch, _, c = _world(8)
    with pytest.raises(OptionError, match="privileged has 7 entries, expected 8"):
        _fit(batch, privileged=c[1:])
    words: list[dict[str, Any]] = [{"mean": "x"}, {"pairing": "x"}]
    for bad in words:
        with pytest.raises(ValueError, match=next(iter(bad))):
            _fit(batch, **bad)
    with pytest.raises(BatchError, match="one trajectory"):
        _fit(batch.take([0]))
    with pytest.raises(MissingColumn, match="'ref_logp'"):
        _fit(batch.with_columns(ref_logp=None))
    assert _fit(batch.with_columns(ref_logp=None), base="policy").model.reference == "policy"
