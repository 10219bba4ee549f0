"""What heads say: of which units, read at which token, and what they are to learn to say there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...batch import Batch
from ...errors import OptionError
from ...ops.scans import gae
from ...structure import Float, Int
from ...words import Axis
from ..critic import final_value
from ..cuts import prefix_tokens
from ..sources import Array
from . import checks

Loss = Literal["mse", "bce", "sum"]


@dataclass(frozen=True)
class Kind:
    """What a head says: one number per unit of ``axis``. bce: chances, which stand for ``low`` to ``high``."""

    axis: Axis
    loss: Loss
    low: float = 0.0
    high: float = 1.0


#: By the name of the evidence: which unit, how it is learned.
KINDS = {
    "value": Kind("token", "mse"),
    "prediction": Kind("step", "mse"),
    "progress": Kind("step", "sum"),
    "promise": Kind("step", "bce"),
    "process": Kind("step", "bce", -1.0, 1.0),
    "success_rate": Kind("step_prefix", "bce"),
}


def places(batch: Batch, kind: str) -> tuple[Int, Int]:
    """Units that the head says something about, and the token each is read at: the last one that may be known there."""
    axis = KINDS[kind].axis
    if axis == "token":
        units = np.flatnonzero(batch.action)
        checks.opened(batch, units)
        return units, units - 1
    if axis == "step":
        return np.arange(batch.n_steps), batch.last_action("step")
    cuts, starts = prefix_tokens(batch, axis), batch.offsets("trajectory")[batch.within(axis, "trajectory")]
    checks.opened(batch, starts[cuts == starts])
    return np.arange(cuts.size), cuts - 1


@dataclass(frozen=True, eq=False)
class Targets:
    """y: one per unit that is read, NaN where unknown (chances for cross-entropy; of "sum" heads the total of the
    trajectory, at each of its units). owner: the trajectory of each unit. again: new targets from the predictions at all
    units (TD), or None.
    """

    y: Float
    owner: Int
    again: Callable[[Float], Float] | None = None


def targets(
    batch: Batch, kind: str, labels: Array | None, units: Int, at: Int, gamma: float, lam: float
) -> Targets:  # fmt: skip
    """Targets of the ``units`` of a head's axis; see ``fit_head``."""
    what, owner = KINDS[kind], batch.within("token", "trajectory")[at]
    if labels is not None:
        return Targets(_given(batch, kind, labels)[units], owner)
    if kind != "value":
        whole = batch.solved.astype(np.float64) if what.loss == "bce" else batch.reward
        return Targets(whole[owner], owner)
    r, starts, end = batch.rewards("token"), batch.offsets("trajectory"), final_value(batch)
    plain = gae(r, np.zeros(r.size), batch.action, starts, gamma, 1.0, end)

    def again(said: Float) -> Float:
        v = np.zeros(r.size)
        v[units] = said
        return (gae(r, v, batch.action, starts, gamma, lam, end) + v)[units]

    return Targets(plain[units], owner, again if lam < 1 else None)


def _given(batch: Batch, kind: str, labels: Array) -> Float:
    what, y = KINDS[kind], np.asarray(labels, dtype=np.float64)
    count = batch.count(what.axis)
    if kind in ("value", "progress"):
        raise OptionError(f"labels: a {kind} head learns from rewards; put them into the batch")
    if y.shape != (count,):
        raise OptionError(f"labels has shape {y.shape}, expected ({count},): one per {what.axis}, NaN where unknown")
    if np.isnan(y).all():
        raise OptionError("labels are all NaN: there is nothing to learn from")
    if what.loss != "bce":
        return y
    wrong = (y < what.low) | (y > what.high)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise OptionError(f"labels[{i}] = {y[i]}: a {kind} head says {what.low:g} to {what.high:g}")
    return (y - what.low) / (what.high - what.low)
