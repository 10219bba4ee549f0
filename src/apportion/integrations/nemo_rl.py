"""NeMo-RL: every method that its trainers can feed, as the estimator ``apportion/<method>``. See ``docs/nemo-rl.md``.

NeMo-RL makes its estimator by one module-level function of its configuration, which :func:`install` replaces. GRPO shows
the estimator message logs (turns are messages, token ids and all); PPO, and GRPO over the data plane, masks and numbers only.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

from ..edges.tensors import to_numpy
from ..errors import BatchError, OptionError, TrainerError
from . import honours, thin
from .calls import credit_calls
from .message_logs import Noted, read_log
from .method_table import rewrite
from .rows import PREFIX, Plan, Rows, credit_rows, plan, read, say
from .versions import check_version

#: NeMo-RL versions the plug-in was written for: this one and above, below the other.
TESTED = ("0.7.0", "0.7.1")

#: What NeMo-RL's own estimators are told in ``adv_estimator``; ours leave it alone.
THEIRS = {
    "normalize_rewards", "use_leave_one_out_baseline", "minus_baseline", "gae_lambda", "gae_gamma", "normalize_advantages",
    "gae_lambda_value", "gae_lambda_policy", "length_adaptive_alpha",
}  # fmt: skip

WAYS = {
    "state": "`states='observation'`, or `extra_env_info[i]['apportion']['state']`",
    "turn_reward": "`extra_env_info[i]['apportion']['turn_reward']`",
    "logp": "`loss_fn.force_on_policy_ratio=false`",
    "ref_logp": "`grpo.skip_reference_policy_logprobs_calculation=false`",
    "value": "PPO",
}
#: No token leaves the loss: what it averages over is fixed before credit is known.
_LOSS = honours.Honours("NeMo-RL", frozenset({"token", "sequence"}), keep=False, denominator=None)
#: GRPO where settings bring all that they can.
PLACE = thin.Place(
    "NeMo-RL", ("outcome", "reward", "group", "ids", "logp", "ref_logp", "truncated", "state", "turn_reward"), _LOSS, WAYS
)
#: What NeMo-RL calls the columns it passes: GRPO's names, then PPO's.
NAMES = {
    "logprobs_policy": "logp", "logprobs_reference": "ref_logp", "logprobs": "logp", "reference_logprobs": "ref_logp",
    "values": "value",
}  # fmt: skip
#: What is there without message logs.
NUMBERS = ("outcome", "reward", "group", "logp", "ref_logp")


def install(method: str, **options: Any) -> str:
    """Let ``adv_estimator.name = apportion/<method>`` be this method, in the process of NeMo-RL's trainer; returns that name.

    options: the method's; ``fit``, ``learned``, a live source; ``states="observation"``; ``seed``. Everything but the
    configuration is checked here. NeMo-RL's own estimators go on to be made by NeMo-RL.
    """
    check_version("nemo-rl", TESTED, "apportion's plug-in")
    plan(replace(PLACE, columns={*PLACE.columns, "value"}), method, options)
    for name in ("grpo", "grpo_sync", "ppo"):
        module: Any = import_module(f"nemo_rl.algorithms.{name}")
        made = module._create_advantage_estimator
        factory = made if isinstance(made, Factory) else Factory(made, {})
        if list(inspect.signature(factory.theirs).parameters) != ["master_config"]:
            raise TrainerError(f"{name}._create_advantage_estimator does not take (master_config), as it did in NeMo-RL 0.7.0")
        factory.ours[PREFIX + method] = options
        module._create_advantage_estimator = factory
    return PREFIX + method


@dataclass(frozen=True)
class Factory:
    """In the place of ``_create_advantage_estimator``. theirs: what stood there. ours: name -> options."""

    theirs: Callable[[Any], Any]
    ours: dict[str, dict[str, Any]]

    def __call__(self, master_config: Any) -> Any:
        section, critic = _section(master_config)
        name = str((section.get("adv_estimator") or {}).get("name", ""))
        if not name.startswith(PREFIX):
            return self.theirs(master_config)
        if name not in self.ours:
            raise OptionError(
                f"adv_estimator.name = {name!r}: call install({name.removeprefix(PREFIX)!r}) first, in this process"
            )
        return Estimator(check(master_config, name, self.ours[name]), critic)


def check(master_config: Any, name: str, options: dict[str, Any]) -> Plan:
    """Refuse what would fail or go wrong in training with this configuration; NeMo-RL asks before its first rollout."""
    section, critic = _section(master_config)
    loss = master_config.loss_fn
    stray = sorted(set(section["adv_estimator"]) - THEIRS - {"name"})
    if stray:
        raise OptionError(f"adv_estimator.{stray[0]}: options are given to install({name.removeprefix(PREFIX)!r}, ...)")
    if loss.use_kl_in_reward:
        raise OptionError(
            "loss_fn.use_kl_in_reward = True takes the KL penalty out of the loss, for NeMo-RL's own estimators to add: "
            "set it to False"
        )
    logs = not critic and not (getattr(master_config, "data_plane", None) or {}).get("enabled", False)
    columns = set(PLACE.columns if logs else NUMBERS) | ({"value"} if critic else set())
    if not logs and options.get("states") == "observation":
        raise OptionError("states = 'observation': PPO and data_plane.enabled show an estimator no tokens; use GRPO without them")
    if (section.get("reward_scaling") or {}).get("enabled"):
        columns.discard("turn_reward")  # of another scale than the total they are part of
    if loss.force_on_policy_ratio and section.get("seq_logprob_error_threshold") is None and not critic:
        columns.discard("logp")  # NeMo-RL puts zeros there
    if section.get("skip_reference_policy_logprobs_calculation"):
        columns.discard("ref_logp")
    denominator = "token" if loss.token_level_loss else "sequence"
    ratios = frozenset({"token", "sequence"} if loss.sequence_level_importance_ratios else {"token"})
    where = honours.Honours(f"NeMo-RL (token_level_loss={loss.token_level_loss})", ratios, keep=False, denominator=denominator)
    made = plan(thin.Place("NeMo-RL", columns, where, WAYS), name, options, int(section["num_generations_per_prompt"]))
    if loss.sequence_level_importance_ratios and made.chosen.spec.unit != "trajectory":
        raise OptionError(
            f"loss_fn.sequence_level_importance_ratios = True gives every token the mean credit of its sequence, "
            f"but {made.chosen.spec.id} credits every {made.chosen.spec.unit}: set it to False"
        )
    return say(made)


class Estimator:
    """What NeMo-RL's trainers call. critic: PPO's, which wants returns as well."""

    def __init__(self, plan: Plan, critic: bool = False) -> None:
        self.plan, self.critic, self.step = plan, critic, 0

    def compute_advantage(self, prompt_ids: Any, rewards: Any, mask: Any, repeated_batch: Any = None, **tensors: Any) -> Any:
        """Advantages, (B, L), 0 outside the policy's tokens; with returns for PPO."""
        self.step += 1
        wanted = read(self.plan.chosen) & set(self.plan.place.columns)
        numbers = {
            column: to_numpy(column, tensors[name])
            for name, column in NAMES.items()
            if column in wanted and tensors.get(name) is not None
        }
        action, reward = to_numpy("mask", mask) != 0, to_numpy("rewards", rewards).astype(np.float64)
        _, group = np.unique(to_numpy("prompt_ids", prompt_ids), axis=0, return_inverse=True)
        if "ids" not in self.plan.place.columns:
            columns = {**numbers, "outcome": reward, "group": group.ravel().tolist()}
            done = credit_rows(self.plan, Rows(action, columns=columns), self.step)
            token, returns = mask.new_tensor(done.token, dtype=rewards.dtype), mask.new_tensor(done.returns, dtype=rewards.dtype)
            return (token, returns) if self.critic else token
        return mask.new_tensor(self._of_logs(action, reward, group.ravel(), repeated_batch, numbers), dtype=rewards.dtype)

    def _of_logs(self, action: Any, reward: Any, group: Any, batch: Any, numbers: Any) -> Any:
        if len({len(action), len(reward), len(group), len(batch["message_log"])}) > 1:
            raise BatchError(f"{len(batch['message_log'])} message logs, but {len(action)} masks, {len(reward)} rewards")
        for name, value in numbers.items():
            if value.shape != action.shape:
                raise BatchError(f"{name} has shape {value.shape}, but the mask of policy tokens has {action.shape}")
        rows = [int(r) for r in np.flatnonzero(action.any(axis=1))]
        paid = "turn_reward" in self.plan.place.columns
        rollouts = [
            read_log(f"sample {r}", batch["message_log"][r], Noted.of(batch, r, paid), action[r], float(reward[r]), int(group[r]),
                     self.plan.states, {name: value[r] for name, value in numbers.items()})
            for r in rows
        ]  # fmt: skip
        found = np.zeros(action.shape)
        for r, turns in zip(rows, credit_calls(self.plan, rollouts, self.step), strict=True):
            found[r, action[r]] = np.concatenate([t.credit for t in turns])
        return found


def _section(master_config: Any) -> tuple[Any, bool]:
    """The trainer's part of a configuration, and whether it is PPO's."""
    ppo = getattr(master_config, "ppo", None)
    return (ppo, True) if ppo is not None else (master_config.grpo, False)


if __name__ == "__main__":
    rewrite(PLACE, sys.argv[1])
