"""What the report's pages are made of: its templates, scripts, style and vendored libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from ..pages.embed import packaged, page


def asset(name: str) -> str:
    """A template, style, script or vendored library of this package, as text."""
    return packaged("apportion.report", name)


@cache
def vendored() -> str:
    """d3 and Observable Plot with the licences that their copies must carry."""
    parts = []
    for name, file in (("d3", "d3.min.js"), ("plot", "plot.umd.min.js")):
        licence = asset(f"vendor/LICENSE-{name}").strip().replace("*/", "* /")
        parts.append(f"/*!\n{licence}\n*/\n{asset(f'vendor/{file}').strip()}")
    return "\n".join(parts)


def report_page(template: str, scripts: Sequence[str], embedded: Mapping[str, Any], **values: Any) -> str:
    """One of our templates as a page (:func:`apportion.pages.embed.page`)."""
    return page(asset(f"templates/{template}"), scripts, asset("templates/style.css"), embedded, **values)
