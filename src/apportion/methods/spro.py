"""SPRO (Fei et al. 2025, arXiv 2507.01551): GRPO plus the policy's own log-ratio, compared position by position."""

from __future__ import annotations

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..ops.groups import group_spread, standardise
from ..ops.scans import prefix_sum
from ..registry import method
from ..structure import Int
from ..words import Denominator, Single, Spread, check_word


@method(
    unit="token",
    reads={"reward", "group", "logp", "ref_logp"},
    cost="T tokens scored by the reference, which GRPO with a KL term has already",
    status="secondary",
    unbiased="no: the added term is the policy's own log-ratio, which no reward confirms, and the first is divided by a spread",
    smallest=(
        "Batch.from_turns([[2], [1]], outcome=[1.0, 0.0], group=[0, 0], logp=[-1.0, -0.5, -2.0], ref_logp=[-1.5, -0.7, -1.0])"
    ),
    scope="group",
)
def spro(
    batch: Batch,
    *,
    beta: float = 0.05,
    msa_scale: float = 1.0,
    msa_clip: float | None = None,
    skip_equal: bool = False,
    spread: Spread = "sample",
    eps: float = 1e-6,
    single: Single = "error",
    denominator: Denominator = "sequence",
) -> Credit:
    """GRPO's advantage plus the masked step advantage: how far the policy has left its reference by this position.

        C_{i,t} = beta sum_{j <= t} (log pi(y_{i,j}) - log pi_ref(y_{i,j}))       Eq. 11
        MSA_{i,t} = C_{i,t} - mean over k with L_k > t of C_{k,t}                  Eq. 12
        A_{i,t} = (R_i - mean_G R) / (std_G R + eps) + MSA_{i,t}                   Eq. 13

    In KL-regularised RL beta log pi/pi_ref is r + V(next) - V(here), so C is the value the prefix has
    gained, and V of the prompt cancels within the group. R (N,) is the total reward; ``logp`` and ``ref_logp``
    (T,) are those of the policy that sampled and of the model it started from, in nats. A step is a token
    position: t counts the policy tokens of a response, observation tokens are skipped. The mean runs
    over the responses that are still going at t, i included, without a spread. One value per token; parts:
    ``outcome`` and ``process`` (MSA); they add up to the credit.

    beta: 0.05, PRIME's; the paper's value is not known to us. msa_scale, msa_clip (ours): factor on MSA, and
    bound of its size, because without a KL term C grows as training goes on and can drown the first term.
    skip_equal (ours): no MSA for prompts whose rewards are all equal.
    spread, eps: ddof 1 and 1e-6 as in verl's GRPO; the paper does not say. single: what a prompt with one
    rollout gets, as in GRPO: an error, 0 or its reward; its MSA is 0 in any case.
    denominator: "sequence", the paper's 1/|y_i|. The paper has a clipped token ratio and no KL loss.

    At the first update the policy is its reference: MSA is 0 and this is GRPO, as it is with beta = 0. Rewards
    all equal: the first term is 0 and MSA is not, so the policy is pushed on the way it already went. Past
    the end of all others the last survivor is its own mean: MSA is 0.

    Source: Fei et al. (2507.01551), Eq. 11-13 through a third-party transcription that agrees with the
    abstract and a public review; no code found. Ours: which log-probabilities (those at sampling), ddof, beta.
    """
    check_word(denominator, Denominator, "denominator")
    if beta < 0:
        raise OptionError(f"beta = {beta}: expected at least 0; below it, prefixes that gained value would lose credit")
    if msa_clip is not None and msa_clip <= 0:
        raise OptionError(f"msa_clip = {msa_clip}: expected None or a bound above 0")
    over = batch.within("trajectory", "group")
    outcome = standardise(batch.reward, over, spread=spread, eps=eps, single=single)
    gained = np.where(batch.action, beta * (batch.need("logp") - batch.need("ref_logp")), 0.0)
    c = prefix_sum(gained, batch.offsets("trajectory"))[batch.action]
    owner = batch.within("token", "trajectory")[batch.action]
    msa = msa_scale * standardise(c, _peers(batch), single="zero")
    if msa_clip is not None:
        msa = np.clip(msa, -msa_clip, msa_clip)
    if skip_equal:
        msa = np.where(group_spread(batch.reward, over, ddof=0)[over[owner]] > 0, msa, 0.0)
    parts = {"outcome": np.zeros(batch.n_tokens), "process": np.zeros(batch.n_tokens)}
    parts["outcome"][batch.action], parts["process"][batch.action] = outcome[owner], msa
    token = parts["outcome"] + parts["process"]
    return Credit(batch, "token", unit=token, token=token, parts=parts, loss=Loss(denominator=denominator))


def _peers(batch: Batch) -> Int:
    """For every policy token, the number of its (prompt, position): none is left empty, however ragged."""
    owner = batch.within("token", "trajectory")[batch.action]
    length = batch.action_count("trajectory")
    position = np.arange(owner.size) - (np.cumsum(length) - length)[owner]
    over = batch.within("trajectory", "group")
    longest = np.zeros(int(over.max()) + 1, dtype=np.int64)
    np.maximum.at(longest, over, length)
    number: Int = (np.cumsum(longest) - longest)[over[owner]] + position
    return number
