"""OmegaPRM (Luo et al. 2024, arXiv 2406.06592)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..evidence import Bill, Evidence, Sampler
from ..evidence.prefix import LearnedPrefix, fit_prefix, share_correct
from ..ops.groups import group_mean
from ..registry import method
from ..structure import Float, Int
from ..words import check_word

Form = Literal["difference", "first_error"]


def collect(
    batch: Batch,
    sampler: Sampler,
    *,
    rng: np.random.Generator,
    k: int = 8,
    above: float = 0.0,
    limit: int | None = None,
    prm: bool = False,
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
    action_tokens: int = 3,
) -> Evidence:
    """Find the first wrong step of wrong rollouts by binary search, ``k`` completions a probe.

        lo = 1, hi = M;  while lo <= hi:  mid = floor((lo + hi) / 2),
        MC(mid) > 0: lo = mid + 1,  else hi = mid - 1;     first error = lo

    MC is the share of completions with a reward above ``above``. A prompt's own rollouts are the completions
    of its root; where all are right or all wrong (too easy, too hard) none is dissected. MC(M) of
    a wrong rollout is 0 without asking. One call of the sampler per round, for all rollouts at once.
    A probe nothing came back from ends its search and stays null.

    limit: dissect so many rollouts a prompt, the shortest first; None: all. The paper goes on with the wrong
    *completions* it sampled on the way, and picks the next by :func:`priority`. A sampler hands back their rewards
    only, so here all wrong rollouts start from one prefix, the prompt, and of that rule only the length is left.
    prm: train a process reward model (``evidence.prefix``, cross-fitted) on the labels found and answer with
    its scores, one for every prefix. folds, ridge, buckets, action_tokens: theirs.

    diagnostics: ``dissected`` rollouts, ``probes``, ``lost`` probes.
    """
    offsets = batch.step_prefix_offsets
    right = batch.reward > above
    over = batch.within("trajectory", "group")
    root = group_mean(right.astype(np.float64), over)[0][over]
    found = np.full(offsets[-1], np.nan)
    found[offsets[:-1]], found[offsets[1:] - 1] = root, right
    chosen = _shortest(np.flatnonzero(~right & (root > 0)), over, batch.action_count("trajectory"), limit)
    bill, probes, gone = Bill(), 0, 0
    lo, hi = np.ones(chosen.size, dtype=np.int64), np.diff(offsets)[chosen] - 1  # steps 1..M
    while (open_ := np.flatnonzero(lo <= hi)).size:
        mid = (lo[open_] + hi[open_]) // 2
        at = offsets[chosen[open_]] + mid
        ask = at < offsets[chosen[open_] + 1] - 1
        mc = np.zeros(at.size)
        if ask.any():
            mc[ask], cost = share_correct(batch, sampler, at[ask], k, above, rng)
            bill, probes = bill + cost, probes + int(ask.sum())
            found[at[ask]] = mc[ask]
        lost = np.isnan(mc)
        gone += int(lost.sum())
        lo[open_] = np.where(lost, hi[open_] + 1, np.where(mc > 0, mid + 1, lo[open_]))
        hi[open_] = np.where(mc == 0, mid - 1, hi[open_])
    told = {"dissected": float(chosen.size), "probes": float(probes), "lost": float(gone)}
    if not prm:
        return Evidence({"success_rate": found}, {"success_rate": "step_prefix"}, bill, sampler.provenance, diagnostics=told)
    before, after, trained = fit_prefix(
        batch, "step", found, rng, folds=folds, ridge=ridge, buckets=buckets, actions=action_tokens
    )  # fmt: skip
    scored = LearnedPrefix(before, after, trained).evidence(batch)
    return Evidence(scored.arrays, scored.axis, bill + trained + scored.bill, "learned", diagnostics=told)


@method(
    unit="step",
    reads=set(),
    may_read={"steps"},
    evidence={"success_rate": "step_prefix"},
    source="sampler",
    collect=collect,
    cost="at most K ceil(log2 N) continuations of T / 2 tokens generated for each wrong rollout",
    status="secondary",
    unbiased="no: only wrong rollouts are searched, and the search takes it that success never returns after a wrong step",
    smallest="(Batch.from_turns([[1, 1]], outcome=[0.0]), {'success_rate': [0.5, 0.25, 0.0]})",
    scope="trajectory",
)
def omegaprm(batch: Batch, *, success_rate: Float, form: Form = "difference") -> Credit:
    """Credit where a binary search found the first wrong step.

        MC(s) = share of completions from prefix s that are correct
        A_k = MC_k - MC_{k-1}                 form="difference", where both prefixes were evaluated
        A_k = -1 at the first k with MC_k = 0 < MC_{k-1}, else 0          form="first_error"

    success_rate: MC of every prefix between steps, in [0, 1], shape (steps + trajectories,), first that of
    the prompt, last the outcome; NaN = not evaluated, as most are. One value per step; ``scored`` is
    False where a neighbour was not evaluated (and, for "first_error", in trajectories without one).

    The search itself and its defaults are in ``collect``, the paper's rule of what to search next in
    :func:`priority`. Both neighbours of the step it ends at are known (unless a probe was lost), so every dissected
    rollout gets one negative step (plus what lies between two probes that happen to be neighbours); right rollouts
    get none unless they have one step. With a process reward model trained on the labels (``collect`` with
    prm=True) all steps are scored, by soft labels (pointwise squared error here, cross-entropy in the paper).

    The paper collects labels for weighted voting and trains no policy: both forms are ours. Given a rate for
    every prefix, "difference" is ``math_shepherd`` with form="difference" and label="soft": the two differ in what
    they ask. Where success does return after a wrong step, the search may end at a later error.

    Source: Luo et al. (2406.06592), from a card of the paper; the search as in openr's ``omegaprm.py`` (which
    estimates each probe twice and so spends 2 K completions on it). Ours: forms, ties of the selection.
    """
    check_word(form, Form, "form")
    odd = (success_rate < 0) | (success_rate > 1)  # null is neither
    if odd.any():
        i = int(np.argmax(odd))
        raise OptionError(f"evidence 'success_rate'[{i}] = {success_rate[i]:g}: expected a share from 0 to 1")
    owner = batch.within("step", "trajectory")
    before = np.arange(batch.n_steps) + owner
    low, high = success_rate[before + 1], success_rate[before]
    known = ~np.isnan(low - high)
    if form == "difference":
        return Credit.of(batch, "step", np.where(known, low - high, 0.0), scored=known)
    turned = np.flatnonzero((low == 0) & (high > 0))
    at = turned[np.unique(owner[turned], return_index=True)[1]]
    credit = np.zeros(batch.n_steps)
    credit[at] = -1.0
    return Credit.of(batch, "step", credit, scored=np.isin(owner, owner[at]))


def priority(
    mc: Float, length: Float, visits: int | Int, total: int, *,
    alpha: float = 0.5, beta: float = 0.9, scale: float = 500.0, c_puct: float = 0.125,
) -> Float:  # fmt: skip
    """Q + U of a pair of a prefix and a wrong rollout from it: dissect what should have been right and is short.

        Q = alpha^(1 - MC) beta^(length / scale)          U = c_puct sqrt(sum of all visits) / (1 + visits)

    mc: of the prefix. length: of the rollout (words in openr, tokens here). visits: how often the
    prefix was picked; total: over all prefixes (a total of 0 counts as 1, as in openr). For those who have the
    completions of a sampled prefix and grow the tree of the paper from them.
    """
    q = alpha ** (1.0 - mc) * beta ** (length / scale)
    u = c_puct * np.sqrt(max(total, 1)) / (1.0 + np.asarray(visits))
    both: Float = q + u
    return both


def _shortest(wrong: Int, over: Int, length: Int, limit: int | None) -> Int:
    """The ``limit`` shortest wrong trajectories of each group, in batch order; ties: the earliest."""
    if limit is None:
        return wrong
    if limit < 1:
        raise OptionError(f"limit = {limit}: dissect at least one rollout, or None for all")
    order = wrong[np.lexsort((wrong, length[wrong], over[wrong]))]
    group = over[order]
    rank = np.arange(order.size) - np.searchsorted(group, group)
    return np.sort(order[rank < limit])
