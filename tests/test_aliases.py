"""No method is another under a new name.

Two methods whose credit correlates above .999 on every task and every random batch that both can be run on
are one method, unless a test proves when they coincide and says under which settings they part.
"""

from __future__ import annotations

import functools
import importlib
import itertools
from typing import Any

import numpy as np
import pytest

import apportion as ap
from apportion.bench.entrants import entrants, run_entrant
from apportion.bench.tasks import find

from .contract.factory import case

TASKS = (
    "bifurcation/horizon-10",
    "bifurcation/recoverable",
    "reasoning/steps-10",
    "reasoning/mended@50",
    "team/two",
    "team/four",
)
ALIKE = 0.999

#: pair of methods -> the test that proves when they coincide, as module::function.
ALLOWED: dict[frozenset[str], str] = {}


@functools.cache
def credit(task_id: str) -> dict[str, Any]:
    """Token credit of every method on one batch of the task, by method; those that grow or thin the batch left out."""
    task = find(task_id)
    found: dict[str, Any] = {}
    for entrant in entrants().values():
        if entrant.method == "exact" or entrant.method in found or entrant.fresh or not entrant.fits(task.layout):
            continue
        outcome = run_entrant(entrant, task, task.start_theta, 16, 8, np.random.default_rng(7), np.random.default_rng(8))
        if outcome.credit.rows is None:
            found[entrant.method] = outcome.credit.token
    return found


@functools.cache
def ragged(seed: int) -> dict[str, Any]:
    """Token credit of every method on a random batch: trajectories of any length, agents, references, random evidence."""
    found: dict[str, Any] = {}
    for id_, method in ap.methods().items():
        given = case(method, seed, shapes=(6, 5, 7))
        options = {"rng": np.random.default_rng(0)} if "rng" in method.options else {}
        result = method(given.batch, **given.evidence, **options)
        if isinstance(result, ap.Credit) and result.rows is None:
            found[id_] = result.token
    return found


def correlation(x: Any, y: Any) -> float:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float(np.ptp(x) == np.ptp(y))
    return float(np.corrcoef(x, y)[0, 1])


def alike() -> set[frozenset[str]]:
    """Pairs of methods that meet somewhere and are indistinguishable wherever they do."""
    seen: dict[frozenset[str], list[float]] = {}
    for found in [*(credit(id_) for id_ in TASKS), *(ragged(seed) for seed in range(2))]:
        for (a, x), (b, y) in itertools.combinations(found.items(), 2):
            if x.shape == y.shape:
                seen.setdefault(frozenset((a, b)), []).append(correlation(x, y))
    return {pair for pair, found in seen.items() if min(found) > ALIKE}


def test_no_method_is_another_under_a_new_name() -> None:
    strange = sorted(" = ".join(sorted(pair)) for pair in alike() - set(ALLOWED))
    assert not strange, strange


@pytest.mark.parametrize("pair", list(ALLOWED), ids="-".join)
def test_an_allowed_pair_is_alike_and_has_its_proof(pair: frozenset[str]) -> None:
    assert pair in alike(), "they part: nothing to allow"
    module, _, name = ALLOWED[pair].partition("::")
    assert callable(getattr(importlib.import_module(f"tests.{module}"), name))


def test_most_methods_are_looked_at() -> None:
    seen = {method for id_ in TASKS for method in credit(id_)}
    assert len(set(ap.methods()) - seen) <= 4, set(ap.methods()) - seen
    assert len(set(ap.methods()) - set(ragged(0))) <= 4, set(ap.methods()) - set(ragged(0))
