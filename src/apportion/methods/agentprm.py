"""AgentPRM (Xi et al. 2025, arXiv 2511.08325): how promising a step is, and how much progress it made."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..evidence.promise import LearnedPromise, fit_promise
from ..ops.groups import group_mean
from ..ops.promise import Terminal, promise_losses, promise_targets
from ..registry import method
from ..structure import Float
from ..words import check_word

Form = Literal["progress", "gae", "promise", "target"]
Start = Literal["zero", "mean"]


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    state: LearnedPromise | None = None,
    gamma: float = 1.0,
    lam: float = 0.95,
    beta: float = 1.0,
    terminal: Terminal = "replace",
    rounds: int = 20,
    memory: float = 30.0,
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
    action_tokens: int = 3,
) -> LearnedPromise:
    """M(s, a) from the outcomes of plain trajectories: targets by TD and GAE of its own predictions, then both losses.

        L = L_Q + beta L_A,    L_Q = mean_t (M_t - Q_t)^2 / 2,    L_A = mean_{t>0} ((M_t - M_{t-1}) - (Q_t - Q_{t-1}))^2 / 2

    A cross-fitted linear model of hashed text features (``evidence.promise``) in place of a language model with a scalar
    head. beta: the paper's 1. rounds: how often, at most, targets are made anew; with lam .95 each carries outcomes some 20
    steps back (the paper trains up to 5 epochs of many updates). state: what an earlier batch taught, to go on from;
    it counts as much as ``memory`` trajectories. The bill counts one pass over the batch.
    """
    _check(gamma, lam, terminal)
    return fit_promise(
        batch, rng, state=state, gamma=gamma, lam=lam, beta=beta, terminal=terminal, rounds=rounds, memory=memory,
        folds=folds, ridge=ridge, buckets=buckets, actions=action_tokens,
    )  # fmt: skip


@method(
    unit="step",
    reads={"reward"},
    may_read={"steps", "group"},
    evidence={"promise": "step"},
    fit=fit,
    cost="T tokens scored by a process reward model (one pass, read at every step's end), which is trained on them",
    status="verified",
    unbiased="no: it trusts the model of Q, whose value of the next state is that of the step that led there",
    smallest="(Batch.from_turns([[1, 1]], outcome=[1.0]), {'promise': [0.3, 0.6]})",
    scope="group",
)
def agentprm(
    batch: Batch,
    *,
    promise: Float,
    form: Form = "progress",
    start: Start = "zero",
    gamma: float = 1.0,
    lam: float = 0.95,
    terminal: Terminal = "replace",
) -> Credit:
    """The change of a learned Q from step to step, or the TD errors of it, summed by GAE.

        progress_t = M_t - M_{t-1},                M_{-1} = V_0
        delta_t    = gamma M_t - M_{t-1},          delta_T = R - M_{T-1}
        A_t        = sum_k (gamma lam)^k delta_{t+k},       Q_t = A_t + M_{t-1},      Q_T = R

    promise: M, the chance of success after each step (turns where the batch has no steps), shape (steps,), in [0, 1]. R
    (N,): the total reward, earned at the end. Transitions are taken for deterministic: the value of a state is the Q of the
    step that led to it.

    form: "progress" (the default), the model's own word for what a step was worth; "gae", A, which lets outcomes
    in (kind advantage, both); "promise" and "target", M and Q themselves, levels rather than advantages (kind reward).
    Beam search and best-of-N rank by M; the shaping of the paper's PPO run is in an appendix we have not seen.
    start: V_0, the value before the first step: 0, so that the first step is paid its whole promise and a prompt's ease
    with it; or the "mean" reward of the prompt's rollouts, which makes progress an advantage there too (needs ``group``).
    gamma, lam: 1 (not stated in the paper) and its .95.
    terminal: "replace" as above. The paper's Eq. 12 read literally has gamma M_T besides R in delta_T: the outcome
    counts twice, once as it came and once as M_T foresaw it, and targets pass 1 ("literal").

    One step: its progress is M - V_0, its A R - V_0, its target R. parts: all four, whatever ``form`` is. diagnostics:
    ``loss_q`` and ``loss_a``, what ``fit`` minimises (the paper's Eq. 9 prints no 1/2, its Algorithm 1 does).

    Source: Xi et al., WWW 2026 (2511.08325 v1), equations 9 and 12, Algorithm 1. Ours: gamma, V_0, the last residual, nulls.
    """
    check_word(form, Form, "form")
    check_word(start, Start, "start")
    _check(gamma, lam, terminal)
    if (bad := ~np.isfinite(promise)).any():
        raise OptionError(f"evidence 'promise'[{int(np.argmax(bad))}] is null: a change needs both its ends; score every step")
    owner = batch.within("step", "trajectory")
    bounds = np.searchsorted(owner, np.arange(batch.n_trajectories + 1))
    origin = np.zeros(batch.n_trajectories)
    if start == "mean":
        batch.need("group", "for agentprm with start='mean'")
        over = batch.within("trajectory", "group")
        origin = group_mean(batch.reward, over)[0][over]
    a, q = promise_targets(promise, batch.reward, bounds, gamma=gamma, lam=lam, start=origin, terminal=terminal)
    before = np.append(0.0, promise[:-1])
    before[bounds[:-1]] = origin
    parts = {"progress": promise - before, "gae": a, "promise": promise, "target": q}
    loss_q, loss_a = promise_losses(promise, q, bounds)
    return Credit.of(
        batch, "step", parts[form], kind="advantage" if form in ("progress", "gae") else "reward", parts=parts,
        diagnostics={"loss_q": loss_q, "loss_a": loss_a},
    )  # fmt: skip


def _check(gamma: float, lam: float, terminal: str) -> None:
    check_word(terminal, Terminal, "terminal")
    for name, factor in (("gamma", gamma), ("lam", lam)):
        if not 0 <= factor <= 1:
            raise OptionError(f"{name} = {factor}: expected a number from 0 to 1")
