"""A model of the Q of a step, learned by temporal differences from plain trajectories.

Linear on the hashed features of what was seen and done at a step (``evidence.learned``), trained as AgentPRM
trains its language model: predict, make targets of the predictions and outcomes, fit values and changes of value
to them, again. Cross-fitted: each row of weights makes its own targets, from its own predictions, of the
trajectories it may see. It reads token ids (or words), the action mask and rewards; never state keys or groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..batch import Batch
from ..errors import OptionError
from ..ops.changes import follows, gram_by_fold, moments
from ..ops.promise import Terminal, promise_targets
from ..ops.ridge import predict
from .bill import Bill
from .held_out import check_fit, deal
from .learned import Linear, _Saved, features
from .sources import Evidence

#: Rounds end where no prediction moves by more than this.
_STILL = 1e-3


@dataclass(frozen=True, eq=False)
class LearnedPromise(_Saved):
    """M(s, a): how likely success is after each step, as AgentPRM learns it. Evidence ``promise``."""

    promise: Linear
    bill: Bill

    def evidence(self, batch: Batch) -> Evidence:
        found = {"promise": self.promise.predict(batch)}
        return Evidence(found, {"promise": "step"}, bill=Bill(scored=float(batch.action.sum())), provenance="learned")


def fit_promise(
    batch: Batch,
    rng: np.random.Generator,
    *,
    state: LearnedPromise | None,
    gamma: float,
    lam: float,
    beta: float,
    terminal: Terminal,
    rounds: int,
    memory: float,
    folds: int,
    ridge: float,
    buckets: int,
    actions: int,
) -> LearnedPromise:
    """Up to ``rounds`` times: targets from the present predictions, then the minimum of both losses, solved exactly.

        mean_t (M_t - Q_t)^2 / 2 + beta mean_{t>0} ((M_t - M_{t-1}) - (Q_t - Q_{t-1}))^2 / 2 + penalty |w - w_0|^2 / 2

    Without ``state`` w_0 is 0 and M starts from the mean outcome; with it, from what was learned before, which
    pulls with ``memory`` where 0 pulls with ``ridge``: both count trajectories, as in ``fit_linear``.
    """
    check_fit(folds, ridge, buckets, rounds, "rounds")
    if beta < 0 or memory <= 0:
        raise OptionError(f"beta = {beta}, memory = {memory}: expected at least 0, and above 0")
    old = None if state is None else state.promise
    if old is not None and (old.buckets != buckets or old.actions != actions):
        raise OptionError(
            f"buckets = {buckets}, action_tokens = {actions}, but what was learned before has {old.buckets} and {old.actions}"
        )
    rows, part, keys, fold = deal(batch, rng, folds, old)
    seen, owner = features(batch, "step", buckets=buckets, actions=actions), batch.within("step", "trajectory")
    bounds = np.searchsorted(owner, np.arange(batch.n_trajectories + 1))
    inner = follows(bounds)
    change = beta * owner.size / max(int(inner.sum()), 1)
    gram = gram_by_fold(seen, bounds, part, rows, buckets, change)
    pull = (ridge if old is None else memory) * owner.size / batch.n_trajectories
    penalty = np.append(np.full(buckets, pull), 0.0 if old is None else pull)
    weights = np.zeros((rows + 1, buckets + 2))
    zero = np.zeros(batch.n_trajectories)
    for k in range(rows + 1):
        mine = part != k
        if old is not None:
            weights[k] = old.weights[k]
        if not mine.any():  # nothing new for this row
            continue
        if old is None:  # clipped: the mean of equal rewards is that reward, without rounding
            own = batch.reward[mine]
            weights[k, -1] = np.clip(own.mean(), own.min(), own.max())
        origin = np.zeros(buckets + 1) if old is None else np.delete(old.weights[k], buckets)
        inverse = np.linalg.inv(gram[[f for f in range(rows) if f != k]].sum(axis=0) + np.diag(penalty))
        row, use = np.full(owner.size, k), mine[owner]
        m = predict(weights, row, seen)
        for _ in range(rounds):
            w = np.delete(weights[k], buckets)
            q = promise_targets(m, batch.reward, bounds, gamma=gamma, lam=lam, start=zero, terminal=terminal)[1]
            w = w + inverse @ (moments(seen, q - m, inner, use, buckets, change) - penalty * (w - origin))
            weights[k, :buckets], weights[k, -1] = w[:-1], w[-1]
            m, last = predict(weights, row, seen), m
            if np.abs(m - last)[use].max() < _STILL:
                break
    bill = Bill(trained=float(batch.action.sum()))
    return LearnedPromise(Linear("step", actions, weights, keys, fold), bill)
