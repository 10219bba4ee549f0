"""What is checked before TRL loads a model: its version, its class, its loss, and whether the method can be fed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ...credit import Credit
from ...errors import OptionError, TrainerError
from ...feeds import Feed, feed
from ...registry import Method, get
from .. import honours
from ..thin import check_names
from ..versions import check_version
from .rollouts import WAYS

#: TRL versions the plug-in was tested with: this one and above, below the other.
TESTED = ("1.16.0", "1.17")


@dataclass(frozen=True)
class TrlLoss:
    """A ``loss_type``. denominator: what it averages over, in our words.

    detached: the importance ratio is a constant factor of the loss, so that credit stays with its
    token even where one ratio is taken per completion.
    """

    denominator: str
    detached: bool = False


LOSSES: Mapping[str, TrlLoss] = {
    "grpo": TrlLoss("sequence"),
    "dapo": TrlLoss("token"),
    "dr_grpo": TrlLoss("limit"),
    "bnpo": TrlLoss("token"),
    "cispo": TrlLoss("token", detached=True),
    "sapo": TrlLoss("sequence"),
    "luspo": TrlLoss("trajectory"),
    "vespo": TrlLoss("token", detached=True),
}

#: Trainers of TRL that take no (B, T) advantages, and why.
REFUSED: Mapping[str, str] = {
    "GMPOTrainer": "its loss adds an axis to the advantages, so that (B, T) fails, or is mixed up where B = T",
    "AsyncGRPOTrainer": "it packs samples with one scalar advantage each",
    "RLOOTrainer": "its loss takes one ratio and advantage per completion; credit='rloo' on GRPOTrainer has the same baseline",
    "A2POTrainer": "its loss regresses on one optimal advantage per completion",
}


def check_class(cls: type) -> None:
    """Refuse classes whose loss cannot carry (B, T) advantages, by name; a mixin without a trainer passes."""
    check_version("trl", TESTED, "apportion's plug-in")
    theirs = [c for c in cls.__mro__ if c.__module__.split(".")[0] == "trl"]
    for base in theirs:
        if base.__name__ in REFUSED:
            raise TrainerError(f"CreditMixin does not fit {base.__name__}: {REFUSED[base.__name__]}")
    if not theirs:
        return
    if "GRPOTrainer" not in [c.__name__ for c in theirs]:
        raise TrainerError(f"CreditMixin does not fit {theirs[0].__name__}: write class T(CreditMixin, GRPOTrainer)")
    for base in theirs:
        if base.__name__ != "GRPOTrainer" and "_compute_loss" in vars(base):
            raise TrainerError(f"CreditMixin was not tested with the loss of {base.__name__}")


#: The columns of a batch made in TRL, states apart; log-probabilities are there where settings bring them.
COLUMNS = ("reward", "outcome", "group", "ids", "limit", "truncated", "turn_reward", "logp", "ref_logp")


def feeding(id_: str, options: Mapping[str, Any], *, states: bool = True, without: Collection[str] = ()) -> Feed:
    """What TRL cannot give a method, where settings bring all that they can but the columns ``without``."""
    own = {n: v for n, v in options.items() if n in get(id_).options}
    columns = [*COLUMNS, *(["state"] if states else [])]
    return feed(id_, [name for name in columns if name not in without], own)


def _absent(config: Any, logprobs: bool) -> set[str]:
    """Log-probs that these settings do not bring: of the reference without a KL term, of the policy where TRL computes none."""
    missing = set() if config.beta else {"ref_logp"}
    accumulated = config.gradient_accumulation_steps
    used = (config.steps_per_generation or accumulated) * config.num_iterations
    if not (logprobs or config.use_vllm or accumulated % used):
        missing.add("logp")
    return missing


def check_method(
    credit: str, options: Mapping[str, Any], config: Any, *, states: bool, logprobs: bool = False
) -> tuple[Method, honours.Honours, list[str]]:
    """The method, what TRL's loss honours, and what the user should hear, one sentence each.

    config: a GRPOConfig, or the class itself for its defaults. states, logprobs: whether anything may give them.
    """
    spec = get(credit)
    check_names("credit_options", spec, options)
    if config.loss_type not in LOSSES:
        raise OptionError(f"loss_type = {config.loss_type!r}: CreditMixin knows {', '.join(LOSSES)}")
    lacks = feeding(credit, options, states=states, without=_absent(config, logprobs))
    if lacks.columns:
        ways = "; ".join(WAYS.get(name, f"TRL has no {name}") for name in lacks.columns)
        raise OptionError(f"TRL cannot feed {credit} ({lacks.why_not}): {ways}")
    asked = spec.source is not None and options.get(spec.source) is not None and spec.collect is not None
    learned = spec.fit is not None and (options.get("fit") or options.get("learned") is not None)
    if lacks.evidence and not asked and not learned:
        ways = " or ".join(ways_to_feed(lacks))
        raise OptionError(
            f"TRL cannot feed {credit}: it has no {' and no '.join(lacks.evidence)}"
            + (f"; pass credit_options={ways}" if ways else "")
        )
    if spec.grows and asked:
        raise OptionError(f"TRL cannot honour {credit} with {spec.source}=: it grows new rollouts, but TRL's batch is fixed")
    own = {n: v for n, v in options.items() if n in spec.options}
    result = honours.smallest(spec, own, limit=config.max_completion_length, brings=COLUMNS)
    trainer = _honours(spec, result, config)
    remarks = [r + _better(result) for r in honours.check(result, trainer)]
    return spec, trainer, remarks + _ignored(config)


def dishonoured(spec: Method) -> str:
    """Why TRL's loss cannot carry the method's credit, whatever the settings; empty where it can."""
    try:
        honours.check(honours.smallest(spec, {}), honours.Honours("TRL", frozenset({"token"}), keep=True, denominator=None))
    except OptionError as error:
        return str(error)
    return ""


def ways_to_feed(lacks: Feed) -> list[str]:
    """The ``credit_options`` that bring the evidence that is lacking."""
    return [f"{{{lacks.source!r}: ...}}"] * bool(lacks.source) + ["{'fit': True}"] * lacks.can_fit


def _honours(spec: Method, result: Any, config: Any) -> honours.Honours:
    loss = LOSSES[config.loss_type]
    ratios = {"token"}
    if config.importance_sampling_level == "sequence" and config.loss_type != "vespo":
        level = result.level if isinstance(result, Credit) else spec.unit
        if level != "trajectory" and not loss.detached:
            raise OptionError(
                f"importance_sampling_level = 'sequence' with loss_type = {config.loss_type!r}: all tokens of a completion "
                f"would get the gradient of its mean advantage, and {spec.id} gives one per {level}. "
                "Set importance_sampling_level='token', or loss_type='cispo'"
            )
        ratios = {"token", "sequence"}
    return honours.Honours(f"TRL (loss_type={config.loss_type!r})", frozenset(ratios), keep=True, denominator=loss.denominator)


def _better(result: Any) -> str:
    """The loss types that average as the method means it."""
    fit = [repr(name) for name, loss in LOSSES.items() if loss.denominator == result.loss.denominator]
    return f" (loss_type = {' or '.join(fit)} averages like that)" if fit else ""


def _ignored(config: Any) -> list[str]:
    """Settings of TRL's own advantages that the user changed and that no longer do anything."""
    found = []
    for name, default in (("scale_rewards", "group"), ("multi_objective_aggregation", "sum_then_normalize")):
        value = getattr(config, name)
        if value != default:
            found.append(f"{name} = {value!r} is ignored: the method makes the advantages (see credit_options)")
    return found
