"""SkyRL: every method as an advantage estimator ``apportion/<method>`` of its registry, and a trainer that brings what they need.

SkyRL shows an estimator rewards, a mask that counts tool tokens as written, and the prompt of each row.
:class:`CreditMixin` in front of a trainer brings the loss mask, token ids, log-probs and values. See ``docs/skyrl.md``.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..edges.tensors import to_numpy
from ..errors import OptionError, TrainerError
from . import honours, thin
from .in_front import check_in_front
from .method_table import rewrite
from .rows import PREFIX, Credited, Rows, credit_rows, plan, say, with_columns
from .versions import check_version

#: SkyRL versions the plug-in was tested with: this one and above, below the other.
TESTED = ("0.4.0", "0.4.1")

#: ``trainer.algorithm.loss_reduction`` in our words for what a loss is averaged over.
DENOMINATORS = {"token_mean": "token", "token_mean_legacy": "token", "sequence_mean": "sequence",
                "seq_mean_token_sum_norm": "limit"}  # fmt: skip

#: ``policy_loss_type`` -> levels of its importance ratio; that of "gspo" is a factor, which leaves credit at its token.
_TOKEN = ("regular", "dual_clip", "cispo", "sapo", "clip_cov", "kl_cov", "rollout_is", "dppo", "importance_sampling")
RATIOS = {**{name: frozenset({"token"}) for name in _TOKEN}, "gspo": frozenset({"token", "sequence"})}

WAYS = {
    "state": "`states='observation'`",
    "value": "`trainer.critic.model.path`",
    "ref_logp": "`trainer.algorithm.use_kl_loss=true` or `use_kl_in_reward=true`",
}

#: What a trainer with the mix-in brings where settings bring all that they can.
PLACE = thin.Place(
    "SkyRL",
    ("reward", "group", "ids", "logp", "ref_logp", "value"),
    honours.Honours("SkyRL", frozenset({"token", "sequence"}), keep=True, denominator=None),
    WAYS,
)

#: What SkyRL passes to an estimator: no mask of what the policy wrote, nothing of its loss.
ALONE = thin.Place(
    "SkyRL without CreditMixin",
    ("reward", "group", "value"),
    honours.Honours("SkyRL without CreditMixin", frozenset({"token"}), keep=False, denominator=None),
    dict.fromkeys(("ids", "logp", "ref_logp", "value", "state"), "put CreditMixin before the trainer"),
)


@dataclass
class Brought:
    """What a trainer has beyond what it passes to an estimator, and what the estimator left for it."""

    plan: Any
    data: Any
    step: int
    done: Credited | None = None


_BROUGHT: ContextVar[Brought | None] = ContextVar("apportion_skyrl", default=None)


@dataclass(frozen=True)
class Estimator:
    """What the registry holds; found by name when it is unpickled in another process, where apportion must be installed."""

    method: str
    single_turn: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(
        self, token_level_rewards: Any, response_mask: Any, index: Any = None, values: Any = None, **_: Any
    ) -> tuple[Any, Any]:
        """Advantages and returns, (B, T), in the dtype and on the device of the rewards; 0 outside the policy's tokens."""
        brought = _BROUGHT.get()
        like = token_level_rewards
        done = self._alone(like, response_mask, index, values) if brought is None else _with(brought, like)
        return like.new_tensor(done.token), like.new_tensor(done.returns)

    def _alone(self, rewards: Any, mask: Any, index: Any, values: Any) -> Credited:
        made = plan(ALONE, self.method, self.options)
        if made.chosen.spec.unit != "trajectory" and not self.single_turn:
            raise TrainerError(
                f"{PREFIX}{self.method} credits every {made.chosen.spec.unit}, and SkyRL does not tell an estimator which tokens "
                f"the policy wrote: put CreditMixin before the trainer, or register({self.method!r}, single_turn=True) if "
                "no response holds observations"
            )
        group = None if index is None else [str(i) for i in index]
        columns = {"group": group, "value": None if values is None else _array(values)}
        return credit_rows(made, Rows(_array(mask) != 0, _array(rewards), columns=columns))


def register(method: str, *, single_turn: bool = False, **options: Any) -> str:
    """Register ``apportion/<method>`` with SkyRL, before its ``validate_cfg`` runs; returns the name for ``advantage_estimator``.

    options: the method's; ``fit``, ``learned``, a live source; ``states="observation"``; ``seed``. single_turn: the
    responses hold nothing but what the policy wrote, so that the estimator may credit turns and tokens without
    :class:`CreditMixin`. Refuses, before anything is registered, a SkyRL that was not tested and what never fits.
    """
    check_version("skyrl", TESTED, "apportion's plug-in")
    plan(ALONE if single_turn else PLACE, method, options)
    from skyrl.backends.skyrl_train.utils.ppo_utils import AdvantageEstimatorRegistry as Registry

    name = PREFIX + method
    if name in Registry.list_available():
        Registry.unregister(name)
    Registry.register(name, Estimator(method, single_turn, dict(options)))
    return name


