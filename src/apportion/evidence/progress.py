"""A progress estimator: one number per step, fitted on nothing but what the steps of a trajectory add up to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from ..batch import Batch
from ..structure import Float
from .bill import Bill
from .learned import Linear
from .sources import Array, Evidence
from .text_model import TextModel, fit_text
from .to_go import fit_to_go


@dataclass(frozen=True, eq=False)
class LearnedProgress:
    """What each step contributes to the reward, and a critic of the rewards made of it. Evidence ``progress``, ``value``.

    The estimator is the reward model of complete texts (``evidence.text_model``) read step by step: a step's own pieces,
    and an equal share of what the prompt and the intercept say. value: before each step, at all its tokens.
    """

    model: TextModel
    value: Linear
    bill: Bill

    def evidence(self, batch: Batch) -> Evidence:
        value = self.value.predict(batch)[batch.within("token", "step")]
        return Evidence(
            {"progress": contributions(self.model, batch), "value": value}, {"progress": "step", "value": "token"},
            bill=Bill(scored=2.0 * float(batch.action.sum())), provenance="learned",
        )  # fmt: skip

    def save(self) -> dict[str, Array]:
        """Plain arrays; ``LearnedProgress.load(x.save())`` predicts the same, bit for bit."""
        m = self.model
        bill = np.asarray(list(asdict(self.bill).values()))
        own = {"bill": bill, "axis": np.asarray(m.axis), "weights": m.weights, "keys": m.keys, "fold": m.fold}
        return {**own, **self.value.arrays("value")}

    @classmethod
    def load(cls, saved: Mapping[str, Array]) -> LearnedProgress:
        model = TextModel(saved["axis"].item(), saved["weights"], saved["keys"], saved["fold"])
        return cls(model, Linear.of(saved, "value"), Bill(*saved["bill"].tolist()))


def contributions(model: TextModel, batch: Batch) -> Float:
    """c of every step, shape (steps,); those of a trajectory add up to the model's score of it."""
    prompt, seen, done = model.parts(batch)
    owner = batch.within("step", "trajectory")
    each: Float = seen + done + (prompt / np.bincount(owner))[owner]
    return each


def fit_progress(
    batch: Batch,
    rng: np.random.Generator,
    paid: Callable[[Float], Float],
    *,
    gamma: float,
    folds: int,
    ridge: float,
    buckets: int,
) -> LearnedProgress:
    """The estimator on sums only, min sum_i (R_i - sum_t c_t)^2, R the ``outcome``; then a critic of what it pays.

    paid: the reward of every step, given what the steps contribute.
    """
    plain = batch.with_columns(turn_reward=None, token_reward=None)
    model = fit_text(plain, "step", rng, rows="complete", folds=folds, ridge=ridge, buckets=buckets)
    rows = model.weights.shape[0]
    each = [replace(model, weights=np.repeat(model.weights[k : k + 1], rows, axis=0)) for k in range(rows)]
    rewards = [paid(contributions(m, batch)) for m in each]
    value = fit_to_go(batch, rewards, model.keys, model.fold, gamma=gamma, ridge=ridge, buckets=buckets)
    return LearnedProgress(model, value, Bill(trained=2.0 * float(batch.action.sum())))
