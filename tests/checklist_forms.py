"""Forms for the tests of the checklist: one that reports everything, and what is changed in it."""

from __future__ import annotations

from typing import Any

from apportion.checklist.form import Answer, Document, read
from apportion.checklist.template import blank

#: A value for each item that is enough for "reported", in the agentic setting.
VALUES: dict[str, Any] = {
    "base_model": {"name": "Qwen2.5-7B-Instruct", "size": "7.6B", "version": "a09a354"},
    "training_data": {"source": "ALFWorld train", "size": 3553, "filter": "none"},
    "credit_unit": "turn",
    "methodology": "monte-carlo",
    "episode_baseline": {"baseline": "GRPO", "same_base_model": True},
    "baseline_budget": {"method": 210, "baseline": 205.5, "unit": "gpu_hours"},
    "credit_ablation": {"switched_off": "step advantage", "with_credit": "90.2", "without_credit": "77.6"},
    "benchmarks": {"names": ["ALFWorld"], "splits": "valid unseen, 134 tasks"},
    "metric": {"name": "success rate", "definition": "temperature 0.4, 50 turns, environment's own check"},
    "spread": {"kind": "std", "over": "training_seeds", "seeds": 3},
    "gpu_hours": {"hours": 640.5, "device": "H100"},
    "credit_overhead": {"amounts": {"forward_passes": 0, "resets": 0}, "per": "trajectory"},
    "mean_length": {"turns": 18.2},
    "length_distribution": {"min": 4, "median": 16, "max": 50, "unit": "turns"},
    "seeds_and_aggregation": {"seeds": 3, "aggregate": "mean", "interval": "none"},
    "replay_provenance": {"way": "environment_restore", "replica_noise": "0 of 200"},
    "judge_calibration": {"judge": "j-1", "agreement": "0.8", "against": "people"},
    "rollout_budget_tokens": 120_000_000,
    "tuning_budget_both_arms": {"method": 4, "baseline": 4},
    "failure_runs": {"failed": 0, "of": 6},
    "environment_version_and_reset_cost": {"environment": "ALFWorld", "version": "0.4.2", "reset_seconds": 0.8},
    "code_commit": {"repository": "github.com/x/y", "commit": "0f3c", "licence": "MIT"},
}


def full(setting: str = "agentic") -> Document:
    """A form in which every item is reported; nothing is wrong with it."""
    document = read(blank("A paper", "gigpo", [setting], extended=True), "report.yaml")
    for id_, value in VALUES.items():
        document.put(id_, Answer(answer="reported", value=value, where=("Table 1",)))
    return document


def changed(old: str, new: str, document: Document | None = None) -> Document:
    """The full form with its text changed at one place."""
    text = (document or full()).text()
    assert text.count(old) == 1, (old, text.count(old))
    return read(text.replace(old, new), "report.yaml")


def put(id_: str, **answer: Any) -> Document:
    """The full form with another answer to one item."""
    document = full()
    document.put(id_, Answer.model_validate(answer))
    return document