class CreditMixin:
    """Before a SkyRL trainer: ``class Trainer(CreditMixin, RayPPOTrainer)``. SkyRL's own estimators pass through."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        check_in_front(cls, CreditMixin, "compute_advantages_and_returns", "__init__")

    def __init__(self, cfg: Any, *args: Any, **kwargs: Any) -> None:
        self._credit = at_start(cfg)
        super().__init__(cfg, *args, **kwargs)  # type: ignore[call-arg]

    def compute_advantages_and_returns(self, data: Any) -> Any:
        if self._credit is None:
            return super().compute_advantages_and_returns(data)  # type: ignore[misc]
        brought = Brought(self._credit, data, int(getattr(self, "global_step", 0)))
        token = _BROUGHT.set(brought)
        try:
            done = super().compute_advantages_and_returns(data)  # type: ignore[misc]
        finally:
            _BROUGHT.reset(token)
        if brought.done is not None:
            done["loss_mask"] = done["loss_mask"] * done["loss_mask"].new_tensor(brought.done.keep)
        return done


def at_start(cfg: Any) -> Any:
    """The plan for a configuration; None for SkyRL's own estimators. Refuses what would fail or go wrong in training."""
    check_version("skyrl", TESTED, "apportion's plug-in")
    algorithm = cfg.trainer.algorithm
    name = str(algorithm.advantage_estimator)
    if not name.startswith(PREFIX):
        return None
    from skyrl.backends.skyrl_train.utils.ppo_utils import AdvantageEstimatorRegistry as Registry

    estimator = Registry.get(name)
    if cfg.generator.step_wise_trajectories:
        raise OptionError(
            "generator.step_wise_trajectories = True: SkyRL shows an estimator the last step of each trajectory only and copies "
            "its number to all others; set it to False"
        )
    if algorithm.advantage_batch_normalize:
        raise OptionError(
            "trainer.algorithm.advantage_batch_normalize = True shifts all credit by a mean that counts padding: set it to False"
        )
    if algorithm.policy_loss_type not in RATIOS:
        raise OptionError(f"policy_loss_type = {algorithm.policy_loss_type!r}: apportion knows {', '.join(sorted(RATIOS))}")
    loss = honours.Honours(
        f"SkyRL (loss_reduction={algorithm.loss_reduction!r})", RATIOS[algorithm.policy_loss_type], keep=True,
        denominator=DENOMINATORS.get(algorithm.loss_reduction),
    )  # fmt: skip
    columns = {"reward", "group", "ids", "logp"} | ({"value"} if cfg.trainer.critic.model.path else set())
    columns |= {"ref_logp"} if algorithm.use_kl_loss or algorithm.use_kl_in_reward else set()
    place = thin.Place("SkyRL", columns, loss, WAYS)
    return say(plan(place, estimator.method, estimator.options, group_size=int(cfg.generator.n_samples_per_prompt)))


def _with(brought: Brought, rewards: Any) -> Credited:
    data, width = brought.data, rewards.shape[1]
    ids, attention, response = (_array(data[name]) for name in ("sequences", "attention_mask", "response_mask"))
    logp = data.get("action_log_probs")
    columns: dict[str, Any] = {
        "logp": data.get("rollout_logprobs") if logp is None else logp,
        "ref_logp": data.get("base_action_log_probs"),
        "value": data.get("values"),
    }
    columns = {name: None if value is None else _array(value) for name, value in columns.items()}
    columns |= {"group": [str(uid) for uid in data.metadata["uids"]], "ids": ids[:, -width:].astype(np.int64)}
    columns["attention"] = response != 0  # right-aligned: before a short response stands its prompt
    asked = attention != 0
    asked[:, -width:] &= response == 0
    prompt = [tuple(row[shown].tolist()) for row, shown in zip(ids, asked, strict=True)]
    action = (_array(data["loss_mask"]) != 0) & (response != 0)
    brought.done = credit_rows(brought.plan, Rows(action, _array(rewards), prompt, columns), brought.step)
    return brought.done


def _array(tensor: Any) -> Any:
    return to_numpy("tensor", tensor)


if __name__ == "__main__":
    rewrite(with_columns(PLACE, "state"), sys.argv[1])
