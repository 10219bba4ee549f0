"""``apportion bench worlds``: methods in real text worlds, against an estimate of the truth."""

from __future__ import annotations

import json as _json
import math
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import AsJson, listed

if TYPE_CHECKING:
    from ..bench.worlds.measure import Line, Setting
    from ..bench.worlds.truth import Number


def worlds(
    family: Annotated[str, typer.Option(help="textworld (Inform games, turns) or gym (sums, steps).")] = "textworld",
    methods: Annotated[str | None, typer.Option(help="'all', or ids separated by commas; default: a handful.")] = None,
    rollouts: Annotated[int, typer.Option(help="How many, 8 of each game or problem.")] = 32,
    continuations: Annotated[int, typer.Option(help="From every prefix, for the estimate of the truth; even.")] = 64,
    seed: Annotated[int, typer.Option(help="Of games, rollouts and continuations.", min=0)] = 0,
    record: Annotated[bool, typer.Option("--record", help="Print the records of the games or problems; no method runs.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of such a record.")] = False,
    as_json: AsJson = False,
) -> None:
    """Credit in real text worlds, against a Monte-Carlo estimate of every advantage (needs the extra worlds)."""
    if schema:
        from ..bench.worlds.record import schema as of_record

        typer.echo(_json.dumps(of_record(), indent=1))
        return
    from rich.console import Console

    from ..bench.worlds.measure import run

    console = Console(stderr=True)
    named = listed(methods) if methods else None
    with console.status("worlds") as status:

        def say(text: str) -> None:
            status.update(text)
            if not console.is_terminal:
                console.print(text, highlight=False)

        at, coming = run(family, named, rollouts, continuations, seed, say)
        lines = [] if record else list(coming)
    if record:
        typer.echo(_json.dumps(_records(at, seed), indent=1))
    elif as_json:
        typer.echo(_json.dumps(_data(at, lines, seed), indent=1))
    else:
        typer.echo(_text(at, lines, seed))
    if named != ["all"] and any(line.refused for line in lines):  # who was named was expected to enter
        raise typer.Exit(1)


def _text(at: Setting, lines: list[Line], seed: int) -> str:
    from ..bench.worlds.measure import own_precision

    found, unit, own = at.found, at.found.level, own_precision(at)
    won = sum(walk.reward > 0 for walk in at.walks)
    width = found.high - found.low
    known = int(((found.low > 0) | (found.high < 0)).sum())
    marks = "on the planner's quest" if at.world.favours > 0 else "found wrong by the checker"
    shown = [
        f"{at.world.family}, seed {seed}: {len(at.walks)} rollouts in {found.batch.count('group')} groups, {won} rewarded; "
        f"{width.size} {unit}s,",
        f"{int(at.marked.sum())} of them {marks}",
        f"truth: estimated from {found.k} continuations a prefix ({_spent(at)}), not exact;",
        f"95 % interval of an advantage {width.mean():.2f} wide on average; sign known of {known}",
        "",
        f"{'method':<19}{'correlation':<18}{'sign':<18}{'AP':<16}{'steps' if at.world.replays else 'tokens':>8}",
    ]
    for line in lines:
        if line.agreement is None:
            shown.append(f"{line.method[:18]:<19}refused, see below")
            continue
        said, cost = line.agreement, line.env_steps if at.world.replays else line.generated
        three = f"{_number(said.correlation):<18}{_number(said.sign):<18}{_number(said.precision):<16}"
        shown.append(f"{line.method[:18]:<19}{three}{cost:>8,.0f}")
    who = "the planner's commands" if at.world.favours > 0 else "the checker's wrong steps"
    shown += ["", f"AP at {who}: chance {_short(at.marked.mean())}, the estimate itself {_number(own)}",
              "intervals: 95 %, over rollouts, within each game or problem"]  # fmt: skip
    shown += [f"{line.method}: in its loss are {line.agreement.coverage:.0%} of the {unit}s"
              for line in lines if line.agreement is not None and line.agreement.coverage < 1]  # fmt: skip
    for line in lines:
        if line.refused:
            shown += wrap(f"{line.method} refused: {line.refused}", 80, subsequent_indent="  ")
    return "\n".join(shown)


def _spent(at: Setting) -> str:
    bill = at.found.bill
    return f"{bill.env_steps:,.0f} env steps" if at.world.replays else f"{bill.generated:,.0f} tokens"


def _number(number: Number) -> str:
    if math.isnan(number.value):
        return "-"
    return f"{_short(number.value)} [{_short(number.low)}, {_short(number.high)}]"


def _short(value: float) -> str:
    """Two decimals, without the zero before the point."""
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def _records(at: Setting, seed: int) -> list[dict[str, Any]]:
    from ..bench.worlds.record import records

    return [one.model_dump(mode="json") for one in records(at, seed)]


def _data(at: Setting, lines: list[Line], seed: int) -> dict[str, Any]:
    from ..bench.metadata import PROTOCOL
    from ..bench.worlds.measure import own_precision

    found = at.found

    def plain(number: Number) -> dict[str, float | None]:
        return {name: value if math.isfinite(value) else None for name, value in number._asdict().items()}

    return {
        "protocol": PROTOCOL, "family": at.world.family, "seed": seed,
        "rollouts": len(at.walks), "prompts": list(at.world.prompts),
        "rewarded": sum(walk.reward > 0 for walk in at.walks), "unit": found.level, "units": int(found.value.size),
        "marked": int(at.marked.sum()),
        "truth": {
            "kind": "estimate", "continuations": found.k, "env_steps": found.bill.env_steps,
            "generated": found.bill.generated, "mean_interval": float((found.high - found.low).mean()),
            "average_precision": plain(own_precision(at)),
        },
        "records": _records(at, seed),
        "methods": [
            {"method": line.method, "refused": line.refused} if line.agreement is None else {
                "method": line.method, "correlation": plain(line.agreement.correlation), "sign": plain(line.agreement.sign),
                "average_precision": plain(line.agreement.precision),
                "chance_precision": line.agreement.chance, "coverage": line.agreement.coverage,
                "units": line.agreement.units, "signs_known": line.agreement.known,
                "env_steps": line.env_steps, "generated": line.generated,
            } for line in lines
        ],
    }  # fmt: skip
