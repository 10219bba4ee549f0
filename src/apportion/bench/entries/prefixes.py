"""Methods that value prefixes of a chain, by sampling from them or by asking how likely the answer is there."""

from __future__ import annotations

from ..entrants import FIT, Entrant
from ..records import Layout

AGENTS: tuple[Layout, ...] = ("turns", "team")

ENTRANTS = (
    Entrant("spo", "spo", "SPO-chain, 9 continuations every 5 uncertain tokens", "sampler", logp=True),
    Entrant("spo-tree", "spo", "SPO-tree on the responses' own prefix tree", options={"variant": "tree"}, logp=True),
    Entrant(
        "math_shepherd", "math_shepherd", "Math-Shepherd, hard labels of 8 completions, differences", "sampler",
        {"form": "difference", "label": "hard"},
    ),
    Entrant(
        "math_shepherd-soft", "math_shepherd", "Math-Shepherd, soft labels of 8 completions, differences", "sampler",
        {"form": "difference", "label": "soft"},
    ),
    Entrant(
        "math_shepherd-fit", "math_shepherd", "Math-Shepherd, reward model learned from own ends, differences", "fit",
        {"form": "difference", "label": "soft", **FIT},
    ),
    Entrant("omegaprm", "omegaprm", "OmegaPRM, first errors by binary search, differences", "sampler"),
    Entrant("omegaprm-prm", "omegaprm", "OmegaPRM, reward model of the labels found", "sampler", {"prm": True, **FIT}),
    Entrant("acpo", "acpo", "ACPO, exact belief in the answer", "policy", source={"skill": 1.0}, logp=True),
    Entrant("acpo-fit", "acpo", "ACPO, belief learned from outcomes", "fit", FIT),
    # turns of two words hold no n-gram of three: nothing would be marked, and HICRA be GRPO without its std
    Entrant("hicra", "hicra", "HICRA, n-grams mined from the batch", "fit", layouts=("steps",)),
    Entrant("hicra-forks", "hicra", "HICRA, forks marked as planning", "forks", {"marks": "spans"}),
    # an answer in steps is one turn, where IGPO is GRPO
    Entrant("igpo", "igpo", "IGPO, exact belief in the answer", "policy", source={"skill": 1.0}, logp=True, layouts=AGENTS),
    Entrant(
        "igpo-noisy", "igpo", "IGPO, half-skilled belief with errors", "policy", source={"skill": 0.5, "noise": 0.3}, logp=True,
        layouts=AGENTS,
    ),
    Entrant("igpo-fit", "igpo", "IGPO, belief learned from outcomes", "fit", FIT, layouts=AGENTS),
)  # fmt: skip
