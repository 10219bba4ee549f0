"""ProxMO (Fang et al. 2026, arXiv 2602.19225). Added after the survey."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..ops.features import mix, seen_runs, sequence_hash
from ..ops.groups import group_mean
from ..ops.likeness import means_of_alike, tf_idf
from ..ops.scans import discounted_suffix, first_active
from ..registry import method
from ..structure import Float, Int
from ..words import Single, check_word
from ._episode import Statistics, episode_part

Text = Literal["state", "seen"]

#: A word of a state key: two or more letters, digits or underscores, in lower case.
_WORD = re.compile(r"\b\w\w+\b")


@method(
    unit="turn",
    reads={"reward", "group", "state"},
    may_read={"success", "ids"},
    unless={"state": ("text", "seen")},
    cost="0",
    status="verified",
    unbiased="no: both baselines contain the turn's own return, the step's most of all; outcomes change the weights; gamma < 1",
    smallest=(
        "Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0], "
        "state=['a red door', 'an open door', 'the end', 'a red door', 'a wall', 'the end'])"
    ),
    scope="batch",
)
def proxmo(
    batch: Batch,
    *,
    omega: float = 1.0,
    tau: float = 0.1,
    gamma: float = 0.95,
    alpha: float = 4.0,
    target_range: float = 0.05,
    text: Text = "state",
    words: int = 1024,
    statistics: Statistics = "trajectory",
    single: Single = "error",
) -> Credit:
    """GiGPO with a soft baseline of turns in similar states, and outcomes weighed by how hard the task is.

        G_t  = r_t + gamma G_{t+1}                                        discounted return of turn t
        AS_t = G_t - sum_v softmax_v(cos(t, v) / tau) G_v                 over all turns v of the group, t included
        AE_i = w_i (R_i - mean)                                           over the group's rollouts
        w_i  = 1 + beta (sigma((1 - p)^alpha) - 1/2)  of a solved one,    1 + beta (sigma(-p^alpha) - 1/2)  of another
        A_t  = AE_i + omega AS_t                                          beta = target_range / (sigma(1) - 1/2)

    Added after the survey. p is the group's share of solved rollouts (column ``success``, else total reward > 0): a
    success on a hard task counts up to 1 + target_range, a failure on an easy one down to 1 - target_range; where
    p is 0 or 1, and rewards are equal, R - mean is 0. cos is that of tf-idf vectors of the turns' texts. One value per
    turn; parts: ``episode`` (AE) and ``step`` (omega AS).

    *A turn is its own neighbour.* At tau .1 one that is unlike all others keeps exp(10) of weight on its own return and
    gets almost no AS, as does a text that only one rollout saw; where texts repeat, AS is near GiGPO's. A turn without
    words (or in a state without a key) is like nobody, itself included: its baseline is near the group's plain mean.
    diagnostics: ``own_weight``, the mean weight that a turn's baseline gives to its own return.

    omega, tau, gamma, alpha: 1, .1, .95, 4 as in the scripts. target_range: .05 in the scripts, so beta .2164 (a
    reading note of the paper has beta .1, a range of .0231); 0 leaves AE centred rewards.
    text: what turns are compared by. "state": the words of the ``state`` keys, as texts (in lower case, two or more
    letters or digits each). "seen": the token ids (column ``ids``) of what stood before the turn, its last run of
    observation tokens; no state keys then.
    words: how many words count, those most frequent in the batch (1024). Idf and that choice are made over all turns
    of the batch, so that credit depends on what it is credited with.
    statistics: what mean and p count once: each "trajectory" (our default, as in ``gigpo``) or each "row" (the official
    default: every turn counts).
    single: a group of one rollout: an error, its own reward ("raw", with p = 0) or "zero".

    Slower than linear: all pairs of different texts of a group are compared.
    Rewards need not be 0 and 1: AE and AS stay on their scale. The code divides nothing either, but it cuts the mean
    *reward* off at 1 and calls that p: with rewards of 10 a group of which a tenth is solved counts as sure.
    Biased: see above. Not offered: the penalty on invalid actions, which needs a column that batches do not have.

    Source: 2602.19225; GithubX-F/ProxMO-RL ``proxmo/core_proxmo.py`` (mode "soft_grouping") and its scripts.
    """
    check_word(text, Text, "text")
    check_word(statistics, Statistics, "statistics")
    check_word(single, Single, "single")
    if not 0 <= gamma <= 1 or tau <= 0 or words < 1:
        raise OptionError(
            f"gamma = {gamma}, tau = {tau}, words = {words}: expected a discount between 0 and 1, above 0, at least 1"
        )
    weight = _weights(batch, statistics, alpha, target_range)[batch.within("turn", "trajectory")]
    step, own = _soft(batch, *(_keys(batch) if text == "state" else _seen(batch)), gamma, tau, words)
    parts = {"episode": weight * episode_part(batch, "none", 0.0, statistics, single), "step": omega * step}
    return Credit.of(batch, "turn", parts["episode"] + parts["step"], parts=parts, diagnostics={"own_weight": own})


def _weights(batch: Batch, statistics: Statistics, alpha: float, target_range: float) -> Float:
    """w of every trajectory."""
    over, solved = batch.within("trajectory", "group"), batch.solved
    each = np.arange(over.size) if statistics == "trajectory" else batch.within("turn", "trajectory")
    share, size = group_mean(solved[each].astype(np.float64), over[each])
    p = np.where(size == 1, 0.0, share)[over]  # one alone is measured from 0
    beta = target_range / (_sigma(np.ones(1)) - 0.5)
    return np.asarray(1.0 + beta * (_sigma(np.where(solved, (1.0 - p) ** alpha, -(p**alpha))) - 0.5))


def _sigma(x: Float) -> Float:
    return np.asarray(1.0 / (1.0 + np.exp(-x)), dtype=np.float64)


def _soft(batch: Batch, which: Int, word: Int, offsets: Int, gamma: float, tau: float, words: int) -> tuple[Float, float]:
    """AS of every turn, and the mean weight on its own return. which: text of each turn; word, offsets: words of the texts."""
    group = batch.within("turn", "group")
    returns = discounted_suffix(batch.rewards("turn"), batch.trajectory_turns, gamma)
    n_texts, n_groups = offsets.size - 1, int(group.max()) + 1
    # measured from one return of each group, so that equal returns give 0 exactly
    origin = np.zeros(n_groups)
    origin[group[::-1]] = returns[::-1]
    g: Float = returns - origin[group]
    cell, at, count = np.unique(group * n_texts + which, return_inverse=True, return_counts=True)
    task = np.searchsorted(cell, np.arange(n_groups + 1) * n_texts)
    vectors = tf_idf(word, offsets, np.bincount(which, minlength=n_texts), words)
    total = np.bincount(at, weights=g, minlength=cell.size).astype(np.float64)
    text = cell % n_texts
    baseline, own = means_of_alike(total, count, task, text, vectors, tau)
    return g - baseline[at], float(own[at].mean())


def _keys(batch: Batch) -> tuple[Int, Int, Int]:
    """Text of every turn (the last one, without words, where the state is unknown), and the words of all texts."""
    state = batch.need("state")
    said = [_WORD.findall(str(name).lower()) for name in state.names] + [[]]
    number = {w: i for i, w in enumerate(sorted({w for text in said for w in text}))}
    word = np.asarray([number[w] for text in said for w in text], dtype=np.int64)
    offsets = np.concatenate(([0], np.cumsum([len(text) for text in said])))
    which = state.codes[batch.prefix_before]
    return np.where(which < 0, len(said) - 1, which), word, offsets


def _seen(batch: Batch) -> tuple[Int, Int, Int]:
    """The same of the observation tokens that stand before each turn."""
    ids = batch.need("ids", "for proxmo with text='seen'")
    first = first_active(batch.action, batch.turn_offsets)
    begin = batch.offsets("trajectory")[:-1][batch.within("turn", "trajectory")]
    run, start, length = seen_runs(batch.action, first, begin)
    ends = np.concatenate(([0], np.cumsum(length)))
    word = np.unique(ids[np.arange(ends[-1]) + np.repeat(start - ends[:-1], length)], return_inverse=True)[1]
    if not start.size:
        return np.zeros(run.size, dtype=np.int64), word, np.zeros(2, dtype=np.int64)
    _, one, same = np.unique(sequence_hash(mix(word), ends), return_index=True, return_inverse=True)
    kept = np.repeat(np.isin(np.arange(start.size), one), length)  # each distinct text once, in order of appearance
    rank = np.argsort(np.argsort(one))
    offsets = np.concatenate(([0], np.cumsum(length[np.sort(one)]), [int(kept.sum())]))
    return np.where(run < 0, one.size, rank[same][run]), word[kept], offsets
