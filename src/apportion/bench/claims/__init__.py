"""Published claims as controlled experiments: each is run, and gets a verdict with its numbers.

``CLAIMS`` maps an id to what is claimed, where, and the experiment. A verdict is data, not prose: it follows from the
numbers by a rule that stands in the experiment's own code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ...errors import BenchError
from .. import catalog
from .continuations import CLAIMS as _continuations
from .exploit import CLAIMS as _exploit
from .finding import Claim, Finding
from .games import CLAIMS as _games
from .gradients import CLAIMS as _gradients
from .groups import CLAIMS as _groups
from .hindsight import CLAIMS as _hindsight
from .learning import CLAIMS as _learning
from .refed import CLAIMS as _refed
from .restored import CLAIMS as _restored
from .selection import CLAIMS as _selection
from .signal import CLAIMS as _signal

_ALL = (
    _signal, _continuations, _restored, _refed, _games, _groups, _hindsight, _gradients, _selection, _exploit, _learning,
)  # fmt: skip
CLAIMS: dict[str, Claim] = {claim.id: claim for some in _ALL for claim in some}


def run(ids: Sequence[str] = (), *, seeds: int = 10, say: Callable[[str], None] | None = None) -> Iterator[tuple[Claim, Finding]]:
    """The named claims (default: all) with what was found; ``say`` hears each id before it is run.

    seeds: how often each experiment is repeated, at least 2; intervals are over them.
    """
    if seeds < 2:
        raise BenchError(f"seeds = {seeds}: an interval needs at least 2")
    for id_ in ids:
        if id_ not in CLAIMS:
            raise BenchError(catalog.unknown("claim", id_, CLAIMS, ""))
    for id_ in ids or CLAIMS:
        if say is not None:
            say(id_)
        yield CLAIMS[id_], CLAIMS[id_].test(seeds)


__all__ = ["CLAIMS", "Claim", "Finding", "run"]
