"""``apportion inventory figure`` and ``site build``: the inventory as a picture and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .common import takes
from .inventory import FILTERS, app, filtered


def _snapshots(incomplete: str) -> list[str]:
    from ..survey.query import FILTERS as KNOWN

    return [word for word in ("all", *KNOWN["snapshot"]) if word.startswith(incomplete)]


#: The figure shows the survey's records unless others are asked for.
FIGURE_FILTERS = {
    **FILTERS,
    "snapshot": Annotated[
        list[str] | None,
        typer.Option(
            "--snapshot",
            metavar="WORD",
            help="Default: survey (the 47); 'all', 2026.05, 2026.07, baseline ...",
            autocompletion=_snapshots,
        ),
    ],
}

KIND = "grid: granularity by methodology, marks by setting. tree: setting, granularity, methodology, names."


def _kinds(incomplete: str) -> list[str]:
    return [kind for kind in ("grid", "tree") if kind.startswith(incomplete)]


site = typer.Typer(no_args_is_help=True, help="The inventory as one static page.")
app.add_typer(site, name="site")


@site.callback()
def _site() -> None:
    """The inventory as one static page."""


@app.command()
@takes("filters", FIGURE_FILTERS)
def figure(
    filters: dict[str, Any],
    out: Annotated[Path, typer.Option("-o", "--out", help="The picture, an .svg or .png file 7 inches wide.")] = Path(
        "taxonomy.svg"
    ),
    kind: Annotated[str, typer.Option("--kind", metavar="grid|tree", help=KIND, autocompletion=_kinds)] = "grid",
) -> None:
    """Draw the taxonomy of the survey's records, or of those that pass the filters."""
    from ..survey import papers
    from ..survey.figure import write_figure

    snapshots = filters.pop("snapshot", ["survey"])
    chosen = papers(**filters) if "all" in snapshots else papers(snapshot=snapshots, **filters)
    write_figure(chosen, out, kind=kind, labels=filters.get("labels", "best"))  # type: ignore[arg-type]
    typer.echo(f"wrote {out}: {len(chosen)} {'record' if len(chosen) == 1 else 'records'}")


@site.command()
@filtered
def build(
    filters: dict[str, Any],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder; its page is index.html.")] = Path("inventory-site"),
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Write one page that searches, sorts, filters and opens records, offline, in any browser."""
    from ..survey import papers
    from ..survey.site import write_site

    chosen = papers(**filters)
    page = write_site(chosen, out)
    typer.echo(f"wrote {page}: {len(chosen)} {'record' if len(chosen) == 1 else 'records'}")
    if open_:
        typer.launch(page.resolve().as_uri())
