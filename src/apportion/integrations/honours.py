"""What a trainer's loss can do with credit, and refusing what it cannot, by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..credit import Credit, Preferences
from ..edges.layout import plain_layout
from ..errors import MissingColumn, OptionError
from ..ids import Codes
from ..registry import Method


@dataclass(frozen=True)
class Honours:
    """What an adapter passes on. ratios: levels of the importance ratio the trainer is set to.

    keep: whether tokens can leave the loss and its denominator. denominator: what the trainer
    averages over, in our words; None where it is none of them.
    """

    trainer: str
    ratios: frozenset[str]
    keep: bool
    denominator: str | None


def check(result: Credit | Preferences, trainer: Honours) -> list[str]:
    """Refuse what the trainer cannot honour; return what it honours differently, one sentence each."""
    where = f"{trainer.trainer} cannot honour {result.method or 'this credit'}"
    if isinstance(result, Preferences):
        raise OptionError(f"{where}: it gives preferences (pairs), not advantages")
    if result.kind != "advantage":
        raise OptionError(f"{where}: kind = {result.kind!r}, but the loss multiplies advantages")
    if result.rows is not None:
        raise OptionError(f"{where}: it resamples rows (rows), but the trainer's batch is fixed")
    if result.batch.layout is None or result.batch.layout.rows.size != result.batch.layout.shape[0]:
        raise OptionError(f"{where}: its credit is for other rows than the trainer's batch")
    loss = result.loss
    if loss.ratio not in trainer.ratios:
        raise OptionError(
            f"{where}: loss.ratio = {loss.ratio!r}, but the trainer's ratio is per {' or '.join(sorted(trainer.ratios))}"
        )
    if loss.ratio != "token" and loss.form == "product":
        raise OptionError(f"{where}: loss.form = 'product', but the trainer takes the geometric mean of a {loss.ratio}'s ratios")
    if loss.clip is not None:
        raise OptionError(f"{where}: loss.clip gives every {result.level} a clip range of its own")
    if loss.rescale is not None:
        raise OptionError(f"{where}: loss.rescale = {loss.rescale!r} needs the new log-probs")
    if result.keep is not None and not trainer.keep and not result.keep[result.batch.action].all():
        raise OptionError(f"{where}: keep takes tokens out of the loss and its denominator")
    if loss.denominator == trainer.denominator:
        return []
    has = f"has {trainer.denominator!r}" if trainer.denominator else "has none of ours"
    return [f"{result.method} is meant for a loss with denominator {loss.denominator!r}; {trainer.trainer} {has}"]


def smallest(
    spec: Method, options: Mapping[str, Any], limit: int | None = None, brings: Collection[str] | None = None
) -> Credit | Preferences:
    """The method's result on its smallest batch with these options, so that wrong ones fail before any rollout.

    limit: the generation limit the trainer is set to. brings: the columns its batches can hold (None:
    any). One of them that only these options ask for is filled with zeros (a group: one of all), evidence that only they ask
    for likewise; another column is missing here already.
    """
    batch, given = spec.smallest_call()
    batch = batch.with_columns(limit=batch.limit or limit or batch.n_tokens, layout=batch.layout or plain_layout(batch))
    given = {**given, **options}
    if "rng" in spec.options:
        given.setdefault("rng", np.random.default_rng(0))
    try:
        return spec(batch, **given)
    except MissingColumn:
        floats = {n: m["axis"] for n, m in batch.columns().items() if m["kind"] == "float" and getattr(batch, n) is None}
        wanted = (spec.reads | spec.may_read).intersection(floats if brings is None else brings)
        asked: dict[str, Any] = {n: np.zeros(batch.count(axis)) for n, axis in floats.items() if n in wanted}
        if batch.ids is None and "ids" in spec.reads | spec.may_read and (brings is None or "ids" in brings):
            asked["ids"] = np.zeros(batch.n_tokens, dtype=np.int64)
        if batch.group is None and (brings is None or "group" in brings):
            asked["group"] = Codes.of([0] * batch.n_trajectories)
        lacking = [n for n in spec.wanted(options) if n not in given and n not in batch.present]
        given |= {n: np.zeros(batch.count(spec.evidence[n])) for n in lacking}
        return spec(batch.with_columns(**asked), **given)
