"""The table: every meaning of every trainer on every case it takes, theirs beside ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import isnan

from . import ours
from .ask import Answers, ask, installed, key
from .cases import Case, GaeCase
from .meanings import MEANINGS, NAMES, PACKAGES, Meaning

#: Largest difference between a trainer's float32 and our float64 that counts as agreement.
TOLERANCE = 1e-6
Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """One setting of one trainer on one case.

    theirs: the trainer's numbers, per policy token (GAE) or per rollout; None where it was not run.
    ours: with the trainer's meaning; None where there is no such option, or we refuse. default: ours
    without any option. difference: largest of theirs - ours. call: our call that means the same.
    status: "agrees", "differs", "no option", "theirs is not a number: ours refuses", "not installed", "not a
    package …", or "could not be run: " and why.
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
    if said is None:
        status = "not installed" if meaning.peer in PACKAGES else "not a package: our reading of its formula"
    elif theirs is None:
        status = f"could not be run: {said['error']}"
    elif meaning.options is None:
        status = "no option"
    elif mine is None:
        status = "theirs is not a number: ours refuses" if any(map(isnan, theirs)) else "differs"
    else:
        status = "agrees" if _close(theirs, mine) else "differs"
    name = case.name if isinstance(case, GaeCase) else f"rewards, {case.name}"
    return Row(
        name, NAMES[meaning.peer], version, meaning.setting, meaning.call, theirs, mine, default, difference, status, meaning.note
    )


def _tuple(numbers: list[float] | None) -> Numbers | None:
    return None if numbers is None else tuple(numbers)


def _apart(a: Numbers | None, b: Numbers | None) -> float | None:
    if a is None or b is None or len(a) != len(b) or any(map(isnan, a)):
        return None
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def _close(a: Numbers, b: Numbers) -> bool:
    apart = _apart(a, b)
    return apart is not None and apart <= TOLERANCE
