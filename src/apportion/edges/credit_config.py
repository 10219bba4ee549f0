"""What credit was made with: a record that can be read, and a short hash that stands for it."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np

from ..credit import Credit
from ..errors import BatchError, CreditError
from .plain import plain


def configuration(credit: Credit, **more: Any) -> dict[str, Any]:
    """The settings that decide the values, as JSON: method, its options with defaults, how evidence came, and ``more``."""
    named: dict[str, Any] = {"options": dict(credit.options), "evidence": dict(credit.evidence), **more}
    try:
        settled = {name: _settled(value, name) for name, value in named.items()}
    except BatchError as error:
        raise CreditError(f"{credit.method or 'credit'}: {error}") from None
    return {"method": credit.method, **settled}


def config_hash(config: Mapping[str, Any]) -> str:
    """12 hex digits of the SHA-256 of the configuration as JSON with sorted keys and no spaces.

    Whole floats count as integers, so that gamma=1 and gamma=1.0 are one configuration.
    """
    text = json.dumps(_whole(config), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def about(credit: Credit, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader of the table needs besides its rows: configuration, own level, and how it enters the loss."""
    loss = credit.loss
    return {
        "config": dict(config),
        "level": credit.level,
        "segment": credit.segment,
        "loss": {
            "ratio": loss.ratio,
            "form": loss.form,
            "denominator": loss.denominator,
            "rescale": loss.rescale,
            "clip": loss.clip is not None,  # one range per unit: too much for a table, but its loss must not go unseen
        },
    }


def version() -> str:
    """The version of apportion; it is loaded, since this module is a part of it."""
    return str(sys.modules["apportion"].__version__)


def _settled(value: Any, where: str) -> Any:
    """``value`` as JSON; an array by its type, shape and digest: its entries would swamp a table's header."""
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:12]
        return {"@array": [str(value.dtype), list(value.shape), digest]}
    if is_dataclass(value) and not isinstance(value, type):  # a judge's rubric
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(k): _settled(v, f"{where}[{k!r}]") for k, v in value.items()}
    return plain(value, where)


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, Mapping):
        return {k: _whole(v) for k, v in value.items()}
    return [_whole(v) for v in value] if isinstance(value, list) else value
