"""Examine rollouts: every check in one pass over the batches, in memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..batch import Batch
from ..errors import BatchError, OptionError
from ..registry import get
from . import advantages, endings, groups, masks, rewards, scores, states
from .findings import Diagnosis, Finding, worst_first
from .refused import Refusals
from .tally import Tally

CHECKS = (groups, rewards, masks, endings, states, scores, advantages)


def examine(
    batches: Batch | Iterable[Batch],
    *,
    methods: Sequence[str] | None = None,
    vocabulary: int | None = None,
    assumed: Sequence[str] = (),
) -> Diagnosis:
    """What is wrong with these rollouts, and what methods could make of them.

    batches: one batch, or many that hold whole groups each (``Log.batches()``); each is looked at
    once and let go. An error that reading one of them raises becomes a finding, and the rest is
    read on where the iterator can. methods: which to run (default: every method that the columns
    feed without asking anyone). vocabulary: number of token ids there are. assumed: sentences to
    pass on.

    >>> import apportion as ap
    >>> from apportion import doctor
    >>> doctor.examine(ap.example("agent")).healthy
    True
    """
    tally = new_tally(methods, vocabulary)
    refusals = Refusals()
    for batch in [batches] if isinstance(batches, Batch) else _each(batches, refusals):
        look(batch, tally)
    return diagnosis(tally, [*refusals.say()], assumed)


def new_tally(methods: Sequence[str] | None, vocabulary: int | None) -> Tally:
    if isinstance(methods, str):
        raise OptionError(f"methods = {methods!r}: expected a list of method ids")
    if vocabulary is not None and vocabulary < 1:
        raise OptionError(f"vocabulary = {vocabulary}: expected the number of token ids, at least 1")
    return Tally(None if methods is None else tuple(dict.fromkeys(get(m).id for m in methods)), vocabulary)


def look(batch: Batch, tally: Tally) -> None:
    """Add what all checks see in one batch."""
    for check in CHECKS:
        check.look(batch, tally)


def diagnosis(tally: Tally, before: list[Finding], assumed: Sequence[str] = ()) -> Diagnosis:
    """All findings; of two with one id the worse (they come from reading and from looking)."""
    found = list(before)
    if tally.count["trajectories"]:
        for check in CHECKS:
            known = {f.id for f in before}
            found += [f for f in check.say(tally) if f.id not in known or f.severity != "fine"]
    holds = {n: int(tally.count[n]) for n in ("trajectories", "groups", "turns", "tokens", "policy tokens")}
    return Diagnosis(worst_first(found), holds, tuple(assumed))


def _each(batches: Iterable[Batch], refusals: Refusals) -> Iterator[Batch]:
    """The batches that can be read; what cannot is noted. Ends where an iterator only repeats itself."""
    source, last = iter(batches), ""
    while True:
        try:
            batch = next(source)
        except StopIteration:
            return
        except BatchError as error:
            if str(error) == last:
                return
            last = str(error)
            refusals.add(last)
            continue
        yield batch
