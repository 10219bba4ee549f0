"""Sections of the report that live by themselves: each is a module, a template and a script of one name.

A section called ``NAME`` is

- ``report/NAME.py`` with ``NAME_rows(run, found)``, JSON-able data for the summary under the key ``NAME`` (empty where the
  run has nothing to say; ``found`` is the summary so far), and ``NAME_text(summary)``, sentences that say what is seen;
- ``report/templates/sections/NAME.html.jinja``, what stands in its view ``#/NAME``: it is given ``summary``, ``rows``,
  ``text`` and can import ``figure`` from ``macros.html.jinja``;
- ``report/templates/sections/NAME.js``, which puts one or more functions into ``window.apportion.figures``:
  ``figures.ID = (node, summary, pick) => …`` fills ``<figure data-figure="ID">`` whenever its view is shown, the window
  changes its width or a selection changes. ``pick``: task, batch, series, and ``methods`` as filtered.

A section whose rows are empty has no view and no place in the navigation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from .read import Run


@dataclass(frozen=True)
class Section:
    """``title`` stands in the navigation, ``heading`` above the view; ``uses``: selectors it listens to (task, batch,
    filter); ``about``: why one would go there, in the overview."""

    name: str
    title: str
    heading: str
    uses: tuple[str, ...] = ()
    about: str = ""


#: In the order of the navigation.
SECTIONS: tuple[Section, ...] = (
    Section(
        "sweeps",
        "Sweeps",
        "One knob at a time",
        ("filter",),
        about="What moves when one knob of a task moves and all else stays.",
    ),
    Section(
        "estimands",
        "Estimands",
        "What each method claims to measure",
        ("task", "filter"),
        about="Each method against what its number claims to be.",
    ),
    Section("witness", "Witness", "Who claims to know?", ("filter",), about="Who keeps silent where nothing can be known."),
    Section("claims", "Claims", "Published claims, tested", about="What papers say, as experiments with a verdict each."),
    Section(
        "selectors",
        "Selectors",
        "Is advice on the choice of a method any good?",
        about="Published trees and a selector that goes by measurements, on settings held out from fitting.",
    ),
)


def section_rows(run: Run, found: Mapping[str, Any]) -> dict[str, Any]:
    """Name -> what each section found in the run; a section may read what those before it found."""
    rows: dict[str, Any] = {}
    for section in SECTIONS:
        rows[section.name] = getattr(_module(section), f"{section.name}_rows")(run, {**found, **rows})
    return rows


def section_text(section: Section, summary: Mapping[str, Any]) -> Sequence[str]:
    """What a section says in sentences."""
    said: Sequence[str] = getattr(_module(section), f"{section.name}_text")(summary)
    return said


def shown(summary: Mapping[str, Any]) -> list[Section]:
    """The sections that have something to say."""
    return [section for section in SECTIONS if summary.get(section.name)]


def _module(section: Section) -> Any:
    return import_module(f".{section.name}", __package__)
