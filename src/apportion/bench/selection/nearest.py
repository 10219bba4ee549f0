"""How far a user's setting lies from each measured one: a declared distance, term by term.

    d = |ln(N / N')| / ln 10 + 1 [hidden differs] + 1 [states that repeat differ] + |ln(G / G')| / ln 4
        + |ln(agents / agents')| / ln 4 + |ln(l / l')| / ln 1000 + |logit(p) - logit(p')| / 2

with l the tokens of a unit and p the share of rollouts that succeed.
A distance of 1 is a factor of ten in length, or one knob. Only what the user said is counted; another layout (turns, steps
of one answer, a team) is no neighbour at all.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import log

from ...survey.profile import Profile
from .measured import Measured, Setting
from .needs import LAYOUTS

#: Farther than this from every measured setting is outside of what was measured.
OUTSIDE = 1.0
#: Share of states met again from which on they count as repeating.
REPEATS = 0.3


@dataclass(frozen=True)
class Near:
    """A measured setting, its distance, and the terms the distance is made of (those above 0)."""

    setting: Setting
    distance: float
    terms: tuple[tuple[str, float], ...]


def distances(profile: Profile, m: Measured, among: Collection[str]) -> list[Near]:
    """Settings of the profile's layout, nearest first (ties by id)."""
    if profile.setting is None:
        return []
    layout = LAYOUTS[profile.setting]
    found = [_near(profile, m.settings[s], m.group) for s in among if m.settings[s].layout == layout]
    return sorted(found, key=lambda n: (n.distance, n.setting.id))


def _near(p: Profile, s: Setting, group: int) -> Near:
    terms = {
        "units": _ratio(p.units, s.horizon, 10.0),
        "hidden": _differs(p.hidden, s.hidden),
        "states repeat": _differs(p.states_repeat, s.repeat >= REPEATS) if s.layout != "steps" else 0.0,
        "G": _ratio(p.G, group, 4.0),
        "agents": _ratio(p.agents, s.agents, 4.0) if s.layout == "team" else 0.0,
        "tokens a unit": _ratio(p.tokens / p.units, s.written, 1000.0) if p.tokens and p.units else 0.0,
        "success": abs(_logit(p.success) - _logit(s.success)) / 2 if p.success is not None else 0.0,
    }
    kept = tuple((name, value) for name, value in terms.items() if value > 1e-9)
    return Near(s, sum(value for _, value in kept), kept)


def _ratio(user: float | None, ours: float, unit: float) -> float:
    return 0.0 if user is None else abs(log(user / ours)) / log(unit)


def _differs(user: bool | None, ours: bool) -> float:
    return 0.0 if user is None or user == ours else 1.0


def _logit(share: float) -> float:
    inside = min(max(share, 0.005), 0.995)
    return log(inside / (1.0 - inside))
