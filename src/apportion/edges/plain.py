"""Python values as JSON values and back, without loss: tuples, bytes and odd keys included."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import BatchError


def plain(value: Any, where: str) -> Any:
    """``value`` as what JSON can hold; ``where`` names it in the error for anything else."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"@float": repr(value)}
    if isinstance(value, list):
        return [plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, tuple):
        return {"@tuple": [plain(v, f"{where}[{i}]") for i, v in enumerate(value)]}
    if isinstance(value, bytes):
        return {"@bytes": value.hex()}
    if isinstance(value, dict):
        if all(isinstance(k, str) and not k.startswith("@") for k in value):
            # texts, most of what there is, without a call and a name for each
            return {k: v if type(v) is str else plain(v, f"{where}[{k!r}]") for k, v in value.items()}
        return {"@dict": [[plain(k, f"a key of {where}"), plain(v, f"{where}[{k!r}]")] for k, v in value.items()]}
    raise BatchError(f"{where} is {type(value).__name__}: a file holds numbers, strings, lists, tuples, dicts, bytes and None")


def python(value: Any) -> Any:
    """The value :func:`plain` was given."""
    if isinstance(value, list):
        return [python(v) for v in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((tag, inner),) = value.items()
        if tag == "@float":
            return float(inner)
        if tag == "@tuple":
            return tuple(python(v) for v in inner)
        if tag == "@bytes":
            return bytes.fromhex(inner)
        if tag == "@dict":
            return {python(k): python(v) for k, v in inner}
    return {k: python(v) for k, v in value.items()}
