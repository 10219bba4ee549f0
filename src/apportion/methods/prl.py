"""PRL (Yao et al. 2026, arXiv 2601.10201): GRPO less the log-ratio to the reference that is still to come."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..ops.groups import standardise
from ..ops.scans import discounted_suffix
from ..registry import method
from ..structure import Int
from ..words import Denominator, Single, Spread, check_word

Split = Literal["length", "steps"]
Adv = Literal["orm", "prm"]
Divergence = Literal["k1", "k3"]

#: exp of more nats than this is no estimate of anything.
FAR = 50.0


@method(
    unit="token",
    reads={"reward", "group", "logp", "ref_logp"},
    may_read={"steps"},
    cost="T tokens scored by the reference, which GRPO with a KL term has already",
    status="verified",
    unbiased="no: it ascends the KL-regularised objective, with the reward's part divided by a spread and the KL's not",
    smallest=(
        "Batch.from_turns([[2], [1]], outcome=[1.0, 0.0], group=[0, 0], logp=[-1.0, -0.5, -2.0], ref_logp=[-1.5, -0.7, -1.0])"
    ),
    scope="group",
)
def prl(
    batch: Batch,
    *,
    eta: float = 200.0,
    split: Split = "length",
    step_len: int = 256,
    adv: Adv = "orm",
    divergence: Divergence = "k1",
    spread: Spread = "sample",
    eps: float = 1e-6,
    single: Single = "error",
    denominator: Denominator = "token",
) -> Credit:
    """GRPO's advantage less the log-ratio to the reference from here to the end, at the ends of steps.

        delta_t = log pi(y_t) - log pi_ref(y_t)                 S_t = sum_{j >= t} delta_j
        A_i = (R_i - mean_G R) / (std_G R + eps)                C_{i,t} = A_i - S_{i,t} / eta
        credit of a token = C at the end of its step

    At the optimum of E[r] - KL / eta the reward less (1/eta) log pi/pi_ref is the same for all responses,
    so the sequence objective splits into one per prefix; v2 reads S as the term of the on-policy gradient
    that a KL loss leaves out. R (N,) is the total reward; ``logp`` and ``ref_logp`` (T,) are those of the
    policy that sampled and of the frozen start, in nats. One value per token; parts: ``outcome`` (A) and
    ``process`` (-S/eta at the step's end); they add up to the credit.

    eta: 200 (1 / eta is v2's beta); the scripts have 200, 100 and 1.
    split, step_len: steps end after every ``step_len``-th policy token of a trajectory and at its last one
    ("length"; 256 in v1's script, 64 and 128 in others), or where the batch's own steps (else its turns) end
    ("steps"; the code splits at line ends). The log-ratios of a step's earlier tokens are charged to the
    steps before it, not to the step. **step_len=1 is v2's token form.**
    adv: "orm" as above; "prm": C = R - S/eta at every token, no baseline, no steps (the code's other branch).
    divergence: "k1", S as above; "k3" (v2): S_t = delta_t + sum_{j > t} (delta_j + exp(-delta_j) - 1).
    spread, eps: ddof 1 and 1e-6 (verl); "none" is the code's ``norm_adv_by_std_in_grpo=False``. single: what a
    prompt with one rollout has for A: an error by default; the code has R / (1 + eps), which is "raw".
    denominator: "token", verl's default, which the scripts keep. Clipped token ratio, no KL loss.

    Where the policy is its reference this is GRPO. Rewards all equal: A is 0 and the credit is -S/eta, a
    pull towards the reference and nothing else.

    Source: Yao et al. (2601.10201 v1 and v2); MaxwellJryao/Process-Reward-Learning, ``ray_trainer.py`` and
    ``compute_prm_outcome_advantage``. Not copied: a step end whose value is exactly 0 takes the next one's there;
    steps are counted over padded columns there, which is the same for answers of a single turn.
    """
    for name, value, words in (("split", split, Split), ("adv", adv, Adv), ("divergence", divergence, Divergence)):
        check_word(value, words, name)
    check_word(denominator, Denominator, "denominator")
    if eta <= 0:
        raise OptionError(f"eta = {eta}: expected above 0 (1 / eta weighs the log-ratio)")
    if step_len < 1:
        raise OptionError(f"step_len = {step_len}: expected at least one token a step")
    owner = batch.within("token", "trajectory")
    over = batch.within("trajectory", "group")
    outcome = batch.reward if adv == "prm" else standardise(batch.reward, over, spread=spread, eps=eps, single=single)
    delta = np.where(batch.action, batch.need("logp") - batch.need("ref_logp"), 0.0)
    ahead = discounted_suffix(delta, batch.offsets("trajectory"))
    if divergence == "k3":
        if (delta < -FAR).any():
            t = int(np.argmax(delta < -FAR))
            raise OptionError(f"ref_logp[{t}] is {-delta[t]:g} nats above logp: divergence='k3' takes its exponential; use 'k1'")
        convex = np.exp(-delta) - 1.0  # 0 on observation tokens, as delta is
        ahead = ahead + discounted_suffix(convex, batch.offsets("trajectory")) - convex
    at = np.arange(batch.n_tokens) if adv == "prm" else _step_end(batch, split, step_len)
    parts = {
        "outcome": np.where(batch.action, outcome[owner], 0.0),
        "process": np.where(batch.action, -ahead[at] / eta, 0.0),
    }
    token = parts["outcome"] + parts["process"]
    return Credit(batch, "token", unit=token, token=token, parts=parts, loss=Loss(denominator=denominator))


def _step_end(batch: Batch, split: Split, step_len: int) -> Int:
    """Index of the last policy token of the step every token lies in (of no meaning past a trajectory's last one)."""
    if split == "steps":
        return batch.last_action("step")[batch.within("token", "step")]
    last = batch.last_action("trajectory")
    done = np.cumsum(batch.action)
    owner = batch.within("token", "trajectory")
    rank = done - (done[last] - batch.action_count("trajectory"))[owner]
    ends = batch.action & (rank % step_len == 0)
    ends[last] = True
    where = np.flatnonzero(ends)
    before = np.cumsum(ends) - ends  # how many ends there are before each token: the number of the next one
    found: Int = where[np.minimum(before, where.size - 1)]
    return found
