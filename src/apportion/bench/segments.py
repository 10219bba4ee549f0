"""Options for policies that write no subgoals: rules that a reader of the transcript could apply.

The policies of the benchmark neither say a subgoal nor decide to switch. So a rule stands in for the decision, made
from what was seen and from nothing else, and all of a turn is its action.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from ..batch import Batch, Spans
from ..evidence.options import actions, options
from ..ops.scans import first_active
from ..structure import Bool

#: looks: a new option wherever the last token seen before a turn is not the one before the turn before.
#: five: a new option every five turns.
Rule = Literal["looks", "five"]


def segments(batch: Batch, rule: Rule) -> Mapping[str, Spans]:
    """The tables ``option`` and ``part`` by this rule."""
    return {"option": options(batch, _switches(batch, rule)), "part": actions(batch)}


def _switches(batch: Batch, rule: Rule) -> Bool:
    if rule == "five":
        every: Bool = batch.turn_index % 5 == 0
        return every
    last = batch.need("ids", "to see where the look changes")[first_active(batch.action, batch.turn_offsets) - 1]
    return np.append(True, last[1:] != last[:-1])
