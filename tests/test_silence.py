"""Rounding is no opinion: where the policy is sure, exact credit says nothing."""

from __future__ import annotations

import numpy as np
import pytest

from apportion.bench.entrants import entrants, run_entrant
from apportion.bench.identification import identify
from apportion.bench.tasks import find


def figures(id_: str, method: str) -> dict[str, float]:
    task = find(id_)
    outcome = run_entrant(entrants()[method], task, task.start_theta, 8, 8, np.random.default_rng(0), np.random.default_rng(1))
    return identify(outcome, 1e-6, np.random.default_rng(2))


@pytest.mark.parametrize("world", ["plus", "minus"])
def test_exact_advantages_of_a_sure_policy_are_silence(world: str) -> None:
    """They are about 1e-14, have the right sign, and are no answer to what the other action would have done."""
    found = figures(f"witness/{world}", "exact")
    assert found["silent"] == 1.0
    assert found["sign:contrast"] == 0.5
    assert np.isnan(found["correlation:contrast"])


def test_whoever_reads_the_log_is_wrong_in_one_of_the_worlds() -> None:
    signs = [figures(f"witness/{world}", "rloo")["sign:contrast"] for world in ("plus", "minus")]
    assert signs[0] > 0.6
    assert signs[1] < 0.4


def test_credit_above_rounding_is_an_opinion() -> None:
    assert figures("interaction/xor", "exact")["silent"] == 0.0
