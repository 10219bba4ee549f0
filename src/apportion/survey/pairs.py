"""Known pairs of benchmark and method, put to the trees: does the advice name what was published there?"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from ..edges.yaml_lines import parse, plain
from .profile import Profile, profile
from .tree_walk import walk
from .trees import trees


@dataclass(frozen=True)
class Pair:
    """A benchmark as a profile, and the method that was published on it."""

    benchmark: str
    method: str
    profile: Profile
    note: str

    def hits(self) -> Mapping[str, bool]:
        """Tree -> whether its candidates for the benchmark hold the method."""
        return {id_: self.method in walk(tree, self.profile).candidates for id_, tree in trees().items()}


@functools.cache
def pairs() -> tuple[Pair, ...]:
    """The six pairs, in the order of their file."""
    found = plain(parse((files(__package__) / "trees" / "pairs.yaml").read_text("utf-8")))
    return tuple(Pair(p["benchmark"], p["method"], profile(p["profile"]), p["note"]) for p in found)
