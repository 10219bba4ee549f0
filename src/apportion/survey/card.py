"""A method's CA-ID card: what its number claims to be, and what the claim rests on.

The six fields are the survey's later revision's: unit and estimand, effective state, source of the intervention,
downstream protocol, support and uncertainty, optimisation interface. A card stands in its method's record
(``survey/papers/<id>.yaml``, key ``card``) or in a file of its own. The evidence tier follows from the fields
(:mod:`apportion.survey.tier`) and is never written down. What nobody filled in is missing (None), and
``apportion card lint`` says so.

Source: the fields are public notes on arXiv 2604.09459 v3; their words, where the notes have none, are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .coded import Coded, Text
from .terms import Addressed, Answer

#: What the claim does with its number.
Verb = Literal["measures_effect", "attributes", "predicts", "ranks", "shapes"]

#: What gets the number: the registry's units, and "agent" where a unit is all that one agent does.
CardUnit = Literal["token", "segment", "step", "turn", "trajectory", "agent"]

#: What the number is of a unit; the words are those of ``apportion.bench.estimands``.
Estimand = Literal["advantage", "contrast", "leave_one_out", "shapley", "difference", "team_shapley", "none"]

#: What the unit is compared with.
Reference = Literal["policy", "uniform", "default_action", "group_mean", "previous_prefix", "without_unit", "none"]

#: What is known of the state a unit was written in.
State = Literal["observed", "matched", "restored", "latent"]

#: Where the other outcome, the one that did not happen, comes from.
Intervention = Literal["rerun", "environment_restore", "decoder_restore", "log_matching", "surrogate", "none"]

#: Who acts after the unit.
Continuation = Literal["policy", "best", "logged", "other", "none"]

Noise = Literal["fresh", "shared", "none"]
Overlap = Literal["by_design", "partial", "assumed", "not_applicable"]
Exchangeability = Literal["by_design", "argued", "assumed", "unstated", "not_applicable"]
Reported = Literal["reported", "not_reported", "unknown"]

#: How the number enters the update.
Interface = Literal["reward", "advantage", "mask", "weight", "preference"]

#: Falsification test -> the answers that a card may predict of it.
FALSIFIERS: Mapping[str, tuple[str, ...]] = {
    "shuffled": ("worse",),
    "zero_units": ("zero",),
    "sign_flip": ("worse",),
    "rewording": ("unchanged", "within_noise"),
    "noise_floor": ("above", "no_noise"),
    "witness": ("not_identified", "identified"),
}

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Protocol(BaseModel):
    """What happens after the unit: who acts, until when, who judges the end, whether chance is drawn anew."""

    model_config = _FROZEN

    continuation: Continuation | None = None
    horizon: Text | None = None
    verifier: Text | None = None
    noise: Noise | None = None


class Support(BaseModel):
    """How much the number rests on: whether other actions were seen, how often, and how sure it is said to be."""

    model_config = _FROZEN

    overlap: Overlap | None = None
    exchangeability: Exchangeability | None = None
    repetitions: Text | None = None
    interval: Reported | None = None
    noise_floor: Reported | None = None


class Card(BaseModel):
    """One card. ``environment``: whether something beside the decoder holds state. ``ablation``: of the credit alone;
    in a record it is the checklist's ``credit_ablation`` and is left out here, as are the ``diagnostics``."""

    model_config = _FROZEN

    method: Text | None = None
    claim: Coded[Text] | None = None
    verb: Verb | None = None
    unit: CardUnit | None = None
    estimand: Estimand | None = None
    reference: Reference | None = None
    state: State | None = None
    environment: Literal["present", "absent"] | None = None
    intervention: Intervention | None = None
    protocol: Protocol = Protocol()
    support: Support = Support()
    interface: Interface | None = None
    ablation: Coded[Answer] | None = None
    diagnostics: dict[Literal["T", "O", "R", "H", "V", "C"], Coded[Addressed]] | None = None
    falsifiers: dict[str, str] = Field(default_factory=dict)
    note: Text | None = None

    @field_validator("falsifiers")
    @classmethod
    def _known_tests(cls, value: dict[str, str]) -> dict[str, str]:
        for name, predicted in value.items():
            if name not in FALSIFIERS:
                raise ValueError(f"no falsification test '{name}'; there are: {', '.join(FALSIFIERS)}")
            if predicted not in FALSIFIERS[name]:
                raise ValueError(f"{name}: predicted {predicted!r}: expected {' or '.join(FALSIFIERS[name])}")
        return value


def cards() -> Mapping[str, Card]:
    """The card of every record that has one, by id, sorted."""
    from .records import records

    return {id_: found.card for id_, found in records().items() if found.card is not None}


def card(id_: str) -> Card:
    """The card of this method."""
    from .records import RecordError, record

    found = record(id_).card
    if found is None:
        raise RecordError(f"'{id_}' has no card: `apportion card list` names the methods that have one")
    return found


def estimand_of(method_id: str) -> Estimand:
    """The estimand that the method's number claims to be; "none" where it claims to be none of them."""
    return card(method_id).estimand or "none"
