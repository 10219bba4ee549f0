"""Worlds without the libraries: walks, their batches, the sampler, and estimates against values worked out exactly."""

from __future__ import annotations

import subprocess
import sys
from typing import Literal

import numpy as np
import pytest
from numpy.testing import assert_allclose

import apportion as ap
from apportion.bench.statistics import wilson
from apportion.bench.worlds.batches import pieces, scores, to_batch
from apportion.bench.worlds.sampler import WalkSampler
from apportion.bench.worlds.truth import Estimate, agreement, estimate
from apportion.bench.worlds.walks import Bool, Float, Int, Options, Walk, World, roll
from apportion.errors import OptionError
from apportion.evidence import Asked, Bill, Sampler
from apportion.words import Axis, Provenance
from tests.tiny_world import Lamp, exact

rng = np.random.default_rng


def _values(world: World, walks: list[Walk]) -> list[list[float]]:
    return [[exact(world, place, world.limit - t) for t, place in enumerate(one.places)] for one in walks]


def _advantages(world: World, walks: list[Walk]) -> Float:
    return np.concatenate([np.diff(v) for v in _values(world, walks)])


def test_continuations_from_a_prefix_have_the_exact_distribution_and_the_exact_bill() -> None:
    world = Lamp()
    walks = roll(world, 6, rng(0))
    batch = to_batch(world, walks)
    sampler = WalkSampler(world, walks)
    assert isinstance(sampler, Sampler)
    got = sampler.continuations(batch, batch.prefix_before, 2000, rng(1))
    expected = np.concatenate([v[:-1] for v in _values(world, walks)])
    error = np.sqrt(np.maximum(expected * (1 - expected), 1e-12) / 2000)
    assert np.all(np.abs(got.values.mean(axis=1) - expected) <= 4 * error + 1e-12)
    # the last of four choices is one step after three that are taken again
    last = next(i for i, one in enumerate(walks) if one.length == 4)
    prefix = batch.prefix_offsets[last] + 3
    bill = sampler.continuations(batch, np.array([prefix]), 10, rng(2)).bill
    assert bill.env_steps == 40
    assert 20 <= bill.generated <= 30  # "wait" and its end mark, or "switch up" and its own
    assert WalkSampler(Lamp(replays=False), walks).continuations(batch, np.array([prefix]), 10, rng(2)).bill.env_steps == 0


def test_a_finished_walk_is_not_continued_and_tokens_are_no_place_to_start() -> None:
    world = Lamp()
    walks = roll(world, 1, rng(0))
    batch, sampler = to_batch(world, walks), WalkSampler(world, walks)
    with pytest.raises(OptionError, match="finished"):
        sampler.continuations(batch, batch.prefix_offsets[1:] - 1, 2, rng(0))
    with pytest.raises(OptionError, match="between turns"):
        sampler.continuations(batch, np.array([0]), 2, rng(0), axis="token")


@pytest.mark.parametrize("layout", ["turns", "steps"])
def test_the_interval_covers_the_exact_advantage_about_as_often_as_it_says(layout: Literal["turns", "steps"]) -> None:
    world = Lamp(layout)
    covered: list[bool] = []
    for seed in range(60):
        walks = roll(world, 4, rng(seed))
        found = estimate(to_batch(world, walks), WalkSampler(world, walks), 32, rng(1000 + seed), level=layout[:-1])  # type: ignore[arg-type]
        true = _advantages(world, walks)
        covered += ((found.low <= true) & (true <= found.high)).tolist()
        assert_allclose(found.halves.mean(axis=0), found.value)
    assert len(covered) > 1000
    assert 0.93 < np.mean(covered) < 0.995


def test_estimates_add_up_to_the_reward_less_the_value_of_the_start() -> None:
    world = Lamp("steps")
    walks = roll(world, 20, rng(3))
    batch = to_batch(world, walks)
    found = estimate(batch, WalkSampler(world, walks), 600, rng(4), level="step")
    total = np.bincount(batch.within("step", "trajectory"), weights=found.value)
    start = np.array([exact(world, one.places[0], 4) for one in walks])
    assert_allclose(total, batch.reward - start, atol=0.08)


def test_the_halves_of_an_estimate_err_independently() -> None:
    world = Lamp()
    walks = roll(world, 100, rng(5))
    found = estimate(to_batch(world, walks), WalkSampler(world, walks), 8, rng(6))
    errors = found.halves - _advantages(world, walks)
    assert errors.std() > 0.1
    assert abs(float((errors[0] * errors[1]).mean() / errors.var())) < 0.1


