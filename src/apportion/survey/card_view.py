"""Cards as data, as lines for a terminal, and as Markdown: one card, and the table of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from ..edges.escape import markdown, plain
from . import card as words
from .card import Card
from .card_lint import each
from .records import Record, records
from .tier import TIERS, outranks, tier, verdict

#: Filter of ``apportion card list`` -> the words it takes.
FILTERS: Mapping[str, tuple[str, ...]] = {
    "unit": get_args(words.CardUnit),
    "estimand": get_args(words.Estimand),
    "state": get_args(words.State),
    "intervention": get_args(words.Intervention),
    "tier": TIERS,
    "finding": ("claim", "state", "noise", "ablation", "estimand", "falsifiers"),
}


def rows(**chosen: str | None) -> list[dict[str, Any]]:
    """One line a card, those that have every chosen word of :data:`FILTERS`."""
    found = [row(record, record.card) for record in records().values() if record.card is not None]
    asked = {name: word for name, word in chosen.items() if word is not None}
    return [one for one in found if all(_holds(one, name, word) for name, word in asked.items())]


def row(record: Record, card: Card) -> dict[str, Any]:
    """What the list shows of a card; ``findings`` are the kinds of its findings, once each finding."""
    fields = ("unit", "estimand", "reference", "state", "intervention", "verb", "interface")
    said = {name: getattr(card, name) for name in fields}
    kinds = [found.kind for found in each(record)]
    return {"method": record.id, **said, "tier": tier(card), "outranks": outranks(card), "findings": kinds}


def _holds(one: Mapping[str, Any], name: str, word: str) -> bool:
    return word in one["findings"] if name == "finding" else bool(one[name] == word)


def whole(record: Record, card: Card) -> dict[str, Any]:
    """A card with what follows from it: tier, why, findings."""
    decided, why = verdict(card)
    return {
        "method": record.id,
        "name": record.name,
        "card": card.model_dump(mode="json", by_alias=True, exclude_none=True),
        "tier": decided,
        "tier_because": why,
        "ablation": _ablation(record, card).model_dump(mode="json", by_alias=True, exclude_none=True),
        "findings": [found._asdict() for found in each(record)],
    }


def _ablation(record: Record, card: Card) -> Any:
    return card.ablation or record.checklist["credit_ablation"]


Lines = list[tuple[str, str]]


def sections(record: Record, card: Card) -> Iterator[tuple[str, Lines]]:
    """Titles and named values, in the order of the survey's six fields; what is missing is said."""
    decided, why = verdict(card)
    claim, ablation = card.claim, _ablation(record, card)
    where = f" [{': '.join(filter(None, (claim.from_, claim.at)))}]" if claim is not None and claim.from_ else ""
    said = "missing" if claim is None else f"{claim.is_}{where}"
    yield f"{one_line(record.name)} ({record.id})", [("claim", said), ("verb", _said(card.verb)), ("tier", f"{decided}: {why}")]
    yield "1 unit and estimand", _fields(card, "unit", "estimand", "reference")
    yield "2 effective state", _fields(card, "state", "environment")
    yield "3 intervention", _fields(card, "intervention")
    yield "4 downstream protocol", _fields(card.protocol, *type(card.protocol).model_fields)
    yield "5 support and uncertainty", _fields(card.support, *type(card.support).model_fields)
    note = f" ({ablation.note})" if ablation.note else ""
    yield "6 optimisation", [*_fields(card, "interface"), ("ablation of the credit", _said(ablation.is_) + note)]
    yield "Falsifiers, as predicted", [(name, _said(answer)) for name, answer in card.falsifiers.items()]
    yield "Findings", [(found.kind, f"{found.field}: {found.says}") for found in each(record)]
    yield "Note", [("-", card.note)] if card.note else []


def _fields(holder: Any, *names: str) -> Lines:
    return [(name.replace("_", " "), _said(getattr(holder, name))) for name in names]


def _said(value: Any) -> str:
    return "missing" if value is None else str(value).replace("_", " ")


def one_line(text: str) -> str:
    """Without line breaks and control characters."""
    return " ".join(plain(text).split())


def as_markdown(record: Record, card: Card) -> str:
    """One card as a Markdown table."""
    lines = [f"## {markdown(record.name)} (`{record.id}`)", "", "| field | value |", "|---|---|"]
    for _, named in sections(record, card):
        lines += [f"| {markdown(name)} | {markdown(value)} |" for name, value in named if name != "-"]
    if card.note:
        lines += ["", markdown(card.note)]
    return "\n".join(lines) + "\n"


def table(found: Iterable[Mapping[str, Any]]) -> str:
    """The table of docs/cards.md, from :func:`rows`."""
    lines = [
        "| method | unit | estimand | compared with | state | intervention | the claim | tier | findings |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        cells = [_said(one[name]) for name in ("unit", "estimand", "reference", "state", "intervention", "verb", "tier")]
        lines.append(f"| `{one['method']}` | {' | '.join(cells)} | {', '.join(one['findings'])} |")
    return "\n".join(lines) + "\n"
