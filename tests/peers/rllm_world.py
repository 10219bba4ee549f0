"""A stand-in for rLLM where it is not installed (it is on no package index): what the plug-in meets of commit 9beb6e0f.

Recorded: the fields of ``rllm/types.py``; ``rLLMAdvantageEstimator``, ``AlgorithmConfig.from_config`` and ``TransformConfig``
of ``rllm/trainer/algorithms/config.py``; the registry, the signature of estimators and the order of
``collect_reward_and_advantage_from_trajectory_groups`` of ``.../advantage.py`` with its GRPO and RLOO; grouping and its hook of
``.../transform.py``.
"""

from __future__ import annotations

MODULES = {
    "rllm.types": """
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Step:
    prompt_ids: list = field(default_factory=list)
    response_ids: list = field(default_factory=list)
    logprobs: list = field(default_factory=list)
    reward: float = 0.0
    metadata: dict | None = None
    advantage: Any = None

    def __post_init__(self):
        assert not self.logprobs or len(self.logprobs) == len(self.response_ids), "length mismatch"


@dataclass
class Trajectory:
    name: str = "default_traj_name"
    steps: list = field(default_factory=list)
    reward: float | None = None


@dataclass
class Episode:
    id: str
    trajectories: list = field(default_factory=list)
    termination_reason: Any = None
    is_correct: bool = False

    task_id = property(lambda self: self.id.split(":")[0])
    rollout_idx = property(lambda self: self.id.split(":")[1])


@dataclass
class TrajectoryGroup:
    trajectories: list
    group_id: str = ""
    metadata: list = field(default_factory=list)

    group_role = property(lambda self: self.group_id.split(":")[1] if ":" in self.group_id[:-1] else "all_groups")
    task_id = property(lambda self: self.group_id.split(":")[0])
""",
    "rllm.workflows.workflow": """
from enum import Enum


class TerminationReason(Enum):
    ENV_DONE = "env_done"
    MAX_TURNS_EXCEEDED = "max_turns_exceeded"
    UNKNOWN = "unknown"
""",
    "rllm.trainer.algorithms.config": """
from dataclasses import dataclass, field
from enum import Enum


class rLLMAdvantageEstimator(str, Enum):
    GRPO = "grpo"
    RLOO = "rloo"
    OTHER = "other"

    @classmethod
    def _missing_(cls, value):
        return cls.OTHER


@dataclass
class TransformConfig:
    broadcast: bool = True


@dataclass
class AlgorithmConfig:
    estimator: rLLMAdvantageEstimator = rLLMAdvantageEstimator.GRPO
    estimator_map: dict = field(default_factory=dict)
    norm_adv_by_std_in_grpo: bool = True
    use_precomputed_advantage: bool = False

    @classmethod
    def from_config(cls, algorithm_config, *, stepwise_advantage_mode="broadcast", estimator_map=None):
        return cls(
            rLLMAdvantageEstimator(algorithm_config.adv_estimator), estimator_map or {},
            algorithm_config.get("norm_adv_by_std_in_grpo", True), algorithm_config.get("use_precomputed_advantage", False),
        )
""",
    "rllm.trainer.algorithms.transform": """
from rllm.types import TrajectoryGroup


def _default_traj_grouping_hook(episodes, transform_config, compact_filtering_config=None):
    found = {}
    for e in episodes:
        for t in e.trajectories:
            if t.steps:
                about = {"task_id": e.task_id, "rollout_idx": e.rollout_idx, "termination_reason": e.termination_reason,
                         "is_correct": e.is_correct}
                found.setdefault(f"{e.task_id}:{t.name}", []).append((t, about))
    groups = [TrajectoryGroup([t for t, _ in ts], name, [a for _, a in ts]) for name, ts in found.items()]
    for g in groups:
        if all(t.reward is None for t in g.trajectories):
            for t in g.trajectories:
                t.reward = t.steps[-1].reward
    return groups


def transform_episodes_to_trajectory_groups(
    episodes, transform_config, compact_filtering_config=None, metrics_prefix="groups",
    traj_grouping_hook=_default_traj_grouping_hook,
):
    return traj_grouping_hook(episodes, transform_config, compact_filtering_config), {"groups/num_groups": 0}
""",
    "rllm.trainer.algorithms.advantage": """
import numpy as np

from rllm.trainer.algorithms.config import rLLMAdvantageEstimator

RLLM_ADV_ESTIMATOR_REGISTRY = {}


def register_rllm_adv_estimator(name):
    def decorator(func):
        RLLM_ADV_ESTIMATOR_REGISTRY[name] = func
        return func

    return decorator


@register_rllm_adv_estimator(rLLMAdvantageEstimator.GRPO)
def grpo(rewards, algorithm_config, **kwargs):
    scale = [r.std() + 1e-6 if algorithm_config.norm_adv_by_std_in_grpo else 1.0 for r in rewards]
    found = [(r - r.mean()) / s for r, s in zip(rewards, scale, strict=True)]
    return found, found


@register_rllm_adv_estimator(rLLMAdvantageEstimator.RLOO)
def rloo(rewards, algorithm_config, **kwargs):
    found = [(r - r.mean()) * len(r) / (len(r) - 1) for r in rewards]
    return found, found


def collect_reward_and_advantage_from_trajectory_groups(groups, algorithm_config, collect_advantage=True):
    by_role = {}
    for group in groups:
        steps = [s for t in group.trajectories for s in t.steps]
        if any(s.advantage is not None for s in steps) and algorithm_config.use_precomputed_advantage:
            for s in steps if collect_advantage else []:
                if isinstance(s.advantage, float):
                    s.advantage = [s.advantage] * len(s.response_ids)
                elif not isinstance(s.advantage, list):
                    raise ValueError("step.advantage must be a scalar or a list")
                elif len(s.advantage) != len(s.response_ids):
                    s.advantage = [0.0] * len(s.response_ids)
        elif collect_advantage:
            by_role.setdefault(group.group_role, []).append(group)
    for role, members in by_role.items():
        fn = RLLM_ADV_ESTIMATOR_REGISTRY[algorithm_config.estimator_map.get(role, algorithm_config.estimator)]
        rewards = [np.array([t.reward for t in g.trajectories]) for g in members]
        found, _ = fn(rewards=rewards, algorithm_config=algorithm_config, traj_groups=members)
        for g, values in zip(members, found, strict=True):
            for t, value in zip(g.trajectories, values, strict=True):
                for s in t.steps:
                    s.advantage = float(value)
    return {}
""",
}
