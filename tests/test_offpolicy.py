"""Several steps on one batch: ratios, clips and rescaling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from apportion.bench.gradient import update
from apportion.bench.layouts import choices, situation, to_batch
from apportion.bench.offpolicy import surrogate_update
from apportion.bench.tasks import find
from apportion.bench.world import roll
from apportion.credit import Credit, Loss


def rollouts(id_: str, groups: int = 8, size: int = 4, seed: int = 0) -> Any:
    task = find(id_)
    return roll(task, task.start_theta, groups, size, np.random.default_rng(seed))


def _surrogate(r: Any, credit: Credit, theta: Any) -> float:
    """The clipped surrogate by its definition, one ratio a unit, summed over tokens."""
    batch, task = credit.batch, r.task
    at, (prompt, time, state, action) = choices(task, batch), situation(r, batch)
    change = np.zeros(batch.n_tokens)
    new, old = (task.token_probabilities(task.policy(x))[0] for x in (theta, r.theta))
    context = task.context[prompt, time, state]
    for j in range(task.words.shape[1]):
        change[at.first + j] = new[context, action, j] - old[context, action, j]
    levels: dict[str, Any] = {"token": "token", "turn": "turn", "sequence": "row"}
    owner = batch.within("token", levels[credit.loss.ratio])
    total = 0.0
    for unit in range(int(owner.max()) + 1):
        mine = (owner == unit) & batch.action
        if not mine.any():
            continue
        product = credit.loss.form == "product"
        ratio = np.exp(change[mine].sum() / (1 if product else mine.sum()))
        each = np.minimum(ratio * credit.token[mine], np.clip(ratio, 0.8, 1.2) * credit.token[mine])
        total += each.sum() / (mine.sum() if product else 1)  # a product's gradient already sums over the tokens
    return total / batch.n_trajectories


@pytest.mark.parametrize("ratio", ["token", "turn", "sequence"])
@pytest.mark.parametrize("form", ["geometric", "product"])
def test_the_off_policy_update_is_the_gradient_of_the_clipped_surrogate(ratio: Any, form: Any) -> None:
    r = rollouts("bifurcation/horizon-10", 2, 4)
    batch = to_batch(r)
    rng = np.random.default_rng(0)
    level: Any = "trajectory" if ratio == "sequence" else "turn"
    credit = Credit.of(batch, level, rng.normal(size=batch.count(level)), loss=Loss(ratio=ratio, form=form))
    theta = r.theta + 0.3 * rng.normal(size=r.theta.shape)
    g = surrogate_update(r, credit, theta)
    for _ in range(3):
        way = rng.normal(size=theta.shape)
        slope = (_surrogate(r, credit, theta + 1e-6 * way) - _surrogate(r, credit, theta - 1e-6 * way)) / 2e-6
        assert float((g * way).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_a_rescaled_update_is_never_made_longer() -> None:
    r = rollouts("bifurcation/horizon-10", 4, 8)
    batch = to_batch(r)
    values = 50 * np.random.default_rng(0).normal(size=batch.n_turns)
    plain = Credit.of(batch, "turn", values, loss=Loss(ratio="turn"))
    scaled = plain.with_fields(loss=Loss(ratio="turn", rescale="clipped_norm"))
    theta = r.theta + 0.5 * np.random.default_rng(1).normal(size=r.theta.shape)
    full, less = (surrogate_update(r, credit, theta) for credit in (plain, scaled))
    factor = float(np.linalg.norm(full) / np.linalg.norm(less))
    assert factor > 1.5
    np.testing.assert_allclose(less * factor, full, rtol=1e-9)
    for credit in (plain, scaled):
        np.testing.assert_allclose(surrogate_update(r, credit, r.theta), update(r, credit), atol=1e-12)
