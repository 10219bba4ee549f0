"""A filled form as a table for an appendix: Markdown, LaTeX or HTML. Everything that a form says is escaped.

LaTeX needs the packages ``booktabs`` and ``longtable``. HTML is one ``<table>`` in plain ASCII, so that it
reads the same in a page of any encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ..edges import escape
from .form import Answer, Form
from .items import Item, extension, items
from .score import Score, score

_COLUMNS = ("#", "Item", "Answer", "What is reported", "Where")
_OURS = "Extension (apportion's, not the survey's)"


class Row(NamedTuple):
    """An item's line of the table, as plain text."""

    number: str
    title: str
    answer: str
    value: str
    where: str


class Part(NamedTuple):
    """A heading of the table and the lines below it."""

    title: str
    rows: tuple[Row, ...]


def render(form: Form, format: str) -> str:
    """The table.

    format: ``md``, ``latex`` or ``html``.

    Raises:
        KeyError: an unknown format.
    """
    caption = f"Reporting checklist: {form.title or 'untitled'}" + (f" ({form.method})" if form.method else "")
    return FORMATS[format](caption, parts(form), _sums(form))


def parts(form: Form) -> tuple[Part, ...]:
    """The table's lines by group, in the order of the items; the extension last, where the form has it."""
    groups: dict[str, list[Row]] = {}
    for id_, item in items().items():
        groups.setdefault(item.group.capitalize(), []).append(_row(item, form.answer(id_)))
    if form.extension is not None:
        groups[_OURS] = [_row(item, form.answer(id_)) for id_, item in extension().items()]
    return tuple(Part(title, tuple(rows)) for title, rows in groups.items())


def _row(item: Item, answer: Answer) -> Row:
    number = f"E{item.number}" if item.priority == "extension" else str(item.number)
    title = item.title + (" (recommended)" if item.priority == "recommended" else "")
    said = ". ".join([*([shown(answer.value)] if answer.value is not None else []), *([answer.why] if answer.why else [])])
    return Row(number, title, answer.answer.replace("_", " "), said, "; ".join(answer.where))


def shown(value: Any) -> str:
    """A value in words: parts by name, separated by semicolons."""
    if isinstance(value, Mapping):
        return "; ".join(
            f"{k.replace('_', ' ')}: {f'({shown(v)})' if isinstance(v, Mapping) else shown(v)}" for k, v in value.items()
        )
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _sums(form: Form) -> str:
    found: Score = score({**_words(form.items), **_words(form.extension or {})}, form.extension is not None)
    ours = f" {_OURS}: {found.extension}." if found.extension else ""
    return f"Required items: {found.required}. Recommended items: {found.recommended}.{ours}"


def _words(answers: Mapping[str, Answer]) -> dict[str, str]:
    return {id_: answer.answer for id_, answer in answers.items()}


def _markdown(caption: str, parts: Iterable[Part], sums: str) -> str:
    e = escape.markdown
    lines = [f"**{e(caption)}**", "", "| " + " | ".join(map(e, _COLUMNS)) + " |", "|--:|---|---|---|---|"]
    for part in parts:
        lines.append(f"| | **{e(part.title)}** | | | |")
        lines += ["| " + " | ".join(map(e, row)) + " |" for row in part.rows]
    return "\n".join([*lines, "", e(sums)]) + "\n"


def _latex(caption: str, parts: Iterable[Part], sums: str) -> str:
    e = escape.latex
    head = r"\toprule " + " & ".join(map(e, _COLUMNS)) + r" \\ \midrule"
    lines = [
        "% needs: \\usepackage{booktabs,longtable}",
        r"\begin{longtable}{@{}r p{.20\linewidth} p{.13\linewidth} p{.35\linewidth} p{.18\linewidth}@{}}",
        rf"\caption{{{e(caption)}. {e(sums)}}} \\",
        head + r" \endfirsthead",
        head + r" \endhead",
        r"\bottomrule \endfoot",
    ]
    for part in parts:
        lines.append(rf"\multicolumn{{{len(_COLUMNS)}}}{{@{{}}l}}{{\emph{{{e(part.title)}}}}} \\*")
        lines += [" & ".join(map(_braced, row)) + r" \\" for row in part.rows]
    return "\n".join([*lines, r"\end{longtable}"]) + "\n"


def _braced(text: str) -> str:
    """A cell; what begins with a bracket would be taken for an option of the line break before it."""
    found = escape.latex(text)
    return f"{{{found}}}" if found.startswith(("[", "*")) else found


def _html(caption: str, parts: Iterable[Part], sums: str) -> str:
    e = escape.html
    head = "".join(f'<th scope="col">{e(name)}</th>' for name in _COLUMNS)
    lines = ['<table class="checklist">', f"<caption>{e(caption)}. {e(sums)}</caption>", f"<thead><tr>{head}</tr></thead>"]
    for part in parts:
        lines += ["<tbody>", f'<tr><th colspan="{len(_COLUMNS)}" scope="rowgroup">{e(part.title)}</th></tr>']
        for row in part.rows:
            number, title, *rest = map(e, row)
            cells = "".join(f"<td>{cell}</td>" for cell in rest)
            lines.append(f'<tr><td>{number}</td><th scope="row">{title}</th>{cells}</tr>')
        lines.append("</tbody>")
    return "\n".join([*lines, "</table>"]).encode("ascii", "xmlcharrefreplace").decode() + "\n"


FORMATS: Mapping[str, Callable[[str, Iterable[Part], str], str]] = {"md": _markdown, "latex": _latex, "html": _html}
