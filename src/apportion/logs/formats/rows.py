"""A row of a (B, T) dump as a record of its own: lists of token ids, a mask, log-probabilities (JSON lines or a table)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ...errors import BatchError
from ...structure import Bool, Int
from ..rollout import Notes, Rollout, Tokens, int_list, logp_list, mask_list

#: The names trainers give these, the first that is there is taken.
IDS = ("responses", "completion_ids", "response_ids", "completion_token_ids", "tokens", "token_ids", "input_ids")
PROMPT = ("prompt_ids", "prompt_token_ids", "prompts")
MASK = ("response_mask", "loss_mask", "action_mask", "completion_mask", "assistant_masks", "assistant_mask")
TOOL = ("tool_mask", "env_mask")
LOGP = (
    "old_log_probs", "rollout_log_probs", "logprobs", "log_probs", "old_per_token_logps", "sampling_per_token_logps",
    "completion_logprobs", "response_logprobs",
)  # fmt: skip
TURNS = ("turn_ids", "turn_id")


def fits(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    ids = next((record[k] for k in IDS if k in record), None)
    if not isinstance(ids, list) or not ids or not isinstance(ids[0], int):
        return False
    return any(k in record for k in (*MASK, *TOOL, *PROMPT, *LOGP))


def rollouts(record: Mapping[str, Any]) -> list[Rollout]:
    """The one trajectory of a row; its turns are the runs of its mask, unless ``turn_ids`` number them."""
    notes = Notes()
    used = {k for keys in (IDS, PROMPT, MASK, TOOL, LOGP, TURNS) for k in keys}
    key = next((k for k in IDS if k in record), None)
    if key is None:
        raise BatchError(f"no token ids: expected one of the keys {', '.join(IDS)}")
    ids = int_list(key, record[key])
    mask = _mask(record, ids.size)
    if not mask.any():
        raise BatchError("the mask has no token of the policy: there is nothing to credit, leave the row out")
    logp = _logp(record, mask)
    turn = next((k for k in TURNS if k in record), None)
    cuts = _by_mask(mask) if turn is None else _by_ids(turn, record[turn], mask)
    if turn is None:
        notes("turns are the runs of policy tokens in the mask: adjacent turns, if there were any, are one")
    prompt_key = next((k for k in PROMPT if isinstance(record.get(k), list)), None)
    turns = [Tokens(ids[a:b], mask[a:b], None if logp is None else logp[a:b]) for a, b in pairwise(cuts)]
    if prompt_key is not None:
        turns[0] = _after(int_list(prompt_key, record[prompt_key]), turns[0])
    return [Rollout({k: v for k, v in record.items() if k not in used}, None, turns, notes.all)]


def _mask(record: Mapping[str, Any], n: int) -> Bool:
    """The product of the masks there are, one over the last tokens only (a response's) filled up on the left."""
    mask: Bool = np.ones(n, dtype=np.bool_)
    for keys in (MASK, TOOL):
        key = next((k for k in keys if k in record), None)
        if key is not None:
            given = np.asarray(record[key])
            if given.ndim == 1 and given.size < n and record.get("response_length") == given.size:
                given = np.concatenate([np.zeros(n - given.size, dtype=np.int64), given])
            mask &= mask_list(key, given, n)
    length = record.get("response_length")
    if isinstance(length, int) and 0 < length < n and not any(k in record for k in MASK):
        mask[: n - length] = False
    return mask


def _logp(record: Mapping[str, Any], mask: Bool) -> Any:
    key = next((k for k in LOGP if record.get(k) is not None), None)
    if key is None:
        return None
    given = np.asarray(record[key])
    own = given
    if given.shape == mask.shape:
        own = given[mask]  # what stands at other tokens says nothing
    elif given.ndim == 1 and given.size < mask.size and given.size == record.get("response_length"):
        own = given[mask[mask.size - given.size :]]
    values = np.zeros(mask.size)
    values[mask] = logp_list(key, own, int(mask.sum()))
    return values


def _by_mask(mask: Bool) -> Sequence[int]:
    """Offsets of the turns: each ends where a run of policy tokens does; the rest joins the last."""
    ends = np.flatnonzero(mask[:-1] & ~mask[1:]) + 1
    last = int(np.flatnonzero(mask)[-1]) + 1
    return [0, *[int(e) for e in ends if e < last], mask.size]


def _by_ids(key: str, given: Any, mask: Bool) -> Sequence[int]:
    from ...edges.cuts import cut_by_ids

    ids = np.asarray(given)
    if ids.shape != mask.shape or ids.dtype.kind not in "iu":
        raise BatchError(f"{key} has {ids.size} entries, but there are {mask.size} tokens")
    within = np.zeros(mask.size, dtype=np.bool_)
    within[0] = True
    start = cut_by_ids(key, ids.astype(np.int64), mask, within, lambda t: f"[{t}]")
    return [*np.flatnonzero(start).tolist(), mask.size]


def _after(prompt: Int, turn: Tokens) -> Tokens:
    """A turn with the prompt's tokens shown before it."""
    none = np.zeros(prompt.size, dtype=np.bool_)
    logp = None if turn.logp is None else np.concatenate([np.zeros(prompt.size), turn.logp])
    return Tokens(np.concatenate([prompt, turn.ids]), np.concatenate([none, turn.action]), logp)
