"""Teams: agents who take turns at one task and are paid together.

The process is that of the bifurcation family, with each turn in the hands of one agent: a planner
first and last, and workers in between, one after the other. Where the forks lie decides who earns
the reward: in "one-decides" a single worker does, the others only write. How the parts of a team combine is moved in
:mod:`.coupled`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from . import coupled
from .bifurcation import bifurcation
from .tabular import Int, Task


def team(
    id_: str, *, horizon: int, workers: int, title: str, tags: tuple[str, ...] = (), only: int | None = None, **more: Any
) -> Task:
    """Build one task of the family; ``more`` as for :func:`bifurcation`.

    workers: agents besides the planner, who is agent 0. only: the one agent all of whose turns are
    forks and nobody else's are (None: the forks are spread over everybody).
    """
    roles = _roles(horizon, workers)
    where: dict[str, Any] = {}
    if only is not None:
        where = {"at": np.flatnonzero(roles == only)[: more.get("forks", 3)]}
    base = bifurcation(id_, horizon=horizon, title=title, tags=tags, **more, **where)
    return replace(
        base, family="team", layout="team", roles=roles,
        definition={**base.definition, "roles": roles.tolist(), "workers": workers},
    )  # fmt: skip


def _roles(horizon: int, workers: int) -> Int:
    """Planner, worker 1, worker 2 … in equal shares of the turns, the planner again for the last turn."""
    share = max((horizon - 1) // (workers + 1), 1)
    roles = np.minimum(np.arange(horizon) // share, workers)
    roles[-1] = 0
    return roles.astype(np.int64)


@cache
def variants() -> dict[str, dict[str, Any]]:
    """Arguments of every shipped variant, by id."""
    return {
        "team/two": {"horizon": 12, "workers": 1, "forks": 3, "title": "a planner and a worker, three forks among them"},
        "team/four": {"horizon": 24, "workers": 3, "forks": 4, "title": "a planner and three workers, a fork each"},
        "team/one-decides": {
            "horizon": 24, "workers": 3, "forks": 3, "only": 2, "drift": 0.0, "title": "only the second worker's choices matter",
            "tags": ("idle-agents",),
        },
        **coupled.variants(),
    }  # fmt: skip


@cache
def build(id_: str) -> Task:
    """The shipped variant with this id."""
    how = variants()[id_]
    return coupled.coupled(id_, **how) if "kind" in how else team(id_, **how)
