"""Gradient quality from a run's rows: alignment, noise-to-signal, multipliers, bias.

With g a method's complete update and g* the exact gradient, pooled over seeds:

    rho = E<g,g*> / sqrt(E|g|^2 E|g*|^2)        NSR = 1 / rho^2 - 1, where rho's interval lies above 0

RLOO is unbiased, so its NSR is E|g|^2 / |g*|^2 - 1 = c / B exactly; c is fitted from its rows at
all batch sizes. A method with NSR n at batch B is worth B' = c / n of RLOO's trajectories: its
sample multiplier is B' / B, its net multiplier that times price_RLOO / price_method.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..bench.statistics import Float, Int
from .numbers import NOTHING, Estimate, estimate, store
from .pool import mean_estimate, pooled, resample_weights, seed_mean
from .read import Run
from .spread import Part, around, covariance, log_noise_part, rho_part, summed

REFERENCE = "rloo"
EXACT = 1e-12  # an NSR below this is rounding: the update is the exact gradient
FLAT = 1e-18  # |g*|^2 below this is rounding: the policy is sure of itself, and there is nothing to point at


def gradient_rows(run: Run, index: Int) -> list[dict[str, Any]]:
    """One row per (task, method, batch): rho, verdict, nsr, multiplier, net, price, gains and bias.

    None where the exact gradient is 0: the pairs of the witness family, whose policies are sure of all they do.
    """
    cells = run.values.get("gradient", {})
    weights = resample_weights(index)
    constants = {task: (rloo_constant(run, task, weights), rloo_part(run, task)) for task in run.tasks}
    rows = []
    for task in run.tasks:
        for method in run.methods():
            for batch in run.batches():
                cell = cells.get((method, task, batch, 0.0))
                if cell is not None and not is_flat(cell):
                    base = cells.get((REFERENCE, task, batch, 0.0))
                    row = {"task": task, "method": method, "batch": batch}
                    row |= _quality(method, batch, cell, base, *constants[task], weights) | _bias(cell, weights)
                    if row["verdict"] != "aligned":
                        row["bias_rescaled"] = dict(NOTHING)  # no common factor to take out
                    rows.append(row)
    return rows


def is_flat(cell: Mapping[str, Float]) -> bool:
    """Whether the exact gradient of this cell is nothing but rounding, so that no update can be compared with it."""
    truth2 = cell.get("truth2", np.array([np.nan]))
    return bool(np.nanmax(truth2) < FLAT) if not np.isnan(truth2).all() else False


def rloo_constant(run: Run, task: str, weights: Float) -> Float:
    """c of RLOO's NSR = c / B on this task, for the sample and every resample (NaN without RLOO rows).

    Each batch size gives B (E|g|^2 / |g*|^2 - 1); they are averaged with weights inverse to their
    variance, which for a squared norm over R replicates goes as (B E|g|^2 / |g*|^2)^2 / R.
    """
    total, mass = np.zeros(len(weights)), 0.0
    for batch in run.batches():
        cell = run.values["gradient"].get((REFERENCE, task, batch, 0.0))
        if cell is None:
            continue
        norm2, truth2 = pooled(cell, ("norm2", "truth2"), weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = batch * norm2 / truth2
        count = float(np.nansum(cell.get("replicates", np.ones(weights.shape[1]))))
        if np.isfinite(size[0]) and size[0] > 0:
            weight = count / size[0] ** 2
            total += weight * (size - batch)
            mass += weight
    if mass <= 0:
        return np.full(len(weights), np.nan)
    c = total / mass
    return np.where(c > 0, c, np.nan)


def rloo_part(run: Run, task: str) -> Part | None:
    """How well log c is known, by the batches of every size; None where a run has not kept what it takes."""
    total, mass, parts = 0.0, 0.0, []
    for batch in run.batches():
        cell = run.values["gradient"].get((REFERENCE, task, batch, 0.0))
        known = None if cell is None else covariance(cell)
        if cell is None or known is None:
            continue
        scale = batch / float(np.nanmean(cell["truth2"]))
        size = scale * float(np.nanmean(cell["norm2"]))
        weight = float(np.nansum(cell["replicates"])) / size**2
        total, mass = total + weight * (size - batch), mass + weight
        parts.append(Part(float(known[0][1, 1]) * (weight * scale) ** 2, known[1]))
    return Part((whole := summed(parts)).variance / total**2, whole.freedom) if total > 0 else None


def _quality(
    method: str, batch: int, cell: Mapping[str, Float], base: Mapping[str, Float] | None, c: Float, c_part: Part | None,
    weights: Float,
) -> dict[str, Any]:  # fmt: skip
    inner, norm2, truth2 = pooled(cell, ("inner", "norm2", "truth2"), weights)
    seeds = _seeds(cell)
    with np.errstate(divide="ignore", invalid="ignore"):
        raw = inner / np.sqrt(norm2 * truth2)
        rho = np.clip(raw, -1.0, 1.0)
    part = rho_part(cell, float(rho[0])) if np.isfinite(rho[0]) else None
    bounds = (-1.0, 1.0)
    found = estimate(rho[0], rho[1:], seeds, within=bounds) if part is None else around(rho[0], part, within=bounds)
    verdict = _verdict(found)
    price, own_price = seed_mean(base, "price"), seed_mean(cell, "price")
    row: dict[str, Any] = {"rho": found, "verdict": verdict, "price": store(own_price)}
    row["relative_price"] = store(own_price / price)
    row |= {name: dict(NOTHING) for name in ("nsr", "multiplier", "net")}
    if verdict == "aligned":
        with np.errstate(divide="ignore", invalid="ignore"):
            nsr = np.where(rho > 0, 1.0 / rho**2 - 1.0, np.where(np.isnan(rho), np.nan, np.inf))
            # above 1 by more than rounding is sampling error: cleaner than can be told apart
            nsr = np.where(raw > 1.0 + 1e-9, np.nan, np.where(nsr < EXACT, 0.0, nsr))
            worth = c / nsr / batch
        net, noise = worth * price / own_price, None
        if part is not None and 0 < rho[0] < 1 and nsr[0] > 0:
            noise = log_noise_part(part, float(rho[0]))
        row["nsr"] = estimate(nsr[0], nsr[1:], seeds, log=True) if noise is None else around(nsr[0], noise, log=True)
        for name, values in (("multiplier", worth), ("net", net)):
            if noise is None or c_part is None or not np.isfinite(values[0]):
                row[name] = estimate(values[0], values[1:], seeds, log=True)
            else:
                row[name] = around(values[0], summed([noise, c_part]), log=True)
    if method == REFERENCE:  # the numeraire is worth itself
        row["multiplier"] = row["net"] = {"value": 1.0, "low": 1.0, "high": 1.0}
    row |= {name: mean_estimate(cell, name, weights) for name in ("gain_best", "gain_kl")}
    return row


def _seeds(cell: Mapping[str, Float]) -> int:
    """On how many seeds the update was measured."""
    return int((~np.isnan(cell.get("inner", np.array([np.nan])))).sum())


def _verdict(rho: Estimate) -> str:
    """Whether rho's interval lies above 0, below it, or neither ("undetermined"; so is a single seed)."""
    low, high = rho["low"], rho["high"]
    if not isinstance(low, float) or not isinstance(high, float):
        return "undetermined"
    if low > 0:
        return "aligned"
    return "pushes the wrong way" if high < 0 else "undetermined"


