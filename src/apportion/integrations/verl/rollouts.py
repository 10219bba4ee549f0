"""A trainer's rows as a batch of trajectories, with everything the trainer mode brought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...batch import Batch
from ...edges.tensors import to_numpy
from ...errors import BatchError
from ...registry import Method
from ...structure import Bool, Float, Int
from .brought import Brought
from .handover import LENGTHS, check_row, columns, unit_ids
from .settings import Settings


@dataclass(frozen=True, eq=False)
class Rows:
    """Which session each row belongs to, and which row is the last of its session.

    where: names for errors. session: dense numbers (n,); last: row index (n,) of the session's last
    output; step: order within the session (n,).
    """

    where: Sequence[str]
    uid: Sequence[str]
    names: Sequence[str]
    session: Int
    step: Int
    last: Int

    @property
    def is_last(self) -> Bool:
        last: Bool = self.last == np.arange(self.last.size)
        return last


def batch_of(spec: Method, settings: Settings, rewards: Any, brought: Brought, rows: Int) -> Batch:
    """The batch of the rows in which the policy wrote something; columns the method does not read are left out.

    Rows whose keys differ in the index only are the outputs of one session and make one trajectory.
    """
    mask = (to_numpy("response_mask", brought.mask) != 0)[rows]
    wanted = {*spec.reads, *spec.may_read, *spec.evidence, *(["ids"] if settings.fit else []), "turn_reward", "episode"}
    at = rows_of([brought.keys[r] for r in rows], rows)
    handed: list[Mapping[str, Any]] = [(brought.handed[r] if brought.handed else None) or {} for r in rows]
    counts = [check_row(at.where[k], handed[k], mask[k]) for k in range(rows.size)]
    made: dict[str, Any] = {}
    for name in wanted & set(brought.tokens):
        made[name] = _finite(name, brought.tokens[name][rows], mask, at)
    if "limit" in wanted:
        made["limit"] = brought.limit
    made.update(_handed(wanted, handed, at))
    made.update(_boundaries(handed, mask, at))
    if settings.turn_reward_from is not None:
        if "turn_reward" in made:
            raise BatchError(
                f"turn_reward is handed over, and turn_reward_from = {settings.turn_reward_from!r} asks for it again"
            )
        made["turn_reward"] = _collected(settings.turn_reward_from, brought, rows, at, [c["turn"] for c in counts])
    scores = _scores(brought, rows, at)
    made.update(_rewards(scores, rewards[rows], brought, rows, at))
    earned = _earned(scores, made.get("turn_reward"), at)
    if brought.kl_in_reward and "success" in spec.may_read and "success" not in made:
        made["success"] = (earned > 0)[at.session]  # the penalty decides nothing
    return Batch.from_padded(response_mask=brought.mask[rows], group=at.uid, trajectory=at.names, step=at.step, **made)


def rows_of(keys: Sequence[str], rows: Int) -> Rows:
    """The sessions behind verl's keys ``{uid}_{session}_{index}``."""
    parts = [key.rsplit("_", 2) for key in keys]
    for k, part in enumerate(parts):
        if len(part) != 3 or not part[2].isdigit():
            raise BatchError(f"row {rows[k]} has the key {keys[k]!r}: expected {{uid}}_{{session}}_{{index}}")
    names = [f"{uid}_{session}" for uid, session, _ in parts]
    session = np.unique(np.asarray(names), return_inverse=True)[1].astype(np.int64)
    step = np.array([int(index) for _, _, index in parts], dtype=np.int64)
    order = np.lexsort((step, session))
    ends = np.append(np.flatnonzero(np.diff(session[order])), order.size - 1)
    return Rows([f"row {r} ({key})" for r, key in zip(rows, keys, strict=True)], [p[0] for p in parts], names, session, step,
                order[ends][session])  # fmt: skip


def _finite(name: str, tensor: Any, mask: Bool, at: Rows) -> Any:
    array = to_numpy(name, tensor)
    wild = mask & ~np.isfinite(array)
    if wild.any():
        k, t = np.argwhere(wild)[0]
        raise BatchError(f"{at.where[k]}: {name} = {array[k, t]} on the policy token {t}: expected a finite number")
    return tensor


