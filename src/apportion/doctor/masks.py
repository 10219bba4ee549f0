"""Turns against the mask: merged, unsplit, and where observation tokens stand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..batch import Batch
from ..edges.facts import many
from ..structure import Bool, Int
from .findings import Finding
from .tally import Tally, at_turns, either, percent


def look(batch: Batch, tally: Tally) -> None:
    row_start, turn_start = _flags(batch.offsets("row"), batch.n_tokens), _flags(batch.turn_offsets, batch.n_tokens)
    after_policy = np.zeros(batch.n_tokens, dtype=np.bool_)
    after_policy[1:] = batch.action[:-1]
    run_start = batch.action & (row_start | ~after_policy)  # as a trainer sees them: runs of ones in its row
    piece_start = batch.action & (turn_start | ~after_policy)
    pieces = np.add.reduceat(piece_start, batch.turn_offsets[:-1], dtype=np.int64)
    first = batch.turn_offsets[:-1]
    merged = batch.action[first] & after_policy[first] & ~row_start[first]
    several = pieces > 1
    lone = np.diff(batch.row_turns) == 1
    unsplit = several & lone[batch.within("turn", "row")]
    tally.add("mask.rows", batch.n_rows)
    tally.add("mask.rows of one turn", lone.sum())
    tally.add("mask.runs", run_start.sum())
    tally.add("mask.merged", merged.sum())
    tally.add("mask.several runs", several.sum())
    tally.add("mask.unsplit", unsplit.sum())
    tally.add("mask.unsplit runs", pieces[unsplit].sum())
    tally.see("mask.merged", at_turns(batch, merged, "nothing observed between it and the turn before"))
    tally.see("mask.unsplit", at_turns(batch, unsplit, "several runs of policy tokens in one turn"))
    between = _between(batch)
    tally.add("mask.observations", (~batch.action).sum())
    tally.add("mask.between", between.sum())
    tally.add("mask.with between", np.unique(batch.within("token", "trajectory")[between]).size)


def _between(batch: Batch) -> Bool:
    """Observation tokens with policy tokens of their trajectory before and after them."""
    offsets, owner = batch.offsets("trajectory"), batch.within("token", "trajectory")
    total = np.concatenate(([0], np.cumsum(batch.action)))
    before, after = total[:-1] - total[offsets[owner]], total[offsets[owner + 1]] - total[1:]
    found: Bool = ~batch.action & (before > 0) & (after > 0)
    return found


def _flags(offsets: Int, n: int) -> Bool:
    flags = np.zeros(n, dtype=np.bool_)
    flags[offsets[:-1]] = True
    return flags


def say(tally: Tally) -> Iterator[Finding]:
    count = tally.count
    merged, turns, runs = count["mask.merged"], count["turns"], count["mask.runs"]
    figures = {"turns": turns, "runs": runs, "merged": merged}
    if merged:
        says = f"{many(merged, 'turn')} {either(merged, 'follows', 'follow')} another with nothing observed between: "
        says += f"{many(turns, 'turn')}, but {many(runs, 'run')} of policy tokens in the rows' masks."
        yield Finding("turns-merged", "warning", says, figures, tally.seen("mask.merged"))
    else:
        yield Finding("turns-merged", "fine", "Something is observed between any two turns of a row.", figures)
    rows, lone, unsplit = count["mask.rows"], count["mask.rows of one turn"], count["mask.unsplit"]
    figures = {"rows": rows, "rows_of_one_turn": lone, "unsplit": unsplit, "runs_in_them": count["mask.unsplit runs"]}
    if unsplit and lone == rows:
        says = (
            f"Every row is one turn, but in {unsplit:,} of {many(rows, 'row')} ({percent(unsplit / rows)}) the policy wrote "
            f"several times: {many(count['mask.unsplit runs'], 'run')} between observations."
        )
        yield Finding("turns-unsplit", "warning", says, figures, tally.seen("mask.unsplit"))
    else:
        yield Finding("turns-unsplit", "fine", "No row with several runs of policy tokens is taken for one turn.", figures)
    yield _observations(tally)


def _observations(tally: Tally) -> Finding:
    count = tally.count
    share = tally.share("mask.observations", "tokens")
    between, touched = tally.share("mask.between", "tokens"), count["mask.with between"]
    figures = {"share_of_tokens": share, "share_between_policy_tokens": between, "trajectories_with_some_between": touched}
    if not count["mask.between"]:
        return Finding("observation-tokens", "fine", "No observation tokens stand between policy tokens.", figures)
    says = (
        f"{percent(share)} of the tokens were not written by the policy; in {touched:,} of "
        f"{many(count['trajectories'], 'trajectory')} such tokens stand between its own ({percent(between)} of all tokens), "
        "where trainers' GAE differ."
    )
    return Finding("observation-tokens", "note", says, figures)
