"""Is advice any good? All selectors against the measured best, on settings that nothing was fitted to.

Advice is judged by what was measured on the case's own task: the cost of reaching the target where methods were trained,
else the net multiplier of the gradient. It holds where it is within 10 % of the best that the user can run. Of a
method with several entrants the best counts, and of long advice the first four candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...registry import methods
from ..knobs import entrant as find
from ..statistics import Float, studentised
from .cases import HAVE, Advice, Case, advise, cases, value
from .grid import HELD_OUT
from .measured import Measured
from .worth import never, resamples

CLOSE = 0.10
FIRST = 4
DRAWS = 1000
#: Who is left with what where a selector names nothing that can be run.
FALL_BACK = "grpo"
SHARE, COST = (0.0, 1.0), (1.0, np.inf)


def compare(m: Measured, *, draws: int = DRAWS, tasks: Sequence[str] = HELD_OUT) -> dict[str, Any]:
    """One row per selector: shares within 10 % of the best and cost beside the best, with intervals over settings and seeds.

    ours_ahead: how much more often the measured selector's first candidate holds, over the same cases and seeds;
    ours_ahead_least: the least of it when any one task is left out.
    first: of its first candidate that can be run. best: of the best of its first four. excess: geometric mean of cost over the
    least cost, of the first candidate. silent: share of cases where nothing it names can be run; they count as ``FALL_BACK``.
    """
    every = cases(m, tasks)
    index, which = resamples(m.seeds, draws)
    values = {(t, e): np.asarray([value(m, t, e, i) for i in index])[which] for t in tasks for e in m.entrants}
    best = [np.max([values[c.task, e] for e in c.open_to], axis=0) for c in every]
    advice = [advise(m, c) for c in every]
    at = {t: [i for i, c in enumerate(every) if c.task == t] for t in dict.fromkeys(c.task for c in every)}
    weights = _weights(len(every), list(at.values()), draws)
    runs = max(len(at), m.seeds)  # tasks and seeds were drawn together: as many runs as there are of either
    rows, holds, alone = [], {}, {}
    for name in advice[0]:
        gaps = [_gaps(c, a[name], values, top) for c, a, top in zip(every, advice, best, strict=True)]
        first, four = (np.stack([g[k] for g in gaps]) for k in (0, 1))
        silent = float(np.mean([not a[name].entrants for a in advice]))
        holds[name] = (weights * _close(first.T)).sum(axis=1)
        alone[name] = _close(first[:, 0]).astype(np.float64)
        rows.append(_row(name, first, four, weights, runs, silent, [a[name].named for a in advice]))
    for row in rows:  # the same cases and seeds of both
        row["ours_ahead"] = _estimate(holds["measured"] - holds[row["selector"]], runs, (-1.0, 1.0))
        ahead = alone["measured"] - alone[row["selector"]]
        others = [np.delete(ahead, some) for some in at.values()] if len(at) > 1 else [ahead]
        row["ours_ahead_least"] = float(min(some.mean() for some in others))
    rows += [_chance(every, values, best, weights, runs), _other_seeds(m, every, weights, runs)]
    top_of = [c.open_to[int(np.argmax([values[c.task, e][0] for e in c.open_to]))] for c in every]
    return {
        "drawn_on": drawn_on(m, [c.task for c in every], top_of),
        "cases": len(every), "tasks": len(at), "have": list(HAVE), "close": CLOSE, "first": FIRST, "fall_back": FALL_BACK,
        "trained": sum(m.trained(t) for t in at), "seeds": m.seeds, "rows": rows,
        "by_case": [
            {"task": c.task, "have": c.have, "best": top,
             "open_to": len(c.open_to), "says": {n: [one[0] for one in x.entrants[:FIRST]] for n, x in a.items()}}
            for c, a, top in zip(every, advice, top_of, strict=True)
        ],
    }  # fmt: skip


def drawn_on(m: Measured, tasks: Sequence[str], best: Sequence[str]) -> dict[str, int]:
    """How much of this rests on runs that never got there: of the trained cells of these tasks, and of the best of each case."""
    cells, trained = never(m, [(t, e) for t in dict.fromkeys(tasks) for e in m.entrants])
    top, cases = never(m, zip(tasks, best, strict=True))
    return {"never": cells, "trained": trained, "best_never": top, "best": cases}


def whole(m: Measured, *, draws: int = DRAWS) -> dict[str, Any]:
    """:func:`compare`, and its rows again with methods of our own left out: no published tree can name those."""
    own = {e for e in m.entrants if methods()[find(e).method].status == "ours"}
    others = replace(m, entrants=tuple(e for e in m.entrants if e not in own))
    found = compare(m, draws=draws)
    first = [case["best"] in own for case in found["by_case"]]
    again = compare(others, draws=draws)["rows"]
    return {**found, "own": sorted(own), "own_best": sum(first), "rows_without_own": again}


def _gaps(case: Case, said: Advice, values: Mapping[tuple[str, str], Float], top: Float) -> tuple[Float, Float]:
    """How far behind the best, in log cost: the first candidate, and the best of the first four."""
    options = said.entrants[:FIRST] or ((FALL_BACK,),)
    each = [np.max([values[case.task, e] for e in one], axis=0) for one in options]
    return top - each[0], top - np.max(each, axis=0)


def _weights(n: int, clusters: Sequence[Sequence[int]], draws: int) -> Float:
    """Weight of every case in the sample and in each resample of tasks, whose cases stay together."""
    rng = np.random.default_rng(0)
    counts = np.concatenate(
        [np.ones((1, len(clusters))), rng.multinomial(len(clusters), np.full(len(clusters), 1 / len(clusters)), size=draws)]
    )
    weight = np.zeros((draws + 1, n))
    for k, members in enumerate(clusters):
        weight[:, members] = counts[:, [k]]
    normal: Float = weight / weight.sum(axis=1, keepdims=True)
    return normal


def _row(name: str, first: Float, four: Float, weights: Float, runs: int, silent: float, named: Sequence[int]) -> dict[str, Any]:
    return {
        "selector": name,
        "first": _estimate((weights * _close(first.T)).sum(axis=1), runs),
        "best": _estimate((weights * _close(four.T)).sum(axis=1), runs),
        "excess": _estimate(np.exp((weights * first.T).sum(axis=1)), runs, COST, log=True),
        "excess_best": _estimate(np.exp((weights * four.T).sum(axis=1)), runs, COST, log=True),
        "silent": silent,
        "names": float(np.mean(named)),
    }


def _close(behind: Float) -> NDArray[np.bool_]:
    """Which log costs behind the best are within 10 %; NaN (not measured) is not."""
    close: NDArray[np.bool_] = np.less_equal(behind, np.log1p(CLOSE) + 1e-12)
    return close


def _estimate(samples: Float, runs: int, within: tuple[float, float] = SHARE, *, log: bool = False) -> dict[str, float]:
    """A statistic with its interval; runs: the tasks that were drawn."""
    low, high = studentised(float(samples[0]), samples[1:], runs, within=within, log=log)
    return {"value": float(samples[0]), "low": low, "high": high}


def _chance(
    cases: Sequence[Case], values: Mapping[tuple[str, str], Float], best: Sequence[Float], weights: Float, runs: int
) -> dict[str, Any]:
    """One of the entrants that can be run, drawn at random: expected shares."""
    behind = [np.stack([top - values[c.task, e] for e in c.open_to]) for c, top in zip(cases, best, strict=True)]
    share = np.stack([_close(b).mean(axis=0) for b in behind])
    four = np.stack([1 - _none_of(_close(b).sum(axis=0), b.shape[0]) for b in behind])
    return {
        "selector": "at random",
        "first": _estimate((weights * share.T).sum(axis=1), runs),
        "best": _estimate((weights * four.T).sum(axis=1), runs),
        "excess": _estimate(np.exp((weights * np.stack([b.mean(axis=0) for b in behind]).T).sum(axis=1)), runs, COST, log=True),
        "excess_best": None,
        "silent": 0.0,
        "names": float(np.mean([len(c.open_to) for c in cases])),
    }


def _none_of(good: Any, n: int) -> Float:
    """Chance that none of FIRST drawn without replacement of n is among the good."""
    chance = np.ones(np.shape(good))
    for i in range(min(FIRST, n)):
        chance = chance * np.clip((n - good - i) / (n - i), 0.0, 1.0)
    return chance


def _other_seeds(m: Measured, cases: Sequence[Case], weights: Float, runs: int) -> dict[str, Any]:
    """Who was best on the task itself, on all seeds but one, judged by that one alone."""
    gaps = np.zeros((len(cases), m.seeds))
    for i, c in enumerate(cases):
        for out in range(m.seeds):
            rest, one = np.setdiff1d(np.arange(m.seeds), out), np.array([out])
            chosen = max(c.open_to, key=lambda e: (value(m, c.task, e, rest), e))
            gaps[i, out] = max(value(m, c.task, e, one) for e in c.open_to) - value(m, c.task, chosen, one)
    return {
        "selector": "best on the other seeds",
        "first": _estimate(weights @ _close(gaps).mean(axis=1), runs),
        "best": None,
        "excess": _estimate(np.exp(weights @ gaps.mean(axis=1)), runs, COST, log=True),
        "excess_best": None,
        "silent": 0.0,
        "names": 1.0,
    }
