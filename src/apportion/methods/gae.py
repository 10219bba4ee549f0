"""GAE, as in PPO (Schulman et al. 2016, arXiv 1506.02438; 2017, arXiv 1707.06347)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..evidence import Bill
from ..evidence.learned import LearnedValue, fit_linear
from ..ops import scans
from ..ops.groups import whiten as whitened
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import check_word

Level = Literal["token", "turn"]
Semantics = Literal["skip", "openrlhf", "skyrl"]


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    gamma: float = 1.0,
    unit: Level = "token",
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
) -> LearnedValue:
    """A critic for this batch: the discounted return from each turn on, regressed on what was seen.

    A linear model of hashed text features, cross-fitted by trajectory (see ``evidence.learned``):
    it stands in for the policy-sized critic of PPO. Its value is the same at all tokens of a turn,
    so that one-step errors inside a turn are 0: lower ``lam`` only together with unit="turn".
    """
    r, active, offsets = _rewards(batch, unit)
    zero = np.zeros(r.size)
    to_go = scans.gae(r, zero, active, offsets, gamma, 1.0, _end(batch))
    target = to_go if unit == "turn" else to_go[scans.first_active(batch.action, batch.turn_offsets)]
    value = fit_linear(batch, "turn", target, rng, folds=folds, ridge=ridge, buckets=buckets)
    return LearnedValue(value, Bill(trained=float(batch.action.sum())))


@method(
    unit="token",
    reads={"reward"},
    may_read={"truncated", "bootstrap"},
    evidence={"value": "token"},
    fit=fit,
    cost="T tokens scored by a critic, which is trained on them",
    status="verified",
    unbiased="yes",
    smallest="Batch.from_turns([[1]], outcome=[1.0], value=[0.5])",
    scope="trajectory",
    widens={"whiten": True},
)
def gae(
    batch: Batch,
    *,
    value: Float,
    gamma: float = 1.0,
    lam: float = 1.0,
    whiten: bool = False,
    unit: Level = "token",
    semantics: Semantics = "skip",
) -> Credit:
    """Generalised advantage estimation: exponentially weighted sums of a critic's one-step errors.

        delta_t = r_t + gamma V_{t+1} - V_t        A_t = delta_t + gamma lam A_{t+1}        returns_t = A_t + V_t

    value: V before every token, shape (T,), from the batch column of that name, passed, or learned
    (fit=True). t + 1 is the next *policy* token: observation tokens are skipped, not decayed
    through, their value is never read and they get 0 (verl). The outcome and each turn's reward sit
    on the last policy token they belong to. After the last one V = 0, or ``bootstrap`` where the
    trajectory is ``truncated`` (everywhere, if the batch does not say which are); without a bootstrap
    value a cut-off trajectory ends with 0, as trainers have it.

    gamma, lam: 1 and 1 (verl), both from 0 to 1; the classical lam is 0.95.
    whiten: (A - mean)/sqrt(var + 1e-8) over all units of the batch, unbiased variance (verl, SkyRL),
    after the returns were formed; with semantics="openrlhf" the population's variance, at least 1e-8.
    PPO trainers do it; off by default, because it shifts every advantage by
    the batch's mean and so is no longer an advantage.
    unit: "token", or "turn": V at the first policy token of each turn, the rewards of a turn
    together, one value per turn (a turn is one action; the turn-level GAE of AReaL).
    semantics: what the recursion does on observation tokens, which get 0 in every case. "skip": as
    above (verl, AReaL, NeMo-RL). "openrlhf": it runs through them with V = r = 0, so the last token
    before a tool's answer is bootstrapped with 0. "skyrl": they are actions (SkyRL, slime, ROLL, any
    GAE without a mask): ``value`` is read on them, a token reward on one stays there, and whitening
    counts them. With gamma = lam = 1 all three agree wherever each reward sits on a policy token.
    ``apportion conformance`` compares them with the trainers themselves.
    targets: ``value``, what the critic should regress on, shape (T,).

    With the default gamma = lam = 1, A_t is the reward still to come minus V_t, unbiased for every V that
    does not look at what it judges; lam < 1 trades that for less variance: biased by the errors of V.

    Source: Schulman et al., ICLR 2016; verl ``compute_gae_advantage_return`` (the default), OpenRLHF
    ``RemoteExperienceMaker.get_advantages_and_returns``, SkyRL ``compute_gae_advantage_return``.
    """
    check_word(unit, Level, "unit")
    check_word(semantics, Semantics, "semantics")
    if unit == "turn" and semantics != "skip":
        raise OptionError(f"semantics = {semantics!r} is about observation tokens, and unit='turn' has none: leave it out")
    for name, factor in (("gamma", gamma), ("lam", lam)):
        if not 0 <= factor <= 1:
            raise OptionError(f"{name} = {factor}: expected a number from 0 to 1")
    needed = np.True_ if semantics == "skyrl" else batch.action
    if not np.isfinite(value).all() and (unknown := needed & ~np.isfinite(value)).any():
        i = int(np.argmax(unknown))
        which = "token: semantics='skyrl' reads observation tokens too" if semantics == "skyrl" else "policy token"
        raise OptionError(f"evidence 'value'[{i}] = {value[i]}: expected a number at every {which}")
    if semantics != "skip":
        return _through(batch, value, gamma, lam, whiten, semantics)
    r, active, offsets = _rewards(batch, unit)
    v = value[scans.first_active(batch.action, batch.turn_offsets)] if unit == "turn" else value
    advantage, returns = scans.gae_and_returns(
        r, v, active, offsets, gamma, lam, _end(batch), out=r if r.flags.writeable else None
    )
    if unit == "turn":
        returns = np.where(batch.action, returns[batch.within("token", "turn")], 0.0)
    if whiten:
        advantage = whitened(advantage, active, out=advantage)
    if unit == "token":
        return Credit(batch, "token", unit=advantage, token=advantage, targets={"value": returns})
    return Credit.of(batch, unit, advantage, targets={"value": returns})


def _through(batch: Batch, value: Float, gamma: float, lam: float, whiten: bool, semantics: Semantics) -> Credit:
    """The recursion over every token, observations too; what it says on those is dropped at the end."""
    actions = semantics == "skyrl"
    r = batch.rewards("token", stray="keep" if actions else "move")
    v = value if actions else np.where(batch.action, value, 0.0)
    every = np.ones(batch.n_tokens, dtype=np.bool_)
    a, returns = scans.gae_and_returns(r, v, every, batch.offsets("trajectory"), gamma, lam, _end(batch))
    if whiten and actions:
        a = whitened(a, every, out=a)
    elif whiten:
        a = whitened(a, batch.action, spread="population", clamp=True, out=a)
    a, returns = (np.where(batch.action, x, 0.0) for x in (a, returns))
    return Credit(batch, "token", unit=a, token=a, targets={"value": returns})


def _rewards(batch: Batch, unit: Level) -> tuple[Float, Bool, Int]:
    """Rewards, which units are active, and the offsets of the trajectories."""
    if unit == "token":
        return batch.rewards("token"), batch.action, batch.offsets("trajectory")
    return batch.rewards("turn"), np.ones(batch.n_turns, dtype=np.bool_), batch.trajectory_turns


def _end(batch: Batch) -> Float:
    """Value after the last unit of each trajectory, shape (N,)."""
    if batch.bootstrap is None:
        return np.zeros(batch.n_trajectories)
    return batch.bootstrap if batch.truncated is None else np.where(batch.truncated, batch.bootstrap, 0.0)
