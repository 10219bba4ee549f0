"""How often states recur: what anchor methods could use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from ..batch import Batch
from ..edges.facts import many
from ..ops.anchors import anchor_groups
from ..structure import Bool, Int
from .findings import Finding, Severity
from .groups import constant
from .tally import Tally, at_turns, either, percent


def look(batch: Batch, tally: Tally) -> None:
    if batch.state is None or batch.group is None:
        tally.add("state.missing" if batch.state is None else "state.groupless", batch.n_trajectories)
        return
    key, group = batch.state.codes[batch.prefix_before], batch.within("turn", "group")
    owner = batch.within("turn", "trajectory")
    known = key >= 0
    tally.add("state.turns", key.size)
    tally.add("state.null", (~known).sum())
    tally.see("state.null", at_turns(batch, ~known, "no state key"))
    anchor = anchor_groups(group, key)
    met = _trajectories(anchor, owner)
    company = known & (met[anchor] > 1)
    later = batch.turn_index > 0
    tally.add("state.later turns", later.sum())
    tally.add("state.company", company.sum())
    tally.add("state.company later", (company & later).sum())
    differ = ~constant(batch.reward[owner], anchor, met.size)
    tally.add("state.useful", (company & differ[anchor]).sum())
    tally.tally_sizes("anchor", np.bincount(anchor[known], minlength=met.size)[np.unique(anchor[known])])
    size = np.bincount(batch.within("trajectory", "group"))
    tally.add("state.groups", (size > 1).sum())
    tally.add("state.groups with company", np.unique(group[company & later]).size)
    again = known & _again(owner, key)
    tally.add("state.again", again.sum())
    tally.add("state.looping trajectories", np.unique(owner[again]).size)
    tally.see("state.again", at_turns(batch, again, "in a state it was in before"))


def _trajectories(anchor: Int, owner: Int) -> Int:
    """How many trajectories met each anchor, shape (anchors,)."""
    n = int(owner.max()) + 1
    pairs = np.unique(anchor * n + owner)
    return np.bincount(pairs // n, minlength=int(anchor.max()) + 1)


def _again(owner: Int, key: Int) -> Bool:
    """Turns in a state their trajectory was in before."""
    again = np.ones(key.size, dtype=np.bool_)
    again[np.unique(owner * (int(key.max()) + 2) + key, return_index=True)[1]] = False
    return again


def say(tally: Tally) -> Iterator[Finding]:
    count = tally.count
    if count["state.missing"]:
        says = f"{many(count['state.missing'], 'trajectory')} of {count['trajectories']:,} have no state keys."
        yield Finding("states-missing", "note", says, {"trajectories": count["state.missing"]})
    turns = count["state.turns"]
    if not turns:
        return
    null = count["state.null"]
    if null:
        says = f"{many(null, 'turn')} of {turns:,} ({percent(null / turns)}) {either(null, 'has', 'have')} no state key."
        severity: Severity = "problem" if null == turns else "warning"
        yield Finding("states-null", severity, says, {"turns": turns, "null": null}, tally.seen("state.null"))
    else:
        yield Finding("states-null", "fine", "Every turn has a state key.", {"turns": turns, "null": 0})
    yield _recur(tally)
    again, trajectories = count["state.again"], count["state.looping trajectories"]
    figures = {"turns": again, "share": again / turns, "trajectories": trajectories}
    if again:
        says = f"{many(again, 'turn')} ({percent(again / turns)}) of {many(trajectories, 'trajectory')} stand in a state "
        says += "that the same rollout was in before."
        yield Finding("state-loops", "note", says, figures, tally.seen("state.again"))
    else:
        yield Finding("state-loops", "fine", "No rollout comes back to a state it was in.", figures)


def _recur(tally: Tally) -> Finding:
    count = tally.count
    sizes: dict[int, int] = tally.sizes.get("anchor", Counter())
    turns, later = count["state.turns"], count["state.later turns"]
    company, useful = tally.share("state.company", "state.turns"), tally.share("state.useful", "state.turns")
    beyond = tally.share("state.company later", "state.later turns")
    anchors = sum(sizes.values())
    lone = sizes.get(1, 0)
    figures = {
        "turns": turns, "with_company": count["state.company"], "share": company, "share_beyond_first_turn": beyond,
        "share_where_rewards_differ": useful, "anchor_groups": anchors, "singletons": lone,
        "mean_anchor_size": sum(s * n for s, n in sizes.items()) / anchors if anchors else 0.0,
        "largest_anchor": max(sizes, default=0), "groups": count["state.groups"],
        "groups_with_company_beyond_first_turn": count["state.groups with company"],
    }  # fmt: skip
    says = f"{percent(company)} of the turns have company: another rollout of the group stood in the same state"
    says += f" ({percent(beyond)} beyond the first turn). " if later else ". "
    says += f"For {percent(useful)} the rewards of those who stood there differ, which is what gigpo and pooled_td learn from."
    if anchors:
        says += f" {percent(lone / anchors)} of {many(anchors, 'anchor group')} hold one turn; the largest holds {max(sizes):,}."
    poor = useful < 0.05 or (later > 0 and beyond < 0.05)
    return Finding("states-recur", "note" if poor else "fine", says, figures)
