"""(B, T) tensors in, (B, T) tensors out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from ..batch import Batch, Spans
from ..errors import BatchError
from ..ids import Codes
from ..ops.packing import pack, runs
from ..structure import Bool, Int
from .cuts import cut_by_ids, cut_by_mask
from .layout import Layout, to_padded
from .rows import order_rows, per_row, per_unit, states
from .take import ranges
from .tensors import Array, home_of, to_numpy
from .turns import known_columns, offsets_of

__all__ = ["Layout", "from_padded", "to_padded"]

Turns = Literal["row", "mask"]
MaskedReward = Literal["move", "error", "keep", "drop"]

_FLOATS = ("token_reward", "logp", "ref_logp", "value", "entropy", "outcome", "turn_reward")


def from_padded(
    *,
    action: Any = None,
    response_mask: Any = None,
    attention: Any = None,
    attention_mask: Any = None,
    turns: Turns = "row",
    turn_ids: Any = None,
    step_ids: Any = None,
    trajectory: Any = None,
    step: Any = None,
    state: Any = None,
    spans: Mapping[str, Any] | None = None,
    masked_reward: MaskedReward = "move",
    **columns: Any,
) -> Batch:
    """A batch from the (B, T) tensors a trainer holds: numpy or torch, aligned left or right.

    action (or response_mask): (B, T), 1 where the policy wrote the token. attention (or
    attention_mask, over the same T tokens): 1 on
    real tokens; without it a row reaches from its first to its last policy token.

    Boundaries are data. Default: a row is one turn. turn_ids: (B, T) numbers the turns of a row, so
    that adjacent ones stay apart; -1 on tokens between turns, which join the next. turns="mask"
    takes every run of policy tokens as a turn (adjacent turns merge). step_ids: likewise, in turns.

    A row is a trajectory, unless trajectory= names the one it belongs to; then step= (B,) orders
    the rows of each, because trainers shuffle. Rows of a trajectory are packed together,
    trajectories by first appearance; ``to_padded`` returns the trainer's order, shape, library and
    device, in the dtype of the first float tensor among token_reward, logp, ref_logp, value,
    entropy, outcome, turn_reward (float32 without one).

    Columns, by what they are attached to: token (B, T); trajectory (B,), equal in all rows of one;
    turn and step: nested lists, (B, K) filled from the left, or (B,) where each row has one. state:
    one key per turn (and one after the last, if known: else null). spans: name -> (row, first
    column, last column + 1[, label]) tuples.

    Non-finite or impossible values outside the action mask become 0; on a policy token they are
    errors. masked_reward: what happens to token_reward outside the mask. "move" (default) puts it
    on the last policy token at or before it in its row, else on the first: trainers score the last
    *attended* position, often a tool's token or padding, and to drop it would lose the outcome.
    "error" refuses it. Two more exist to reproduce trainers (``apportion conformance``): "keep" leaves
    it on its token, which must be attended (gae with semantics="skyrl" lets it leak back from there;
    everything else gives it to the last policy token of its step), and "drop" *loses* it, as verl's and
    AReaL's GAE do.
    """
    mask = _mask("action", action if action is not None else response_mask, None)
    if action is not None and response_mask is not None:
        raise BatchError("action and response_mask are the same thing: pass one of them")
    if attention is not None and attention_mask is not None:
        raise BatchError("attention and attention_mask are the same thing: pass one of them")
    attention = attention_mask if attention is None else attention
    known_columns(columns)
    for word, words, name in ((turns, Turns, "turns"), (masked_reward, MaskedReward, "masked_reward")):
        if word not in get_args(words):
            raise BatchError(f"{name} = {word!r}: expected one of {', '.join(get_args(words))}")
    if turn_ids is not None and turns == "mask":
        raise BatchError("turn_ids and turns='mask' both say where turns begin: pass one of them")
    width = mask.shape[1]
    order, rows_of, names = order_rows(mask.shape[0], trajectory, step)
    size, at = _places(mask, attention, order)
    packed = mask.ravel()[at]

    def place(t: int) -> str:
        return f"[{at[t] // width}, {at[t] % width}]"

    row_at = turn_at = offsets_of(size)
    if turns == "mask":
        turn_at = _offsets(cut_by_mask(packed, _starts(row_at)))
    elif turn_ids is not None:
        turn_at = _offsets(cut_by_ids("turn_ids", _whole("turn_ids", turn_ids, mask, at), packed, _starts(row_at), place))
    step_at = turn_at
    if step_ids is not None:
        step_at = _offsets(cut_by_ids("step_ids", _whole("step_ids", step_ids, mask, at), packed, _starts(turn_at), place))
    row_turns = np.searchsorted(turn_at, row_at)
    built: dict[str, Any] = {"turn_offsets": turn_at, "row_turns": row_turns}
    if step_ids is not None:
        built["step_offsets"] = step_at
    count = {"turn": np.diff(row_turns), "step": np.diff(np.searchsorted(step_at, row_at))}
    axis = {n: meta["axis"] for n, meta in Batch.columns().items()} | {"group": "trajectory", "episode": "trajectory"}
    for name, value in columns.items():
        if value is None or name not in axis:
            built[name] = value
        elif axis[name] == "token":
            array = _same_shape(name, value, mask)
            if name == "token_reward":
                array = _on_policy(array, mask, masked_reward, at)
            built[name] = _packed(name, array, at, packed, place)
        elif axis[name] == "trajectory":
            built[name] = per_row(name, value, order, rows_of, Batch.columns().get(name, {"kind": "codes"})["kind"])
        else:
            built[name] = per_unit(name, value, order, count[axis[name]], axis[name])
    tensors = {"action": action if action is not None else response_mask, "attention": attention, **columns}
    home = home_of(tensors, {n: columns.get(n) for n in _FLOATS})
    trajectory_rows = offsets_of(np.bincount(rows_of))
    if state is not None:
        built["state"] = states(state, order, count["turn"], trajectory_rows)
    if spans:
        built["spans"] = {n: _spans(n, table, mask, at) for n, table in spans.items()}
    return Batch(
        trajectory_rows=trajectory_rows,
        action=packed,
        trajectory=Codes(np.arange(len(names), dtype=np.int64), names),
        layout=Layout((mask.shape[0], width), at, order, np.arange(mask.shape[0]), home),
        **built,
    )


def _same_shape(name: str, value: Any, mask: Bool) -> Array:
    array = to_numpy(name, value)
    if array.shape != mask.shape:
        hint = ""
        if array.ndim == 2 and array.shape[0] == mask.shape[0] and array.shape[1] > mask.shape[1]:
            hint = f"; if it holds prompt and response, pass {name}[:, -{mask.shape[1]}:]"
        raise BatchError(f"{name} has shape {array.shape}, but action has shape {mask.shape}: both are (rows, tokens){hint}")
    if array.dtype.kind not in "biuf":
        raise BatchError(f"{name} holds {array.dtype.name}s: expected numbers")
    return array


def _mask(name: str, value: Any, like: Bool | None) -> Bool:
    if value is None:
        raise BatchError(f"{name} is missing: give the (B, T) mask of tokens the policy wrote ({name}= or response_mask=)")
    array = to_numpy(name, value) if like is None else _same_shape(name, value, like)
    if array.ndim != 2 or not array.size:
        raise BatchError(f"{name} has shape {array.shape}: expected (rows, tokens), both at least 1")
    mask: Bool = array != 0
    wrong = (array == 1) != mask
    if wrong.any():
        r, c = np.argwhere(wrong)[0]
        raise BatchError(f"{name}[{r}, {c}] = {array[r, c]}: a mask holds 0 and 1 only")
    return mask


def _places(mask: Bool, attention: Any, order: Int) -> tuple[Int, Int]:
    """Real tokens of each packed row, and the flat place in (B, T) of each packed token."""
    bare = ~mask.any(1)
    if bare.any():
        raise BatchError(f"action[{int(np.argmax(bare))}] has no action token: leave that row out")
    attended = mask if attention is None else _attended(mask, attention)
    first, size = runs(attended)
    if attention is not None and not (np.count_nonzero(attended, axis=1) == size).all():
        row, column = np.nonzero(attended[order])  # holes between real tokens
        return np.bincount(row, minlength=order.size), order[row] * mask.shape[1] + column
    first, size = first[order], size[order]
    return size, ranges(order * mask.shape[1] + first, size)


def _attended(mask: Bool, attention: Any) -> Bool:
    attended = _mask("attention", attention, mask)
    stray = mask & ~attended
    if stray.any():
        r, c = np.argwhere(stray)[0]
        raise BatchError(f"action[{r}, {c}] is set where attention[{r}, {c}] is 0: every policy token must be attended to")
    return attended


def _starts(offsets: Int) -> Bool:
    start = np.zeros(int(offsets[-1]), dtype=np.bool_)
    start[offsets[:-1]] = True
    return start


def _offsets(start: Bool) -> Int:
    return np.append(np.flatnonzero(start), start.size)


def _whole(name: str, value: Any, mask: Bool, at: Int) -> Int:
    ids = _same_shape(name, value, mask).ravel()[at]
    if ids.dtype.kind == "f" and not (ids == np.floor(ids)).all():
        raise BatchError(f"{name} holds fractions: expected whole numbers, -1 for none")
    return ids.astype(np.int64)


def _on_policy(reward: Array, mask: Bool, masked_reward: str, at: Int) -> Array:
    """Rewards outside the mask moved to the nearest policy token before them, else after, in their row (or as asked)."""
    hot = np.flatnonzero(reward.ravel() != 0)
    out = hot[~mask.ravel()[hot] & np.isfinite(reward.ravel()[hot])]
    if not out.size:
        return reward
    flat = reward.astype(np.float64).ravel()
    width = mask.shape[1]
    if masked_reward == "error":
        r, c = divmod(int(out[0]), width)
        raise BatchError(
            f"token_reward[{r}, {c}] = {flat[out[0]]:g} lies outside the action mask: give it to a policy token, "
            "or choose masked_reward='move'"
        )
    if masked_reward == "keep":
        lost = out[~np.isin(out, at)]
        if lost.size:
            r, c = divmod(int(lost[0]), width)
            raise BatchError(
                f"token_reward[{r}, {c}] = {flat[lost[0]]:g} lies on padding, where nothing can be kept: "
                "pass attention= (1 on every real token), or choose masked_reward='move'"
            )
        return reward
    if masked_reward == "drop":
        flat[out] = 0.0
        return flat
    policy = np.flatnonzero(mask)
    before = np.searchsorted(policy, out, side="right") - 1
    before += (before < 0) | (policy[before] // width != out // width)
    np.add.at(flat, policy[before], flat[out])
    flat[out] = 0.0
    return flat


def _packed(name: str, array: Array, at: Int, action: Bool, place: Any) -> Array:
    if array.dtype.kind != "f":
        return array.ravel()[at]
    meta = Batch.columns()[name]
    values, bad = pack(array, at, action, meta.get("low", -np.inf), meta.get("high", np.inf))
    if bad >= 0:
        raise BatchError(f"{name}{place(bad)} = {values[bad]} on a policy token: expected a finite number")
    values.setflags(write=False)  # nobody else has it: the batch need not copy it
    return values


def _spans(name: str, table: Any, mask: Bool, at: Int) -> Spans:
    packed = np.full(mask.size, -1, dtype=np.int64)
    packed[at] = np.arange(at.size)
    width = mask.shape[1]
    start, end, label = [], [], []
    for i, (row, first, last, *rest) in enumerate(table):
        inside = 0 <= row < mask.shape[0] and 0 <= first < last <= width
        a, b = (packed[row * width + first], packed[row * width + last - 1]) if inside else (-1, -1)
        if a < 0 or b < 0:
            raise BatchError(
                f"spans[{name!r}][{i}] = {(row, first, last)}: expected a row and columns of real tokens in {mask.shape}"
            )
        start.append(a)
        end.append(b + 1)
        label += rest
    return Spans(np.asarray(start, dtype=np.int64), np.asarray(end, dtype=np.int64), tuple(label))
