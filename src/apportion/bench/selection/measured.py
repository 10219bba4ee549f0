"""What was measured on the grid, as package data: per entrant, setting and seed, beside the code and protocol it comes from.

``python -m apportion.bench.selection RUN ...`` writes the file from run folders of the suites ``selection``,
``selection-held-out`` and ``selection-long``. Moments are stored, not ratios, so that statistics can change without a new run.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from ...errors import BenchError
from ..records import Layout
from ..statistics import Float

FILE = "measured.json"
#: What :mod:`~apportion.bench.selection.compare` found in it, kept beside it because it takes a while.
COMPARED = "compared.json"
FORMAT = 2
#: Stored per seed: of training at each learning rate (what was spent, and the share of the way to the target it bought) and
#: of the gradient at each batch.
LEARNING = ("reached", "way", "cost")
GRADIENT = ("inner", "norm2", "truth2", "price")
BILL = ("generated", "scored", "env_steps", "judge_calls", "trained", "price")


@dataclass(frozen=True)
class Setting:
    """A task of the grid as a selector sees it. repeat: share of the states of a group that more than one rollout meets;
    success: expected return at the start; split: "fit" or "held-out"."""

    id: str
    layout: Layout
    horizon: int
    tokens: int
    agents: int
    hidden: bool
    repeat: float
    success: float
    split: str
    sha256: str

    @property
    def written(self) -> int:
        """Tokens that the policy writes in a unit: its words, and in one answer the two that mark a step."""
        return self.tokens + (2 if self.layout == "steps" else 0)


@dataclass(frozen=True)
class Measured:
    """``learning[setting, entrant]`` -> learning rate -> reached, way, cost of each seed; ``gradient[...]`` -> batch -> moments
    of each seed; ``bills[...]`` -> what a rollout's credit takes. ``prices``, ``group``, ``seeds`` and ``about`` as the runs
    had them."""

    settings: Mapping[str, Setting]
    entrants: tuple[str, ...]
    seeds: int
    group: int
    prices: Mapping[str, float]
    learning: Mapping[tuple[str, str], Mapping[float, Mapping[str, Float]]]
    gradient: Mapping[tuple[str, str], Mapping[int, Mapping[str, Float]]]
    bills: Mapping[tuple[str, str], Mapping[str, float]]
    about: Mapping[str, Any]

    def trained(self, setting: str) -> bool:
        """Whether methods were trained there."""
        return any(s == setting for s, _ in self.learning)

    def price(self, setting: str, entrant: str) -> float:
        """Of a rollout with its credit, beside a plain one."""
        try:
            return self.bills[setting, entrant]["price"] / self.bills[setting, "rloo"]["price"]
        except KeyError:
            return math.nan


def read(data: Mapping[str, Any]) -> Measured:
    """The measured numbers from their JSON form."""
    if data.get("format") != FORMAT:
        raise BenchError(f"measured settings: format = {data.get('format')!r}, this version reads {FORMAT}")
    learning, gradient, bills = {}, {}, {}
    for task, entrant, parts in data["rows"]:
        key = (task, entrant)
        if "learning" in parts:
            learning[key] = {float(lr): {n: _array(v[n]) for n in LEARNING} for lr, v in parts["learning"].items()}
        if "gradient" in parts:
            gradient[key] = {int(b): {n: _array(v[n]) for n in GRADIENT} for b, v in parts["gradient"].items()}
        if "bill" in parts:
            bills[key] = dict(zip(BILL, parts["bill"], strict=True))
    settings = {s["id"]: Setting(**s) for s in data["settings"]}
    return Measured(
        settings, tuple(data["entrants"]), data["seeds"], data["group"], data["prices"], learning, gradient, bills, data["about"]
    )


def _array(values: list[float | None]) -> Float:
    return np.asarray([math.nan if v is None else v for v in values], dtype=np.float64)


@functools.cache
def measured() -> Measured:
    """What ships with the package."""
    return read(_shipped(FILE))


@functools.cache
def compared() -> Mapping[str, Any]:
    """The comparison of selectors that ships with the package, as ``whole(measured())`` gives it."""
    found: Mapping[str, Any] = _shipped(COMPARED)
    return found


def _shipped(name: str) -> Any:
    try:
        return json.loads((files(__package__) / name).read_text("utf-8"))
    except FileNotFoundError:
        raise BenchError(
            "no measured settings ship with this copy: run the suites selection, selection-held-out and "
            "selection-long, then 'python -m apportion.bench.selection RUN RUN RUN'"
        ) from None
