"""``apportion/<method>`` through verl's own ``compute_advantage`` on a real DataProto."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("verl")
pytest.importorskip("torch")
pytest.importorskip("omegaconf")

import torch

import apportion as ap
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.integrations.verl.estimator import advantages
from apportion.registry import methods

ROWS, WIDTH = 8, 10


def tensors(dtype: Any = None) -> tuple[Any, Any, np.ndarray[Any, Any]]:
    """Rewards at the ends of eight rows of two prompts, and a mask with tool tokens, padding and a masked end."""
    rng = np.random.default_rng(3)
    mask = np.ones((ROWS, WIDTH), dtype=np.int64)
    mask[:, 3:5] = 0
    mask[2, 7:] = 0
    mask[5, 8:] = 0  # the reward of this row lies on a masked position
    rewards = np.zeros((ROWS, WIDTH))
    ends = np.array([9, 9, 6, 9, 9, 9, 9, 9])
    rewards[np.arange(ROWS), ends] = np.round(rng.normal(size=ROWS), 2)
    uid = np.array(list("aaabbbba"), dtype=object)
    return torch.tensor(rewards, dtype=dtype or torch.float32), torch.tensor(mask), uid


def compute(estimator: str, rewards: Any, mask: Any, uid: Any, algorithm: Any = None) -> tuple[Any, Any]:
    from verl import DataProto
    from verl.trainer.ppo.ray_trainer import compute_advantage

    data = DataProto.from_dict(
        tensors={"token_level_rewards": rewards.clone(), "response_mask": mask},
        non_tensors={} if uid is None else {"uid": uid},
    )
    done = compute_advantage(data, estimator, config=settings() if algorithm is None else algorithm)
    return done.batch["advantages"], done.batch["returns"]


def settings(**options: Any) -> Any:
    from omegaconf import OmegaConf

    made = OmegaConf.create({"gamma": 1.0, "lam": 1.0, "norm_adv_by_std_in_grpo": True, "apportion": options})
    OmegaConf.set_struct(made, True)  # as Hydra hands it over
    return made


def direct(method: str, **options: Any) -> np.ndarray[Any, Any]:
    rewards, mask, uid = tensors()
    batch = ap.Batch.from_padded(response_mask=mask.numpy(), outcome=rewards.sum(1).numpy(), group=uid, turns="mask")
    credit = ap.assign(batch, method, **options)
    assert isinstance(credit, Credit)
    padded: np.ndarray[Any, Any] = credit.to_padded()
    return padded


@pytest.mark.parametrize(
    ("method", "options"), [("rloo", {}), ("grpo", {}), ("grpo", {"spread": "none"}), ("grpo", {"spread": "population"})]
)
def test_advantages_are_those_of_a_direct_call(method: str, options: dict[str, Any]) -> None:
    got, _ = compute(f"apportion/{method}", *tensors(), settings(**options))
    np.testing.assert_allclose(got.numpy(), direct(method, **options), atol=1e-6)
    assert np.ptp(got.numpy()) > 0


@pytest.mark.parametrize(("ours", "theirs"), [("rloo", "rloo"), ("grpo", "grpo_vectorized"), ("grpo", "grpo")])
def test_verls_own_estimators_agree(ours: str, theirs: str) -> None:
    got, _ = compute(f"apportion/{ours}", *tensors())
    expected, _ = compute(theirs, *tensors())
    np.testing.assert_allclose(got.numpy(), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtype_and_device_are_those_of_the_rewards(dtype: Any) -> None:
    rewards, mask, uid = tensors(dtype)
    advantages, returns = compute("apportion/rloo", rewards, mask, uid)
    for tensor in (advantages, returns):
        assert tensor.dtype == dtype
        assert tensor.device == rewards.device
        assert tensor.shape == rewards.shape
    expected, _ = compute("apportion/rloo", rewards.double(), mask, uid)
    np.testing.assert_allclose(advantages.double().numpy(), expected.numpy(), rtol=8e-3 if dtype == torch.bfloat16 else 1e-5)


def test_the_inputs_are_left_alone() -> None:
    rewards, mask, uid = tensors()
    kept = rewards.clone(), mask.clone()
    compute("apportion/grpo", rewards, mask, uid)
    assert torch.equal(rewards, kept[0])
    assert torch.equal(mask, kept[1])


def test_returns_are_the_undiscounted_reward_to_go_on_policy_tokens() -> None:
    rewards, mask, uid = tensors()
    rewards[0, 1] = 0.25
    _, returns = compute("apportion/rloo", rewards, mask, uid)
    end = float(rewards[0, 9])
    np.testing.assert_allclose(returns[0].numpy(), [0.25 + end] * 2 + [end, 0, 0] + [end] * 5, atol=1e-6)
    assert float(returns[5, 7]) == pytest.approx(float(rewards[5, 9]))  # it lay on a masked position and was not lost
    assert not returns[mask == 0].any()


def test_rows_in_which_the_policy_wrote_nothing_get_zero_and_enter_no_statistic() -> None:
    rewards, mask, uid = tensors()
    more = (
        torch.cat([rewards[:3], torch.zeros(2, WIDTH), rewards[3:]]),
        torch.cat([mask[:3], torch.zeros(2, WIDTH).long(), mask[3:]]),
    )
    names = np.insert(uid, 3, ["a", "pad"])
    advantages, returns = compute("apportion/rloo", *more, names)
    expected, _ = compute("apportion/rloo", rewards, mask, uid)
    assert not advantages[3:5].any()
    assert not returns[3:5].any()
    np.testing.assert_allclose(np.delete(advantages.numpy(), [3, 4], axis=0), expected.numpy())


def test_a_batch_of_padding_only_gets_zeros() -> None:
    advantages, returns = compute(
        "apportion/rloo", torch.zeros(2, 3), torch.zeros(2, 3).long(), np.array(["p", "p"], dtype=object)
    )
    assert advantages.shape == returns.shape == (2, 3)
    assert not advantages.any()


@pytest.mark.parametrize("column", [0, 4, 9])
def test_nan_rewards_are_refused_by_row_on_masked_positions_too(column: int) -> None:
    rewards, mask, uid = tensors()
    rewards[5, column] = float("nan")
    with pytest.raises(BatchError, match=rf"token_level_rewards\[5, {column}\] = nan: expected a finite number in row 5"):
        compute("apportion/rloo", rewards, mask, uid)


@pytest.mark.parametrize("shape", [(8, 9), (8, 11), (7, 10), (9, 10)])
def test_a_mask_that_does_not_match_is_one_error(shape: tuple[int, int]) -> None:
    rewards, _, uid = tensors()
    with pytest.raises(BatchError, match=rf"response_mask has shape \({shape[0]}, {shape[1]}\), but .*\(8, 10\)"):
        advantages("rloo", rewards, torch.ones(shape).long(), uid, settings())


def test_groups_of_any_size_are_kept_apart() -> None:
    """Prompts of one, three and four rollouts, as a filter leaves them: each against the others of its own."""
    rewards, mask, _ = tensors()
    uid = np.array(list("cabbabaa"), dtype=object)
    found, _ = compute("apportion/rloo", rewards, mask, uid, settings(single="zero"))
    total = rewards.sum(1).numpy()
    for row in range(ROWS):
        others = [total[i] for i in range(ROWS) if uid[i] == uid[row] and i != row]
        expected = total[row] - np.mean(others) if others else 0.0
        np.testing.assert_allclose(found[row][mask[row] == 1].numpy(), expected, atol=1e-6)


def test_options_are_read_from_a_dictconfig_and_from_a_dataclass() -> None:
    from verl.trainer.config import AlgoConfig

    algorithm = AlgoConfig()
    algorithm.apportion = {"spread": "none"}
    by_dataclass, _ = compute("apportion/grpo", *tensors(), algorithm)
    by_config, _ = compute("apportion/grpo", *tensors(), settings(spread="none"))
    bare, _ = compute("apportion/grpo", *tensors(), AlgoConfig())
    assert torch.equal(by_dataclass, by_config)
    assert not torch.equal(bare, by_config)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"sprad": "none"}, "algorithm.apportion.sprad.*spread"),
        ({"spread": "half"}, "spread"),
        ({"fit": True}, "grpo has nothing to fit"),
        ({"fit": "yes"}, "algorithm.apportion.fit"),
        ({"seed": "x"}, "algorithm.apportion.seed"),
        ({"turn_reward_from": "scores"}, "expected one of turn_scores, tool_rewards"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any], match: str) -> None:
    with pytest.raises((OptionError, ValueError), match=match):
        compute("apportion/grpo", *tensors(), settings(**options))


def test_settings_of_verls_own_estimators_are_not_silently_ignored() -> None:
    algorithm = settings()
    algorithm.norm_adv_by_std_in_grpo = False
    with pytest.raises(OptionError, match=r"norm_adv_by_std_in_grpo = False .*\+algorithm\.apportion\.spread=none"):
        compute("apportion/grpo", *tensors(), algorithm)
    compute("apportion/rloo", *tensors(), algorithm)  # has no spread to set


def test_a_method_that_three_tensors_cannot_feed_says_what_it_lacks_and_what_brings_it() -> None:
    with pytest.raises(MissingColumn, match=r"apportion/gigpo needs state, .*trainer\.v1\.trainer_mode=apportion.*hand_over"):
        compute("apportion/gigpo", *tensors())
    with pytest.raises(
        MissingColumn, match=r"apportion/gae needs value, .*critic\.enable=true; or \+algorithm\.apportion\.fit=true"
    ):
        compute("apportion/gae", *tensors())
    with pytest.raises(MissingColumn, match=r"apportion/vineppo needs prefix_value, and verl's trainers have no sampler to ask"):
        compute("apportion/vineppo", *tensors())
    with pytest.raises(MissingColumn, match="fit=true learns from token ids"):
        compute("apportion/gae", *tensors(), settings(fit=True))


def test_credit_that_drops_tokens_is_refused_where_the_mask_cannot_be_changed() -> None:
    with pytest.raises(OptionError, match=r"verl without trainer_mode=apportion cannot honour carl: keep"):
        compute("apportion/carl", *tensors())


def test_without_prompts_a_method_that_compares_rollouts_says_so() -> None:
    rewards, mask, _ = tensors()
    with pytest.raises(MissingColumn, match=r"apportion/rloo needs group: data\.non_tensor_batch\['uid'\]"):
        compute("apportion/rloo", rewards, mask, None)


def test_no_method_has_an_option_that_the_plug_in_keeps_for_itself() -> None:
    for spec in methods().values():
        assert not {"fit", "seed", "turn_reward_from"} & set(spec.options)


def test_every_method_is_registered_once() -> None:
    from verl.trainer.ppo import core_algos

    from apportion.integrations.verl import plugin

    before = dict(core_algos.ADV_ESTIMATOR_REGISTRY)
    assert {f"apportion/{m}" for m in methods()} == {n for n in before if n.startswith("apportion/")}
    plugin.load()  # verl refuses a second function under one name
    plugin._estimators(core_algos, "")
    assert before == core_algos.ADV_ESTIMATOR_REGISTRY
