"""Many methods at once: each in a process of its own, p-values corrected over all of them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from ...registry import methods
from ..pool import environment
from . import FALSIFIERS, Tried, Verdict, examine, named, scene_of
from .verdict import verdicts


def run_all(
    ids: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    *,
    seed: int = 0,
    rollouts: int | None = None,
    jobs: int = 2,
    watch: Callable[[int, int], None] | None = None,
) -> dict[str, list[Verdict]]:
    """Verdicts by id, in the order of ``ids`` (default: every method); Holm's correction, a falsifier's methods together.

    watch: hears (done, all). The same for any number of ``jobs``.
    """
    wanted, chosen = list(dict.fromkeys(ids or methods())), named(names)
    for id_ in wanted:
        scene_of(id_, seed, rollouts)  # whatever is wrong with an id is said before anything is run
    found: dict[str, list[Tried]] = {}
    if jobs <= 1:
        for id_ in wanted:
            found[id_] = one(id_, chosen, seed, rollouts)
            _tell(watch, found, wanted)
    else:
        with environment(), ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            waiting = {pool.submit(one, id_, chosen, seed, rollouts): id_ for id_ in wanted}
            for done in as_completed(waiting):
                found[waiting[done]] = done.result()
                _tell(watch, found, wanted)
    flat = [(id_, *tried) for id_ in wanted for tried in found[id_]]
    made = verdicts([(FALSIFIERS[name], test, facts) for _, name, test, facts in flat], together=len(wanted) > 1)
    by_id: dict[str, list[Verdict]] = {id_: [] for id_ in wanted}
    for (id_, *_), verdict in zip(flat, made, strict=True):
        by_id[id_].append(verdict)
    return by_id


def one(id_: str, names: Sequence[str], seed: int, rollouts: int | None) -> list[Tried]:
    """What the tests found of one method."""
    return list(examine(scene_of(id_, seed, rollouts), names))


def _tell(watch: Callable[[int, int], None] | None, found: dict[str, list[Tried]], wanted: Sequence[str]) -> None:
    if watch is not None:
        watch(len(found), len(wanted))
