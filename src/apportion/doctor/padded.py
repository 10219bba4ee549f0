"""The (B, T) tensors a trainer holds, looked at before anything is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..batch import Batch
from ..edges.facts import many
from ..edges.tensors import Array, is_torch, to_numpy
from ..errors import BatchError
from ..logs.dump import MASKS, ROW, TOKEN
from ..structure import Bool
from .checks import diagnosis, look, new_tally
from .findings import Diagnosis, Finding
from .refused import Refusals
from .scores import gaps
from .tally import Tally, either
from .tensors import bad_mask, bad_rows, cells, masked, mended

#: What the sampler said, where it is another engine than the trainer's.
SAMPLER = ("sampler_logp", "rollout_log_probs", "sampling_per_token_logps")

#: A mask of what tools wrote, where it is apart from the mask of the completion.
TOOL_MASKS = ("tool_mask", "env_mask")

_AXES = {name: meta["axis"] for name, meta in Batch.columns().items() if meta["kind"] != "text"}
_WIDE = ("attention", "turn_ids", "step_ids", "advantages", "sampler_logp", *(n for n, axis in _AXES.items() if axis == "token"))
_UNITS = ("state", *(n for n, axis in _AXES.items() if axis in ("turn", "step")))
_ROWS = (*ROW, *_UNITS)


def examine_padded(
    tensors: Mapping[str, Any], *, methods: Sequence[str] | None = None, vocabulary: int | None = None
) -> Diagnosis:
    """What is wrong with the (B, T) tensors of a training step: numpy or torch, by a trainer's names or ours.

    Looks at the arrays as they are (widths, masks, NaN, rewards and advantages on masked tokens,
    the gap between sampler and trainer), then leaves out the rows that no batch could hold and
    examines the rest like :func:`examine`. ``tensors``: the names of ``Batch.from_padded``, or those
    of verl and TRL (``response_mask``, ``old_log_probs``, ``token_level_rewards``, ``uid`` ...);
    others are left alone. ``advantages``: (B, T), what the trainer made. ``rollout_log_probs``: the
    sampler's. Places name the row of the tensors. The cost is a few passes over the tensors plus
    the methods; ``methods=["rloo"]`` keeps that small in a training loop.

    >>> import numpy as np
    >>> found = examine_padded({"response_mask": np.array([[1, 0, 2]]), "outcome": [1.0]})
    >>> [f.id for f in found.problems]
    ['mask-not-binary']
    """
    tally = new_tally(methods, vocabulary)
    given, assumed = _named(tensors)
    if "action" not in given:
        raise BatchError("the mask of the policy's tokens is missing: give response_mask= (1 where the policy wrote the token)")
    mask = to_numpy("action", given["action"])
    if mask.ndim != 2 or not mask.size:
        raise BatchError(f"response_mask has shape {mask.shape}: expected (rows, tokens), both at least 1")
    action: Bool = mask != 0
    found = [*bad_mask(mask)]
    arrays = _same_width(given, action, found, assumed)
    bad = bad_rows(arrays, action, found)
    arrays = mended(arrays, action, found)
    found += masked(arrays, action)
    if "sampler_logp" in arrays and "logp" in arrays:
        _gap(arrays["logp"].astype(np.float64) - arrays["sampler_logp"], action, tally)
    if bad.any():
        n = int(bad.sum())
        assumed.append(f"{many(n, 'row')} that no batch can hold {either(n, 'was', 'were')} left out of the other checks")
    refusals = Refusals()
    if not bad.all():
        try:
            look(Batch.from_padded(**_kept(given, arrays, action, np.flatnonzero(~bad))), tally)
        except BatchError as error:
            refusals.add(str(error))
    said = {f.id for f in found}
    return diagnosis(tally, [*found, *(f for f in refusals.say() if f.id not in said)], assumed)


def _named(tensors: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The tensors by our names, and which of theirs were taken for what."""
    held = {name: value for name, value in tensors.items() if value is not None}
    given: dict[str, Any] = {n: held[n] for n in ("turns", "limit", "advantages", *_UNITS) if n in held}
    assumed = []
    masks = [k for k in MASKS if k in held][:1] + [k for k in TOOL_MASKS if k in held][:1]
    if masks:
        arrays = [to_numpy(k, held[k]) for k in masks]
        if len({a.shape for a in arrays}) > 1:
            raise BatchError(f"{masks[0]} has shape {arrays[0].shape}, but {masks[1]} has shape {arrays[1].shape}")
        given["action"] = arrays[0] if len(arrays) == 1 else arrays[0] * arrays[1]
    sampler = next((k for k in SAMPLER if k in held), None)
    if sampler is not None and any(k in held for k in TOKEN["logp"] if k not in SAMPLER):
        given["sampler_logp"] = held.pop(sampler)
        assumed.append(f"{sampler} is taken for what the sampler said")
    names = {**TOKEN, "attention": ("attention", "attention_mask"), **ROW}
    for ours, keys in names.items():
        deep = 1 if ours in ROW else 2
        key = next((k for k in keys if k in held and _depth(held[k]) == deep), None)
        if key is None or (ours == "outcome" and "token_reward" in given):
            continue
        given[ours] = held[key]
        if key != ours and ours != "attention":
            assumed.append(f"{key} is taken for {ours}")
    if "trajectory" not in given:
        given.pop("step", None)  # a training step, not the place of a row in its trajectory
    return given, assumed


def _depth(value: Any) -> int:
    """Dimensions of an array, a tensor or a list."""
    if hasattr(value, "ndim"):
        return int(value.ndim)
    return 0 if not isinstance(value, (list, tuple)) else 2 if value and isinstance(value[0], (list, tuple)) else 1


def _same_width(given: Mapping[str, Any], action: Bool, found: list[Finding], assumed: list[str]) -> dict[str, Array]:
    """The (B, T) tensors as arrays: the last T columns of those that hold the prompt too; others of another shape are named."""
    arrays = {}
    for name in _WIDE:
        if name not in given:
            continue
        array = to_numpy(name, given[name])
        wider = array.ndim == 2 and array.shape[0] == action.shape[0] and array.shape[1] > action.shape[1]
        if wider and name in ("attention", "ids"):
            assumed.append(f"{name} is {array.shape[1]} wide: its last {action.shape[1]} columns are taken for the response")
            array = array[:, -action.shape[1] :]
        if array.shape != action.shape:
            says = f"{name} has shape {array.shape}, the mask {action.shape}; it is left out of the other checks."
            figures = {"tensor": name, "shape": list(array.shape), "mask": list(action.shape)}
            found.append(Finding("shapes-disagree", "problem", says, figures))
            continue
        arrays[name] = array
    return arrays


def _gap(gap: Array, action: Bool, tally: Tally) -> None:
    gaps("sampler", gap[action], tally)
    tally.see("sampler", cells(action & (np.abs(gap) > 1), gap))


def _kept(given: Mapping[str, Any], arrays: Mapping[str, Array], action: Bool, rows: Array) -> dict[str, Any]:
    """What ``Batch.from_padded`` takes, for the rows that are kept; rows bear their number in the tensors."""
    taken: dict[str, Any] = {n: given[n] for n in ("turns", "limit") if n in given}
    taken.update(action=action[rows])
    taken.update({n: a[rows] for n, a in arrays.items() if n not in ("advantages", "sampler_logp")})
    for name in _ROWS:
        value = given.get(name)
        if value is not None:
            array = is_torch(value) or isinstance(value, np.ndarray)
            taken[name] = to_numpy(name, value)[rows] if array else [value[r] for r in rows.tolist()]
    taken.setdefault("trajectory", rows)
    return taken
