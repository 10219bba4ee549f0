"""slime: two functions for its function-path options, together every method that its samples can feed. See ``docs/slime.md``.

``rewards`` sees all samples of a rollout, whole groups of them, in one process, and makes the credit there;
``advantages`` runs on every training rank, which holds a part of them, and cuts each rank's share out of it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import BatchError, OptionError, TrainerError
from . import honours, thin
from .method_table import rewrite
from .rows import Plan, Rows, credit_rows, plan, say, with_columns
from .versions import check_version

#: slime versions the plug-in was written for: this one and above, below the other.
TESTED = ("0.3.1", "0.3.2")

REWARDS = "apportion.integrations.slime.rewards"
ADVANTAGES = "apportion.integrations.slime.advantages"

WAYS = {
    "state": "`sample.metadata['state']`, or `states: observation`",
    "logp": "the rollout returns log-probs (`sample.rollout_log_probs`)",
}
COLUMNS = ("outcome", "reward", "group", "ids", "logp", "truncated", "turn_reward")

#: slime's loss has a ratio per token, or one per sample ("gspo") as a factor of every token's own advantage; what a
#: sample's tokens are divided by is fixed before credit is known, so that none can leave it.
PLACE = thin.Place("slime", COLUMNS, honours.Honours("slime", frozenset({"token"}), keep=False, denominator="sequence"), WAYS)

_PLANS: dict[str, Plan] = {}
#: How often each was used in this process: what is random differs from step to step.
_STEPS: Counter[str] = Counter()


def check(args: Any) -> Plan:
    """Refuse what would fail or go wrong in training. Works as ``--custom-megatron-init-path`` too: then before any rollout.

    Settings come from ``--custom-config-path``: ``apportion: {method: gigpo, omega: 0.5, states: observation}``.
    """
    settings = getattr(args, "apportion", None)
    if not isinstance(settings, Mapping) or "method" not in settings:
        raise OptionError(f"args.apportion = {settings!r}: --custom-config-path needs an entry apportion: {{method: rloo}}")
    key = _key(args, settings)
    if key not in _PLANS:
        check_version("slime", TESTED, "apportion's plug-in")
        _PLANS[key] = _checked(args, dict(settings))
    return _PLANS[key]


def rewards(args: Any, samples: Sequence[Any]) -> tuple[list[float], list[Any]]:
    """For ``--custom-reward-post-process-path``: raw rewards, and one tensor a sample with the credit of its tokens."""
    import torch

    made, key = check(args), _key(args, args.apportion)
    raw = [sample.reward if not args.reward_key else sample.reward[args.reward_key] for sample in samples]
    credited = credit_rows(made, rows_of(samples, raw, made.states), _STEPS[key])
    _STEPS[key] += 1
    lengths = [sample.response_length for sample in samples]
    return raw, [torch.tensor(row[:n], dtype=torch.float32) for row, n in zip(credited.token, lengths, strict=True)]


def advantages(args: Any, rollout_data: dict[str, Any]) -> None:
    """For ``--custom-advantage-function-path``: this rank's share of the credit that :func:`rewards` made."""
    import torch

    check(args)
    credit = rollout_data["rewards"]
    if not all(isinstance(x, torch.Tensor) and x.dim() == 1 for x in credit):
        raise TrainerError(f"rewards hold no credit: --custom-reward-post-process-path {REWARDS} has to make it")
    like, found = rollout_data["kl"], []
    for i, (x, total, n) in enumerate(zip(credit, rollout_data["total_lengths"], rollout_data["response_lengths"], strict=True)):
        if len(x) != n:
            raise BatchError(f"sample {i} of this rank has credit for {len(x)} tokens, but a response of {n}")
        share = _share(x, total, n)
        found.append(share.to(device=like[i].device, dtype=torch.float32))
    rollout_data["advantages"] = found
    rollout_data["returns"] = [x.clone() for x in found]


