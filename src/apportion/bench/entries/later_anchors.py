"""Methods after the survey that compare turns in the same or similar states, and one with options.

The state keys of the shipped tasks count turns: equal keys are equal places at equal times. On them every state from which
success was seen is as many turns from it as there are left, so that GraphGPO tells "led to success" from "did not" and no
more. ProxMO compares what was seen as texts, which do recur at other times. HiPER's policies here say no subgoals: only its
low-level advantage is in the loss, with options by a rule (``bench.segments``).
"""

from __future__ import annotations

from ..entrants import FIT, Entrant
from ..records import Layout

_TURNS: tuple[Layout, ...] = ("turns", "team")

ENTRANTS = (
    Entrant("hgpo", "hgpo", "HGPO, two states of history"),
    Entrant("hgpo-nostd", "hgpo", "HGPO without std", options={"spread": "none"}),
    Entrant("graphgpo", "graphgpo", "GraphGPO"),
    Entrant("graphgpo-progress", "graphgpo", "GraphGPO by progress", options={"normalize_distance": True}),
    Entrant("proxmo", "proxmo", "ProxMO on what was seen", options={"text": "seen"}, layouts=_TURNS),
    Entrant("hiper", "hiper", "HiPER, options by look, critic learned afresh", "fit", FIT, layouts=_TURNS, segments="looks"),
    Entrant("hiper-raw", "hiper", "HiPER without normalisation", "fit", {"norm": False, **FIT}, layouts=_TURNS, segments="looks"),
    Entrant("hiper-five", "hiper", "HiPER, options of five turns, no normalisation", "fit",
            {"norm": False, **FIT}, layouts=_TURNS, segments="five"),
)  # fmt: skip
