"""ReMax (Li et al. 2023, arXiv 2310.10505): REINFORCE with the greedy rollout's reward as baseline."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence import Evidence, Replayer, Sampler
from ..ops.scans import discounted_suffix, gae
from ..registry import method
from ..structure import Float
from ..words import check_word

Form = Literal["basic", "to_go", "official"]


def collect(batch: Batch, sampler: Sampler, *, rng: np.random.Generator) -> Evidence:
    """One rollout per prompt with the likeliest action at every choice; its reward is the baseline of all its samples."""
    if not isinstance(sampler, Replayer):
        raise OptionError(f"remax asks for greedy rollouts, and {type(sampler).__name__} has no greedy() (evidence.Replayer)")
    asked = sampler.greedy(batch, rng)
    values = np.asarray(asked.values, dtype=np.float64)
    if values.shape != (batch.count("group"),):
        raise OptionError(f"the sampler answered with shape {values.shape}, expected ({batch.count('group')},): one per prompt")
    arrays = {"greedy_reward": values}
    return Evidence(arrays, {"greedy_reward": "group"}, bill=asked.bill, provenance=sampler.provenance)


@method(
    unit="trajectory",
    reads={"reward", "group"},
    may_read={"logp", "ref_logp"},
    evidence={"greedy_reward": "group"},
    source="sampler",
    collect=collect,
    cost="one greedy rollout (up to T tokens) and its reward per prompt, 1/G of that per trajectory",
    status="verified",
    unbiased="yes",
    smallest="(Batch.from_turns([[1]], outcome=[0.9], group=[0]), {'greedy_reward': [0.6]})",
    scope="group",
)
def remax(
    batch: Batch,
    *,
    greedy_reward: Float,
    form: Form = "basic",
    gamma: float = 0.99,
    beta: float = 0.1,
    clip: float = 5.0,
) -> Credit:
    """Reward above that of the same policy decoding greedily from the same prompt.

        A_i = R_i - b                                             "basic"
        A_t = sum_{k >= t} r_k - b                                "to_go"
        A_t = -beta (log pi - log pi_ref)_t + gamma^(T - t) clip(R_i - b, -clip, clip)      "official", t = 0..T-1

    R (N,) is the total reward. greedy_reward: b, one per prompt, shape (groups,); all its
    rollouts share it, and one is enough. A null (NaN) b is refused: there is no baseline to fall back
    on. If all samples beat the greedy rollout, all advantages are positive.

    form: "basic", one value per trajectory, the paper's estimator (default). "to_go": one per policy
    token, the rewards from it on less b (verl's ``remax``); differs from "basic" only where rewards or KL
    penalties stand before the end. "official": the authors' code, whose token has its *own* KL penalty, not
    the sum to come, and whose T-th token already carries one gamma; T counts policy tokens; needs the
    columns ``logp`` and ``ref_logp`` unless beta = 0.
    gamma, beta, clip: of "official" only: 0.99 (scripts; 0.95 is its parser's default), 0.1, 5.
    loss.denominator: "trajectory", the unbiased sum over tokens; "official" has the mean over all tokens.

    Unbiased (basic, to_go): b does not depend on the sampled actions. "official" is not (clip, gamma, KL).
    A prompt whose samples all equal the greedy rollout gets 0 exactly (in "official" the KL part remains).

    Source: Li et al., ICML 2024; liziniu/ReMax ``step3_rlhf_finetuning/remax_trainer.py``
    (``compute_returns``, ``compute_loss``) and verl ``compute_remax_outcome_advantage``, both read.
    """
    check_word(form, Form, "form")
    if not 0 <= gamma <= 1 or clip <= 0:
        raise OptionError(f"gamma = {gamma}, clip = {clip}: expected a number from 0 to 1, and one above 0")
    if np.isnan(greedy_reward).any():
        i = int(np.argmax(np.isnan(greedy_reward)))
        raise OptionError(f"evidence 'greedy_reward'[{i}] is null: without it the rollouts of prompt {i} have no baseline")
    above = batch.reward - greedy_reward[batch.within("trajectory", "group")]
    if form == "basic":
        return Credit.of(batch, "trajectory", above)
    owner, bounds = batch.within("token", "trajectory"), batch.offsets("trajectory")
    if form == "to_go":
        # R - b, less what was earned before the token: 0 exactly where the two are equal
        earned = batch.rewards("token")
        to_go = discounted_suffix(earned, bounds)
        token = np.where(batch.action, above[owner] - (to_go[bounds[:-1]][owner] - to_go), 0.0)
        return Credit(batch, "token", unit=token, token=token)
    ones = np.ones(batch.n_tokens)
    left = gae(ones, np.zeros(ones.size), batch.action, bounds, 1.0, 1.0, np.zeros(batch.n_trajectories))
    final = gamma**left * np.clip(above, -clip, clip)[owner]
    penalty = beta * (batch.need("logp", "for remax") - batch.need("ref_logp", "for remax")) if beta else 0.0
    token = np.where(batch.action, final - penalty, 0.0)
    return Credit(batch, "token", unit=token, token=token, loss=Loss(denominator="token"))
