"""StepAgent (Deng et al. 2024, arXiv 2411.03817): steps credited by how much they are the expert's."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Preferences
from ..errors import BatchError, OptionError
from ..evidence.discriminator import LearnedDiscriminator, fit_discriminator
from ..ops.features import mix, sequence_hash
from ..ops.groups import whiten as whitened
from ..ops.scans import first_active, gae_and_returns
from ..registry import method
from ..structure import Float, Int
from ..words import check_word

Variant = Literal["inverse", "bandit", "implicit"]

#: What column ``agent`` says of demonstrations.
EXPERT = "expert"


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    experts: Batch | None = None,
    state: LearnedDiscriminator | None = None,
    gamma: float = 1.0,
    memory: float = 30.0,
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
    action_tokens: int = 3,
    steps: int = 30,
) -> LearnedDiscriminator:
    """The discriminator of expert and agent steps, D = P(agent), and a critic of what it pays.

        min  - E_agent log D(s, a) - E_expert log(1 - D(s, a)),        step_reward = -log D

    experts: demonstrations, in the same tokens as the batch. Without them the batch is its own expert: its solved
    trajectories (``success``, else reward > 0) against all of it, which makes the reward log(1 + P(solved | s, a) /
    P(solved)) where D is right: self-imitation, and no longer learning from an expert. None solved: D = 1/2 everywhere.
    A cross-fitted logistic model of hashed text features (``evidence.discriminator``) for the paper's language model.
    It is retrained every round on fresh agent steps; with ``state`` it goes on from the round before, which
    counts as ``memory`` trajectories. steps: of L-BFGS.
    """
    _check(gamma, 0.0)
    return fit_discriminator(
        batch, rng, experts=experts, state=state, gamma=gamma, memory=memory, folds=folds, ridge=ridge, buckets=buckets,
        actions=action_tokens, steps=steps,
    )  # fmt: skip


@method(
    unit="step",
    reads=set(),
    may_read={"steps", "logp", "ref_logp", "ids", "agent", "group"},
    unless={"step_reward": ("variant", "implicit"), "value": ("variant", ("bandit", "implicit"))},
    evidence={"step_reward": "step", "value": "token"},
    fit=fit,
    cost="2 T tokens scored (discriminator, critic), both trained; implicit: T scored by the reference; pairs: N actions sampled",
    status="reconstructed",
    unbiased="no: it is paid for looking like an expert, not for the outcome",
    smallest="(Batch.from_turns([[1, 1]]), {'step_reward': [0.4, 0.9], 'value': [1.0, 0.8]})",
    scope="group",
    widens={"whiten": True, "variant": "bandit"},
)
def stepagent(
    batch: Batch,
    *,
    step_reward: Float | None = None,
    value: Float | None = None,
    variant: Variant = "inverse",
    pairs: bool = False,
    beta: float = 0.1,
    gamma: float = 1.0,
    lam: float = 0.95,
    whiten: bool = False,
) -> Credit | Preferences:
    """GAE over steps on the rewards of a discriminator of expert and agent; or the log-ratio that step-wise DPO trains.

        r_t = -log D(s_t, a_t),   D = P(agent)                                         "inverse"
        delta_t = r_t + gamma V(s_{t+1}) - V(s_t),        A_t = delta_t + gamma lam A_{t+1}
        A_t = r_t - mean r                                                             "bandit", mean over the batch
        r_t = beta sum_{k in t} (log pi(y_k) - log pi_ref(y_k))                        "implicit"

    step_reward: -log D of every step (turns where the batch has no steps), shape (steps,), at least 0: the step that D
    cannot tell from the expert's gets log 2. It is never negative, so longer rollouts earn more: V must know what is still
    to come. value: V before each token, shape (T,), read at the first policy token of each step. No outcome is read.
    targets: ``value``, the return of its step, at every policy token (T,).

    variant: "inverse" (GAIL with PPO); "bandit", the same with every step an episode of its own, for agents that
    were only asked at the expert's states; "implicit", DPO's reward of each step (kind reward; each token has
    its own share; columns ``logp`` and ``ref_logp``, the reference being the policy at the start of the round).
    pairs: True returns what "implicit" trains on, Preferences of the expert's step to the agent's at the same state, with
    margin r_e - r_a; their loss is -log sigmoid(margin), without a further beta. A trajectory of the agent holds the
    expert's steps up to a state and its own action there, its last step; ``group`` names the expert trajectory it
    follows, and ``agent`` says "expert" of that one. Equal actions (by ``ids``, where given) make no pair.
    beta: .1. gamma, lam: 1 and .95. whiten: (A - mean) / sqrt(var + 1e-8) over the policy tokens of the batch, off by default.
    All ours: the sources give none. An entropy bonus is the trainer's business.

    "implicit" is ``beta`` times the log-ratio of ``prl`` and others, step by step; only its pairs say whose step it is.

    Status: reconstructed, in all equations, signs and settings, from the abstract and summaries, which name the two
    variants and rounds of inspection and reflection. The paper's method section would settle them.

    Source: Deng et al. (2411.03817), abstract; Ho and Ermon 2016 (1606.03476) and Rafailov et al. 2023 (2305.18290) for the
    two parts it is made of.
    """
    check_word(variant, Variant, "variant")
    _check(gamma, lam)
    if pairs and variant != "implicit":
        raise OptionError(f"pairs are what variant='implicit' trains on; with variant={variant!r} there are none")
    if variant == "implicit":
        ratio = _log_ratio(batch, beta)
        r: Float = np.bincount(batch.within("token", "step"), weights=ratio, minlength=batch.n_steps).astype(np.float64)
        return _pairs(batch, r) if pairs else Credit(batch, "step", r, ratio, kind="reward")
    assert step_reward is not None
    if (bad := ~np.isfinite(step_reward)).any():
        raise OptionError(f"evidence 'step_reward'[{int(np.argmax(bad))}] is null: the discriminator scores every step")
    if variant == "bandit":
        return Credit.of(batch, "step", _whitened(batch, step_reward - _mean(step_reward), whiten))
    assert value is not None
    start = first_active(batch.action, batch.offsets("step"))
    if (unknown := ~np.isfinite(value[start])).any():
        i = int(start[np.argmax(unknown)])
        raise OptionError(f"evidence 'value'[{i}] = {value[i]}: expected a number at the first policy token of every step")
    owner = batch.within("step", "trajectory")
    bounds = np.searchsorted(owner, np.arange(batch.n_trajectories + 1))
    everywhere, end = np.ones(batch.n_steps, dtype=np.bool_), np.zeros(batch.n_trajectories)
    a, returns = gae_and_returns(step_reward, value[start], everywhere, bounds, gamma, lam, end)
    target = np.where(batch.action, returns[batch.within("token", "step")], 0.0)
    return Credit.of(batch, "step", _whitened(batch, a, whiten), targets={"value": target})


def _log_ratio(batch: Batch, beta: float) -> Float:
    logp, ref = (batch.need(name, "for stepagent with variant='implicit'") for name in ("logp", "ref_logp"))
    return np.where(batch.action, beta * (logp - ref), 0.0)


def _pairs(batch: Batch, r: Float) -> Preferences:
    """The expert's step and the agent's, wherever the agent was asked."""
    agent, over = batch.need("agent", "to tell the expert's steps"), batch.within("trajectory", "group")
    batch.need("group", "to tell which expert trajectory the agent follows")
    named = [i for i, name in enumerate(agent.names) if name == EXPERT]
    theirs = np.isin(agent.codes, named)
    count = np.bincount(over[theirs], minlength=int(over.max()) + 1)
    if (count != 1).any():
        g = int(np.argmax(count != 1))
        raise BatchError(f"group {g} has {count[g]} trajectories of agent {EXPERT!r}, expected one: the expert's to follow")
    owner = batch.within("step", "trajectory")
    bounds = np.searchsorted(owner, np.arange(batch.n_trajectories + 1))
    follow = np.zeros(count.size, dtype=np.int64)
    follow[over[theirs]] = np.flatnonzero(theirs)
    rejected = bounds[1:][~theirs] - 1
    place = rejected - bounds[:-1][~theirs]
    master = follow[over[~theirs]]
    if (beyond := place >= np.diff(bounds)[master]).any():
        i = int(np.flatnonzero(~theirs)[np.argmax(beyond)])
        raise BatchError(f"trajectory {i} has more steps than the expert's: its last step must be at one of the expert's states")
    chosen = bounds[:-1][master] + place
    differ = np.ones(chosen.size, dtype=np.bool_)
    if batch.ids is not None:
        words = _words(batch)
        differ = words[chosen] != words[rejected]
    chosen, rejected = chosen[differ], rejected[differ]
    return Preferences(batch, "step", chosen, rejected, margin=r[chosen] - r[rejected])


def _words(batch: Batch) -> Int:
    """A hash of the policy's tokens of each step."""
    ends = np.concatenate(([0], np.cumsum(batch.action)))[batch.offsets("step")]
    return sequence_hash(mix(batch.need("ids")[batch.action]), ends).astype(np.int64)


def _mean(x: Float) -> float:
    """Exactly the value where all are equal."""
    return float(np.clip(x.mean(), x.min(), x.max()))


def _whitened(batch: Batch, a: Float, whiten: bool) -> Float:
    if not whiten:
        return a
    unit = batch.within("token", "step")
    return whitened(a[unit], batch.action)[first_active(batch.action, batch.offsets("step"))]


def _check(gamma: float, lam: float) -> None:
    for name, factor in (("gamma", gamma), ("lam", lam)):
        if not 0 <= factor <= 1:
            raise OptionError(f"{name} = {factor}: expected a number from 0 to 1")
