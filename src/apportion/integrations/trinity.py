"""Trinity-RFT: an algorithm and an advantage function, named by their paths in its configuration. See ``docs/trinity.md``.

Trinity's experience pipeline shows an advantage function all experiences of an explorer's step, in one process, before
any of them reaches the trainer: credit is made there. Trinity is imported when it asks for one of the two classes.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from ..errors import OptionError, TrainerError
from . import honours, thin
from .calls import check_scorable, credit_calls
from .experiences import REWARDS, Reading, read_run
from .method_table import rewrite
from .rows import Plan, plan, read, say
from .versions import check_version

#: Trinity-RFT versions the plug-in was tested with: this one and above, below the other.
TESTED = ("0.6.0", "0.6.1")

ALGORITHM = "apportion.integrations.trinity.CreditAlgorithm"
ADVANTAGE = "apportion.integrations.trinity.CreditAdvantage"

#: ``algorithm.loss_agg_mode`` in our words for what a loss is averaged over; a sequence is an experience.
DENOMINATORS = {
    "token-mean": "token",
    "seq-mean-token-mean": "sequence",
    "seq-mean-token-sum": "trajectory",
    "seq-mean-token-sum-norm": "limit",
}

#: Policy losses that multiply an advantage per token -> levels of their ratio; that of "gspo" is a factor of each token's own.
_TOKEN = ("ppo", "cispo", "sapo", "importance_sampling", "opmd")
RATIOS = {**{name: frozenset({"token"}) for name in _TOKEN}, "gspo": frozenset({"token", "sequence"})}

WAYS = {
    "state": "`info['env_state_hash']` of each experience, or `states: observation`",
    "turn_reward": "`rewards: step` (`info['step_reward']`) or `rewards: each`",
}
COLUMNS = ("outcome", "reward", "group", "ids", "logp", "truncated", "state", "turn_reward")
PLACE = thin.Place("Trinity-RFT", COLUMNS, honours.Honours("Trinity-RFT", frozenset({"token", "sequence"}), True, None), WAYS)


def check(config: Any) -> Plan:
    """Refuse what would fail or go wrong in training; :data:`ALGORITHM` calls it with the whole configuration at start."""
    algorithm = config.algorithm
    if algorithm.advantage_fn not in (None, ADVANTAGE):
        raise OptionError(f"algorithm.advantage_fn = {algorithm.advantage_fn!r}: {ALGORITHM} needs {ADVANTAGE}; leave it out")
    if algorithm.kl_penalty_fn not in (None, "none"):
        raise OptionError(
            f"algorithm.kl_penalty_fn = {algorithm.kl_penalty_fn!r} changes rewards in the trainer, when credit is made: "
            "use kl_loss_fn"
        )
    name, mode = algorithm.policy_loss_fn or "ppo", algorithm.loss_agg_mode or "token-mean"
    if name not in RATIOS:
        raise OptionError(f"algorithm.policy_loss_fn = {name!r}: apportion knows {', '.join(sorted(RATIOS))}")
    loss = honours.Honours(
        f"Trinity-RFT (loss_agg_mode={mode!r})", RATIOS[name], keep=mode == "token-mean", denominator=DENOMINATORS.get(mode)
    )
    settings = dict(algorithm.advantage_fn_args or {})
    return say(planned(settings, loss, group_size=int(algorithm.repeat_times)))


def planned(settings: dict[str, Any], loss: honours.Honours = PLACE.loss, group_size: int | None = None) -> Plan:
    """The plan for ``algorithm.advantage_fn_args``: method, rewards, states, seed, and the method's options."""
    check_version("trinity-rft", TESTED, "apportion's plug-in")
    if "method" not in settings:
        raise OptionError("algorithm.advantage_fn_args needs an entry method: rloo")
    rewards = settings.get("rewards", "last")
    if rewards not in REWARDS:
        raise OptionError(f"rewards = {rewards!r}: expected {', '.join(REWARDS)}")
    columns = [name for name in COLUMNS if name != "turn_reward" or rewards != "last"]
    place = thin.Place(PLACE.name, columns, loss, WAYS)
    options = {name: value for name, value in settings.items() if name not in ("method", "rewards")}
    return plan(place, str(settings["method"]), options, group_size)