def rows_of(samples: Sequence[Any], raw: Sequence[Any], states: str = "given") -> Rows:
    """slime's samples, left-aligned; what only the rollout knows is read from ``sample.metadata``: state, turn_reward."""
    width = max((sample.response_length for sample in samples), default=0)
    action, attention = np.zeros((2, len(samples), width), dtype=np.bool_)
    ids = np.zeros((len(samples), width), dtype=np.int64)
    logp = np.zeros((len(samples), width))
    for i, (sample, reward) in enumerate(zip(samples, raw, strict=True)):
        n, mask = sample.response_length, sample.loss_mask
        where = f"sample {i} (index {sample.index}, group {sample.group_index})"
        if mask is not None and len(mask) != n:
            raise BatchError(f"{where}: loss_mask has {len(mask)} entries, but the response has {n} tokens")
        if reward is None or not np.isscalar(reward):
            raise BatchError(f"{where}: its reward is {reward!r}, expected a number (--reward-key picks one of several)")
        if sample.group_index is None:
            raise BatchError(f"{where}: group_index is None, so nothing says which prompt it answers")
        action[i, :n] = False if sample.remove_sample else True if mask is None else np.asarray(mask) != 0
        attention[i, :n] = True
        ids[i, :n] = sample.tokens[len(sample.tokens) - n :]
        if sample.rollout_log_probs is not None and len(sample.rollout_log_probs) != n:
            raise BatchError(f"{where}: rollout_log_probs has {len(sample.rollout_log_probs)} numbers, but there are {n} tokens")
        logp[i, :n] = np.nan if sample.rollout_log_probs is None else sample.rollout_log_probs
    columns: dict[str, Any] = {
        "outcome": np.asarray(raw, dtype=np.float64),
        "group": [sample.group_index for sample in samples],
        "ids": ids,
        "attention": attention,
        "truncated": [sample.status.value == "truncated" for sample in samples],
        "logp": None if all(sample.rollout_log_probs is None for sample in samples) else logp,
        "turn_reward": _noted(samples, "turn_reward"),
        "state": _noted(samples, "state") if states == "given" else None,
    }
    prompt = [tuple(int(t) for t in sample.tokens[: len(sample.tokens) - sample.response_length]) for sample in samples]
    return Rows(action, None, prompt, columns)


_READ = ("advantage_estimator", "normalize_advantages", "custom_reward_post_process_path", "custom_advantage_function_path",
         "calculate_per_token_loss", "n_samples_per_prompt", "use_opd", "kl_coef", "use_opsm")  # fmt: skip


def _key(args: Any, settings: Mapping[str, Any]) -> str:
    return repr((sorted(settings.items(), key=str), [(n, getattr(args, n, None)) for n in _READ]))


def _checked(args: Any, settings: dict[str, Any]) -> Plan:
    for option, path in (("custom_reward_post_process_path", REWARDS), ("custom_advantage_function_path", ADVANTAGES)):
        if getattr(args, option) != path:
            raise OptionError(f"--{option.replace('_', '-')} = {getattr(args, option)!r}: apportion needs {path} there")
    if args.advantage_estimator == "ppo":
        raise OptionError(
            "--advantage-estimator ppo trains a critic, which would take credit for rewards: choose grpo, gspo or cispo"
        )
    if args.normalize_advantages:
        raise OptionError("--normalize-advantages shifts and scales the credit of all tokens: leave it out")
    if args.kl_coef:
        raise OptionError(f"--kl-coef {args.kl_coef}: a KL penalty in the reward would be lost here; use --use-kl-loss")
    if args.use_opsm:
        raise OptionError("--use-opsm judges a sample by one advantage, and credit gives every token its own: leave it out")
    method = str(settings.pop("method"))
    ratio = {"token", "sequence"} if args.advantage_estimator == "gspo" else {"token"}
    denominator = "token" if args.calculate_per_token_loss else "sequence"
    loss = honours.Honours("slime", frozenset(ratio), keep=False, denominator=denominator)
    place = thin.Place("slime", PLACE.columns, loss, WAYS)
    place = with_columns(place, "state") if settings.get("states", "given") == "given" else place
    return say(plan(place, method, settings, group_size=int(args.n_samples_per_prompt)))


def _noted(samples: Sequence[Any], name: str) -> list[list[Any]] | None:
    """A list per sample of what its metadata says; None where none says anything, an error where only some do."""
    found = [(sample.metadata or {}).get(name) for sample in samples]
    if all(x is None for x in found):
        return None
    if any(x is None for x in found):
        raise BatchError(f"sample {found.index(None)} has no metadata[{name!r}], but others have: every sample needs it")
    return [list(x) for x in found if x is not None]


def _share(credit: Any, total: int, n: int) -> Any:
    """The tokens of a response that this rank holds under context parallelism; all of them without."""
    from slime.backends.megatron_utils.cp_utils import slice_log_prob_with_cp

    return slice_log_prob_with_cp(credit, total, n)


if __name__ == "__main__":
    rewrite(with_columns(PLACE, "state"), sys.argv[1])
