"""Filling a form from what trainers leave behind: TRL's state, verl's configuration and metrics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from apportion.checklist.fill import Finding, Gap, Proof, prove
from apportion.checklist.fill.apply import fill
from apportion.checklist.fill.proof import FillError
from apportion.checklist.form import read
from apportion.checklist.items import extension, items
from apportion.checklist.lint import lint
from apportion.checklist.template import blank


def _entry(step: int, mean: float, least: float, most: float, **more: Any) -> dict[str, Any]:
    lengths = {"completions/mean_length": mean, "completions/min_length": least, "completions/max_length": most}
    return {"step": step, "epoch": step / 10, **lengths, "num_tokens": 100.0 * step, **more}


#: What TRL 1.16.0 writes (a real state has more keys): entries of 2, 2 and 6 steps, one of evaluation, one at the end.
HISTORY = [
    _entry(2, 6.8125, 4.0, 8.0),
    _entry(4, 6.5, 3.0, 8.0),
    {"step": 4, "eval_completions/mean_length": 99.0},
    _entry(10, 10.0, 3.5, 12.5),
    {"step": 10, "total_flos": 0.0, "train_loss": -0.1, "train_runtime": 7200.0},
]
CARD = """---
base_model: Qwen/Qwen2.5-0.5B-Instruct
datasets: trl-lib/DeepMath-103K
library_name: transformers
---

# Model Card

### Framework versions

- TRL: 1.16.0
- Transformers: 5.10.4
"""


def _trl(folder: Path, history: Sequence[Any] = tuple(HISTORY), card: str | None = CARD) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 10, "log_history": list(history)}))
    if card:
        (folder / "README.md").write_text(card)
    return folder


def _found(folder: Path, *setting: str) -> dict[str, Finding]:
    return {one.item: one for one in prove(folder, setting=setting)[1]}


def _proof(found: dict[str, Finding], item: str) -> Proof:
    one = found[item]
    assert isinstance(one, Proof), one
    return one


def test_trl_lengths_are_averaged_over_the_steps_they_cover(tmp_path: Path) -> None:
    found = _found(_trl(tmp_path / "run"), "reasoning")
    mean = _proof(found, "mean_length")
    assert mean.answer == "reported"
    assert mean.value == {"tokens": pytest.approx((2 * 6.8125 + 2 * 6.5 + 6 * 10.0) / 10)}
    assert mean.where == ("trainer_state.json:log_history[].completions/mean_length",)
    spread = _proof(found, "length_distribution")
    assert (spread.answer, spread.value) == ("partial", {"min": 3, "max": 12.5, "unit": "tokens"})


def test_tokens_are_partial_where_turns_are_asked_for(tmp_path: Path) -> None:
    folder = _trl(tmp_path / "run")
    assert _proof(_found(folder, "agentic"), "mean_length").answer == "partial"
    assert _proof(_found(folder), "mean_length").answer == "partial"
    assert _proof(_found(folder, "reasoning", "agentic"), "mean_length").answer == "partial"


def test_trl_card_names_model_data_and_release_but_no_more(tmp_path: Path) -> None:
    found = _found(_trl(tmp_path / "run"), "reasoning")
    assert (_proof(found, "base_model").answer, _proof(found, "base_model").value) == (
        "partial",
        {"name": "Qwen/Qwen2.5-0.5B-Instruct"},
    )
    assert _proof(found, "training_data").value == {"source": "trl-lib/DeepMath-103K"}
    assert (_proof(found, "code_commit").value or {})["commit"] == "1.16.0"
    hours = _proof(found, "gpu_hours")
    assert (hours.answer, hours.value) == ("partial", None)  # wall time without the number of devices
    assert "2 h" in hours.why


def test_what_trl_does_not_say_is_not_filled(tmp_path: Path) -> None:
    found = _found(_trl(tmp_path / "run", card=None), "reasoning")
    gaps = {item for item, one in found.items() if isinstance(one, Gap)}
    assert {*items(), *extension()} - gaps == {"mean_length", "length_distribution", "gpu_hours"}
    budget = found["rollout_budget_tokens"]
    assert isinstance(budget, Gap)
    assert "1000 in all" in budget.why
    assert "prompts" in budget.why
    assert {"credit_unit", "spread", "episode_baseline"} <= gaps


def test_trls_latest_checkpoint_stands_in_for_the_folder(tmp_path: Path) -> None:
    _trl(tmp_path / "run" / "checkpoint-9", [_entry(9, 1.0, 1.0, 1.0)], None)
    _trl(tmp_path / "run" / "checkpoint-10", [_entry(10, 5.0, 1.0, 9.0)], None)
    found = _found(tmp_path / "run", "reasoning")
    assert _proof(found, "mean_length").value == {"tokens": 5}
    assert _proof(found, "mean_length").where[0].startswith("checkpoint-10/trainer_state.json:")
    assert isinstance(found["gpu_hours"], Gap)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not readable as JSON"),
        ("[]", "no list log_history"),
        ('{"log_history": [1]}', "no list log_history of mappings"),
        ('{"log_history": [{"loss": 1.0, "step": 1}]}', "no entry of log_history has completions/mean_length"),
        ('{"log_history": [{"completions/mean_length": NaN, "step": 1}]}', "no entry"),
    ],
)
def test_a_state_that_is_not_trls_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "trainer_state.json").write_text(text)
    with pytest.raises(FillError, match=says):
        prove(tmp_path)


def test_a_card_with_objects_in_it_is_read_as_none(tmp_path: Path) -> None:
    card = "---\nbase_model: !!python/object/apply:os.system ['echo']\n---\n"
    assert isinstance(_found(_trl(tmp_path / "run", card=card))["base_model"], Gap)


CONFIG = """
actor_rollout_ref:
  model: {path: Qwen/Qwen2.5-7B-Instruct}
  rollout: {n: 4, n_gpus_per_node: 8, nnodes: 0}
