"""A discriminator of the expert's steps and the agent's, and what it pays for looking like the expert.

Logistic on the hashed features of what was seen and done at a step (``evidence.learned``), as GAIL has it: trained to
tell whose step it is, minus log P(agent) is the reward. Cross-fitted by trajectory, the expert's among them where they are
of the same batch. It reads token ids (or words), the action mask and, where the batch is its own expert, who solved
its task; never state keys or groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from ..batch import Batch
from ..errors import OptionError
from ..ops.lbfgs import minimise
from ..structure import Bool, Float, Int
from .bill import Bill
from .held_out import by_row, check_fit, deal
from .learned import Linear, features, trajectory_keys
from .sources import Array, Evidence
from .to_go import fit_to_go

#: P(agent) is kept this far from 0 and 1.
CLAMP = 1e-6


@dataclass(frozen=True, eq=False)
class LearnedDiscriminator:
    """Whose step it is (logit of P(agent)), and a critic of the rewards. Evidence ``step_reward`` and ``value``.

    experts: how many expert trajectories it learned from; none leaves P(agent) at 1/2, and ``diagnostics`` says so.
    """

    agent: Linear
    value: Linear
    experts: int
    bill: Bill

    def evidence(self, batch: Batch) -> Evidence:
        value = self.value.predict(batch)[batch.within("token", "step")]
        return Evidence(
            {"step_reward": reward_of(self.agent, batch), "value": value}, {"step_reward": "step", "value": "token"},
            bill=Bill(scored=2.0 * float(batch.action.sum())), provenance="learned",
            diagnostics={"experts": float(self.experts)},
        )  # fmt: skip

    def save(self) -> dict[str, Array]:
        """Plain arrays; ``LearnedDiscriminator.load(x.save())`` predicts the same, bit for bit."""
        about = {"bill": np.asarray(list(asdict(self.bill).values())), "experts": np.asarray(self.experts)}
        return {**about, **self.agent.arrays("agent"), **self.value.arrays("value")}

    @classmethod
    def load(cls, saved: Mapping[str, Array]) -> LearnedDiscriminator:
        agent, value = (Linear.of(saved, name) for name in ("agent", "value"))
        return cls(agent, value, int(saved["experts"]), Bill(*saved["bill"].tolist()))


def imitation_reward(chance: Float) -> Float:
    """-log D of P(agent) = D, kept within [CLAMP, 1 - CLAMP]: higher the more a step looks like the expert's."""
    reward: Float = -np.log(np.clip(chance, CLAMP, 1.0 - CLAMP))
    return reward


def discriminator_loss(agent: Float, expert: Float) -> float:
    """-E_agent log D - E_expert log(1 - D), given D of the agent's steps and of the expert's."""
    a, e = (np.clip(d, CLAMP, 1.0 - CLAMP) for d in (agent, expert))
    return float(-np.log(a).mean() - np.log1p(-e).mean())


def reward_of(model: Linear, batch: Batch) -> Float:
    """What the discriminator pays every step, shape (steps,)."""
    return imitation_reward(np.exp(-np.logaddexp(0.0, -model.predict(batch))))


def fit_discriminator(
    batch: Batch,
    rng: np.random.Generator,
    *,
    experts: Batch | None,
    state: LearnedDiscriminator | None,
    gamma: float,
    memory: float,
    folds: int,
    ridge: float,
    buckets: int,
    actions: int,
    steps: int,
) -> LearnedDiscriminator:
    """Tell the steps of ``experts`` (the batch's own solved trajectories, where None) from all steps of the batch.

        min n/2 (-mean_agent log D - mean_expert log(1 - D)) + penalty |w - w_0|^2 / 8,      n trajectories

    Either side counts half, however many steps it has. ridge: penalty in *trajectories*, about 0; after ``state``,
    ``memory`` about what was learned before. steps: how often L-BFGS may move. The critic is fitted afresh.
    """
    check_fit(folds, ridge, buckets, steps)
    if memory <= 0:
        raise OptionError(f"memory = {memory}: expected above 0")
    old = None if state is None else state.agent
    if old is not None and (old.buckets != buckets or old.actions != actions):
        raise OptionError(
            f"buckets = {buckets}, action_tokens = {actions}, but what was learned before has {old.buckets} and {old.actions}"
        )
    rows, part, keys, fold = deal(batch, rng, folds, old)
    owner = batch.within("step", "trajectory")
    mine, own = features(batch, "step", buckets=buckets, actions=actions), part[owner]
    if experts is None:
        solved = batch.solved[owner]
        theirs, apart, n_experts = mine[solved], own[solved], int(batch.solved.sum())
        trained = float(batch.action.sum() + batch.action_count("trajectory")[batch.solved].sum())
    else:
        theirs = features(experts, "step", buckets=buckets, actions=actions)
        apart, n_experts = _met(experts, keys, fold)[experts.within("step", "trajectory")], experts.n_trajectories
        trained = float(batch.action.sum() + experts.action.sum())
    weights = np.zeros((rows + 1, buckets + 2))
    for k in range(rows + 1):
        n = int((part != k).sum())
        origin = np.zeros(buckets + 2) if old is None else old.weights[k]
        weights[k] = origin
        if n and (apart != k).any():
            penalty = np.full(buckets + 2, (ridge if old is None else memory) / 8.0)
            penalty[-1] *= old is not None
            weights[k] = _train(mine[own != k], theirs[apart != k], origin, penalty, n, steps)
    agent = Linear("step", actions, weights, keys, fold)
    rewards = [reward_of(by_row(agent, k), batch) for k in range(rows + 1)]
    value = fit_to_go(batch, rewards, keys, fold, gamma=gamma, ridge=ridge, buckets=buckets)
    return LearnedDiscriminator(agent, value, n_experts, Bill(trained=trained + float(batch.action.sum())))


def _met(experts: Batch, keys: Array, fold: Int) -> Int:
    """The fold of each expert trajectory that the agent's data hold as well, -1 for all others."""
    own = trajectory_keys(experts)
    at = np.minimum(np.searchsorted(keys, own), keys.size - 1)
    return np.where(keys[at] == own, fold[at], -1)


def _train(mine: Int, theirs: Int, origin: Float, penalty: Float, n: int, steps: int) -> Float:
    """Weights (buckets + 2,) that tell ``mine`` (agent) from ``theirs`` (expert), from ``origin``."""
    seen = np.concatenate([mine, theirs])
    used, place = np.unique(seen, return_inverse=True)  # only what occurs is searched over; the others stay at the origin
    place, n_mine, width = place.reshape(seen.shape), mine.shape[0], int(seen.shape[1])
    agent: Bool = np.arange(seen.shape[0]) < n_mine
    share = np.where(agent, n / 2.0 / n_mine, n / 2.0 / theirs.shape[0])
    free = np.append(used != origin.size - 2, True)  # "nothing there" carries no weight
    at = np.append(used, origin.size - 1)
    start, pull = origin[at], penalty[at]

    def loss(x: Float) -> tuple[float, Float]:
        z = x[place].sum(axis=1) + x[-1]
        sign = np.where(agent, -1.0, 1.0)
        cost = np.logaddexp(0.0, sign * z)
        slope = share * sign * np.exp(sign * z - cost)
        g = np.bincount(place.ravel(), weights=np.repeat(slope, width), minlength=x.size - 1)
        away = x - start
        gradient = np.append(g, slope.sum()) + 2.0 * pull * away
        return float(share @ cost + pull @ away**2), np.where(free, gradient, 0.0)

    weights: Float = origin.copy()
    weights[at] = minimise(loss, start, steps=steps)
    return weights
