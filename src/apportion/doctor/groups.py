"""Groups: no signal, groups of one, sizes that vary, ids used twice, copies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..batch import Batch
from ..edges.facts import many
from ..structure import Bool, Float, Int
from .findings import Finding, Place, Severity
from .tally import Tally, at_trajectories, either, percent


def look(batch: Batch, tally: Tally) -> None:
    tally.add("trajectories", batch.n_trajectories)
    tally.add("turns", batch.n_turns)
    tally.add("tokens", batch.n_tokens)
    tally.add("policy tokens", batch.action.sum())
    _names(batch, tally)
    _copies(batch, tally)
    if batch.group is None:
        tally.add("group.missing", batch.n_trajectories)
        return
    over = batch.within("trajectory", "group")
    size = np.bincount(over)
    tally.add("groups", size.size)
    tally.tally_sizes("group size", size)
    if (size == 1).any():
        tally.see("group.one", _members(batch, size == 1))
    if not _has_reward(batch):
        return
    compared = size > 1
    same = constant(batch.reward, over, size.size) & compared
    dense = np.bincount(over, weights=_inner_rewards(batch), minlength=size.size) > 0
    silent = same[over]
    tally.add("group.compared", compared.sum())
    tally.add("group.silent", same.sum())
    tally.add("group.silent but dense", (same & dense).sum())
    tally.add("group.silent solved", (same & (np.bincount(over, weights=batch.solved) == size)).sum())
    tally.add("group.silent turns", np.diff(batch.trajectory_turns)[silent].sum())
    tally.add("group.silent tokens", batch.action_count("trajectory")[silent].sum())
    if same.any():
        tally.see("group.silent", _members(batch, same))


def say(tally: Tally) -> Iterator[Finding]:
    count = tally.count
    if count["trajectory.twice"]:
        n = many(count["trajectory.twice"], "trajectory")
        yield Finding(
            "duplicate-trajectories", "problem", f"{n} bear an id that came before.",
            {"trajectories": count["trajectory.twice"]}, tally.seen("trajectory.twice"),
        )  # fmt: skip
    yield from _say_copies(tally)
    if count["group.missing"]:
        says = f"{many(count['group.missing'], 'trajectory')} of {count['trajectories']:,} have no group."
        yield Finding("groups-missing", "warning", says, {"trajectories": count["group.missing"]})
    if not count["groups"]:
        return
    sizes = tally.sizes["group size"]
    ones = sizes[1]
    figures = {"groups": count["groups"], "of_one": ones, "sizes": dict(sorted(sizes.items()))}
    if ones:
        yield Finding(
            "groups-of-one", "problem" if ones == count["groups"] else "warning",
            f"{many(ones, 'group')} of {count['groups']:,} {either(ones, 'holds', 'hold')} a single rollout.",
            figures, tally.seen("group.one"),
        )  # fmt: skip
    else:
        yield Finding("groups-of-one", "fine", f"All {many(count['groups'], 'group')} hold at least two rollouts.", figures)
    if len(sizes) > 1:
        usual, times = sizes.most_common(1)[0]
        yield Finding(
            "group-sizes", "note",
            f"Groups hold {min(sizes)} to {max(sizes)} rollouts; {percent(times / count['groups'])} of them {usual}.", figures,
        )  # fmt: skip
    else:
        yield Finding("group-sizes", "fine", f"Every group holds {many(next(iter(sizes)), 'rollout')}.", figures)
    yield from _say_silent(tally)


def _say_silent(tally: Tally) -> Iterator[Finding]:
    count = tally.count
    compared, silent = count["group.compared"], count["group.silent"]
    if not compared:
        return
    turns, tokens = tally.share("group.silent turns", "turns"), tally.share("group.silent tokens", "policy tokens")
    figures = {
        "groups": compared, "without_signal": silent, "all_solved": count["group.silent solved"],
        "with_turn_or_token_rewards": count["group.silent but dense"], "share_of_turns": turns, "share_of_policy_tokens": tokens,
    }  # fmt: skip
    if not silent:
        yield Finding("groups-without-signal", "fine", f"Rewards differ within all {many(compared, 'group')}.", figures)
        return
    solved, dense = count["group.silent solved"], count["group.silent but dense"]
    says = (
        f"{silent:,} of {many(compared, 'group')} ({percent(silent / compared)}) gave all their rollouts the same reward "
        f"({solved:,} solved by all); they hold {percent(turns)} of the turns and {percent(tokens)} of the policy's tokens."
    )
    if dense:
        says += f" In {dense:,} of them turn or token rewards are not all 0: methods below the trajectory still see those."
    share = silent / compared
    severity: Severity = "problem" if silent == compared else "warning" if share >= 0.3 else "note"
    yield Finding("groups-without-signal", severity, says, figures, tally.seen("group.silent"))


def _say_copies(tally: Tally) -> Iterator[Finding]:
    copies, known = tally.count["trajectory.copies"], tally.count["trajectory.with ids"]
    if not known:
        return
    figures = {"trajectories": known, "copies": copies}
    if not copies:
        yield Finding("copied-rollouts", "fine", "No two rollouts of a group are the same tokens.", figures)
        return
    share = copies / known
    yield Finding(
        "copied-rollouts", "warning" if share >= 0.2 else "note",
        f"{many(copies, 'rollout')} of {known:,} ({percent(share)}) repeat another of the group token by token.",
        figures, tally.seen("trajectory.copies"),
    )  # fmt: skip


def _names(batch: Batch, tally: Tally) -> None:
    """Ids that came in an earlier batch (within one they are refused). Numbers are positions, not names."""
    for i, name in enumerate(batch.trajectory.to_list()):
        if isinstance(name, str) and tally.met_before("trajectory", name):
            tally.add("trajectory.twice", 1)
            tally.see("trajectory.twice", at_trajectories(batch, np.array([i])))


def _copies(batch: Batch, tally: Tally) -> None:
    if batch.ids is None or batch.group is None:
        return
    cut, over = batch.offsets("trajectory"), batch.within("trajectory", "group")
    seen: dict[tuple[int, int], str] = {}
    for i in range(batch.n_trajectories):
        key = (int(over[i]), hash(batch.ids[cut[i] : cut[i + 1]].tobytes()))
        first = seen.setdefault(key, str(batch.trajectory.name(i)))
        if first != str(batch.trajectory.name(i)):
            tally.add("trajectory.copies", 1)
            tally.see("trajectory.copies", at_trajectories(batch, np.array([i]), f"same tokens as {first}"))
    tally.add("trajectory.with ids", batch.n_trajectories)


def _members(batch: Batch, groups: Bool) -> Iterator[Place]:
    """The first rollout of each chosen group, with the group's name."""
    over = batch.within("trajectory", "group")
    for g in np.flatnonzero(groups).tolist():
        member = np.flatnonzero(over == g)
        reward = f", all {batch.reward[member[0]]:g}" if member.size > 1 else ""
        name = str(batch.group.name(int(member[0]))) if batch.group is not None else ""
        what = f"group {name if len(name) <= 40 else name[:39] + '…'}{reward}"
        yield from at_trajectories(batch, member[:1], what)


def _inner_rewards(batch: Batch) -> Float:
    """How many turn and token rewards of each trajectory are not 0."""
    found = np.zeros(batch.n_trajectories)
    if batch.turn_reward is not None:
        found += np.bincount(batch.within("turn", "trajectory"), weights=batch.turn_reward != 0, minlength=found.size)
    if batch.token_reward is not None:
        found += np.bincount(batch.within("token", "trajectory"), weights=batch.token_reward != 0, minlength=found.size)
    return found


def _has_reward(batch: Batch) -> bool:
    return any(c is not None for c in (batch.outcome, batch.turn_reward, batch.token_reward))


def constant(x: Float, over: Int, n: int) -> Bool:
    """Which of the n groups hold equal values, up to rounding."""
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(low, over, x)
    np.maximum.at(high, over, x)
    equal: Bool = high - low <= 1e-9 * np.maximum(np.abs(high), np.abs(low))
    return equal
