"""POAD (Wen et al. 2024, arXiv 2405.15821): policy optimisation with actions decomposed into tokens."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence.critic import LearnedTokenValue, final_value, fit_token_value
from ..ops.groups import standardise
from ..ops.scans import gae_discounted
from ..registry import method
from ..structure import Float
from ..words import check_word

Action = Literal["turn", "step"]


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    gamma: float = 0.99,
    action: Action = "turn",
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
) -> LearnedTokenValue:
    """A critic of tokens for this batch: the return of the action, regressed on what stood before each of its tokens.

    A cross-fitted linear model of hashed features (``evidence.critic``; needs ``ids``), in place of the paper's MLP on the
    language model's hidden states. The target is that of lam = 1 and gamma_w = 1: the same for all tokens of an action.
    """
    check_word(action, Action, "action")
    r, bounds = batch.rewards("token"), batch.offsets("trajectory")
    discount = np.ones(batch.n_tokens)
    discount[batch.last_action(action)] = gamma
    target, _ = gae_discounted(r, np.zeros(r.size), batch.action, bounds, discount, 1.0, final_value(batch))
    return fit_token_value(batch, target, rng, folds=folds, ridge=ridge, buckets=buckets)


@method(
    unit="token",
    reads={"reward"},
    may_read={"steps", "truncated", "bootstrap"},
    evidence={"value": "token"},
    fit=fit,
    cost="T tokens scored by a critic, which is trained on them",
    status="verified",
    unbiased="no: lam < 1 leans on the critic, gamma < 1 changes the objective",
    smallest="Batch.from_turns([[2]], outcome=[1.0], value=[0.2, 0.5])",
    scope="trajectory",
    widens={"whiten": True},
)
def poad(
    batch: Batch,
    *,
    value: Float,
    gamma: float = 0.99,
    gamma_w: float = 1.0,
    lam: float = 0.95,
    action: Action = "turn",
    whiten: bool = False,
) -> Credit:
    """GAE over tokens that discounts between the actions of the environment, not between the tokens of one.

        delta_j = r_j + g_j V_{j+1} - V_j          A_j = delta_j + g_j lam A_{j+1}          returns_j = A_j + V_j
        g_j = gamma_w inside an action, gamma at its last token

    value: V before every token, shape (T,), read at policy tokens only; j + 1 is the next policy token.
    An action's reward sits on its last policy token. After the last one V = 0, or ``bootstrap`` where the
    trajectory is ``truncated``. One value per token. targets: ``value``, the returns (T,).

    gamma, lam: 0.99 (the scripts have 0.95 to 0.99) and 0.95. gamma_w: 1, which leaves the optimum of the
    action-level problem as it is; gamma_w = gamma is NTPO, the naive token-level PPO of the ablation, and
    the gap to the action-level problem grows with 1 - gamma_w^(tokens still to come).
    action: what the environment takes as one action, a "turn" or a "step" (a turn, where there are no steps).
    whiten: (A - mean) / (std + 1e-8), population, over all policy tokens of the batch. The official code does
    so in each minibatch, over entries that are not exactly 0 (the mask, in effect); off by default,
    because a credit does not know the minibatch and the shift makes it no longer an advantage.
    loss.denominator: "token". Not a matter of credit: the code skips a minibatch's update whose approximate KL
    exceeds 0.02.

    With gamma = 1 this is ``gae`` with gamma = 1; with gamma_w = gamma it is ``gae`` with that gamma. With lam = 1
    every token's return is that of its action. Tokens of an action with constant V share its credit, times
    lam^(tokens to its end).

    Source: Wen et al., NeurIPS 2024 (2405.15821); morning9393/ADRL ``mappo/utils/language_buffer.py``
    (``batch_process_tppo``), read. The paper has a target network; the code, and this, stored values.
    """
    check_word(action, Action, "action")
    for name, factor in (("gamma", gamma), ("gamma_w", gamma_w), ("lam", lam)):
        if not 0 <= factor <= 1:
            raise OptionError(f"{name} = {factor}: expected a number from 0 to 1")
    if (unknown := batch.action & ~np.isfinite(value)).any():
        i = int(np.argmax(unknown))
        raise OptionError(f"evidence 'value'[{i}] = {value[i]}: expected a number at every policy token")
    discount = np.full(batch.n_tokens, float(gamma_w))
    discount[batch.last_action(action)] = gamma
    r, bounds = batch.rewards("token"), batch.offsets("trajectory")
    a, returns = gae_discounted(r, value, batch.action, bounds, discount, lam, final_value(batch))
    if whiten:
        everything = np.zeros(a.size, dtype=np.int64)
        a = standardise(a, everything, spread="population", eps=1e-8, counted=batch.action, single="zero")
        a = np.where(batch.action, a, 0.0)
    return Credit(batch, "token", unit=a, token=a, targets={"value": returns}, loss=Loss(denominator="token"))