def credit_experiences(plan: Plan, exps: Sequence[Any], rewards: str = "last", step: int = 0) -> dict[str, float]:
    """Write ``advantages`` and ``returns`` of every experience, and ``action_mask`` where tokens leave the loss; what to log.

    Nothing is written if anything is wrong. Runs without a reward, without a policy token, or alone with their task where
    the method compares, enter no statistic and get 0.
    """
    import torch

    runs: dict[str, list[Any]] = defaultdict(list)
    for exp in exps:
        runs[exp.eid.rid].append(exp)
    by = Reading(rewards, plan.states, "logp" in read(plan.chosen))
    seen = [read_run(name, sorted(steps, key=lambda e: e.eid.step), by) for name, steps in runs.items()]
    scored = [run for run in seen if run.rollout is not None]
    for run in scored:
        check_scorable(plan.chosen, f"run {run.name}", run.told)
    found = credit_calls(plan, [run.rollout for run in scored if run.rollout is not None], step)
    made = {id(exp): (exp.action_mask, torch.zeros(len(exp.action_mask))) for exp in exps}
    for run, turns in zip(scored, found, strict=True):
        for exp, first, last in run.places:
            kept, credit = exp.action_mask.bool(), torch.zeros(len(exp.action_mask))
            mask = kept.clone()
            credit[mask] = torch.tensor([x for t in turns[first:last] for x in t.credit], dtype=torch.float32)
            kept[mask] = torch.tensor([x for t in turns[first:last] for x in t.keep], dtype=torch.bool)
            made[id(exp)] = kept, credit
    for exp in exps:
        exp.action_mask, exp.advantages = made[id(exp)]
        exp.returns = exp.advantages.clone()
    moved = sum(any(bool(exp.advantages.any()) for exp in steps) for steps in runs.values())
    return {"apportion/runs": float(len(runs)), "apportion/runs_with_credit": float(moved)}


def __getattr__(name: str) -> Any:
    if name not in ("CreditAdvantage", "CreditAlgorithm"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals().update(_classes())
    return globals()[name]


def _classes() -> dict[str, type]:
    from trinity.algorithm.advantage_fn import AdvantageFn
    from trinity.algorithm.algorithm import GRPOAlgorithm
    from trinity.buffer.operators import ExperienceOperatorV1

    class CreditAdvantage(AdvantageFn, ExperienceOperatorV1):  # type: ignore[misc]
        """``advantage_fn``: credit for all experiences of an explorer's step, in Trinity's pipeline."""

        def __init__(self, **settings: Any) -> None:
            self.plan, self.rewards, self.step = planned(settings), settings.get("rewards", "last"), 0

        async def process(self, exps: list[Any]) -> tuple[list[Any], dict[str, float]]:
            self.step += 1
            return exps, await asyncio.to_thread(credit_experiences, self.plan, exps, self.rewards, self.step)

        def __call__(self, exps: Any, **_: Any) -> Any:
            raise TrainerError(f"algorithm_type computes advantages in the trainer, where runs are torn apart: set {ALGORITHM}")

        @classmethod
        def default_args(cls) -> dict[str, Any]:
            return {}

        @classmethod
        def compute_in_trainer(cls) -> bool:
            return False

    class CreditAlgorithm(GRPOAlgorithm):  # type: ignore[misc]
        """``algorithm_type``: GRPO's trainer without a critic; everything is checked before anything is launched."""

        @classmethod
        def default_config(cls) -> dict[str, Any]:
            return {**super().default_config(), "advantage_fn": ADVANTAGE}

        @classmethod
        def check_config(cls, config: Any) -> None:
            check(config)

    return {"CreditAdvantage": CreditAdvantage, "CreditAlgorithm": CreditAlgorithm}


if __name__ == "__main__":
    rewrite(PLACE, sys.argv[1])
