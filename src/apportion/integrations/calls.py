"""Rollouts kept as calls of a model, each with the whole prompt it saw and what it wrote: their turns, and credit per call."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import BatchError
from ..structure import Bool, Float
from .packed import Rollout, Turn, groups_of, pack, turn
from .rows import Plan
from .thin import Chosen, credited, in_company

#: The id of positions that no token stands for (an image).
NO_TOKEN = -1


@dataclass(frozen=True)
class Call:
    """prompt: as :func:`flat` gives it. logp: one per written token."""

    prompt: Sequence[Any]
    written: Sequence[int]
    logp: Sequence[float] | None = None


@dataclass(frozen=True)
class Told:
    """The turns of a rollout, a call each. shown: what each was shown since the one before, to tell states apart.

    restarts: the first call whose prompt does not continue the one before, if any. only_text: whether tokens stand for all.
    """

    turns: list[Turn]
    shown: list[Hashable]
    restarts: int | None
    only_text: bool


@dataclass(frozen=True, eq=False)
class PerCall:
    """What one call's written tokens earned, 0 where they leave the loss, and which of them stay in it; (n,) each."""

    credit: Float
    keep: Bool


def flat(elements: Sequence[Any]) -> list[Any]:
    """Token ids, those of chunks of text among them; other chunks stay, and stand for ``chunk.length`` positions each."""
    found: list[Any] = []
    for e in elements:
        found += e.tokens if hasattr(e, "tokens") else [e]
    return found


def told(name: str, calls: Sequence[Call], end: Sequence[Any] | None = None) -> Told:
    """The calls as turns. end: what stood in the context after the last call, if that is known.

    A prompt that continues the call before adds what is new in it; one that does not (history was cut or rewritten)
    is shown whole. Errors name the call: log-probs that do not match what was written or are no finite numbers.
    """
    turns: list[Turn] = []
    shown: list[Hashable] = []
    context: list[Any] = []
    restarts = None
    for k, call in enumerate(calls):
        new, goes_on = _new(context, list(call.prompt))
        if turns and not goes_on and restarts is None:
            restarts = k
        ids = np.asarray([*_positions(new), *call.written], dtype=np.int64)
        action = np.arange(ids.size) >= ids.size - len(call.written)
        turns.append(turn(f"{name}, turn {k}", ids, action, logp=call.logp))
        shown.append(_key(new))
        context = [*call.prompt, *call.written]
    if end is not None and turns:
        shown.append(_key(_new(context, list(end))[0]) or None)
    return Told(turns, shown, restarts, all(_is_id(e) for call in calls for e in call.prompt))


def check_scorable(chosen: Chosen, name: str, rollout: Told) -> None:
    """Refuse rollouts that a live source, or what is learned of tokens, would read otherwise than the policy did."""
    spec, options = chosen.spec, chosen.options
    asked = spec.source is not None and options.get(spec.source) is not None
    if asked and rollout.restarts is not None:
        raise BatchError(
            f"{name}, turn {rollout.restarts}: its prompt does not continue the turn before, and {spec.source}= reads a rollout "
            "as one text: keep the whole history in the prompt, or take a method without a source"
        )
    if not rollout.only_text and (asked or options.get("fit") or options.get("learned") is not None):
        raise BatchError(f"{name}: its prompt holds images, which {spec.id} with a source or a fit cannot read")


def credit_calls(plan: Plan, rollouts: Sequence[Rollout], step: int = 0) -> list[list[PerCall]]:
    """Credit of these rollouts as one batch, for each of them and each of its calls.

    Those in which nothing was written enter no statistic and get 0; so do those that this leaves alone in their group,
    where the method compares within groups. step: of training, so that what is random differs from step to step.
    """
    found = [[PerCall(np.zeros(n), np.ones(n, dtype=np.bool_)) for n in (int(t.action.sum()) for t in r.turns)] for r in rollouts]
    wrote = [i for i, r in enumerate(rollouts) if any(t.action.any() for t in r.turns)]
    company = in_company(plan.chosen, *groups_of([rollouts[i] for i in wrote]))
    used = [i for i, stays in zip(wrote, company, strict=True) if stays]
    if used:
        batch = pack([rollouts[i] for i in used])
        credit = credited(plan.place, plan.chosen, batch, rng=np.random.default_rng([plan.seed, step]))
        at = 0
        for i in used:
            for k, part in enumerate(rollouts[i].turns):
                here = slice(at, at + part.ids.size)
                at = here.stop
                keep = credit.kept[here][part.action]
                found[i][k] = PerCall(np.where(keep, credit.token[here][part.action], 0.0), keep)
    return found


def _new(context: list[Any], prompt: list[Any]) -> tuple[list[Any], bool]:
    """What a prompt adds to the context, and whether it continues it."""
    goes_on = prompt[: len(context)] == context
    return (prompt[len(context) :] if goes_on else prompt), goes_on


def _positions(elements: Sequence[Any]) -> list[int]:
    return [i for e in elements for i in ([int(e)] if _is_id(e) else [NO_TOKEN] * e.length)]


def _key(elements: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(int(e) if _is_id(e) else repr(e) for e in elements)


def _is_id(element: Any) -> bool:
    return isinstance(element, (int, np.integer))
