"""Rewards: missing, constant, on masked tokens, all zero per turn, said twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..batch import Batch
from ..edges.facts import many
from .findings import Finding, Severity
from .tally import Tally, at_tokens, at_trajectories, either, number, percent


def look(batch: Batch, tally: Tally) -> None:
    given = [n for n in ("outcome", "turn_reward", "token_reward") if getattr(batch, n) is not None]
    for name in given:
        tally.add(f"reward.{name}", batch.n_trajectories)
    if not given:
        tally.add("reward.missing", batch.n_trajectories)
        return
    tally.span("reward", batch.reward)
    if batch.token_reward is not None:
        _masked(batch, tally)
    if batch.turn_reward is not None:
        filled = batch.turn_reward != 0
        tally.add("reward.turns", batch.n_turns)
        tally.add("reward.turns filled", filled.sum())
        sums = np.bincount(batch.within("turn", "trajectory"), weights=batch.turn_reward, minlength=batch.n_trajectories)
        if batch.outcome is not None:
            both = (sums != 0) | (batch.outcome != 0)
            twice = both & np.isclose(sums, batch.outcome, rtol=1e-9, atol=1e-12)
            tally.add("reward.both", both.sum())
            tally.add("reward.twice", twice.sum())
            tally.see("reward.twice", at_trajectories(batch, twice, "outcome equals the sum of turn_reward"))


def _masked(batch: Batch, tally: Tally) -> None:
    reward = batch.need("token_reward")
    stray = (reward != 0) & ~batch.action
    tally.add("reward.token sum", np.abs(reward).sum())
    if stray.any():
        tally.add("reward.masked", stray.sum())
        tally.add("reward.masked sum", np.abs(reward[stray]).sum())
        tally.add("reward.masked trajectories", np.unique(batch.within("token", "trajectory")[stray]).size)
        tally.see("reward.masked", at_tokens(batch, stray, "reward on a token the policy did not write"))


def say(tally: Tally) -> Iterator[Finding]:
    count = tally.count
    missing, all_ = count["reward.missing"], count["trajectories"]
    if missing:
        says = f"{many(missing, 'trajectory')} of {all_:,} {either(missing, 'has', 'have')} no reward."
        yield Finding("reward-missing", "problem", says, {"trajectories": missing})
    if missing == all_:
        return
    low, high = tally.lows["reward"], tally.highs["reward"]
    figures = {"low": low, "high": high}
    rewarded = all_ - missing
    if rewarded > 1 and low == high:
        says = f"All {many(rewarded, 'trajectory')} earn the same reward, {number(low)}."
        yield Finding("reward-constant", "problem", says, figures)
    elif rewarded > 1:
        yield Finding("reward-constant", "fine", f"Rewards range from {number(low)} to {number(high)}.", figures)
    yield from _say_masked(tally)
    yield from _say_turns(tally)


def _say_masked(tally: Tally) -> Iterator[Finding]:
    count = tally.count
    if not count["reward.token_reward"]:
        return
    n, share = count["reward.masked"], tally.share("reward.masked sum", "reward.token sum")
    figures = {"tokens": n, "trajectories": count["reward.masked trajectories"], "share_of_token_reward": share}
    if not n:
        yield Finding("reward-on-masked-tokens", "fine", "Every token reward sits on a token the policy wrote.", figures)
        return
    says = (
        f"{many(n, 'token')} of {many(count['reward.masked trajectories'], 'trajectory')} that the policy did not write "
        f"carry a reward: {percent(share)} of all token reward."
    )
    yield Finding("reward-on-masked-tokens", "problem", says, figures, tally.seen("reward.masked"))


def _say_turns(tally: Tally) -> Iterator[Finding]:
    count = tally.count
    if not count["reward.turns"]:
        return
    filled, turns = count["reward.turns filled"], count["reward.turns"]
    figures = {"turns": turns, "not_zero": filled}
    if filled:
        says = f"{filled:,} of {many(turns, 'turn')} ({percent(filled / turns)}) have a turn reward that is not 0."
        yield Finding("turn-rewards-zero", "fine", says, figures)
    else:
        yield Finding("turn-rewards-zero", "warning", f"The turn rewards of all {many(turns, 'turn')} are 0.", figures)
    both, twice = count["reward.both"], count["reward.twice"]
    if not both or not filled:
        return
    figures = {"trajectories": both, "equal": twice}
    if not twice:
        yield Finding("rewards-said-twice", "fine", "No outcome equals the sum of its turn rewards.", figures)
        return
    says = f"In {twice:,} of {many(both, 'rewarded trajectory')} ({percent(twice / both)}) "
    says += "the outcome is the sum of the turn rewards."
    severity: Severity = "problem" if twice >= 0.9 * both else "warning" if twice >= 0.5 * both else "note"
    yield Finding("rewards-said-twice", severity, says, figures, tally.seen("reward.twice"))
