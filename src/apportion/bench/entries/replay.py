"""Critics and reward models that remember: a replay buffer, a reward model that goes on learning, a critic told the solution.

What is kept shows in learning only (``keeps``): for every other measure it is learned from one batch. iStar scores a
batch by what it knew before it, so there it is RLOO over turns (and, where training has left the reference that its model
starts from, worse: the model knows nothing of what the policy learned); ``istar-before`` learns first, from the policy on.
"""

from __future__ import annotations

from ..entrants import Entrant
from ..records import Layout

_TURNS: tuple[Layout, ...] = ("turns", "team")

#: Rollouts here are undiscounted, and one batch must carry the outcome from the end to the start by itself.
_CRITIC = {"gamma": 1.0, "tau": 0.5, "epochs": 60, "folds": 2, "buckets": 256, "capacity": 4096}
#: Texts of sixty tokens cannot hold the log-ratios that a beta meant for answers of a thousand asks for.
_IMPLICIT = {"folds": 2, "steps": 20, "beta": 0.5}
#: A mean over the few tokens of a turn is smaller still; and a critic that is told must not learn what it need not.
_TOLD = {"folds": 2, "steps": 20, "beta": 2.0, "ridge": 30.0}
_CANDIDATES = {"baseline": "candidates", "k": 4, "samples": 256}

ENTRANTS = (
    Entrant("archer", "archer", "ArCHer, credit of logged turns", "fit", _CRITIC, layouts=_TURNS, keeps=True),
    Entrant("archer-baseline", "archer", "ArCHer with its token baseline", "fit", {"baseline": "token", **_CRITIC},
            layouts=_TURNS, keeps=True),
    Entrant("archer-fresh", "archer", "ArCHer, fresh actions", "sampler", {"samples": 768, "fit": True, **_CRITIC},
            layouts=_TURNS),
    Entrant("archer-fresh-kept", "archer", "ArCHer, fresh actions, replay kept", "sampler", {"samples": 768, **_CRITIC},
            layouts=_TURNS, keeps=True),
    Entrant("istar", "istar", "iStar, scored before learned from", "fit", _IMPLICIT, logp=True, reference=True,
            layouts=_TURNS, keeps=True),
    Entrant("istar-first", "istar", "iStar against first steps, as coded", "fit", {"step_baseline": "first", **_IMPLICIT},
            logp=True, reference=True, layouts=_TURNS, keeps=True),
    Entrant("istar-before", "istar", "iStar, learned from before scored", "fit",
            {"update": "before", "reference": "policy", **_IMPLICIT},
            logp=True, reference=True, layouts=_TURNS),
    Entrant("sweet_rl", "sweet_rl", "SWEET-RL without the solution, logged turns", "fit", _TOLD, reference=True,
            layouts=_TURNS, keeps=True),
    Entrant("sweet_rl-candidates", "sweet_rl", "SWEET-RL without the solution, 4 candidates", "sampler",
            {**_CANDIDATES, **_TOLD}, reference=True, layouts=_TURNS, keeps=True),
    Entrant("sweet_rl-told", "sweet_rl", "SWEET-RL told the solution, logged turns", "hint", _TOLD, reference=True,
            layouts=_TURNS, keeps=True),
    Entrant("sweet_rl-told-candidates", "sweet_rl", "SWEET-RL told the solution, 4 candidates", "hint",
            {**_CANDIDATES, **_TOLD}, {"candidates": True}, reference=True, layouts=_TURNS, keeps=True),
)  # fmt: skip
