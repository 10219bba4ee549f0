"""``apportion bench leaderboard``: contributed runs side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from .common import AsJson


def leaderboard_command(
    where: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE|FOLDER]...", help="Contributed files; default: results/.")
    ] = None,
    family: Annotated[str | None, typer.Option(help="Only this family of tasks.")] = None,
    method: Annotated[str | None, typer.Option(help="Only methods whose id contains this.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Rows of each table.")] = 20,
    oracles: Annotated[bool, typer.Option("--oracles", help="Also show what reads the truth; it is never ranked.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
    as_json: AsJson = False,
) -> None:
    """Rank methods from all contributed files, family by family, with intervals."""
    from ..bench import submission
    from ..errors import BenchError
    from ..report.leaderboard import boards, found_files

    files = {str(path): submission.read(path) for path in found_files(where or [Path("results")])}
    found = boards(files)
    known = list(dict.fromkeys(b["family"] for b in found["boards"]))
    if family is not None:
        if family not in known:
            raise BenchError(f"--family {family}: no file has it; there is {', '.join(known)}")
        found["boards"] = [b for b in found["boards"] if b["family"] == family]
    for board in found["boards"]:
        rows = [r for r in board["rows"] if (oracles or not r["oracle"]) and (method is None or method in r["method"])]
        board["rows"] = rows if as_json else rows[:top]
        board["left_out"] = len(rows) - len(board["rows"])
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    for board in found["boards"]:
        _markdown(board) if markdown else _table(board)
    for note in found["notes"]:
        typer.echo(note)


_HEADS = ("rank", "method", "IQM (95 %)", "beats RLOO", "runs", "from")


def _heading(board: dict[str, Any]) -> str:
    what = {"speed": "learning: RLOO's cost to the goal over its own", "alignment": "alignment with the exact gradient"}
    return f"{board['family']} ({', '.join(board['tasks'])}), by {what[board['score']]}"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    rank = "oracle" if row["oracle"] else "–" if row["rank"] is None else str(row["rank"])
    if row["rank"] is not None and row["rank_low"] != row["rank_high"]:
        rank += f" ({row['rank_low']}-{row['rank_high']})"
    part = "" if len(row["tasks"]) == row["of"] else f", {len(row['tasks'])} of {row['of']} tasks"
    better = row["poi"]["value"]
    return (
        rank, row["method"] + (" (own task)" if row["own"] else ""), _interval(row["iqm"]),
        "–" if better is None else f"{better:.0%}", f"{row['runs']}{part}",
        Path(row["files"][0]).name + (f" and {len(row['files']) - 1} more" if len(row["files"]) > 1 else ""),
    )  # fmt: skip


def _interval(found: dict[str, Any]) -> str:
    if found["low"] is None:
        return f"{found['value']:.3g} [one seed: no interval]"
    return f"{found['value']:.3g} [{found['low']:.3g}, {found['high']:.3g}]"


def _table(board: dict[str, Any]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from .bench_tasks import stdout

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(_HEADS):
        table.add_column(name, justify="left" if i in (1, 5) else "right", overflow="fold")
    for row in board["rows"]:
        table.add_row(*map(Text, _cells(row)))
    out = stdout()
    out.print(Text(_heading(board), style="bold"))
    out.print(Text(f"board {board['fingerprint']}: files measured alike: {', '.join(Path(f).name for f in board['files'])}"))
    out.print(table)
    if board["left_out"]:
        out.print(Text(f"{board['left_out']} more: --top, --method or --json"))


def _markdown(board: dict[str, Any]) -> None:
    from ..edges.escape import markdown as escaped

    typer.echo(f"## {escaped(_heading(board))}\n")
    typer.echo("| " + " | ".join(_HEADS) + " |\n|" + "---|" * len(_HEADS))
    for row in board["rows"]:
        typer.echo("| " + " | ".join(map(escaped, _cells(row))) + " |")
    typer.echo("")
