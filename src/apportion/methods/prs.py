"""PRS and VSPO (Su et al. 2025, arXiv 2512.07478): rewards in stages, and prompts worth learning from in place of flat ones."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..batch import Batch, how_to_give
from ..credit import Credit
from ..errors import MissingColumn, OptionError
from ..evidence import Asked, Judge, Rubric
from ..evidence.judging import ask
from ..ops.groups import group_mean, group_spread, standardise
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import Single, Spread, check_word

Shaping = Literal["staged", "none"]
Sampling = Literal["none", "value"]

#: What a judge of long answers is asked: our wording of what the paper's judge does.
LONG_ANSWER = Rubric(
    name="long answer",
    template=(
        "Question:\n{question}\n\nReference answer:\n{reference}\n\nAn assistant's work, its final answer last:\n{units}\n\n"
        "Does the final answer say what the reference says? Leave style and length aside, and give no credit for words that "
        "repeat the question or praise the answer. Reply 1 if it matches the reference, 0 if it does not."
    ),
    levels=(0.0, 1.0),
    privileged=True,
)


@method(
    unit="trajectory",
    reads={"group"},
    may_read={"outcome", "turn_reward", "token_reward"},
    unless={
        "calls_parse": ("shaping", "none"), "format_ok": ("shaping", "none"), "answer_quality": ("shaping", "none"),
    },
    evidence={"calls_parse": "trajectory", "format_ok": "trajectory", "answer_quality": "trajectory"},
    cost="0 with rules (short answers); 1 judge call a trajectory for long ones; VSPO: no rollouts, drawn ones are used again",
    status="reconstructed",
    unbiased="no: spreads and draws by value reweight prompts, and shaped rewards are not the task's",
    smallest=(
        "(Batch.from_turns([[1], [1]], outcome=[1.0, 0.0], group=[0, 0]), "
        "{'calls_parse': [1.0, 1.0], 'format_ok': [1.0, 0.0], 'answer_quality': [1.0, 0.0]})"
    ),
    scope="group",
    widens={"sampling": "value"},
)  # fmt: skip
def prs(
    batch: Batch,
    *,
    calls_parse: Float | None = None,
    format_ok: Float | None = None,
    answer_quality: Float | None = None,
    shaping: Shaping = "staged",
    points: tuple[float, float] = (0.1, 0.2),
    sampling: Sampling = "none",
    kappa: float = 1.0,
    m_max: int | None = None,
    best: float = 1.0,
    spread: Spread = "sample",
    eps: float = 1e-6,
    single: Single = "error",
    rng: np.random.Generator | int | None = None,
) -> Credit:
    """PRS: points for calls that parse, then for the format, then for the answer. VSPO: flat prompts make room for valuable ones.

        R = 0 unless all calls parse;  r_1 unless the format is right;  r_2 + (1 - r_2) q otherwise
        A_i = (R_i - mean R) / (std R + eps)
        V(x) = (R_max - mean R) std R     std with ddof 0;   a prompt with std <= 1e-8 is left out      sampling "value"
        its place goes to prompt x with chance V(x) / sum V;   A_i <- A_i / m_x^kappa,  m_x: how often x stands in the batch

    calls_parse, format_ok, answer_quality: u_1, u_2 and q of every trajectory, in [0, 1], shape (N,); the first two
    count as passed at 1 and earn their share of r_1 and of r_2 - r_1 below it. With shaping="staged" they are the
    reward and the batch's own is not read. Null (NaN): an answer that could not be judged, null only where it matters
    (its stages before were passed): the trajectory is not scored, gets 0, and enters no statistic (diagnostic
    ``unjudged``, a share); the only one left of its prompt gets 0 (with single="raw": its reward).
    :func:`length_aware_bleu` is q for short answers, :func:`judged` for long ones; :func:`staged` is the rule for any
    number of stages.
    shaping: "none" leaves the batch's rewards as they are (VSPO by itself). points: r_1, r_2.
    sampling: "value" is VSPO: the credit is of the batch's ``rows`` it names, prompts that stay in order, then those
    drawn (copies share their group; a smaller prompt in place of a larger one makes the batch smaller). If all
    prompts are flat nothing is drawn and everything leaves the loss. Prompts of one trajectory are flat. rng: seed or
    generator of the draws; needed where a prompt is flat.
    kappa: damping of repeated prompts, 1. m_max: how often a prompt may stand in the batch at most (None: no cap);
    places nobody may fill stay empty. best: R_max, the most a trajectory can earn.
    spread, eps, single: as for ``grpo`` (ddof 1, 1e-6); single only without sampling.
    diagnostics: ``dropped`` and ``drawn`` prompts, ``copies`` (the largest m).

    With kappa = 1 all copies of a prompt weigh as one: over a whole batch the policy gradient is GRPO's to the last
    digit, and only minibatches, clipping and denominators that count tokens tell them apart. kappa < 1 keeps an
    emphasis. Without sampling it is ``grpo`` on the shaped rewards.

    Source: Su et al. (2512.07478), the abstract and a summary with tables; no code. V is from there; the points, the
    way prompts are drawn and the damping are reconstructed (the source has them "smoothly decayed"). Ours: partial
    points, kappa, m_max.
    """
    for word, words, name in (
        (shaping, Shaping, "shaping"), (sampling, Sampling, "sampling"), (spread, Spread, "spread"), (single, Single, "single")
    ):  # fmt: skip
        check_word(word, words, name)
    if not 0 <= points[0] <= points[1] <= 1:
        raise OptionError(f"points = {points}: expected 0 <= r_1 <= r_2 <= 1")
    if shaping == "none" and not {"outcome", "turn_reward", "token_reward"} & set(batch.present):
        raise MissingColumn(how_to_give("reward", "for prs with shaping='none'"))
    over = batch.within("trajectory", "group")
    reward = batch.reward
    if shaping == "staged":
        assert calls_parse is not None
        assert format_ok is not None
        assert answer_quality is not None
        shares = (points[0], points[1] - points[0], 1 - points[1])
        reward = staged(
            {"calls_parse": calls_parse, "format_ok": format_ok, "answer_quality": answer_quality}, shares, (1.0, 1.0)
        )
    judged_ = ~np.isnan(reward)
    known = np.where(judged_, reward, 0.0)
    if sampling == "value":
        single = "zero"  # a prompt with one rollout is flat
    elif single == "error":
        standardise(batch.reward, over, single=single, what="prompt")  # refuses prompts that had one rollout to begin with
        single = "zero"
    a = standardise(known, over, spread=spread, eps=eps, counted=judged_, single=single)
    a = np.where(judged_, a, 0.0)
    found = {"unjudged": float(1 - judged_.mean())}
    if sampling == "none":
        return Credit.of(batch, "trajectory", a, scored=judged_, diagnostics=found)
    return _vspo(batch, a, known, judged_, over, kappa, m_max, best, rng, found)


def _vspo(
    batch: Batch, a: Float, reward: Float, judged_: Bool, over: Int, kappa: float, m_max: int | None, best: float,
    rng: np.random.Generator | int | None, found: dict[str, float],
) -> Credit:  # fmt: skip
    """The batch with flat prompts replaced, and its damped advantages."""
    if kappa < 0 or (m_max is not None and m_max < 1):
        raise OptionError(f"kappa = {kappa}, m_max = {m_max}: expected at least 0, and at least 1 (or None)")
    n = batch.count("group")
    high = judged_ & (reward > best + 1e-9)
    if high.any():
        i = int(np.argmax(high))
        raise OptionError(
            f"the reward of trajectory {i} is {reward[i]}, above best = {best}: pass the most a trajectory can earn"
        )
    mean, sd = group_mean(reward, over, judged_)[0], group_spread(reward, over, ddof=0, counted=judged_)
    flat = sd <= _FLAT
    value = np.where(flat, 0.0, (best - mean) * sd)
    if flat.all():
        nothing = np.zeros(batch.n_tokens, dtype=np.bool_)
        zero = np.zeros(batch.n_trajectories)
        return Credit.of(
            batch, "trajectory", zero, keep=nothing, diagnostics={**found, "dropped": float(n), "drawn": 0.0, "copies": 1.0}
        )
    if flat.any() and rng is None:
        raise OptionError("sampling='value' draws prompts at random: pass rng= (a seed or a generator)")
    drawn = _drawn(value, int(flat.sum()), m_max, np.random.default_rng(rng))
    prompts = np.concatenate([np.flatnonzero(~flat), drawn])
    times = np.bincount(prompts, minlength=n)
    by_group = np.argsort(over, kind="stable")
    start = np.searchsorted(over[by_group], np.arange(n + 1))
    members = np.concatenate([by_group[start[g] : start[g + 1]] for g in prompts])
    rows = np.concatenate([np.arange(batch.trajectory_rows[i], batch.trajectory_rows[i + 1]) for i in members])
    damped = a / np.maximum(times, 1.0)[over] ** kappa
    found |= {"dropped": float(flat.sum()), "drawn": float(drawn.size), "copies": float(times.max())}
    return Credit.of(
        batch.take(rows), "trajectory", damped[members], scored=judged_[members], rows=rows, diagnostics=found
    )  # fmt: skip


#: A spread of at most this is none: equal rewards may differ by rounding.
_FLAT = 1e-8


def _drawn(value: Float, places: int, m_max: int | None, rng: np.random.Generator) -> Int:
    """Prompts drawn with chance V / sum V, none of which stands in the batch more than ``m_max`` times."""
    if m_max is None:
        return rng.choice(value.size, size=places, p=value / value.sum())
    times = (value > 0).astype(np.int64)
    drawn: list[int] = []
    for _ in range(places):
        open_ = np.where(times < m_max, value, 0.0)
        if open_.sum() <= 0:
            break
        drawn.append(int(rng.choice(value.size, p=open_ / open_.sum())))
        times[drawn[-1]] += 1
    return np.array(drawn, dtype=np.int64)


def staged(scores: dict[str, Float], weights: Sequence[float], thresholds: Sequence[float]) -> Float:
    """R = sum_j w_j u_j prod_{l < j} 1[u_l >= h_l]: a stage pays only once all before it were passed.

    scores: name -> u_j in [0, 1], in the order of the stages, shape (N,) each. weights: w_j. thresholds: h_j of all
    stages but the last. NaN where a score that was reached is null; a null behind a stage that failed is of no
    interest.
    """
    if len(weights) != len(scores) or len(thresholds) != len(scores) - 1:
        raise OptionError(
            f"{len(scores)} stages with {len(weights)} weights and {len(thresholds)} thresholds: expected a weight "
            f"each and a threshold each but for the last"
        )
    total, open_ = np.zeros(next(iter(scores.values())).size), np.ones(next(iter(scores.values())).size, dtype=np.bool_)
    for (name, u), w, h in zip(scores.items(), weights, (*thresholds, 0.0), strict=True):
        wrong = (u < 0) | (u > 1)
        if wrong.any():
            i = int(np.argmax(wrong))
            raise OptionError(f"{name}[{i}] = {u[i]}: expected a score from 0 to 1")
        total = total + np.where(open_, w * u, 0.0)
        open_ = open_ & ~(u < h)  # a null stays open, and its NaN in the sum
    return total


def length_aware_bleu(answer: str, references: Sequence[str]) -> float:
    """Overlap of a short answer with the best of its references, in [0, 1].

        q = BP exp(1/N sum_{n=1}^{N} log p_n),   N = min(4, |answer|, |reference|),   BP = min(1, exp(1 - |reference| / |answer|))

    p_n: share of the answer's n-grams found in the reference, each at most as often as it stands there. In words,
    lower case, without punctuation. Plain BLEU has N = 4, and gives right answers of one to three words 0. Empty: 0.
    """
    said = _words(answer)
    return max((_overlap(said, _words(reference)) for reference in references), default=0.0)


def _words(text: str) -> list[str]:
    return text.lower().translate(str.maketrans("", "", string.punctuation)).split()


def _overlap(said: list[str], meant: list[str]) -> float:
    longest = min(4, len(said), len(meant))
    if not longest:
        return 0.0
    logs = 0.0
    for n in range(1, longest + 1):
        here, there = ([tuple(w[i : i + n]) for i in range(len(w) - n + 1)] for w in (said, meant))
        hits = sum(min(here.count(g), there.count(g)) for g in set(here))
        if not hits:
            return 0.0
        logs += float(np.log(hits / len(here)))
    return float(min(1.0, np.exp(1 - len(meant) / len(said))) * np.exp(logs / longest))


def judged(batch: Batch, judge: Judge, rng: np.random.Generator, *, rubric: Rubric = LONG_ANSWER) -> Asked:
    """``answer_quality`` of long answers: a verdict per trajectory, NaN where it could not be parsed; privileged by default."""
    return ask(batch, judge, "trajectory", rng, rubric)
