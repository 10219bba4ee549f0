"""The tables of docs/tasks.md: what each family is for, and each knob.

``python -m apportion.bench.task_page docs/tasks.md`` rewrites them.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from .sweeps import SWEEPS, said
from .tasks import variants

#: What a family is for.
FAMILIES: dict[str, str] = {
    "bifurcation": "an agent's turns: long routine stretches, a few that decide, luck; the place every knob starts from",
    "reasoning": "steps of one answer, which follow from the text: a slip, a lost thread, a plan, a mistake mended later",
    "team": "agents who take turns and are paid together: who of them earned it?",
    "agentic": "places that are come back to, traps that can be repeated, notes, errands of typed turns",
    "interaction": "the same forks, of which all, one, or an odd number is needed: where estimands part",
    "classical": "small worlds known from the literature, so that numbers can be compared with it",
    "witness": "pairs of worlds that no log tells apart, with opposite credit: the right answer is silence",
    "tiny": "small enough for a network's policy to be enumerated",
}

START, END = "<!-- tables: python -m apportion.bench.task_page docs/tasks.md -->", "<!-- end of tables -->"


def markdown() -> str:
    """Both tables, between the marks that the page has."""
    count = Counter(id_.split("/")[0] for id_ in variants())
    families = [f"| `{name}` | {n} | {FAMILIES[name]} |" for name, n in count.items()]
    knobs = [
        f"| `{s.knob}` | {s.title} | {', '.join(said(v) for v, _ in s.points)} | {s.separates} | `{s.points[0][1]}` |"
        for s in SWEEPS.values()
    ]
    return "\n".join(
        [
            START, "", "| family | tasks | what it is for |", "|---|---:|---|", *families, "",
            "| knob | what moves | points | tells apart | first task |", "|---|---|---|---|---|", *knobs, "", END,
        ]
    )  # fmt: skip


def rewritten(page: str) -> str:
    """The page with its tables as they are now."""
    before, rest = page.split(START)
    return before + markdown() + rest.split(END)[1]


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(rewritten(file.read_text("utf-8")), "utf-8")
