"""``docs/methods.md``: every method in one table a setting, made from what the methods declare and the inventory says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..edges.escape import markdown

_TITLES = {
    "reasoning": "Reasoning: steps of one answer",
    "agentic": "Agentic: turns in an environment",
    "multi-agent": "Several agents",
    "alignment": "Alignment: one answer and a preference",
    "classical": "Classical reinforcement learning",
    "": "Others",
}

_HEAD = """# Methods

Made by `apportion methods --markdown` from what each method declares and what the inventory says of its
paper; `make docs` writes it, and a test compares. `apportion explain ID` has formula, options and an example.

- **credits** is the unit that gets a value; **gives** is what the value is to a trainer: an advantage, a
  reward or a weight, with the ratio and denominator its loss is meant for where they are not per token and
  per trajectory.
- **needs** are columns of the batch, then *evidence* with where it can come from besides being given: asked
  of a live source, or learned with `fit=True`.
- **extra cost** is per trajectory in T tokens, N units, K samples, G rollouts a group.
- **status**: *verified* in the paper or its official code, *secondary* from summaries, *reconstructed* where
  no formula could be read, *ours*.
"""


def page(rows: Iterable[Mapping[str, Any]]) -> str:
    """The page, from the rows of ``apportion methods --json``."""
    found = list(rows)
    parts = [_HEAD]
    for setting, title in _TITLES.items():
        here = [row for row in found if (row["setting"] or [""])[0] == setting]
        if here:
            parts.append(f"## {title}\n\n" + _table(here))
    made = [row["id"] for row in found if row["status"] == "reconstructed"]
    if made:
        said = "No formula of these could be read; each docstring says what is ours: "
        parts.append(f"## Reconstructed\n\n{said}{', '.join(made)}.\n")
    return "\n".join(parts)


def _table(rows: list[Mapping[str, Any]]) -> str:
    lines = ["| method | credits | gives | needs | extra cost | status | unbiased | paper |", "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        cells = [
            f"[`{row['id']}`](../src/apportion/methods/{row['file']})", row["unit"], _gives(row["gives"]), _needs(row),
            "nothing" if row["cost"] == "0" else markdown(row["cost"]), row["status"], markdown(row["unbiased"]), _paper(row),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _gives(gives: Mapping[str, str]) -> str:
    usual = {"ratio": "token", "denominator": "trajectory"}
    more = [f"{name} {gives[name]}" for name, plain in usual.items() if gives.get(name, plain) != plain]
    return ", ".join([gives["kind"], *more])


def _needs(row: Mapping[str, Any]) -> str:
    words = [f"`{name}`" for name in row["reads"]]
    ways = [*([f"{row['source']}="] if row["source"] else []), *(["fit"] if row["can_fit"] else [])]
    evidence = [f"*{name}*" for name in row["evidence"]]
    asked = f" ({', '.join(ways)})" if ways else ""
    return ", ".join([*words, *evidence]) + asked


def _paper(row: Mapping[str, Any]) -> str:
    if row["arxiv"]:
        return f"[{row['arxiv']}](https://arxiv.org/abs/{row['arxiv']})"
    return markdown(row["paper"] or "")
