"""SORL: SO-PPO and SO-GRPO (Li et al. 2025, arXiv 2511.20718; first version: ST-PPO)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence.critic import final_value, fit_turn_value
from ..evidence.learned import LearnedValue
from ..ops.groups import standardise
from ..ops.scans import gae_and_returns
from ..registry import method
from ..structure import Float
from ..words import Single, check_word

Base = Literal["ppo", "grpo"]
RatioOver = Literal["turn", "token"]
Rescale = Literal["conservative", "raw", "none"]


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
    unit="turn",
    reads={"reward"},
    may_read={"group", "truncated", "bootstrap"},
    evidence={"value": "token"},
    unless={"value": ("base", "grpo")},
    fit=fit,
    cost="T tokens scored by a trained critic (base='ppo'); a second backward pass over clipped tokens (rescale)",
    status="secondary",
    unbiased="no: 1/|y| weighs tokens of short rollouts more; from the second step on a batch on, clip and division bias too",
    smallest="Batch.from_turns([[1, 1]], outcome=[1.0], value=[0.4, 0.6])",
    scope="group",
)
def sorl(
    batch: Batch,
    *,
    value: Float | None = None,
    base: Base = "ppo",
    gamma: float = 1.0,
    lam: float = 1.0,
    ratio: RatioOver = "turn",
    rescale: Rescale = "conservative",
    eps: float = 1e-6,
    single: Single = "error",
) -> Credit:
    """Token advantages of PPO or GRPO under one ratio per turn, the update divided by what clipping takes away.

        A_t = delta_t + gamma lam A_{t+1}, delta_t = r_t + gamma V_{t+1} - V_t                   "ppo", every policy token
        A_t = (R_i - mean_G R) / (std_G R + eps)                                                 "grpo", all tokens of i
        w_k = exp(mean_{t in k} log pi_new(y_t) - log pi_old(y_t))                               per turn k
        g = grad of 1/|y| sum_k sum_{t in k} min(w_k A_t, clip(w_k, 1 - 0.2, 1 + 0.2) A_t)
        C = 1/|y| sum_k w_k (sum of A_t over the clipped t in k) / |k| sum_{t in k} grad log pi(y_t)
        update = g / max(||C||, 1)

    value: V before every token, shape (T,), read at policy tokens with base "ppo". R (N,) is the total reward; after the
    last policy token V = 0, or ``bootstrap`` where the trajectory is ``truncated``. ``token`` holds A_t, because
    min acts per token; ``unit`` its mean over the turn, sum_t A_t / |k|, the credit that all tokens of an
    unclipped turn share in the gradient (a loss with loss.ratio "turn" sees to that). targets: ``value``.

    base: "ppo" (SO-PPO, the default) or "grpo" (SO-GRPO; column ``group``, no critic). gamma, lam: 1 and 1, PPO's in the
    search trainers this builds on; the paper's are not known.
    ratio: "turn" (geometric, as above), or "token", which is S-PPO. rescale: "conservative", as above (loss.rescale
    "clipped_norm"); "raw", update = g / ||C|| where anything is clipped ("clipped_norm_raw"); "none": with
    ratio "turn" the first version's ablation "Turn-PPO".
    eps: 1e-6, with ddof 1 (assumed). single: what a prompt of one rollout gets with "grpo"; the card says "zero".
    loss.denominator: "sequence".

    Ratio, clip and division come into force from the second step on a batch on. On policy w = 1 and C = 0, and the update
    is that of the mean of A_t over each turn: with "grpo" exactly GRPO's, and with a critic that has one value a turn and
    gamma = lam = 1 exactly that of ``gae``; otherwise it is ``gae``'s advantage averaged over each turn.

    Reconstructed: that nothing is divided where nothing is clipped, and the floor 1, which never amplifies ("raw"
    does, where C is small: a loss that is a mean over tokens seldom has a C longer than 1). Public renderings of the
    division contradict each other; this is the reviewers' and the first version's (its equations 7 and 8).

    Source: Li et al. (2511.20718), at second hand: abstracts, public reviews of the first version, notes. Code not found.
    """
    for word, words, name in (
        (base, Base, "base"),
        (ratio, RatioOver, "ratio"),
        (rescale, Rescale, "rescale"),
        (single, Single, "single"),
    ):
        check_word(word, words, name)
    for name, factor in (("gamma", gamma), ("lam", lam)):
        if not 0 <= factor <= 1:
            raise OptionError(f"{name} = {factor}: expected a number from 0 to 1")
    targets: dict[str, Float] = {}
    if base == "grpo":
        batch.need("group", "for sorl with base='grpo'")
        over = batch.within("trajectory", "group")
        a = standardise(batch.reward, over, spread="sample", eps=eps, single=single)
        token = np.where(batch.action, a[batch.within("token", "trajectory")], 0.0)
    else:
        assert value is not None
        if (unknown := batch.action & ~np.isfinite(value)).any():
            i = int(np.argmax(unknown))
            raise OptionError(f"evidence 'value'[{i}] = {value[i]}: expected a number at every policy token")
        r, bounds = batch.rewards("token"), batch.offsets("trajectory")
        token, returns = gae_and_returns(r, value, batch.action, bounds, gamma, lam, final_value(batch))
        targets["value"] = returns
    turn = np.bincount(batch.within("token", "turn"), weights=token, minlength=batch.n_turns) / batch.action_count("turn")
    divide: dict[str, Literal["clipped_norm", "clipped_norm_raw"]] = {"conservative": "clipped_norm", "raw": "clipped_norm_raw"}
    loss = Loss(ratio=ratio, denominator="sequence", rescale=divide.get(rescale))
    return Credit(batch, "turn", unit=turn, token=token, targets=targets, loss=loss)
