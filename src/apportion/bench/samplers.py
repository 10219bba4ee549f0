"""The policy run again in the same world, from a state of a rollout that is had again (see :mod:`.replay`)."""

from __future__ import annotations

import numpy as np

from ..batch import Batch
from ..edges.take import ranges
from ..errors import OptionError
from ..evidence import Asked, Bill
from ..ids import Codes
from ..ops.markov import continue_from, sample
from ..words import Axis, Provenance
from .layouts import choices, place, rows_of, to_batch
from .replay import Replay, Restore
from .tabular import Bool, Float, Int
from .world import Rollouts


class TabularSampler:
    """Continues, branches and replays rollouts of a task; see :class:`apportion.evidence.Sampler`.

    replay, replay_noise: how states are had again, see :class:`apportion.bench.replay.Restore`. What a world that went on
    from another state shows afterwards is what stands in a branch.
    """

    provenance: Provenance

    def __init__(self, rollouts: Rollouts, replay: Replay = "exact", replay_noise: float = 0.0) -> None:
        self.rollouts, self.restore = rollouts, Restore(replay, replay_noise)
        self.provenance = self.restore.provenance

    def continuations(self, batch: Batch, prefixes: Int, k: int, rng: np.random.Generator, *, axis: Axis = "prefix") -> Asked:
        self.restore.refuse("a continuation")
        if axis == "token":
            return self._from_tokens(batch, prefixes, k, rng)
        row, time = self._situation(batch, prefixes, axis)
        return Asked(self._run(row, time, k, rng), self._bill(time, k))

    def _from_tokens(self, batch: Batch, tokens: Int, k: int, rng: np.random.Generator) -> Asked:
        """From the state before a token: an action begun is finished as its first words allow, then all is drawn."""
        r, L = self.rollouts, self.rollouts.task.words.shape[1]
        at = choices(r.task, batch)
        unit = batch.within("token", at.level)[tokens]
        said = tokens - at.first[unit]  # words of the action that stand already
        row, time = at.row[unit], at.time[unit] + (said >= L)
        if (time >= r.task.horizon).any():
            raise OptionError("a sampler was asked to continue a finished trajectory: leave its closing tokens out")
        left = self._bill(time, k)
        begun = float(np.clip(np.where(said >= L, 0, said), 0, L).sum() * k)
        row, time, said = (np.repeat(x, k) for x in (row, time, said))
        state = self._restored(row, time, rng)
        possible = r.task.spelling[r.actions[row, time], np.where(said >= L, 0, np.maximum(said, 0))]
        chance: Float = r.task.policy(r.theta)[r.task.context[r.prompt[row], time, state]] * possible
        reach: Float = np.cumsum(chance, axis=1)
        forced = np.full((row.size, r.task.horizon), -1, dtype=np.int64)
        drawn = rng.random((row.size, 1)) * reach[:, -1:]
        forced[np.arange(row.size), time] = (drawn >= reach).sum(axis=1)
        values = self._continue(row, time, state, 1, rng, forced).reshape(-1, k)
        return Asked(values, Bill(generated=left.generated - begun, env_steps=left.env_steps))

    def replay(self, batch: Batch, fresh: Bool, k: int, rng: np.random.Generator) -> Asked:
        """Reward of every rollout (episode) with the choices marked ``fresh`` drawn anew, (episodes, k).

        fresh: one per choice (step, or turn where steps are not given). All other actions are
        taken again, whatever they now lead to. Billed from the first fresh choice on.
        """
        self.restore.refuse("a replay")
        r = self.rollouts
        at = choices(r.task, batch)
        if fresh.shape != at.row.shape:
            raise OptionError(f"fresh has shape {fresh.shape}, expected ({at.row.size},): one per {at.level}")
        episode = batch.within(at.level, "episode")
        row = np.zeros(batch.count("episode"), dtype=np.int64)
        row[batch.within("trajectory", "episode")] = rows_of(r.task, batch)
        forced = r.actions[row]
        forced[episode[fresh], at.time[fresh]] = -1
        time = np.where((forced < 0).any(axis=1), (forced < 0).argmax(axis=1), r.task.horizon)
        return Asked(self._run(row, time, k, rng, forced), self._bill(time, k))

    def greedy(self, batch: Batch, rng: np.random.Generator) -> Asked:
        """Reward of one rollout per group that takes the likeliest action at every choice, (groups,)."""
        r = self.rollouts
        row = np.zeros(batch.count("group"), dtype=np.int64)
        row[batch.within("trajectory", "group")] = rows_of(r.task, batch)
        pi = r.task.policy(r.theta)
        best = np.eye(pi.shape[1])[pi.argmax(axis=1)]
        time = np.zeros_like(row)
        values = self._continue(row, time, r.states[row, 0], 1, rng, policy=best)[:, 0]
        return Asked(values, self._bill(time, 1))

    def branch(self, batch: Batch, prefixes: Int, rng: np.random.Generator) -> tuple[Batch, Bill]:
        self.restore.refuse("a branch")
        r, T = self.rollouts, self.rollouts.task.horizon
        if r.task.layout != "turns":
            raise OptionError(f"branches are grown from turns; {r.task.id} has layout {r.task.layout!r}")
        row, time = self._situation(batch, prefixes, "prefix")
        node, parent = self._nodes(batch, row, np.arange(T)[None, :] < time[:, None])
        self._grow(row, time, self._restored(row, time, rng), rng)
        grown = to_batch(self.rollouts, node=node, parent=parent, reference=batch.ref_logp is not None)
        return grown, self._bill(time, 1)

    def actions(self, batch: Batch, prefixes: Int, k: int, rng: np.random.Generator) -> tuple[Batch, Bill]:
        """See :class:`apportion.evidence.Actor`. What the world makes of the actions is kept for the instruments only."""
        r = self.rollouts
        if r.task.layout == "steps":
            raise OptionError(f"actions are single turns; {r.task.id} has layout 'steps': its turn is the whole answer")
        row, time = (np.repeat(x, k) for x in self._situation(batch, prefixes, "prefix"))
        fresh = self._grow(row, time, r.states[row, time], rng)
        whole = to_batch(fresh, logp=batch.logp is not None, reference=batch.ref_logp is not None)
        at = choices(r.task, whole)
        order = np.lexsort((at.time, at.row))  # choices by row, then time: a row has one at every time
        turn = order.reshape(row.size, -1)[np.arange(row.size), time]
        begin = whole.offsets("trajectory")[whole.within("turn", "trajectory")[turn]]
        length = whole.turn_offsets[turn + 1] - begin
        token = ranges(begin, length)
        own = (whole.within("token", "turn")[token] == np.repeat(turn, length)) & whole.action[token]
        columns = {
            name: np.where(own, getattr(whole, name)[token], 0.0)
            for name in ("logp", "ref_logp", "entropy") if getattr(batch, name) is not None
        }  # fmt: skip
        home = batch.within("prefix", "trajectory")[prefixes]
        before = prefixes - batch.prefix_offsets[home]
        states = [(s, None) for s in whole.need("state").take(whole.prefix_before[turn]).to_list()]
        agent = np.zeros(row.size, dtype=np.int64) if r.task.roles is None else r.task.roles[time]
        number = (r.actions.shape[0] + np.arange(row.size)) * r.task.agents + agent
        new = Batch.from_turns(
            length[:, None].tolist(), action=own, ids=whole.need("ids")[token],
            trajectory=[f"{i}@{t}" for i, t in zip(number.tolist(), time.tolist(), strict=True)],
            group=np.repeat([f"{batch.trajectory.name(int(i))}@{n}" for i, n in zip(home, before, strict=True)], k),
            state=[s for pair in states for s in pair], limit=whole.limit,
            agent=None if batch.agent is None else Codes.of(agent), **columns,
        )  # fmt: skip
        return new, Bill(generated=float(own.sum()))

    def _grow(self, row: Int, time: Int, state: Int, rng: np.random.Generator) -> Rollouts:
        """New rollouts that leave those of ``row`` at ``time``, in ``state``; they are appended, and returned by themselves."""
        r, T = self.rollouts, self.rollouts.task.horizon
        seeds = rng.integers(2**63, size=row.size, dtype=np.uint64)
        tables = (r.task.kernels, r.task.kernel_of, r.task.context, r.task.policy(r.theta), r.task.success)
        states, actions, reward = sample(*tables, r.prompt[row], time, state, seeds)
        actions = np.where(np.arange(T)[None, :] < time[:, None], r.actions[row], actions)
        states = np.where(np.arange(T + 1)[None, :] < time[:, None], r.states[row], states)
        new = Rollouts(r.task, r.theta, states, actions, r.prompt[row], r.group[row], reward)
        both = (np.concatenate([getattr(x, n) for x in (r, new)]) for n in ("states", "actions", "prompt", "group", "reward"))
        self.rollouts = Rollouts(r.task, r.theta, *both)
        return new

    def _run(self, row: Int, time: Int, k: int, rng: np.random.Generator, forced: Int | None = None) -> Float:
        if not self.restore.noise:  # else each of the k is a restore of its own
            return self._continue(row, time, self.rollouts.states[row, time], k, rng, forced)
        row, time = np.repeat(row, k), np.repeat(time, k)
        forced = None if forced is None else np.repeat(forced, k, axis=0)
        return self._continue(row, time, self._restored(row, time, rng), 1, rng, forced).reshape(-1, k)

    def _restored(self, row: Int, time: Int, rng: np.random.Generator) -> Int:
        r = self.rollouts
        return self.restore.states(r.task, r.theta, r.prompt[row], time, r.states[row, time], rng)

    def _continue(
        self, row: Int, time: Int, state: Int, k: int, rng: np.random.Generator,
        forced: Int | None = None, policy: Float | None = None,
    ) -> Float:  # fmt: skip
        r = self.rollouts
        pi = r.task.policy(r.theta) if policy is None else policy
        seeds = rng.integers(2**63, size=row.size, dtype=np.uint64)
        tables = (r.task.kernels, r.task.kernel_of, r.task.context, pi, r.task.success)
        return continue_from(*tables, r.prompt[row], time, state, k, seeds, forced)

    def _situation(self, batch: Batch, prefixes: Int, axis: Axis) -> tuple[Int, Int]:
        """Row of the rollouts and time of each prefix; trajectories are found by their id."""
        task = self.rollouts.task
        rows, times = place(task, batch, axis)
        row, time = rows[prefixes], times[prefixes]
        if (time >= task.horizon).any():
            raise OptionError("a sampler was asked to continue a finished trajectory: leave the last prefix out")
        return row, time

    def _nodes(self, batch: Batch, row: Int, shared: Bool) -> tuple[Int, Int]:
        """Tree nodes of all turns, the new trajectories' included: shared turns keep their node."""
        n, T = self.rollouts.actions.shape
        node = (np.arange(n * T) if batch.node is None else batch.node).reshape(n, T)
        fresh = node.max() + 1 + np.arange(row.size * T).reshape(-1, T)
        node = np.concatenate([node, np.where(shared, node[row], fresh)])
        parent = np.concatenate([np.full((node.shape[0], 1), -1), node[:, :-1]], axis=1)
        return node.ravel(), parent.ravel()

    def _bill(self, time: Int, k: int) -> Bill:
        """Of k rollouts from each ``time`` to the end, with what it takes to get there again."""
        task = self.rollouts.task
        done = float((task.horizon - time).sum() * k)
        if task.layout == "steps":  # a step's lead and echo are written too
            return Bill(generated=done * (task.words.shape[1] + 2))
        return Bill(generated=done * task.words.shape[1], env_steps=done + self.restore.steps(time, k))
