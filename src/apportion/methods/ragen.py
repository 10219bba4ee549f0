"""RAGEN: StarPO, its prompt filter StarPO-S, and bi-level GAE (Wang et al. 2025, arXiv 2504.20073)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence.critic import fit_turn_value
from ..evidence.learned import LearnedValue
from ..ops.groups import group_spread, standardise
from ..ops.groups import whiten as whitened
from ..ops.scans import gae, gae_and_returns
from ..registry import method
from ..structure import Float, Int
from ..words import Single, check_word

Estimator = Literal["grpo", "gae", "bi_level"]
Order = Literal["largest", "smallest"]
Normalise = Literal["identity", "mean", "mean_std", "asym_clip"]
Over = Literal["group", "batch"]

#: Rewards whose standard deviation is no larger than this are not divided by it (official code).
FLAT = 1e-6


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    gamma: float = 1.0,
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
) -> LearnedValue:
    """A critic for this batch: the return from each turn on, discounted per token, regressed on what was seen."""
    return fit_turn_value(batch, rng, gamma=gamma, discount="token", folds=folds, ridge=ridge, buckets=buckets)


@method(
    unit="trajectory",
    reads={"reward", "group"},
    evidence={"value": "token"},
    unless={"value": ("estimator", "grpo")},
    fit=fit,
    cost="0, and a share of the prompts is trained on; T tokens scored by a trained critic with gae and bi_level",
    status="verified",
    unbiased="no: the filter trains on some prompts only, and dividing by the spread reweights those",
    smallest="Batch.from_turns([[1], [1]], outcome=[1.0, 0.0], group=[0, 0])",
    scope="batch",
)
def ragen(
    batch: Batch,
    *,
    value: Float | None = None,
    estimator: Estimator = "grpo",
    share: float = 0.25,
    order: Order = "largest",
    normalise: Normalise = "identity",
    normalise_over: Over = "group",
    gamma: float = 1.0,
    gamma_turn: float = 0.95,
    lam: float = 1.0,
    whiten: bool = True,
    clip: tuple[float, float] | None = None,
    eps: float = 1e-6,
    single: Single = "error",
) -> Credit:
    """The prompts with the widest spread of rewards, then an advantage for whole trajectories or for turns.

        U(prompt) = std_G R (ddof 1)         kept: the floor(share P) prompts of largest U, at least one
        A_i = (R_i - mean_G R) / (std_G R + eps)                                                       "grpo"
        A_t = delta_t + gamma lam A_{t+1}, delta_t = r_t + gamma V_{t+1} - V_t                         "gae"
        H_k = r_k + gamma_turn V(e_{k+1}) - V(e_k) + gamma_turn lam H_{k+1}                            "bi_level"
        A_t = H_k at the end e_k of turn k; before it, within the turn, as "gae" with V_{e_k} + H_k for the reward

    The credit is that of ``batch.take(rows)``, the kept prompts with all their rollouts; prompts are kept whole, so
    their order and statistics are as before. R (N,) is the total reward. value: V before every
    token, shape (T,), read at policy tokens by "gae" and "bi_level" only; after the last one it is 0, cut off or not.

    estimator: "grpo", one value per trajectory (StarPO with GRPO, the default); "gae", one per policy token, with
    gamma = lam = 1 (StarPO with PPO; StarPO-S is this with share=0.25); "bi_level", the repository's option of
    that name, credited to VAGEN. Ends of turns are the last policy tokens of the turns: the official
    code takes tokens with a reward that is not 0, so a turn rewarded with exactly 0 merges with the next there, and
    a trajectory without any reward fails. Here such turns stay. targets: ``value``, the returns (T,).
    share: 0.25 (repository and StarPO-S); 1 keeps all. Ties: prompts that come first. A prompt of one rollout has
    U = 0. order: "smallest" keeps the least spread. Later versions of the repository have more strategies: not here.
    normalise: of R before "grpo", over the rollouts of the kept "group" or "batch" (normalise_over): minus the
    "mean"; "mean_std", over the std (ddof 1) plus 1e-6, 0 where it is at most 1e-6; "asym_clip", that cut to
    [-1, 3]. Rollouts of a prompt of one get 0, unless all prompts are such: then nothing is normalised.
    gamma, lam: 1 and 1; gamma_turn: 0.95, between turns. whiten: (A - mean) / sqrt(var + 1e-8) over the kept policy
    tokens, ddof 1, of "gae" and "bi_level", after the returns were formed.
    clip: (low, high) such as StarPO-S's (0.2, 0.28): loss.clip; None leaves it to the trainer.
    eps: 1e-6. single: what a kept prompt of one rollout gets with "grpo" (verl: "raw").
    loss.denominator: "sequence". Token rewards before the end of a turn (KL penalties) stay where they are; with
    "bi_level" they reach no earlier turn.

    With share=1, "grpo" is ``grpo`` and "gae" is ``gae`` with whiten=True (without ``bootstrap``). With one turn per trajectory
    "bi_level" is "gae", whatever gamma_turn.

    Source: Wang et al. (2504.20073), RAGEN-AI/RAGEN ``ragen/trainer/core_algos.py``
    (``compute_bi_level_gae_advantage_return``), ``agent_trainer.py`` and ``ctx_manager.py``.
    """
    for word, words, name in (
        (estimator, Estimator, "estimator"), (order, Order, "order"), (normalise, Normalise, "normalise"),
        (normalise_over, Over, "normalise_over"), (single, Single, "single"),
    ):  # fmt: skip
        check_word(word, words, name)
    _check_numbers(gamma, gamma_turn, lam, share, clip)
    if normalise != "identity" and estimator != "grpo":
        raise OptionError(f"normalise = {normalise!r} is of whole rollouts: with estimator={estimator!r} leave it out")
    spread, kept = _kept(batch, share, order)
    diagnostics = {"kept_prompts": float(kept.size), "kept_spread": float(spread[kept].mean()), "spread": float(spread.mean())}
    rows = np.flatnonzero(np.isin(batch.within("row", "group"), kept))
    tokens = np.isin(batch.within("token", "group"), kept)
    # rows are named even where all are kept: a trainer whose batch is fixed must hear of it before the first drop
    taken = rows if share < 1 else None
    batch = batch.take(rows) if share < 1 else batch
    if estimator == "grpo":
        over = batch.within("trajectory", "group")
        reward = _normalised(batch.reward, over, normalise, normalise_over)
        a = standardise(reward, over, spread="sample", eps=eps, single=single)
        credit = Credit.of(batch, "trajectory", a, loss=_loss(clip, a.size), diagnostics=diagnostics, rows=taken)
        return credit
    assert value is not None
    v = value[tokens]
    if (unknown := batch.action & ~np.isfinite(v)).any():
        i = int(np.flatnonzero(tokens)[np.argmax(unknown)])
        raise OptionError(f"evidence 'value'[{i}] = {value[i]}: expected a number at every policy token")
    a, returns = _token_advantages(batch, v, estimator, gamma, gamma_turn, lam)
    a = whitened(a, batch.action) if whiten else a
    return Credit(
        batch, "token", unit=a, token=a, targets={"value": returns}, loss=_loss(clip, a.size),
        diagnostics=diagnostics, rows=taken,
    )  # fmt: skip


def _check_numbers(gamma: float, gamma_turn: float, lam: float, share: float, clip: tuple[float, float] | None) -> None:
    for name, factor in (("gamma", gamma), ("gamma_turn", gamma_turn), ("lam", lam)):
        if not 0 <= factor <= 1:
            raise OptionError(f"{name} = {factor}: expected a number from 0 to 1")
    if not 0 < share <= 1:
        raise OptionError(f"share = {share}: expected a share of the prompts above 0 and at most 1")
    if clip is not None and not (0 <= clip[0] <= 1 and clip[1] >= 0):
        raise OptionError(f"clip = {clip}: expected (low, high), such as (0.2, 0.28)")


def _kept(batch: Batch, share: float, order: Order) -> tuple[Float, Int]:
    """U of every prompt (groups,), and the prompts kept, ascending."""
    spread = group_spread(batch.reward, batch.within("trajectory", "group"), ddof=1)
    n = max(int(np.floor(share * spread.size + 1e-9)), 1)  # 0.29 * 100 is 28.999...
    ranked = np.argsort(-spread if order == "largest" else spread, kind="stable")
    return spread, np.sort(ranked[:n])


def _normalised(reward: Float, over: Int, how: Normalise, scope: Over) -> Float:
    if how == "identity" or np.bincount(over).max() == 1:
        return reward
    over = over if scope == "group" else np.zeros_like(over)
    if how == "mean":
        return standardise(reward, over, single="zero")
    z = standardise(reward, over, spread="sample", eps=1e-6, single="zero")
    z = np.where(group_spread(reward, over, ddof=1)[over] <= FLAT, 0.0, z)
    return np.clip(z, -1.0, 3.0) if how == "asym_clip" else z


def _token_advantages(
    batch: Batch, v: Float, estimator: Estimator, gamma: float, gamma_turn: float, lam: float
) -> tuple[Float, Float]:
    r = batch.rewards("token")
    end = np.zeros(batch.n_trajectories)
    if estimator == "gae":
        return gae_and_returns(r, v, batch.action, batch.offsets("trajectory"), gamma, lam, end)
    at = batch.last_action("turn")
    every = np.ones(at.size, dtype=np.bool_)
    high = gae(r[at], v[at], every, batch.trajectory_turns, gamma_turn, lam, end)
    r = np.array(r)
    r[at] = high + v[at]
    return gae_and_returns(r, v, batch.action, batch.turn_offsets, gamma, lam, np.zeros(at.size))


def _loss(clip: tuple[float, float] | None, n: int) -> Loss:
    bounds = None if clip is None else np.tile([1.0 - clip[0], 1.0 + clip[1]], (n, 1))
    return Loss(denominator="sequence", clip=bounds)