def _handed(wanted: set[str], handed: Sequence[Mapping[str, Any]], at: Rows) -> dict[str, Any]:
    """The wanted columns that were handed over: in every row, or an error that names one without."""
    made: dict[str, Any] = {}
    for name, axis in columns().items():
        has = np.array([row.get(name) is not None for row in handed])
        if name not in wanted or not has.any():
            continue
        needed = has if axis != "trajectory" else has[at.last]
        if not needed.all():
            k = int(np.argmin(needed))
            raise BatchError(f"{at.where[k]} hands over no {name}, but {at.where[int(np.argmax(has))]} does: every row has to")
        values = [row.get(name) for row in handed]
        made[name] = [list(v) for v in values] if axis != "trajectory" else [values[last] for last in at.last]  # type: ignore[arg-type]
    return made


def _boundaries(handed: Sequence[Mapping[str, Any]], mask: Bool, at: Rows) -> dict[str, Any]:
    """turn_ids and step_ids (B, T) from lengths; the runs of ones are the turns where no lengths were given."""
    made: dict[str, Any] = {}
    for name, unit in LENGTHS.items():
        has = [row.get(name) is not None for row in handed]
        if any(has) and not all(has):
            raise BatchError(
                f"{at.where[has.index(False)]} hands over no {name}, but {at.where[has.index(True)]} does: every row has to"
            )
        if any(has):
            made[f"{unit}_ids"] = np.stack([unit_ids(np.asarray(row[name]), m) for row, m in zip(handed, mask, strict=True)])
    return made if "turn_ids" in made else {**made, "turns": "mask"}


def _collected(name: str, brought: Brought, rows: Int, at: Rows, turns: Sequence[int]) -> list[list[float]]:
    """One of verl's own lists as rewards of turns; a last turn that called no tool earned nothing more."""
    found = []
    for k, r in enumerate(rows.tolist()):
        given = (brought.collected[r] if brought.collected is not None else None) or []
        if len(given) not in (turns[k], turns[k] - 1):
            raise BatchError(
                f"{at.where[k]}: {name} has {len(given)} entries, but the row has {turns[k]} turns: parallel or unrewarded calls "
                "do not line up with turns; let the agent loop hand over turn_reward"
            )
        found.append([float(x) for x in given] + [0.0] * (turns[k] - len(given)))
    return found


def _scores(brought: Brought, rows: Int, at: Rows) -> Float:
    """``rm_scores`` with the copies taken out: verl writes a session's reward into every output, and it counts once."""
    scores = to_numpy("rm_scores", brought.scores).astype(np.float64)[rows]
    ends = to_numpy("lengths", brought.lengths)[rows] - 1
    inner = scores != 0
    inner[np.arange(rows.size), ends] = False
    dense = inner.any(axis=1) & ~at.is_last
    if dense.any():
        raise BatchError(
            f"{at.where[int(np.argmax(dense))]}: rm_scores holds token rewards in an output that is not the last of its "
            "session, where verl writes a copy of the session's reward; hand rewards of turns over as turn_reward"
        )
    scores[~at.is_last] = 0.0
    return scores


def _rewards(scores: Float, rewards: Any, brought: Brought, rows: Int, at: Rows) -> dict[str, Any]:
    """Scores and KL penalties as columns; kept apart where there is a penalty, as some methods weigh them differently."""
    raw = to_numpy("rm_scores", brought.scores).astype(np.float64)[rows]
    penalty = to_numpy("token_level_rewards", rewards).astype(np.float64) - raw
    ends = to_numpy("lengths", brought.lengths)[rows] - 1
    single = np.count_nonzero(scores, axis=1) == (scores[np.arange(rows.size), ends] != 0)
    if brought.kl_in_reward and single.all():
        return {"outcome": scores.sum(axis=1)[at.last], "token_reward": penalty}
    return {"token_reward": scores + penalty}


def _earned(scores: Float, turn_reward: Sequence[Sequence[float]] | None, at: Rows) -> Float:
    """Total reward of each session without the penalty; a reward said in two places is refused."""
    total: Float = np.bincount(at.session, weights=scores.sum(axis=1)).astype(np.float64)
    if turn_reward is None:
        return total
    turns = np.bincount(at.session, weights=np.array([float(np.sum(x)) for x in turn_reward]))
    # equal constants may be chance (everybody solved it); equal and varying, they are one reward
    if np.ptp(turns) > 0 and np.allclose(turns, total, rtol=1e-5, atol=1e-6):
        raise BatchError(
            "rm_scores equals the sum of turn_reward in every trajectory, so each reward would count twice: a trajectory earns "
            "rm_scores + turn_reward. Leave what the turns earned out of reward_score, or hand over no turn_reward"
        )
    both: Float = total + turns
    return both
