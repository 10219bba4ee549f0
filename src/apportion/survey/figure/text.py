"""Text of known size: how wide it is, and where its lines break."""

from __future__ import annotations

import re
from functools import lru_cache

SIZE = 8.0  # points
HEADING = 7.5
SMALL = 7.0
LINE = 0.142  # inches from one line of a text to the next, at 8 points


@lru_cache(maxsize=4096)
def width(text: str, size: float = SIZE, bold: bool = False) -> float:
    """Inches that the text takes in the font that comes with matplotlib; nothing in it is taken for a formula."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    prop = FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")
    # A little more than the outlines take: letters that are drawn in dots stand at whole dots.
    return 1.03 * float(text_to_path.get_text_width_height_descent(text, prop, ismath=False)[0]) / 72.0


def wrapped(text: str, room: float, size: float = SIZE, bold: bool = False) -> list[str]:
    """Lines no wider than ``room`` inches: broken at spaces, and inside a word only where no line holds it."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if width(longer, size, bold) <= room:
            lines[-1] = longer
            continue
        pieces = _cut(word, room, size, bold)
        lines = [*lines, *pieces] if lines[-1] else pieces
    return lines


def fits(text: str, room: float, size: float = SIZE) -> bool:
    """Whether every word of the text fits in ``room`` inches as it is."""
    return all(width(word, size) <= room for word in text.split())


def _cut(word: str, room: float, size: float, bold: bool) -> list[str]:
    """A word in pieces that fit: whole, else after its hyphens, else anywhere."""
    parts = [""]
    for piece in [word] if width(word, size, bold) <= room else re.findall(r"[^-]+-*|-+", word):
        if width(parts[-1] + piece, size, bold) <= room:
            parts[-1] += piece
            continue
        parts.append("")
        for letter in piece:
            if parts[-1] and width(parts[-1] + letter, size, bold) > room:
                parts.append("")
            parts[-1] += letter
    return [part for part in parts if part]
