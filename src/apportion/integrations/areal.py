"""AReaL: a method's credit in the place of ``PPOActor``'s advantages, on the ranks that train. See ``docs/areal.md``.

AReaL makes advantages in its actor, on each data-parallel rank, from whole groups. :class:`CreditMixin` stands before one
of its engine classes, and :class:`TrainerMixin` before its trainer, to check and to use that engine.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ..errors import OptionError
from . import honours, thin
from .areal_rows import EARNED, STATES, array, check_numbers, put, rows_of
from .in_front import check_in_front
from .method_table import rewrite
from .rows import Plan, credit_rows, plan, say, with_columns
from .versions import check_version

#: AReaL versions the plug-in was tested with: this one and above, below the other.
TESTED = ("1.0.4", "1.0.5")

WAYS = {
    "state": f"the workflow's `{STATES}`, or `states='observation'`",
    "turn_reward": f"the workflow's `{EARNED}`",
    "outcome": "`actor.kl_ctl: 0`",
    "value": "`critic`",
    "ref_logp": "`ref` and `actor.kl_ctl` above 0",
}
#: AReaL's loss averages over the tokens of a minibatch, and takes out what its mask takes out.
LOSS = honours.Honours("AReaL", frozenset({"token"}), keep=True, denominator="token")
COLUMNS = ("reward", "outcome", "turn_reward", "group", "ids", "logp", "ref_logp", "value")
PLACE = thin.Place("AReaL", COLUMNS, LOSS, WAYS, sees="data-parallel share")


class CreditMixin:
    """Before an engine: ``class Actor(CreditMixin, FSDPPPOActor): credit = "gigpo"``, in a module that workers can import.

    credit_options: the method's; ``fit``, ``learned``, a live source; ``states="observation"``; ``seed``.
    """

    credit: ClassVar[str]
    credit_options: ClassVar[Mapping[str, Any]] = {}
    actor: Any

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        check_in_front(cls, CreditMixin, "as_controller", "__init__")

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        made = at_start(config, type(self).credit, type(self).credit_options)  # before a model is loaded
        super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]
        self.actor = crediting(type(self.actor))(config, self)
        self.actor.plan = made

    @classmethod
    def as_controller(cls, config: Any, scheduler: Any) -> Any:
        if cls.__module__ == "__main__":
            raise OptionError(f"{cls.__name__} stands in the script that was started: workers cannot import it; give it a module")
        return super().as_controller(config, scheduler)  # type: ignore[misc]


class TrainerMixin:
    """Before a trainer: ``class Trainer(TrainerMixin, PPOTrainer): credit_actor = Actor``. Checks the whole configuration."""

    credit_actor: ClassVar[type[CreditMixin]]

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        check_in_front(cls, TrainerMixin, "_create_train_engine", "train", "__init__")

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        actor = type(self).credit_actor
        at_start(config.actor, actor.credit, actor.credit_options, config)
        super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]

    def _create_train_engine(self, actor_config: Any, alloc: Any) -> Any:
        if actor_config is not self.config.actor:  # type: ignore[attr-defined]  # the reference, or a teacher
            return super()._create_train_engine(actor_config, alloc)  # type: ignore[misc]
        actor: Any = type(self).credit_actor
        if f"{alloc.backend}ppoactor" not in {base.__name__.lower() for base in actor.__mro__}:
            raise OptionError(f"actor.backend = {alloc.backend!r}, but {actor.__name__} is made of another engine")
        from areal.utils.environ import is_single_controller

        scheduler: Any = is_single_controller() and self.scheduler  # type: ignore[attr-defined]
        engine = actor.as_controller(actor_config, scheduler) if scheduler else actor(config=actor_config)
        engine.create_process_group(parallel_strategy=alloc.parallel)
        return engine

    def train(self, workflow: Any = None, *args: Any, **kwargs: Any) -> Any:
        calls = workflow is None or self._requires_proxy_workflow(workflow)  # type: ignore[attr-defined]
        if calls and self.config.rollout.agent.export_style != "concat":  # type: ignore[attr-defined]
            raise OptionError(
                "rollout.agent.export_style = 'individual' makes a row of every call, and nothing tells which rollout it "
                "belongs to: set export_style and chat_template_type to 'concat'"
            )
        return super().train(workflow, *args, **kwargs)  # type: ignore[misc]


def at_start(actor: Any, method: str, options: Mapping[str, Any], whole: Any = None) -> Plan:
    """The plan for a ``PPOActorConfig``, and the ``PPOConfig`` around it where that is known. Refuses what would go wrong."""
    check_version("areal", TESTED, "apportion's plug-in")
    for name in ("reward_norm", "adv_norm"):
        if getattr(actor, name) is not None:
            raise OptionError(f"actor.{name} shifts and scales what {method} means: leave it out")
    if actor.mask_no_eos_with_zero:
        raise OptionError(
            "actor.mask_no_eos_with_zero = True: AReaL takes every row as long as the longest of its batch for cut off, and "
            "drops its reward; set it to False"
        )
    if whole is not None and actor.kl_ctl and whole.ref is None:
        raise OptionError(
            f"actor.kl_ctl = {actor.kl_ctl} without ref: AReaL would penalise against log-probs of 0; set it to 0, or give a ref"
        )
    level = actor.importance_sampling_level
    columns = {"reward", "turn_reward", "group", "ids", "logp", "ref_logp" if actor.kl_ctl else "outcome"}
    columns |= {"value"} if whole is None or whole.critic is not None else set()
    columns |= {"state"} if options.get("states", "given") == "given" else set()
    loss = honours.Honours("AReaL", frozenset({"token", level}), keep=True, denominator="token")
    place = thin.Place("AReaL", columns, loss, WAYS, sees=PLACE.sees)
    made = plan(place, method, options, group_size=None if whole is None else int(whole.gconfig.n_samples))
    if level == "sequence" and made.chosen.spec.unit != "trajectory":
        raise OptionError(
            f"importance_sampling_level = 'sequence': AReaL averages advantages over a row, and {method} credits every "
            f"{made.chosen.spec.unit}; set it to 'token'"
        )
    return say(made)


def crediting(base: type) -> Any:
    """``base``, a ``PPOActor``, with the advantages of ``plan``."""

    class CreditActor(base):  # type: ignore[misc]
        plan: Plan
        sizes: Sequence[int] = ()

        def compute_advantages(self, data: list[dict[str, Any]]) -> Any:
            self.sizes = [len(group["input_ids"]) for group in data]  # a group of rollouts each
            return super().compute_advantages(data)

        def _compute_advantages(self, data: dict[str, Any]) -> dict[str, Any]:
            check_numbers(data)
            given = {name: data.pop(name, None) for name in (STATES, EARNED)}
            if given[EARNED] is not None:  # in the unit of the outcomes, which AReaL scales below
                given[EARNED] = given[EARNED] * self.config.reward_scaling
            mask = array(data["loss_mask"]) != 0
            made: dict[str, Any] = super()._compute_advantages(data)
            step = int(self.engine.get_version())
            return put(made, credit_rows(self.plan, rows_of(made, mask, self.sizes, given, self.config.kl_ctl), step))

    return CreditActor


if __name__ == "__main__":
    rewrite(with_columns(PLACE, "state"), sys.argv[1])
