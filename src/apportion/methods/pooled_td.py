"""pooled_td (ours): values pooled over the states a batch happens to meet again."""

from __future__ import annotations

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import BatchError, OptionError
from ..ids import Int
from ..ops.markov import pooled_values
from ..ops.scans import gae
from ..registry import method
from ..structure import Bool, Float

_SWEEPS = 10_000


@method(
    unit="turn",
    reads={"reward", "group", "state"},
    may_read={"truncated", "bootstrap"},
    cost="0",
    status="ours",
    unbiased="no: exact only where keys say all that matters and never recur within a trajectory",
    smallest=(
        "Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0], "
        "state=['start', 'left', 'end', 'start', 'right', 'end'])"
    ),
    scope="batch",
)
def pooled_td(batch: Batch, *, lam: float = 0.0, folds: int = 8) -> Credit:
    """Temporal differences against values pooled over all visits to a state by *other* trajectories.

        V = r + P V                 solved on the batch's own transition counts (certainty equivalence)
        delta_t = r_t + V(s_{t+1}) - V(s_t)          A_t = delta_t + lam A_{t+1}

    A batch of rollouts is already a map: wherever two trajectories stood in the same state, what
    happened to one says what the other could expect. V joins all those stretches, so a state met
    twice late in an episode serves every path that leads there. One value per turn, no extra
    sampling, no model. Undiscounted.

    Cross-fitting: the j-th rollout of every prompt belongs to fold j mod ``folds``, and its V is
    estimated without that fold, so no reward enters its own baseline. A state that no other fold
    met has no V; the turns between two known states then share the difference between them. A first
    state that no other fold met, or without a key, is worth the mean return of the prompt's rollouts
    in other folds (of all rollouts there, if the prompt has none). With no repeated state but the
    common first one, and ``folds`` at least the group size, this *is* RLOO. After the last turn V = 0,
    or ``bootstrap`` where the trajectory is ``truncated`` (everywhere, if the batch does not say which are).

    lam: 0 trusts V wholly (lowest variance); 1 uses V(s_t) as a baseline only, R - V(s_t).
    folds: more are closer to leaving one out (less noise in V), and cost a pass over the batch each.
    reads ``state``: keys made from what the policy saw, null where unknown. Where keys leave out
    something that matters, V is the average over what they hide and credit is biased.
    diagnostics: ``known`` (share of turns that start in a state with a V), ``sweeps``.

    Source: ours. Kin: certainty-equivalent TD (Sutton 1988), GiGPO's anchor groups (which compare
    returns, not values, and stay within one prompt).
    """
    if folds < 2:
        raise OptionError(f"folds = {folds}: cross-fitting needs at least 2")
    if not 0 <= lam <= 1:
        raise OptionError(f"lam = {lam}: expected a number from 0 to 1")
    batch.need("state", "for pooled_td")
    fold = _fold(batch, folds)
    key = _by_time(batch)
    terminal = batch.prefix_offsets[1:] - 1
    start, end, reward = _stretches(batch, key >= 0)
    following = np.where(np.isin(end, terminal), -1, key[end])
    reward = reward + _end_value(batch)[batch.within("prefix", "trajectory")[end]] * (following < 0)
    order = np.argsort(key[start], kind="stable")
    walker = fold[batch.within("prefix", "trajectory")[start]][order]

    value = np.full(batch.n_prefixes, np.nan)
    walked = fold[batch.within("prefix", "trajectory")]
    sweeps = 0
    for f in np.unique(fold):
        others = (walker != f).astype(np.float64)
        v, used = pooled_values(key[start][order], following[order], reward[order], others, int(key.max()) + 1, _SWEEPS)
        sweeps = max(sweeps, used)
        own = (walked == f) & (key >= 0)
        value[own] = v[key[own]]
    first = batch.prefix_offsets[:-1]
    value[first] = np.where(np.isnan(value[first]), _mean_return(batch, fold), value[first])
    value[terminal] = _end_value(batch)

    start, end, reward = _stretches(batch, ~np.isnan(value))
    per_trajectory = np.searchsorted(start, batch.prefix_offsets)
    everywhere = np.ones(start.size, dtype=np.bool_)
    advantage = gae(reward, value[start], everywhere, per_trajectory, 1.0, lam, value[terminal])
    of_turn = np.searchsorted(start, batch.prefix_before, side="right") - 1
    known = float(np.isin(batch.prefix_before, start).mean())
    return Credit.of(batch, "turn", advantage[of_turn], diagnostics={"known": known, "sweeps": float(sweeps)})


def _fold(batch: Batch, folds: int) -> Int:
    """Fold of each trajectory: its rank among the rollouts of its prompt, mod ``folds``."""
    over = batch.within("trajectory", "group")
    order = np.argsort(over, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(over.size) - np.searchsorted(over[order], over[order])
    fold: Int = rank % folds
    if np.unique(fold).size < 2:
        raise BatchError(
            "every prompt has a single rollout, so there is no other trajectory to pool values from: sample at least two"
        )
    return fold


def _by_time(batch: Batch) -> Int:
    """State keys renumbered so that later states have higher numbers (null stays -1)."""
    codes = batch.need("state").codes
    when = np.arange(batch.n_prefixes) - batch.prefix_offsets[batch.within("prefix", "trajectory")]
    latest = np.zeros(int(codes.max()) + 2, dtype=np.int64)
    np.maximum.at(latest, codes, when)
    rank = np.empty_like(latest)
    rank[np.argsort(latest[:-1], kind="stable")] = np.arange(latest.size - 1)
    rank[-1] = -1
    renumbered: Int = rank[codes]
    return renumbered


def _stretches(batch: Batch, marked: Bool) -> tuple[Int, Int, Float]:
    """From each marked prefix to the next one (or the end): start, end and the reward in between."""
    terminal = np.zeros(batch.n_prefixes, dtype=np.bool_)
    terminal[batch.prefix_offsets[1:] - 1] = True
    start = np.flatnonzero(marked & ~terminal)
    stops = np.flatnonzero(marked | terminal)
    end = stops[np.searchsorted(stops, start, side="right")]
    arriving = np.zeros(batch.n_prefixes + 1)
    arriving[batch.prefix_before + 1] = batch.rewards("turn")
    reward = np.add.reduceat(arriving, np.stack([start + 1, end + 1], axis=1).ravel())[::2]
    return start, end, reward


def _mean_return(batch: Batch, fold: Int) -> Float:
    """Mean return of the prompt's rollouts in the other folds, or of all rollouts there, shape (N,)."""
    worth = batch.reward + _end_value(batch)
    mean = np.full(worth.size, np.nan)
    for over in (batch.within("trajectory", "group"), np.zeros_like(fold)):
        base = worth[np.unique(over, return_index=True)[1]][over]  # differences: equal returns average to themselves
        cell = over * (int(fold.max()) + 1) + fold
        total, size = (np.bincount(over, x)[over] - np.bincount(cell, x)[cell] for x in (worth - base, np.ones(worth.size)))
        mean = np.where(np.isnan(mean) & (size > 0), base + total / np.maximum(size, 1), mean)
    return mean


def _end_value(batch: Batch) -> Float:
    """Value after the last turn: 0, or the bootstrap value of a truncated trajectory."""
    if batch.bootstrap is None:
        return np.zeros(batch.n_trajectories)
    return batch.bootstrap if batch.truncated is None else np.where(batch.truncated, batch.bootstrap, 0.0)
