"""A made-up run folder with every case the report must show: never, undetermined, wrong way, NaN."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

#: id -> (title, oracle, paid, worth at 20 turns, growth with horizon, squared bias over truth, price)
METHODS: dict[str, tuple[str, bool, bool, float, float, float, float]] = {
    "rloo": ("RLOO", False, False, 1.0, 0.0, 0.0, 1.0),
    "grpo": ("GRPO", False, False, 0.95, 0.0, 0.15, 1.0),
    "gae": ("GAE", False, False, 3.0, 0.3, 0.06, 1.4),
    "vineppo": ("VinePPO, 16 continuations a turn", False, True, 8.0, 0.0, 0.0, 60.0),
    "gigpo": ("GiGPO", False, False, 0.6, -0.3, 0.3, 1.0),
    "tempo": ("TEMPO", False, False, 2.0, 0.1, 0.01, 1.0),
    "hcapo": ("HCAPO", False, True, 1.6, 0.0, 0.08, 3.0),
    "pure": ("PURE", False, True, 0.5, -0.6, 0.9, 2.0),
    "carl": ("CARL", False, True, 4.0, 0.1, 0.02, 5.0),
    "pooled_td": ("Pooled TD", False, False, 14.0, 0.8, 0.004, 1.0),
    "pure-judge80": ("PURE, judge right on 80 % of texts", True, True, 3.0, 0.1, 0.1, 4.0),
    "exact": ("exact credit", True, False, 28.0, 1.4, 0.0, 1.0),
}
#: id -> (horizon, tags, title)
TASKS: dict[str, tuple[int, list[str], str]] = {
    "forks-20": (20, ["recoverable"], "Bifurcation, 20 turns"),
    "forks-100": (100, ["recoverable"], "Bifurcation, 100 turns"),
    "forks-500": (500, ["recoverable"], "Bifurcation, 500 turns"),
    "hidden-100": (100, ["hidden"], "Bifurcation with hidden state, 100 turns"),
}
BATCHES = (64, 512, 4096)
EVIL = "<script>window.evil = 1</script></script><img src=x onerror='window.evil = 2'> & \u2028 {{ 7 * 7 }}"

Rows = list[tuple[str, str, int, str, str, int, float, float]]


def write_run(folder: Path, *, seeds: int = 8, methods: tuple[str, ...] = tuple(METHODS), lens: bool = True) -> Path:
    """Write results.parquet, manifest.json and lens.json into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: Rows = []
    for task in TASKS:
        for method in methods:
            for seed in range(seeds):
                rng = np.random.default_rng([list(TASKS).index(task), list(METHODS).index(method), seed])
                rows += _gradient(rng, method, task, seed) + _learning(rng, method, task, seed)
                rows += _identification(rng, method, task, seed)
    write_rows(folder, rows)
    manifest = {
        "suite": "quick",
        "command": "apportion bench run --suite quick --seeds 8 --out RUN",
        "versions": {"apportion": "0.1.0", "python": "3.11.9", "numpy": "2.0.0"},
        "prices": {"generated": 1.0, "scored": 0.3, "env_steps": 5.0, "judge_calls": 500.0, "trained": 2.0},
        "tasks": [
            {"id": i, "family": "bifurcation", "tags": t, "horizon": h, "title": title, "forks": 3, "prompts": 16}
            for i, (h, t, title) in TASKS.items()
        ],
        "entrants": [
            {"id": m, "title": METHODS[m][0], "oracle": METHODS[m][1], "paid": METHODS[m][2], "method": m.split("-")[0]}
            for m in methods
        ],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    if lens:
        (folder / "lens.json").write_text(json.dumps(fake_lens()))
    return folder


def write_rows(folder: Path, rows: Rows) -> None:
    names = ("method", "task", "seed", "measure", "metric", "batch", "lr", "value")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), folder / "results.parquet")


def _worth(method: str, task: str) -> float:
    _, _, _, worth, growth, _, _ = METHODS[method]
    horizon, tags, _ = TASKS[task]
    return float(worth * (horizon / 20.0) ** growth * (0.5 if "hidden" in tags and method != "rloo" else 1.0))


