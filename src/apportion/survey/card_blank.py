"""An empty card to fill in, with the words of every field beside it; and the JSON Schema of a card."""

from __future__ import annotations

import json
from typing import Any, get_args

from . import card as words
from .card import FALSIFIERS
from .schema import DIALECT, schema
from .terms import DIAGNOSTICS, Addressed, Answer, Origin


def _of(vocabulary: Any) -> str:
    return " | ".join(get_args(vocabulary))


def blank(method: str | None = None) -> str:
    """The YAML of an empty card, commented; what is left blank is missing, and ``apportion card lint`` says so."""
    lines = [
        "# CA-ID card: what a credit number claims, and what the claim rests on (docs/cards.md).",
        "# `apportion card lint FILE` says what is missing and what the claim outranks; the tier is computed, not written.",
        f"method: {'' if method is None else json.dumps(method)}".rstrip() + "  # id or name",
        f"claim:  # one sentence; is: unknown, or {{is: ..., from: {_of(Origin)}, at: place}}",
        f"verb:  # {_of(words.Verb)}",
        "",
        "# 1 unit and estimand",
        f"unit:  # {_of(words.CardUnit)}",
        f"estimand:  # {_of(words.Estimand)}",
        f"reference:  # {_of(words.Reference)}",
        "# 2 effective state",
        f"state:  # {_of(words.State)}",
        "environment:  # present | absent: whether something beside the decoder holds state",
        "# 3 intervention source",
        f"intervention:  # {_of(words.Intervention)}",
        "# 4 downstream protocol",
        "protocol:",
        f"  continuation:  # {_of(words.Continuation)}",
        "  horizon:  # until when, in words",
        "  verifier:  # who judges the end, in words",
        f"  noise:  # {_of(words.Noise)}",
        "# 5 support and uncertainty",
        "support:",
        f"  overlap:  # {_of(words.Overlap)}",
        f"  exchangeability:  # {_of(words.Exchangeability)}",
        "  repetitions:  # how many times the unit or its state was tried, in words",
        f"  interval:  # {_of(words.Reported)}",
        f"  noise_floor:  # {_of(words.Reported)}",
        "# 6 optimisation interface",
        f"interface:  # {_of(words.Interface)}",
        f"ablation:  # of the credit alone: unknown, or {{is: {_of(Answer)}, from: ..., at: ...}}",
        "",
        f"# the six difficulties, T ... C: unknown, or {{is: {_of(Addressed)}, from: ...}}",
        "diagnostics:",
        *(f"  {code}: unknown  # {meaning}" for code, meaning in DIAGNOSTICS.items()),
        "# what a test would have to show; leave out those that do not apply",
        "falsifiers:",
        *(f"  {name}: {answers[0]}  # {' | '.join(answers)}" for name, answers in FALSIFIERS.items()),
        "note:",
    ]
    return "\n".join(lines) + "\n"


def card_schema() -> dict[str, Any]:
    """The JSON Schema of a card of its own, draft 2020-12: the part of a record's schema that a card is."""
    whole: dict[str, Any] = schema()["$defs"]
    card = dict(whole["card"])
    used: dict[str, Any] = {}
    open_ = [card]
    while open_:
        for name in _named(open_.pop()):
            if name not in used:
                used[name] = whole[name]
                open_.append(whole[name])
    head = {"$schema": DIALECT, "$id": "urn:apportion:card:1", "title": "A CA-ID card"}
    return head | card | {"$defs": dict(sorted(used.items()))}


def _named(node: Any) -> list[str]:
    """Definitions that a part of a schema refers to."""
    if isinstance(node, dict):
        return [v.split("/")[-1] if k == "$ref" else n for k, v in node.items() for n in ([""] if k == "$ref" else _named(v))]
    return [name for one in node for name in _named(one)] if isinstance(node, list) else []
