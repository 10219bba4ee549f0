"""TRL's completions as a Batch, and the credit of each completion back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ... import pipeline
from ...batch import Batch
from ...credit import Credit
from ...errors import BatchError, MissingColumn
from ...registry import Method
from ...structure import Bool, Float, Int
from .. import honours


@dataclass
class Rollout:
    """One completion of T tokens, as one process hands it to the others.

    action: (T,) tokens the policy wrote, whether or not they are trained on. trained: (T,) tokens in
    TRL's loss. outcome: weighted sum of its rewards, NaN where every reward function returned None.
    group: which prompt of the generation batch. ids, logp, ref_logp: (T,). turn_ids: (T,), or None:
    turns are the runs of ``action``. states, turn_rewards: what was given, unchecked.
    """

    process: int
    group: int
    outcome: float
    action: Bool
    trained: Bool
    ids: Int
    truncated: bool
    prompt: bytes = b""
    logp: Float | None = None
    ref_logp: Float | None = None
    turn_ids: Sequence[int] | None = None
    states: Sequence[Any] | None = None
    turn_rewards: Sequence[float] | None = None


@dataclass
class Credited:
    """Per completion its credit (T,) and which tokens stay in the loss (T,); what to log; what to say."""

    token: list[Float]
    keep: list[Bool]
    metrics: dict[str, float]
    remarks: list[str]


def credited(
    rollouts: Sequence[Rollout],
    spec: Method,
    options: Mapping[str, Any],
    trainer: honours.Honours,
    *,
    limit: int,
    rng: np.random.Generator,
    observations: bool = False,
    assign: Callable[..., Any] = pipeline.assign,
) -> Credited:
    """Credit for all completions of a generation batch, those of every process together.

    Three kinds of completions are left out of the batch and get 0, as TRL gives them: those that no
    reward function scored; those in which the policy wrote nothing; and, where the method compares
    within a group, those that this leaves alone in their group (unless ``single=`` says what they get).
    Truncated completions that TRL keeps out of the loss do enter the statistics, as in TRL.
    """
    rows = used(rollouts, alone="group" not in spec.reads or "single" in options)
    token = [np.zeros(r.action.size) for r in rollouts]
    keep = [r.trained.copy() for r in rollouts]
    metrics = {"credit/left_out": 1.0 - len(rows) / max(len(rollouts), 1)}
    if not rows:
        return Credited(token, keep, metrics, [])
    batch = to_batch(rollouts, rows, limit, observations)
    _check_columns(spec, batch, options)
    given = {"rng": rng, **options}
    credit = assign(batch, spec.id, **given)
    remarks = honours.check(credit, trainer)
    if not isinstance(credit, Credit):  # honours.check has refused it
        raise TypeError("expected Credit")
    value, kept = credit.to_padded(), credit.to_padded("keep")
    for k, i in enumerate(rows):
        size = rollouts[i].action.size
        keep[i] &= kept[k, :size]
        token[i] = np.where(keep[i], value[k, :size], 0.0)
    return Credited(token, keep, metrics | summary(credit), remarks)


def used(rollouts: Sequence[Rollout], *, alone: bool) -> list[int]:
    """Which completions enter the batch; ``alone``: also those with no other of their group."""
    rows = [i for i, r in enumerate(rollouts) if r.action.any() and not np.isnan(r.outcome)]
    size: dict[int, int] = {}
    for i in rows:
        size[rollouts[i].group] = size.get(rollouts[i].group, 0) + 1
    return [i for i in rows if alone or size[rollouts[i].group] > 1]


def to_batch(rollouts: Sequence[Rollout], rows: Sequence[int], limit: int, observations: bool = False) -> Batch:
    """A batch of the chosen completions, a row and a trajectory each, right-padded to the longest.

    ``meta["prompt_ids"]`` holds the prompt of each, which a live source needs and no method reads.
    """
    chosen = [rollouts[i] for i in rows]
    width = max(r.action.size for r in chosen)

    def padded(name: str, fill: Any, dtype: Any) -> Any:
        values = [getattr(r, name) for r in chosen]
        if any(v is None for v in values):
            return None
        table = np.full((len(chosen), width), fill, dtype=dtype)
        for row, value in zip(table, values, strict=True):
            row[: len(value)] = value
        return table

    action = padded("action", False, np.bool_)
    turn_ids = _turn_ids(chosen, rows, width)
    count = [_turns(r) for r in chosen]
    states = [observed(r) if observations else r.states for r in chosen]
    logp = padded("logp", 0.0, np.float64)
    if logp is not None and not np.isfinite(logp[action]).all():
        logp = None  # vLLM gave no log-prob for some token: the column is not there in this batch
    return Batch.from_padded(
        action=action,
        attention=np.arange(width) < np.array([r.action.size for r in chosen])[:, None],
        turns="mask" if turn_ids is None else "row",
        turn_ids=turn_ids,
        outcome=np.array([r.outcome for r in chosen]),
        turn_reward=_turn_rewards([r.turn_rewards for r in chosen], count, rows),
        group=[r.group for r in chosen],
        state=_states(states, count, rows),
        ids=padded("ids", 0, np.int64),
        logp=logp,
        ref_logp=padded("ref_logp", 0.0, np.float64),
        truncated=np.array([r.truncated for r in chosen]),
        limit=limit,
        meta={"prompt_ids": [np.frombuffer(r.prompt, dtype=np.int64) for r in chosen]},  # for live sources
    )


def observed(rollout: Rollout) -> list[bytes | None]:
    """A key per turn: the tokens shown just before it (the prompt before the first), and those after the last."""
    keys: list[bytes | None] = []
    shown: list[int] = []
    last = None
    for t, (mine, turn) in enumerate(zip(rollout.action, _turn_of(rollout), strict=True)):
        if not mine:
            shown.append(int(rollout.ids[t]))
        elif turn != last:
            keys.append(np.asarray(shown, dtype=np.int64).tobytes() if keys else rollout.prompt)
            shown, last = [], turn
    return [*keys, np.asarray(shown, dtype=np.int64).tobytes() if shown else None]


def summary(credit: Credit) -> dict[str, float]:
    """What to log: how large credit is, where it says nothing, whether it varies, and what the method reports."""
    batch, kept = credit.batch, credit.kept
    size = np.where(kept, np.abs(credit.token), 0.0)
    silent = np.bincount(batch.within("token", "group"), weights=size) == 0
    owner = batch.within("token", "trajectory")
    low, high = np.full(batch.n_trajectories, np.inf), np.full(batch.n_trajectories, -np.inf)
    np.minimum.at(low, owner[kept], credit.token[kept])
    np.maximum.at(high, owner[kept], credit.token[kept])
    found = {
        "credit/mean_abs": float(size.sum() / max(kept.sum(), 1)),
        "credit/zero": float((size[kept] == 0).mean()) if kept.any() else 1.0,
        "credit/groups_without_signal": float(silent.mean()),
        "credit/varies_within": float((high > low).mean()),
        "credit/turns": batch.n_turns / batch.n_trajectories,
        "credit/dropped_tokens": float(1.0 - kept.sum() / batch.action.sum()),
    }
    found |= {f"credit/{credit.method}/{name}": float(value) for name, value in credit.diagnostics.items()}
    return found | {f"credit/cost/{name}": float(n) for name, n in asdict(credit.bill).items() if n}


def _turn_of(rollout: Rollout) -> Int:
    """The turn of each token where the policy wrote it: as given, else runs of ``action`` counted from 0."""
    if rollout.turn_ids is not None:
        return np.asarray(rollout.turn_ids)
    begins = rollout.action & ~np.append(False, rollout.action[:-1])
    return np.asarray(np.cumsum(begins) - 1)


def _turns(rollout: Rollout) -> int:
    return int(np.unique(_turn_of(rollout)[rollout.action]).size)


def _turn_ids(chosen: Sequence[Rollout], rows: Sequence[int], width: int) -> Int | None:
    if all(r.turn_ids is None for r in chosen):
        return None
    table = np.full((len(chosen), width), -1, dtype=np.int64)
    for k, rollout in enumerate(chosen):
        if rollout.turn_ids is not None and len(rollout.turn_ids) != rollout.action.size:
            raise BatchError(
                f"turn_ids of completion {rows[k]} has {len(rollout.turn_ids)} entries, but it has {rollout.action.size} tokens"
            )
        table[k, : rollout.action.size] = np.where(rollout.action | (rollout.turn_ids is not None), _turn_of(rollout), -1)
    return table


def _turn_rewards(given: Sequence[Sequence[float] | None], count: Sequence[int], rows: Sequence[int]) -> Any:
    """Lists of one reward per turn, zeros for completions that came without; None where none came with."""
    if all(rewards is None for rewards in given):
        return None
    for rewards, n, i in zip(given, count, rows, strict=True):
        if rewards is not None and len(rewards) != n:
            raise BatchError(_wrong("turn_rewards", len(rewards), n, i, str(n)))
    return [[0.0] * n if rewards is None else [float(r) for r in rewards] for rewards, n in zip(given, count, strict=True)]


def _states(given: Sequence[Sequence[Any] | None], count: Sequence[int], rows: Sequence[int]) -> Any:
    """Lists of one key per turn and one after the last, unknown for completions that came without; None where none came with."""
    if all(keys is None for keys in given):
        return None
    for keys, n, i in zip(given, count, rows, strict=True):
        if keys is None:
            continue
        if len(keys) not in (n, n + 1):
            raise BatchError(_wrong("states", len(keys), n, i, f"{n} or {n + 1}"))
        for key in keys:
            try:
                hash(key)
            except TypeError:
                raise BatchError(
                    f"states of completion {i} holds a {type(key).__name__}: keys must be hashable (a str)"
                ) from None
    return [[None] * n if keys is None else list(keys) for keys, n in zip(given, count, strict=True)]


def _wrong(name: str, has: int, turns: int, row: int, expected: str) -> str:
    return (
        f"{name} of completion {row} has {has} entries, but it has {turns} turns (runs of policy tokens; "
        f"give turn_ids where two turns touch): expected {expected}"
    )


WAYS: Mapping[str, str] = {
    "state": "let rollout_func return 'states', give your environment an attribute 'state', or pass states='observation'",
    "logp": "TRL computes it with use_vllm, or where gradient_accumulation_steps is no multiple of steps_per_generation * "
    "num_iterations; rollout_func returns it as 'logprobs'",
    "ref_logp": "set beta above 0",
}


def _check_columns(spec: Method, batch: Batch, options: Mapping[str, Any]) -> None:
    lacking = spec.lacking(batch.present, {n: v for n, v in options.items() if n in spec.options})
    for name in lacking:
        raise MissingColumn(
            f"{spec.id} needs '{name}', which this batch of TRL's lacks: {WAYS.get(name, 'TRL has no such thing')}"
        )
