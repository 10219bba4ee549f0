"""Methods that redistribute a return over the steps that led to it, or ask hindsight which of them did."""

from __future__ import annotations

from ..entrants import FIT, Entrant

_WHOLE = {"form": "product"}  # actions are a few tokens here: their probability is that of all of them

ENTRANTS = (
    Entrant("red", "red", "RED, learned reward model", "fit", FIT),
    Entrant(
        "red-to-go", "red", "RED as returns to go, put right at the end", "fit",
        {"form": "to_go", "residual": "last", **FIT},
    ),
    Entrant("scar", "scar", "SCAR, blanked texts", "fit", {"residual": "last", **FIT}),
    Entrant(
        "scar-replay", "scar", "SCAR, steps drawn anew, one order", "sampler", {"players": 2, "orders": 1},
        layouts=("turns", "steps"),  # a replay is of a whole episode
    ),
    Entrant("rudder", "rudder", "RUDDER, learned return predictor", "fit", FIT),
    Entrant("rudder-to-go", "rudder", "RUDDER as returns to go", "fit", {"form": "to_go", **FIT}),
    Entrant("hca", "hca", "HCA, learned hindsight", "fit", {**_WHOLE, **FIT}, logp=True),
    Entrant(
        "hca-centred", "hca", "HCA, learned hindsight, centred returns", "fit",
        {**_WHOLE, "baseline": "leave_one_out", **FIT}, logp=True,
    ),
    Entrant("hca-exact", "hca", "HCA, exact hindsight, no bound", "policy", {**_WHOLE, "bound": None}, {"skill": 1.0}, logp=True),
    Entrant("t_reg", "t_reg", "T-REG, learned contrast", "fit", {"alpha": 0.5, **FIT}, logp=True, reference=True),
    # a curve over how well contrast prompts tell good actions from bad ones; at 0 it is DPO
    *(
        Entrant(
            f"t_reg-skill{skill}", "t_reg", f"T-REG, contrast of {skill} % skill", "policy",
            {"alpha": 0.5}, {"skill": skill / 100}, logp=True, reference=True,
        )
        for skill in (0, 25, 50, 100)
    ),
    Entrant(
        "t_reg-noisy", "t_reg", "T-REG, exact contrast with frozen errors", "policy",
        {"alpha": 0.5}, {"skill": 1.0, "noise": 0.5}, logp=True, reference=True,
    ),
    Entrant("adaptive_segment", "adaptive_segment", "adaptive segments, learned", "fit", {"delta": None, **FIT}),
    Entrant(
        "adaptive_segment-judge80", "adaptive_segment", "adaptive segments, judge right on 80 % of texts", "judge",
        source={"accuracy": 0.8},
    ),
)  # fmt: skip
