"""Every method from 2^14 to 2^20 tokens, evidence in hand: seconds, growth, memory."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

import apportion as ap
from apportion.evidence.options import actions, options
from apportion.ids import Codes
from apportion.registry import Method

from .clock import Spread, seconds

#: Promised of every method: seconds at the largest size, log-log slope, peak extra memory in batches.
SECONDS, SLOPE, MEMORY = 1.0, 1.1, 10.0
#: Evidence that lies in [0, 1].
SHARES = ("success_rate", "planning", "calls_parse", "format_ok", "answer_quality", "tools")
Evidence = dict[str, np.ndarray]


@dataclass(frozen=True)
class Scaling:
    """seconds: at the largest size, median of the repeats. long: the same tokens in 8 trajectories of 100 turns.

    slope: of log seconds (the least of the repeats) against log tokens.

    memory: traced peak during the call (numpy's allocations; compiled code's own scratch arrays are
    not traced), the result included, over the bytes of the batch's arrays (see ``peak``).
    """

    method: str
    tokens: int
    seconds: Spread
    long: Spread
    slope: float
    memory: float

    @property
    def kept(self) -> bool:
        return max(self.seconds.median, self.long.median) <= SECONDS and self.slope <= SLOPE and self.memory <= MEMORY


def batch(tokens: int, turns: int = 16, length: int = 256, group: int = 8, seed: int = 0) -> ap.Batch:
    """Trajectories of ``turns`` turns in about ``length`` tokens, three in ten of them observations.

    Groups of ``group`` share up to half of their turns with their first member (one prefix tree
    each) and meet four states a turn. Columns: token ids, log-probabilities, values; turn nodes,
    parents, process scores; state keys; outcomes, groups, limit; two agents an episode; options of five
    turns, whose turns are all action.
    """
    rng = np.random.default_rng(seed)
    n = max(tokens // length // group, 1) * group
    per = max(tokens // (n * turns), 2)
    g = np.arange(n) // group
    shared = rng.integers(0, turns // 2 + 1, n) * (np.arange(n) % group > 0)
    same = np.arange(turns) < shared[:, None]
    ids = rng.integers(0, 50_000, (n, turns, per))
    node = np.arange(n * turns).reshape(n, turns)
    ids, node = np.where(same[:, :, None], ids[g * group], ids), np.where(same, node[g * group], node)
    action = np.ones((n * turns, per), dtype=np.bool_)
    action[:, : round(0.3 * per)] = False
    state = ((g[:, None] * (turns + 1)) + np.arange(turns + 1)) * 4 + rng.integers(0, 4, (n, turns + 1))
    made = ap.Batch(
        turn_offsets=np.arange(n * turns + 1) * per,
        row_turns=np.arange(n + 1) * turns,
        trajectory_rows=np.arange(n + 1),
        action=action.ravel(),
        trajectory=Codes.of(np.arange(n)),
        group=Codes.of(g),
        outcome=rng.integers(0, 2, n).astype(np.float64),
        state=Codes.of(state.ravel()),
        ids=ids.ravel(),
        agent=Codes(np.arange(n) % 2, ("main", "sub")),
        episode=Codes.of(np.arange(n) // 2),
        logp=-rng.exponential(size=action.size),
        ref_logp=-rng.exponential(size=action.size),
        entropy=rng.exponential(size=action.size),
        value=rng.normal(size=action.size),
        process=rng.uniform(-1, 1, n * turns),
        node=node.ravel(),
        parent=np.concatenate([np.full((n, 1), -1), node[:, :-1]], axis=1).ravel(),
        limit=turns * per,
    )
    return made.with_columns(spans={"option": options(made, made.turn_index % 5 == 0), "part": actions(made)})


def long_batch(tokens: int) -> ap.Batch:
    """The same in 8 trajectories of 100 turns."""
    return batch(tokens, turns=100, length=max(tokens // 8, 200))


def evidence(method: Method, b: ap.Batch, seed: int = 0) -> Evidence:
    """Random numbers for what the method asks beyond the batch's columns."""
    rng = np.random.default_rng(seed)
    found: Evidence = {}
    for name, axis in method.evidence.items():
        if getattr(b, name, None) is None:
            if name == "error_step":
                found[name] = rng.integers(-1, np.bincount(b.within("step", "trajectory"))).astype(np.float64)
                continue
            rubric = getattr(sys.modules[method.function.__module__], "RUBRIC", None)
            values = rng.uniform(-1.0, 1.0, b.count(axis)) if rubric is None else rng.choice(rubric.levels, b.count(axis))
            values = np.abs(values) if name in SHARES else values
            found[name] = -np.abs(values) if name.endswith("logp") else values
    return found


def size_of(b: ap.Batch) -> int:
    """Bytes of the arrays a batch consists of."""
    arrays = [v.codes if isinstance(v, Codes) else v for v in vars(b).values()]
    return sum(a.nbytes for a in arrays if isinstance(a, np.ndarray))


def timed(method: Method, b: ap.Batch, repeats: int) -> Spread:
    """Seconds of calls on batches nobody has asked anything yet, so that index maps are counted."""
    given = evidence(method, b)
    method(b.with_columns(), **given)
    taken = []
    for _ in range(repeats):
        fresh = b.with_columns()
        taken.append(seconds(lambda fresh=fresh: method(fresh, **given)))  # type: ignore[misc]
    return Spread.of(taken)


def peak(method: Method, b: ap.Batch) -> float:
    """Most bytes traced at once during a call, above what was there before, in batches.

    The batch that is credited is the measure where a method copies rows into a larger one.
    """
    given, fresh = evidence(method, b), b.with_columns()
    tracemalloc.start()
    try:
        result = method(fresh, **given)
        most = tracemalloc.get_traced_memory()[1]
        return most / max(size_of(b), size_of(result.batch))
    finally:
        tracemalloc.stop()


def slope(sizes: Sequence[int], taken: Sequence[float]) -> float:
    """Least-squares slope of log seconds against log tokens."""
    return float(np.polyfit(np.log(sizes), np.log(taken), 1)[0])


def scaling(powers: Sequence[int], repeats: int, tell: Callable[[str], None] = lambda _: None) -> list[Scaling]:
    """All registered methods, size by size."""
    batches = [batch(2**p) for p in powers]
    long = long_batch(2 ** powers[-1])
    out = []
    for name, method in ap.methods().items():
        tell(name)
        taken = [timed(method, b, repeats) for b in batches]
        growth = slope([b.n_tokens for b in batches], [t.low for t in taken])
        memory = peak(method, batches[-1])
        out.append(Scaling(name, batches[-1].n_tokens, taken[-1], timed(method, long, repeats), growth, memory))
    return out
