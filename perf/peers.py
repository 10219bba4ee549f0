"""GAE against the trainers' own: the same tensors, the same mask semantics, outputs compared before any clock runs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import apportion as ap

from .clock import Spread, in_turns, ratio

#: verl's own gamma, and the lambda of the GAE paper: torchrl's filter, cut where its weights fall
#: below 1e-7, has 314 taps at 0.95, but as many as there are tokens at 1.
GAMMA, LAM = 1.0, 0.95
#: (peer, ours) -> the least ratio promised.
PROMISED = {("verl", "packed"): 100.0, ("verl", "tensors"): 25.0, ("torchrl", "packed"): 2.0}
#: Largest difference from the peers' float32, in units of the whitened advantage (whose spread is 1) and of V.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Tensors:
    """What a trainer holds: (B, T) float32 rewards and values, int64 response mask."""

    reward: Any
    value: Any
    mask: Any


@dataclass(frozen=True)
class Ratio:
    """One comparison: milliseconds of both sides, and how many times faster ours was."""

    peer: str
    ours: str
    threads: int
    peer_ms: Spread
    ours_ms: Spread
    ratio: Spread
    promised: float | None

    @property
    def kept(self) -> bool | None:
        return None if self.promised is None else self.ratio.median >= self.promised


def tensors(rows: int, width: int, seed: int = 0, observed: float = 0.3) -> Tensors:
    """Rows of turns: about 140 policy tokens, then a tool's answer; ``observed`` of all tokens are observations."""
    import torch  # type: ignore[import-not-found,unused-ignore]

    rng = np.random.default_rng(seed)
    mask = np.zeros((rows, width), dtype=np.int64)
    for row in mask:
        at = 0
        while at < width:
            wrote = int(rng.integers(40, 240))
            row[at : at + wrote] = 1
            at += wrote + round(wrote * observed / (1 - observed))
    mask[:, -1] = 1
    reward = np.zeros((rows, width), dtype=np.float32)
    reward[:, -1] = rng.integers(0, 2, rows)
    value = rng.normal(0.5, 0.3, (rows, width)).astype(np.float32)
    return Tensors(torch.from_numpy(reward), torch.from_numpy(value), torch.from_numpy(mask))


def verl(t: Tensors) -> tuple[Any, Any]:
    """Whitened advantages and returns, (B, T)."""
    from verl.trainer.ppo.core_algos import compute_gae_advantage_return  # type: ignore[import-not-found,unused-ignore]

    found: tuple[Any, Any] = compute_gae_advantage_return(t.reward, t.value, t.mask, GAMMA, LAM)
    return found


def torchrl(t: Tensors) -> tuple[Any, Any]:
    """The same by torchrl, which knows no mask: observation tokens taken out before and put back after."""
    import torch
    from torchrl.objectives.value.functional import (  # type: ignore[import-not-found,unused-ignore]
        vec_generalized_advantage_estimate,
    )

    mask = t.mask.bool()
    value, reward = t.value[mask], t.reward[mask]
    done = torch.zeros_like(value, dtype=torch.bool)
    done[mask.sum(1).cumsum(0) - 1] = True
    packed = [x[None, :, None] for x in (value, value.roll(-1), reward, done)]
    advantage, returns = (x.flatten() for x in vec_generalized_advantage_estimate(GAMMA, LAM, *packed))
    advantage = (advantage - advantage.mean()) * torch.rsqrt(advantage.var() + 1e-8)
    out = torch.zeros_like(t.value), torch.zeros_like(t.value)
    for padded, flat in zip(out, (advantage, returns), strict=True):
        padded[mask] = flat
    return out


def batch_of(t: Tensors) -> ap.Batch:
    return ap.Batch.from_padded(response_mask=t.mask, token_reward=t.reward, value=t.value)


def packed(batch: ap.Batch) -> ap.Credit:
    """Ours, on a batch in hand: advantages and returns, packed."""
    credit = ap.assign(batch, "gae", gamma=GAMMA, lam=LAM, whiten=True)
    assert isinstance(credit, ap.Credit)
    return credit


def ours(t: Tensors) -> tuple[Any, Any]:
    """Ours from the trainer's tensors to the trainer's tensors."""
    credit = packed(batch_of(t))
    return credit.to_padded(), credit.to_padded("value")


def compare(t: Tensors) -> dict[str, float]:
    """Largest difference of each peer's advantages and returns from ours, on policy tokens; raises where they disagree."""
    mask = t.mask.bool()
    mine = ours(t)
    apart: dict[str, float] = {}
    for name, peer in (("verl", verl), ("torchrl", torchrl)):
        theirs = peer(t)
        apart[name] = max(float((a - b)[mask].abs().max()) for a, b in zip(mine, theirs, strict=True))
        if not apart[name] <= TOLERANCE:
            raise SystemExit(f"{name} and apportion disagree by {apart[name]:.2g} (tolerance {TOLERANCE:g}): nothing was timed")
    return apart


def race(t: Tensors, threads: int, rounds: int) -> list[Ratio]:
    """All contestants in turns, torch on ``threads`` threads (ours always uses one)."""
    import torch

    torch.set_num_threads(threads)
    batch = batch_of(t)
    calls = {"verl": lambda: verl(t), "torchrl": lambda: torchrl(t), "packed": lambda: packed(batch), "tensors": lambda: ours(t)}
    taken = in_turns(calls, rounds, {"torchrl": 2, "packed": 3, "tensors": 3})
    milliseconds: Mapping[str, Spread] = {n: Spread.of([s * 1e3 for s in x]) for n, x in taken.items()}
    return [
        Ratio(peer, mine, threads, milliseconds[peer], milliseconds[mine], ratio(taken[peer], taken[mine]), promised)
        for peer, mine, promised in (
            ("verl", "packed", PROMISED["verl", "packed"]),
            ("verl", "tensors", PROMISED["verl", "tensors"]),
            ("torchrl", "packed", PROMISED["torchrl", "packed"]),
            ("torchrl", "tensors", None),
        )
    ]


def peers(rows: int, width: int, rounds: int) -> tuple[dict[str, float], list[Ratio]]:
    """Agreement, then ratios with torch on one thread and on as many as it takes by itself."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        t = tensors(rows, width)
        apart = compare(t)
        default = torch.get_num_threads()
        try:
            return apart, [r for threads in sorted({1, default}) for r in race(t, threads, rounds)]
        finally:
            torch.set_num_threads(default)
