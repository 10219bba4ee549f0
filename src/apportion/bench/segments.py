"""Spans of a batch's tokens: options for policies that write no subgoals, and the declared types of turns.

The policies of the benchmark neither say a subgoal nor decide to switch. So a rule stands in for the decision, made
from what was seen and from nothing else, and all of a turn is its action. Where a task declares what kind of action
each turn is (plan, tool, memory, recovery, message), a batch can say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from ..batch import Batch, Spans
from ..errors import OptionError
from ..evidence.options import actions, options
from ..ops.scans import first_active
from ..structure import Bool
from .layouts import choices
from .tabular import Task

#: looks: a new option wherever the last token seen before a turn is not the one before the turn before.
#: five: a new option every five turns.
Rule = Literal["looks", "five"]


def segments(batch: Batch, rule: Rule) -> Mapping[str, Spans]:
    """The tables ``option`` and ``part`` by this rule."""
    return {"option": options(batch, _switches(batch, rule)), "part": actions(batch)}


def types(task: Task, batch: Batch) -> Spans:
    """The words of every choice, labelled with the type of action that the task declares for its turn.

    For ``batch.with_columns(spans={"types": ...})``, where a method reads them (FinePO's ``types=``).
    """
    declared = task.definition.get("types")
    if declared is None:
        raise OptionError(f"task {task.id} declares no types of action: agentic/turns-64 does")
    at = choices(task, batch)
    return Spans(at.first, at.first + task.words.shape[1], tuple(declared[t] for t in at.time.tolist()))


def _switches(batch: Batch, rule: Rule) -> Bool:
    if rule == "five":
        every: Bool = batch.turn_index % 5 == 0
        return every
    last = batch.need("ids", "to see where the look changes")[first_active(batch.action, batch.turn_offsets) - 1]
    return np.append(True, last[1:] != last[:-1])
