"""The baselines, and the methods of every shape that came first."""

from __future__ import annotations

from ..entrants import FIT, Entrant

ENTRANTS = (
    Entrant("exact", "exact", "exact advantage", "truth"),
    Entrant("rloo", "rloo", "RLOO"),
    Entrant("grpo", "grpo", "GRPO, with its std"),
    Entrant("gae", "gae", "GAE, critic learned afresh", "fit", {"unit": "turn", "lam": 0.95, **FIT}),
    Entrant("gigpo", "gigpo", "GiGPO"),
    Entrant("tempo", "tempo", "TEMPO"),
    Entrant("pooled_td", "pooled_td", "pooled TD (ours)"),
    Entrant("vineppo", "vineppo", "VinePPO, 4 continuations a turn", "sampler", {"k": 4}),
    Entrant("carl", "carl", "CARL, half of the rollouts forked", "sampler", {"forks": 4}, fresh=4, logp=True),
    Entrant("hcapo", "hcapo", "HCAPO, learned hindsight", "fit", FIT, logp=True),
    Entrant("pure", "pure", "PURE, learned process reward", "fit", FIT),
    Entrant("hcapo-exact", "hcapo", "HCAPO, exact hindsight", "policy", source={"skill": 1.0}, logp=True),
    # a curve from the policy's own word to the exact conditional (hcapo-exact, all skill), and that one with frozen errors
    *(
        Entrant(f"hcapo-skill{skill}", "hcapo", f"HCAPO, hindsight of {skill} % skill", "policy",
                source={"skill": skill / 100}, logp=True)
        for skill in (0, 25, 50)
    ),
    Entrant("hcapo-noisy", "hcapo", "HCAPO, exact hindsight with frozen errors", "policy",
            source={"skill": 1.0, "noise": 0.5}, logp=True),
    Entrant("pure-judge80", "pure", "PURE, judge right on 80 % of texts", "judge", source={"accuracy": 0.8}),
)  # fmt: skip
