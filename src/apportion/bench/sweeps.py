"""Sweeps, as data: one knob of a family moves, everything else stays as it is.

A point is what the knob is set to and the id of the task that has it so. The report draws a sweep of which a run holds
at least two points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Sweep:
    """One knob: ``points`` are (value, task id) in order; ``separates`` says which methods the knob tells apart."""

    knob: str
    title: str
    separates: str
    points: tuple[tuple[float | str, str], ...]


SWEEPS: Mapping[str, Sweep] = {
    s.knob: s
    for s in (
        Sweep(
            "horizon", "turns in a rollout", "credit spread evenly from credit that finds the forks",
            tuple((float(T), f"bifurcation/horizon-{T}") for T in (10, 20, 30, 100, 300, 500)),
        ),
        Sweep(
            "memory-gap", "turns between a note and its use", "credit that decays from credit that does not",
            ((5.0, "agentic/memory-gap-5"), (25.0, "agentic/memory-gap-25")),
        ),
        Sweep(
            "interaction", "how forks combine", "leaving one out, Shapley values and advantages",
            tuple((kind, f"interaction/{kind}") for kind in ("additive", "and", "or", "xor", "order")),
        ),
    )
}  # fmt: skip
