"""The taxonomy figure: every record drawn at its labels, no label on another, the same bytes from the same records."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from apportion.errors import OptionError
from apportion.survey import QueryError, Record, record, records
from apportion.survey.coded import Coded
from apportion.survey.figure import KINDS, draw, write_figure
from apportion.survey.figure.canvas import MARKS
from apportion.survey.figure.places import LONGEST, SETTINGS, UNITS, WAYS, places
from apportion.survey.figure.text import width, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

pytest.importorskip("matplotlib")

PAGE = 7.0  # inches
EVIL = "$\\frac{1}{0}$ <script>alert(1)</script> --> ]]> & \"'\x1b[31m" + "W" * 200
SNAPSHOTS = {"survey": [r for r in records().values() if r.snapshot == "survey"], "all": list(records().values())}

Box = tuple[float, float, float, float]


def boxes(figure: Figure) -> list[tuple[str, Box]]:
    """Every text and every mark as the renderer measures it: what it is, and left, bottom, right, top in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.lines import Line2D

    FigureCanvasAgg(figure)
    found = [(t.get_text(), t.get_window_extent()) for t in figure.texts]
    lines = [artist for artist in figure.artists + figure.lines if isinstance(artist, Line2D)]
    found += [(f"mark {m.get_marker()}", m.get_window_extent()) for m in lines if m.get_marker() not in ("None", None)]
    assert len(found) > len(figure.texts)
    return [(what, (b.x0 / figure.dpi, b.y0 / figure.dpi, b.x1 / figure.dpi, b.y1 / figure.dpi)) for what, b in found]


def overlaps(a: Box, b: Box) -> bool:
    return min(a[2], b[2]) - max(a[0], b[0]) > 0.005 and min(a[3], b[3]) - max(a[1], b[1]) > 0.012


def texts(figure: Figure) -> list[str]:
    return [t.get_text() for t in figure.texts]


def changed(base: Record, **fields: Any) -> Record:
    return base.model_copy(update=fields)


def said(value: Any, origin: str = "primary") -> tuple[Coded[Any], ...]:
    return (Coded[Any].model_validate({"is": value, "from": origin}),)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("snapshot", SNAPSHOTS)
@pytest.mark.parametrize("labels", ["best", "companion", "any"])
def test_no_label_touches_another_and_none_leaves_the_page(kind: Any, snapshot: str, labels: Any) -> None:
    figure = draw(SNAPSHOTS[snapshot], kind=kind, labels=labels)
    found = boxes(figure)
    assert figure.get_figwidth() == PAGE
    assert len(found) > 40
    assert [(a, b) for (a, x), (b, y) in combinations(found, 2) if overlaps(x, y)] == []
    height = figure.get_figheight()
    assert [what for what, b in found if b[0] < -0.005 or b[1] < -0.005 or b[2] > PAGE + 0.005 or b[3] > height + 0.005] == []


@pytest.mark.parametrize("kind", KINDS)
def test_letters_are_at_least_seven_points_and_names_eight(kind: Any) -> None:
    figure = draw(SNAPSHOTS["all"], kind=kind)
    assert min(float(t.get_fontsize()) for t in figure.texts) >= 7
    assert {t.get_fontsize() for t in figure.texts if "VinePPO" in t.get_text()} == {8}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("snapshot", SNAPSHOTS)
def test_every_record_is_drawn_once_per_label(kind: Any, snapshot: str) -> None:
    chosen = SNAPSHOTS[snapshot]
    shown = re.sub(r"\s", "", "".join(texts(draw(chosen, kind=kind))))
    for found in places(chosen, "best"):
        assert re.sub(r"\s", "", found.name) in shown, found.name


@pytest.mark.parametrize("snapshot", SNAPSHOTS)
@pytest.mark.parametrize("labels", ["best", "companion"])
def test_no_name_is_broken_inside_a_word_of_it(snapshot: str, labels: str) -> None:
    lines = texts(draw(SNAPSHOTS[snapshot], labels=labels))
    parts = {part for found in places(SNAPSHOTS[snapshot], labels) for part in re.findall(r"[^-\s]+-*", found.name)}
    assert [part for part in parts if not any(part in line for line in lines)] == []


def test_a_record_stands_in_the_row_and_the_column_of_its_labels() -> None:
    chosen = [
        changed(record("rloo"), name="One", granularity=said(["token"]), methodology=said("monte-carlo")),
        changed(record("rloo"), name="Two", granularity=said(["turn"]), methodology=said("game-theoretic")),
        changed(record("rloo"), name="Both", granularity=said(["token", "turn"]), methodology=said("game-theoretic")),
    ]
    figure = draw(chosen)
    at = {what: [b for w, b in boxes(figure) if w == what] for what in ("One", "Two", "Both", "token", "turn", "Monte Carlo")}
    assert len(at["Both"]) == 2
    token, turn = at["token"][0], at["turn"][0]
    assert token[1] > turn[1]
    assert abs(at["One"][0][1] - token[1]) < 0.05
    assert turn[3] >= at["Two"][0][1]
    assert at["One"][0][0] - at["Monte Carlo"][0][0] < 0.2
    assert at["Two"][0][0] - at["One"][0][0] > 0.5
    assert max(b[1] for b in at["Both"]) > turn[3] > min(b[1] for b in at["Both"])


