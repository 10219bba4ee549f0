"""C3 (Chen et al. 2026, arXiv 2603.06859): a message against other messages written in exactly its place."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import BatchError, OptionError
from ..evidence import Evidence, Sampler
from ..evidence.team_critic import fit_q
from ..ops.groups import firsts, group_mean, level_mean
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import check_word
from ._agents import agents, cells

Variant = Literal["reward_only", "value_only", "value_assisted"]
Baseline = Literal["leave_one_out", "full_mean"]
Siblings = Literal["recorded", "fresh"]


def collect(
    batch: Batch, sampler: Sampler, *, rng: np.random.Generator, k: int = 3, siblings: Siblings = "recorded"
) -> Evidence:  # fmt: skip
    """Rewards of ``k`` rollouts that write each message anew and then go on to the end, shape (turns, k).

    Each is an alternative to the recorded message, from the transcript before it, with one leaf. Recorded siblings,
    which leave the same node, share their alternatives, asked for once; with siblings="fresh" each message has its
    own. (``q`` is null.)
    """
    if k < 1:
        raise OptionError(f"k = {k}: expected at least one alternative")
    check_word(siblings, Siblings, "siblings")
    shared = siblings == "recorded" and batch.node is not None and batch.parent is not None
    asked = np.flatnonzero(firsts(_contexts(batch))) if shared else np.arange(batch.n_turns)
    got = sampler.continuations(batch, batch.prefix_before[asked], k, rng)
    values = np.asarray(got.values, dtype=np.float64)
    if values.shape != (asked.size, k):
        raise OptionError(f"the sampler answered with shape {values.shape}, expected ({asked.size}, {k}): one row a prefix")
    found = np.full((batch.n_turns, k), np.nan)
    found[asked] = values
    return Evidence(
        {"alternatives": found, "q": np.full(batch.n_turns, np.nan)}, {"alternatives": "turn", "q": "turn"},
        got.bill, sampler.provenance,
    )  # fmt: skip


@method(
    unit="turn",
    reads={"reward", "group", "node", "parent"},
    may_read={"agent"},
    unless={
        "node": ("siblings", "fresh"), "parent": ("siblings", "fresh"),
        "alternatives": ("siblings", "recorded"), "q": ("variant", "reward_only"),
    },
    evidence={"alternatives": "turn", "q": "turn"},
    several={"alternatives"},
    source="sampler",
    collect=collect,
    fit=fit_q,
    cost="0 on a tree of rollouts (K leaves a prompt); K N T / 2 tokens generated after the fact, K alternatives a message",
    status="verified",
    unbiased="no: sibling groups are divided by their spread; with normalise=False yes, on trees of one fan-out a level",
    smallest=(
        "Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0], node=[0, 1, 0, 2], parent=[-1, 0, -1, 0])"
    ),
    scope="group",
)  # fmt: skip
def c3(
    batch: Batch,
    *,
    alternatives: Float | None = None,
    q: Float | None = None,
    variant: Variant = "reward_only",
    baseline: Baseline = "leave_one_out",
    siblings: Siblings = "recorded",
    replay: bool = True,
    alpha: float = 1.0,
    normalise: bool = True,
) -> Credit:
    """The mean return of a message minus that of its siblings: messages drawn from the same transcript.

        A_i = r_i - LOO(r)_i = n / (n - 1) (r_i - mean r)             variant "reward_only"
        A_i = q_i - LOO(q)_i                                                  "value_only"
        A_i = r_i - [(1 - alpha) LOO(r)_i + alpha LOO(q)_i]                   "value_assisted"
        LOO(x)_i = (sum_j x_j - x_i) / (n - 1)
        normalise:  A <- (A - mean A) / sqrt(var A + 1e-8)           among the n siblings, ddof 0

    r_i: mean total reward of the rollouts that hold the message (its leaves, not its children's means). A rollout is an
    episode, whose reward is the mean of its trajectories', or a trajectory where there are no episodes.
    siblings: "recorded": turns whose ``parent`` is the same node (a negative one: the prompt). In a team each agent's
    turns are a trajectory and ``parent`` is the message before, whoever wrote it. Copies of one ``node`` in several
    rollouts are one message, ``keep`` has its first copy in the loss. "fresh": no tree is read; every turn's siblings
    are its alternatives, as when a log is credited after the fact, and r_i is the recorded reward.
    alternatives: rewards of messages drawn anew from the transcript before each turn, shape (turns,) or (turns, k),
    NaN where none was asked; they join the siblings ("reward_only" with replay=True only). Asked for with sampler=;
    k: 3, n = 4.
    q: a critic's value of the transcript with the message, shape (turns,), given or learned (fit=True); a copy's
    count together.
    baseline: "full_mean" has the message itself in both means (the paper's ablation). replay: False groups all
    messages an agent wrote at the same place of its trajectory for the prompt, whatever stood before (the ablation
    "no replay").
    alpha: weight of q, 1 as in the code. normalise: on, as in the code.
    A message alone (n = 1) gets 0 and is not scored. diagnostics: ``messages``, ``siblings`` (mean n), ``alone``
    (share). loss.denominator: "token" (the code's trainer).

    Inside a normalised group LOO, the full mean and GRPO among siblings are the same credit; of two siblings one gets
    1 and the other -1 whatever the gap; and "value_assisted" brings a spread of q to unit scale where all rewards are
    equal. Fidelity (rank correlation with return minus siblings' return) is 1 by construction when the target is made
    of the same
    returns: measure it with others.

    Source: Chen et al. (2603.06859; v2 is called "Exact Is Easier"); EIT-EAST-Lab/C3, read:
    ``c3/credit/c3/provider.py``, ``c3/algorithms/utils.py``, ``experience_maker.py``. Default here is the paper's
    rewards only; the code's default is "value_assisted" with alpha = 1. Ours: credit after the fact with fresh
    alternatives, the critic's features.
    """
    for word, words, name in ((variant, Variant, "variant"), (baseline, Baseline, "baseline"), (siblings, Siblings, "siblings")):
        check_word(word, words, name)
    if not 0 <= alpha <= 1:
        raise OptionError(f"alpha = {alpha}: expected a share from 0 to 1")
    if siblings == "fresh" and (variant != "reward_only" or not replay):
        raise OptionError(f"siblings='fresh' knows rewards of alternatives only: not variant={variant!r}, replay={replay}")
    at, message = _messages(batch, siblings)
    over = np.arange(at.size) if siblings == "fresh" else (_contexts(batch) if replay else _places(batch))[at]
    over = np.unique(over, return_inverse=True)[1]
    r = _returns(batch, at, message)
    if variant == "reward_only":
        fresh = alternatives if replay else None
        a, n = _against(r, over, baseline, normalise, *_pooled(fresh, over[message]))
    else:
        value = _values(q, message, at)
        other_q, n = _others(value, over, baseline)
        other_r = _others(r, over, baseline)[0] if variant == "value_assisted" else 0.0
        a = value - other_q if variant == "value_only" else r - (1 - alpha) * other_r - alpha * other_q
        a = np.where(n[over] > 1, a, 0.0)
        if normalise:
            mean = group_mean(a, over)[0][over]
            var = group_mean((a - mean) ** 2, over)[0][over]
            a = (a - mean) / np.sqrt(var + _TINY)
    first = np.zeros(batch.n_turns, dtype=np.bool_)
    first[at] = True
    scored: Bool = (n > 1)[over][message]
    size = n[over]
    found = {"messages": float(at.size), "siblings": float(size.mean()), "alone": float((size == 1).mean())}
    return Credit.of(
        batch, "turn", a[message], keep=first[batch.within("token", "turn")], scored=scored,
        loss=Loss(denominator="token"), diagnostics=found,
    )  # fmt: skip


#: Under the root of the variance (the code's epsilon).
_TINY = 1e-8


def _messages(batch: Batch, siblings: Siblings) -> tuple[Int, Int]:
    """First turn of every message, and the message of every turn; a turn of its own each where no tree is read."""
    if siblings == "fresh":
        return np.arange(batch.n_turns), np.arange(batch.n_turns)
    node, parent, group = batch.need("node"), batch.need("parent"), batch.within("turn", "group")
    _, at, message = np.unique(node, return_index=True, return_inverse=True)
    above = np.maximum(parent, -1)
    for name, same, why in (
        ("parent", above == above[at][message], "the same node has another parent elsewhere"),
        ("node", group == group[at][message], "the same node stands in two groups"),
    ):
        if not same.all():
            turn = int(np.argmin(same))
            raise BatchError(f"{name}[{turn}] = {getattr(batch, name)[turn]}: {why}")
    return at, message


def _contexts(batch: Batch) -> Int:
    """What each turn was written after: its group and the node before it, as one number."""
    return cells(batch.within("turn", "group"), np.maximum(batch.need("parent"), -1) + 1)


def _places(batch: Batch) -> Int:
    """Group, agent and rank in its agent's trajectory of each turn."""
    who = agents(batch, "c3") if batch.agent is not None else np.zeros(batch.n_trajectories, dtype=np.int64)
    return cells(batch.within("turn", "group"), who[batch.within("turn", "trajectory")], batch.turn_index)


def _returns(batch: Batch, at: Int, message: Int) -> Float:
    """Mean reward of the rollouts that hold each message, each rollout once."""
    reward = level_mean(batch.reward, batch.within("trajectory", "episode"))
    pair = np.unique(message * reward.size + batch.within("turn", "episode"))
    holds, rollout = pair // reward.size, pair % reward.size
    base = reward[batch.within("turn", "episode")[at]]  # equal rewards have exactly themselves as mean
    mean: Float = base + group_mean(reward[rollout] - base[holds], holds)[0]
    return mean


def _values(q: Float | None, message: Int, at: Int) -> Float:
    """q of every message: the mean of what is known of its copies."""
    assert q is not None  # the registry asks for it with these variants
    known = ~np.isnan(q)
    mean, count = group_mean(np.where(known, q, 0.0), message, known)
    if (count == 0).any():
        turn = int(at[np.argmax(count == 0)])
        raise OptionError(f"q[{turn}] is null, and so is every copy of that message: this variant needs a value of each")
    return mean


def _pooled(alternatives: Float | None, over: Int) -> tuple[Float, Int]:
    """Alternatives that were asked, and the sibling group each belongs to."""
    if alternatives is None:
        return np.zeros(0), np.zeros(0, dtype=np.int64)
    values = alternatives.reshape(over.size, -1)
    known = ~np.isnan(values)
    return values[known], np.broadcast_to(over[:, None], values.shape)[known]


def _others(x: Float, over: Int, baseline: Baseline) -> tuple[Float, Float]:
    """Mean of a message's siblings (itself included with "full_mean"), and the sizes of the groups."""
    base = x[np.unique(over, return_index=True)[1]][over]  # measured from a member, equal values have exactly themselves
    mean, n = group_mean(x - base, over)
    if baseline == "full_mean":
        return base + mean[over], n
    return base + (mean[over] * n[over] - (x - base)) / np.maximum(n[over] - 1, 1), n


def _against(x: Float, over: Int, baseline: Baseline, normalise: bool, more: Float, of: Int) -> tuple[Float, Float]:
    """x of every message against its group, which has ``more`` members; and the sizes of the groups."""
    base = x[np.unique(over, return_index=True)[1]]  # measured from a member, equal values differ by exactly 0
    d, e = x - base[over], more - base[of]
    both, group = np.concatenate([d, e]), np.concatenate([over, of])
    mean, n = group_mean(both, group)
    factor = n / np.maximum(n - 1, 1) if baseline == "leave_one_out" else np.ones(n.size)
    a = factor[over] * (d - mean[over])
    if normalise:
        var = factor**2 * group_mean((both - mean[group]) ** 2, group)[0]
        a = a / np.sqrt(var + _TINY)[over]
    return a, n
