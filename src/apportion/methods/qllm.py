"""QLLM (Li, Jiang et al. 2025, arXiv 2504.12961): a function that a model wrote divides the team's value among its agents."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..evidence import Author, Bill, Evidence
from ..evidence.mixed_values import LearnedMixed, fit_mixed
from ..evidence.mixer import PLAIN, Mixer, mixer_of
from ..evidence.mixer_design import design
from ..ops.groups import group_mean, standardise
from ..registry import method
from ..structure import Float
from ..words import Single, check_word
from ._agents import agents, cells

Of = Literal["q", "team"]
Baseline = Literal["none", "group"]


def collect(
    batch: Batch,
    author: Author,
    *,
    rng: np.random.Generator,
    task: str = "",
    rounds: int = 3,
    candidates: int = 3,
    repairs: int = 10,
    words: int = 8,
    monotone: bool = True,
    gamma: float = 1.0,
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
    action_tokens: int = 4,
) -> Evidence:
    """Have a mixing function written, then learn the agents' values through it: ``fit`` with an author, and what it says."""
    learned = fit(
        batch, rng=rng, author=author, task=task, rounds=rounds, candidates=candidates, repairs=repairs, words=words,
        monotone=monotone, gamma=gamma, folds=folds, ridge=ridge, buckets=buckets, action_tokens=action_tokens,
    )  # fmt: skip
    found = learned.evidence(batch)
    written = {"written": float(learned.mixer.tried), "refused": float(learned.mixer.refused)}
    return replace(found, bill=learned.bill + found.bill, diagnostics=written)


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    state: LearnedMixed | None = None,
    mixer: Mixer | str | None = None,
    author: Author | None = None,
    task: str = "",
    rounds: int = 3,
    candidates: int = 3,
    repairs: int = 10,
    words: int = 8,
    monotone: bool = True,
    gamma: float = 1.0,
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
    action_tokens: int = 4,
) -> LearnedMixed:
    """Values of single agents, learned so that what the mixer makes of them is the team's return (``evidence.mixed_values``).

    The mixer is that of ``state``, what was learned from another batch, so that it is written once, before training;
    or ``mixer``: what ``design`` returned, or a function of your own as text; or it is written now by ``author``
    (``evidence.mixer_design.design`` explains task, rounds, candidates, repairs, words and monotone). Without any of these
    it is the plain sum (VDN). It is not trained. The values are learned afresh from this batch: a cross-fitted linear
    model of hashed features, shared by all agents, who are told apart by what they are shown. The paper has a
    recurrent network that is shown the agent's number, and TD(lambda) targets (lambda .6, 1 in football; gamma .99,
    .999). Here lambda and gamma are 1.
    """
    cost = Bill()
    if state is not None:
        chosen = state.mixer
    elif mixer is None and author is not None:
        chosen = design(
            author, batch, rng=rng, task=task, rounds=rounds, candidates=candidates, repairs=repairs, words=words,
            monotone=monotone,
        )  # fmt: skip
        cost = chosen.bill
    else:
        chosen = mixer_of(PLAIN if mixer is None else mixer, batch)
    learned = fit_mixed(
        batch, chosen, rng, gamma=gamma, folds=folds, ridge=ridge, buckets=buckets, actions=action_tokens
    )  # fmt: skip
    return replace(learned, bill=learned.bill + cost)