def test_the_survey_s_labels_and_the_paper_s_own_are_told_apart() -> None:
    one = changed(
        record("rloo"),
        granularity=(*said(["step"], "companion"), *said(["token"], "primary")),
        methodology=(*said("monte-carlo", "ours"),),
    )
    best, theirs = places([one], "best")[0], places([one], "companion")[0]
    assert (best.units, best.ways) == (("token",), ("monte-carlo",))
    both = places([one], "any")[0]
    assert both.units == ("token", "step")
    assert (theirs.units, theirs.ways) == (("step",), ("unknown",))
    assert "Unknown: no source says (1)" in " ".join(texts(draw([one], labels="companion")))


def test_every_word_of_the_vocabularies_has_a_heading_and_every_setting_a_mark_of_its_own() -> None:
    from typing import get_args

    from apportion.survey.terms import Granularity, Methodology, Setting

    assert set(UNITS) == {*get_args(Granularity), "unknown"}
    assert set(WAYS) == {*get_args(Methodology), "unknown"}
    assert set(SETTINGS) == set(MARKS) == {*get_args(Setting), "unknown"}
    shapes, colours = zip(*MARKS.values(), strict=True)
    assert len(set(shapes)) == len(set(colours)) == len(MARKS)
    okabe_ito = {"#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"}
    assert {c for s, (_, c) in MARKS.items() if s != "unknown"} <= okabe_ito


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_name_is_drawn_as_it_stands_and_pushes_nothing_aside(kind: Any, tmp_path: Path) -> None:
    chosen = [changed(record("rloo"), name=EVIL), *SNAPSHOTS["survey"]]
    figure = draw(chosen, kind=kind)
    found = boxes(figure)
    assert [(a, b) for (a, x), (b, y) in combinations(found, 2) if overlaps(x, y)] == []
    assert "\x1b" not in "".join(texts(figure))
    assert "$\\frac{1}{0}$" in re.sub(r"\n", "", "".join(texts(figure)))
    assert not any(t.get_parse_math() for t in figure.texts)
    out = write_figure(chosen, tmp_path / "t.svg", kind=kind)
    tags = {element.tag.split("}")[-1] for element in ElementTree.parse(out).iter()}
    assert "script" not in tags
    assert max(len(p.name) for p in places(chosen, "best")) == LONGEST


@pytest.mark.parametrize("kind", KINDS)
def test_svg_is_well_formed_titled_and_the_same_every_time(kind: Any, tmp_path: Path) -> None:
    first = write_figure(SNAPSHOTS["survey"], tmp_path / "a.svg", kind=kind).read_bytes()
    assert first == write_figure(SNAPSHOTS["survey"], tmp_path / "b.svg", kind=kind).read_bytes()
    root = ElementTree.fromstring(first)
    assert root.get("role") == "img"
    assert (root[0].text or "").endswith(f"{len(SNAPSHOTS['survey'])} records")
    assert root.get("width") == f"{PAGE * 72:g}pt"
    assert b"<image" not in first
    assert b"<text" not in first  # outlines: another font cannot push a label into its neighbour
    assert b"http" not in re.sub(rb'(xmlns(:\w+)?="[^"]*"|<!DOCTYPE[^>]*>|<metadata>.*?</metadata>)', b"", first, flags=re.DOTALL)


def test_png_is_seven_inches_at_two_hundred_dots(tmp_path: Path) -> None:
    data = write_figure(SNAPSHOTS["survey"], tmp_path / "t.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert int.from_bytes(data[16:20], "big") == 1400


def test_what_cannot_be_drawn_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = SNAPSHOTS["survey"]
    with pytest.raises(OptionError, match=r"t\.gif: a figure is written as \.svg or \.png"):
        write_figure(chosen, tmp_path / "t.gif")
    with pytest.raises(OptionError, match="kind = 'pie': expected grid or tree"):
        write_figure(chosen, tmp_path / "t.svg", kind="pie")  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="no labels 'theirs'"):
        write_figure(chosen, tmp_path / "t.svg", labels="theirs")
    with pytest.raises(OptionError, match="no record was chosen"):
        write_figure([], tmp_path / "t.svg")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"pip install 'apportion\[figures\]'"):
        write_figure(chosen, tmp_path / "t.svg")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_s_own_matplotlib_settings_change_nothing(tmp_path: Path) -> None:
    import matplotlib

    plain = write_figure(SNAPSHOTS["survey"], tmp_path / "a.svg").read_bytes()
    with matplotlib.rc_context({"font.size": 30, "text.color": "red", "lines.linewidth": 9, "svg.fonttype": "none"}):
        assert write_figure(SNAPSHOTS["survey"], tmp_path / "b.svg").read_bytes() == plain


@pytest.mark.parametrize("room", [0.3, 0.6, 1.0, 3.0])
def test_wrapped_lines_fit_and_lose_nothing(room: float) -> None:
    for text in ("Adaptive Segment-level Reward", "Turn-Level Reward Design", "W" * 40, "a-b-c-d-e-f-g-h", ""):
        lines = wrapped(text, room)
        assert all(width(line) <= room or len(line) == 1 for line in lines)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert wrapped("Turn-PPO and more", 0.7)[0] == "Turn-PPO"
