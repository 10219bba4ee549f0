"""python -m perf.run [--json FILE] [--part peers --part methods --part world]: one page, exit 1 if a promise is broken."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from apportion.bench.suites import SUITES

from . import methods, page, peers, world

PARTS = ("peers", "methods", "world")
PEERS = ("torch", "verl", "torchrl")
TASK = "bifurcation/horizon-100"


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def measure(parts: list[str], tell: Any) -> dict[str, Any]:
    """The parts asked for, as dataclasses by name."""
    found: dict[str, Any] = {"machine": machine()}
    if "peers" in parts:
        missing = [name for name in PEERS if find_spec(name) is None]
        if missing:
            raise SystemExit(f"the peers are compared in an environment of their own ({', '.join(missing)} missing): make bench")
        tell("the peers")
        found["apart"], found["ratios"] = peers.peers(rows=128, width=8192, rounds=11)
    if "methods" in parts:
        found["methods"] = methods.scaling(range(14, 21), repeats=5, tell=tell)
    if "world" in parts:
        tell("the simulation")
        found["simulation"] = world.simulate(TASK, trajectories=4096, repeats=7)
        found["shares"] = world.shares(["rloo", "pooled_td", "gae", "vineppo"], TASK, SUITES["quick"].settings)
    return found


def broken(found: dict[str, Any]) -> list[str]:
    """One line per promise that was not kept."""
    lines = [
        f"{r.ours} against {r.peer} ({r.threads} threads): {r.ratio.median:.1f} x, promised {r.promised:g} x"
        for r in found.get("ratios", [])
        if r.kept is False
    ]
    return lines + [
        f"{m.method}: {max(m.seconds.median, m.long.median):.3f} s, slope {m.slope:.2f}, memory {m.memory:.1f} batches; "
        f"promised {methods.SECONDS:g} s, {methods.SLOPE:g}, {methods.MEMORY:g}"
        for m in found.get("methods", [])
        if not m.kept
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m perf.run", description=__doc__)
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the numbers there as well ('-': only them, to standard output)"
    )
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part (may be repeated)")
    given = parser.parse_args(arguments)
    found = measure(given.part or list(PARTS), lambda what: print(f"measuring {what} …", file=sys.stderr))
    lines = broken(found)
    if given.json:
        listed = {
            k: [asdict(x) for x in v] if isinstance(v, list) else v if isinstance(v, dict) else asdict(v)
            for k, v in found.items()
        }
        text = json.dumps({**listed, "broken": lines}, indent=2) + "\n"
        sys.stdout.write(text) if str(given.json) == "-" else given.json.write_text(text, encoding="utf-8")
    if str(given.json) != "-":
        page.show(found)
    for line in lines:
        print(f"promise not kept: {line}", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    raise SystemExit(main())
