"""How trajectories end: in observation tokens, cut off, at the generation limit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..batch import Batch
from ..edges.facts import many
from .findings import Finding
from .tally import Tally, at_trajectories, either, percent


def look(batch: Batch, tally: Tally) -> None:
    trailing = ~batch.action[batch.offsets("trajectory")[1:] - 1]
    tally.add("end.observation", trailing.sum())
    tally.see("end.observation", at_trajectories(batch, trailing, "ends in tokens the policy did not write"))
    cut = np.zeros(batch.n_trajectories, dtype=np.bool_) if batch.truncated is None else batch.truncated
    rewarded = batch.reward > 0
    if batch.truncated is not None:
        bare = cut if batch.bootstrap is None else cut & (batch.bootstrap == 0)
        tally.add("end.marked", batch.n_trajectories)
        tally.add("end.cut", cut.sum())
        tally.add("end.cut without bootstrap", bare.sum())
        tally.add("end.cut rewarded", (cut & rewarded).sum())
        tally.see("end.cut rewarded", at_trajectories(batch, cut & rewarded, "cut off, yet rewarded"))
    if batch.limit is not None:
        silent = ~cut & (batch.action_count("trajectory") >= batch.limit)
        tally.add("end.limited", batch.n_trajectories)
        tally.add("end.at limit", silent.sum())
        tally.see("end.at limit", at_trajectories(batch, silent, f"{batch.limit:,} policy tokens, not marked as truncated"))


def say(tally: Tally) -> Iterator[Finding]:
    count = tally.count
    n, all_ = count["end.observation"], count["trajectories"]
    figures = {"trajectories": n, "share": n / all_}
    if n:
        says = f"{n:,} of {many(all_, 'trajectory')} ({percent(n / all_)}) end in tokens that the policy did not write."
        lost = bool(count["reward.masked"])
        yield Finding("ends-in-observation", "warning" if lost else "note", says, figures, tally.seen("end.observation"))
    else:
        yield Finding("ends-in-observation", "fine", "Every trajectory ends with a token of the policy.", figures)
    if count["end.marked"]:
        yield _truncated(tally)
    if count["end.limited"]:
        n = count["end.at limit"]
        if n:
            says = f"{many(n, 'trajectory')} of {count['end.limited']:,} reached the generation limit "
            says += f"and {either(n, 'is', 'are')} not marked as truncated."
            yield Finding("limit-reached", "warning", says, {"trajectories": n}, tally.seen("end.at limit"))
        else:
            says = "Every trajectory at the generation limit is marked as truncated."
            yield Finding("limit-reached", "fine", says, {"trajectories": 0})


def _truncated(tally: Tally) -> Finding:
    count = tally.count
    cut, rewarded, bare = count["end.cut"], count["end.cut rewarded"], count["end.cut without bootstrap"]
    share = cut / count["end.marked"]
    figures = {"truncated": cut, "share": share, "rewarded": rewarded, "without_bootstrap": bare}
    if not cut:
        return Finding("truncated-as-finished", "fine", "No trajectory was cut off.", figures)
    says = f"{many(cut, 'trajectory')} of {count['end.marked']:,} ({percent(share)}) {either(cut, 'was', 'were')} cut off"
    if rewarded:
        return Finding(
            "truncated-as-finished", "warning", f"{says}; {rewarded:,} of them earned a reward above 0 all the same.",
            figures, tally.seen("end.cut rewarded"),
        )  # fmt: skip
    if bare:
        says += f"; {bare:,} {either(bare, 'has', 'have')} no bootstrap value and count{'s' if bare == 1 else ''} as failed"
    return Finding("truncated-as-finished", "note" if bare else "fine", f"{says}.", figures)
