"""The table: every meaning of every trainer on every case it takes, theirs beside ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import isnan
from typing import Any

from . import ours
from .ask import Answers, ask, installed, key
from .cases import Case, GaeCase, GroupCase
from .meanings import MEANINGS, NAMES, PACKAGES, Meaning

#: Largest difference between a trainer's float32 and our float64 that counts as agreement.
TOLERANCE = 1e-6
Numbers = tuple[float, ...]
AGREES, DIFFERS, NO_OPTION = "agrees", "differs", "no option"
#: Equal rewards, whose float32 mean is not them, divided by next to nothing: no meaning of anyone's. Ours gives 0.
ROUNDING = "theirs is rounding noise: ours is 0"
REFUSED = "theirs is not a number: ours refuses"
NOT_INSTALLED, NO_PACKAGE = "not installed", "not a package: our reading of its formula"
FAILED = "could not be run: "


@dataclass(frozen=True)
class Row:
    """One setting of one trainer on one case.

    theirs: the trainer's numbers, per policy token (GAE) or per rollout; None where it was not run.
    ours: with the trainer's meaning; None where there is no such option, or we refuse. default: ours
    without any option. difference: largest of theirs - ours. call: our call that means the same.
    status: one of the words below, or "could not be run: " and why.
    """

    case: str
    peer: str
    version: str | None
    setting: str
    call: str
    theirs: Numbers | None
    ours: Numbers | None
    default: Numbers | None
    difference: float | None
    status: str
    note: str

    @property
    def differs_from_default(self) -> bool:
        """Whether the trainer means something else than we do by default."""
        known = self.theirs or self.ours
        return known is not None and (self.default is None or not _close(known, self.default))


def rows(peers: Iterable[str] | None = None, asking: Callable[[str], Answers] = ask) -> list[Row]:
    """One row per meaning and case, trainers that are installed asked for theirs (each in its own process).

    peers: only these (see ``meanings.NAMES``); default all.
    """
    chosen = list(NAMES if peers is None else peers)
    versions = {peer: installed(peer) for peer in chosen if peer in PACKAGES}
    present = [peer for peer, found in versions.items() if found is not None]
    with ThreadPoolExecutor(2) as pool:
        answers = dict(zip(present, pool.map(asking, present), strict=True))
    return [
        _row(meaning, case, versions.get(meaning.peer), answers.get(meaning.peer))
        for meaning in MEANINGS
        if meaning.peer in chosen
        for case in meaning.cases()
    ]


def _row(meaning: Meaning, case: Case, version: str | None, answers: Answers | None) -> Row:
    mine, default = (_tuple(f(case, meaning)) for f in (ours.numbers, ours.by_default))
    said = None if answers is None else answers[key(meaning.id, case.name)]
    theirs = _tuple(None if said is None else said.get("numbers"))
    difference = _apart(theirs, mine)
    status = _status(meaning, case, said, theirs, mine)
    name = case.name if isinstance(case, GaeCase) else f"rewards, {case.name}"
    return Row(
        name, NAMES[meaning.peer], version, meaning.setting, meaning.call, theirs, mine, default, difference, status, meaning.note
    )


def _status(meaning: Meaning, case: Case, said: dict[str, Any] | None, theirs: Numbers | None, mine: Numbers | None) -> str:
    if said is None:
        return NOT_INSTALLED if meaning.peer in PACKAGES else NO_PACKAGE
    if theirs is None:
        return f"{FAILED}{said['error']}"
    if meaning.options is None:
        return NO_OPTION
    if mine is None:
        return REFUSED if any(map(isnan, theirs)) else DIFFERS
    if _close(theirs, mine):
        return AGREES
    return ROUNDING if isinstance(case, GroupCase) and case.rounds and not any(mine) else DIFFERS


def _tuple(numbers: list[float] | None) -> Numbers | None:
    return None if numbers is None else tuple(numbers)


def _apart(a: Numbers | None, b: Numbers | None) -> float | None:
    if a is None or b is None or len(a) != len(b) or any(map(isnan, a)):
        return None
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def _close(a: Numbers, b: Numbers) -> bool:
    apart = _apart(a, b)
    return apart is not None and apart <= TOLERANCE
