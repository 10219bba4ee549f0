"""Cards made for tests."""

from __future__ import annotations

from typing import Any

from apportion.survey.card import Card


def fields(**changes: Any) -> dict[str, Any]:
    """A card that has nothing wrong and nothing found, as plain data; dotted names change parts: ``protocol__noise="none"``."""
    data: dict[str, Any] = {
        "method": "Ours",
        "claim": {"is": "How much a step changed the outcome.", "from": "primary", "at": "abstract"},
        "verb": "measures_effect", "unit": "step", "estimand": "advantage", "reference": "policy",
        "state": "restored", "environment": "absent", "intervention": "decoder_restore",
        "protocol": {"continuation": "policy", "horizon": "end", "verifier": "the task's outcome", "noise": "fresh"},
        "support": {
            "overlap": "by_design", "exchangeability": "by_design", "repetitions": "K = 9", "interval": "reported",
            "noise_floor": "reported",
        },
        "interface": "advantage",
        "ablation": {"is": "reported", "from": "primary", "at": "table 3"},
        "falsifiers": {"shuffled": "worse", "witness": "identified"},
    }  # fmt: skip
    for name, value in changes.items():
        *path, last = name.split("__")
        at = data
        for part in path:
            at = at[part]
        at[last] = value
    return data


def card(**changes: Any) -> Card:
    return Card.model_validate(fields(**changes))


def logs(**changes: Any) -> Card:
    """A card whose evidence is matched logs, likewise clean."""
    matched = {
        "state": "matched", "intervention": "log_matching", "protocol__continuation": "logged", "support__overlap": "partial",
        "support__exchangeability": "argued", "falsifiers": {"witness": "not_identified"},
    }  # fmt: skip
    return card(**(matched | changes))


def model(**changes: Any) -> Card:
    """A card whose evidence is a model's, likewise clean."""
    said = {
        "state": "observed", "intervention": "surrogate", "verb": "attributes", "protocol__noise": "none",
        "support__overlap": "assumed", "falsifiers": {"witness": "not_identified"},
    }  # fmt: skip
    return card(**(said | changes))
