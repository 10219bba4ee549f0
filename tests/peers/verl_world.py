"""Rollouts as verl makes them: its own AgentLoopOutput, its own configuration, its own queue (a local one, on the CPU)."""

from __future__ import annotations

import os
import pathlib
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a Ray of our own on this machine needs no token
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

LIMIT = 12


@contextmanager
def transfer_queue() -> Iterator[Any]:
    """A real TransferQueue: a controller and storage units as Ray actors."""
    import ray
    import transfer_queue as tq

    def start() -> None:
        # the queue's actors want more CPUs than a laptop may have
        ray.init("local", num_cpus=8, include_dashboard=False, log_to_driver=False)
        tq.init()

    try:
        try:
            start()
        except Exception:  # on a machine that is busy Ray may not be up in time; a second failure is one
            ray.shutdown()
            start()
        yield tq
    finally:
        tq.close()
        ray.shutdown()


def config(*overrides: str) -> Any:
    """verl's own default configuration with overrides as one types them."""
    import verl
    from hydra import compose, initialize_config_dir  # type: ignore[import-not-found,unused-ignore]

    usual = [f"data.max_response_length={LIMIT}", "actor_rollout_ref.rollout.n=4", "trainer.v1.trainer_mode=apportion"]
    with initialize_config_dir(str(pathlib.Path(verl.__file__).parent / "trainer" / "config"), version_base=None):
        return compose("ppo_trainer", overrides=[*usual, *overrides])


def output(turns: Sequence[int], tools: int = 2, score: float | None = None, end_on_tool: bool = False, **fields: Any) -> Any:
    """One AgentLoopOutput: turns of so many policy tokens with tool tokens in between."""
    from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput

    mask: list[int] = []
    for k, size in enumerate(turns):
        mask += [1] * size + [0] * (tools if k < len(turns) - 1 or end_on_tool else 0)
    return AgentLoopOutput(
        prompt_ids=[5, 6, 7],
        response_ids=list(range(100, 100 + len(mask))),
        response_mask=mask,
        reward_score=score,
        num_turns=len(turns),
        metrics=AgentLoopMetrics(),
        extra_fields={"turn_scores": [], "tool_rewards": [], **fields},
    )


def put(sessions: Sequence[tuple[str, int, Sequence[Any]]], **tensors: Sequence[Any]) -> Any:
    """Put sessions (uid, session id, outputs) into the queue as verl's agent loop worker does; tensors: more fields, by row."""
    import torch
    import transfer_queue as tq
    from transfer_queue import KVBatchMeta
    from verl.utils.tensordict_utils import list_of_dict_to_tensordict

    keys, fields = [], []
    for uid, session, outputs in sessions:
        for i, out in enumerate(outputs):
            row = out.as_dict()
            row.update(uid=uid, loss_mask=row["response_mask"], position_ids=torch.arange(len(out.response_mask) + 3))
            row.update(input_ids=torch.cat([row["prompts"], row["responses"]]))
            keys.append(f"{uid}_{session}_{i}")
            fields.append(row)
    for name, values in tensors.items():
        for row, value in zip(fields, values, strict=True):
            row[name] = torch.as_tensor(value)
    tags = [{"status": "success", "seq_len": len(f["input_ids"])} for f in fields]
    tq.kv_batch_put(keys=keys, fields=list_of_dict_to_tensordict(fields), tags=tags, partition_id="train")
    return KVBatchMeta(partition_id="train", keys=keys, tags=tags)


def add(batch: Any, **tensors: Sequence[Any]) -> None:
    """Put more fields into the queue, a tensor per row."""
    import torch
    import transfer_queue as tq
    from verl.utils.tensordict_utils import list_of_dict_to_tensordict

    rows = [{n: torch.as_tensor(v[k]) for n, v in tensors.items()} for k in range(len(batch.keys))]
    tq.kv_batch_put(keys=batch.keys, partition_id="train", fields=list_of_dict_to_tensordict(rows))


def uid() -> str:
    return uuid.uuid4().hex


def get(batch: Any, *names: str) -> list[np.ndarray[Any, Any]]:
    """Fields of the queue as (B, T) numpy arrays."""
    import transfer_queue as tq

    data = tq.kv_batch_get(keys=batch.keys, partition_id="train", select_fields=list(names))
    return [data[n].to_padded_tensor(0).float().numpy() for n in names]


def trainer(settings: Any, step: int = 1) -> Any:
    """A trainer made by verl's own constructor, without the workers that ``init()`` would start."""
    from verl.trainer.ppo.v1 import get_trainer_cls

    made = get_trainer_cls(settings.trainer.v1.trainer_mode)(settings)
    made.global_steps = step
    return made
