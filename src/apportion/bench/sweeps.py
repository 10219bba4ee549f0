"""Sweeps, as data: one knob of a family moves, everything else stays as it is.

A point is what the knob is set to and the id of the task that has it so. The report draws a sweep of which a run holds
at least two points.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Sweep:
    """One knob: ``points`` are (value, task id) in order; ``separates`` says which methods the knob tells apart."""

    knob: str
    title: str
    separates: str
    points: tuple[tuple[float | str, str], ...]


def said(value: float | str) -> str:
    """A point's value as people write it."""
    return f"{value:,.10g}" if isinstance(value, float) else value


def _points(family: str, names: Iterable[tuple[float | str, str]]) -> tuple[tuple[float | str, str], ...]:
    return tuple((float(v) if isinstance(v, int) else v, f"{family}/{name}") for v, name in names)


#: What all bifurcation sweeps are moved from.
_BASE = "horizon-100"

SWEEPS: Mapping[str, Sweep] = {
    s.knob: s
    for s in (
        Sweep(
            "horizon", "turns in a rollout", "credit spread evenly from credit that finds the forks",
            _points("bifurcation", ((T, f"horizon-{T}") for T in (10, 20, 30, 100, 300, 500))),
        ),
        Sweep(
            "forks", "turns that decide", "methods that look for one decisive turn from those that share credit out",
            _points("bifurcation", ((n, f"forks-{n}") for n in (1, 2, 4, 8))),
        ),
        Sweep(
            "position", "where in the rollout the forks stand",
            "credit that leans to the end, or to the start, from credit that does not",
            _points(
                "bifurcation",
                [("even", _BASE), *((w, f"position-{w}") for w in ("early", "middle", "late", "random", "per-prompt"))],
            ),
        ),
        Sweep(
            "gap", "chance that the worst choice at a fork derails",
            "methods that still find small effects from those that drown",
            _points("bifurcation", ((0.05, "gap-0.05"), (0.2, "gap-0.2"), (0.3, "small-gap"), (0.4, "gap-0.4"), (0.8, _BASE))),
        ),
        Sweep(
            "drift", "chance that luck derails a rollout", "credit for what the dice did from credit for what was chosen",
            _points("bifurcation", ((0.0, "drift-0.0"), (0.1, _BASE), (0.3, "drift-0.3"), (0.5, "lucky"))),
        ),
        Sweep(
            "flip", "chance that the verifier errs", "methods that lean on each reward from those that pool many",
            _points("bifurcation", ((0.0, _BASE), (0.1, "flip-0.1"), (0.2, "flip-0.2"), (0.4, "flip-0.4"))),
        ),
        Sweep(
            "recover", "chance that a later fork repairs a mistake",
            "methods that credit a repaired mistake from those that charge it",
            _points("bifurcation", ((0.0, _BASE), (0.4, "recover-0.4"), (0.8, "recoverable"))),
        ),
        Sweep(
            "delay", "turns between the last fork and the reward",
            "credit that decays towards the start from credit that does not",
            _points("bifurcation", ((d, f"delay-{d}") for d in (0, 10, 50))),
        ),
        Sweep(
            "unseen", "turns after a fork before its effect is shown",
            "credit from values of what is seen from credit from the end alone",
            _points("bifurcation", ((0, _BASE), (10, "unseen-10"), (30, "unseen-30"), (50, "unseen-50"))),
        ),
        Sweep(
            "observability", "what is seen of the state", "values of states that are seen from values of what is hidden",
            _points("bifurcation", (("full", "recoverable"), *((w, w) for w in ("delayed", "aliased", "hidden")))),
        ),
        Sweep(
            "routine-entropy", "how open routine choices are",
            "methods whose noise grows with every token from those that skip routine",
            _points("bifurcation", ((0.5, "sure-routine"), (0.75, "routine-entropy-0.75"), (1.0, _BASE))),
        ),
        Sweep(
            "entropy-alignment", "whether the policy is unsure where it matters",
            "methods that take entropy for importance from all others",
            _points("bifurcation", (("aligned", "sure-routine"), ("neutral", _BASE), ("misaligned", "sure-forks"))),
        ),
        Sweep(
            "rooms", "looks of every situation", "methods that compare equal states from those that need none",
            _points("bifurcation", ((1, "rooms-1"), (2, _BASE), (4, "rooms-4"), (8, "rooms-8"), (16, "rare-states"))),
        ),
        Sweep(
            "tokens", "tokens an action is spelled in", "credit of tokens from credit of turns",
            _points("bifurcation", ((1, "tokens-1"), (2, "horizon-30"), (8, "tokens-8"), (64, "tokens-64"), (512, "tokens-512"))),
        ),
        Sweep(
            "policy-strength", "per cent of the attainable gain already won",
            "methods that need failures, or successes, from those that need neither",
            _points("bifurcation", ((0, "horizon-30"), (25, "horizon-30@25"), (50, "horizon-30@50"), (75, "horizon-30@75"))),
        ),
        Sweep(
            "interaction", "how forks combine", "leaving one out from Shapley values and from advantages",
            _points("interaction", ((kind, kind) for kind in ("additive", "and", "or", "xor", "order"))),
        ),
        Sweep(
            "steps", "steps of one answer", "credit spread evenly from credit of steps",
            _points("reasoning", ((T, f"steps-{T}") for T in (10, 30, 100, 300))),
        ),
        Sweep(
            "answer-tokens", "tokens of an answer of 32 steps", "weighting by length from weighting by step",
            _points("reasoning", ((n, f"tokens-{n}") for n in (512, 2048, 8192, 30720))),
        ),
        Sweep(
            "turns", "turns of an errand", "credit spread evenly from credit that finds the forks",
            _points("agentic", ((T, f"turns-{T}") for T in (1, 4, 16, 64, 256))),
        ),
        Sweep(
            "reversibility", "which mistakes can be put right",
            "methods that credit a repaired mistake from those that charge it",
            _points("agentic", (("all", "reversible"), ("some", "turns-64"), ("none", "irreversible"))),
        ),
        Sweep(
            "errand-tokens", "tokens of a rollout of 256 turns",
            "methods whose time and memory grow with tokens from those of turns",
            _points("agentic", ((512, "turns-256"), (2**14, "tokens-16K"), (2**17, "tokens-128K"), (2**20, "tokens-1M"))),
        ),
        Sweep(
            "revisits", "places that look the same at every visit", "methods that compare equal states from those that need none",
            _points("agentic", ((2, "timeless-2"), (4, "timeless"), (8, "timeless-8"), (16, "timeless-16"))),
        ),
        Sweep(
            "trap-length", "how often a safe action can be repeated",
            "methods that settle for what never fails from those that leave it",
            _points("agentic", ((8, "echo-trap"), (16, "echo-trap-16"), (32, "echo-trap-32"))),
        ),
        Sweep(
            "trap-strength", "the policy's lean to the safe action, in nats",
            "methods that settle for what never fails from those that leave it",
            _points("agentic", ((0, "echo-habit-0"), (1, "echo-trap"), (2, "echo-habit-2"), (4, "echo-habit-4"))),
        ),
        Sweep(
            "memory-gap", "turns between a note and its use", "credit that decays from credit that does not",
            _points("agentic", ((gap, f"memory-gap-{gap}") for gap in (5, 10, 15, 20, 25))),
        ),
        Sweep(
            "agents", "agents in a team", "credit for a member's own part from a share of the team's reward",
            _points("team", ((n, f"independent-{n}") for n in (2, 4, 8))),
        ),
        Sweep(
            "redundant-agents", "agents, one of whom is enough", "leaving one out, which misses nobody, from Shapley values",
            _points("team", ((n, f"redundant-{n}") for n in (2, 4, 8))),
        ),
        Sweep(
            "complementary-agents", "agents, all of whom are needed", "credit that waits for all from credit a member at a time",
            _points("team", ((n, f"complementary-{n}") for n in (2, 4, 8))),
        ),
        Sweep(
            "coupling", "how the parts of four agents combine", "difference rewards, Shapley values and advantages",
            _points("team", ((kind, f"{kind}-4") for kind in ("independent", "redundant", "complementary"))),
        ),
        Sweep(
            "delayed-effect", "actions of which the first decides",
            "credit that reaches back over what is of no effect from credit that drowns in it",
            _points("classical", ((T, f"delayed-effect-{T}") for T in (2, 8, 32))),
        ),
        Sweep(
            "umbrella", "turns between the umbrella and the rain",
            "credit that reaches back over what is of no effect from credit that drowns in it",
            _points("classical", ((T, f"umbrella-length-{T}") for T in (10, 30, 100))),
        ),
    )
}  # fmt: skip

#: Too long for the batches of 512 that a suite has on a machine of 8 GB.
LARGE = frozenset({"agentic/tokens-128K", "agentic/tokens-1M"})


def swept() -> tuple[str, ...]:
    """Every task of a sweep that a suite can hold, once, in the order of the sweeps."""
    return tuple(dict.fromkeys(id_ for sweep in SWEEPS.values() for _, id_ in sweep.points if id_ not in LARGE))
