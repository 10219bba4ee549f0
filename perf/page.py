"""The numbers as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from . import methods, peers
from .clock import Spread


def spread(s: Spread, digits: int = 1) -> str:
    """median (least-greatest)"""
    return f"{s.median:.{digits}f} ({s.low:.{digits}f}-{s.high:.{digits}f})"


def mark(kept: bool | None) -> str:
    return {None: "", True: "[green]kept[/]", False: "[red]broken[/]"}[kept]


def show(found: Mapping[str, Any], console: Console | None = None) -> None:
    """Whatever parts were measured, each with how it was measured."""
    console = console or Console(soft_wrap=False, width=None)
    m = found["machine"]
    console.print(f"{m['cores']} cores, load {m['load']}, Python {m['python']}, numpy {m['numpy']}. Compilation is not counted.")
    if "ratios" in found:
        console.print(ratios(found["ratios"]))
        worst = ", ".join(f"{name} {value:.1g}" for name, value in found["apart"].items())
        console.print(f"Whitened advantages and returns agree on all policy tokens; largest difference: {worst} (float32).\n")
    if "methods" in found:
        console.print(scaling(found["methods"]))
        console.print(
            f"Promised: at most {methods.SECONDS:g} s, slope {methods.SLOPE:g}, {methods.MEMORY:g} batches. "
            "long: 8 trajectories of 100 turns. Memory: traced peak of a call, result included, over the bytes of the "
            "batch's arrays (ids, log-probs, values, keys …); scratch arrays inside compiled code are not traced.\n"
        )
    if "simulation" in found:
        s = found["simulation"]
        console.print(
            f"{s.task}: {spread(s.sampled, 0)} trajectories a second sampled, {spread(s.packed, 0)} sampled and made a batch "
            f"({s.trajectories} at a time)."
        )
        console.print(shares(found["shares"]))


def ratios(rows: Sequence[peers.Ratio]) -> Table:
    table = Table(
        title=f"GAE, 128 x 8,192 tokens, 30 % observations, whitened; gamma {peers.GAMMA:g}, lambda {peers.LAM:g}",
        caption="Milliseconds; median (least-greatest) of rounds in turns. packed: a batch in hand. "
        "tensors: (B, T) torch in and out. torchrl: its compaction of observation tokens is counted. "
        "threads: torch's; ours uses one.",
    )
    for name in ("against", "on", "threads", "theirs", "ours", "times faster", "promised"):
        table.add_column(name, justify="left" if name in ("against", "on") else "right", no_wrap=True)
    for r in rows:
        promise = "" if r.promised is None else f"{r.promised:g} {mark(r.kept)}"
        table.add_row(
            r.peer,
            r.ours,
            str(r.threads),
            f"{r.peer_ms.median:.1f}",
            f"{r.ours_ms.median:.1f}",
            spread(r.ratio, 0 if r.ratio.median >= 10 else 1),
            promise,
        )
    return table


def scaling(rows: Sequence[methods.Scaling]) -> Table:
    table = Table(title=f"Every method on {rows[0].tokens:,} tokens, evidence in hand")
    for name in ("method", "ms", "long, ms", "slope", "memory", ""):
        table.add_column(name, justify="left" if name in ("method", "") else "right")
    for r in rows:
        ms = [spread(Spread(s.median * 1e3, s.low * 1e3, s.high * 1e3)) for s in (r.seconds, r.long)]
        table.add_row(r.method, *ms, f"{r.slope:.2f}", f"{r.memory:.1f}", mark(r.kept))
    return table


def shares(rows: Sequence[Any]) -> Table:
    table = Table(title="One benchmark cell: time spent outside collect, fit and method")
    for name in ("measure", "method", "cell, ms", "outside, %"):
        table.add_column(name, justify="left" if name in ("measure", "method") else "right")
    for r in rows:
        table.add_row(r.measure, r.method, f"{r.seconds * 1e3:.0f}", f"{r.outside * 100:.0f}")
    return table
