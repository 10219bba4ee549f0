"""Which methods a place can feed, what that takes and why not the others: the table of a plug-in's page.

``python -m apportion.integrations.method_table openenv OPENENV docs/openenv.md`` rewrites the table of a page.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from ..errors import OptionError
from ..feeds import feed
from ..registry import Method, methods
from . import honours
from .thin import Place, honoured, ways_to_feed


def methods_table(place: Place) -> str:
    """Markdown: which methods the place can feed, what that takes, and why not the others."""
    lines = [f"| method | credits each | in {place.name} | what it takes |", "|---|---|---|---|"]
    for spec in methods().values():
        fed, how = _how(place, spec)
        lines.append(f"| `{spec.id}` | {spec.unit} | {fed} | {how} |")
    return "\n".join(lines)


def page(place: Place, text: str) -> str:
    """``text`` with the table of methods between ``<!-- methods -->`` and ``<!-- end of methods -->``."""
    start, end = "<!-- methods -->\n", "<!-- end of methods -->"
    before, rest = text.split(start)
    return f"{before}{start}{methods_table(place)}\n{end}{rest.split(end)[1]}"


def rewrite(place: Place, path: str) -> None:
    """Put the table of methods into the page at ``path``."""
    file = pathlib.Path(path)
    file.write_text(page(place, file.read_text(encoding="utf-8")), encoding="utf-8")


def _how(place: Place, spec: Method) -> tuple[str, str]:
    lacks = feed(spec.id, place.columns, {})
    if lacks.columns:
        return "no", f"no {' and no '.join(f'`{n}`' for n in lacks.columns)}"
    if why := _refused(lambda: honoured(place, honours.smallest(spec, {}))):
        return "no", why
    ways = [f"`{way}`" for way in ways_to_feed(lacks)] if "ids" in place.columns else []
    if lacks.evidence and not ways:
        return "no", f"no {' and no '.join(f'`{n}`' for n in lacks.evidence)}"
    needs = [place.ways[n] for n in place.ways if n in spec.reads or n in spec.evidence] + (
        [" or ".join(ways)] if lacks.evidence else []
    )
    if spec.grows and "ids" in place.columns:
        needs.append(f"nothing, without a {spec.source}; with one it grows rollouts: refused")
    if spec.scope == "batch" and place.sees != "batch":
        needs.append(f"its statistics are of one {place.sees}")
    return "yes", "; ".join(needs) or "nothing more"


def _refused(check: Callable[[], Any]) -> str:
    try:
        check()
    except OptionError as error:
        return str(error)
    return ""


def main(plug_in: str, name: str, path: str) -> None:
    """Rewrite the table of a page for the place ``name`` of a plug-in."""
    rewrite(getattr(import_module(f"{__package__}.{plug_in}"), name), path)


if __name__ == "__main__":
    main(*sys.argv[1:])
