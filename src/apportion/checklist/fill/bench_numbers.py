"""Of a run of the benchmark: what was spent, how far seeds lie apart, and how long trajectories are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...bench.records import plain_name
from ...bench.store import TIMINGS
from ...report.numbers import digits
from .bench import Look
from .proof import tidy

Given = tuple[Any, ...] | str
_UNTRAINED = "nothing was trained by this method in this run (measure: learning)"
#: Kinds of work in a bill.
_WORK = ("generated", "scored", "env_steps", "judge_calls", "trained")


def baseline_budget(look: Look) -> Given:
    """Total cost of both arms, over the tasks, settings and seeds that both finished."""
    for other in look.baselines:
        theirs = look.cells("learning", other)
        shared = [k for k in look.trained if k in theirs and "cost" in theirs[k] and "cost" in look.trained[k]]
        if not shared:
            continue
        pairs = np.stack([(look.trained[k]["cost"], theirs[k]["cost"]) for k in shared])
        both = pairs[:, :, np.isfinite(pairs).all(axis=(0, 1))]
        if not both.size:
            continue
        mine, their = (float(v) for v in both.sum(axis=(0, 2)))
        count = both.shape[0] * both.shape[2]
        why = (
            f"{look.run.title(look.own)} against {look.run.title(other)}: total cost by the manifest's prices over "
            f"{_runs(count)} each, on the same grid; each run had the same budget and stops when it reaches the target"
        )
        where = ("results.parquet:learning.cost", "manifest.json:prices", "manifest.json:settings.learning")
        return "reported", {"method": tidy(mine), "baseline": tidy(their), "unit": "cost"}, where, why
    return _UNTRAINED if not look.trained else "no episode-level baseline was trained in this run"


def credit_ablation(look: Look) -> Given:
    """Never filled: the run compares whole methods, and which part of one is the credit is not in its files."""
    if not look.baselines:
        return "no entrant of the run is the method without its credit"
    name = look.run.title(look.baselines[0])
    return (
        f"the run compares whole methods. {name} met the same rollouts with the same optimiser; if credit is all that your "
        "method changes, its rows are this ablation, and you can say so"
    )


def spread(look: Look) -> Given:
    if not look.trained:
        return _UNTRAINED
    counts = [int(np.isfinite(cell["final"]).sum()) for cell in look.trained.values()]
    seeds = min(counts)
    if seeds < 2:
        return "one seed has no spread"
    texts = []
    for (task, batch, lr), cell in look.trained.items():
        final = cell["final"][np.isfinite(cell["final"])]
        texts.append(f"{digits(float(final.mean()))} ± {digits(float(final.std(ddof=1)))} ({task}, batch {batch}, lr {lr:g})")
    why = f"{seeds} seeds; final return, mean ± standard deviation (ddof 1): {'; '.join(texts[:6])}" + (
        f"; and {len(texts) - 6} more settings" if len(texts) > 6 else ""
    )
    value = {"kind": "std", "over": "training_seeds", "seeds": seeds}
    where = ("manifest.json:seeds", "results.parquet:learning.final")
    return "reported" if seeds >= 3 else "partial", value, where, why


def gpu_hours(look: Look) -> Given:
    """The benchmark's own code computes on the CPU; there is no path in it to a GPU."""
    if not look.trained:
        return _UNTRAINED
    path = look.folder / TIMINGS
    if not path.is_file():
        return f"no {TIMINGS} in the folder"
    from pyarrow import parquet  # type: ignore[import-untyped]

    seconds = sum(parquet.read_table(path).column("seconds").to_pylist())
    why = f"the benchmark computes with numpy and numba on the CPU: {seconds:.3g} seconds for all cells of the run"
    return "reported", {"hours": 0, "device": "none (CPU)"}, (f"{TIMINGS}:seconds", "manifest.json:versions"), why


def credit_overhead(look: Look) -> Given:
    """The bill of one batch beyond its rollouts, on the run's longest task."""
    cells = {task: cell for (task, _, _), cell in look.cells("cost", look.own).items()}
    measured = [task for task, cell in cells.items() if np.isfinite(cell.get("generated", np.nan)).any()]
    if not measured:
        return "the bill of a batch was not measured in this run (measure: cost)"
    task = max(measured, key=lambda id_: int(look.run.tasks[id_]["horizon"]))
    cell = cells[task]
    names = [name for name in (*_WORK, "price") if np.isfinite(cell.get(name, np.nan)).any()]
    amounts = {name: tidy(float(np.nanmean(cell[name]))) for name in names}
    why = (
        "counts are beyond the rollouts, price is of everything by the manifest's prices; mean over seeds at the starting policy"
        + (f"; {task} is the longest of {len(measured)} tasks" if len(measured) > 1 else "")
    )
    return (
        "reported",
        {"amounts": amounts, "per": f"trajectory of {task}"},
        tuple(f"results.parquet:cost.{n}" for n in names),
        why,
    )


def mean_length(look: Look) -> Given:
    lengths = _lengths(look, "turns")
    if isinstance(lengths, str):
        return lengths
    value = {"turns": tidy(float(np.average(lengths[0], weights=lengths[1])))}
    tokens = _lengths(look, "tokens")
    if not isinstance(tokens, str):
        value["tokens"] = tidy(float(np.average(tokens[0], weights=tokens[1])))
    elif look.length == "tokens":
        return tokens
    return "reported", value, _where(look), _HOW


def length_distribution(look: Look) -> Given:
    lengths = _lengths(look, look.length)
    if isinstance(lengths, str):
        return lengths
    values, weights = lengths
    order = np.argsort(values)
    middle = values[order][np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)]
    value = {"min": tidy(values.min()), "median": tidy(middle), "max": tidy(values.max()), "unit": look.length}
    return "reported", value, _where(look), _HOW


