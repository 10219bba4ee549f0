"""The doctor on the (B, T) tensors of a training step: defects that no batch would hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apportion.doctor import Finding, examine_log, examine_padded
from apportion.errors import BatchError

from .sick import padded


def found(id_: str, **changes: Any) -> Finding:
    finding = examine_padded({**padded(), **changes}, methods=["rloo"]).finding(id_)
    assert finding is not None, id_
    return finding


def test_healthy_tensors_are_healthy_and_what_was_taken_for_what_is_said() -> None:
    diagnosis = examine_padded(padded(), vocabulary=1000)
    assert diagnosis.healthy, diagnosis
    assert diagnosis.holds == {"trajectories": 8, "groups": 2, "turns": 16, "tokens": 72, "policy tokens": 56}
    assert "token_level_rewards is taken for token_reward" in diagnosis.assumed
    assert found("logp-gap").severity == "fine"


def test_names_of_a_trainer_and_ours_say_the_same() -> None:
    theirs = padded()
    ours = {
        "action": theirs["response_mask"],
        "attention": theirs["attention_mask"],
        "token_reward": theirs["token_level_rewards"],
        "logp": theirs["old_log_probs"],
        "sampler_logp": theirs["rollout_log_probs"],
        "ids": theirs["responses"],
        "group": theirs["uid"].tolist(),
        "turns": "mask",
    }
    assert examine_padded(ours).to_plain()["findings"] == examine_padded(theirs).to_plain()["findings"]


def test_what_is_not_known_is_left_alone() -> None:
    assert examine_padded({**padded(), "position_ids": np.zeros((3, 3)), "prompts": "x"}).healthy


def test_rows_without_policy_tokens_are_named_and_the_rest_is_examined() -> None:
    mask = padded()["response_mask"].copy()
    mask[[2, 5]] = 0
    rewards = padded()["token_level_rewards"].copy()
    rewards[[2, 5]] = 0
    diagnosis = examine_padded({**padded(), "response_mask": mask, "token_level_rewards": rewards})
    bare = diagnosis.finding("turns-without-policy")
    assert bare is not None
    assert (bare.severity, bare.figures["rows"], [p.trajectory for p in bare.places]) == ("problem", 2, ["2", "5"])
    assert diagnosis.holds["trajectories"] == 6
    assert "2 rows that no batch can hold were left out of the other checks" in diagnosis.assumed
    assert [f.id for f in diagnosis.problems] == ["turns-without-policy"]


def test_places_name_the_row_of_the_tensors_whatever_was_left_out() -> None:
    mask = padded()["response_mask"].copy()
    mask[0] = 0
    diagnosis = examine_padded({**padded(), "response_mask": mask, "uid": list("aaabbbbc"), "token_level_rewards": None})
    alone = diagnosis.finding("groups-of-one")
    assert alone is not None
    assert [p.trajectory for p in alone.places] == ["7"]


def test_a_training_step_is_not_taken_for_the_place_of_a_row() -> None:
    assert examine_padded({**padded(), "step": np.array(["warm-up"] * 8)}).healthy


def test_policy_tokens_outside_the_attention_mask() -> None:
    attention = padded()["attention_mask"].copy()
    attention[3, 7:] = 0
    out = found("policy-outside-attention", attention_mask=attention)
    assert (out.figures, out.places[0].trajectory) == ({"tokens": 2, "rows": 1}, "3")


def test_an_attention_mask_over_prompt_and_response_is_cut() -> None:
    attention = np.concatenate([np.ones((8, 5), dtype=int), padded()["attention_mask"]], axis=1)
    diagnosis = examine_padded({**padded(), "attention_mask": attention})
    assert diagnosis.healthy
    assert "attention is 17 wide: its last 12 columns are taken for the response" in diagnosis.assumed


def test_tensors_of_another_width_are_named_and_left_out() -> None:
    diagnosis = examine_padded({**padded(), "old_log_probs": padded()["old_log_probs"][:, :-1]})
    shapes = diagnosis.finding("shapes-disagree")
    assert shapes is not None
    assert shapes.figures == {"tensor": "logp", "shape": [8, 11], "mask": [8, 12]}
    assert diagnosis.holds["trajectories"] == 8


def test_masks_that_hold_more_than_0_and_1() -> None:
    mask = padded()["response_mask"].astype(float)
    mask[0, 0] = 0.5
    odd = found("mask-not-binary", response_mask=mask)
    assert (odd.figures, str(odd.places[0])) == ({"entries": 1}, "trajectory 0: column 0: 0.5")


def test_turn_ids_that_fall() -> None:
    ids = np.where(padded()["response_mask"] == 1, np.arange(12) > 5, -1)
    assert examine_padded({**padded(), "turns": None, "turn_ids": ids}).healthy
    ids[4, 8] = 0
    fallen = found("turn-ids", turns=None, turn_ids=ids)
    assert fallen.severity == "problem"
    assert "turn_ids[4, 8] = 0 comes after a larger id" in fallen.says


def test_rewards_on_masked_tokens_and_on_padding() -> None:
    rewards = padded()["token_level_rewards"].copy()
    rewards[1, 8], rewards[1, 11] = 0, 1  # past the end, as a trainer that scores the last column does
    rewards[0, 4] = 3
    masked = found("reward-on-masked-tokens", token_level_rewards=rewards)
    ids = [f.id for f in examine_padded({**padded(), "token_level_rewards": rewards}).findings]
    assert ids.count("reward-on-masked-tokens") == 1
    assert masked.figures == {"tokens": 2, "rows": 2, "share_of_token_reward": 4 / 7}
    assert [str(p) for p in masked.places] == ["trajectory 0: column 4: 3", "trajectory 1: column 11: 1"]


@pytest.mark.parametrize(("column", "severity", "inside"), [(0, "problem", 1), (4, "warning", 0), (11, "warning", 0)])
def test_nan_on_policy_tokens_is_worse_than_beside_them(column: int, severity: str, inside: int) -> None:
    logp = padded()["old_log_probs"].copy()
    logp[2, column] = np.nan
    nan = found("scores-not-finite", old_log_probs=logp)
    assert (nan.severity, nan.figures) == (severity, {"tensor": "logp", "entries": 1, "on_policy_tokens": inside})
    assert str(nan.places[0]) == f"trajectory 2: column {column}: nan"


def test_nan_rewards_per_token_and_per_rollout() -> None:
    rewards = padded()["token_level_rewards"].copy()
    rewards[1, 8] = np.nan
    assert found("reward-not-finite", token_level_rewards=rewards).figures["on_policy_tokens"] == 1
    outcome = np.arange(8.0)
    outcome[3] = np.nan
    refused = found("reward-not-finite", token_level_rewards=None, rewards=outcome)
    assert "outcome[3] = nan" in refused.says


def test_log_probabilities_above_zero() -> None:
    logp = padded()["old_log_probs"].copy()
    logp[2, 0], logp[2, 5] = 1.5, 4.0  # the second is no policy token
    high = found("logp-positive", old_log_probs=logp)
    assert (high.severity, high.figures) == ("problem", {"tensor": "logp", "tokens": 1, "high": 1.5})


def test_the_gap_between_sampler_and_trainer() -> None:
    logp = padded()["old_log_probs"]
    mask = padded()["response_mask"] == 1
    sampler = np.where(mask, logp - 0.25, 50.0).astype(np.float32)  # what stands outside the mask is nobody's business
    sampler[0, :4] -= 3
    gap = found("logp-gap", rollout_log_probs=sampler)
    assert gap.severity == "problem"
    assert gap.figures["mean_size"] == pytest.approx(0.25 + 4 * 3 / 56, abs=1e-6)
    assert gap.figures["mean"] > 0
    assert gap.figures["share_over_1_nat"] == pytest.approx(4 / 56)
    assert gap.places[0].trajectory == "0"
    assert found("logp-gap", rollout_log_probs=logp - 0.1 * mask).severity == "warning"


def test_advantages_outside_the_mask() -> None:
    advantages = np.ones((8, 12))
    stray = found("advantage-on-masked-tokens", advantages=advantages)
    assert (stray.severity, stray.figures["tokens"]) == ("problem", 8 * 5)
    assert found("advantage-on-masked-tokens", advantages=advantages * padded()["response_mask"]).severity == "fine"


def test_rewards_per_row_may_bear_the_name_of_rewards_per_token() -> None:
    diagnosis = examine_padded({**padded(), "token_level_rewards": None, "rewards": padded()["token_level_rewards"]})
    assert "rewards is taken for token_reward" in diagnosis.assumed
    assert diagnosis.healthy


def test_without_a_mask_there_is_nothing_to_examine() -> None:
    with pytest.raises(BatchError, match="give response_mask="):
        examine_padded({"attention_mask": np.ones((2, 3))})
    with pytest.raises(BatchError, match=r"shape \(3,\)"):
        examine_padded({"response_mask": np.ones(3)})


def test_the_tensors_are_not_changed() -> None:
    given = padded()
    given["old_log_probs"][0, 0] = np.nan
    before = {n: np.array(v, copy=True) for n, v in given.items()}
    examine_padded(given)
    for name, value in before.items():
        assert np.array_equal(value, given[name], equal_nan=value.dtype.kind == "f"), name


def test_a_dump_is_examined_as_it_is(tmp_path: Path) -> None:
    tensors = {n: v for n, v in padded().items() if n not in ("turns", "uid")}
    tensors["prompt"] = np.arange(8) // 4
    tensors["response_mask"] = tensors["response_mask"].copy()
    tensors["response_mask"][1] = 0
    np.savez(tmp_path / "step.npz", **tensors)
    diagnosis = examine_log(tmp_path / "step.npz", group="prompt", methods=["rloo"])
    assert [f.id for f in diagnosis.problems] == ["turns-without-policy", "reward-on-masked-tokens"]
    assert diagnosis.holds == {"trajectories": 7, "groups": 2, "turns": 14, "tokens": 63, "policy tokens": 49}
    with pytest.raises(BatchError, match="there is no array 'nobody' for the group"):
        examine_log(tmp_path / "step.npz", group="nobody")


def test_a_tool_mask_is_multiplied_in() -> None:
    tensors = padded()
    completion = (tensors["response_mask"] | (np.arange(12) < 9)).astype(int)
    tool = 1 - (completion - tensors["response_mask"])
    apart = examine_padded({**tensors, "response_mask": None, "completion_mask": completion, "tool_mask": tool})
    assert apart.holds == examine_padded(tensors).holds
