"""How the signal of one unit falls with the horizon, under three structures of credit."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .finding import Claim, Finding, over_seeds, said

Structure = Literal["equal shares", "sum of effects", "one decides"]
HORIZONS = (1, 10, 100)
SAMPLES = 400_000


def signal_to_noise(structure: Structure, horizon: int, seed: int) -> float:
    """|mean| / std of (R - b) a_1, the REINFORCE signal of the first of T fair signs, over many rollouts.

    equal shares: R = 1 with probability 0.5 + 0.4 mean(a); b = 0.5. sum of effects: R = sum(a); b = 0.
    one decides: R = 1 with probability 0.5 + 0.4 a_1; b = 0.5.
    """
    rng = np.random.default_rng([seed, horizon])
    first = rng.choice((-1.0, 1.0), SAMPLES)
    others = 2.0 * rng.binomial(horizon - 1, 0.5, SAMPLES) - (horizon - 1)
    if structure == "sum of effects":
        credit = (first + others) * first
    else:
        chance = 0.5 + 0.4 * (first if structure == "one decides" else (first + others) / horizon)
        credit = ((rng.random(SAMPLES) < chance) - 0.5) * first
    return float(abs(credit.mean()) / max(credit.std(), 1e-300))


def falls(seeds: int) -> Finding:
    numbers = []
    for structure in ("equal shares", "sum of effects", "one decides"):
        by = {T: [signal_to_noise(structure, T, s) for s in range(seeds)] for T in (10, 100)}
        ratio = [a / b for a, b in zip(by[10], by[100], strict=True)]
        numbers.append(over_seeds(f"{structure}: signal at 10 turns over signal at 100", ratio))
    tenfold, root, constant = numbers
    if tenfold.low > 5 > root.high and root.value > 2 and 0.9 < constant.value < 1.1:
        when = "all units share the outcome equally (1/T); as 1/sqrt(T) where effects add up; not at all where one unit decides"
        return Finding("holds only when", tuple(numbers), when)
    return said(all(n.low > 5 for n in numbers), numbers, fails=all(n.high < 5 for n in numbers))


def whole_update(seeds: int) -> Finding:
    """One unit decides: power of the mean update over its variance, .16 / (.09 + .25 (T - 1))."""
    numbers = []
    for T in HORIZONS:
        found = []
        for seed in range(seeds):
            rng = np.random.default_rng([seed, T])
            first = rng.choice((-1.0, 1.0), SAMPLES)
            credit = ((rng.random(SAMPLES) < 0.5 + 0.4 * first) - 0.5) * first
            variance = credit.var() + 0.25 * (T - 1)  # each other unit adds the variance of (R - b) times a fair sign
            found.append(float(credit.mean() ** 2 / variance))
        numbers.append(over_seeds(f"{T} turns", found, 0.16 / (0.09 + 0.25 * (T - 1))))
    return said(all(n.within(0.03 * (n.claimed or 1.0)) for n in numbers), numbers)


CLAIMS = (
    Claim(
        "signal-falls-with-horizon",
        "With one reward at the end, the signal of a single action is about 100 times worse at 100 turns.",
        "survey 2604.09459, section on long horizons",
        falls,
        "Signal over noise of REINFORCE for the first of T fair signs under three structures of credit, at 10 and at 100 turns; "
        "the claim is about amplitudes: ten times the turns should lose tenfold, and it holds where surely more than fivefold "
        "is lost",
    ),
    Claim(
        "one-decides-update",
        "Where one unit decides, its own signal stays and that of the whole update falls as .16/(.09 + .25 (T - 1)).",
        "design note of this project",
        whole_update,
        "Simulated power of the mean update over its variance at 1, 10 and 100 turns, beside the closed form",
    ),
)
