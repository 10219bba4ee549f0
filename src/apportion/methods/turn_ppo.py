"""Turn-PPO (Li et al. 2025, arXiv 2512.17008): a turn is one action of PPO."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence.critic import final_value, fit_turn_value
from ..evidence.learned import LearnedValue
from ..ops.groups import standardise
from ..ops.scans import first_active, gae_and_returns
from ..registry import method
from ..structure import Float
from ..words import check_word

RatioForm = Literal["product", "geometric", "token"]
Norm = Literal["token_count", "turn_mean"]
Whiten = Literal["none", "turn", "token"]


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    gamma: float = 0.99,
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
) -> LearnedValue:
    """A critic for this batch: the return from each turn on, discounted per turn, regressed on what was seen.

    A cross-fitted linear model of hashed text features, in place of the paper's language model with a value head.
    """
    return fit_turn_value(batch, rng, gamma=gamma, discount="turn", folds=folds, ridge=ridge, buckets=buckets)


@method(
    unit="turn",
    reads={"reward"},
    may_read={"truncated", "bootstrap"},
    evidence={"value": "token"},
    fit=fit,
    cost="one critic pass over T tokens, N values read; the critic is trained",
    status="secondary",
    unbiased="no: lam < 1 leans on the critic, gamma < 1 changes the objective",
    smallest="Batch.from_turns([[1, 1]], outcome=[1.0], value=[0.4, 0.6])",
    scope="trajectory",
    widens={"whiten": ("turn", "token")},
)
def turn_ppo(
    batch: Batch,
    *,
    value: Float,
    gamma: float = 0.99,
    lam: float = 0.9,
    whiten: Whiten = "none",
    ratio: RatioForm = "product",
    norm: Norm = "token_count",
) -> Credit:
    """GAE over turns, with one importance ratio and one clip per turn.

        delta_h = r_h + gamma V(s_{h+1}) - V(s_h)      A_h = delta_h + gamma lam A_{h+1}      returns_h = A_h + V(s_h)
        rho_h = exp(sum_{t in h} log pi_new(y_t) - log pi_old(y_t))
        loss = -mean_trajectories 1/|y| sum_h min(rho_h A_h, clip(rho_h, 1 - 0.2, 1 + 0.2) A_h)

    value: V before every token, shape (T,); only that at the first policy token of each turn is read,
    V(s_h). r_h holds all rewards of turn h, the outcome in the last one. After the last turn V = 0, or
    ``bootstrap`` where the trajectory is ``truncated``. One value per turn, on all its policy tokens.
    targets: ``value``, the return of its turn at every policy token (T,); the paper's critic loss uses the
    first one of each turn only, averaged over the turns of a trajectory, then over trajectories.

    gamma, lam: 0.99 and 0.9, the best of the paper's ablation as its summaries tell.
    ratio: "product", over the turn, as above; "geometric", its |h|-th root (the ablation of that name in
    arXiv 2511.20718, see ``sorl``); or "token", for a loss that knows tokens only.
    norm: "token_count" divides the sum over turns by the policy tokens |y| of the trajectory
    (loss.denominator "sequence"; where rows are single turns a trainer divides by the row's own). "turn_mean"
    averages over the turns of a trajectory, with surrogates of tokens averaged within the turn ("token") and
    one per turn otherwise: as no denominator says that, each token then carries A_h / H ("product") or
    A_h / (H |h|), H turns, under loss.denominator "trajectory"; ``unit`` stays A_h.
    whiten: (A - mean) / (std + 1e-8), population, over "turn"s or policy "token"s of the batch, after the
    returns were formed. The paper's choice is not known (re-implementations whiten over tokens): "none".

    The advantage is that of ``gae`` with unit="turn" and the same gamma and lam: on policy the two part by
    the loss's denominator alone, and the ratio and clip show from the second step on a batch on.

    Source: Li et al., Findings of EACL 2026 (2512.17008), at second hand: an audited re-implementation that
    cites its sections 2.3 and 2.4, and public summaries. No official code.
    """
    check_word(whiten, Whiten, "whiten")
    check_word(ratio, RatioForm, "ratio")
    check_word(norm, Norm, "norm")
    for name, factor in (("gamma", gamma), ("lam", lam)):
        if not 0 <= factor <= 1:
            raise OptionError(f"{name} = {factor}: expected a number from 0 to 1")
    start = first_active(batch.action, batch.turn_offsets)
    v = value[start]
    if (unknown := ~np.isfinite(v)).any():
        i = int(start[np.argmax(unknown)])
        raise OptionError(f"evidence 'value'[{i}] = {value[i]}: expected a number at the first policy token of every turn")
    everywhere = np.ones(batch.n_turns, dtype=np.bool_)
    a, returns = gae_and_returns(batch.rewards("turn"), v, everywhere, batch.trajectory_turns, gamma, lam, final_value(batch))
    a = _whitened(batch, a, whiten)
    turn = batch.within("token", "turn")
    loss = Loss(ratio="token" if ratio == "token" else "turn", form="geometric" if ratio == "geometric" else "product")
    targets = {"value": np.where(batch.action, returns[turn], 0.0)}
    if norm == "token_count":
        return Credit.of(batch, "turn", a, targets=targets, loss=_with(loss, "sequence"))
    share = 1.0 / np.diff(batch.trajectory_turns)[batch.within("turn", "trajectory")]
    if ratio != "product":
        share = share / batch.action_count("turn")
    token = np.where(batch.action, (a * share)[turn], 0.0)
    return Credit(batch, "turn", unit=a, token=token, targets=targets, loss=_with(loss, "trajectory"))


def _with(loss: Loss, denominator: Literal["sequence", "trajectory"]) -> Loss:
    return Loss(ratio=loss.ratio, form=loss.form if loss.ratio == "turn" else "geometric", denominator=denominator)


def _whitened(batch: Batch, a: Float, over: Whiten) -> Float:
    if over == "none":
        return a
    if over == "turn":
        return standardise(a, np.zeros(a.size, dtype=np.int64), spread="population", eps=1e-8, single="zero")
    everything = np.zeros(batch.n_tokens, dtype=np.int64)
    token = standardise(
        a[batch.within("token", "turn")], everything, spread="population", eps=1e-8, counted=batch.action, single="zero"
    )
    return token[first_active(batch.action, batch.turn_offsets)]
