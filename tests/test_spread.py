"""What is known of an update's moments, from the batches of all seeds together."""

from __future__ import annotations

import math

import numpy as np
import pytest

from apportion.bench.instruments import gradient_rows
from apportion.bench.knobs import entrant
from apportion.bench.records import Cell
from apportion.bench.settings import Gradient, Settings
from apportion.bench.statistics import Float, student_quantile
from apportion.bench.tasks import find
from apportion.report.spread import Part, around, covariance, log_noise_part, rho_part, summed


def cell(inner: Float, norm2: Float) -> dict[str, Float]:
    """What is kept of batches (seeds, replicates)."""
    off = [x - x.mean(axis=1, keepdims=True) for x in (inner, norm2)]
    free = inner.shape[1] - 1
    return {
        "inner": inner.mean(axis=1), "norm2": norm2.mean(axis=1), "truth2": np.full(len(inner), 2.0),
        "replicates": np.full(len(inner), float(inner.shape[1])), "inner_var": (off[0] ** 2).sum(axis=1) / free,
        "norm2_var": (off[1] ** 2).sum(axis=1) / free, "inner_norm2": (off[0] * off[1]).sum(axis=1) / free,
    }  # fmt: skip


def test_seeds_and_batches_count_as_one_sample() -> None:
    rng = np.random.default_rng(0)
    inner = rng.normal(size=(3, 4)) + 1.0
    norm2 = inner + rng.normal(size=(3, 4)) + 5.0
    found = covariance(cell(inner, norm2))
    assert found is not None
    np.testing.assert_allclose(found[0], np.cov(inner.ravel(), norm2.ravel()) / 12)
    assert found[1] == 11


def test_a_seed_that_was_not_measured_is_left_out() -> None:
    rng = np.random.default_rng(1)
    inner, norm2 = rng.normal(size=(2, 5)), rng.normal(size=(2, 5)) + 5
    both = {name: np.append(x, math.nan) for name, x in cell(inner, norm2).items()}
    found, alone = covariance(both), covariance(cell(inner, norm2))
    assert found is not None
    assert alone is not None
    np.testing.assert_allclose(found[0], alone[0])
    assert found[1] == alone[1] == 9


def test_runs_that_have_not_kept_it_are_told_apart() -> None:
    assert covariance({"inner": np.ones(3), "norm2": np.ones(3)}) is None
    assert rho_part({"inner": np.ones(3)}, 0.5) is None


def test_the_delta_method_is_that_of_rho_and_of_its_noise() -> None:
    """Against differences of the figures themselves."""
    inner, norm2 = np.array([[1.0, 1.2, 0.9], [1.1, 0.8, 1.0]]), np.array([[3.0, 3.5, 2.5], [3.2, 2.9, 3.1]])
    kept = cell(inner, norm2)
    known = covariance(kept)
    assert known is not None

    def rho(i: float, n: float) -> float:
        return i / math.sqrt(n * 2.0)

    i, n, h = float(inner.mean()), float(norm2.mean()), 1e-6
    slope = np.array([rho(i + h, n) - rho(i - h, n), rho(i, n + h) - rho(i, n - h)]) / (2 * h)
    part = rho_part(kept, rho(i, n))
    assert part is not None
    assert part.variance == pytest.approx(float(slope @ known[0] @ slope), rel=1e-6)
    noise = [math.log(1 / r**2 - 1) for r in (rho(i, n) + h, rho(i, n) - h)]
    assert log_noise_part(part, rho(i, n)).variance == pytest.approx(
        part.variance * ((noise[0] - noise[1]) / 2 / h) ** 2, rel=1e-5
    )


def test_parts_add_with_the_freedom_of_the_larger() -> None:
    assert summed([Part(1.0, 4.0), Part(1.0, 4.0)]) == Part(2.0, 8.0)
    mostly = summed([Part(100.0, 3.0), Part(0.01, 50.0)])
    assert mostly.freedom == pytest.approx(3.0, rel=1e-3)


def test_intervals_around_a_value() -> None:
    half = student_quantile(7.0) * 0.5
    plain = around(1.0, Part(0.25, 7.0))
    assert (plain["value"], plain["low"], plain["high"]) == pytest.approx((1.0, 1 - half, 1 + half), rel=1e-4)
    ratio = around(2.0, Part(0.25, 7.0), log=True)
    assert float(ratio["low"] or 0) * float(ratio["high"] or 0) == pytest.approx(4.0, rel=1e-4)
    assert around(0.9, Part(0.25, 7.0), within=(-1.0, 1.0))["high"] == 1.0


def test_the_instrument_keeps_the_spread_of_its_batches() -> None:
    settings = Settings(gradient=Gradient(batch_sizes=(64,), replicates=(6,)))
    task = find("bifurcation/horizon-10")
    made = {m: v for m, _, _, v in gradient_rows(Cell("rloo", task.id, 0, "gradient"), task, entrant("rloo"), settings)}
    assert made["inner_var"] > 0
    assert made["norm2_var"] > 0
    assert made["inner_norm2"] ** 2 <= made["inner_var"] * made["norm2_var"] * (1 + 1e-9)
