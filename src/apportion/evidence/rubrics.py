"""What a judge is asked, and what it may answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import OptionError


@dataclass(frozen=True)
class Rubric:
    """A question to a judge, as data: edit it with ``dataclasses.replace``.

    template: the prompt; ``{question}``, ``{units}`` and ``{reference}`` are filled in. levels: the
    answers it may give, worst first. asks: "correctness" (was the choice right, whatever came of it)
    or "progress" (how likely is success after it). privileged: whether the judge is shown the
    reference answer, or anything else the policy does not see. one_call: whether all units of a
    trajectory are judged in one call. at_most_one: whether one unit of a trajectory at most may be
    given the worst level (the main mistake; what follows from it gets the next one).
    """

    name: str
    template: str
    levels: tuple[float, ...]
    asks: Literal["correctness", "progress"] = "correctness"
    privileged: bool = False
    one_call: bool = True
    at_most_one: bool = False

    def __post_init__(self) -> None:
        if "{units}" not in self.template:
            raise OptionError(f"rubric {self.name}: the template has no {{units}}: the judge would see nothing of the rollout")
        if self.privileged != ("{reference}" in self.template):
            raise OptionError(f"rubric {self.name}: privileged = {self.privileged}, but {{reference}} says otherwise")
        if len(self.levels) < 2 or list(self.levels) != sorted(set(self.levels)):
            raise OptionError(f"rubric {self.name}: levels = {self.levels}: expected two or more, worst first")
