"""What a trainer mode checks before verl starts a worker: the method, its options, and what the loss makes of it."""

from __future__ import annotations

import warnings
from typing import Any

from ...credit import Credit
from ...errors import MissingColumn, OptionError
from ...feeds import feed
from ...registry import Method, get
from .. import honours
from .estimator import why_not
from .handover import columns
from .settings import PREFIX, Settings, method_of, settings_of

#: verl's ``loss_agg_mode`` in our words for what a loss is averaged over.
DENOMINATORS = {
    "token-mean": "token",
    "seq-mean-token-mean": "sequence",
    "seq-mean-token-sum": "trajectory",
    "seq-mean-token-sum-norm": "limit",
}

#: Policy losses whose ratio is per token; "gspo" has one per sequence, as a factor that leaves credit at its token.
TOKEN_RATIO = ("vanilla", "dppo_tv", "dppo_kl", "sapo", "gpg", "clip_cov", "kl_cov", "dro", "cispo", "bypass_mode")

#: Policy losses that average over sequences whatever ``loss_agg_mode`` says.
FIXED = {"sapo": "seq-mean-token-mean", "geo_mean": "seq-mean-token-mean"}


def check_config(config: Any, verl_mode: str) -> None:
    """Refuse what would fail or go wrong in training; warn, once each, of what the loss does differently."""
    method = method_of(config.algorithm.adv_estimator)
    if method is None:
        return
    spec = get(method)
    if not config.trainer.get("use_v1", True):
        raise OptionError("trainer.use_v1 = False: trainer_mode=apportion extends verl's V1 trainers; set trainer.use_v1=true")
    settings = settings_of(config.algorithm, method)
    _fed(spec, settings, config)
    _grouped(spec, settings, config)
    result = _smallest(spec, settings, config)
    mode = _loss_mode(config)
    if mode == "geo_mean" and isinstance(result, Credit) and result.level != "trajectory":
        raise OptionError(
            f"policy_loss.loss_mode = 'geo_mean' averages advantages over each response, so the credit {method} gives per "
            f"{result.level} would be lost; use 'vanilla', or a method that gives one value per trajectory"
        )
    trainer = honours_of(config)
    cure = (
        f" (loss_mode={mode!r} knows no other)" if mode in FIXED else f" (loss_agg_mode={_agg_mode(config)!r}){_better(result)}"
    )
    remarks = [remark + cure for remark in honours.check(result, trainer)]
    if mode not in (*TOKEN_RATIO, "gspo", "geo_mean"):
        remarks.append(f"policy_loss.loss_mode = {mode!r} is not known to apportion: taken to use one advantage per token")
    single = spec.options.get("single")
    if single is not None and settings.options.get("single", single.default) == "error":
        remarks.append(
            f"{PREFIX}{method} stops the run where a prompt gets only one rollout back; "
            "+algorithm.apportion.single=zero gives it 0"
        )
    for remark in remarks:
        warnings.warn(remark, stacklevel=4)


def honours_of(config: Any) -> honours.Honours:
    """What verl's loss, as configured, does with credit.

    Tokens can leave the loss and its denominator where that is the number of kept tokens; the
    seq-mean modes divide by the configured number of rows, whatever is masked.
    """
    mode, agg = _loss_mode(config), _agg_mode(config)
    ratios = {"token"} if mode in TOKEN_RATIO else {"token", "sequence"}
    return honours.Honours("verl", frozenset(ratios), keep=agg in ("token-mean", "token-sum"), denominator=DENOMINATORS.get(agg))


def brings(config: Any = None) -> set[str]:
    """Columns a trainer mode can bring, or brings as configured; what agent loops may hand over counts as there."""
    have = {"reward", "outcome", "group", "ids", "logp", "entropy", "limit", "steps", *columns()}
    if config is None or bool(config.critic.enable):
        have.add("value")
    actor = None if config is None else config.actor_rollout_ref.actor
    if actor is None or config.algorithm.get("use_kl_in_reward", False) or actor.use_kl_loss:
        have.add("ref_logp")
    correction = None if config is None else config.algorithm.get("rollout_correction", None)
    if correction and correction.get("bypass_mode", False):
        have.discard("entropy")
    return have


def _fed(spec: Method, settings: Settings, config: Any) -> None:
    own = {n: v for n, v in settings.options.items() if n in spec.options}
    lacks = feed(spec.id, brings(config), own)
    if lacks.ready or (lacks.learnable and settings.fit):
        return
    if lacks.evidence == ("value",) and not lacks.columns:
        fit = ", or +algorithm.apportion.fit=true to learn values from the batch" if lacks.can_fit else ""
        raise OptionError(f"{PREFIX}{spec.id} needs a critic's values: set critic.enable=true{fit}")
    raise MissingColumn(why_not(lacks, alone=False))


def _grouped(spec: Method, settings: Settings, config: Any) -> None:
    n = int(config.actor_rollout_ref.rollout.n)
    if n < 2 and "group" in spec.reads and settings.options.get("single", "error") == "error":
        raise OptionError(
            f"actor_rollout_ref.rollout.n = {n}, but {spec.id} compares the rollouts of a prompt: set it to at least 2"
        )


def _smallest(spec: Method, settings: Settings, config: Any) -> Any:
    options = {n: v for n, v in settings.options.items() if n in spec.options}
    return honours.smallest(spec, options, limit=int(config.data.max_response_length))


def _loss_mode(config: Any) -> str:
    return str((config.actor_rollout_ref.actor.get("policy_loss", None) or {}).get("loss_mode", "vanilla"))


def _agg_mode(config: Any) -> str:
    """What the loss averages over: as configured, unless the policy loss has a mind of its own."""
    return FIXED.get(_loss_mode(config)) or str(config.actor_rollout_ref.actor.loss_agg_mode)


def _better(result: Any) -> str:
    fit = [name for name, word in DENOMINATORS.items() if word == result.loss.denominator]
    return f"; actor_rollout_ref.actor.loss_agg_mode={fit[0]} averages over that" if fit else ""
