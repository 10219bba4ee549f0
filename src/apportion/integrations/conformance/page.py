"""The rows as two tables for people: a line per trainer and setting, its numbers, and whether ours agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np

from . import table as words
from .cases import ANSWER, ENDS, LONE, NOISE, ONES, PROMPTS, Case, GaeCase
from .meanings import MEANINGS, NAMES, PACKAGES, Meaning
from .ours import by_default
from .table import Row


@dataclass(frozen=True)
class Cell:
    """Numbers of one case; ``differs``: not those of the first line, as printed; ``measured`` if the trainer gave them."""

    text: str
    differs: bool = False
    measured: bool = True


@dataclass(frozen=True)
class Line:
    """One setting of one trainer: what we call to get its numbers, and how that went."""

    name: str
    call: str
    cells: tuple[Cell, ...]
    check: str


@dataclass(frozen=True)
class Page:
    """One table: title, heads of the columns, lines (the first is ours by default), a sentence on how to read it."""

    title: str
    heads: tuple[str, ...]
    lines: tuple[Line, ...]
    reading: str


def pages(rows: Sequence[Row]) -> tuple[Page, Page]:
    """GAE over observation tokens; group statistics."""
    gae = Page(
        "GAE where a tool answers: advantage of the policy's tokens",
        ("γ 1, λ .95", "γ .99, λ .95", "ends in tool"),
        _lines(rows, "gae", ((ANSWER[1],), (ANSWER[2],), (ENDS,))),
        "Mask 1 1 0 0 0 0 1 1, V = .5 on the policy's tokens and .9 on the tool's, reward 1 at the end; and mask 1 1 0 0, "
        "V = .5, γ 1, λ .95, reward 1 at the end, where a tool wrote. With γ = λ = 1 the first is .500 .500 .500 .500 for all.",
    )
    group = Page(
        "Group statistics: advantage of rollouts",
        ("1 0 0 1 and 1 0 0 0", "one", "six of .9"),
        _lines(rows, "grpo", ((PROMPTS,), (LONE, ONES), (NOISE,))),
        "Two prompts with rewards 1 0 0 1 and 1 0 0 0: the first two rollouts of each; a prompt with one rollout of "
        "reward .7; six equal rewards of .9, where anything but 0 is the rounding of a float32 mean, divided by next to "
        "nothing (no option of ours does that).",
    )
    return gae, group


def _lines(rows: Sequence[Row], kind: str, columns: tuple[tuple[Case, ...], ...]) -> tuple[Line, ...]:
    meanings = [m for m in MEANINGS if m.default == kind]
    found = [Line("apportion", kind, tuple(Cell(_default(cases[0], meanings[0])) for cases in columns), "the default")]
    for meaning in meanings:
        mine = [r for r in rows if (r.peer, r.setting) == (NAMES[meaning.peer], meaning.setting)]
        if not mine:
            continue
        by_case = {r.case: r for r in mine}
        cells = tuple(
            _cell([by_case[_row_name(c)] for c in cases if _row_name(c) in by_case], cases, first.text)
            for cases, first in zip(columns, found[0].cells, strict=True)
        )
        version = f" {mine[0].version}" if mine[0].version else ""
        setting = "" if meaning.setting == "GAE" else f" {meaning.setting}"
        found.append(Line(f"{mine[0].peer}{version}{setting}", meaning.call, cells, check(mine)))
    return tuple(found)


def check(rows: Sequence[Row]) -> str:
    """One word for a setting: how all its cases went."""
    statuses = [r.status for r in rows]
    if any(s.startswith(words.FAILED) for s in statuses):
        return "not run"
    for status in (words.DIFFERS, words.NO_OPTION, words.NOT_INSTALLED):
        if status in statuses:
            return status
    return "no package" if words.NO_PACKAGE in statuses else words.AGREES


def _row_name(case: Case) -> str:
    return case.name if isinstance(case, GaeCase) else f"rewards, {case.name}"


def _default(case: Case, meaning: Meaning) -> str:
    numbers = by_default(case, meaning)
    return "refused" if numbers is None else _numbers(numbers, case)


def _cell(rows: list[Row], cases: tuple[Case, ...], first: str) -> Cell:
    if not rows:
        return Cell("-")
    row = rows[0]
    case = next(c for c in cases if _row_name(c) == row.case)
    numbers = row.theirs or row.ours
    if numbers is None:
        return Cell("refused" if row.call != words.NO_OPTION else "-", measured=False)
    text = _numbers(numbers, case)
    return Cell(text, text != first, row.theirs is not None)


def _numbers(numbers: Sequence[float], case: Case) -> str:
    chosen = np.asarray(numbers) if isinstance(case, GaeCase) else np.asarray(numbers)[list(case.shown)]
    return " ".join(short(x) for x in chosen)


def short(x: float) -> str:
    """Three decimals without the leading zero: .402, -.5 as -.500, 1.500."""
    if isnan(x):
        return "nan"
    text = f"{x:.3f}"
    text = "0.000" if text == "-0.000" else text
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else text


def missing(rows: Sequence[Row]) -> list[str]:
    """Packages one could install to have more of the table measured."""
    absent = {r.peer for r in rows if r.status == words.NOT_INSTALLED}
    return [package for package, name in PACKAGES.items() if name in absent]


def notes(rows: Sequence[Row]) -> list[str]:
    """What is to be said of a setting, one line each."""
    return list(dict.fromkeys(f"{r.peer} {r.setting}: {r.note}" for r in rows if r.note))


def failures(rows: Sequence[Row]) -> list[str]:
    """Why a trainer that is installed could not be run, one line a trainer."""
    found = {r.peer: f"{r.peer} {r.version} {r.status}" for r in rows if r.status.startswith(words.FAILED)}
    return list(found.values())
