"""Text that others wrote, made harmless in what is printed: HTML, LaTeX, Markdown and tables that spreadsheets open."""

from __future__ import annotations

import re

#: A spreadsheet takes a cell that begins with one of these for a formula; some take the wide forms too.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")


def plain(text: str) -> str:
    """Without control characters, those that turn the direction of writing, and blanks of no width."""
    return _CONTROL.sub("", text)


def html(text: str) -> str:
    """For an element's text or a quoted attribute."""
    from markupsafe import escape

    return str(escape(plain(text)))


def latex(text: str) -> str:
    """For running text: no character of it is a command; a line break is a space."""
    return "".join(_LATEX.get(c, c) for c in " ".join(plain(text).split()))


def bibtex(text: str) -> str:
    """For a BibTeX field between braces: BibTeX counts braces whatever stands before them, so none is left unpaired."""
    paired = {"{": r"\textbraceleft{}", "}": r"\textbraceright{}"}
    return "".join(paired.get(c) or _LATEX.get(c, c) for c in " ".join(plain(text).split()))


def markdown(text: str) -> str:
    """For a cell of a Markdown table: one line, no cell borders, no markup, no formulas, no HTML, no links that are not shown."""
    line = " ".join(plain(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", line)


def cell(text: str) -> str:
    """For a cell of a CSV file: what a spreadsheet would run as a formula begins with an apostrophe."""
    text = plain(text)
    return f"'{text}" if text.lstrip(" \u00a0").startswith(_FORMULA) else text
