"""Examine a log: what reading it refuses is a finding, not the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import BatchError
from ..logs import Log
from .examine import diagnosis, examine, new_tally
from .findings import Diagnosis
from .refused import Refusals


def examine_log(opening: Callable[[], Log], *, methods: Sequence[str] | None = None, vocabulary: int | None = None) -> Diagnosis:
    """Examine the log that ``opening()`` opens, a few groups at a time; otherwise as :func:`examine`."""
    try:
        log = opening()
    except BatchError as error:
        refusals = Refusals()
        refusals.add(str(error))
        return diagnosis(new_tally(methods, vocabulary), [*refusals.say()])
    return examine(log.batches("group"), methods=methods, vocabulary=vocabulary, assumed=log.assumed)
