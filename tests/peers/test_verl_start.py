"""What the trainer modes refuse before verl starts a worker, on verl's own configuration."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

pytest.importorskip("verl")
pytest.importorskip("hydra")

from apportion.errors import MissingColumn, OptionError
from apportion.integrations.verl.start import brings, check_config, honours_of

from . import verl_world as world

SUM = "actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-sum"
ZERO = "+algorithm.apportion.single=zero"


def check(method: str, *overrides: str) -> list[str]:
    """The remarks made at start; refusals raise."""
    settings = world.config(f"algorithm.adv_estimator={method}", *overrides)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_config(settings, "sync")
    return [str(w.message) for w in caught if "apportion" in str(w.message) or "verl" in str(w.message)]


@pytest.mark.parametrize(
    ("method", "overrides", "error", "match"),
    [
        ("apportion/gigpi", [], OptionError, "no method 'gigpi'; did you mean gigpo"),
        ("apportion/rloo", ["trainer.use_v1=false"], OptionError, "trainer.use_v1 = False"),
        ("apportion/gigpo", ["+algorithm.apportion.omga=1"], OptionError, "algorithm.apportion.omga: .*omega"),
        ("apportion/gigpo", ["+algorithm.apportion.gamma=1.5"], OptionError, "gamma = 1.5"),
        ("apportion/pooled_td", ["+algorithm.apportion.folds=1"], OptionError, "folds = 1"),
        ("apportion/gae", [], OptionError, "needs a critic's values: set critic.enable=true, or .*fit=true"),
        ("apportion/gae", ["critic.enable=true", "algorithm.lam=0.9"], OptionError, "algorithm.lam = 0.9 .*apportion.lam=0.9"),
        ("apportion/vineppo", [], MissingColumn, "no sampler to ask"),
        ("apportion/rloo", ["actor_rollout_ref.rollout.n=1"], OptionError, "rollout.n = 1, but rloo compares the rollouts"),
        ("apportion/gigpo", ["actor_rollout_ref.actor.policy_loss.loss_mode=geo_mean"], OptionError, "geo_mean"),
        ("apportion/carl", [SUM], OptionError, "verl cannot honour carl: keep"),
    ],
)
def test_what_cannot_work_is_refused_at_start(method: str, overrides: list[str], error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        check(method, *overrides)


@pytest.mark.parametrize(
    ("method", "overrides"),
    [
        ("apportion/rloo", []),
        (
            "apportion/grpo",
            ["+algorithm.apportion.supervision=process", "actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-mean"],
        ),
        (
            "apportion/grpo",
            ["+algorithm.apportion.denominator=limit", "actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-sum-norm"],
        ),
        ("apportion/gigpo", ["+algorithm.apportion.omega=0.5"]),
        ("apportion/gae", ["critic.enable=true"]),
        ("apportion/hcapo", ["+algorithm.apportion.fit=true", "actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-mean"]),
        ("apportion/pure", ["+algorithm.apportion.fit=true"]),
        ("apportion/tempo", []),
    ],
)
def test_what_can_work_starts_without_a_word(method: str, overrides: list[str]) -> None:
    aggregate = [] if any("loss_agg_mode" in o for o in overrides) else [SUM]
    single = [ZERO] if method.split("/")[1] in ("rloo", "grpo", "gigpo", "hcapo", "tempo") else []
    assert check(method, *overrides, *aggregate, *single) == []


def test_a_loss_that_averages_otherwise_is_said_in_one_sentence_with_the_setting_that_does_not() -> None:
    (remark,) = check("apportion/rloo", ZERO)
    assert "loss_agg_mode='token-mean'" in remark
    assert remark.endswith("actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-sum averages over that")


def test_a_prompt_left_with_one_rollout_is_warned_of() -> None:
    (remark,) = check("apportion/rloo", SUM)
    assert "+algorithm.apportion.single=zero" in remark


def test_an_unknown_policy_loss_is_said() -> None:
    (remark,) = check("apportion/rloo", SUM, ZERO, "actor_rollout_ref.actor.policy_loss.loss_mode=mine")
    assert "policy_loss.loss_mode = 'mine' is not known to apportion" in remark


def test_verls_own_estimators_are_not_checked() -> None:
    assert check("grpo", "actor_rollout_ref.rollout.n=1") == []


@pytest.mark.parametrize(
    ("mode", "ratios"),
    [("vanilla", {"token"}), ("cispo", {"token"}), ("gspo", {"token", "sequence"}), ("geo_mean", {"token", "sequence"})],
)
def test_the_ratio_is_that_of_the_policy_loss(mode: str, ratios: set[str]) -> None:
    assert honours_of(world.config(f"actor_rollout_ref.actor.policy_loss.loss_mode={mode}")).ratios == ratios


def test_every_policy_loss_of_verl_is_known() -> None:
    from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY

    from apportion.integrations.verl.start import TOKEN_RATIO

    assert set(POLICY_LOSS_REGISTRY) <= {*TOKEN_RATIO, "gspo", "geo_mean"}


@pytest.mark.parametrize("mode", ["sapo", "geo_mean"])
def test_losses_that_average_over_sequences_do_so_whatever_is_configured(mode: str) -> None:
    chosen = f"actor_rollout_ref.actor.policy_loss.loss_mode={mode}"
    assert honours_of(world.config(chosen)).denominator == "sequence"
    assert not honours_of(world.config(chosen)).keep
    (remark,) = check("apportion/rloo", SUM, ZERO, chosen)  # geo_mean may carry one value per trajectory
    assert remark.endswith(f"(loss_mode={mode!r} knows no other)")


def test_what_is_brought_depends_on_the_configuration() -> None:
    assert {"value", "ref_logp", "entropy"} <= brings()
    usual = brings(world.config())
    assert not {"value", "ref_logp"} & usual
    assert {"state", "turn_reward", "ids", "logp", "entropy", "limit", "process", "node"} <= usual
    assert "value" in brings(world.config("critic.enable=true"))
    assert "ref_logp" in brings(world.config("algorithm.use_kl_in_reward=true"))
    assert "ref_logp" in brings(world.config("actor_rollout_ref.actor.use_kl_loss=true"))
    assert "entropy" not in brings(world.config("algorithm.rollout_correction.bypass_mode=true"))
