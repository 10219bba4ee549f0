"""Do rankings hold? Two disjoint halves of a run's seeds, and whether they put the same methods first.

Methods that no number of our seeds tells apart may come in any order, so the question is asked of those that are
*separated*: on a task, the 95 % interval of their paired difference over all seeds (Student's t; run i of both saw the
same rollouts) leaves 0 out. Over the separated pairs of all tasks, and for each split of the seeds in two,

    tau = (pairs both halves order alike - pairs they order the other way) / separated pairs

which is Kendall's tau of the two rankings, told on the pairs that are to be told apart. ``replicated`` asks without
looking ahead: of the pairs that one half alone separates, how many does the other order alike?
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from ..bench.statistics import Float, student_quantile
from ..errors import BenchError
from .aggregate import alignment_scores
from .learning import Cell, chosen_settings, seed_costs
from .numbers import store
from .read import Run

Scores = Mapping[tuple[str, str], Float]  # (method, task): one number a seed, more is better
SPLITS = 200


def stability(run: Run, batch: int | None, *, splits: int = SPLITS, seed: int = 0) -> dict[str, Any]:
    """``{"seeds", "splits", "rows": [...], "flips": [...]}``; see :func:`_row` for a row, one a measure, learning first.

    Oracles are left out, as they are from every ranking. flips: separated pairs that some split orders the other way,
    with the share of splits that do, most often first. Raises BenchError where a run has one seed.
    """
    n = len(run.seeds)
    if n < 2:
        raise BenchError(f"{n} seed: two halves need at least two seeds, and say something from four on (--seeds)")
    halves = half_splits(n, splits, seed)
    rows: list[dict[str, Any]] = []
    flips: list[dict[str, Any]] = []
    for name, scores in _measures(run, batch).items():
        fair = {key: values for key, values in scores.items() if not run.is_oracle(key[0])}
        if fair:
            row, turned = _row(fair, halves)
            rows.append({"measure": name, **row})
            flips += [{"measure": name, **flip} for flip in turned]
    if not rows:
        raise BenchError("nothing that methods are ranked by was measured on all seeds")
    return {
        "seeds": n,
        "splits": len(halves),
        "rows": rows,
        "flips": sorted(flips, key=lambda f: (-f["share"], f["task"], f["better"])),
    }


def half_splits(n: int, count: int = SPLITS, seed: int = 0) -> Float:
    """Which seeds are in the first half, (splits, n) of zeros and ones: all splits where there are few, else random ones.

    An odd seed out is in the second half.
    """
    size = n // 2
    every = 1
    for k in range(size):
        every = every * (n - k) // (k + 1)
    if every // (2 if n % 2 == 0 else 1) <= count:
        chosen = [c for c in combinations(range(n), size) if n % 2 or c[0] == 0]
    else:
        rng = np.random.default_rng(seed)
        chosen = [tuple(rng.permutation(n)[:size].tolist()) for _ in range(count)]
    found = np.zeros((len(chosen), n))
    for i, members in enumerate(chosen):
        found[i, list(members)] = 1.0
    return found


def _measures(run: Run, batch: int | None) -> dict[str, Scores]:
    """What methods are ranked by, the headline first; only (method, task) that all seeds have."""
    found: dict[str, Scores] = {"learning speed": _speed(run), "alignment": alignment_scores(run, batch)}
    plain: dict[str, tuple[str, str, Callable[[Float], Float]]] = {
        "correlation": ("identification", "correlation", np.asarray),
        "sign agreement": ("identification", "sign", np.asarray),
        "fork precision": ("identification", "fork_ap", np.asarray),
        "price": ("cost", "price", np.negative),
    }
    for name, (measure, metric, turn) in plain.items():
        cells = {key[:2]: cell[metric] for key, cell in run.values.get(measure, {}).items() if metric in cell}
        found[name] = {key: turn(values) for key, values in cells.items() if not np.isnan(values).any()}
    return found


def _speed(run: Run) -> Scores:
    def speed(cell: Cell) -> Float:
        costs = seed_costs(cell)
        return np.where(np.isinf(costs), 0.0, 1.0 / np.maximum(costs, 1e-300))

    found = {(method, task): speed(cell) for (task, method), (_, cell) in chosen_settings(run).items()}
    return {key: values for key, values in found.items() if not np.isnan(values).any()}


def _row(scores: Scores, halves: Float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """``{tasks, methods, pairs, separated, tau {value, low, high}, replicated}`` and the pairs that flip.

    tau: mean over splits, and the range that holds 95 % of them (splits share seeds: it is no confidence interval).
    Null where nothing is separated.
    """
    names, apart = _differences(scores)
    sure = separated(apart)
    first, second = apart @ halves.T / halves.sum(axis=1), apart @ (1 - halves).T / (1 - halves).sum(axis=1)
    agree = np.sign(first) * np.sign(second)
    row: dict[str, Any] = {
        "tasks": len({task for _, task in scores}), "methods": len({method for method, _ in scores}),
        "pairs": len(names), "separated": int(sure.sum()), "tau": dict.fromkeys(("value", "low", "high")),
        "replicated": _replicated(apart, halves),
    }  # fmt: skip
    if not sure.any():
        return row, []
    tau = agree[sure].mean(axis=0)
    ends = np.quantile(tau, [0.025, 0.975], method="nearest")
    row["tau"] = dict(zip(("value", "low", "high"), map(store, (float(tau.mean()), *ends)), strict=True))
    turned = []
    for i in np.flatnonzero(sure & (agree < 0).any(axis=1)):
        task, one, other = names[i]
        better, worse = (one, other) if apart[i].mean() > 0 else (other, one)
        turned.append({"task": task, "better": better, "worse": worse, "share": store(float((agree[i] < 0).mean()))})
    return row, turned


def _differences(scores: Scores) -> tuple[list[tuple[str, str, str]], Float]:
    """(task, method, other) and the first's score less the other's on every seed, (pairs, seeds)."""
    names: list[tuple[str, str, str]] = []
    rows: list[Float] = []
    for task in dict.fromkeys(task for _, task in scores):
        here = {method: values for (method, one), values in scores.items() if one == task}
        for one, other in combinations(here, 2):
            names.append((task, one, other))
            rows.append(here[one] - here[other])
    return names, np.array(rows) if rows else np.empty((0, len(next(iter(scores.values())))))


def separated(apart: Float) -> Any:
    """Which paired differences (pairs, seeds) have a mean whose 95 % t interval leaves 0 out; of one seed none has."""
    n = apart.shape[1]
    if n < 2:
        return np.zeros(len(apart), dtype=bool)
    half = student_quantile(n - 1.0) * apart.std(axis=1, ddof=1) / np.sqrt(n)
    return np.abs(apart.mean(axis=1)) > half + 1e-15 * np.abs(apart).max(axis=1, initial=0.0)


def _replicated(apart: Float, halves: Float) -> float | str | None:
    """Of the pairs that one half separates, over all splits and both halves, the share that the other orders alike."""
    held = asked = 0
    for half in halves > 0.5:
        for mine, theirs in ((apart[:, half], apart[:, ~half]), (apart[:, ~half], apart[:, half])):
            sure = separated(mine)
            held += int((np.sign(mine[sure].mean(axis=1)) == np.sign(theirs[sure].mean(axis=1))).sum())
            asked += int(sure.sum())
    return store(held / asked) if asked else None
