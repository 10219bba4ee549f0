"""From r to Q* (Rafailov et al. 2024, arXiv 2404.12358): the log-ratio of a preference-trained policy is an advantage."""

from __future__ import annotations

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..evidence import Evidence, Policy
from ..evidence.implicit import LearnedImplicit, fit_implicit, log_ratio
from ..evidence.implicit_design import Reference
from ..registry import method
from ..structure import Float


def collect(batch: Batch, policy: Policy, *, rng: np.random.Generator) -> Evidence:
    """Ask the preference-trained policy for its log-probability of every token."""
    asked = policy.logp(batch, rng)
    return Evidence({"dpo_logp": asked.values}, {"dpo_logp": "token"}, bill=asked.bill, provenance=policy.provenance)


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    beta: float = 0.1,
    reference: Reference = "frozen",
    folds: int = 5,
    ridge: float = 10.0,
    buckets: int = 2**14,
    steps: int = 30,
) -> LearnedImplicit:
    """A policy trained by DPO on all pairs (solved, unsolved) of a prompt in this batch.

        loss = -log sigmoid(sum over chosen of c_t - sum over rejected of c_t)

    A log-linear policy on hashed text features, cross-fitted by prompt (see ``evidence.implicit``), since how one
    rollout ended decides which pairs the others are in; a batch of one prompt is held out by trajectory, as well as that can
    be done. The paper's is a language model trained offline. Pairs of a prompt weigh together half its rollouts. Where no
    prompt has both, nothing is learned: all credit is 0, and the diagnostic ``examples``, the number of pairs, is 0.
    """
    given = {"beta": beta, "reference": reference, "folds": folds, "ridge": ridge, "buckets": buckets, "steps": steps}
    return fit_implicit(batch, "dpo_logp", rng, labels=None, together="group", **given)  # type: ignore[arg-type]


@method(
    unit="token",
    reads={"ref_logp"},
    may_read={"logp"},
    unless={"ref_logp": ("reference", "policy")},
    evidence={"dpo_logp": "token"},
    source="policy",
    collect=collect,
    fit=fit,
    cost="2 T tokens scored (policy and reference); the policy is trained on pairs once",
    status="verified",
    unbiased="no: it is the advantage of the KL-regularised optimum, not of the policy that sampled, and only if that was found",
    smallest="(Batch.from_turns([[2]], ref_logp=[-1.0, -0.5]), {'dpo_logp': [-0.5, -0.7]})",
    scope="trajectory",
)
def from_r_to_q(batch: Batch, *, dpo_logp: Float, beta: float = 0.1, reference: Reference = "frozen") -> Credit:
    """The log-ratio of a preference-trained policy to its reference, token by token.

        c_t = beta (log pi(y_t | s_t) - log pi_ref(y_t | s_t))

    and where pi is the optimum of E[r] - beta KL(pi, pi_ref), with texts as deterministic states,

        c_t = r(s_t, y_t) + V*(s_{t+1}) - V*(s_t),        V*(s) = beta log sum_a pi_ref(a | s) exp((r + V*(s'))/beta)

    the advantage of the soft optimum, summing to R - V*(prompt) over a response. dpo_logp:
    log-probability of every token under the trained policy, shape (T,), in nats, of any policy that is (nearly) such
    an optimum: DPO's, or one that RL with a KL term has converged to. A unit's credit is the sum over its
    tokens; nothing is divided by length. One value per token, read as an advantage (a potential-shaped reward of
    the same problem would be the same numbers). Rewards are not read: they reached the policy when it was trained.

    beta: 0.1, customary for DPO; it must be the one the policy was trained with for c to be in units of reward.
    reference: "frozen" compares with ``ref_logp``, "policy" with ``logp``.

    Where the policy is its reference, all credit is 0. Another value of beta only scales. c is unique up to
    shaping: preferences between whole responses to one prompt cannot tell r from r + V(next) - V(here), nor show
    V*(prompt). It measures what is worth doing with the best continuation, softly; the advantage A of the policy
    that samples is another quantity.

    Source: Rafailov et al., COLM 2024 (2404.12358), the token-level reading of DPO; the identity is checked by
    backward induction in the tests. Weighing the policy gradient with it is the library's choice; no code published.
    """
    if beta <= 0:
        raise OptionError(f"beta = {beta}: expected above 0")
    token = beta * log_ratio(batch, dpo_logp, "dpo_logp", reference)
    return Credit(batch, "token", unit=token, token=token)
