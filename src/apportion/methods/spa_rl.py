"""SPA-RL (Wang et al. 2025, arXiv 2505.20732): step rewards from an estimator whose outputs sum to the return."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence.progress import LearnedProgress, fit_progress
from ..ops.groups import whiten as whitened
from ..ops.scans import gae_and_returns
from ..registry import method
from ..structure import Float
from ..words import check_word

Form = Literal["ppo", "reward"]
Semantics = Literal["skip", "trl"]


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    alpha: float = 1.0,
    beta: float = 0.5,
    exact: bool = False,
    remaining_steps_weight: bool = False,
    gamma: float = 1.0,
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
) -> LearnedProgress:
    """The progress estimator and PPO's critic, from this batch.

        min sum_i (R_i - sum_t c_{i,t})^2        one equation a trajectory: no step is ever labelled

    A cross-fitted ridge regression on pieces of text (``evidence.progress``) in place of the SFT model with one linear layer
    on its logits, which the paper trains once, before RL, on 5 exploration rollouts a task: learn from such a batch and
    pass the result as learned= to do so. The prompt's part and the constant, which no step owns, are shared equally.
    The critic regresses the rewards to go that the estimator pays; alpha, beta … are those of the method.
    """
    _check(gamma, 0.0)

    def paid(c: Float) -> Float:
        return _step_rewards(batch, c, alpha, beta, exact, remaining_steps_weight)[0]

    return fit_progress(batch, rng, paid, gamma=gamma, folds=folds, ridge=ridge, buckets=buckets)


@method(
    unit="step",
    reads={"outcome"},
    may_read={"steps", "turn_reward", "token_reward"},
    unless={"value": ("form", "reward")},
    evidence={"progress": "step", "value": "token"},
    fit=fit,
    cost="2 T tokens scored (estimator, critic); both are trained, the estimator once, on 5 rollouts a task",
    status="verified",
    unbiased="no: the estimator is trusted for how the return divides over steps, and bonuses change the objective",
    smallest="(Batch.from_turns([[1, 1]], outcome=[1.0]), {'progress': [0.4, 0.5], 'value': [0.9, 0.5]})",
    scope="trajectory",
    widens={"whiten": True},
)
def spa_rl(
    batch: Batch,
    *,
    progress: Float,
    value: Float | None = None,
    form: Form = "ppo",
    alpha: float = 1.0,
    beta: float = 0.5,
    exact: bool = False,
    remaining_steps_weight: bool = False,
    gamma: float = 1.0,
    lam: float = 0.95,
    semantics: Semantics = "skip",
    whiten: bool = True,
) -> Credit:
    """Contributions of steps that add up to the outcome, with a bonus for actions that could be executed, through PPO.

        sum_t c_t ~ R,        r_t = alpha c_t + beta g_t          on the last policy token of step t = 1..N
        delta_k = r_k + gamma V_{k+1} - V_k,        A_k = delta_k + gamma lam A_{k+1}           over policy tokens k
        A <- (A - mean) / sqrt(var + 1e-8)          over all policy tokens of the batch

    progress: c, shape (steps,), from a model regressed on sums (turns where the batch has no steps). Nothing holds it to R,
    the ``outcome``, exactly, nor above 0. value: V before each token, shape (T,), read at policy tokens. g: column
    ``turn_reward``, 1 where the environment could execute the turn's action and 0 where not (the code looks for "Nothing
    happens" in what comes back, and lets the last step pass); it stands on the last step of its turn, and no
    column means no bonus. Penalties for leaving the reference go into ``token_reward``, which is added as it is.
    ``unit`` is the mean over the policy tokens of each step. targets: ``value``.

    form: "ppo", or "reward": r itself, one per step, to be turned into an advantage (kind reward; no ``token_reward``).
    alpha, beta: 1 (nothing in the code weighs c) and the code's .5.
    exact: True spreads what is missing, c_t + (R - sum c) / N, so that the steps add up to R, as RUDDER does (ours).
    remaining_steps_weight: True multiplies r_t by N - t, as the committed trainer does: the last step gets nothing. The paper's
    rule and an independent reproduction have no such factor.
    gamma, lam: 1 and .95, TRL's defaults (the configuration file is missing from the code). whiten: TRL's, unbiased variance.
    semantics: "skip" passes over observation tokens; "trl" runs through them with V = r = 0, as the trainer's loop does:
    lam decays across them and the last token of a turn is bootstrapped with 0.
    loss.denominator: "token". diagnostics: ``error``, the root mean square of R - sum c.

    Not copied: the committed data script replaces the estimator's outputs by R less the mean of the prompt's other
    rollouts, alike on all steps, before it adds g: what it trains on is leave-one-out, and no estimator enters. A null
    (NaN) contribution is refused: a sum with a hole in it says nothing of the rest.

    Source: Wang et al. (2505.20732); WangHanLinHenry/SPA-RL-Agent, ``prm/train_our_progress_model.py``, ``prm/rl_data_org.py``,
    ``ppo/step_ppotrainer.py``.
    """
    check_word(form, Form, "form")
    check_word(semantics, Semantics, "semantics")
    _check(gamma, lam)
    if (bad := ~np.isfinite(progress)).any():
        raise OptionError(f"evidence 'progress'[{int(np.argmax(bad))}] is null: score every step of a trajectory, or none of it")
    r, error = _step_rewards(batch, progress, alpha, beta, exact, remaining_steps_weight)
    found = {"error": float(np.sqrt(np.mean(error**2)))}
    placed = np.zeros(batch.n_tokens)
    placed[batch.last_action("step")] = r
    if form == "reward":
        return Credit(batch, "step", r, placed, kind="reward", diagnostics=found)
    assert value is not None
    if (unknown := batch.action & ~np.isfinite(value)).any():
        i = int(np.argmax(unknown))
        raise OptionError(f"evidence 'value'[{i}] = {value[i]}: expected a number at every policy token")
    if batch.token_reward is not None:
        placed += batch.with_columns(outcome=None, turn_reward=None).rewards("token")
    active = batch.action if semantics == "skip" else np.ones(batch.n_tokens, dtype=np.bool_)
    v, end = np.where(batch.action, value, 0.0), np.zeros(batch.n_trajectories)
    a, returns = gae_and_returns(placed, v, active, batch.offsets("trajectory"), gamma, lam, end)
    a, returns = (np.where(batch.action, x, 0.0) for x in (a, returns))
    token = whitened(a, batch.action) if whiten else a
    mean = np.bincount(batch.within("token", "step"), weights=token, minlength=batch.n_steps) / batch.action_count("step")
    return Credit(
        batch, "step", mean, token, targets={"value": returns}, loss=Loss(denominator="token"), diagnostics=found
    )  # fmt: skip


def _step_rewards(
    batch: Batch, c: Float, alpha: float, beta: float, exact: bool, remaining_steps_weight: bool
) -> tuple[Float, Float]:
    """r of every step, and R - sum c of every trajectory."""
    owner, n = batch.within("step", "trajectory"), batch.n_trajectories
    size = np.bincount(owner)
    outcome: Float = batch.need("outcome", "for spa_rl")
    error = outcome - np.bincount(owner, weights=c, minlength=n)
    r = alpha * (c + (error / size)[owner] if exact else c)
    if batch.turn_reward is not None:
        at = batch.within("token", "step")[batch.last_action("turn")]
        np.add.at(r, at, beta * batch.turn_reward)
    if remaining_steps_weight:
        r = r * (np.cumsum(size)[owner] - 1 - np.arange(owner.size))
    return r, error


def _check(gamma: float, lam: float) -> None:
    for name, factor in (("gamma", gamma), ("lam", lam)):
        if not 0 <= factor <= 1:
            raise OptionError(f"{name} = {factor}: expected a number from 0 to 1")