algorithm:
  adv_estimator: apportion/gigpo
  filter_groups: {enable: false}
data:
  train_files: ~/data/somebody/gsm8k/train.parquet
  val_files: [/mnt/x/gsm8k/test.parquet, /mnt/x/math/test.parquet]
  filter_overlong_prompts: true
  max_prompt_length: 512
  train_batch_size: 16
distillation: {enabled: false}
reward:
  reward_model: {enable_resource_pool: false}
trainer:
  device: cuda
  n_gpus_per_node: 8
  nnodes: 2
  v1: {trainer_mode: sync}
"""


def _step(step: int, mean: float, least: float, most: float, turns: float = 2.0, **more: float) -> dict[str, Any]:
    lengths = {"response_length/mean": mean, "response_length/min": least, "response_length/max": most}
    numbers = {
        "training/global_step": step,
        "num_turns/mean": turns,
        "num_turns/max": turns,
        "timing_s/step": 90.0,
        "timing_s/adv": 0.5,
    }
    return {"step": step, "data": {**numbers, **lengths, **more}}


STEPS = [{"step": 0, "data": {"val-core/gsm8k/reward/mean@1": 0.1}}, _step(1, 100.0, 3.0, 200.0), _step(2, 300.0, 7.0, 512.0)]


def _verl(folder: Path, config: str = CONFIG, steps: Sequence[Any] = tuple(STEPS), name: str = "exp/run.jsonl") -> Path:
    (folder / ".hydra").mkdir(parents=True, exist_ok=True)
    (folder / ".hydra" / "config.yaml").write_text(config)
    if steps:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("".join(json.dumps(one) + "\n" for one in steps))
    return folder


def test_verls_configuration_says_what_was_run(tmp_path: Path) -> None:
    found = _found(_verl(tmp_path / "run"), "reasoning")
    assert _proof(found, "credit_unit").value == {"unit": "turn"}
    assert _proof(found, "methodology").value == {"family": "monte-carlo"}
    assert _proof(found, "base_model").value == {"name": "Qwen/Qwen2.5-7B-Instruct"}
    data = _proof(found, "training_data")
    assert (data.answer, data.value) == ("partial", {"source": "gsm8k/train.parquet", "filter": "prompts over 512 tokens"})
    assert _proof(found, "benchmarks").value == {"names": "gsm8k/test.parquet, math/test.parquet"}
    assert _proof(found, "benchmarks").where == (".hydra/config.yaml:data.val_files",)


def test_verls_gpu_hours_are_devices_times_the_logged_steps(tmp_path: Path) -> None:
    hours = _proof(_found(_verl(tmp_path / "run"), "reasoning"), "gpu_hours")
    assert (hours.answer, hours.value) == ("partial", {"hours": 0.8})  # 16 GPUs, 180 seconds; which GPU is not said
    assert "exp/run.jsonl:timing_s/step" in hours.where
    assert "2 logged steps (1 to 2)" in hours.why


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("device: cuda", "device: cpu"),
        ("sync}", "separate_async}"),
        ("pool: false", "pool: true"),
        ("enabled: false", "enabled: true"),
    ],
)
def test_gpu_hours_are_not_guessed_where_other_devices_took_part(tmp_path: Path, old: str, new: str) -> None:
    assert old in CONFIG
    assert isinstance(_found(_verl(tmp_path / "run", CONFIG.replace(old, new)), "reasoning")["gpu_hours"], Gap)


def test_verls_lengths_are_the_policys_only_without_tools(tmp_path: Path) -> None:
    found = _found(_verl(tmp_path / "run"), "reasoning")
    assert (_proof(found, "mean_length").answer, _proof(found, "mean_length").value) == ("reported", {"tokens": 200})
    assert _proof(found, "length_distribution").value == {"min": 3, "max": 512, "unit": "tokens"}
    assert _proof(found, "rollout_budget_tokens").value == {"tokens": 400 * 16 * 4}
    steps = [_step(1, 100.0, 3.0, 200.0, turns=6.0), _step(2, 100.0, 3.0, 200.0, turns=8.0)]
    tools = _found(_verl(tmp_path / "tools", steps=steps), "reasoning")
    assert _proof(tools, "mean_length").answer == "partial"
    assert "7 messages a rollout" in _proof(tools, "mean_length").why
    assert isinstance(tools["rollout_budget_tokens"], Gap)


def test_thrown_away_groups_leave_the_token_budget_open(tmp_path: Path) -> None:
    config = CONFIG.replace("filter_groups: {enable: false}", "filter_groups: {enable: true}")
    assert isinstance(_found(_verl(tmp_path / "run", config))["rollout_budget_tokens"], Gap)


def test_without_metrics_the_configuration_still_counts(tmp_path: Path) -> None:
    found = _found(_verl(tmp_path / "run", steps=()), "reasoning")
    assert isinstance(found["mean_length"], Gap)
    assert "trainer.logger" in found["mean_length"].why
    assert isinstance(found["gpu_hours"], Gap)
    assert isinstance(found["credit_unit"], Proof)


def test_verls_own_estimators_and_unknown_ones(tmp_path: Path) -> None:
    own = _found(_verl(tmp_path / "own", CONFIG.replace("apportion/gigpo", "grpo")))
    assert _proof(own, "credit_unit").value == {"unit": "trajectory"}
    other = _found(_verl(tmp_path / "other", CONFIG.replace("apportion/gigpo", "optimal_token_baseline")))
    assert isinstance(other["credit_unit"], Gap)
    assert isinstance(other["methodology"], Gap)


def test_a_setting_that_points_elsewhere_is_not_taken_as_a_name(tmp_path: Path) -> None:
    config = CONFIG.replace("Qwen/Qwen2.5-7B-Instruct", '"${oc.select:somewhere}"')
    assert isinstance(_found(_verl(tmp_path / "run", config))["base_model"], Gap)


def test_several_files_of_metrics_are_refused_and_strangers_ignored(tmp_path: Path) -> None:
    folder = _verl(tmp_path / "run")
    (folder / "rollouts.jsonl").write_text('{"prompt": "a"}\n')
    (folder / "torn.jsonl").write_text("not json")
    assert _proof(_found(folder), "mean_length").where == ("exp/run.jsonl:response_length/mean",)
    _verl(folder, name="again.jsonl")
    with pytest.raises(FillError, match=r"several files of metrics \(again.jsonl, run.jsonl\)"):
        prove(folder)


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    folder = _verl(tmp_path / "run")
    with (folder / "exp" / "run.jsonl").open("a") as file:
        file.write('{"step": 3, "data": {"training/glo')
    assert "2 logged steps" in _proof(_found(folder, "reasoning"), "mean_length").why


@pytest.mark.parametrize("make", [_trl, _verl])
@pytest.mark.parametrize("setting", ["reasoning", "agentic"])
def test_what_trainers_fill_is_wrong_nowhere(tmp_path: Path, make: Any, setting: str) -> None:
    """Lint finds gaps, but nothing wrong in what was filled."""
    document = read(blank("A run", "gigpo", [setting], extended=True))
    done = fill(document, prove(make(tmp_path / "run"), setting=(setting,))[1])
    filled = {proof.item for proof in done.filled}
    assert filled
    wrong = [(f.item, f.says) for f in lint(read(document.text())) if f.level == "error" and f.item in filled]
    assert wrong == []
