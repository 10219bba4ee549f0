"""LaRe: the card's worked example, its losses, what factors must be, how they are written, decoders that learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign, learn
from apportion.credit import Credit
from apportion.edges.expressions import ExpressionError
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.evidence import Bill, load_learned, save_learned
from apportion.evidence.decoder import Settings, drawn, fit_latent, normal_equations, sampled
from apportion.evidence.latent import PLAIN, Factors, LearnedLatent, checked
from apportion.evidence.latent_design import design
from apportion.evidence.learned import trajectory_keys
from apportion.evidence.text_features import Vocabulary, described
from apportion.ops.least_squares import solve_folds
from apportion.registry import get, keywords

from .fakes import FakeAuthor

#: the card's three trajectories: factors of every step, returns
Z = np.array([[1, 0], [0, 1], [1, 1], [1, 0], [1, 0], [0, 1], [0, 0], [0, 1], [1, 0]], dtype=np.float64)
R = np.array([2.0, 1.0, 0.5])
W = np.array([0.5, 0.25])
ONE = np.zeros(3, dtype=np.int64)


def _card(**more: Any) -> Batch:
    """Words 1 and 2 stand for the two factors; 9 for neither."""
    words = [[1] * int(a) + [2] * int(b) + [9] * int(a + b == 0) for a, b in Z]
    lengths = [[len(w) for w in words[a:b]] for a, b in ((0, 3), (3, 5), (5, 9))]
    return Batch.from_turns(lengths, **{"ids": [x for w in words for x in w], "outcome": R, "group": [0] * 3, **more})


def _lare(batch: Batch, **given: Any) -> Credit:
    credit = assign(batch, "lare", **given)
    assert isinstance(credit, Credit)
    return credit


def _loss(gram: Any, rhs: Any, goal: Any, w: Any = W) -> float:
    return float((w @ gram.sum(axis=0) @ w - 2 * w @ rhs.sum(axis=0)) / goal.size + np.mean(goal**2))


def _form(how: Settings, batch: Batch | None = None, z: Any = Z) -> tuple[Any, Any]:
    batch = batch or _card()
    return normal_equations(batch, z, np.zeros(batch.count("episode"), dtype=np.int64), 1, np.random.default_rng(0), how)


def test_worked_example_of_the_card() -> None:
    r = Z @ W
    assert_allclose(r, [0.50, 0.25, 0.75, 0.50, 0.50, 0.25, 0.00, 0.25, 0.50])
    batch = _card()
    learned = learn(batch, "lare", rng=0, factors="[wrote_1, wrote_2]")
    assert_array_equal(learned.factors.latent(batch, "turn"), Z)
    credit = _lare(batch, latent=r, form="reward")
    assert_array_equal(credit.unit, r)
    assert credit.kind == "reward"
    at = batch.last_action("turn")
    assert_array_equal(credit.token[at], r)
    assert not np.delete(credit.token, at).any()
    assert_allclose(credit.diagnostics["error"], np.sqrt((0.25 + 0 + 0.25) / 3))
    length = np.array([3, 2, 4])
    assert_allclose(_loss(*_form(Settings("rd")), R / length), 0.0145, atol=5e-5)
    assert_allclose(_loss(*_form(Settings("sum")), R), 0.1667, atol=5e-5)
    some = Z[np.array([[0, 2], [3, 4], [5, 8]])]
    biased = _loss(*sampled(some, R / length, length, ONE, 1, unbiased=False), R / length)
    assert_allclose(biased, 0.0214, atol=5e-5)
    unbiased = _loss(*sampled(some, R / length, length, ONE, 1, unbiased=True), R / length)
    assert_allclose(unbiased, 0.0171, atol=5e-5)
    assert_allclose(biased - unbiased, 0.0043, atol=5e-5)
    for how, want in ((Settings("sum"), [0.6111, 0.1667]), (Settings("rd"), [0.5385, 0.2885])):
        assert_allclose(solve_folds(*_form(how), np.zeros(2))[-1], want, atol=5e-5)


def test_worked_fit_of_the_card_by_the_whole_decoder() -> None:
    """Three episodes, each in a fold of its own; the last row has seen them all."""
    factors = Factors("[wrote_1, wrote_2]", Vocabulary(wrote=("1", "2")))
    for loss, want in (("sum", [0.6111, 0.1667]), ("rd", [0.5385, 0.2885])):
        learned = fit_latent(_card(), factors, np.random.default_rng(0), Settings(loss, bias=False, ridge=0.0))  # type: ignore[arg-type]
        assert_allclose(learned.weights[-1], [*want, 0.0], atol=5e-5)
        assert learned.weights.shape == (4, 3)
        fresh = learned.evidence(_card(trajectory=["x", "y", "z"])).arrays["latent"]
        assert_allclose(fresh, Z @ learned.weights[-1][:2])


def test_worked_team_of_the_card() -> None:
    """Rewards of all agents make up the return of the episode."""
    team = Batch.from_turns([[1, 1], [1, 1]], agent=["a", "b"], episode=[0, 0], outcome=[0.5, 0.5])
    z, w = np.array([[1, 0], [1, 1], [0, 1], [1, 0]], dtype=np.float64), np.array([0.5, -1.0])
    assert_allclose(z @ w, [0.5, -0.5, -1.0, 0.5])
    gram, rhs = _form(Settings("sum"), team, z)
    assert_allclose(_loss(gram, rhs, np.array([0.5]), w), 1.0)
    gram, rhs = _form(Settings("rd"), team, z)
    assert_allclose(_loss(gram, rhs, np.array([0.125]), w), (0.125 + 0.125) ** 2)
    # over time: the agents' sums are -0.5 and 0, their variance 1/16
    more, same = _form(Settings("sum", alpha=2.0), team, z)
    assert_allclose(_loss(more, same, np.array([0.5]), w), 1.0 + 2 / 16)


def test_sampling_is_without_repetition_where_there_is_enough() -> None:
    length = np.array([5, 2, 3, 1])
    rng = np.random.default_rng(0)
    for k in (1, 2, 3):
        for _ in range(20):
            at = drawn(length, k, rng)
            assert at.shape == (4, k)
            assert (at >= 0).all()
            assert (at < length[:, None]).all()
            for i in range(4):
                if length[i] >= k:
                    assert np.unique(at[i]).size == k
    often = np.concatenate([drawn(length, 8, rng)[:1] for _ in range(500)])
    assert_allclose(np.bincount(often.ravel()) / often.size, 0.2, atol=0.02)
    some = Z[np.array([[3], [3], [3]])]
    one, other = (sampled(some, R, ONE + 3, ONE, 1, unbiased=b)[0] for b in (True, False))
    assert_array_equal(one, other)  # K = 1


def test_the_correction_makes_sampling_unbiased_and_repetition_counts_against_it() -> None:
    """Over many draws the corrected form is that of all steps; K beyond T adds variance, as the code keeps it."""
    whole = _form(Settings("rd"))[0][0]
    corrected, plain = (_form(Settings("rrd", k=2, draws=3000, unbiased=b))[0][0] for b in (True, False))
    assert_allclose(corrected, whole, atol=0.02)
    assert np.abs(plain - whole).max() > 0.05
    beyond = [sampled(Z[:4][None], np.ones(1), np.array([2]), ONE[:1], 1, unbiased=b)[0][0] for b in (True, False)]
    assert (np.diag(beyond[0]) > np.diag(beyond[1])).all()


def test_a_form_without_a_bottom_is_not_followed_down() -> None:
    gram, rhs = np.array([[[1.0, 0.0], [0.0, -1.0]]]), np.array([[1.0, 5.0]])
    assert_allclose(solve_folds(gram, rhs, np.zeros(2))[-1], [1.0, 0.0])
    assert_allclose(solve_folds(gram, rhs, np.full(2, 0.5))[-1], [2 / 3, 0.0])
    assert_allclose(solve_folds(gram, rhs, np.full(2, 2.0))[-1], [1 / 3, 5.0])
    both = np.ones((1, 2, 2))
    assert_allclose(solve_folds(both, np.ones((1, 2)), np.zeros(2))[-1], [0.5, 0.5])  # the least of those as good


# --- credit ----------------------------------------------------------------------------------------------------------


def test_forms_of_credit() -> None:
    batch = Batch.from_turns([[1, 1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0], value=[0.5, 0.4, 0.3, 0.2, 0.1])
    r = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    assert_allclose(_lare(batch, latent=r).unit, [7 - 24, 6 - 16, 4 - 0, 24 - 7, 16 - 6])
    assert_allclose(_lare(batch, latent=r, gamma=0.5).unit, [3 - 16, 4 - 16, 4, 16 - 3, 16 - 4])
    assert_allclose(_lare(batch, latent=r, form="immediate").unit, [1 - 8, 2 - 16, 4, 8 - 1, 16 - 2])
    gae = _lare(batch, latent=r, form="gae", gamma=1.0, lam=0.0)
    assert_allclose(gae.unit, [1 + 0.4 - 0.5, 2 + 0.3 - 0.4, 4 - 0.3, 8 + 0.1 - 0.2, 16 - 0.1])
    assert_allclose(gae.targets["value"], gae.unit + np.array([0.5, 0.4, 0.3, 0.2, 0.1]))
    assert_allclose(_lare(batch, latent=r, form="gae", lam=1.0).unit, [7 - 0.5, 6 - 0.4, 4 - 0.3, 24 - 0.2, 16 - 0.1])
    cut = batch.with_columns(truncated=[False, True], bootstrap=[9.0, 0.5])
    assert_allclose(_lare(cut, latent=r, form="gae", lam=1.0).unit[3:], [24.3, 16.4])
    lam = 0.95  # the default
    assert_allclose(_lare(batch, latent=r, form="gae").unit[3], 8 + 0.1 - 0.2 + lam * (16 - 0.1))
    with pytest.raises(MissingColumn, match="value"):
        _lare(batch.with_columns(value=None), latent=r, form="gae")
    with pytest.raises(BatchError, match="single"):
        _lare(batch.with_columns(group=None).with_columns(group=Batch.from_turns([[1], [1]], group=[0, 1]).group), latent=r)


def test_steps_are_credited_where_there_are_steps() -> None:
    batch = Batch.from_turns([[4], [4]], steps=[[1, 3], [2, 2]], outcome=[1.0, 0.0], group=[0, 0], value=np.arange(8) / 10)
    credit = _lare(batch, latent=[1.0, 2.0, 3.0, 5.0])
    assert_allclose(credit.unit, [-5, -3, 5, 3])
    assert_allclose(credit.token, [-5, -3, -3, -3, 5, 5, 3, 3])
    gae = _lare(batch, latent=[1.0, 2.0, 3.0, 5.0], form="gae", lam=0.0)
    assert_allclose(gae.unit, [1 + 0.1 - 0.0, 2 - 0.1, 3 + 0.6 - 0.4, 5 - 0.6])


def test_nulls_count_nothing_and_are_counted() -> None:
    batch = Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0])
    credit = _lare(batch, latent=[1.0, np.nan, 2.0, 0.0], form="reward")
    assert_array_equal(credit.unit, [1, 0, 2, 0])
    assert credit.diagnostics["known"] == 0.75
    with pytest.raises(OptionError, match="every entry of evidence 'latent' is null"):
        _lare(batch, latent=[np.nan] * 4)
    for wrong in ("gamma", "lam"):
        with pytest.raises(OptionError, match="expected numbers from 0 to 1"):
            _lare(batch, latent=np.ones(4), **{wrong: 1.1})


# --- writing ---------------------------------------------------------------------------------------------------------


def _samples(vocabulary: Vocabulary = Vocabulary()) -> dict[str, Any]:  # noqa: B008
    return {name: np.arange(4.0) for name in described("turn", vocabulary, done=True)}


def test_factors_are_checked_on_recorded_units() -> None:
    assert len(checked("[written, seen]", Vocabulary(), _samples()).program.results) == 2
    assert checked("1", Vocabulary(), _samples()).reads == ()
    for text, said in {
        "[1 / written]": "not finite in 1 of 4 rows, the first of them row 0", "[mean(written)]": "here a row has none",
        "[q]": "no name 'q'", "[outcome]": "no name 'outcome'", "[reward]": "no name 'reward'", "[wrote_3]": "no name 'wrote_3'",
        "import os": "an import", "[open('x')]": "'open' is no function", "[written.sum()]": "attribute access .sum",
        "[]": "0 values are returned", "def f(observation, action):\n    return [1]": "parameter 'observation'",
    }.items():  # fmt: skip
        with pytest.raises(ExpressionError, match=said):
            checked(text, Vocabulary(), _samples())
    with pytest.raises(ExpressionError, match="2 values are returned: expected one, the reward"):
        checked("[written, seen]", Vocabulary(), _samples(), direct=True)
    assert checked("[written]", Vocabulary(), _samples(), direct=True).several


def test_candidates_are_summed_up_and_what_is_wrong_is_sent_back() -> None:
    author = FakeAuthor(
        ["[written]", "```\n[seen]\n```", "no idea", "import os", "[written.max()]", "def f(written):\n    return [written]"]
    )
    factors = design(author, _card(), rng=np.random.default_rng(0), task="Mine {ore}.", candidates=3, words=2)
    assert factors.text == "def f(written):\n    return [written]"
    assert (factors.tried, factors.refused, factors.bill) == (6, 2, Bill(judge_calls=6.0))
    assert set(factors.vocabulary.wrote) <= {"1", "2", "9"}
    assert author.asked[0] == author.asked[1] == author.asked[2]
    assert "Mine {ore}." in author.asked[0]
    assert "- wrote_1: how often the policy wrote the token 1 in this turn" in author.asked[0]
    assert "returns a list of numbers" in author.asked[0]
    sums = author.asked[3]
    assert sums.startswith(author.asked[0])
    assert "```python\n[seen]\n```" in sums
    assert "Sum them up in one function" in sums
    assert author.asked[4].startswith(sums)
    assert "line 1, column 1: an import is not part" in author.asked[4]
    assert "attribute access .max" in author.asked[5]
    assert "an import" not in author.asked[5]  # the last error alone
    alone = FakeAuthor(["[written]"])
    assert design(alone, _card(), rng=np.random.default_rng(0), candidates=1).tried == 1
    assert "Sum them up" not in alone.asked[0]
    two = FakeAuthor(["[written]", "[seen]", "[written, seen]"])
    assert design(two, _card(), rng=np.random.default_rng(0), candidates=2, repairs=0, attempts=1).text == "[written, seen]"
    direct = FakeAuthor(["[written, seen]", "[written]"])
    made = design(direct, _card(), rng=np.random.default_rng(0), candidates=1, direct=True)
    assert made.direct
    assert "list of one number, the reward of the turn" in direct.asked[0]
    assert "expected one, the reward" in direct.asked[1]


def test_settings_are_those_of_the_card_unless_they_are_said_to_be_ours() -> None:
    spec = get("lare")
    for function in (spec.fit, spec.collect):
        assert function is not None
        had = {name: p.default for name, p in keywords(function).items()}
        assert (had["candidates"], had["repairs"], had["words"], had["direct"]) == (5, 5, 8, False)
        assert Settings(**{name: had[name] for name in vars(Settings())}) == Settings()
    assert Settings() == Settings("rd", unbiased=True, k=64, draws=8, alpha=0.0, bias=True, ridge=1e-3, folds=5)
    assert Factors() == Factors(PLAIN, Vocabulary((), ()), direct=False, tried=0, refused=0, bill=Bill())
    used = {name: p.default for name, p in keywords(design).items()}
    assert (used["candidates"], used["repairs"], used["words"], used["direct"], used["attempts"]) == (5, 5, 8, False, 3)
    assert {name: p.default for name, p in spec.options.items()} == {
        "form": "to_go",
        "gamma": 1.0,
        "lam": 0.95,
        "single": "error",
    }


def test_everything_is_done_again_before_it_is_given_up() -> None:
    author = FakeAuthor(["import os"])
    with pytest.raises(OptionError, match=r"no usable function in 16 answers; the last one was refused: .*an import"):
        design(author, _card(), rng=np.random.default_rng(0), candidates=5, repairs=2, attempts=2)
    assert len(author.asked) == 16
    for name, value in (("candidates", 0), ("repairs", -1), ("attempts", 0), ("words", -1)):
        wrong: dict[str, Any] = {name: value}
        with pytest.raises(OptionError, match="expected at least"):
            design(author, _card(), rng=np.random.default_rng(0), **wrong)


def test_steps_are_called_steps_and_turns_turns() -> None:
    author = FakeAuthor(["[written]"])
    design(author, Batch.from_turns([[4]], steps=[[1, 3]], ids=[1, 2, 3, 4]), rng=np.random.default_rng(0), candidates=1)
    assert "in this step" in author.asked[0]
    assert "in this turn" not in author.asked[0]


def test_asking_in_one_call_writing_once_and_your_own_text() -> None:
    batch, _ = _texts(np.random.default_rng(0), 40)
    credit = _lare(batch, author=FakeAuthor(["[wrote_100, wrote_101]"]), rng=0, candidates=1)
    assert credit.bill == Bill(judge_calls=1.0, trained=float(batch.action.sum()))
    assert (credit.diagnostics["written"], credit.diagnostics["refused"]) == (1.0, 0.0)
    author = FakeAuthor(["[wrote_100, wrote_101]"])
    first = learn(batch, "lare", rng=0, author=author, candidates=1)
    again = learn(batch, "lare", rng=0, author=author, candidates=1, state=first)
    assert len(author.asked) == 1
    assert (first.bill.judge_calls, again.bill.judge_calls) == (1.0, 0.0)
    assert again.factors == first.factors
    own = learn(batch, "lare", rng=0, factors="[wrote_100, wrote_101, saw_7]")
    assert own.factors.vocabulary == Vocabulary(wrote=("100", "101"), saw=("7",))
    with pytest.raises(ExpressionError, match="no name 'reward'"):
        learn(batch, "lare", rng=0, factors="[reward]")


# --- learning --------------------------------------------------------------------------------------------------------


def _texts(rng: np.random.Generator, n: int, shuffled: bool = False) -> tuple[Batch, Any]:
    """Rollouts of 4 turns of one word; word 100 is worth .25, 101 is worth -.25, the others nothing; noise .1."""
    words = rng.integers(100, 104, (n, 4))
    worth = np.where(words == 100, 0.25, np.where(words == 101, -0.25, 0.0))
    returns = 0.5 + worth.sum(axis=1) + 0.1 * rng.normal(size=n)
    if shuffled:
        returns = rng.permutation(returns)
    batch = Batch.from_turns(
        [[2] * 4] * n, ids=np.stack([np.full_like(words, 7), words], axis=2).ravel(), action=np.tile([False, True], 4 * n),
        outcome=returns, group=np.repeat(np.arange((n + 3) // 4), 4)[:n].tolist(),
    )  # fmt: skip
    return batch, worth.ravel()


FACTORS = "[wrote_100, wrote_101, wrote_102, position]"
LOSSES = ("rd", "sum", "rrd")


def _error(n: int, seed: int, loss: str, **more: Any) -> float:
    batch, worth = _texts(np.random.default_rng(seed), n, more.pop("shuffled", False))
    learned = learn(batch, "lare", rng=0, factors=FACTORS, loss=loss, **more)
    r = learned.evidence(batch).arrays["latent"]
    return float(np.mean((r - r.mean() - worth + worth.mean()) ** 2) / np.var(worth))


@pytest.mark.parametrize("loss", LOSSES)
def test_rewards_come_closer_to_the_true_ones_with_data_and_not_on_shuffled_returns(loss: str) -> None:
    few, many = (np.mean([_error(n, s, loss, k=3) for s in range(4)]) for n in (12, 200))
    assert many < 0.02
    assert many < few / 3
    found = [
        np.corrcoef(learn(b, "lare", rng=0, factors=FACTORS, loss=loss, k=3).evidence(b).arrays["latent"], w)[0, 1]
        for b, w in (_texts(np.random.default_rng(s), 100, shuffled=True) for s in range(6))
    ]
    assert abs(np.mean(found)) < 0.35


def test_sums_are_the_returns_out_of_fold() -> None:
    batch, _ = _texts(np.random.default_rng(1), 200)
    credit = _lare(batch, fit=True, factors=FACTORS, rng=0, form="reward")
    assert credit.diagnostics["error"] < 0.12  # the noise of the returns is .1


@pytest.mark.parametrize("loss", LOSSES)
def test_no_return_of_a_prompt_reaches_its_own_rewards(loss: str) -> None:
    batch, _ = _texts(np.random.default_rng(0), 40)
    before = learn(batch, "lare", rng=0, factors=FACTORS, loss=loss).evidence(batch).arrays["latent"]
    for prompt in range(10):
        changed = batch.outcome.copy()  # type: ignore[union-attr]
        changed[4 * prompt : 4 * prompt + 4] += 5.0
        other = batch.with_columns(outcome=changed)
        after = learn(other, "lare", rng=0, factors=FACTORS, loss=loss).evidence(other).arrays["latent"]
        own = np.arange(160) // 16 == prompt
        assert_array_equal(before[own], after[own])
        assert np.abs(before - after)[~own].max() > 1e-3


def test_agents_of_an_episode_are_paid_together_and_held_out_together() -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(100, 102, (120, 2, 2))
    worth = np.where(words == 100, 1.0, 0.0)
    batch = Batch.from_turns(
        [[1, 1]] * 240, ids=words.ravel(), agent=["a", "b"] * 120, episode=np.repeat(np.arange(120), 2).tolist(),
        outcome=np.repeat(worth.sum(axis=(1, 2)), 2),
    )  # fmt: skip
    for loss in LOSSES:
        learned = learn(batch, "lare", rng=0, factors="[wrote_100]", loss=loss, k=3)
        assert_allclose(learned.evidence(batch).arrays["latent"], worth.ravel(), atol=0.02)
        assert_array_equal(_folds(batch, learned)[::2], _folds(batch, learned)[1::2])
        assert np.unique(learned.fold).size == 5


def _folds(batch: Batch, learned: LearnedLatent) -> Any:
    return learned.fold[np.searchsorted(learned.keys, trajectory_keys(batch))]


def test_useless_factors_say_the_same_of_every_step() -> None:
    batch, _ = _texts(np.random.default_rng(0), 40)
    r = learn(batch, "lare", rng=0, factors="[1, seen * 0]").evidence(batch).arrays["latent"]
    assert np.ptp(r) < 0.05  # the folds' means differ
    assert_allclose(r.mean() * 4, batch.outcome.mean())  # type: ignore[union-attr]
    assert not learn(batch, "lare", rng=0, factors="[0 * seen]", bias=False).evidence(batch).arrays["latent"].any()


def test_a_reward_that_was_written_is_not_decoded() -> None:
    batch, worth = _texts(np.random.default_rng(0), 8)
    written = Factors("[wrote_100 / 4 - wrote_101 / 4]", Vocabulary(wrote=("100", "101")), direct=True)
    learned = learn(batch, "lare", rng=0, factors=written)
    assert_allclose(learned.evidence(batch).arrays["latent"], worth)
    assert learned.bill == Bill()


def test_variance_over_time_is_smoothed_by_alpha() -> None:
    batch, _ = _texts(np.random.default_rng(0), 100)
    spread = [learn(batch, "lare", rng=0, factors=FACTORS, alpha=a).evidence(batch).arrays["latent"].std() for a in (0, 0.3, 30)]
    assert spread[0] > 1.2 * spread[1] > 2 * spread[2]


@pytest.mark.parametrize("direct", [False, True])
def test_it_comes_back_from_disk_bit_for_bit(tmp_path: Any, direct: bool) -> None:
    batch, _ = _texts(np.random.default_rng(0), 20)
    written = Factors("[wrote_100 + saw_7]", Vocabulary(("100",), ("7",)), direct, 3, 1, Bill(judge_calls=3.0))
    learned = learn(batch, "lare", rng=0, factors=written)
    save_learned(learned, tmp_path / "x.npz")
    again = load_learned(tmp_path / "x.npz")
    assert again.factors == written
    assert again.bill == learned.bill
    assert_array_equal(again.evidence(batch).arrays["latent"], learned.evidence(batch).arrays["latent"])


def test_bad_settings_are_refused() -> None:
    batch, _ = _texts(np.random.default_rng(0), 8)
    for name, value in (("k", 0), ("draws", 0), ("folds", 1), ("alpha", -1.0), ("ridge", -1.0)):
        wrong: dict[str, Any] = {name: value}
        with pytest.raises(OptionError, match=f"{name} = {value}: expected at least"):
            learn(batch, "lare", rng=0, **wrong)
    with pytest.raises(ValueError, match="loss = 'mse'"):
        learn(batch, "lare", rng=0, loss="mse")
    with pytest.raises(BatchError, match="one episode cannot be held out"):
        learn(Batch.from_turns([[1]], ids=[1], outcome=[1.0], group=[0]), "lare", rng=0)
