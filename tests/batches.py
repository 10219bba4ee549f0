"""Seeded random batches with every column, for the tests of structure and of the edges."""

from __future__ import annotations

from typing import Any

import numpy as np

from apportion import Batch, Spans


def random_batch(seed: int = 0, *, n: int = 5, rows: str = "trajectory", columns: bool = True) -> Batch:
    """``n`` trajectories of 1-4 turns of 1-6 tokens with steps, observation tokens and every column."""
    rng = np.random.default_rng(seed)
    lengths = [rng.integers(1, 7, rng.integers(1, 5)).tolist() for _ in range(n)]
    steps = [[s for t in turns for s in _split(rng, t)] for turns in lengths]
    action = np.concatenate([_mask(rng, s) for part in steps for s in part])
    tokens, turns = int(sum(map(sum, lengths))), sum(map(len, lengths))
    n_steps = sum(map(len, steps))
    more: dict[str, Any] = {}
    if columns:
        process = rng.uniform(-1, 1, n_steps)
        process[rng.random(n_steps) < 0.3] = np.nan
        start = rng.integers(0, tokens, 4)
        more = {
            "outcome": rng.normal(size=n),
            "turn_reward": rng.normal(size=turns),
            "token_reward": rng.normal(size=tokens) * action,
            "agent": ["planner", None, "coder"] * n,
            "state": [[0, "hall", None, ("a", 1), 2.5, True][i] for i in rng.integers(0, 6, turns + n)],
            "ids": rng.integers(0, 2**62, tokens),
            "logp": -rng.exponential(size=tokens),
            "ref_logp": -rng.exponential(size=tokens),
            "value": rng.normal(size=tokens),
            "entropy": rng.exponential(size=tokens),
            "process": process,
            "node": rng.integers(0, 9, turns),
            "parent": rng.integers(-1, 9, turns),
            "text": [None if i % 4 == 3 else f"turn {i} – «é\n\u2028»" for i in range(turns)],
            "truncated": rng.random(n) < 0.5,
            "bootstrap": rng.normal(size=n),
            "success": rng.random(n) < 0.5,
            "limit": 512,
            "spans": {"option": Spans(start, np.minimum(start + 1 + np.arange(4), tokens), ("a", "b", "a", "c"))},
            "meta": {"seed": seed, "nested": {"pair": (1, 2.5), "none": None}},
            "group": [f"g{i % 2}" for i in range(n)],
            "episode": [i % 2 + 10 for i in range(n)],
        }
        more["agent"] = more["agent"][:n]
    return Batch.from_turns(lengths, rows=rows, steps=steps, action=action, trajectory=[f"t{i}" for i in range(n)], **more)


def _split(rng: np.random.Generator, length: int) -> list[int]:
    first = int(rng.integers(1, length + 1))
    return [first] if first == length else [first, length - first]


def _mask(rng: np.random.Generator, length: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    mask = rng.random(length) < 0.6
    mask[rng.integers(length)] = True
    return mask
