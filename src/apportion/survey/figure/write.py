"""A figure of the inventory, as a file: SVG or PNG."""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from ...edges.atomic import atomic
from ...edges.escape import html
from ...errors import OptionError
from ..coded import UNKNOWN
from ..glossary import WORDS
from ..query import checked
from ..records import Record
from .places import Place, places

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = Literal["grid", "tree"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FORMATS = (".svg", ".png")
WIDTH = 7.0  # inches: the text width of a page, so that 8 points stay 8 points
DPI = 200


def write_figure(records: Iterable[Record], out: str | Path, *, kind: Kind = "grid", labels: str = "best") -> Path:
    """Draw the taxonomy of ``records`` into ``out``, an ``.svg`` or ``.png`` file 7 inches wide.

    kind: "grid" (unit by way, marks by setting) or "tree" (setting, unit, way, names). labels: whose, "best"
    (the paper's own where it was read), "any" (all), or one origin's (:data:`apportion.survey.query.Labels`);
    what it does not label is unknown. The same records give the same file. Raises ``OptionError`` or ``QueryError`` for other
    words, without records, and where matplotlib is missing, before anything is written.
    """
    path = Path(out)
    if path.suffix.lower() not in FORMATS:
        raise OptionError(f"{path.name}: a figure is written as {' or '.join(FORMATS)}; name the file so")
    if not path.parent.is_dir():
        raise OptionError(f"{path}: there is no folder {path.parent}")
    figure = draw(records, kind=kind, labels=labels)
    import matplotlib

    file, form = io.BytesIO(), path.suffix.lower().removeprefix(".")
    # A fixed salt and no date: the same records give the same bytes. Letters as outlines: the same picture everywhere.
    with matplotlib.rc_context({"svg.hashsalt": "apportion", "svg.fonttype": "path"}):
        figure.savefig(file, format=form, dpi=DPI, metadata={"Date": None} if form == "svg" else {"Software": None})
    made = file.getvalue()
    with atomic(path) as target:
        target.write(_named(made, str(figure.get_label())) if form == "svg" else made)
    return path


def draw(records: Iterable[Record], *, kind: Kind = "grid", labels: str = "best") -> Figure:
    """The figure as matplotlib holds it, for those who want to go on from there; its label says what it shows."""
    if kind not in KINDS:
        raise OptionError(f"kind = {kind!r}: expected {' or '.join(KINDS)}")
    whose = checked("labels", labels)
    if importlib.util.find_spec("matplotlib") is None:
        raise OptionError("figures are drawn by matplotlib, which is not installed: pip install 'apportion[figures]'")
    found = places(records, whose)
    if not found:
        raise OptionError("there is nothing to draw: no record was chosen")
    import matplotlib

    from .grid import grid
    from .tree import tree

    with matplotlib.rc_context(matplotlib.rcParamsDefault):
        figure = (grid if kind == "grid" else tree)(found, WIDTH, _note(found, whose)).figure
    figure.set_label(f"Credit assignment: a taxonomy ({kind}) of {len(found)} records")
    return figure


def _note(found: list[Place], labels: str) -> str:
    """The line under the figure: how many records, whose labels, and what a reader may stumble over."""
    whose = {
        "best": "Labels are the paper’s own where it was read, else the survey’s, its companion list’s or ours.",
        "any": "Labels are those of every source.",
    }.get(labels) or f"Labels come from {labels}: {WORDS['origin'][labels]}."
    several = sum(max(len(p.settings), len(p.units), len(p.ways)) > 1 for p in found)
    twice = f" A record with several labels stands at each of them ({several} do)." if several else ""
    unplaced = sum(UNKNOWN in (*p.settings, *p.units, *p.ways) for p in found)
    unknown = f" Unknown: no source says ({unplaced})." if unplaced else ""
    return f"{len(found)} record{'s' if len(found) != 1 else ''}. {whose}{twice}{unknown}"


def _named(svg: bytes, title: str) -> bytes:
    """The picture with a title that screen readers read."""
    text = svg.decode("utf-8")
    opened = re.search(r"<svg\b[^>]*", text)
    assert opened is not None
    at = opened.end()
    return f'{text[:at]} role="img"{text[at : at + 1]}<title>{html(title)}</title>{text[at + 1 :]}'.encode()