class _Fixed:
    """A sampler with these answers."""

    provenance: Provenance = "recorded"

    def __init__(self, *won: int) -> None:
        self.won = won

    def continuations(self, batch: ap.Batch, prefixes: Int, k: int, rng: np.random.Generator, *, axis: Axis = "prefix") -> Asked:
        return Asked(np.array([[1.0] * w + [0.0] * (k - w) for w in self.won]), Bill())

    def branch(self, batch: ap.Batch, prefixes: Int, rng: np.random.Generator) -> tuple[ap.Batch, Bill]:
        raise NotImplementedError


def test_the_interval_is_newcombes_and_the_end_of_a_rollout_is_no_estimate() -> None:
    batch = ap.Batch.from_turns([[1, 1]], outcome=[1.0], group=["a"])
    found = estimate(batch, _Fixed(3, 9), 10, rng(0))
    assert_allclose(found.value, [0.6, 0.1])
    assert_allclose([found.low[0], found.high[0]], [0.1705, 0.8090], atol=1e-4)  # Newcombe 1998, table II, 9/10 against 3/10
    _, low, high = wilson(9, 10)
    assert_allclose([found.low[1], found.high[1]], [1 - high, 1 - low])  # all that is uncertain is where it began
    assert_allclose(found.halves, [[0.4, 0.0], [0.8, 0.2]])


@pytest.mark.parametrize("k", [0, 1, 7])
def test_an_estimate_needs_two_equal_halves(k: int) -> None:
    walks = roll(Lamp(), 1, rng(0))
    with pytest.raises(OptionError, match="even number"):
        estimate(to_batch(Lamp(), walks), WalkSampler(Lamp(), walks), k, rng(0))


