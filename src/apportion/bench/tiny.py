"""Tasks of the other families made so small that everything a network reads of them can be enumerated."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from .bifurcation import bifurcation
from .reasoning import reasoning
from .tabular import Task


@cache
def variants() -> dict[str, dict[str, Any]]:
    """Arguments of every variant, by id."""
    return {
        "tiny/turns": {"title": "two forks in 6 turns, four prompts", "horizon": 6, "forks": 2, "rooms": 1, "prompts": 4},
        "tiny/turns-12": {"title": "three forks in 12 turns, four prompts", "horizon": 12, "forks": 3, "rooms": 1, "prompts": 4},
        "tiny/steps": {
            "title": "two forks in 5 steps of one answer, four prompts", "horizon": 5, "forks": 2, "wordings": 1, "prompts": 4,
        },
    }  # fmt: skip


@cache
def build(id_: str) -> Task:
    """The shipped variant with this id."""
    family = reasoning if id_ == "tiny/steps" else bifurcation
    return replace(family(id_, tags=("tiny",), **variants()[id_]), family="tiny")
