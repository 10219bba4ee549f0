"""The rules of :mod:`apportion.survey.card_lint`: what a card lacks, where it contradicts itself, what its claim outranks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .card import Card
from .coded import Coded
from .tier import NEEDS, SAYS, outranks, verdict

RESTORES = ("environment_restore", "decoder_restore")
REPLAYS = ("rerun", *RESTORES)
OF_AGENTS = ("difference", "team_shapley")


class Said(NamedTuple):
    """kind: missing and clash are errors, all others findings. field: dotted, within the card."""

    kind: str
    field: str
    says: str


#: Field -> what belongs there.
_WANTED = {
    "claim": "one sentence: what the number says of a unit, and where it was read",
    "verb": "measures_effect, attributes, predicts, ranks or shapes",
    "unit": "what gets the number",
    "estimand": "what the number is of a unit; none is an answer",
    "reference": "what the unit is compared with; none is an answer",
    "state": "observed, matched, restored or latent",
    "environment": "present or absent: whether something beside the decoder holds state",
    "intervention": "where the other outcome comes from; none is an answer",
    "interface": "reward, advantage, mask, weight or preference",
    "protocol.continuation": "who acts after the unit",
    "protocol.horizon": "until when",
    "protocol.verifier": "who judges the end",
    "protocol.noise": "fresh, shared or none",
    "support.overlap": "whether other actions were seen in the state",
    "support.exchangeability": "why the compared cases may be exchanged",
    "support.repetitions": "how many times the unit or its state was tried",
    "support.interval": "whether an interval of the number is reported; unknown is an answer",
    "support.noise_floor": "whether replicas of the number are reported; unknown is an answer",
}


def missing(card: Card, ablation: Coded[Any] | None, alone: bool) -> Iterator[Said]:
    """Fields nobody filled in; a card of its own needs the method's name and the ablation too."""
    if alone and card.method is None:
        yield Said("missing", "method", "missing: the method's name")
    for field, what in _WANTED.items():
        holder: Any = card
        for part in field.split("."):
            holder = getattr(holder, part)
        if holder is None or (field == "claim" and not holder.known):
            yield Said("missing", field, f"missing: {what}")
    if ablation is None:
        yield Said("missing", "ablation", "missing: whether the credit alone was taken out; unknown is an answer")


def clashes(card: Card) -> Iterator[Said]:
    """Pairs of fields that cannot both be true."""
    yield from _state(card)
    yield from _estimand(card)
    after, noise = card.protocol.continuation, card.protocol.noise
    if card.intervention in REPLAYS and after in ("logged", "none"):
        yield _clash("protocol.continuation", f"{after}, but a run that is done again needs somebody who acts")
    if card.intervention == "log_matching" and after not in (None, "logged"):
        yield _clash("protocol.continuation", f"{after}, but what is matched in logs was continued as logged")
    if noise == "shared" and card.intervention in ("log_matching", "none"):
        yield _clash("protocol.noise", f"shared, but with intervention {card.intervention} nothing is run twice")
    if card.intervention == "none" and card.support.overlap not in (None, "not_applicable"):
        yield _clash("support.overlap", f"{card.support.overlap}, but with intervention none no two actions are compared")
    if card.falsifiers.get("witness") == "identified" and verdict(card)[0] != "restored-interventional":
        yield _clash("falsifiers.witness", "identified, but only a restored state can tell the two worlds apart")


def _state(card: Card) -> Iterator[Said]:
    state, source = card.state, card.intervention
    if state is None or source is None:
        return
    if state == "restored" and source not in REPLAYS:
        yield _clash("state", f"restored, but intervention is {source}: nothing was restored")
    if source in REPLAYS and state != "restored":
        yield _clash("state", f"{state}, but intervention {source} starts from a restored state")
    if (state == "matched") != (source == "log_matching"):
        yield _clash("state", f"{state}, but intervention is {source}: states are matched where logs are, and only there")
    if source == "environment_restore" and card.environment == "absent":
        yield _clash("environment", "absent, but intervention is environment_restore")
    if source == "decoder_restore" and card.environment == "present":
        yield _clash("environment", "present, but intervention is decoder_restore: feeding the text again does not restore it")


def _estimand(card: Card) -> Iterator[Said]:
    named = card.estimand not in (None, "none")
    if named and card.reference == "none":
        yield _clash("reference", f"none, but {card.estimand} is a difference to something")
    if card.estimand in OF_AGENTS and card.unit not in (None, "agent"):
        yield _clash("unit", f"{card.unit}, but {card.estimand} is of agents")
    if card.estimand in ("shapley", "leave_one_out") and card.unit == "agent":
        yield _clash("unit", f"agent, but {card.estimand} is of single choices: difference and team_shapley are of agents")
    if card.estimand in (*OF_AGENTS, "shapley") and card.reference not in (None, "without_unit"):
        yield _clash("reference", f"{card.reference}, but {card.estimand} compares with the unit left out or drawn anew")


def _clash(field: str, says: str) -> Said:
    return Said("clash", field, says)


def findings(card: Card, codes: Mapping[str, Any], ablation: Coded[Any] | None) -> Iterator[Said]:
    """What a reader should know. ``codes``: the record's diagnostics, T, O, R ... -> addressed, not_addressed, ..."""
    if card.verb is not None and outranks(card):
        tier, why = verdict(card)
        needed = NEEDS[card.verb]
        yield Said("claim", "verb", f"the claim {SAYS[card.verb]}, which needs {needed} evidence, but it is {tier} ({why})")
    if card.verb == "measures_effect" and card.estimand == "none":
        yield Said("estimand", "estimand", "none, although the claim measures an effect: an effect is a difference to something")
    if card.state == "observed":
        yield from _observed(card, codes)
    replayed = card.intervention in REPLAYS and codes.get("R") != "not_applicable"
    if replayed and card.support.noise_floor not in (None, "reported"):
        said = (card.support.noise_floor or "").replace("_", " ")
        yield Said("noise", "support.noise_floor", f"{said}, although runs are repeated: how far replicas differ is not said (R)")
    if ablation is not None and ablation.is_ in ("not_reported", "unknown"):
        read = "not reported" if ablation.is_ == "not_reported" else "unknown: nobody read of one"
        yield Said("ablation", "ablation", f"{read}: what the credit alone brings is open")
    if not card.falsifiers:
        yield Said("falsifiers", "falsifiers", "none: nothing is predicted that a test could refute")


def _observed(card: Card, codes: Mapping[str, Any]) -> Iterator[Said]:
    claimed = [code for code in ("T", "O") if codes.get(code) == "addressed"]
    if claimed:
        yield Said("state", "state", f"observed, although {' and '.join(claimed)} are said to be addressed")
    elif card.environment == "present" and not codes.get("T") == codes.get("O") == "not_applicable":
        yield Said("state", "state", "observed, although an environment is present: equal texts may hide unequal states (T, O)")
