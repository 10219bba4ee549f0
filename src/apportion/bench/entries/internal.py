"""Methods that read log-probabilities: the policy's own against its reference, or those of a model learned from outcomes.

SPRO and PRL say something only on tasks whose policy has left its reference (``TASK@25``, ``@50``, ``@100``); on
all others they are GRPO. The learned models are trained on outcomes (PRIME, ITPO) or pairs (From r to Q*).
"""

from __future__ import annotations

from ..entrants import Entrant

#: The learned part on texts as simple as these. beta: sixty tokens of which a few are open cannot hold the
#: log-ratios that the papers' 0.05 asks for, which is meant for answers of a thousand.
_FIT = {"folds": 2, "steps": 20, "beta": 0.5}

ENTRANTS = (
    Entrant("spro", "spro", "SPRO", logp=True, reference=True),
    Entrant("prl", "prl", "PRL, at the ends of steps, eta 2", options={"split": "steps", "eta": 2.0}, logp=True, reference=True),
    Entrant("prime", "prime", "PRIME, reward model learned afresh", "fit", _FIT, reference=True),
    Entrant("itpo", "itpo", "Norm-ITPO, reward model learned afresh", "fit", _FIT, reference=True),
    Entrant(
        "itpo-raw", "itpo", "ITPO without the norm, reward model learned afresh", "fit", {"norm": False, **_FIT}, reference=True
    ),
    Entrant("from_r_to_q", "from_r_to_q", "From r to Q*, policy learned from pairs", "fit", _FIT, reference=True),
)
