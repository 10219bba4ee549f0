"""``algorithm.apportion``: the options of the method, and three settings of the plug-in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import OptionError
from ...registry import get, keywords

PREFIX = "apportion/"

#: Lists that verl's tool loops collect and nobody reads; see ``turn_reward_from``.
COLLECTED = ("turn_scores", "tool_rewards")

_OURS = ("fit", "seed", "turn_reward_from")


@dataclass(frozen=True)
class Settings:
    """fit: learn from the batch what the method lacks. seed: of everything random.

    turn_reward_from: None, or which of verl's own lists ("turn_scores", "tool_rewards") holds one
    reward per turn (trainer modes only). options: everything else, passed to the method.
    """

    fit: bool = False
    seed: int = 0
    turn_reward_from: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def method_of(adv_estimator: Any) -> str | None:
    """ "rloo" of "apportion/rloo"; None for verl's own estimators."""
    name = str(getattr(adv_estimator, "value", adv_estimator))
    return name.removeprefix(PREFIX) if name.startswith(PREFIX) else None


def settings_of(algorithm: Any, method: str) -> Settings:
    """The settings of ``algorithm.apportion`` (a DictConfig, a dictionary or an AlgoConfig holds it), checked by name."""
    given = algorithm.get("apportion", None) if algorithm is not None else None
    given = _plain(given) if given is not None else {}
    if not isinstance(given, dict):
        raise OptionError(f"algorithm.apportion = {given!r}: expected options, as in +algorithm.apportion.single=zero")
    ours = {n: given.pop(n) for n in _OURS if n in given}
    source = ours.get("turn_reward_from")
    if source is not None and source not in COLLECTED:
        raise OptionError(f"algorithm.apportion.turn_reward_from = {source!r}: expected one of {', '.join(COLLECTED)}")
    for name, kind in (("fit", bool), ("seed", int)):
        if name in ours and type(ours[name]) is not kind:
            raise OptionError(f"algorithm.apportion.{name} = {ours[name]!r}: expected a {kind.__name__}")
    settings = Settings(**ours, options=given)
    _check(settings, algorithm, method)
    return settings


def _plain(given: Any) -> Any:
    if type(given).__module__.split(".")[0] == "omegaconf":
        from omegaconf import OmegaConf

        return OmegaConf.to_container(given, resolve=True)
    return dict(given) if isinstance(given, Mapping) else given


def _check(settings: Settings, algorithm: Any, method: str) -> None:
    spec = get(method)
    if settings.fit and spec.fit is None:
        raise OptionError(f"algorithm.apportion.fit = True: {method} has nothing to fit")
    known = (set(spec.options) | (set(keywords(spec.fit)) if settings.fit and spec.fit else set())) - {"rng"}
    for name in settings.options:
        if name not in known:
            raise OptionError(
                f"algorithm.apportion.{name}: {method} has no such option; it has: {', '.join(sorted(known)) or 'none'}"
            )
    if algorithm is None:
        return
    for theirs, usual, ours in (("gamma", 1.0, "gamma"), ("lam", 1.0, "lam"), ("norm_adv_by_std_in_grpo", True, "spread")):
        value = algorithm.get(theirs, usual)
        if value != usual and ours in spec.options and ours not in settings.options:
            raise OptionError(
                f"algorithm.{theirs} = {value} is for verl's own estimators and is not read by apportion/{method}: "
                f"say +algorithm.apportion.{ours}={'none' if ours == 'spread' else value}, or leave it at {usual}"
            )
