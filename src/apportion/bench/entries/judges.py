"""Methods that ask a judge: each with one right on 80 % of the texts, and a learned rater where the paper has one.

All rows with a judge are oracle rows by construction. Judges see every choice as it is: all turns
search, no step is a final answer. They are asked whether a choice was right where it was made, and where
nothing is at stake any more nothing can be wrong: rewards that sum such scores over a rollout (TARL,
SCRIBE) pay for losing the thread early, scores left at their places do not.
"""

from __future__ import annotations

from ..entrants import FIT, Entrant

_JUDGE = {"accuracy": 0.8}

ENTRANTS = (
    Entrant("capo-judge80", "capo", "CAPO, 4 critiques, frozen errors", "judge", {"k": 4}, source=_JUDGE),
    Entrant(
        "capo-votes80", "capo", "CAPO, 4 critiques, errors drawn anew", "judge", {"k": 4}, source={**_JUDGE, "independent": 1.0}
    ),
    Entrant(
        "capo-spared80", "capo", "CAPO, right answers spared as printed", "judge", {"k": 1, "judge_correct_responses": False},
        source=_JUDGE,
    ),
    Entrant("criticsearch-judge80", "criticsearch", "CriticSearch, critic right on 80 %", "judge", {"search": "all"},
            source=_JUDGE, layouts=("turns", "team")),
    Entrant("tarl-judge80", "tarl", "TARL, scores summed (as published)", "judge", source=_JUDGE, layouts=("turns", "team")),
    Entrant("tarl-balanced80", "tarl", "TARL, mean score", "judge", {"preset": "balanced"}, source=_JUDGE,
            layouts=("turns", "team")),
    Entrant("tarl-outcome80", "tarl", "TARL, outcome dominant", "judge", {"preset": "outcome_dominant"}, source=_JUDGE,
            layouts=("turns", "team")),
    Entrant("tarl-turn80", "tarl", "TARL, scores left at their turns", "judge", {"placement": "turn"}, source=_JUDGE,
            layouts=("turns", "team")),
    Entrant("finepo-judge80", "finepo", "FinePO, rater right on 80 %", "judge", {"answer": "step"}, source=_JUDGE),
    Entrant("finepo", "finepo", "FinePO, learned ratings", "fit", FIT),
    Entrant("scribe-judge80", "scribe", "SCRIBE, judge right on 80 %", "judge", source=_JUDGE),
    Entrant("scribe-mixed80", "scribe", "SCRIBE with the outcome", "judge", {"outcome_weight": 1.0, "process_weight": 0.5},
            source=_JUDGE),
    Entrant("scribe-subgoal80", "scribe", "SCRIBE, scores left at their subgoals (ours)", "judge", {"placement": "subgoal"},
            source=_JUDGE),
)  # fmt: skip
