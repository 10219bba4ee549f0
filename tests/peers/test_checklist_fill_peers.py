"""What trainers really write: a run of TRL, and verl's own configuration, metrics and file logger, are read as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apportion.checklist.fill import Finding, Gap, Proof, prove


def _found(folder: Path, *setting: str) -> dict[str, Finding]:
    return {one.item: one for one in prove(folder, setting=setting)[1]}


def _proof(found: dict[str, Finding], item: str) -> Proof:
    one = found[item]
    assert isinstance(one, Proof), one
    return one


def test_a_run_of_trl_proves_its_lengths(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from trl import GRPOTrainer

    from .trl_world import config, model, prompts, tokenizer

    lengths: list[int] = []

    def reward(completion_ids: Any, **rest: Any) -> list[float]:
        lengths.extend(map(len, completion_ids))
        return [float(len(ids) % 3) for ids in completion_ids]

    folder = tmp_path / "out"
    trainer = GRPOTrainer(
        model=model(),
        reward_funcs=reward,
        args=config(folder, max_steps=4, logging_steps=2),
        train_dataset=prompts(),
        processing_class=tokenizer(),
    )
    trainer.train()
    trainer.save_state()
    trainer.create_model_card("corridor", "rooms")
    found = _found(folder, "reasoning")
    mean = _proof(found, "mean_length")
    assert mean.answer == "reported"
    assert (mean.value or {})["tokens"] == pytest.approx(sum(lengths) / len(lengths), abs=1e-3)
    ends = _proof(found, "length_distribution").value or {}
    assert min(lengths) <= ends["min"] <= ends["max"] <= max(lengths)
    assert _proof(found, "gpu_hours").answer == "partial"
    assert _proof(found, "training_data").value == {"source": "rooms"}
    assert (_proof(found, "code_commit").value or {})["repository"] == "TRL"
    assert isinstance(found["base_model"], Gap)  # a model made here has no public name


def test_verls_own_configuration_metrics_and_logger_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("verl")
    torch = pytest.importorskip("torch")
    import numpy as np
    from omegaconf import OmegaConf
    from verl import DataProto
    from verl.trainer.ppo.metric_utils import compute_data_metrics, compute_timing_metrics
    from verl.utils.tracking import Tracking

    from .verl_world import config

    overrides = (
        "algorithm.adv_estimator=apportion/gigpo",
        "actor_rollout_ref.model.path=Qwen/Qwen2.5-0.5B",
        "actor_rollout_ref.rollout.n=2",
    )
    settings = config(*overrides, "actor_rollout_ref.rollout.n=2", "data.train_batch_size=2", "trainer.n_gpus_per_node=4")
    (tmp_path / ".hydra").mkdir()
    OmegaConf.save(settings, tmp_path / ".hydra" / "config.yaml")  # as hydra does: interpolations stay as they are
    monkeypatch.setenv("VERL_FILE_LOGGER_PATH", str(tmp_path / "metrics.jsonl"))
    log = Tracking("project", "run", ["file"], OmegaConf.to_container(settings, resolve=False))
    for step, sizes in ((1, [3, 5, 2, 6]), (2, [1, 4, 4, 3])):
        mask = (torch.arange(6)[None, :] < torch.tensor(sizes)[:, None]).long()
        seen = torch.cat([torch.ones(4, 3).long(), mask], 1)
        zeros = torch.zeros(4, 6)
        tensors = dict.fromkeys(("token_level_scores", "token_level_rewards", "advantages", "returns", "responses"), zeros)
        batch = DataProto.from_dict(
            tensors={
                **tensors,
                "prompts": torch.zeros(4, 3),
                "response_mask": mask,
                "attention_mask": seen,
            },
            non_tensors={"__num_turns__": np.array([2, 2, 2, 2])},
        )
        metrics = compute_data_metrics(batch, use_critic=False) | compute_timing_metrics(batch, {"step": 36.0, "adv": 0.25})
        log.log(metrics | {"training/global_step": step}, step)
    found = _found(tmp_path, "reasoning")
    assert _proof(found, "mean_length").value == {"tokens": 3.5}
    assert _proof(found, "mean_length").answer == "reported"
    assert _proof(found, "length_distribution").value == {"min": 1, "max": 6, "unit": "tokens"}
    assert _proof(found, "gpu_hours").value == {"hours": 4 * 72 / 3600}
    assert _proof(found, "credit_overhead").value == {"amounts": {"seconds of the advantage": 0.25}, "per": "update"}
    assert _proof(found, "rollout_budget_tokens").value == {"tokens": 28}
    assert _proof(found, "credit_unit").value == {"unit": "turn"}
    assert _proof(found, "base_model").value == {"name": "Qwen/Qwen2.5-0.5B"}
    assert _proof(found, "training_data").value == {"source": "gsm8k/train.parquet", "filter": "none by the trainer"}
