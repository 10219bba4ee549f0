"""What the report's pages are made of: its templates, scripts, style and vendored libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from ..pages.embed import packaged, page

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


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


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    loader = FunctionLoader(lambda name: asset(f"templates/{name}"))
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=loader)


def fragment(template: str, **values: Any) -> Markup:
    """A part of a page from one of our templates; ``values`` are escaped in it, and it is not escaped again."""
    from markupsafe import Markup

    return Markup(_environment().get_template(template).render(**values))
