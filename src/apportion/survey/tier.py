"""The evidence tier of a card, computed from its fields by a written rule; it is never typed in.

    restored-interventional  the state was put back and the unit written again: by a re-run or a restored environment,
                             or by the decoder where nothing beside it holds state
    observational-causal     units in matched states of the logs are compared, other actions were seen there, and
                             that the cases may be exchanged is by design, argued, or assumed in so many words
    model-relative           a model answers in the place of the run that did not happen
    predictive               all else: labels, scores, beliefs, entropies, whole returns

The order is the survey's (notes on arXiv 2604.09459 v3); the rule is ours, and stricter words of a claim need
a higher tier: what measures an effect needs the second, what attributes an outcome the third.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from .card import Card, Verb

#: Strongest first.
Tier = Literal["restored-interventional", "observational-causal", "model-relative", "predictive"]
TIERS: tuple[Tier, ...] = get_args(Tier)

#: Verb of a claim -> the lowest tier that bears it.
NEEDS: Mapping[Verb, Tier] = {
    "measures_effect": "observational-causal",
    "attributes": "model-relative",
    "predicts": "predictive",
    "ranks": "predictive",
    "shapes": "predictive",
}

#: Verb -> how a sentence says it.
SAYS: Mapping[Verb, str] = {
    "measures_effect": "measures an effect",
    "attributes": "attributes the outcome",
    "predicts": "predicts the outcome",
    "ranks": "ranks",
    "shapes": "shapes the update",
}


def tier(card: Card) -> Tier:
    """The tier that follows from the card's fields; a field that is missing never raises it."""
    return verdict(card)[0]


def verdict(card: Card) -> tuple[Tier, str]:
    """The tier, and in words which fields decide it."""
    where = f"state {card.state or 'missing'}, intervention {card.intervention or 'missing'}"
    if card.state == "restored" and card.intervention in ("rerun", "environment_restore"):
        return "restored-interventional", where
    if card.state == "restored" and card.intervention == "decoder_restore":
        if card.environment == "absent":
            return "restored-interventional", f"{where}, and nothing beside the decoder holds state"
        return "predictive", f"{where}, but an environment may hold what the decoder does not restore"
    if card.intervention == "log_matching":
        return _matched(card, where)
    if card.intervention == "surrogate":
        return "model-relative", f"{where}: a model answers for the run that did not happen"
    return "predictive", where


def _matched(card: Card, where: str) -> tuple[Tier, str]:
    support = card.support
    if card.state != "matched":
        return "predictive", where
    if support.overlap not in ("by_design", "partial"):
        return "predictive", f"{where}, overlap {support.overlap or 'missing'}"
    if support.exchangeability not in ("by_design", "argued", "assumed"):
        return "predictive", f"{where}, exchangeability {support.exchangeability or 'missing'}"
    return "observational-causal", f"{where}, overlap {support.overlap}, exchangeability {support.exchangeability}"


def outranks(card: Card) -> bool:
    """Whether the claim's verb needs a higher tier than the card's fields give."""
    return card.verb is not None and TIERS.index(tier(card)) > TIERS.index(NEEDS[card.verb])