def _bias(cell: Mapping[str, Float], weights: Float) -> dict[str, Any]:
    """|E g - g*|^2 over |g*|^2, and its part that is no learning rate: |E g - s g*|^2 over s^2 |g*|^2.

    s = <E g, g*> / |g*|^2. |E g|^2 comes from pairs of independent batches, never from the square of
    an average, so an unbiased method's bias is estimated at 0 and may come out below. between2 and
    within2 split the second figure and are measured per seed.
    """
    row: dict[str, Any] = {}
    cross, inner, truth2 = pooled(cell, ("cross", "inner", "truth2"), weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = (cross - 2.0 * inner + truth2) / truth2
        rescaled = np.where(inner > 0, cross * truth2 / inner**2 - 1.0, np.nan)
        row["bias"] = estimate(bias[0], bias[1:], _seeds(cell))
        row["bias_rescaled"] = estimate(rescaled[0], rescaled[1:], _seeds(cell))
    between, within, useful = pooled(cell, ("between2", "within2", "useful2"), weights)
    drawn = useful[1:][np.isfinite(useful[1:])]
    certain = drawn.size > 0 and float(np.quantile(drawn, 0.025)) > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        for part, raw in (("between2", between), ("within2", within)):
            share = raw / useful if certain else np.full(len(useful), np.nan)
            row[part] = estimate(share[0], share[1:], _seeds(cell))
    return row
