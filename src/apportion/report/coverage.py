"""Do our intervals hold what they promise? Runs whose truth is known, through the functions the report is made of.

    python -m apportion.report.coverage

prints, for the numbers of seeds that suites have, how many of the 95 % intervals hold the truth. Every case is a made-up
run folder in memory: as many tasks as there are experiments, seeds drawn from a known law.

- alignment, sample multiplier: updates g = a g* + bias + noise in 20 dimensions, eight and four batches a seed, beside an
  unbiased one; a biased and noisier method, and one that is nearly exact
- speed-up: lognormal costs, 30 % apart from seed to seed; with failures, a fifth of the runs never gets there (experiments
  in which no run of one side did have no speed-up and are left out, as are multipliers of updates that are not aligned)
- share of the gain: normal; correlation: skewed
- collapse: six settings alike; and far apart, some always and some never, where the interval is wider than needed
- family IQM, improvement: three tasks of different spread
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..bench.aggregate import estimate, improvement, overall_iqm
from ..bench.statistics import Float, interval, resample_index
from .collapse import collapse_share
from .gradient import gradient_rows
from .learning import learning_rows
from .numbers import load
from .pool import mean_estimate, resample_weights
from .read import Run

SEEDS = (2, 3, 5, 10)
SIZES = {64: 8, 512: 4}  # batch size: independent batches a seed
DIMENSIONS = 20
#: Name: (share of g* in the mean update, length of the bias across it, noise against RLOO's).
UPDATES = {"biased, noisier": (0.8, 0.3, 1.5), "nearly exact": (1.0, 0.0, 0.02)}
NOISE = 8.0  # RLOO's, a trajectory and dimension, in lengths of g*

Table = dict[str, dict[int, float]]


def coverage(experiments: int = 400, seeds: tuple[int, ...] = SEEDS, seed: int = 0) -> Table:
    """Share of the 95 % intervals that hold the truth, by what they are of and the number of seeds."""
    found: Table = {}
    for n in seeds:
        rng = np.random.default_rng([seed, n])
        for made in (_percentiles, _updates, _training, _means, _collapse, _families):
            for name, share in made(rng, experiments, n).items():
                found.setdefault(name, {})[n] = share
    return found


def _held(intervals: Sequence[Mapping[str, Any]], truth: float) -> float:
    return float(np.mean([load(i["low"]) <= truth <= load(i["high"]) for i in intervals]))


def _run(measure: str, cells: Mapping[tuple[str, str, int, float], Mapping[str, Float]], n: int) -> Run:
    tasks = {key[1]: {"id": key[1]} for key in cells}
    methods = {key[0]: {"id": key[0]} for key in cells}
    return Run({}, tasks, methods, tuple(range(n)), {measure: cells}, None)


def _percentiles(rng: np.random.Generator, experiments: int, n: int) -> dict[str, float]:
    values, index = rng.normal(size=(experiments, n)), resample_index(n, 400)
    ends = [interval(one[index].mean(axis=1)) for one in values]
    return {"(percentiles of a bootstrapped mean)": float(np.mean([low <= 0 <= high for low, high in ends]))}


def _updates(rng: np.random.Generator, experiments: int, n: int) -> dict[str, float]:
    found = {}
    for name, (share, bias, noise) in UPDATES.items():
        cells: dict[tuple[str, str, int, float], Mapping[str, Float]] = {}
        for i in range(experiments):
            for batch, count in SIZES.items():
                cells["rloo", str(i), batch, 0.0] = _moments(rng, 1.0, 0.0, NOISE / math.sqrt(batch), n, count)
                cells["m", str(i), batch, 0.0] = _moments(rng, share, bias, noise * NOISE / math.sqrt(batch), n, count)
        every = gradient_rows(_run("gradient", cells, n), resample_index(n, 200))
        rows = [r for r in every if (r["method"], r["batch"]) == ("m", 512)]
        length = share**2 + bias**2 + DIMENSIONS * (noise * NOISE) ** 2 / 512
        rho = share / math.sqrt(length)
        found[f"alignment, {name}"] = _held([r["rho"] for r in rows], rho)
        aligned = [r["multiplier"] for r in rows if r["verdict"] == "aligned"]
        found[f"sample multiplier, {name}"] = _held(aligned, DIMENSIONS * NOISE**2 / (1 / rho**2 - 1) / 512)
    return found


def _moments(rng: np.random.Generator, share: float, bias: float, noise: float, n: int, count: int) -> dict[str, Float]:
    """What the instrument keeps of ``count`` batches for each of n seeds; g* has length 1."""
    g = noise * rng.normal(size=(n, count, DIMENSIONS))
    g[..., 0] += share
    g[..., 1] += bias
    inner, norm2 = g[..., 0], (g**2).sum(axis=-1)
    off = [x - x.mean(axis=1, keepdims=True) for x in (inner, norm2)]
    one, both, other = (((a * b).sum(axis=1)) / (count - 1) for a, b in ((off[0], off[0]), (off[0], off[1]), (off[1], off[1])))
    return {
        "inner": inner.mean(axis=1), "norm2": norm2.mean(axis=1), "truth2": np.ones(n), "replicates": np.full(n, float(count)),
        "inner_var": one, "norm2_var": other, "inner_norm2": both, "price": np.ones(n),
    }  # fmt: skip


def _training(rng: np.random.Generator, experiments: int, n: int) -> dict[str, float]:
    found = {}
    for name, reach in (("speed-up", 1.0), ("speed-up, a fifth fails", 0.8)):
        cells: dict[tuple[str, str, int, float], Mapping[str, Float]] = {}
        for i in range(experiments):
            for method, typical in (("rloo", 4.0), ("m", 1.0)):
                got = rng.random(n) < reach
                cost = np.where(got, typical * rng.lognormal(0.0, 0.3, size=n), 10.0 * typical)
                final = rng.normal(0.7, 0.05, size=n)
                cells[method, str(i), 64, 0.1] = {
                    "reached": got.astype(float), "cost": cost, "final": final, "start": np.zeros(n), "attainable": np.ones(n),
                    "updates": np.ones(n),
                }  # fmt: skip
        rows = [r for r in learning_rows(_run("learning", cells, n), resample_index(n, 400)) if r["method"] == "m"]
        known = [r["speedup"] for r in rows if r["speedup"]["value"] not in (None, "inf") and load(r["speedup"]["value"]) > 0]
        found[name] = _held(known, 4.0)
        if reach == 1.0:
            found["share of the gain"] = _held([r["gain"] for r in rows], 0.7)
    return found


def _means(rng: np.random.Generator, experiments: int, n: int) -> dict[str, float]:
    weights = resample_weights(resample_index(n, 400))
    values = rng.beta(8.0, 2.0, size=(experiments, n))
    return {"correlation": _held([mean_estimate({"correlation": v}, "correlation", weights) for v in values], 0.8)}


def _collapse(rng: np.random.Generator, experiments: int, n: int) -> dict[str, float]:
    found = {}
    for name, chance in (("alike", np.full(6, 0.25)), ("far apart", np.array([0.0, 0.0, 0.1, 0.3, 0.6, 1.0]))):
        fell = rng.random((10 * experiments, n, chance.size)) < chance  # cheap, and coarse where runs are few
        found[f"collapse, settings {name}"] = _held([collapse_share(int(f.sum()), f.size) for f in fell], float(chance.mean()))
    return found


def _families(rng: np.random.Generator, experiments: int, n: int) -> dict[str, float]:
    level, spread = np.array([0.3, 0.4, 0.5]), np.array([0.1, 0.15, 0.2])
    truth = float(overall_iqm(level + spread * rng.normal(size=(200_000, 3))))
    better = float(np.mean([(1 + math.erf(0.1 / s / 2)) / 2 for s in spread]))
    iqms, pois = [], []
    for i in range(experiments):
        x, y = (level + rise + spread * rng.normal(size=(n, 3)) for rise in (0.1, 0.0))
        iqms.append(dict(zip(("value", "low", "high"), estimate(y, overall_iqm, count=400, seed=i), strict=True)))
        pois.append(dict(zip(("value", "low", "high"), improvement(x, y), strict=True)))
    return {"family IQM": _held(iqms, truth), "improvement": _held(pois, better)}


def table(found: Table) -> str:
    """The shares as aligned text."""
    seeds = sorted({n for row in found.values() for n in row})
    wide = max(map(len, found))
    lines = [" " * wide + "".join(f"{n:>9}" for n in seeds) + "  seeds"]
    return "\n".join([*lines, *(f"{name:<{wide}}" + "".join(f"{row[n]:>9.1%}" for n in seeds) for name, row in found.items())])


if __name__ == "__main__":
    print(table(coverage(int(sys.argv[1]) if len(sys.argv) > 1 else 400)))
