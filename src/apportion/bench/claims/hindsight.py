"""What hindsight can see in rollouts that failed."""

from __future__ import annotations

import numpy as np

from ..entrants import entrants, run_entrant
from ..layouts import choices
from ..tasks import find
from .finding import Claim, Finding, over_seeds, said


def blind(seeds: int) -> Finding:
    task = find("bifurcation/horizon-10")
    spread: dict[str, list[float]] = {"failed": [], "solved": []}
    for seed in range(seeds):
        streams = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
        outcome = run_entrant(entrants()["hcapo-exact"], task, task.start_theta, 32, 8, *streams)
        at = choices(task, outcome.credit.batch)
        unit = outcome.credit.on("turn")
        table = np.full((outcome.rollouts.reward.size, task.horizon), np.nan)
        table[at.row, at.time] = unit
        mixed = np.array([len(set(outcome.rollouts.reward[outcome.rollouts.group == g])) > 1 for g in outcome.rollouts.group])
        for name, which in (("failed", outcome.rollouts.reward == 0), ("solved", outcome.rollouts.reward == 1)):
            spread[name].append(float(np.nanstd(table[which & mixed], axis=1).mean()))
    numbers = [over_seeds(f"spread of the credit within {name} rollouts", values) for name, values in spread.items()]
    return said(numbers[0].value < 1e-9 and numbers[1].above, numbers, fails=numbers[0].value >= 1e-9)


CLAIMS = (
    Claim(
        "hindsight-blind-in-failure",
        "HCAPO tells no step from another inside a rollout without reward, even with exact hindsight.",
        "card of HCAPO (2603.08754), from its formula",
        blind,
        "HCAPO with exact hindsight on a task with three forks: spread of the credit within each rollout of a mixed group",
    ),
)