@method(
    unit="turn",
    reads={"agent"},
    may_read={"outcome", "turn_reward", "token_reward", "group"},
    unless={"q": ("of", "team")},
    evidence={"q": "turn", "weight": "turn"},
    source="author",
    collect=collect,
    fit=fit,
    cost="about R (M + 2) calls of a model once a task (R rounds, M candidates), and what repairs take; none a trajectory",
    status="verified",
    unbiased="no: a written weight is no counterfactual, and a learned value stands for the return",
    smallest=(
        "(Batch.from_turns([[1], [1]], outcome=[1.0, 1.0], agent=['a', 'b'], episode=[0, 0]), "
        "{'q': [1.0, 0.5], 'weight': [0.5, 1.5]})"
    ),
    scope="group",
)
def qllm(
    batch: Batch,
    *,
    weight: Float,
    q: Float | None = None,
    of: Of = "q",
    baseline: Baseline = "none",
    single: Single = "error",
) -> Credit:
    """What the team's value gains with each agent's own, by a function that was written and not trained.

        Q_tot = n f(q_1..q_n, s)            f, as a rule: sum_i w_i(s) q_i + b(s),  w = softmax_i u_i(s)
        weight_i = dQ_tot / dq_i                                    n w_i there: n over the agents of a joint step
        A_i = weight_i q_i                                          of="q", the agent's part of Q_tot
        A_i = weight_i (R_e - mean_G R)                             of="team", its share of the episode's advantage

    weight, q: one per turn; the turns at the same place of their trajectories in an episode are a joint step. Both come
    from ``author=``, who writes f here and now, or from what ``fit`` learned, with an f written once or your own
    (``ap.learn(batch, "qllm", author=...)``, then ``state=``; or ``fit=True, mixer="sum(q * softmax(seen))"``). f is an
    array expression that is read and computed, never run; it is refused where it is not one number per joint step, not
    finite, falls in some q (then the team's best choice would not be everybody's) or ignores q. It may read q,
    ``agent``, ``agents`` and features of what each agent was shown (``evidence.text_features``: position, lengths,
    repetitions, counts of words), never states or rewards. A null (NaN) of either is not scored.
    q: not read with of="team", which is how we put the method to language models. R_e: mean total reward of the trajectories
    of an episode; mean_G R: over the episodes of its prompt, each once; single: what one episode alone gets.
    What was written is ``learned.mixer.text`` of what ``learn`` returns; with ``author=`` in one call it is not kept.
    baseline: "group" subtracts from the parts their mean over the episodes of the prompt, for the same agent at the same
    place (ours; "none" is the paper's). Parts: ``contribution`` and ``baseline``, which add up.

    Equal weights give Q_tot = sum_i q_i (VDN): with of="team" every turn gets the episode's GRPO advantage without std.
    One agent: its q. diagnostics: ``share``, the mean of sum_i weight_i / n (1 for a softmax); ``falling``, share of
    negative weights; with ``author=`` also answers ``written`` and ``refused``.

    The paper trains small networks by Q-learning, no language model (adjacent); q as the credit of sampled turns is ours.
    In the released code a candidate that fails is asked for again without the error's text (here it is sent along),
    and after 11 failures it is used all the same (here it is dropped).

    Source: Li, Jiang et al. (2504.12961v5); MaoMaoLYJ/pymarl-qllm, read: ``LLM_helper.py``, ``QLLM_frame.txt``,
    ``modules/mixers/qllm.py``. Ours: the adapter, the learned values, requests, the language, the check of q.
    """
    check_word(of, Of, "of")
    check_word(baseline, Baseline, "baseline")
    check_word(single, Single, "single")
    who = agents(batch, "qllm")
    value = q if of == "q" else _team(batch, single)
    assert value is not None  # the registry asks for q
    scored = np.isfinite(weight) & np.isfinite(value)
    part = np.where(scored, np.where(scored, weight, 0.0) * np.where(scored, value, 0.0), 0.0)
    a = part
    if baseline == "group":
        owner = batch.within("turn", "trajectory")
        batch.need("group", "for qllm with baseline='group'")
        over = cells(batch.within("turn", "group"), who[owner], batch.turn_index)
        a = standardise(part, over, counted=scored, single="zero")
        a = np.where(scored, a, 0.0)
    return Credit.of(
        batch, "turn", a, scored=scored, parts={"contribution": part, "baseline": a - part}, diagnostics=_shares(batch, weight)
    )  # fmt: skip


def _team(batch: Batch, single: Single) -> Float:
    """Reward of each turn's episode less the mean of its prompt's."""
    if batch.outcome is None and batch.turn_reward is None and batch.token_reward is None:
        batch.need("outcome", "for qllm with of='team'")
    batch.need("group", "for qllm with of='team'")
    episode = batch.within("trajectory", "episode")
    reward = group_mean(batch.reward, episode)[0]
    advantage = standardise(reward, batch.within("episode", "group"), single=single)
    return advantage[batch.within("turn", "episode")]


def _shares(batch: Batch, weight: Float) -> dict[str, float]:
    known = np.isfinite(weight)
    joint = cells(batch.within("turn", "episode"), batch.turn_index)[known]
    if not joint.size:
        return {"share": 0.0, "falling": 0.0}
    mean, size = group_mean(weight[known], joint)
    return {"share": float(mean[size > 0].mean()), "falling": float((weight[known] < 0).mean())}
