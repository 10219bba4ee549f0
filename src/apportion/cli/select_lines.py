"""What to type into a trainer for an entrant: the method it is, with its options, fed as it was when it was measured.

A line is a ``command`` to copy, None where the trainer cannot run the entrant; its ``note`` says why not, or what else it takes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..bench.entrants import Entrant
    from ..integrations.honours import Honours
    from ..registry import Method

Line = dict[str, str | None]

#: How an entrant gets its evidence -> the keyword that brings it, where something is asked.
_SOURCE: Mapping[str, str] = {
    "sampler": "sampler", "editor": "sampler", "judge": "judge", "policy": "policy", "author": "author",
}  # fmt: skip
_FITTED = ("fit", "experts", "hint")


def lines(entrant: Entrant, k: int | None = None) -> dict[str, Line]:
    """The lines for verl and TRL; k: continuations of a prefix, where the user said how many."""
    from ..bench.selection.answer import used
    from ..registry import get

    spec, options = get(entrant.method), used(entrant, k)
    own = {n: v for n, v in options.items() if n in spec.options}
    return {"verl": _verl(spec, entrant.ask, options, own), "trl": _trl(spec, entrant.ask, options, own)}


def _verl(spec: Method, ask: str, options: Mapping[str, Any], own: Mapping[str, Any]) -> Line:
    from ..feeds import feed
    from ..integrations.verl.estimator import ALONE, WAYS
    from ..integrations.verl.start import brings
    from ..integrations.verl.table import LEFT_OUT, SUITED
    from ..registry import keywords

    fitted, asked = ask in _FITTED and spec.fit is not None, _SOURCE.get(ask)
    lacks = feed(spec.id, brings(), own)
    if lacks.columns:
        return _no(f"verl has no {' and no '.join(lacks.columns)}")
    if lacks.evidence and not fitted:
        return _no(f"verl's trainers have no {asked or lacks.source} to ask for {' and '.join(lacks.evidence)}")
    why, drops = _refused(spec, own, SUITED)
    if why:
        return _no(why)
    parts, notes = [f"algorithm.adv_estimator=apportion/{spec.id}"], []
    alone = ("reward", "group")
    if fitted or asked or not feed(spec.id, alone, own).ready or _refused(spec, own, ALONE, alone)[0]:
        parts.append("trainer.v1.trainer_mode=apportion")
        notes += [WAYS[name] for name in spec.lacking(alone, own) if name in WAYS]
        notes += _brought(spec, own) if asked else []
    if fitted:
        parts.append("+algorithm.apportion.fit=true")
    taken = {*spec.options, *(keywords(spec.fit) if fitted and spec.fit else ())}
    parts += [f"+algorithm.apportion.{n}={_word(v)}" for n, v in options.items() if n in taken]
    notes += [LEFT_OUT] if drops else []
    return {"command": " ".join(parts), "note": "; ".join(notes).replace("`", "") or None}


def _brought(spec: Method, own: Mapping[str, Any]) -> list[str]:
    """What the user's agent loop does in place of the source, which verl's trainers have not."""
    from ..integrations.verl.table import GROWN

    if spec.grows:
        return [GROWN]
    return [f"the agent loop hands over {name}, as your {spec.source} says" for name in spec.wanted(own)]


def _trl(spec: Method, ask: str, options: Mapping[str, Any], own: Mapping[str, Any]) -> Line:
    from ..integrations.honours import Honours
    from ..integrations.trl.rollouts import WAYS
    from ..integrations.trl.start import feeding
    from ..registry import keywords

    fitted, asked = ask in _FITTED and spec.fit is not None, _SOURCE.get(ask)
    lacks = feeding(spec.id, own)
    if lacks.columns:
        return _no(f"TRL has no {' and no '.join(lacks.columns)}")
    if lacks.evidence and not fitted and not asked:
        return _no(lacks.why_not)
    if asked and spec.grows:
        return _no(f"{spec.id} grows new rollouts, but TRL's batch is fixed")
    if why := _refused(spec, own, Honours("TRL", frozenset({"token"}), keep=True, denominator=None))[0]:
        return _no(why)
    taken = {*spec.options, *(keywords(spec.collect) if spec.collect else ()), *(keywords(spec.fit) if spec.fit else ())}
    given = [f"{asked!r}: {asked}"] if asked else ["'fit': True"] if fitted else []
    given += [f"{n!r}: {v!r}" for n, v in options.items() if n in taken]
    text = f", credit_options={{{', '.join(given)}}}" if given else ""
    notes = [f"{name}: {WAYS[name]}" for name in spec.lacking((), own) if name in WAYS]
    return {"command": f'CreditGRPOTrainer(..., credit="{spec.id}"{text})', "note": "; ".join(notes) or None}


def _no(why: str) -> Line:
    return {"command": None, "note": why.replace("`", "")}


def _refused(spec: Method, own: Mapping[str, Any], trainer: Honours, brings: Collection[str] | None = None) -> tuple[str, bool]:
    """Why a loss cannot carry the method's credit with these options, empty where it can; and whether tokens leave the loss.

    brings: the only columns there are (None: any).
    """
    from ..credit import Credit
    from ..errors import ApportionError
    from ..integrations import honours

    try:
        result = honours.smallest(spec, own, brings=brings)
    except ApportionError as error:
        return f"options are tried on a small batch before training starts, and there: {error}", False
    try:
        honours.check(result, trainer)
    except ApportionError as error:
        return str(error).removeprefix(f"{trainer.trainer} cannot honour {spec.id}: "), False
    return "", isinstance(result, Credit) and result.keep is not None


def _word(value: Any) -> str:
    """A value as Hydra reads it."""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else "null" if value is None else str(value)
