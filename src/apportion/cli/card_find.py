"""Where a card, a file to lint and the stored results of falsifiers are found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..bench.falsifiers import Verdict
    from ..survey import Record
    from ..survey.card import Card


def found(id_: str) -> tuple[Record, Card]:
    """The record and its card; an unknown name says which methods are near."""
    from ..registry import get
    from ..survey import records
    from ..survey.card import card

    known = records()
    if id_ not in known or known[id_].card is None:
        id_ = get(id_).id
    return known[id_], card(id_)


def path_of(one: str) -> tuple[Path, str]:
    """The file to lint and what to call it: one that is there, or the record of a method."""
    from ..survey.card_lint import shipped

    path = Path(one)
    if path.suffix or path.is_file() or "/" in one:
        return path, one
    path = shipped(found(one)[0].id)
    return path, path.name


def tried(id_: str) -> tuple[Sequence[Verdict], bool]:
    """Stored verdicts of the method's falsifiers, and whether they are of the code as it stands; none where none ship."""
    from ..bench.falsifiers.stored import is_current, stored

    try:
        return stored(id_), is_current(id_)
    except FileNotFoundError:
        return (), True
