"""Methods that ask a policy in hindsight are entered as a curve: from the policy's own word to the exact conditional."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from apportion import assign
from apportion.bench.entrants import entrants
from apportion.bench.layouts import situation, to_batch
from apportion.bench.oracle import oracle, truth
from apportion.bench.sources import SimulatedPolicy
from apportion.bench.tasks import find
from apportion.bench.world import roll
from apportion.credit import Credit

CURVES = {
    "hcapo": ["hcapo-skill0", "hcapo-skill25", "hcapo-skill50", "hcapo-exact", "hcapo-noisy"],
    "t_reg": ["t_reg-skill0", "t_reg-skill25", "t_reg-skill50", "t_reg-skill100", "t_reg-noisy"],
}


@pytest.mark.parametrize("method", sorted(CURVES))
def test_a_curve_of_skill_and_frozen_errors_is_entered(method: str) -> None:
    rows = [entrants()[id_] for id_ in CURVES[method]]
    assert [row.source["skill"] for row in rows] == [0.0, 0.25, 0.5, 1.0, 1.0]
    assert [row.source.get("noise", 0.0) > 0 for row in rows] == [False] * 4 + [True]
    assert all(row.oracle and row.method == method for row in rows)


def _world() -> tuple[Any, Any, Any]:
    task = find("bifurcation/horizon-10")
    rollouts = roll(task, task.start_theta, 64, 8, np.random.default_rng(0))
    batch = to_batch(rollouts, reference=True)
    with oracle():
        exact = truth(task, task.start_theta).A[situation(rollouts, batch)]
    return rollouts, batch, exact


def test_hindsight_of_more_skill_tells_good_turns_of_a_success_better() -> None:
    rollouts, batch, exact = _world()
    won = batch.reward[batch.within("turn", "trajectory")] > 0
    found = []
    for source in ((0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (1.0, 2.0)):
        credit = assign(batch, "hcapo", policy=SimulatedPolicy(rollouts, *source))
        assert isinstance(credit, Credit)
        found.append(float(np.corrcoef(credit.parts["micro"][won], exact[won])[0, 1]))
    assert found[0] < found[1] < found[2]
    assert found[3] < found[2]  # errors cost


def test_without_skill_hindsight_is_the_policy_and_the_contrast_is_dpo() -> None:
    rollouts, batch, _ = _world()
    blind = SimulatedPolicy(rollouts, skill=0.0)
    for method, given in (
        ("hcapo", {"hindsight_logp": batch.logp}),
        ("t_reg", {"better_logp": batch.logp, "worse_logp": batch.logp}),
    ):
        asked, own = assign(batch, method, policy=blind), assign(batch, method, **given)
        assert isinstance(asked, Credit)
        assert isinstance(own, Credit)
        assert_allclose(asked.token, own.token, atol=1e-9)
