"""Where a trajectory is cut to be gone on with, in tokens."""

from __future__ import annotations

import numpy as np

from ..batch import Batch
from ..errors import OptionError
from ..words import Axis
from .sources import Array


def prefix_tokens(batch: Batch, axis: Axis) -> Array:
    """How many tokens of the batch stand before each prefix (the end of its trajectory for the last).

    The state before a turn includes what the policy is shown there, so the cut lies before its first policy token.
    """
    if axis == "token":
        return np.arange(batch.n_tokens)
    unit: Axis = {"prefix": "turn", "step_prefix": "step"}[axis]  # type: ignore[assignment]
    ends, owner = batch.offsets("trajectory"), batch.within(axis, "trajectory")
    offsets = batch.offsets(unit)
    at = np.arange(owner.size) - owner
    place = offsets[at]
    acts = np.append(np.flatnonzero(batch.action), batch.n_tokens)
    first = acts[np.searchsorted(acts, place)]
    last = np.append(np.flatnonzero(np.diff(owner)), owner.size - 1)
    first[last] = ends[owner[last] + 1]
    found: Array = np.minimum(first, ends[owner + 1])
    return found


def answer_cuts(batch: Batch, prefixes: Array, axis: Axis, who: str) -> tuple[Array, Array]:
    """(token at which each prefix ends, trajectory it belongs to), for a source that writes and runs no environment.

    Raises OptionError for prefixes that observations follow, and for those that nothing stands before.
    """
    cuts, owner = prefix_tokens(batch, axis)[prefixes], batch.within(axis, "trajectory")[prefixes]
    starts = batch.offsets("trajectory")
    shown = np.append(np.flatnonzero(~batch.action), batch.n_tokens)
    following = shown[np.searchsorted(shown, cuts)] < starts[owner + 1]
    if following.any():
        i = int(np.argmax(following))
        raise OptionError(
            f"prefixes[{i}] = {int(prefixes[i])}: observations follow it, so the environment would run, which {who} cannot"
        )
    empty = cuts == starts[owner]
    if empty.any():
        i = int(np.argmax(empty))
        raise OptionError(f"prefixes[{i}] = {int(prefixes[i])}: no token stands before it; a batch needs its prompt's tokens")
    return cuts, owner


def unfinished(batch: Batch, prefixes: Array, axis: Axis) -> None:
    """Refuse prefixes that are the end of a trajectory, after which nothing is earned, unless it was cut off there."""
    owner = batch.within(axis, "trajectory")[prefixes]
    done = prefix_tokens(batch, axis)[prefixes] == batch.offsets("trajectory")[owner + 1]
    if batch.truncated is not None:
        done &= ~batch.truncated[owner]
    if done.any():
        i = int(np.argmax(done))
        raise OptionError(
            f"prefixes[{i}] = {int(prefixes[i])}: trajectory {int(owner[i])} is finished there: leave the last prefix out "
            f"(or, where it was cut off and is to go on, say so in truncated=)"
        )
