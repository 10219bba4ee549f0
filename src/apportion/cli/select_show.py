"""What ``apportion select`` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

#: Candidates of the measured selector that are shown without --all.
SHOWN = 10


def show(found: Mapping[str, Any], every: bool = False) -> None:
    """Each tree with its trace, where they disagree, what was measured, what to type."""
    from .bench_tasks import stdout

    console = stdout()
    for tree in found["trees"]:
        _tree(console, tree)
    if found["disagreements"]:
        _heading(console, "Where they disagree")
        for one in found["disagreements"]:
            places = "; ".join(f"the {p['tree']} has it for {p['when']}" for p in one["elsewhere"])
            say(console, f"{one['method']}: named here by the {' and the '.join(one['named_by'])}; {places}")
    _measured(console, found["measured"], every)
    if found["next"]:
        _heading(console, "Next")
        for name, what in (("code", "python"), ("verl", "verl"), ("trl", "TRL"), ("explain", "shell")):
            _line(console, what, found["next"][name])


def _line(console: Console, what: str, line: str | Mapping[str, str | None]) -> None:
    """A command in one piece, to be copied; what is to be said of it stands below, or in its place where there is none."""
    command, note = (line, None) if isinstance(line, str) else (line["command"], line["note"])
    if command is None:
        say(console, f"{what:7}no: {note}")
        return
    console.print(f"  {what:7}{command}", markup=False, highlight=False, soft_wrap=True)
    if note is not None:
        below = textwrap.wrap(note, console.width - 11, break_on_hyphens=False)
        console.print("\n".join(f"         # {part}" for part in below), markup=False, highlight=False, soft_wrap=True)


def _tree(console: Console, tree: Mapping[str, Any]) -> None:
    _heading(console, f"{tree['title']} ({tree['source']}; {tree['version']})")
    for step in tree["trace"]:
        say(console, f"{step['question']}  {step['said']}  [{step['source']}]")
    for one in tree["open"]:
        say(console, f"not answered: {one['question']}  {'; '.join(one['answer'])}")
    for one in tree["gaps"]:
        say(console, f"nothing in it fits these answers: {one['question']}")
    for leaf in tree["leaves"]:
        say(console, f"leaf: {leaf['title']}" + (f"  ({leaf['note']})" if leaf["note"] else ""))
    if not tree["candidates"]:
        return
    table = plain_table("candidate", "runs for you", "needs", "cost of a rollout's credit")
    for c in tree["candidates"]:
        free = "yes" if c["runs"] else "no: " + "; ".join(c["why_not"])
        table.add_row(c["method"], free, ", ".join(c.get("needs", [])) or "-", _bill(c))
    console.print(table)


def _bill(c: Mapping[str, Any]) -> str:
    made = c.get("cost")
    if made is None:
        return str(c.get("declared_cost", "-"))
    counts = ", ".join(f"{_count(n)} {kind.replace('_', ' ')}" for kind, n in made["per_rollout"].items()) or "nothing beyond it"
    return f"{counts}; {_count(made['times'])} x a rollout"


def _count(n: float) -> str:
    return f"{n:,.0f}" if n >= 100 else f"{n:.3g}"


def _measured(console: Console, found: Mapping[str, Any], every: bool) -> None:
    _heading(console, "Measured: what you can provide, in the order of what it was worth nearest to you")
    rows = found["candidates"] if every else found["candidates"][:SHOWN]
    if rows:
        table = plain_table("entrant", "worth", "95 %", "by", "needs", "cost of a rollout's credit", numbers=("worth", "95 %"))
        for r in rows:
            worth = r["worth"]
            mark = "=" if r["tied_with_first"] else " "
            span = f"{_factor(worth['low'])} - {_factor(worth['high'])}"
            stand = " *" if r["stands_in"] else ""
            table.add_row(
                r["entrant"] + stand,
                f"{_factor(worth['value'])} {mark}",
                span,
                ", ".join(r["by"]),
                ", ".join(r["needs"]) or "-",
                _bill(r),
            )
        console.print(table)
        say(console, "worth: RLOO's cost to 80 % of the attainable return over the method's; = not told apart from the first")
        short = found["drawn_on"]
        if short["never"]:
            where = f"training never got there in {short['never']} of the {short['trained']} pairs of entrant and task here"
            say(console, f"{where}: cost is drawn on in a straight line there, from the share of the way come")
        if any(r["stands_in"] for r in rows):
            say(console, "*: a simulated judge of 80 % accuracy stands for yours")
        if len(rows) < len(found["candidates"]):
            say(console, f"{len(found['candidates']) - len(rows)} more with --all")
    else:
        say(console, "nothing that was measured runs on what you have")
    _distance(console, found)
    _fell_out(console, found["out"], every)


def _distance(console: Console, found: Mapping[str, Any]) -> None:
    if not found["near"]:
        return
    near = found["near"][0]
    terms = ", ".join(f"{name} {value:g}" for name, value in near["terms"].items()) or "nothing you said differs"
    where = "outside of what was measured" if found["outside"] else "near what was measured"
    say(console, f"your setting is {where}: distance {near['distance']:g} from {near['task']} ({terms}); above 1 is outside")
    if found["not_said"]:
        say(console, f"not said, so not counted in the distance: {', '.join(found['not_said'])}")


def _fell_out(console: Console, out: Sequence[Mapping[str, Any]], every: bool) -> None:
    by_reason: dict[str, list[str]] = {}
    for one in out:
        for why in one["why"] if every else one["why"][:1]:
            by_reason.setdefault(_kind(why), []).append(one["entrant"])
    for why, names in by_reason.items():
        say(console, f"out, {why}: {', '.join(names)}")


def _kind(why: str) -> str:
    """Reasons that differ in a number only are one."""
    return "costs more than" + why.split(";", 1)[1].replace(" is up to", ", up to") if why.startswith("costs ") else why


def _factor(x: float | None) -> str:
    return "-" if x is None else f"{x:.3g}" if x < 1000 else f"{x:,.0f}"


def plain_table(*names: str, numbers: Sequence[str] = ()) -> Any:
    """A table whose cells fold; ``numbers``: columns that stand to the right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    return table


def _heading(console: Console, text: str) -> None:
    console.print(f"\n{text}", style="bold", markup=False, highlight=False)


def say(console: Console, text: str) -> None:
    """A sentence, wrapped under itself."""
    lines = textwrap.wrap(text, console.width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
