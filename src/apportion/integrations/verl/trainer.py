"""Trainer modes of verl that bring estimators what they need: verl's own V1 trainers with a mix-in.

Imported only after ``verl.trainer.ppo.v1`` has been.
"""

from __future__ import annotations

from typing import Any

from ...errors import TrainerError
from ..in_front import check_in_front
from .brought import BROUGHT, Brought
from .handover import FIELD
from .settings import method_of, settings_of

#: Our trainer mode -> verl's, whose class it extends and whose replay buffer and settings it runs with.
MODES = {
    "apportion": "sync",
    "apportion_colocate_async": "colocate_async",
    "apportion_separate_async": "separate_async",
}

#: Batch column -> fields of the TransferQueue that hold it, the first that is there.
TOKENS = {
    "logp": ("rollout_log_probs", "old_log_probs"),
    "ref_logp": ("ref_log_prob",),
    "value": ("values",),
    "entropy": ("entropy",),
    "ids": ("responses",),
}


class CreditMixin:
    """Brings columns to ``apportion/<method>`` while verl computes advantages; verl's own estimators pass through.

    Everything that can be checked before workers start is checked before they do.
    """

    verl_mode = "sync"

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        check_in_front(cls, CreditMixin, "_compute_advantage", "__init__")

    def __init__(self, config: Any) -> None:
        from .start import check_config

        check_config(config, self.verl_mode)
        # verl picks the replay buffer and the sub-configuration by the mode's name: it must be one it knows
        config.trainer.v1.trainer_mode = self.verl_mode
        super().__init__(config)  # type: ignore[call-arg]

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        config: Any = self.config  # type: ignore[attr-defined]
        method = method_of(config.algorithm.adv_estimator)
        if method is None:
            return super()._compute_advantage(batch, metrics)  # type: ignore[misc]
        brought = fetch(batch, config, step=int(getattr(self, "global_steps", 0)))
        token = BROUGHT.set(brought)
        try:
            done = super()._compute_advantage(batch, metrics)  # type: ignore[misc]
        finally:
            BROUGHT.reset(token)
        put_back(batch, brought)
        if brought.credit is not None:
            metrics.update({f"apportion/{name}": float(x) for name, x in brought.credit.diagnostics.items()})
        return done


def fetch(batch: Any, config: Any, step: int = 0) -> Brought:
    """What verl keeps of this batch beyond what it passes to an estimator."""
    import transfer_queue as tq

    from .start import honours_of

    method = method_of(config.algorithm.adv_estimator)
    settings = settings_of(config.algorithm, method or "")
    names = [n for names in TOKENS.values() for n in names]
    fields = ["response_mask", "rm_scores", "extra_fields", *names]
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=fields)
    extra = [_plain(x) for x in data["extra_fields"]] if "extra_fields" in data else [{} for _ in batch.keys]
    width = int(data["response_mask"].offsets().diff().max())
    tokens = {n: next((_padded(data[f], width) for f in found if f in data), None) for n, found in TOKENS.items()}
    return Brought(
        keys=list(batch.keys),
        mask=_padded(data["response_mask"], width),
        scores=_padded(data["rm_scores"], width),
        lengths=data["response_mask"].offsets().diff(),
        honours=honours_of(config),
        tokens={n: t for n, t in tokens.items() if t is not None},
        handed=[x.get(FIELD) for x in extra],
        collected=[x.get(settings.turn_reward_from) for x in extra] if settings.turn_reward_from else None,
        kl_in_reward=bool(config.algorithm.use_kl_in_reward),
        limit=int(config.data.max_response_length),
        step=step,
    )


def put_back(batch: Any, brought: Brought) -> None:
    """Take the tokens that the credit does not keep out of the loss *and* of its denominator.

    verl's losses read ``response_mask``; the number of tokens they divide by comes from ``loss_mask``.
    """
    if brought.keep is None or bool((brought.keep | (brought.mask == 0)).all()):
        return
    import transfer_queue as tq
    from tensordict import TensorDict
    from verl.workers.utils.padding import response_to_nested

    fields = ["response_mask", "loss_mask"]
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=fields)
    kept = {
        name: response_to_nested(_padded(data[name], brought.mask.shape[1]) * brought.keep.to(data[name].dtype), data[name])
        for name in fields
        if name in data
    }
    tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=TensorDict(kept, batch_size=len(batch.keys)))


def register(refusal: str) -> None:
    """Register the trainer modes; with a ``refusal``, modes that only say it."""
    from verl.trainer.ppo.v1 import get_trainer_cls, register_trainer

    for mode, verl_mode in MODES.items():
        register_trainer(mode)(_trainer(get_trainer_cls(verl_mode), verl_mode, refusal))


_MADE: dict[tuple[Any, str], Any] = {}


def _trainer(parent: Any, verl_mode: str, refusal: str) -> Any:
    """The class for one mode, the same one each time: verl refuses a second."""

    def refuse(self: Any, config: Any) -> None:
        raise TrainerError(refusal)

    if (parent, refusal) not in _MADE:
        body: dict[str, Any] = {"verl_mode": verl_mode, "__module__": __name__, "__doc__": CreditMixin.__doc__}
        if refusal:
            body["__init__"] = refuse
        _MADE[parent, refusal] = type(f"Credit{parent.__name__}", (CreditMixin, parent), body)
    return _MADE[parent, refusal]


def _padded(field: Any, width: int) -> Any:
    """A field as (B, T): nested tensors padded with 0 on the right."""
    return field.to_padded_tensor(0, output_size=(field.size(0), width)) if field.is_nested else field


def _plain(extra: Any) -> dict[str, Any]:
    """The dictionary of extra fields, however the queue wraps it."""
    extra = getattr(extra, "data", extra)
    return dict(extra) if extra else {}
