"""The policy run again from a prefix of a batch, the place reached again by replay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...batch import Batch
from ...errors import OptionError
from ...evidence import Asked, Bill
from ...words import Axis, Provenance
from .batches import pieces, to_batch
from .walks import Float, Int, Walk, World, outcome, walk


class WalkSampler:
    """Continues and branches walks of a world; see :class:`apportion.evidence.Sampler`.

    A world's next place is certain, so the choices before a prefix lead to the very same place again. Every
    continuation is billed for that replay too, where the world replays: t steps before the prefix plus its own.
    Trajectories are found by their id, the number of their walk.
    """

    provenance: Provenance = "exact_restore"

    def __init__(self, world: World, walks: Sequence[Walk]) -> None:
        self.world, self.walks = world, list(walks)

    def continuations(self, batch: Batch, prefixes: Int, k: int, rng: np.random.Generator, *, axis: Axis = "prefix") -> Asked:
        row, time = self._place(batch, np.asarray(prefixes, dtype=np.int64), axis)
        values: Float = np.zeros((row.size, k))
        generated = env_steps = 0
        for i, (r, t) in enumerate(zip(row.tolist(), time.tolist(), strict=True)):
            place = self.walks[r].places[t]
            for j in range(k):
                values[i, j], taken, tokens = outcome(self.world, place, self.world.limit - t, rng)
                generated += tokens
                env_steps += t + taken
        return Asked(values, Bill(generated=float(generated), env_steps=float(env_steps if self.world.replays else 0)))

    def branch(self, batch: Batch, prefixes: Int, rng: np.random.Generator) -> tuple[Batch, Bill]:
        if self.world.layout != "turns":
            raise OptionError(f"branches are grown from turns; {self.world.family} writes the steps of one answer")
        row, time = self._place(batch, np.asarray(prefixes, dtype=np.int64), "prefix")
        rows = self._rows(batch)
        new = [walk(self.world, self.walks[r].prompt, rng, self.walks[r], t) for r, t in zip(row, time, strict=True)]
        own: Int = np.arange(batch.n_turns) if batch.node is None else batch.node
        ends = batch.trajectory_turns
        node = {r: own[ends[i] : ends[i + 1]].tolist() for i, r in enumerate(rows)}
        first, free = len(self.walks), int(own.max()) + 1
        nodes, generated, env_steps = [node[r] for r in rows], 0, 0
        for n, (one, r, t) in enumerate(zip(new, row.tolist(), time.tolist(), strict=True)):
            fresh = list(range(free, free + one.length - t))
            free += len(fresh)
            node[first + n] = [*node[r][:t], *fresh]
            nodes.append(node[first + n])
            written = (self.world.options(one.places[s]).texts[one.choices[s]] for s in range(t, one.length))
            generated += sum(len(pieces(text)) for text in written)
            env_steps += one.length
        self.walks += new
        names = [*rows, *range(first, len(self.walks))]
        grown = to_batch(self.world, [self.walks[r] for r in names], node=nodes, names=names)
        return grown, Bill(generated=float(generated), env_steps=float(env_steps if self.world.replays else 0))

    def _rows(self, batch: Batch) -> list[int]:
        return [int(str(name).split("#")[0]) for name in batch.trajectory.to_list()]

    def _place(self, batch: Batch, prefixes: Int, axis: Axis) -> tuple[Int, Int]:
        """Walk and number of choices before each prefix."""
        if axis not in ("prefix", "step_prefix"):
            raise OptionError(f"this sampler goes on between {self.world.layout}, not from axis={axis!r}")
        owner = batch.within(axis, "trajectory")[prefixes]
        offsets = batch.step_prefix_offsets if axis == "step_prefix" else batch.prefix_offsets
        row = np.asarray(self._rows(batch), dtype=np.int64)[owner]
        time = prefixes - offsets[owner]
        length = np.asarray([self.walks[r].length for r in row], dtype=np.int64)
        if self.world.layout == "steps" and axis == "prefix":  # before the answer, and after it
            time = time * length
        if (time >= length).any():
            raise OptionError("a sampler was asked to continue a finished trajectory: leave the last prefix out")
        return row, np.asarray(time, dtype=np.int64)
