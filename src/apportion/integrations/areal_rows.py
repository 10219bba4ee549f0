"""AReaL's tensors as rows and back: its numbers about a token stand one to the left of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..edges.tensors import to_numpy
from ..errors import BatchError
from .observed import after_prompt
from .rows import Credited, Rows

#: Tensors (rows, tokens) a workflow may return beside AReaL's own.
STATES, EARNED = "state_ids", "turn_rewards"
#: What AReaL itself reads, and multiplies where it could have masked, so that one NaN anywhere spoils a row.
READ = ("logprobs", "ref_logp", "prox_logp", "values", "rewards", EARNED)


def rows_of(data: Mapping[str, Any], mask: Any, sizes: Sequence[int], given: Mapping[str, Any], kl_ctl: float) -> Rows:
    """What AReaL made of a batch, each number back at the token it is about: its tensors stand one to the left."""
    action, reward = mask.copy(), _right(data["tot_rewards"])
    action[:, 0] = False  # nothing comes before a first token, so AReaL has no log-prob of it
    ids = array(data["input_ids"]).astype(np.int64)
    attention, prompt = after_prompt(action, ids, array(data["attention_mask"]))
    columns = {name: _right(data.get(key)) for name, key in (("logp", "logprobs"), ("ref_logp", "ref_logp"), ("value", "values"))}
    columns |= {"group": np.repeat(np.arange(len(sizes)), sizes).tolist(), "ids": ids, "attention": attention}
    columns["outcome"] = None if kl_ctl else reward.sum(axis=1)
    columns["state"] = _per_turn(action, given[STATES], lambda x, starts: x[starts])
    # What stands between two turns was earned by the first of them.
    columns["turn_reward"] = _per_turn(action, given[EARNED], lambda x, starts: np.add.reduceat(x, [0, *starts[1:]]))
    return Rows(action, reward if kl_ctl else None, prompt, columns)


def put(data: dict[str, Any], done: Credited) -> dict[str, Any]:
    """Credit and what stays in the loss, one to the left as AReaL has them."""
    for name, value in (("advantages", done.token), ("returns", done.returns), ("loss_mask", done.keep)):
        data[name] = data[name].new_tensor(np.roll(value, -1, axis=1))  # the first column is empty
    return data


def check_numbers(data: Mapping[str, Any]) -> None:
    """Refuse tensors of another shape than the tokens, and numbers that are none, by row and token."""
    shape = tuple(data["input_ids"].shape)
    for name in ("loss_mask", "attention_mask", STATES, *READ):
        if data.get(name) is None:
            continue
        value = array(data[name])
        expected = shape[:1] if name == "rewards" else shape
        if value.shape != expected:
            raise BatchError(f"{name} has shape {value.shape}, but input_ids has {shape}: expected {expected}")
        if name in READ and not np.isfinite(value).all():
            at = tuple(np.argwhere(~np.isfinite(value))[0])
            where = f" (token {at[1]})" if len(at) > 1 else ""
            raise BatchError(f"{name} of row {at[0]} is {value[at]}{where}, expected a finite number")


def _per_turn(action: Any, tensor: Any, of: Callable[[Any, Any], Any]) -> list[list[Any]] | None:
    if tensor is None:
        return None
    begins = action & ~np.pad(action, ((0, 0), (1, 0)))[:, :-1]
    return [of(x, np.flatnonzero(b)).tolist() if b.any() else [] for x, b in zip(array(tensor), begins, strict=True)]


def _right(tensor: Any) -> Any:
    return None if tensor is None else np.roll(array(tensor), 1, axis=1)


def array(tensor: Any) -> Any:
    return to_numpy("tensor", tensor)