def _lengths(look: Look, unit: str) -> tuple[Any, Any] | str:
    """Length of the trajectories of each task, and how many were rolled out in training: (values, weights)."""
    weights = dict.fromkeys(look.run.tasks, 0.0)
    for (task, batch, _), cell in look.trained.items():
        weights[task] += batch * float(np.nansum(cell["updates"])) if "updates" in cell else 0.0
    if not any(weights.values()):
        return "no training rollouts were made by this method in this run (measure: learning)"
    used = [task for task, weight in weights.items() if weight]
    turns = {task: int(look.run.tasks[task]["horizon"]) for task in used}
    sizes = {task: 1 if unit == "turns" else look.tokens(task) for task in used}
    lost = [task for task, size in sizes.items() if size is None]
    if lost:
        return f"tokens a turn are not in the manifest, and {lost[0]} is not defined here as it was there"
    return np.array([turns[t] * (sizes[t] or 0) for t in used], dtype=np.float64), np.array([weights[t] for t in used])


_HOW = "every trajectory of a task plays all its turns; tasks weigh by the rollouts that training made on them"


def _where(look: Look) -> tuple[str, ...]:
    used = dict.fromkeys(task for task, _, _ in look.trained)
    return (*(look.at("tasks", task, "horizon") for task in used), "results.parquet:learning.updates")


def seeds_and_aggregation(look: Look) -> Given:
    if not look.trained:
        return _UNTRAINED
    seeds = min(int(np.isfinite(cell["final"]).sum()) for cell in look.trained.values())
    value = {
        "seeds": seeds,
        "aggregate": "mean",
        "interval": "t interval with bootstrap standard error over seeds, 95 %" if seeds > 1 else "none: one seed",
    }
    why = "as the report of the run gives cost: all that was spent over the runs that reached the target"
    return "reported", value, ("manifest.json:seeds", "results.parquet:learning"), why


def rollout_budget_tokens(look: Look) -> Given:
    lost = [task for task, _, _ in look.trained if look.tokens(task) is None]
    if not look.trained or lost:
        return (
            _UNTRAINED
            if not lost
            else f"tokens a turn are not in the manifest, and {lost[0]} is not defined here as it was there"
        )
    own = look.cells("cost", look.own)
    asked = [float(np.nanmax(cell["generated"])) for cell in own.values() if np.isfinite(cell.get("generated", np.nan)).any()]
    if look.entrant.get("fresh") or not asked or max(asked) > 0:
        return (
            "the method samples tokens of its own, or its bill was not measured, and the run keeps no count of those in training"
        )
    total = 0.0
    for (task, batch, _), cell in look.trained.items():
        if "updates" in cell:
            total += float(np.nansum(cell["updates"])) * batch * int(look.run.tasks[task]["horizon"]) * (look.tokens(task) or 0)
    why = "updates x batch x turns x tokens a turn, over all training runs of the method; it samples nothing besides"
    where = ("results.parquet:learning.updates", "manifest.json:tasks", "results.parquet:cost.generated")
    return "reported", {"tokens": tidy(total)}, where, why


def tuning_budget_both_arms(look: Look) -> Given:
    def settings(entrant: str) -> int:
        return len(
            {key[1:] for key, cell in look.cells("learning", entrant).items() if np.isfinite(cell.get("final", np.nan)).any()}
        )

    both = [(settings(look.own), settings(other), other) for other in look.baselines]
    if not look.trained or not any(theirs for _, theirs, _ in both):
        return _UNTRAINED if not look.trained else "no episode-level baseline was trained in this run"
    mine, theirs, other = next(one for one in both if one[1])
    why = f"batch sizes x learning rates, the same for {look.run.title(other)}; options of methods were not tuned"
    return "reported", {"method": mine, "baseline": theirs}, ("manifest.json:settings.learning", "results.parquet:learning"), why


def failure_runs(look: Look) -> Given:
    missing = look.run.manifest.get("missing")
    if missing is None or not look.trained:
        return _UNTRAINED if not look.trained else "the manifest does not list the cells that failed"
    rules = look.run.manifest["settings"]["learning"]
    grid = len(rules["batch_sizes"]) * len(rules["lrs"])
    lost = sum(_cell_of(name) == (plain_name(look.own), "learning") for name in missing) * grid
    done = sum(int(np.isfinite(cell["final"]).sum()) for cell in look.trained.values())
    short = sum(int((cell["reached"] == 0).sum()) for cell in look.trained.values() if "reached" in cell)
    why = (
        "a failed run raised an error and is not in the results; "
        f"{short} more ended at the budget without the target, and count as such"
    )
    return "reported", {"failed": lost, "of": done + lost}, ("manifest.json:missing", "results.parquet:learning.reached"), why


def _cell_of(name: str) -> tuple[str, str]:
    """Entrant and measure of a cell's id."""
    parts = name.split("+")
    return (parts[1], parts[2]) if len(parts) == 4 else ("", "")


def _runs(count: int) -> str:
    return f"{count} training run{'s' if count != 1 else ''}"


ASKED: dict[str, Callable[[Look], Given]] = {
    "baseline_budget": baseline_budget,
    "credit_ablation": credit_ablation,
    "spread": spread,
    "gpu_hours": gpu_hours,
    "credit_overhead": credit_overhead,
    "mean_length": mean_length,
    "length_distribution": length_distribution,
    "seeds_and_aggregation": seeds_and_aggregation,
    "rollout_budget_tokens": rollout_budget_tokens,
    "tuning_budget_both_arms": tuning_budget_both_arms,
    "failure_runs": failure_runs,
}