def _gradient(rng: np.random.Generator, method: str, task: str, seed: int) -> Rows:
    """Rows whose noise is 20 T / (B worth) of the truth's square, plus the method's bias."""
    rows: Rows = []
    bias, price = METHODS[method][5], METHODS[method][6]
    truth2 = 2.0
    for batch in BATCHES:
        noise = 20.0 * TASKS[task][0] / (batch * _worth(method, task)) * rng.uniform(0.9, 1.1)
        inner = truth2 * (1.0 + rng.normal(0.0, 0.15 * math.sqrt(noise / 8)))
        if method == "gigpo" and task == "forks-500":
            inner = -0.4 * truth2 * rng.uniform(0.8, 1.2)
        if method == "pure" and task == "forks-500":
            inner = truth2 * rng.normal(0.0, 0.5)
        found = {
            "inner": inner,
            "norm2": max(truth2 * (1.0 + bias + noise), 1.0001 * inner**2 / truth2),
            "truth2": truth2,
            "cross": 2 * inner - truth2 + truth2 * bias * rng.uniform(0.9, 1.1),
            "replicates": 32.0,
            "gain_best": 0.01 / (1 + noise),
            "gain_kl": 0.004 / (1 + noise),
            "price": price * 3.0 * TASKS[task][0],
        }
        if method == "grpo":
            found |= {"between2": 0.1 * rng.uniform(0.8, 1.2), "within2": 0.05 * rng.uniform(0.8, 1.2), "useful2": 1.0}
        rows += [(method, task, seed, "gradient", k, batch, math.nan, v) for k, v in found.items()]
    return rows


def _learning(rng: np.random.Generator, method: str, task: str, seed: int) -> Rows:
    horizon, _, _ = TASKS[task]
    if task == "hidden-100" and method in ("carl", "tempo"):
        return []  # measured by gradient only
    rows: Rows = []
    cost = 2e4 * (horizon / 20.0) ** 1.9 / _worth(method, task) ** 0.7 * METHODS[method][6] ** 0.8
    budget = 4e4 * (horizon / 20.0) ** 1.75
    for batch, lr in ((64, 0.1), (64, 1.0), (512, 1.0)):
        need = cost * (1.0 if lr == 1.0 and batch == 64 else 1.7) * rng.lognormal(0.0, 0.12)
        reached = need < budget and not (method == "pure" and horizon > 20) and not (method == "gigpo" and horizon > 100)
        found = {
            "reached": float(reached),
            "cost": min(need, budget),
            "updates": min(need, budget) / (batch * horizon),
            "final": 0.9 if reached else 0.3 + 0.3 * min(budget / need, 1.0),
            "attainable": 1.0,
            "start": 0.3,
        }
        rows += [(method, task, seed, "learning", k, batch, lr, v) for k, v in found.items()]
    return rows


def _identification(rng: np.random.Generator, method: str, task: str, seed: int) -> Rows:
    good = min(0.98, 0.1 + 0.25 * math.log10(1 + 3 * _worth(method, task)))
    found = {
        "correlation": good * rng.uniform(0.95, 1.0),
        "sign": 0.5 + good / 2.1,
        "fork_ap": math.nan if method == "grpo" else good * 0.9,
        "leak_routine": 1 - good,
        "leak_luck": (1 - good) / 2,
    }
    rows: Rows = [(method, task, seed, "identification", k, 0, math.nan, v) for k, v in found.items()]
    price = METHODS[method][6]
    counted = {
        "generated": 0.0 if price < 2 else 40.0 * price,
        "scored": 100.0 if method == "hcapo" else 0.0,
        "env_steps": 0.0 if price < 2 else price,
        "judge_calls": 1.0 if method == "pure" else 0.0,
        "trained": 3.0 * TASKS[task][0],
        "price": price * 3.0 * TASKS[task][0],
    }
    return rows + [(method, task, seed, "cost", k, 0, math.nan, v) for k, v in counted.items()]


def fake_lens() -> dict[str, Any]:
    """Two tasks, three trajectories each; the first one's second turn carries markup."""
    rng = np.random.default_rng(3)
    tasks = []
    for task, turns in (("forks-20", 20), ("forks-100", 100)):
        trajectories = []
        for k in range(3):
            forks = set(rng.choice(turns, 3, replace=False).tolist())
            truth = [float(rng.normal(0, 0.4)) if t in forks else 0.0 for t in range(turns)]
            luck = rng.normal(0, 0.05, turns).round(3).tolist()
            reward = float(rng.random() < 0.5)
            noisy: dict[str, list[float | None]] = {
                "rloo": [reward - 0.4] * turns,
                "grpo": [2.1 * (reward - 0.4)] * turns,
                "vineppo": [v + float(rng.normal(0, 0.08)) for v in truth],
                "gigpo": [v * 0.5 + 0.3 * (reward - 0.4) for v in truth],
                "pooled_td": [v + float(rng.normal(0, 0.02)) for v in truth],
                "pure": [None if t % 4 else float(rng.normal(0, 0.2)) for t in range(turns)],
            }
            text = [f"turn {t}: the agent opens door {t % 4}" for t in range(turns)]
            if k == 0:
                text[1] = EVIL
            trajectories.append(
                {
                    "id": f"{task}/{k}",
                    "reward": reward,
                    "prompt": EVIL if k == 0 else f"Prompt {k}: find the exit",
                    "turns": [{"text": text[t], "fork": t in forks} for t in range(turns)],
                    "truth": truth,
                    "luck": luck,
                    "methods": noisy,
                }
            )
        tasks.append({"task": task, "trajectories": trajectories})
    return {"tasks": tasks}
