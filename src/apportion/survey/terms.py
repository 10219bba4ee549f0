"""The closed vocabularies of the inventory: the survey's axes and codes, and what we add to them."""

from __future__ import annotations

from typing import Literal

#: What the paper gives credit to; "agent" is one agent of several, "trajectory" the baselines' level.
Granularity = Literal["token", "segment", "step", "turn", "trajectory", "agent", "other"]

#: Where a method is at home; the first three are the survey's. "alignment" is learning from human
#: preferences on single answers, "classical" is reinforcement learning without language models.
Setting = Literal["reasoning", "agentic", "multi-agent", "alignment", "classical"]

#: How the credit is computed: the survey's second axis, and "heuristic" for what is on none of its columns.
Methodology = Literal["monte-carlo", "temporal-difference", "model-based", "game-theoretic", "information-theoretic", "heuristic"]

#: Which list a record comes from: the survey's 47, the companion list's later additions by date, the
#: baselines everyone compares with, other methods we implement, and our own.
Snapshot = Literal["survey", "2026.05", "2026.07", "2026.08", "baseline", "other", "ours"]

#: Whether the paper's main contribution is a new way to give credit.
Scope = Literal["core", "adjacent", "near-core", "related", "evaluation", "baseline"]

#: What a paper compares itself with: the survey's codes (GRPO, PPO, DPO, outcome reward model, temporal
#: difference), and ours for none and other.
Baseline = Literal["G", "P", "D", "O", "T", "none", "other"]

#: Where a coded value was read: the survey, its author's companion list, the paper or its official code
#: ("primary"), what others write of it where the paper itself was not read ("secondary"), or our own
#: judgement or check.
Origin = Literal["survey", "companion", "primary", "secondary", "ours"]

#: What the reporting checklist can say of an item.
Answer = Literal["reported", "partial", "not_reported", "not_applicable"]

#: What a diagnostic can say: the paper's declared mechanism answers the difficulty, or does not.
Addressed = Literal["addressed", "not_addressed", "not_applicable"]

#: What a method needs besides rollouts and their outcome rewards.
Need = Literal[
    "group", "state_keys", "steps", "segments", "turns", "tree", "critic", "process_reward", "reward_model", "judge",
    "hindsight_model", "branching", "environment_reset", "policy_logp", "reference_logp", "entropy", "gold_answer",
    "privileged_information", "expert_demonstrations", "preference_pairs", "several_agents", "turn_rewards", "tool_execution",
    "auxiliary_model", "baseline_rollout", "counterfactual_rollouts", "fresh_actions", "contrast_prompts", "action_types",
    "gradients", "coalition_values",
]  # fmt: skip

#: The 14 items of the survey's reporting checklist, in its order; the ids are ours.
ITEMS: tuple[str, ...] = (
    "base_model", "training_data", "credit_unit", "methodology", "episode_baseline", "baseline_budget", "credit_ablation",
    "benchmarks", "metric", "spread", "gpu_hours", "credit_overhead", "mean_length", "length_distribution",
)  # fmt: skip

#: The six diagnostics of the survey's later revision.
DIAGNOSTICS: dict[str, str] = {
    "T": "transition non-closure",
    "O": "partial observability",
    "R": "limited replay",
    "H": "heterogeneous actions",
    "V": "weak local verifiability",
    "C": "agent coupling",
}
