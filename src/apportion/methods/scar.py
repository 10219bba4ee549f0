"""SCAR (Cao et al. 2025, arXiv 2505.20417): each step is paid its Shapley value in the game of partial texts."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..evidence import Bill, Evidence, Replayer, Sampler
from ..evidence.coalitions import Plan, step_values
from ..evidence.reward_model import LearnedShapley
from ..evidence.text_model import fit_text
from ..ops.answers import mean_answer
from ..ops.places import against_others_at_place
from ..ops.scans import discounted_suffix, first_active, gae_and_returns
from ..registry import method
from ..structure import Bool, Float
from ..words import Single, check_word

Form = Literal["to_go", "payment", "gae", "reward"]
Residual = Literal["none", "last"]


def collect(
    batch: Batch, sampler: Sampler, *, rng: np.random.Generator, k: int = 1, players: int = 6, orders: int = 4
) -> Evidence:  # fmt: skip
    """Shapley values of the steps where v(S) is the mean reward of ``k`` replays that keep the steps in S.

    All other steps are drawn anew from the policy (``Replayer.replay``), so v(S) is what the steps in S
    are worth to it; v of the whole trajectory is its own reward, recorded. Not the paper's blanked
    text: no reward model, no text that nobody would write, but rollouts to pay for. A replay that came back with nothing
    (NaN) is left out of the mean; a coalition without any leaves its trajectory unpaid. players: up to so
    many steps exactly, by 2^n coalitions; longer trajectories by ``orders`` random orders of n coalitions.
    """
    if not isinstance(sampler, Replayer):
        raise OptionError(f"scar replays rollouts with some steps drawn anew: {type(sampler).__name__} has no replay(...)")
    if k < 1:
        raise OptionError(f"k = {k}: expected at least one replay a coalition")
    episode = batch.within("trajectory", "episode")
    if batch.count("episode") < batch.n_trajectories:
        raise OptionError("scar pays the steps of one trajectory, but episodes here have several: see sharp, ccpo and c3")
    bill = Bill()

    def worth(keep: Bool) -> Float:
        nonlocal bill
        asked = sampler.replay(batch, ~keep, k, rng)
        bill = bill + asked.bill
        return mean_answer(asked.values, batch.count("episode"), k)[episode]

    found, how = step_values(batch, worth, batch.reward, Plan(players, orders), rng)
    return Evidence({"shapley": found}, {"shapley": "step"}, bill, sampler.provenance, diagnostics=how)


def fit(
    batch: Batch, *, rng: np.random.Generator, folds: int = 5, ridge: float = 3.0, buckets: int = 512
) -> LearnedShapley:  # fmt: skip
    """Shapley values where v(S) is a reward model's score of the text with all steps outside S blanked.

    The reward model is fitted on complete texts only (``evidence.text_model``), cross-fitted; the paper takes the
    one of RLHF. Exact, because that model is a sum over neighbouring steps; billed as if each coalition were asked.
    """
    model = fit_text(batch, "step", rng, rows="complete", folds=folds, ridge=ridge, buckets=buckets)
    return LearnedShapley(model, Bill(trained=float(batch.action.sum())))


@method(
    unit="step",
    reads={"reward", "group"},
    may_read={"steps", "logp", "ref_logp", "value", "truncated", "bootstrap"},
    evidence={"shapley": "step"},
    source="sampler",
    collect=collect,
    fit=fit,
    cost="v of 2^N coalitions of N steps, or of P N sampled ones: passes of a reward model, or rollouts",
    status="secondary",
    unbiased="no: a step's Shapley value depends on what came after it, so the payments are no function of the prefix",
    smallest="(Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0]), {'shapley': [0.8, 0.1, -0.2, 0.1]})",
    scope="group",
)
def scar(
    batch: Batch,
    *,
    shapley: Float,
    form: Form = "to_go",
    alpha: float = 1.0,
    beta: float = 0.0,
    residual: Residual = "none",
    gamma: float = 1.0,
    lam: float = 0.95,
    single: Single = "error",
) -> Credit:
    """Shapley values of the steps of a text as dense rewards.

        SV_i = sum_{S without i} |S|! (N - |S| - 1)! / N!  (v(S + i) - v(S))
        R_t = alpha SV_i 1[t ends step i] + (1 - alpha) R 1[t last] - beta (log pi - log pi_ref)
        A_t = G_t - mean_{j != i} G_j at the same place,   G_t = sum_{u >= t} R_u           form "to_go"

    shapley: SV of every step (turns where the batch has no steps), shape (steps,). They add up to
    v(all) - v(empty). R is the total reward. v(S), the worth of the steps in S alone, is whoever computed
    SV's to say: asked for with ``sampler=``, the mean reward when all other steps are drawn anew; learned with
    ``fit=True``, a reward model's score with the others blanked (the paper's). A table of v is turned into SV
    by ``ops.shapley`` (``shapley``, ``owen``, ``from_orders``). A checker of final answers is no v: it cannot value
    part of a text.

    form: the paper gives R to PPO ("gae": needs ``value``, with gamma and lam). Without a critic: "to_go" compares
    what is still to be paid with the other rollouts of the prompt at the same step; "payment" a step's own
    payment with theirs. "reward" gives R itself, to be turned into an advantage.
    alpha: share of dense reward; 1, the paper's default is not known to us. beta: weight of the KL penalty, 0
    because trainers have their own; needs ``logp`` and ``ref_logp``.
    residual: "last" also puts R - sum SV (v(empty), and what v misses of R) on the last policy token, so that the
    rewards add up to R, as the paper has it.
    gamma, lam: of "gae" only. single: what a prompt with one rollout gets from "to_go" and "payment".

    One null (NaN) among its steps, and a trajectory has no payments: it is left its reward at the end, as with
    alpha = 0. diagnostics: ``paid``, the share of trajectories that have some.

    Source: Cao et al. (2505.20417), from two summaries that agree; no code published. Reconstructed: the
    payment sits on the step's last token (the paper says one token), steps for the paper's spans, the
    default of alpha. Ours: permutation sampling, replays as v, the forms without a critic, the residual.
    """
    check_word(form, Form, "form")
    check_word(residual, Residual, "residual")
    check_word(single, Single, "single")
    if not 0 <= alpha <= 1:
        raise OptionError(f"alpha = {alpha}: expected a share from 0 to 1")
    for name, factor in (("gamma", gamma), ("lam", lam)):
        if not 0 <= factor <= 1:
            raise OptionError(f"{name} = {factor}: expected a number from 0 to 1")
    owner, last = batch.within("step", "trajectory"), batch.last_action("trajectory")
    paid = np.bincount(owner, weights=np.isnan(shapley), minlength=batch.n_trajectories) == 0
    payment = np.where(paid[owner], shapley, 0.0)
    total = np.bincount(owner, weights=payment, minlength=batch.n_trajectories)
    r = np.zeros(batch.n_tokens)
    r[batch.last_action("step")] = alpha * payment
    r[last] += np.where(paid, 1.0 - alpha, 1.0) * batch.reward
    if residual == "last":
        r[last] += np.where(paid, alpha * (batch.reward - total), 0.0)
    if beta:
        r -= np.where(batch.action, beta * (batch.need("logp", "for beta") - batch.need("ref_logp", "for beta")), 0.0)
    found = {"paid": float(paid.mean())}
    if form == "reward":
        return _credit(batch, r, "reward", found)
    if form == "gae":
        value = np.where(batch.action, batch.need("value", "for scar with form='gae'"), 0.0)
        token, returns = gae_and_returns(r, value, batch.action, batch.offsets("trajectory"), gamma, lam, _end(batch))
        return _credit(batch, token, "advantage", found).with_fields(targets={"value": returns})
    over = batch.within("trajectory", "group")
    if form == "payment":
        own = np.bincount(batch.within("token", "step"), weights=r, minlength=batch.n_steps).astype(np.float64)
        return Credit.of(batch, "step", against_others_at_place(own, owner, over, single=single), diagnostics=found)
    to_go = discounted_suffix(r, batch.offsets("trajectory"))
    opening = to_go[first_active(batch.action, batch.offsets("step"))]
    ahead = against_others_at_place(opening, owner, over, single=single)
    within = batch.within("token", "step")
    # a token's own to-go differs from its step's opening one by the KL penalties between them
    return _credit(batch, np.where(batch.action, ahead[within] + to_go - opening[within], 0.0), "advantage", found)


def _credit(batch: Batch, token: Float, kind: Literal["advantage", "reward"], found: dict[str, float]) -> Credit:
    """Token credit whose steps are the mean of their policy tokens."""
    total = np.bincount(batch.within("token", "step"), weights=token, minlength=batch.n_steps)
    return Credit(batch, "step", total / batch.action_count("step"), token, kind=kind, diagnostics=found)


def _end(batch: Batch) -> Float:
    """Value after the last token: 0, or the bootstrap value of a truncated trajectory."""
    if batch.bootstrap is None:
        return np.zeros(batch.n_trajectories)
    return batch.bootstrap if batch.truncated is None else np.where(batch.truncated, batch.bootstrap, 0.0)
