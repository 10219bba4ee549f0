"""Tinker: training data of its cookbook with one advantage per token, by any method that its rollouts can feed.

The cookbook's loop centres the rewards of a group and gives each number to all tokens of its rollout. :func:`assembler`
makes the same data from the same groups for a loop of one's own, :func:`install` puts it into the cookbook's. The data are
assembled by the cookbook itself; only log-probs, advantages and mask are written here. See ``docs/tinker.md``.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import BatchError, OptionError
from . import thin
from .calls import Call, PerCall, check_scorable, credit_calls, flat, told
from .honours import Honours
from .method_table import rewrite
from .packed import Rollout
from .rows import Plan, plan, say
from .versions import check_version

#: Versions the plug-in was tested with: this one and above, below the other.
TESTED = {"tinker": ("0.38.0", "0.38.1"), "tinker-cookbook": ("0.6.1", "0.6.2")}

#: The key of ``StepResult.logs`` under which an environment names the state that a step led to.
STATE = "state"

#: What ended a rollout that its policy did not end.
CUT = ("max_tokens", "max_sampled_tokens", "max_turns", "max_tool_calls", "context_overflow", "rollout_timeout")

#: ``loss_fn`` -> what it is averaged over, in our words. Tinker's losses add up tokens, so that one of advantage 0 has left;
#: what StableReinforce divides by is not published.
DENOMINATORS = {"importance_sampling": "trajectory", "ppo": "trajectory", "cispo": "trajectory", "stable_reinforce": None}

COLUMNS = ("reward", "outcome", "turn_reward", "group", "state", "ids", "logp", "truncated")
WAYS = {"state": "`StepResult.logs['state']` in the environment, or `states='observation'`"}


def place(loss_fn: str = "importance_sampling") -> thin.Place:
    """What Tinker brings and what its loss does with credit."""
    if loss_fn not in DENOMINATORS:
        raise OptionError(f"loss_fn = {loss_fn!r}: apportion knows {', '.join(sorted(DENOMINATORS))}")
    loss = Honours(f"Tinker's {loss_fn}", frozenset({"token"}), keep=True, denominator=DENOMINATORS[loss_fn])
    return thin.Place("Tinker", COLUMNS, loss, WAYS)


PLACE = place()

#: Credit by ``id`` of a trajectory; in the cookbook's loop that of the minibatch that is being prepared.
Made = Mapping[int, Sequence[PerCall]]
_MADE: ContextVar[Made | None] = ContextVar("apportion_tinker", default=None)


@dataclass
class Assembler:
    """In the place of ``assemble_training_data``: groups of trajectories to training data, and where each came from."""

    plan: Plan
    step: int = 0

    def __call__(
        self, trajectory_groups_P: Sequence[Any], advantages_P: Any = None, include_provenance: bool = True
    ) -> tuple[list[Any], list[dict[str, int]]]:
        """``advantages_P`` (the cookbook's) is not read."""
        made = _MADE.get()
        made = self.credit(trajectory_groups_P) if made is None else made
        data: list[Any] = []
        origin: list[dict[str, int]] = []
        for p, group in enumerate(trajectory_groups_P):
            for g, trajectory in enumerate(group.trajectories_G):
                found = _data(trajectory, made[id(trajectory)], include_provenance)
                data += found
                origin += [{"group_idx": p, "traj_idx": g} for _ in found]
        return data, origin

    def credit(self, groups: Sequence[Any]) -> Made:
        """Credit of all rollouts of the groups; 0 for those in which nothing was written or that are left alone."""
        read: list[tuple[Any, Rollout]] = []
        for p, group in enumerate(groups):
            finals, members = group.final_rewards_G, group.trajectories_G
            if len(finals) != len(members):
                raise BatchError(f"group {p} has {len(finals)} final rewards, but {len(members)} trajectories")
            for g, (trajectory, final) in enumerate(zip(members, finals, strict=True)):
                read.append((trajectory, _rollout(self.plan, f"group {p}, trajectory {g}", trajectory, final, p)))
        self.step += 1
        found = credit_calls(self.plan, [rollout for _, rollout in read], self.step)
        return {id(trajectory): calls for (trajectory, _), calls in zip(read, found, strict=True)}


def assembler(
    method: str, *, loss_fn: str = "importance_sampling", group_size: int | None = None, sees: str = "batch", **options: Any
) -> Assembler:
    """For a loop of one's own: ``data, origin = assemble(trajectory_groups)``. What can be known to be wrong is refused here.

    loss_fn: the one the loop trains with. group_size: rollouts of a prompt, where that is fixed. sees: "batch", or in a word
    what it is called with instead. options: the method's; ``fit``, ``learned``, a live source; ``seed``;
    ``states="observation"``: what was shown since the turn before is a turn's state.
    """
    for package, tested in TESTED.items():
        check_version(package, tested, "apportion's plug-in")
    return Assembler(say(plan(replace(place(loss_fn), sees=sees), method, options, group_size)))


def install(config: Any, method: str, **options: Any) -> Assembler:
    """Let ``tinker_cookbook.rl.train.main(config)`` train on this credit: call it just before. options: :func:`assembler`'s.

    Puts a function in the place of ``assemble_training_data``, and one around ``prepare_minibatch``, so that what the
    cookbook prints of a few rollouts is their credit in the whole minibatch.
    """
    sees = "batch" if config.stream_minibatch_config is None else "minibatch"
    made = assembler(method, loss_fn=str(config.training_loss_fn()), sees=sees, **options)
    from tinker_cookbook.rl import train

    prepare: Callable[..., Any] = getattr(train.prepare_minibatch, "within", train.prepare_minibatch)
    if config.remove_constant_reward_groups and made.plan.chosen.spec.unit != "trajectory":
        said = "remove_constant_reward_groups drops groups of equal rewards, though their turns and tokens may differ in credit"
        warnings.warn(said, stacklevel=2)

    async def prepare_minibatch(env_group_builders_P: Any, trajectory_groups_P: Any, *more: Any, **named: Any) -> Any:
        token = _MADE.set(await asyncio.to_thread(made.credit, trajectory_groups_P))
        try:
            return await prepare(env_group_builders_P, trajectory_groups_P, *more, **named)
        finally:
            _MADE.reset(token)

    prepare_minibatch.within = prepare  # type: ignore[attr-defined]
    train.prepare_minibatch, train.assemble_training_data = prepare_minibatch, made
    return made


def _rollout(made: Plan, name: str, trajectory: Any, final: float, group: int) -> Rollout:
    """A turn per transition. The last reward and the group's are the outcome, the others are earned by their turns."""
    steps = trajectory.transitions
    calls = [Call(flat(t.ob.chunks), t.ac.tokens, _logp(f"{name}, turn {k}", t.ac)) for k, t in enumerate(steps)]
    read = told(name, calls, end=flat(trajectory.final_ob.chunks))
    check_scorable(made.chosen, name, read)
    state: list[Any] | None = read.shown
    if made.states == "given":
        noted = [t.logs.get(STATE) for t in steps]
        state = [*read.shown[:1], *noted] if any(key is not None for key in noted) else None
    rewards = [float(t.reward) for t in steps] or [0.0]
    reason = trajectory.stop_reason
    return Rollout(
        name, read.turns, outcome=rewards[-1] + float(final), group=group, episode=name, state=state,
        truncated=str(reason) in CUT if reason is not None else bool(steps) and steps[-1].ac.stop_reason == "length",
        turn_reward=[*rewards[:-1], 0.0],
    )  # fmt: skip


def _logp(name: str, action: Any) -> list[float]:
    logp, n = action.maybe_logprobs, len(action.tokens)
    if logp is None or len(logp) != n:
        raise BatchError(f"{name}: it has {len(logp or ())} log-probs for {n} tokens; Tinker's losses need one for each")
    return list(logp)


def _data(trajectory: Any, credit: Sequence[PerCall], include_provenance: bool) -> list[Any]:
    """The cookbook's own data of a trajectory whose tokens carry their number for a log-prob, which then says what goes where."""
    from tinker_cookbook.rl.data_processing import trajectory_to_data

    first, numbered = 1, []
    for t in trajectory.transitions:
        numbers = [float(n) for n in range(first, first + len(t.ac.tokens))]
        numbered.append(replace(t, ac=replace(t.ac, maybe_logprobs=numbers)))
        first += len(numbers)
    logp = np.concatenate([[0.0], *(t.ac.maybe_logprobs or [] for t in trajectory.transitions)])
    token = np.concatenate([[0.0], *(c.credit for c in credit)])
    keep = np.concatenate([[True], *(c.keep for c in credit)])
    found = trajectory_to_data(replace(trajectory, transitions=numbered), 1.0, include_provenance=include_provenance)
    return [_written(datum, logp, token, keep) for datum in found]


def _written(datum: Any, logp: Any, token: Any, keep: Any) -> Any:
    """The datum with log-probs, advantages and mask of the tokens whose numbers it holds (0: an observation)."""
    from tinker import TensorData

    at = datum.loss_fn_inputs["logprobs"].to_numpy().astype(np.int64)
    mask = datum.loss_fn_inputs["mask"].to_numpy() * keep[at]
    new = {"logprobs": logp[at], "advantages": token[at] * mask, "mask": mask}
    inputs = {name: TensorData.from_numpy(np.asarray(x, dtype=np.float32)) for name, x in new.items()}
    return replace(datum, loss_fn_inputs={**datum.loss_fn_inputs, **inputs})


if __name__ == "__main__":
    rewrite(PLACE, sys.argv[1])
