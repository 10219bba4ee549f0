"""Shares of a reward among those who could each have earned it alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...methods.sharp import collect
from ...ops.shapley import coalitions, shapley
from ..estimands import of_agents
from ..interaction import interaction
from ..layouts import rows_of, to_batch
from ..oracle import oracle
from ..samplers import TabularSampler
from ..tabular import Task
from ..world import roll
from .finding import Claim, Finding, Number, over_seeds, said

GROUPS, SIZE = 256, 8


def either() -> Task:
    """A team of two who act in turn; each has one choice that matters, and one right choice is enough."""
    base = interaction("claims/either", kind="or", forks=2, horizon=4, prompts=8, title="either of two agents is enough")
    roles = np.arange(4) // 2
    return replace(base, layout="team", roles=roles, definition={**base.definition, "roles": roles.tolist()})


def redundancy(seeds: int) -> Finding:
    """The game of two players either of whom is enough, exactly; and the team, over rollouts in which both were right."""
    worth = np.asarray(coalitions(2).any(axis=1), dtype=np.float64)  # of nobody, 1, 2, both
    numbers = [
        Number("leave-one-out of each of two players, either of whom is enough", float(worth[-1] - worth[1]), claimed=0.0),
        Number("Shapley value of each", float(shapley(worth[None])[0, 0]), claimed=0.5),
    ]
    task = either()
    found: dict[str, list[float]] = {name: [] for name in ("difference", "share", "leave_one_out", "shapley")}
    for seed in range(seeds):
        r = roll(task, task.start_theta, GROUPS, SIZE, np.random.default_rng([seed, 0]))
        right = r.actions == task.kernel_of[r.prompt] - 1  # at forks: the action of the fork's class
        both = (right | ~task.fork[r.prompt]).all(axis=1)
        with oracle():
            difference, team = of_agents(r)
        found["difference"].append(float(np.abs(difference[both]).mean()))
        each = team[both][:, [0, -1]]
        found["share"].append(float((each.min(axis=1) / each.sum(axis=1)).mean()))
        batch = to_batch(r)
        mine = both[rows_of(task, batch)]
        for name in ("leave_one_out", "shapley"):
            asked = collect(batch, TabularSampler(r), rng=np.random.default_rng([seed, 1]), estimator=name, k=8)
            found[name].append(float(np.asarray(asked.arrays["marginal"])[mine].mean()))
    numbers += [
        over_seeds("difference reward of either agent where both were right", found["difference"], 0.0),
        over_seeds("smaller share of the two in the Shapley values there", found["share"]),
        over_seeds("SHARP's leave-one-out there, 8 replays", found["leave_one_out"], 0.0),
        over_seeds("SHARP's Shapley value there, 8 replays a coalition", found["shapley"]),
    ]
    exact, share, sampled, shared = numbers[2:]
    near = all(n.agrees for n in numbers[:2]) and exact.within(1e-9) and sampled.within(0.05) and share.value > 0.4
    return said(near and shared.low > 0.05, numbers, fails=not near or shared.high < 0.05)


CLAIMS = (
    Claim(
        "leave-one-out-under-redundancy",
        "Of two redundant agents leave-one-out pays neither, Shapley pays each a half.",
        "SHARP (2602.08335) and the counterfactual methods it answers",
        redundancy,
        "The game itself, exactly; and a team of two on an outcome that is an OR: exact values, and what SHARP's two estimators "
        "find by replays, over rollouts in which both were right. Holds where leave-one-out is 0 and the Shapley values are "
        "surely above 0.05, in nearly equal shares",
    ),
)
