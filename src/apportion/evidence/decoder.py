"""Decoders of latent rewards: r_u = w . z_u + b, so that an episode's rewards make up its return.

    "rd"    mean_e (mean_u r_u - R_e / T_e)^2                       u over the T_e units of episode e
    "sum"   mean_e (sum_u r_u - R_e)^2
    "rrd"   as "rd", the mean over K sampled units; less, if unbiased,  mean_e s_e^2 (1 - K / T_e) / K
    each    + alpha mean_e mean_t (r_t - mean_t r_t)^2 + ridge |w|^2      r_t: sum over the agents that act together

s_e^2: sample variance (ddof 1) of the sampled rewards. All are quadratic in (w, b): solved, not descended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..batch import Batch
from ..errors import BatchError, OptionError
from ..ops.groups import group_mean
from ..ops.least_squares import fold_grams, solve_folds
from ..structure import Bool, Float, Int
from ..words import Axis, check_word
from .bill import Bill
from .latent import Factors, LearnedLatent
from .learned import trajectory_keys

Fitted = Literal["rd", "sum", "rrd"]


@dataclass(frozen=True)
class Settings:
    """loss, unbiased and alpha: above. k: units sampled from an episode, ``draws`` times over. bias: whether there is a b."""

    loss: Fitted = "rd"
    unbiased: bool = True
    k: int = 64
    draws: int = 8
    alpha: float = 0.0
    bias: bool = True
    ridge: float = 1e-3
    folds: int = 5

    def __post_init__(self) -> None:
        check_word(self.loss, Fitted, "loss")
        for name, least in (("k", 1), ("draws", 1), ("folds", 2), ("alpha", 0), ("ridge", 0)):
            if getattr(self, name) < least:
                raise OptionError(f"{name} = {getattr(self, name)}: expected at least {least}")


def fit_latent(batch: Batch, factors: Factors, rng: np.random.Generator, how: Settings) -> LearnedLatent:
    """The decoder of these factors, cross-fitted: episodes of a prompt are held out together. ``direct`` factors need none."""
    axis: Axis = "step"
    z = factors.latent(batch, axis)
    none = np.zeros(0, dtype=np.int64)
    if factors.direct:
        weights = np.append(np.ones(z.shape[1]), 0.0)[None]
        return LearnedLatent(factors, axis, weights, none.astype(np.uint64), none, Bill())
    over: Axis = "group" if batch.group is not None and batch.group.n > 1 else "episode"
    units = batch.count(over)
    if units < 2:
        raise BatchError("one episode cannot be held out from itself: fit on at least two, or pass learned= from another batch")
    folds = min(how.folds, units)
    part = rng.permutation(units) % folds
    fold = part[batch.within("episode", over)]
    centre, spread = z.mean(axis=0), z.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    shift = centre if how.bias else np.zeros_like(centre)  # without b there is nothing to take up a shift
    x = np.column_stack([(z - shift) / scale, np.ones(z.shape[0])])[:, : z.shape[1] + how.bias]
    gram, rhs = normal_equations(batch, x, fold, folds, rng, how)
    penalty = np.full(x.shape[1], how.ridge * batch.count("episode"))
    penalty[z.shape[1] :] = 0.0
    found = solve_folds(gram, rhs, penalty)
    weights = np.zeros((folds + 1, z.shape[1] + 1))
    weights[:, :-1] = found[:, : z.shape[1]] / scale
    weights[:, -1] = (found[:, -1] if how.bias else 0.0) - weights[:, :-1] @ shift
    keys = trajectory_keys(batch)
    order = np.argsort(keys)
    own = part[batch.within("trajectory", over)]
    return LearnedLatent(factors, axis, weights, keys[order], own[order], Bill(trained=float(batch.action.sum())))


def normal_equations(
    batch: Batch, x: Float, fold: Int, folds: int, rng: np.random.Generator, how: Settings
) -> tuple[Float, Float]:  # fmt: skip
    """The quadratic form of the loss, summed over episodes, per fold: w' G w - 2 b' w (+ what does not depend on w).

    x: (units, d). fold: of each episode.
    """
    episode = batch.within("step", "episode")
    returns = group_mean(batch.reward, batch.within("trajectory", "episode"))[0]
    length = np.bincount(episode)
    total = _sums(x, episode, length.size)
    if how.loss == "sum":
        gram, rhs = fold_grams(total, returns, fold, folds)
    elif how.loss == "rd":
        gram, rhs = fold_grams(total / length[:, None], returns / length, fold, folds)
    else:
        order, start = np.argsort(episode, kind="stable"), np.cumsum(length) - length
        gram, rhs = np.zeros((folds, x.shape[1], x.shape[1])), np.zeros((folds, x.shape[1]))
        for _ in range(how.draws):
            some = x[order[start[:, None] + drawn(length, how.k, rng)]]
            more = sampled(some, returns / length, length, fold, folds, unbiased=how.unbiased)
            gram, rhs = gram + more[0] / how.draws, rhs + more[1] / how.draws
    if how.alpha:
        gram = gram + how.alpha * _spread(batch, x, fold, folds)
    return gram, rhs


def _sums(x: Float, owner: Int, n: int) -> Float:
    return np.stack([np.bincount(owner, weights=column, minlength=n) for column in x.T], axis=1)


def _spread(batch: Batch, x: Float, fold: Int, folds: int) -> Float:
    """Variance over time of what all agents of an episode get together, as a quadratic form per fold."""
    place = np.arange(batch.n_steps) - np.searchsorted(batch.within("step", "trajectory"), batch.within("step", "trajectory"))
    episode = batch.within("step", "episode")
    cell, joint = np.unique(episode * (int(place.max()) + 1) + place, return_inverse=True)
    together = _sums(x, joint, cell.size)
    of = cell // (int(place.max()) + 1)
    size = np.bincount(of)
    centred = together - (_sums(together, of, size.size) / size[:, None])[of]
    return fold_grams(centred / np.sqrt(size[of])[:, None], np.zeros(of.size), fold[of], folds)[0]


def sampled(some: Float, goal: Float, length: Int, fold: Int, folds: int, *, unbiased: bool) -> tuple[Float, Float]:
    """The form of "rrd" for K units of every episode: some (episodes, K, d), goal R / T, length T (episodes,)."""
    k, mean = some.shape[1], some.mean(axis=1)
    gram, rhs = fold_grams(mean, goal, fold, folds)
    if not unbiased or k == 1:  # the variance of one value is not defined
        return gram, rhs
    factor = np.repeat((1.0 - k / length) / k / (k - 1), k)  # negative where units were drawn with repetition
    apart, of = (some - mean[:, None]).reshape(-1, some.shape[2]), np.repeat(fold, k)
    for sign in (1.0, -1.0):
        own = sign * factor > 0
        root = np.sqrt(np.abs(factor[own]))[:, None]
        gram = gram - sign * fold_grams(apart[own] * root, np.zeros(int(own.sum())), of[own], folds)[0]
    return gram, rhs


def drawn(length: Int, k: int, rng: np.random.Generator) -> Int:
    """k places in each of several sequences, shape (n, k): distinct ones where it is that long, else with repetition."""
    key = rng.random((length.size, int(length.max())))
    key[np.arange(key.shape[1])[None, :] >= length[:, None]] = np.inf
    distinct = np.argsort(key, axis=1)[:, :k]
    if distinct.shape[1] < k:
        distinct = np.pad(distinct, ((0, 0), (0, k - distinct.shape[1])))
    repeated = (rng.random((length.size, k)) * length[:, None]).astype(np.int64)
    long: Bool = length >= k
    return np.where(long[:, None], distinct, repeated)
