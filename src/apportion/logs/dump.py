"""(B, T) dumps: the arrays of one training batch, by the names trainers give them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..batch import Batch
from ..edges.tensors import to_numpy
from ..errors import BatchError, OptionError
from ..ops.packing import runs
from .keys import CANDIDATES

#: Column -> names it goes by in (B, T) dumps, in the order they are tried.
TOKEN: Mapping[str, tuple[str, ...]] = {
    "token_reward": (
        "token_reward",
        "token_rewards",
        "token_level_rewards",
        "rm_scores",
        "token_level_scores",
        "rewards",
        "scores",
    ),
    "ids": ("ids", "responses", "completion_ids", "response_ids", "token_ids", "input_ids", "tokens"),
    "logp": (
        "logp",
        "old_log_probs",
        "rollout_log_probs",
        "old_per_token_logps",
        "sampling_per_token_logps",
        "logprobs",
        "log_probs",
    ),
    "ref_logp": ("ref_logp", "ref_log_prob", "ref_log_probs", "ref_per_token_logps", "reference_logprobs"),
    "value": ("value", "values"),
    "entropy": ("entropy", "entropys", "entropies"),
    "turn_ids": ("turn_ids", "turn_id"),
    "step_ids": ("step_ids",),
}
ROW: Mapping[str, tuple[str, ...]] = {
    "outcome": CANDIDATES["outcome"],
    "group": (*CANDIDATES["group"], "index"),
    "trajectory": (*CANDIDATES["trajectory"], "traj_uid", "traj_id"),
    "step": ("step", "turn_index"),
    "agent": CANDIDATES["agent"],
    "episode": CANDIDATES["episode"],
    "truncated": ("truncated", "is_truncated"),
    "bootstrap": ("bootstrap",),
    "success": CANDIDATES["success"],
}
MASKS = ("response_mask", "loss_mask", "action_mask", "completion_mask", "action")
_TOOL = ("tool_mask", "env_mask")


def arrays_of(path: Path) -> dict[str, Any]:
    """Name -> array of a .npz, .safetensors or .pt file; nothing in it is run."""
    try:
        if path.suffix == ".safetensors":
            return _safetensors(path)
        if path.suffix in (".pt", ".pth", ".bin"):
            return _torch(path)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, OSError, KeyError, EOFError, BadZipFile) as error:
        raise BatchError(f"{path}: not readable as named arrays ({str(error).splitlines()[0]})") from None


def _safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors.numpy import load_file  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise OptionError(f"{path}: reading it needs the package safetensors: pip install safetensors") from None
    return dict(load_file(path))


def _torch(path: Path) -> dict[str, Any]:
    try:
        import torch
    except ImportError:
        raise OptionError(f"{path}: reading it needs the package torch: pip install torch, or save it as .npz") from None
    import pickle

    try:
        held = torch.load(path, weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise BatchError(f"{path}: not readable without running its code ({str(error).splitlines()[0]})") from None
    if not isinstance(held, Mapping):
        raise BatchError(f"{path}: holds {type(held).__name__}, expected a dict of tensors by name")
    return dict(held)


def padded(arrays: Mapping[str, Any], given: Mapping[str, str], where: str) -> tuple[Batch, list[str]]:
    """A batch of the rows, and what was assumed."""
    held = {n: v if isinstance(v, (list, tuple)) else to_numpy(n, v) for n, v in arrays.items()}
    mask, said = _mask(held, where)
    columns: dict[str, Any] = {}
    for name, keys in (*TOKEN.items(), *ROW.items()):
        wanted = given.get(name, given.get("outcome") if name == "token_reward" else None)
        tried = (wanted,) if wanted is not None else keys
        shape = mask.shape if name in TOKEN else mask.shape[:1]
        key = next((k for k in tried if k in held and _fits(held[k], shape, name)), None)
        if key is not None and not (name == "outcome" and "token_reward" in columns):
            columns[name] = _last(held[key], mask)
            said.append(f"{name} is {key!r}.")
    for name, key in given.items():
        if key not in held:
            raise BatchError(f"{where}: there is no array {key!r} for the {name} (it has {', '.join(sorted(held))})")
    if not {"token_reward", "outcome"} & set(columns):
        said.append(f"No reward was found (looked for {', '.join(dict.fromkeys((*TOKEN['token_reward'], *ROW['outcome'])))}).")
    if "step" in columns and "trajectory" not in columns:
        del columns["step"]  # a training step, not the place of a row in its trajectory
    attention = held.get("attention_mask")
    if attention is not None:
        columns["attention_mask"] = _last(attention, mask)
    if "turn_ids" not in columns and "trajectory" not in columns and _several(mask):
        columns["turns"] = "mask"
        said.append("Turns are the runs of policy tokens in the mask: adjacent turns, if there were any, are one.")
    elif "turn_ids" not in columns:
        said.append("A row is one turn.")
    try:
        return Batch.from_padded(response_mask=mask, **columns), said
    except BatchError as error:
        raise BatchError(f"{where}: {error}") from None


def _mask(held: Mapping[str, Any], where: str) -> tuple[Any, list[str]]:
    found = [k for k in MASKS if k in held][:1] + [k for k in _TOOL if k in held][:1]
    if not found:
        raise BatchError(
            f"{where}: no mask of the policy's tokens: expected one of {', '.join(MASKS)}; it has {', '.join(sorted(held))}"
        )
    shapes = {k: np.shape(held[k]) for k in found}
    if len(set(shapes.values())) > 1:
        raise BatchError(f"{where}: masks differ in shape: {shapes}")
    mask = np.asarray(held[found[0]])
    if mask.ndim != 2:
        raise BatchError(f"{where}: {found[0]} has shape {mask.shape}, expected (rows, tokens)")
    for k in found:
        stray = (np.asarray(held[k]) != 0) & (np.asarray(held[k]) != 1)
        if stray.any():
            r, c = np.argwhere(stray)[0]
            raise BatchError(f"{where}: {k}[{r}, {c}] = {held[k][r, c]}: a mask holds 0 and 1 only")
    both = np.logical_and.reduce([np.asarray(held[k]) != 0 for k in found])
    return both, [f"The policy's tokens are {' times '.join(map(repr, found))}."]


def _fits(value: Any, shape: tuple[int, ...], name: str) -> bool:
    """(B, T) (or a longer (B, L), whose last T are the response's), or one per row."""
    got = np.shape(value)
    if len(got) != len(shape) or got[0] != shape[0]:
        return False
    number = np.asarray(value).dtype.kind in "biuf"
    return got[1] >= shape[1] and number if len(shape) == 2 else number or name in ("group", "trajectory", "agent", "episode")


def _last(value: Any, mask: Any) -> Any:
    array = np.asarray(value)
    return array[:, -mask.shape[1] :] if array.ndim == 2 and array.shape[1] > mask.shape[1] else value


def _several(mask: Any) -> bool:
    """Whether some row has more than one run of policy tokens."""
    return bool((runs(mask)[1] != np.count_nonzero(mask, axis=1)).any())
