"""``docs/cards.md``: what a card is, and the table of all of them, the text of card_page.md and figures from the records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from ..survey.card_view import table
from ..survey.tier import NEEDS, TIERS


def page(found: Sequence[Mapping[str, Any]]) -> str:
    """The page, from the rows of every card."""
    needed = [f"what *{verb.replace('_', ' ')}* needs *{tier}*" for verb, tier in NEEDS.items() if tier != TIERS[-1]]
    needs = f"By its verb, {', '.join(needed)}; what predicts, ranks or shapes needs no more than *{TIERS[-1]}*."
    tiers = Counter(one["tier"] for one in found)
    above = [f"`{one['method']}`" for one in found if one["outranks"]]
    counts = ", ".join(f"{tiers[tier]} {tier}" for tier in TIERS)
    said = f"{len(found)} cards: {counts}. Claims above their tier: {', '.join(above) or 'none'}."
    text = files(__package__).joinpath("card_page.md").read_text(encoding="utf-8")
    return text.replace("{needs}", needs).replace("{counts}", said) + table(found)
