"""Methods for which a model writes a function at set-up: a mixer of agents' values, factors of a step's reward.

The author here knows nothing (``bench.authors``): it draws functions at random from a grammar, so its rows show what
reading, checking, repairing and fitting are worth without any understanding. In learning it is asked once, and what
it wrote is kept. Beside it stand functions written by hand: the plain sum (VDN); the lengths and repetitions anybody
would count, of which these texts have none that vary; and how the place looks, which in most tasks shows whether all is
still well.
"""

from __future__ import annotations

from ..entrants import FIT, Entrant
from ..tabular import SEEN

#: Calls of the author are dear; one round shows the loop.
_SHORT = {"rounds": 1, "candidates": 3, "repairs": 3, **FIT}
_LATENT = {"folds": 2, "candidates": 2, "repairs": 3}
#: A count for each way a place may look; a task with fewer has zeros there.
_LOOKS = "[" + ", ".join(f"saw_{SEEN + look}" for look in range(8)) + "]"

ENTRANTS = (
    Entrant("qllm", "qllm", "QLLM, a mixer drawn at random", "author", {"baseline": "group", **_SHORT}, keeps=True),
    Entrant("qllm-raw", "qllm", "QLLM, a mixer drawn at random, no baseline", "author", _SHORT, keeps=True),
    Entrant("qllm-vdn", "qllm", "QLLM with the plain sum (VDN)", "fit", {"baseline": "group", **FIT}),
    Entrant("qllm-team", "qllm", "QLLM, a random mixer's share of the team's advantage", "author", {"of": "team", **_SHORT},
            keeps=True),
    Entrant("lare", "lare", "LaRe, factors drawn at random", "author", _LATENT, keeps=True),
    Entrant("lare-counted", "lare", "LaRe, what anybody would count", "fit", {"folds": 2}),
    Entrant("lare-looks", "lare", "LaRe, looks of the place counted", "fit", {"folds": 2, "factors": _LOOKS},
            layouts=("turns", "team")),  # the words of an answer in steps are all its own
)  # fmt: skip
