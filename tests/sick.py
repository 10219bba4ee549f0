"""Seeded rollouts for the doctor: healthy ones, to plant defects in."""

from __future__ import annotations

from typing import Any

import numpy as np

from apportion import Batch

Columns = dict[str, Any]


def healthy(seed: int = 0, *, groups: int = 20, size: int = 4, **changes: Any) -> Batch:
    """Groups of rollouts of 2-5 turns, two observed and 1-4 written tokens each, with nothing wrong.

    Every group holds at least one success and one failure; rewards do not depend on length; half of
    the states are shared by the rollouts of a group. ``changes`` replace columns.
    """
    rng = np.random.default_rng(seed)
    turns = rng.integers(2, 6, groups * size)
    wrote = [rng.integers(1, 5, n).tolist() for n in turns]
    lengths = [[2 + n for n in part] for part in wrote]
    action = np.concatenate([[False, False, *[True] * n] for part in wrote for n in part])
    outcome = np.concatenate([rng.permutation([0.0, 1.0, *rng.integers(0, 2, size - 2)]) for _ in range(groups)])
    state = [_states(rng, int(n), i) for i, n in enumerate(turns)]
    tokens = action.size
    columns: Columns = {
        "action": action,
        "outcome": outcome,
        "group": [f"g{i // size}" for i in range(groups * size)],
        "trajectory": [f"t{i}" for i in range(groups * size)],
        "state": state,
        "ids": rng.integers(0, 1000, tokens),
        "logp": np.where(action, -rng.exponential(size=tokens) - 0.01, 0.0),
        "entropy": rng.uniform(0, 2, tokens),
        "value": np.repeat(0.5 * outcome + 0.25, [sum(part) for part in lengths]) + 0.01 * rng.normal(size=tokens),
        "truncated": np.zeros(groups * size, dtype=bool),
    }
    columns["ref_logp"] = columns["logp"] - 0.1 * rng.normal(size=tokens) * action - 0.5 * action
    lengths = changes.pop("lengths", lengths)
    return Batch.from_turns(lengths, **{**columns, **changes})


def _states(rng: np.random.Generator, turns: int, i: int) -> list[str]:
    return [f"at {k}" if rng.random() < 0.5 else f"at {k}, seen by {i}" for k in range(turns + 1)]


def padded(seed: int = 0, rows: int = 8, width: int = 12) -> Columns:
    """The tensors of a training step by verl's names, with nothing wrong: 2 prompts, tool tokens in the middle."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((rows, width), dtype=np.int64)
    mask[:, :4] = mask[:, 6:9] = 1
    attention = np.zeros((rows, width), dtype=np.int64)
    attention[:, :9] = 1
    rewards = np.zeros((rows, width), dtype=np.float32)
    rewards[:, 8] = np.arange(rows) % 2
    logp = np.where(mask, -rng.exponential(size=mask.shape) - 0.01, 0.0).astype(np.float32)
    return {
        "response_mask": mask,
        "attention_mask": attention,
        "token_level_rewards": rewards,
        "old_log_probs": logp,
        "rollout_log_probs": logp + np.where(mask, 0.001 * rng.normal(size=mask.shape), 0.0).astype(np.float32),
        "responses": rng.integers(0, 1000, mask.shape),
        "uid": np.array([f"p{r // 4}" for r in range(rows)], dtype=object),
        "turns": "mask",
    }
