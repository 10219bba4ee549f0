"""Padded rows, as most trainers hold them, to credit and back: what the thin plug-ins for tensors share."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..edges.padded import to_padded
from ..errors import BatchError, OptionError
from ..ops.scans import discounted_suffix
from ..structure import Bool, Float, Int
from .named import loaded
from .observed import observed
from .packed import both_count
from .thin import Chosen, Place, choose, credited, in_company

PREFIX = "apportion/"

#: Columns with one number per token, which must be finite on policy tokens where they are read.
FLOATS = ("logp", "ref_logp", "value", "entropy")


@dataclass(frozen=True)
class Plan:
    """A method checked for a place. states: "given", or "observation": what was shown just before a turn is its key. seed: of
    everything random."""

    place: Place
    chosen: Chosen
    states: str = "given"
    seed: int = 0


@dataclass(frozen=True)
class Rows:
    """B rows of at most T tokens, a trajectory each. action: (B, T), what the policy wrote.

    reward: (B, T), or None where ``columns`` holds an outcome. prompt: token ids of each as a tuple; the first of the
    observed states, and where live sources find them in ``batch.meta``. columns: as ``Batch.from_padded`` takes them, for
    all B rows; None is left out.
    """

    action: Any
    reward: Any = None
    prompt: Sequence[Any] | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Credited:
    """(B, T) each, 0 on what the policy did not write. keep: what stays in the loss. returns: a critic's targets where the
    method has them, else the undiscounted reward still to come."""

    token: Float
    keep: Bool
    returns: Float
    credit: Credit | None = None


def plan(place: Place, method: str, options: Mapping[str, Any], group_size: int | None = None) -> Plan:
    """Checked at start; :func:`say` tells its remarks. options: of the method and of ``apportion.assign``; states; seed.

    Live sources and learned parts may be named, as :func:`loaded` reads them.
    """
    given = loaded(options)
    states, seed = given.pop("states", "given"), given.pop("seed", 0)
    if states not in ("given", "observation"):
        raise OptionError(f"states = {states!r}: expected 'given' or 'observation'")
    if type(seed) is not int or seed < 0:
        raise OptionError(f"seed = {seed!r}: expected an int, 0 or more")
    if states == "observation":
        place = with_columns(place, "state")
    chosen = choose(place, method.removeprefix(PREFIX), given)
    alone = group_size is not None and group_size < 2 and "single" not in chosen.options
    if alone and "group" in chosen.spec.reads:
        raise OptionError(f"{place.name}: {chosen.spec.id} compares the rollouts of a prompt, but there is {group_size} of each")
    return Plan(place, chosen, states, seed)


def say(plan: Plan) -> Plan:
    """The plan, after a warning for each remark: what the loss does differently from what the method means."""
    for remark in plan.chosen.remarks:
        warnings.warn(remark, stacklevel=3)
    return plan


def with_columns(place: Place, *names: str) -> Place:
    """The same place with more columns."""
    return Place(place.name, {*place.columns, *names}, place.loss, place.ways, place.sees, place.kinds)


def credit_rows(plan: Plan, rows: Rows, step: int = 0) -> Credited:
    """Credit for all rows.

    Those in which the policy wrote nothing (padding, masked rollouts) enter no statistic and get 0; so do those that this
    leaves alone in their group, where the method compares within groups. Errors name the row: sizes that do not match the
    mask; NaN in a reward, or on a policy token of a column that is read.
    """
    action = np.asarray(rows.action) != 0
    _check_sizes(action, rows)
    at = np.flatnonzero(action.any(axis=1))
    if (group := rows.columns.get("group")) is not None:
        episode = rows.columns.get("episode")
        at = at[in_company(plan.chosen, [group[r] for r in at], None if episode is None else [episode[r] for r in at])]
    blank = np.zeros(action.shape)
    if not at.size:
        return Credited(blank, action, blank.copy())
    batch = to_batch(plan, rows, action, at)
    credit = credited(plan.place, plan.chosen, batch, rng=np.random.default_rng([plan.seed, step]))
    keep = action.copy()
    keep[at] &= np.asarray(credit.to_padded("keep"), dtype=np.bool_)
    to_go = np.where(batch.action, discounted_suffix(batch.rewards("token"), batch.offsets("trajectory")), 0.0)
    target = credit.to_padded("value") if "value" in credit.targets else to_padded(batch, to_go)
    return Credited(_whole(credit.to_padded(), at, blank) * keep, keep, _whole(target, at, blank), credit)


def to_batch(plan: Plan, rows: Rows, action: Bool, at: Int) -> Batch:
    """The rows ``at`` with the columns the method reads; turns are the runs of policy tokens, or ``turn_ids``."""
    columns = {n: v for n, v in rows.columns.items() if v is not None}
    wanted = read(plan.chosen) | {"outcome", "turn_reward", "group", "turn_ids", "attention"}
    made, meta = {n: _take(v, at) for n, v in columns.items() if n in wanted}, dict[str, Any]()
    if rows.reward is not None:
        made["token_reward"] = _finite("reward", rows.reward, np.ones_like(action), at)
    for name in set(FLOATS) & set(made):
        made[name] = _finite(name, columns[name], action, at)
    if "outcome" in made:
        made["outcome"] = _finite("outcome", np.asarray(columns["outcome"])[:, None], action[:, :1] | True, at)[:, 0]
    if "outcome" in made and "turn_reward" in made:
        meta |= both_count([[float(x) for x in turns] for turns in made["turn_reward"]], made["outcome"])
    if rows.prompt is not None:
        meta["prompt_ids"] = [np.asarray(rows.prompt[r], dtype=np.int64) for r in at]
    if plan.states == "observation":
        keys = observed(action, columns["ids"], rows.prompt, columns.get("attention"), columns.get("turn_ids"))
        made["state"] = [keys[r] for r in at]
    return Batch.from_padded(action=action[at], meta=meta, **made, **({} if "turn_ids" in made else {"turns": "mask"}))


def read(chosen: Chosen) -> set[str]:
    """The columns that may matter: those the method reads; all that live sources and fits may look at, where there are any."""
    spec, options = chosen.spec, chosen.options
    learning = options.get("fit") or options.get("learned") is not None
    asked = bool(spec.source) and options.get(str(spec.source)) is not None
    return {*spec.reads, *spec.may_read, *spec.evidence} | ({"ids", *FLOATS, "truncated"} if learning or asked else set())


def _check_sizes(action: Bool, rows: Rows) -> None:
    if action.ndim != 2:
        raise BatchError(f"the mask of policy tokens has shape {action.shape}, expected (rows, tokens)")
    for name, value in {"reward": rows.reward, **rows.columns}.items():
        if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape != action.shape:
            raise BatchError(f"{name} has shape {value.shape}, but the mask of policy tokens has {action.shape}")
        if isinstance(value, (np.ndarray, list, tuple)) and len(value) != len(action):
            raise BatchError(f"{name} has {len(value)} rows, but the mask of policy tokens has {len(action)}")


def _finite(name: str, value: Any, where: Bool, at: Int) -> Float:
    array = np.asarray(value, dtype=np.float64)
    wild = where & ~np.isfinite(array)
    wild[np.setdiff1d(np.arange(len(array)), at)] = False  # rows that are left out may hold anything
    if wild.any():
        row, t = np.argwhere(wild)[0]
        raise BatchError(f"{name} of row {row} is {array[row, t]} (token {t}), expected a finite number")
    taken: Float = array[at]
    return taken


def _take(value: Any, at: Int) -> Any:
    if isinstance(value, np.ndarray):
        return value[at]
    return [value[r] for r in at] if isinstance(value, (list, tuple)) else value


def _whole(part: Any, at: Int, blank: Float) -> Float:
    whole: Float = blank.copy()
    whole[at] = part
    return whole
