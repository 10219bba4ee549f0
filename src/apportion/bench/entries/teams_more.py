"""Counterfactual and Shapley credit for teams, and VSPO.

An agent is left out by having it act anew from the policy (a replay), because here nobody can be silent; the planner
of every team is agent 0. What a replay takes away is 0 on average, so that CCPO's history has nothing to say: its tanh
of three values is the three values again, after their spread. Nothing asks the truth. The staged reward of PRS has no
stages to read here: its sampling enters by itself, damped less than its default, which is GRPO's gradient to the last
digit.
"""

from __future__ import annotations

from ..entrants import Entrant

ENTRANTS = (
    Entrant("c3", "c3", "C3, 3 alternatives a turn", "sampler", {"siblings": "fresh"}, layouts=("turns", "team")),
    Entrant(
        "c3-plain", "c3", "C3, 3 alternatives a turn, no std", "sampler", {"siblings": "fresh", "normalise": False},
        layouts=("turns", "team"),
    ),
    Entrant("ccpo", "ccpo", "CCPO before it has a history", "sampler", layouts=("team",)),
    Entrant("ccpo-solver", "ccpo", "CCPO, the planner solves", "sampler", {"solver": 0}, layouts=("team",)),
    Entrant("ccpo-event", "ccpo", "CCPO, event bonus on the prompt's mean", "sampler", {"variant": "event"}, layouts=("team",)),
    Entrant(
        "ccpo-paired", "ccpo", "CCPO, event bonus on the paired replay", "sampler", {"variant": "event", "paired": True},
        layouts=("team",),
    ),
    Entrant("sharp", "sharp", "SHARP, leave-one-out", "sampler", {"lambda_p": 0.0}, layouts=("team",)),
    Entrant(
        "sharp-planner", "sharp", "SHARP, planner not left out", "sampler", {"lambda_p": 0.0, "planner": 0}, layouts=("team",)
    ),
    Entrant(
        "sharp-shapley", "sharp", "SHARP, Shapley by 2 orders", "sampler",
        {"lambda_p": 0.0, "estimator": "shapley", "players": 0, "orders": 2}, layouts=("team",),
    ),
    Entrant("prs", "prs", "VSPO, damped by the root", options={"shaping": "none", "sampling": "value", "kappa": 0.5}),
    Entrant(
        "prs-undamped", "prs", "VSPO without damping", options={"shaping": "none", "sampling": "value", "kappa": 0.0},
        layouts=("turns", "steps"),
    ),
)  # fmt: skip
