"""The hard signatures of the plan fit the core's types, and their papers' worked examples come out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import apportion as ap
from apportion import Batch, Credit, Preferences
from apportion.errors import CreditError, MissingColumn, OptionError
from apportion.evidence import Bill, Evidence, Learned, Sampler
from apportion.registry import _METHODS, Method
from apportion.structure import Int

from . import hard_signatures as hard
from .fakes import FakeJudge, FakeSampler


def credit(result: Credit | Preferences) -> Credit:
    assert isinstance(result, Credit)
    return result


def close(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(got, expected, rtol=0, atol=5e-5)


@contextmanager
def listed(spec: Method) -> Iterator[str]:
    real = ap.methods().get(spec.id)  # the table is filled first, so that it can be put back as it was
    _METHODS[spec.id] = spec
    try:
        yield spec.id
    finally:
        del _METHODS[spec.id]
        _METHODS.update({} if real is None else {spec.id: real})


class FakeActor(FakeSampler):
    """Answers each state with k one-turn trajectories of two tokens, grouped by state."""

    def actions(self, batch: Batch, prefixes: Int, k: int, rng: np.random.Generator) -> tuple[Batch, Bill]:
        n = k * prefixes.size
        new = Batch.from_turns([[2]] * n, group=np.repeat(prefixes, k), logp=np.full(2 * n, -1.0))
        return new, Bill(generated=2.0 * n)


class FakeAuthor(FakeJudge):
    def __init__(self, *answers: str) -> None:
        super().__init__()
        self.answers = list(answers)

    def write(self, request: str, rng: np.random.Generator) -> tuple[str, Bill]:
        return self.answers.pop(0), Bill(judge_calls=1.0)


def test_archer_has_two_heads_a_token_baseline_and_fresh_actions_at_replayed_states() -> None:
    q = np.array([[0.55, 0.60], [0.75, 0.70], [0.95, 1.00]])
    v = np.array([[0.50, 0.52], [0.72, 0.65], [0.80, 0.90]])
    baseline = np.array([0.02, 0.04, 0.0, 0.0, 0.0, 0.0])
    got = credit(hard.archer(Batch.from_turns([[2, 1, 3]]), q=q, v=v, token_baseline=baseline))
    close(got.unit, [0.05, 0.05, 0.15])
    close(got.token, [0.03, 0.01, 0.05, 0.15, 0.15, 0.15])
    close(got.targets["token_baseline"][:2], [0.05, 0.05])

    replay = Batch.from_turns([[2, 3], [4]], outcome=[1.0, 0.0])
    old = hard.fit_critic(replay, rng=np.random.default_rng(0))
    with listed(hard.archer) as id_:
        fresh = credit(ap.assign(replay, id_, sampler=FakeActor(), k=2, fit=True, state=old))
    assert fresh.batch.n_trajectories == 3 * 2
    assert fresh.bill == Bill(generated=12.0, scored=12.0, trained=9.0)  # trained on the replay, scored on what is fresh
    assert isinstance(FakeActor(), Sampler)
    assert isinstance(old, Learned)
    assert hard.fit_critic(replay, state=old, rng=np.random.default_rng(0)).age == 2


def test_sweet_rl_prefers_candidates_of_the_same_state() -> None:
    states = Batch.from_turns([[1]] * 4, group=["s"] * 4)
    got = hard.sweet_rl(states, critic_logp=np.array([0.10, -0.05, 0.30, -0.20]) - 1, ref_logp=np.full(4, -1.0))
    assert isinstance(got, Preferences)
    assert set(got.chosen.tolist()) == {0, 2}
    assert set(got.rejected.tolist()) == {1, 3}
    assert got.margin is not None
    assert (got.margin > 0).all()


def test_istar_adds_episode_and_step_and_its_reward_model_goes_on_learning() -> None:
    batch = Batch.from_turns([[1, 1], [1, 1, 1], [1]], outcome=[1.0, 0.0, 0.0], group=[0, 0, 0])
    q, old = np.array([2.0, 6.0, -1.0, -4.0, 1.0, 3.0]), np.full(6, -9.0)
    got = credit(hard.istar(batch, prm_logp=old + q, old_logp=old))
    close(got.unit, [1.1667, 1.9667, -0.9333, -1.5333, -0.5333, -0.1333])
    close(got.parts["episode"] + got.parts["step"], got.unit)
    first = hard.fit_prm(batch, rng=np.random.default_rng(0))
    assert hard.fit_prm(batch, state=first, rng=np.random.default_rng(0)).age == 2


def test_vspo_credits_rows_it_resampled_with_every_column_of_theirs() -> None:
    scores = [1.0] * 5 + [0.2, 1.0] * 2 + [0.2] * 5 + [1.0] + [0.6, 0.8, 1.0, 0.8, 0.6]
    batch = Batch.from_turns(
        [[1]] * 20, outcome=scores, group=np.repeat(np.arange(4), 5), ids=np.arange(20), trajectory=np.arange(20)
    )
    got = credit(hard.vspo(batch, rng=np.random.default_rng(1)))
    assert got.rows is not None
    assert got.batch.same(batch.take(got.rows))  # ids too, which the method could not see
    assert got.batch.n_trajectories == 20
    assert not np.isin(got.rows, np.arange(5)).any()
    twice = int(np.flatnonzero(np.bincount(got.rows, minlength=20) == 2)[0]) // 5
    expected = {1: [-0.7303, 1.0954, -0.7303, 1.0954, -0.7303], 2: [-0.4472] * 4 + [1.7888],
                3: [-0.9562, 0.2390, 1.4343, 0.2390, -0.9562]}  # fmt: skip
    for prompt, advantages in expected.items():
        close(got.unit[np.isin(got.rows, 5 * prompt + np.arange(5))][:5], np.array(advantages) / (1 + (prompt == twice)))
    assert "rng" not in got.options

    with listed(hard.vspo) as id_:
        again = credit(ap.assign(batch, id_, rng=1, kappa=0.5))
    assert np.array_equal(again.rows if again.rows is not None else [], got.rows)
    with pytest.raises(OptionError, match="vspo needs the option 'rng'"):
        hard.vspo(batch)


def test_m_grpo_aligns_the_calls_of_each_rollout_and_keeps_agents_apart() -> None:
    agent = ["main", "sub", "sub", "main", "sub", "main", "sub", "sub", "sub"]
    batch = Batch.from_turns(
        [[2]] * 9, agent=agent, episode=list("aaabbcccc"), group=["q"] * 9, logp=np.full(18, -1.0),
        outcome=[1.0, 0.5, 0.5, 0.1, 0.1, 0.0, 0.5, 0.5, 0.5],
    )  # fmt: skip
    expert = np.array([np.nan, 0.8, 0.2, np.nan, 0.6, np.nan, 0.9, 0.5, 0.1])
    got = credit(hard.m_grpo(batch, expert=expert, d=2, rng=np.random.default_rng(0)))
    codes = got.batch.need("agent").codes
    assert np.bincount(codes).tolist() == [3, 3 * 2]
    close(got.unit[codes == 0], [1.4084, -0.5930, -0.8154])
    assert got.unit[codes == 1].mean() == pytest.approx(0, abs=1e-12)
    assert got.loss.ratio == "sequence"
    assert got.batch.logp is not None


def test_int_clones_the_prefix_and_the_intervention_and_nothing_else() -> None:
    edited = Batch.from_turns([[14], [3]], steps=[[3, 2, 4, 5], [1, 2]])
    got = credit(hard.int_(edited, error_step=np.array([2, -1])))
    assert hard.int_.id == "int"
    assert got.kind == "weight"
    assert got.token.sum() == 9
    assert got.kept.sum() == 9
    assert got.scored is not None
    assert got.scored.tolist() == [True, True, True, False, False, False]


def test_sorl_hands_the_trainer_what_needs_the_new_log_probs() -> None:
    got = credit(hard.sorl(Batch.from_turns([[2, 3]]), base=np.array([0.5, 0.5, -0.2, -0.2, -0.2]), values=np.zeros(5)))
    close(got.unit, [0.5, -0.2])
    assert (got.loss.ratio, got.loss.denominator, got.loss.rescale) == ("turn", "sequence", "clipped_norm")


def test_stepagent_turns_a_discriminator_into_rewards_of_steps() -> None:
    batch = Batch.from_turns([[6]], steps=[[1, 2, 3]])
    got = credit(hard.stepagent(batch, reward=-np.log([0.8, 0.5, 0.2]), values=np.array([2.0, 1.5, 1.0])))
    close(got.unit, [0.4567, 0.7721, 0.6094])
    close(got.targets["value"] - got.unit, [2.0, 1.5, 1.0])


def test_at2po_values_the_turns_of_a_tree_once_for_all_paths() -> None:
    # root -> A -> a1, a2; root -> B
    tree = Batch.from_turns(
        [[1, 1], [1, 1], [1]], outcome=[1.0, 0.0, 0.0], group=[0, 0, 0],
        node=[0, 1, 0, 2, 3], parent=[-1, 0, -1, 0, -1], entropy=[0.5, 0.2, 0.5, 0.8, 1.5],
    )  # fmt: skip
    got = credit(hard.at2po(tree))  # entropy is a column, and serves as the evidence
    close(got.unit, [0.0446, 1.4142, 0.0446, -0.7071, -0.7071])
    assert got.loss.clip is not None
    assert got.loss.clip.shape == (tree.n_turns, 2)


def test_hiper_credits_parts_of_turns_and_has_options_that_span_them() -> None:
    spans = hard.options_and_parts([5, 5, 5, 5], [0, 2], [1, 2, 1])  # the fifth token of a turn is nobody's
    batch = Batch.from_turns([[5, 5, 5, 5]], outcome=[1.0], spans=spans)
    high = np.array([0.35, np.nan, 0.6, np.nan])
    evidence = {"v_low": np.array([0.3, 0.4, 0.5, 0.8]), "v_term": np.array([0.3, 0.4, 0.5, 0.7]), "v_high": high}
    got = credit(hard.hiper(batch, **evidence))
    switch, subgoal, action = (np.arange(4) * 3 + k for k in range(3))
    close(got.unit[action], [0.3, 0.2, 0.5, 0.2])
    close(got.unit[subgoal], [0.63, 0, 0.4, 0])
    close(got.unit[switch], [0.3, 0.2, 0.5, 0.3])
    close(got.targets["v_high"], [0.98, 1.0])
    close(got.targets["v_low"], [0.6, 0.6, 1, 1])
    assert got.scored is not None
    assert got.scored[subgoal].tolist() == [True, False, True, False]
    assert got.kept.reshape(4, 5).tolist() == [[True] * 4 + [False], [True, False, False, True, False]] * 2
    close(got.parts["low"] + got.parts["high"] + got.parts["term"], got.unit)

    with pytest.raises(MissingColumn, match="'spans' is missing for hiper"):
        hard.hiper(batch.with_columns(spans={}), **evidence)


def test_a2tgpo_is_keyed_by_prefix_and_sets_the_clip_of_every_turn() -> None:
    batch = Batch.from_turns([[1, 1, 1], [1, 1, 1], [1, 1]], outcome=[1.0, 0.0, 0.0], group=[0, 0, 0])
    gains = [[0.3, 0.1], [0.1, -0.2], [0.2]]
    gold = np.concatenate([[*(-1 + np.concatenate(([0.0], np.cumsum(g)))), np.nan] for g in gains])
    got = credit(hard.a2tgpo(batch, gold=gold))
    close(got.unit, [1.8861, 1.7142, 1.4142, -1.1790, -1.0071, -0.7071, -0.7071, -0.7071])
    assert got.loss.clip is not None
    scale = np.array([1.1637, 1.1386, 1, 0.8363, 0.8614, 1, 1, 1])
    np.testing.assert_allclose(got.loss.clip, np.stack([1 - scale * 3e-3, 1 + scale * 4e-3], axis=1), atol=5e-7)


def test_qllm_designs_a_mixer_once_and_splits_a_joint_step_by_it() -> None:
    mixer = hard.design(FakeAuthor("import os", "1.0"), rng=np.random.default_rng(0))
    assert mixer == hard.Mixer(1.0, Bill(judge_calls=2.0))
    team = Batch.from_turns([[1, 1]] * 3, agent=["a", "b", "c"], episode=["e"] * 3)
    q, scores = np.array([1.0, 1.0, -0.5, -0.5, 2.0, 2.0]), np.array([0.0, 0.0, 1.0, 0.0, 0.5, 0.0])
    got = credit(hard.qllm(team, q=q, scores=scores, mixer=mixer))
    close(got.unit[[0, 2, 4]], [0.5590, -0.7597, 1.8432])
    close(got.unit[[1, 3, 5]], [1.0, -0.5, 2.0])  # equal scores: every agent its own Q
    with pytest.raises(OptionError, match="needs the option 'mixer'"):
        hard.qllm(team, q=q, scores=scores)


def test_a_clip_range_that_does_not_fit_its_units_is_refused() -> None:
    batch = Batch.from_turns([[1, 1]])
    with pytest.raises(CreditError, match=r"loss.clip has shape \(1, 2\), expected \(2, 2\)"):
        Credit.of(batch, "turn", np.zeros(2), loss=ap.Loss(clip=np.zeros((1, 2))))


def test_evidence_of_several_heads_is_checked_like_any_other() -> None:
    batch = Batch.from_turns([[1, 1, 1]])
    heads: NDArray[Any] = np.zeros((3, 2))
    heads[1, 1] = np.inf
    with pytest.raises(OptionError, match=r"'q'\[1\] is infinite"):
        hard.archer(batch, q=heads, v=np.zeros((3, 2)), token_baseline=np.zeros(3))
    Evidence({"q": np.zeros((3, 2))}, {"q": "turn"}).check(batch)


def test_stubs_stay_out_of_the_table() -> None:
    assert not [id_ for id_ in ap.methods() if id_.startswith("stub")]
    assert hard.archer.function is not getattr(ap.methods().get("archer"), "function", None)
