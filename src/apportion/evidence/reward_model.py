"""What is learned from whole texts (:mod:`.text_model`): rewards, returns, Shapley values and token rewards of units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from ..batch import Batch
from ..ops.scans import prefix_sum
from ..structure import Float, Int
from ..words import Axis, check_word
from .bill import Bill
from .learned import _evidence
from .sources import Array, Evidence
from .text_model import TextModel


@dataclass(frozen=True, eq=False)
class _OfText:
    """Saving and loading of what stands on a TextModel."""

    model: TextModel
    bill: Bill

    def save(self) -> dict[str, Array]:
        """Plain arrays; ``type(x).load(x.save())`` predicts the same, bit for bit."""
        m = self.model
        return {
            "bill": np.asarray(list(asdict(self.bill).values())), "axis": np.asarray(m.axis),
            "weights": m.weights, "keys": m.keys, "fold": m.fold,
        }  # fmt: skip

    @classmethod
    def load(cls, saved: Mapping[str, Array]) -> _OfText:
        axis: Axis = saved["axis"].item()
        check_word(axis, Axis, "axis")
        return cls(TextModel(axis, saved["weights"], saved["keys"], saved["fold"]), Bill(*saved["bill"].tolist()))

    def _cost(self, batch: Batch) -> Bill:
        return Bill(scored=float(batch.action.sum()))


def _running(batch: Batch, axis: Axis, prompt: Float, each: Float) -> Float:
    """prompt + what the units before each one contribute, shape (n,)."""
    owner = batch.within(axis, "trajectory")
    offsets = np.searchsorted(owner, np.arange(batch.n_trajectories + 1))
    # trajectory by trajectory: a sum over all of them would hand on, by rounding, what others were told
    running: Float = prompt[owner] + prefix_sum(each, offsets) - each
    return running


class LearnedReward(_OfText):
    """An outcome reward model read at every token: evidence ``prefix_score`` and ``final_score``.

    prefix_score is the score of what stands before a token. A unit's words count once they are
    complete; from one of its policy tokens to the next the score moves in equal parts.
    """

    def evidence(self, batch: Batch) -> Evidence:
        axis = self.model.axis
        prompt, seen, done = self.model.parts(batch)
        before = _running(batch, axis, prompt, seen + done) + seen
        unit = batch.within("token", axis)
        rank: Int = np.cumsum(batch.action) - batch.action
        rank = rank - rank[batch.offsets(axis)[:-1]][unit]
        share = rank / np.maximum(batch.action_count(axis), 1)[unit]
        score = np.where(batch.action, before[unit] + share * done[unit], 0.0)
        final = prompt + np.bincount(batch.within(axis, "trajectory"), weights=seen + done, minlength=prompt.size)
        return Evidence(
            {"prefix_score": score, "final_score": final}, {"prefix_score": "token", "final_score": "trajectory"},
            bill=self._cost(batch), provenance="learned",
        )  # fmt: skip


class LearnedReturn(_OfText):
    """A return predictor: evidence ``prediction``, what it expects once each unit is done."""

    def evidence(self, batch: Batch) -> Evidence:
        prompt, seen, done = self.model.parts(batch)
        each = seen + done
        found = _running(batch, self.model.axis, prompt, each) + each
        return _evidence("prediction", found, self.model.axis, self._cost(batch))


class LearnedShapley(_OfText):
    """Shapley values of blanked texts: evidence ``shapley``.

    The values are exact (:meth:`TextModel.shapley`) and would come free; billed are the N^2 passes over a text of N
    units that a model which has to be asked takes for them (the partition explainer of SHAP).
    """

    def evidence(self, batch: Batch) -> Evidence:
        axis = self.model.axis
        size = np.bincount(batch.within(axis, "trajectory"), minlength=batch.n_trajectories)
        scored = float((batch.action_count("trajectory") * size.astype(np.float64) ** 2).sum())
        return _evidence("shapley", self.model.shapley(batch), axis, Bill(scored=scored))


class LearnedTokenReward(_OfText):
    """What a reward model of complete texts gives each unit's words, at all its policy tokens: evidence ``token_score``."""

    def evidence(self, batch: Batch) -> Evidence:
        done = self.model.parts(batch)[2]
        score = np.where(batch.action, done[batch.within("token", self.model.axis)], 0.0)
        return _evidence("token_score", score, "token", self._cost(batch))