def _made(n: int, noise: float, seed: int) -> tuple[ap.Batch, Float, Estimate]:
    """A batch of single turns whose true advantages are known, and an estimate of them that errs by ``noise``."""
    draw = rng(seed)
    batch = ap.Batch.from_turns([[1]] * n, outcome=np.zeros(n), group=np.repeat(np.arange(n // 10), 10))
    true = draw.normal(size=n)
    halves = true + noise * draw.normal(size=(2, n))
    mean = halves.mean(axis=0)
    half = 1.96 * noise / np.sqrt(2)
    return batch, true, Estimate(batch, "turn", mean, mean - half, mean + half, halves, 2, Bill())


def test_the_correlation_is_corrected_for_the_noise_of_the_estimate_and_not_for_that_of_the_credit() -> None:
    batch, true, found = _made(4000, 2.0, 0)
    marked = true > 0
    noisy = true + rng(1).normal(size=true.size)
    for given, expected in ((true, 1.0), (-true, -1.0), (noisy, 0.7071), (true + 5, 1.0)):
        got = agreement(ap.Credit.of(batch, "turn", given), found, marked, 1).correlation
        assert got.value == pytest.approx(expected, abs=0.06)
        assert got.low < got.value < got.high
        assert got.low - 0.02 < expected < got.high + 0.02
    assert np.corrcoef(true, found.value)[0, 1] < 0.6  # what it would be without the correction


def test_the_interval_of_the_correlation_covers_the_correlation() -> None:
    held = 0
    for seed in range(60):
        batch, true, found = _made(200, 1.0, seed)
        given = true + rng(seed + 500).normal(size=true.size)
        got = agreement(ap.Credit.of(batch, "turn", given), found, true > 0, 1, resamples=300).correlation
        held += got.low <= 0.70711 <= got.high
    assert 51 <= held <= 60


def test_of_few_rollouts_the_intervals_hold_what_many_say_about_as_often_as_they_claim() -> None:
    """Four groups of two or three rollouts of six units, each rollout with a lift of its own."""

    def drawn(groups: int, size: int, seed: int) -> tuple[ap.Batch, Float, Estimate]:
        draw = rng(seed)
        n = groups * size
        batch = ap.Batch.from_turns([[1] * 6] * n, outcome=np.zeros(n), group=np.repeat(np.arange(groups), size))
        true = draw.normal(size=6 * n)
        given = true + draw.normal(size=6 * n) + np.repeat(draw.normal(size=n), 6)
        return batch, given, Estimate(batch, "turn", true, true - 0.5, true + 0.5, np.stack([true, true]), 2, Bill())

    batch, given, found = drawn(500, 8, 1)
    wanted = agreement(ap.Credit.of(batch, "turn", given), found, found.value > 1, 1, resamples=2)
    held = np.zeros(3)
    for seed in range(150):
        batch, given, found = drawn(4, 2 + seed % 2, 100 + seed)
        got = agreement(ap.Credit.of(batch, "turn", given), found, found.value > 1, 1, resamples=200)
        pairs = zip(got[:3], wanted[:3], strict=True)
        held += [one.low <= many.value <= one.high for one, many in pairs]
    assert (held >= 0.85 * 150).all(), held


def test_the_interval_is_students_with_the_rollouts_less_the_groups_as_freedom() -> None:
    """Four groups of four single turns, of which 1, 2, 3 and 2 have the right sign: within groups that varies by p (1 - p)."""
    n, right = 16, np.array([1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 1, 0])
    batch = ap.Batch.from_turns([[1]] * n, outcome=np.zeros(n), group=np.repeat(np.arange(4), 4))
    true = np.where(np.arange(n) % 3 == 0, 1.0, -1.0)
    found = Estimate(batch, "turn", true, true - 0.5, true + 0.5, np.stack([true, true]), 2, Bill())
    got = agreement(ap.Credit.of(batch, "turn", np.where(right, true, -true)), found, true > 0, 1, resamples=4000).sign
    share = np.array([0.25, 0.5, 0.75, 0.5])
    error = np.sqrt((share * (1 - share)).mean() / n * 4 / 3)  # of four: n - 1 is 3
    assert got.value == 0.5
    assert (got.high - got.low) / 2 == pytest.approx(2.1788 * error, rel=0.05)  # Student's quantile at 12


def test_signs_count_where_they_are_known_and_zeros_count_half() -> None:
    batch, _, found = _made(10, 0.0, 2)
    sure = np.array([True] * 4 + [False] * 6)
    found = Estimate(
        batch, "turn", found.value, np.where(sure, found.low, -9.0), np.where(sure, found.high, 9.0), found.halves, 2, Bill()
    )
    given = np.sign(found.value) * np.array([1, 1, -1, 0, -1, -1, -1, -1, -1, -1])
    got = agreement(ap.Credit.of(batch, "turn", given), found, sure, 1)
    assert got.known == 4
    assert got.sign.value == pytest.approx((1 + 1 + 0 + 0.5) / 4)


def test_precision_looks_for_high_credit_or_for_low_as_the_marks_mean() -> None:
    batch, true, found = _made(40, 0.1, 3)
    marked: Bool = true > 1.0
    credit = ap.Credit.of(batch, "turn", true)
    assert agreement(credit, found, marked, 1).precision == (1.0, 1.0, 1.0)
    assert agreement(credit, found, marked, -1).precision.value < 0.3
    assert agreement(credit, found, marked, 1).chance == pytest.approx(marked.mean())


def test_units_out_of_the_loss_are_not_compared() -> None:
    batch, true, found = _made(20, 0.1, 4)
    keep = np.arange(20) >= 5
    got = agreement(ap.Credit.of(batch, "turn", np.where(keep, true, -99.0), keep=keep), found, true > 0, 1)
    assert got.units == 15
    assert got.coverage == 0.75
    assert got.correlation.value > 0.9


def test_credit_that_does_not_vary_correlates_with_nothing() -> None:
    batch, _, found = _made(20, 0.1, 5)
    assert np.isnan(agreement(ap.Credit.of(batch, "turn", np.ones(20)), found, np.ones(20, np.bool_), 1).correlation.value)


def test_trajectories_are_matched_by_id_whatever_their_order_or_company() -> None:
    world = Lamp()
    walks = roll(world, 5, rng(7))
    batch, sampler = to_batch(world, walks), WalkSampler(world, walks)
    found = estimate(batch, sampler, 16, rng(8))
    marked = np.arange(batch.n_turns) % 2 == 0
    same = agreement(ap.Credit.of(batch, "turn", found.value), found, marked, 1)
    order = batch.take(np.arange(10)[::-1])
    value = np.concatenate([found.value[batch.trajectory_turns[i] : batch.trajectory_turns[i + 1]] for i in range(10)[::-1]])
    assert agreement(ap.Credit.of(order, "turn", value), found, marked, 1) == same
    grown, _ = sampler.branch(batch, np.array([1]), rng(9))
    more = np.append(found.value, np.full(grown.n_turns - batch.n_turns, 77.0))
    assert agreement(ap.Credit.of(grown, "turn", more), found, marked, 1) == same
    part = batch.take([3, 1])
    few = agreement(ap.Credit.of(part, "turn", np.ones(part.n_turns)), found, marked, 1)
    assert few.units == part.n_turns
    assert few.coverage == pytest.approx(part.n_turns / batch.n_turns)
    with pytest.raises(OptionError, match="share no trajectory"):
        agreement(ap.Credit.of(ap.Batch.from_turns([[1]], trajectory=["x"]), "turn", np.zeros(1)), found, marked, 1)
    with pytest.raises(OptionError, match="other turns"):
        agreement(ap.Credit.of(ap.Batch.from_turns([[1] * 9], trajectory=[0]), "turn", np.zeros(9)), found, marked, 1)


def test_a_branch_shares_the_turns_before_it_and_draws_the_rest() -> None:
    world = Lamp()
    walks = roll(world, 300, rng(10), prompts=1)
    batch, sampler = to_batch(world, walks), WalkSampler(world, walks)
    grown, bill = sampler.branch(batch, batch.prefix_offsets[:-1] + 1, rng(11))
    assert grown.n_trajectories == 600
    assert grown.node is not None
    turns, node = grown.trajectory_turns, grown.node
    assert (node[turns[:300]] == node[turns[300:600]]).all()
    assert np.unique(node).size == grown.n_turns - 300
    assert bill.env_steps == grown.n_turns - batch.n_turns
    first_up = np.array([one.choices[0] == 1 for one in walks])
    expected = exact(world, (0, 1), 3)
    assert abs(grown.reward[300:][first_up].mean() - expected) < 4 * np.sqrt(0.25 / first_up.sum())
    with pytest.raises(OptionError, match="grown from turns"):
        WalkSampler(Lamp("steps"), walks).branch(batch, np.array([1]), rng(0))


def test_token_probabilities_of_a_choice_multiply_to_its_chance() -> None:
    options = Options(("take cup", "take cup from table", "go", "take pan"), (0.1, 0.2, 0.3, 0.4))
    for i, chance in enumerate(options.chance):
        logp, entropy = scores(options, i)
        assert len(logp) == len(entropy) == len(pieces(options.texts[i]))
        assert np.exp(sum(logp)) == pytest.approx(chance)
    assert_allclose(np.exp(scores(options, 1)[0]), [0.7, 3 / 7, 2 / 3, 1, 1])
    assert scores(options, 2)[1][0] == pytest.approx(-(0.7 * np.log(0.7) + 0.3 * np.log(0.3)))


def test_what_is_shown_is_no_action_and_what_is_seen_is_the_state() -> None:
    world = Lamp()
    walks = roll(world, 3, rng(12))
    batch = to_batch(world, walks)
    written = sum(len(pieces(world.options(p).texts[c])) for one in walks for p, c in zip(one.places, one.choices, strict=False))
    assert batch.action.sum() == written < batch.n_tokens
    assert batch.state is not None
    assert batch.state.n == len({t for one in walks for t in range(one.length + 1)})
    steps = to_batch(Lamp("steps"), walks)
    assert steps.n_turns == 6
    assert steps.n_steps == batch.n_turns
    assert steps.logp is not None
    assert batch.logp is not None
    assert_allclose(steps.logp[steps.action], batch.logp[batch.action])


def test_nothing_of_the_worlds_is_imported_until_asked_for() -> None:
    code = "import sys, apportion, apportion.bench.suites, apportion.cli.bench; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {name for name in loaded if "worlds" in name and name != "apportion.cli.bench_worlds"}
    assert not {"textworld", "reasoning_gym", "jericho"} & set(loaded)


@pytest.mark.parametrize(("family", "library"), [("textworld", "textworld"), ("gym", "reasoning_gym")])
def test_a_missing_extra_is_one_sentence(family: str, library: str) -> None:
    code = (
        f"import sys\nsys.modules['{library}'] = None\nfrom apportion.cli import main\n"
        f"main(['bench', 'worlds', '--family', '{family}'])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert said.stdout == ""
    assert said.stderr.count("\n") == 1
    assert "pip install 'apportion[worlds]'" in said.stderr
