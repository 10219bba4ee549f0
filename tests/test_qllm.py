"""QLLM: the card's worked example, what a candidate must be, the rounds in which it is written, values learned through it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign, learn
from apportion.credit import Credit
from apportion.edges.expressions import ExpressionError
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.evidence import Author, Bill, load_learned, save_learned
from apportion.evidence.mixed_values import LearnedMixed
from apportion.evidence.mixer import Mixer, checked, mixer_of
from apportion.evidence.mixer_design import design
from apportion.evidence.text_features import Vocabulary
from apportion.registry import get, keywords

from .fakes import FakeAuthor

Q = np.array([1.0, -0.5, 2.0])
Z = np.array([0.0, 1.0, 0.5])
SOFT = "w = softmax({scores})\nreturn sum(w * q) + {b}"


def _three(steps: int = 1, **more: Any) -> Batch:
    return Batch.from_turns([[1] * steps] * 3, agent=["a", "b", "c"], episode=["e"] * 3, **more)


def _qllm(batch: Batch, **given: Any) -> Credit:
    credit = assign(batch, "qllm", **given)
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_card() -> None:
    batch = _three()
    # scores 0, 1, 0.5 by the agents' numbers
    mixer = mixer_of(SOFT.format(scores="where(agent == 1, 1, agent / 4)", b=0.1), batch)
    total, joint = mixer.total(batch, Q)
    assert_allclose(total, [1.9424], atol=5e-5)
    assert_array_equal(joint, [0, 0, 0])
    weight = mixer.weights(batch, Q)
    assert_allclose(weight, [0.5590, 1.5194, 0.9216], atol=5e-5)
    assert_allclose(weight.sum(), 3.0)
    credit = _qllm(batch, q=Q, weight=weight)
    assert_allclose(credit.unit, [0.5590, -0.7597, 1.8432], atol=5e-5)
    assert_allclose(credit.diagnostics["share"], 1.0)
    assert credit.diagnostics["falling"] == 0.0
    assert credit.level == "turn"
    plain = mixer_of(SOFT.format(scores="0 * q", b=0), batch)
    assert_allclose(plain.total(batch, Q)[0], [2.5])  # VDN
    assert_allclose(Mixer().total(batch, Q)[0], [2.5])
    assert_allclose(Mixer().weights(batch, Q), 1.0)


def test_a_candidate_is_checked_as_the_card_says() -> None:
    assert checked("mean(q)", Vocabulary()).reads == ("q",)
    for text, said in {
        "q": r"returns shape \(60, 3\): expected one number per joint step, \(60, 1\)",
        "softmax(q) * q": r"returns shape \(60, 3\)",
        "sum(q) / sum(seen)": "on zeros, what is returned is not finite in 60 of 60 rows",
        "sum(q) / (sum(seen) - sum(seen) + 0 * sum(position))": "not finite",
        "log(sum(seen)) + sum(q)": "on zeros",
        "-mean(q)": "on zeros the team's value falls where an agent's q rises",
        "q[:, 0] - q[:, 1]": "falls where an agent's q rises",
        "mean(where(seen > 3, -q, q))": "on random values the team's value falls",
        "mean(seen)": "does not depend on q", "1": "does not depend on q",
        "mean(written)": "no name 'written'", "mean(reward)": "no name 'reward'", "mean(state)": "no name 'state'",
        "import os": "an import is not part", "__import__('os')": "no name begins with an underscore",
    }.items():  # fmt: skip
        with pytest.raises(ExpressionError, match=said):
            checked(text, Vocabulary())
    assert checked("-mean(q)", Vocabulary(), monotone=False).text == "-mean(q)"
    assert checked("max(q)", Vocabulary()).text == "max(q)"
    assert checked("mean(where(agents > 2, q, 0 * q))", Vocabulary()).reads == ("q", "agents")
    assert checked("sum(q * softmax(saw_7))", Vocabulary(saw=("7",))).reads == ("q", "saw_7")


def test_every_derivative_is_the_one_of_the_function() -> None:
    batch = _three(2)
    q = np.array([0.3, 5.0, -2.0, 0.1, 0.9, 7.0])
    weight = mixer_of("tanh(mean(q)) + max(q)", batch).weights(batch, q)
    for step in (0, 1):
        own = q[step::2]
        slope = 1 / np.cosh(own.mean()) ** 2 + 3 * (own == own.max())
        assert_allclose(weight[step::2], slope, rtol=1e-5)


def test_turns_at_the_same_place_act_together_whatever_their_number_and_order() -> None:
    """Agents in any order, one of whom acts longer, in two episodes: alone it keeps its own value."""
    mixer = Mixer(SOFT.format(scores="agent", b=0), agents=("a", "b"))
    batch = Batch.from_turns([[1, 1, 1], [1], [1, 1]], agent=["b", "a", "b"], episode=["e", "e", "f"])
    e = np.exp([0.0, 1.0])
    share = 2 * e / e.sum()
    assert_allclose(mixer.weights(batch, np.arange(6.0)), [share[1], 1, 1, share[0], 1, 1])
    total, joint = mixer.total(batch, np.arange(6.0))
    assert_allclose(np.sort(total), np.sort([share[0] * 3, 1, 2, 4, 5]))
    assert joint[0] == joint[3]
    assert np.unique(joint).size == 5


def test_numbers_of_agents_belong_to_names_and_outlive_the_batch() -> None:
    mixer = mixer_of("q[:, 1]", _three())
    assert mixer.agents == ("a", "b", "c")
    late = Batch.from_turns([[1]] * 3, agent=["zed", "c", "b"], episode=["e"] * 3)
    assert_allclose(mixer.weights(late, Q), [0, 3, 0])  # b is 1, c 2, and who was not known comes last
    first = Mixer("q[:, 0]", agents=("c", "b"))
    assert_allclose(first.weights(late, Q), [0, 3, 0])


def test_features_of_what_was_shown_weigh_and_nothing_of_what_was_done() -> None:
    columns: dict[str, Any] = {"agent": ["a", "b"], "episode": [0, 0], "action": [False, True, False, False, True, True]}
    batch = Batch.from_turns([[2], [4]], ids=[9, 1, 9, 9, 2, 2], **columns)
    mixer = mixer_of(SOFT.format(scores="saw_9 + 0 * seen", b=0), batch)
    assert_allclose(mixer.weights(batch, np.zeros(2)), 2 * np.exp([1, 2]) / np.exp([1, 2]).sum())
    done = Batch.from_turns([[2], [4]], ids=[9, 5, 9, 9, 9, 9], **columns)
    assert_array_equal(mixer.weights(done, np.zeros(2)), mixer.weights(batch, np.zeros(2)))


def test_the_share_of_the_team_s_advantage_is_grpo_where_all_count_alike() -> None:
    batch = Batch.from_turns(
        [[1, 1]] * 6, agent=["a", "b"] * 3, episode=[0, 0, 1, 1, 2, 2], outcome=[1.0, 1.0, 0.0, 0.0, 0.0, 0.0], group=[0] * 6
    )
    credit = _qllm(batch, weight=np.ones(12), of="team")
    assert_allclose(credit.unit, [2 / 3] * 4 + [-1 / 3] * 8)
    assert_allclose(credit.unit, _grpo(batch))
    weight = np.tile([0.5, 0.5, 1.5, 1.5], 3)
    assert_allclose(_qllm(batch, weight=weight, of="team").unit, weight * credit.unit)
    alone = Batch.from_turns([[1]], agent=["a"], outcome=[1.0], group=[0])
    with pytest.raises(BatchError, match="single"):
        _qllm(alone, weight=[1.0], of="team")
    assert _qllm(alone, weight=[1.0], of="team", single="raw").unit == 1.0
    with pytest.raises(MissingColumn, match="outcome"):
        _qllm(alone.with_columns(outcome=None), weight=[1.0], of="team")
    with pytest.raises(MissingColumn, match="group"):
        _qllm(alone.with_columns(group=None), weight=[1.0], of="team")


def _grpo(batch: Batch) -> Any:
    credit = assign(batch, "grpo", std="none") if "std" in _options("grpo") else assign(batch, "grpo", spread="none")
    assert isinstance(credit, Credit)
    return credit.on("turn")


def _options(id_: str) -> Any:
    return get(id_).options


def test_a_baseline_is_the_mean_part_of_the_same_agent_at_the_same_place() -> None:
    batch = Batch.from_turns([[1, 1]] * 4, agent=["a", "b"] * 2, episode=[0, 0, 1, 1], group=[0] * 4)
    q, weight = np.arange(8.0), np.array([1.0, 1, 2, 2, 1, 1, 2, 2])
    credit = _qllm(batch, q=q, weight=weight, baseline="group")
    assert_allclose(credit.unit, [-2, -2, -4, -4, 2, 2, 4, 4])
    assert_allclose(credit.parts["contribution"], weight * q)
    assert_allclose(credit.parts["contribution"] + credit.parts["baseline"], credit.unit)
    plain = _qllm(batch, q=q, weight=weight)
    assert_allclose(plain.unit, weight * q)
    with pytest.raises(MissingColumn, match="group"):
        _qllm(batch.with_columns(group=None), q=q, weight=weight, baseline="group")


def test_nulls_are_not_scored() -> None:
    credit = _qllm(_three(), q=[1.0, np.nan, 1.0], weight=[np.nan, 1.0, 2.0])
    assert credit.scored is not None
    assert_array_equal(credit.scored, [False, False, True])
    assert_array_equal(credit.unit, [0, 0, 2])
    assert credit.diagnostics["share"] == 1.5
    falling = _qllm(_three(), q=Q, weight=[-1.0, 1.0, 1.0])
    assert_allclose(falling.diagnostics["falling"], 1 / 3)
    assert _qllm(_three(), q=Q, weight=[np.nan] * 3).diagnostics["share"] == 0.0


# --- writing ---------------------------------------------------------------------------------------------------------


def test_rounds_of_candidates_a_choice_and_advice() -> None:
    author = FakeAuthor([
        "```python\nreturn mean(q)\n```", "Here:\n```python\nimport os\nreturn mean(q)\n```\nGood luck.",
        "return sum(q * softmax(seen))", "[0, 1]", "Count the first\nagent more.",
        "q", "q * 2", "max(q)", "sum(q) / agents", "The best is [0, 0, 1].",
    ])  # fmt: skip
    assert isinstance(author, Author)
    mixer = design(author, _three(ids=[1, 2, 3]), rng=np.random.default_rng(0), task="Dig {deep}.", rounds=2, candidates=2)
    assert mixer.text == "sum(q) / agents"
    assert (mixer.tried, mixer.refused, mixer.agents) == (7, 3, ("a", "b", "c"))
    assert mixer.bill == Bill(judge_calls=10.0)
    write, _, repair, choice, advice, second, fixed = author.asked[:7]
    assert all("Dig {deep}." in request for request in author.asked)
    assert "- seen: how many tokens" in write
    assert "- agent: which agent it is" in write
    assert "softmax" in write
    for done in ("- written:", "- written_again:", "- new:", "- copied:", "- wrote_"):
        assert done not in write
    assert "line 1, column 1: an import is not part of the language" in repair
    assert repair.startswith(write)
    assert "2.\n```python\nreturn sum(q * softmax(seen))\n```" in choice
    assert "list of 2 numbers" in choice
    assert "return sum(q * softmax(seen))" in advice
    assert "The best so far:\n```python\nreturn sum(q * softmax(seen))\n```" in second
    assert "Advice: Count the first agent more." in second
    assert "expected one number per joint step" in fixed
    assert "list of 3 numbers" in author.asked[9]
    assert "1.\n```python\nreturn sum(q * softmax(seen))" in author.asked[9]  # the best so far stands first


def test_settings_are_those_of_the_card_unless_they_are_said_to_be_ours() -> None:
    spec = get("qllm")
    for function in (spec.fit, spec.collect):
        assert function is not None
        had = {name: p.default for name, p in keywords(function).items()}
        assert (had["rounds"], had["candidates"], had["repairs"], had["words"], had["monotone"]) == (3, 3, 10, 8, True)
        assert (had["gamma"], had["folds"], had["ridge"], had["buckets"], had["action_tokens"]) == (1.0, 5, 3.0, 512, 4)
    assert Mixer() == Mixer("mean(q)", Vocabulary((), ()), (), tried=0, refused=0, bill=Bill())
    used = {name: p.default for name, p in keywords(design).items()}
    assert (used["rounds"], used["candidates"], used["repairs"], used["words"], used["monotone"]) == (3, 3, 10, 8, True)


@pytest.mark.parametrize("choice", ["the second", "", "[1, 1, 0]", "[0, 0, 0]", "[0, 1]", "[0, 2, 0]", "[0, 0, 0, 1]"])
def test_a_choice_that_cannot_be_read_takes_the_first(choice: str) -> None:
    author = FakeAuthor(["mean(q)", "max(q)", "min(q)", choice])
    assert design(author, _three(ids=[1, 2, 3]), rng=np.random.default_rng(0), rounds=1).text == "mean(q)"


def test_answers_that_are_never_usable_end_in_an_error_with_the_last_reason() -> None:
    author = FakeAuthor(["import os", "mean(reward)"])
    with pytest.raises(OptionError, match=r"none of 12 functions could be used; the last one was refused: .*no name 'reward'"):
        design(author, _three(ids=[1, 2, 3]), rng=np.random.default_rng(0), rounds=2, candidates=2, repairs=2)
    assert len(author.asked) == 12

    class Mute(FakeAuthor):
        def write(self, request: str, rng: np.random.Generator) -> tuple[Any, Bill]:
            return None, Bill()

    with pytest.raises(OptionError, match="answered with a NoneType"):
        design(Mute(), _three(ids=[1, 2, 3]), rng=np.random.default_rng(0))
    for name, value in (("rounds", 0), ("candidates", 0), ("repairs", -1), ("words", -1)):
        wrong: dict[str, Any] = {name: value}
        with pytest.raises(OptionError, match="expected at least"):
            design(author, _three(ids=[1, 2, 3]), rng=np.random.default_rng(0), **wrong)


def test_writing_looks_at_no_reward() -> None:
    rng = np.random.default_rng(0)
    seen = []
    for outcome in ([1.0] * 20, rng.random(20).tolist()):
        author = FakeAuthor()
        design(author, _team(rng=np.random.default_rng(3))[0].with_columns(outcome=outcome * 20), rng=np.random.default_rng(0))
        seen.append(author.asked)
    assert seen[0] == seen[1]


def test_asking_an_author_in_one_call_pays_for_writing_and_learning() -> None:
    batch, _ = _team(rng=np.random.default_rng(0))
    author = FakeAuthor(["sum(q * softmax(position))"])
    credit = _qllm(batch, author=author, rng=0, rounds=1, candidates=1, buckets=64)
    tokens = float(batch.action.sum())
    assert credit.bill == Bill(judge_calls=1.0, trained=tokens, scored=tokens)
    assert credit.diagnostics["written"] == 1.0
    assert credit.diagnostics["refused"] == 0.0
    mixer = design(FakeAuthor(["sum(q * softmax(position))"]), batch, rng=np.random.default_rng(0), rounds=1, candidates=1)
    later = _qllm(batch, fit=True, mixer=mixer, rng=0, buckets=64)
    assert later.bill.judge_calls == 0
    assert_allclose(later.diagnostics["share"], 1.0)
    with pytest.raises(OptionError, match="which is no Author"):
        assign(batch, "qllm", author=object())


# --- learning --------------------------------------------------------------------------------------------------------


def _team(rng: np.random.Generator, prompts: int = 100, shuffled: bool = False) -> tuple[Batch, Any]:
    """Two agents, who are shown who they are; agent a's first word of two decides (.9 against .1), nothing else does."""
    episodes = np.arange(2 * prompts)
    words = rng.integers(0, 4, (episodes.size, 2, 2))
    won = (rng.random(episodes.size) < np.where(words[:, 0, 0] < 2, 0.9, 0.1)).astype(np.float64)
    if shuffled:
        won = rng.permutation(won)
    ids = np.stack([np.full_like(words, 50) + np.arange(2)[None, :, None] * 10 + np.arange(2), 100 + words], axis=-1)
    batch = Batch.from_turns(
        [[2, 2]] * (2 * episodes.size), ids=ids.ravel(), action=np.tile([False, True], 4 * episodes.size),
        agent=["a", "b"] * episodes.size, episode=np.repeat(episodes, 2).tolist(), group=np.repeat(episodes // 2, 2).tolist(),
        outcome=np.repeat(won, 2),
    )  # fmt: skip
    return batch, np.where(words[:, 0, 0] < 2, 0.9, 0.1)


def _corr(prompts: int, *, shuffled: bool = False, seed: int = 0, mixer: str = "mean(q)") -> float:
    """Held-out correlation of Q_tot at the first joint step with the chance of success."""
    batch, chance = _team(np.random.default_rng(seed), prompts, shuffled)
    learned = learn(batch, "qllm", rng=0, buckets=64, mixer=mixer)
    total, joint = learned.mixer.total(batch, learned.q.predict(batch))
    return float(np.corrcoef(total[joint[::4]], chance)[0, 1])


def test_values_improve_with_data_and_are_at_chance_on_shuffled_rewards() -> None:
    few, many = (np.mean([_corr(n, seed=s) for s in range(3)]) for n in (10, 150))
    assert many > 0.95
    assert many > few + 0.03
    assert abs(np.mean([_corr(100, shuffled=True, seed=s) for s in range(4)])) < 0.15


def test_the_value_is_where_the_choice_was_and_the_team_s_value_is_the_return() -> None:
    batch, chance = _team(np.random.default_rng(1), 200)
    learned = learn(batch, "qllm", rng=0)
    q = learned.q.predict(batch).reshape(-1, 2, 2)
    spread = q.std(axis=0)
    assert spread[0, 0] > 0.3
    assert max(spread[1, 0], spread[1, 1], spread[0, 1]) < 0.12
    total, joint = learned.mixer.total(batch, learned.q.predict(batch))
    assert abs(total.mean() - batch.outcome.mean()) < 0.03  # type: ignore[union-attr]
    assert_allclose(total[joint[::4]], chance, atol=0.15)


def test_a_mixer_that_hides_an_agent_teaches_nothing_about_it() -> None:
    assert _corr(100, mixer="q[:, 0]") > 0.9
    assert abs(_corr(100, mixer="q[:, 1]")) < 0.2


def test_a_function_that_is_not_linear_in_q_is_learned_too() -> None:
    assert _corr(150, mixer="tanh(mean(q))") > 0.9
    batch, _ = _team(np.random.default_rng(2), 150)
    learned = learn(batch, "qllm", rng=0, buckets=64, mixer="sigmoid(sum(q)) / 2")
    total, _ = learned.mixer.total(batch, learned.q.predict(batch))
    assert abs(total.mean() - batch.outcome.mean()) < 0.05  # type: ignore[union-attr]


def test_prompts_are_held_out_whole() -> None:
    """Rewards of one prompt change no value of that prompt."""
    batch, _ = _team(np.random.default_rng(0), 20)
    changed = batch.outcome.copy()  # type: ignore[union-attr]
    changed[:4] = 1 - changed[:4]
    a, b = (learn(x, "qllm", rng=0, buckets=64).q.predict(x) for x in (batch, batch.with_columns(outcome=changed)))
    assert_array_equal(a[:8], b[:8])
    assert np.abs(a[8:] - b[8:]).max() > 1e-4


def test_rewards_of_turns_count_from_where_they_are_still_to_come() -> None:
    batch, _ = _team(np.random.default_rng(0), 30)
    paid = batch.with_columns(outcome=None, turn_reward=np.tile([1.0, 0.0], batch.n_trajectories))
    learned = learn(paid, "qllm", rng=0, buckets=64, ridge=0.01)
    total, joint = learned.mixer.total(paid, learned.q.predict(paid))
    assert_allclose(total[joint].reshape(-1, 2).mean(axis=0), [1, 0], atol=0.05)
    late = batch.with_columns(outcome=None, turn_reward=np.tile([0.0, 1.0], batch.n_trajectories))
    halved = learn(late, "qllm", rng=0, buckets=64, ridge=0.01, gamma=0.5)
    total, joint = halved.mixer.total(late, halved.q.predict(late))
    assert_allclose(total[joint].reshape(-1, 2).mean(axis=0), [0.5, 1], atol=0.05)


def test_it_comes_back_from_disk_bit_for_bit(tmp_path: Any) -> None:
    batch, _ = _team(np.random.default_rng(0), 10)
    mixer = design(FakeAuthor(["sum(q * softmax(saw_50 + agent))"]), batch, rng=np.random.default_rng(0), rounds=1)
    learned = learn(batch, "qllm", rng=0, buckets=64, mixer=mixer)
    save_learned(learned, tmp_path / "x.npz")
    again = load_learned(tmp_path / "x.npz")
    assert isinstance(again, LearnedMixed)
    assert again.mixer == learned.mixer == mixer
    for name, array in learned.evidence(batch).arrays.items():
        assert_array_equal(again.evidence(batch).arrays[name], array)


def test_the_least_that_can_be_learned_from() -> None:
    batch, _ = _team(np.random.default_rng(0), 2)
    least = learn(batch, "qllm", rng=0, buckets=1, folds=2, gamma=0.0)
    assert np.isfinite(least.q.predict(batch)).all()
    assert least.q.weights.shape == (3, 3)
    assert learn(batch, "qllm", rng=0, folds=9).q.weights.shape[0] == 3  # no more folds than prompts


def test_long_advice_is_cut() -> None:
    author = FakeAuthor(["mean(q)", "max(q)", "[1, 0]", "word " * 1000, "mean(q)"])
    design(author, _three(ids=[1, 2, 3]), rng=np.random.default_rng(0), rounds=2, candidates=2)
    told = author.asked[4].split("Advice: ")[1]
    assert len(told) == 501


def test_bad_settings_are_refused() -> None:
    batch, _ = _team(np.random.default_rng(0), 4)
    for name, value in (("folds", 1), ("ridge", 0), ("buckets", 0)):
        wrong: dict[str, Any] = {name: value}
        with pytest.raises(OptionError, match="expected at least 2, above 0, at least 1"):
            learn(batch, "qllm", rng=0, **wrong)
    with pytest.raises(OptionError, match="gamma = 2"):
        learn(batch, "qllm", rng=0, gamma=2)
    with pytest.raises(ExpressionError, match="does not depend on q"):
        learn(batch, "qllm", rng=0, mixer="1 + 1")
    with pytest.raises(BatchError, match="one episode cannot be held out"):
        learn(_three(ids=[1, 2, 3], outcome=[1.0] * 3), "qllm", rng=0)
    with pytest.raises(BatchError, match=r"agent\[0\] is null"):
        _qllm(
            _three().with_columns(agent=None).with_columns(agent=Batch.from_turns([[1]] * 3, agent=[None, "b", "c"]).agent),
            q=Q,
            weight=Q,
        )
    with pytest.raises(OptionError, match="token ids: name words by their ids, not 'stop'"):
        learn(batch, "qllm", rng=0, mixer="sum(q * softmax(saw_stop))")
