"""Batch: the immutable, packed rollouts every method reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from . import batch_checks
from .errors import BatchError, MissingColumn
from .ids import Codes
from .structure import Bool, Float, Int, Structure
from .words import Axis

if TYPE_CHECKING:
    from os import PathLike

    from .edges.padded import Layout


def _column(axis: Axis, kind: str, give: str, **more: Any) -> Any:
    """An optional column: its axis, its kind (float, int, bool, codes, text) and how to give it."""
    return field(default=None, metadata={"axis": axis, "kind": kind, "give": give, **more})


@dataclass(frozen=True, eq=False)
class Spans:
    """A named table of token spans (segments, options, tags); they need not nest or cover."""

    start: Int
    end: Int
    label: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Batch(Structure):
    """Rollouts as flat arrays plus offsets; see :class:`Structure` for how the levels nest.

    A trajectory's total reward is ``outcome`` + its ``turn_reward`` + its ``token_reward``; pass
    each reward in one place only. All floats are float64, NaN is refused (``process`` scores
    excepted, where NaN is null), arrays are read-only. Make batches with :meth:`from_turns`,
    :meth:`from_padded`, :meth:`from_messages`, :meth:`from_parquet` or :meth:`from_jsonl`.
    """

    outcome: Float | None = _column("trajectory", "float", "one reward per trajectory, earned at its end")
    turn_reward: Float | None = _column("turn", "float", "one reward per turn, besides the outcome")
    token_reward: Float | None = _column("token", "float", "one reward per token (KL penalties), besides the others")
    agent: Codes | None = _column("trajectory", "codes", "the agent or role of each trajectory")
    state: Codes | None = _column(
        "prefix", "codes", "one key per prefix (turns + 1 a trajectory), made from what the policy saw; None where unknown"
    )
    ids: Int | None = _column("token", "int", "token ids")
    logp: Float | None = _column("token", "float", "log-probabilities under the policy that sampled", high=1e-3)
    ref_logp: Float | None = _column("token", "float", "log-probabilities under the reference policy", high=1e-3)
    value: Float | None = _column("token", "float", "critic value before each token")
    entropy: Float | None = _column("token", "float", "policy entropy at each token, in nats", low=-1e-6)
    process: Float | None = _column("step", "float", "one process score per step; null (NaN) where not scored", nullable=True)
    node: Int | None = _column("turn", "int", "tree node of each turn; the same node in several rows is the same turn")
    parent: Int | None = _column("turn", "int", "parent node of each turn, -1 at a root")
    text: tuple[str | None, ...] | None = _column("turn", "text", "what stands in each turn, for people")
    truncated: Bool | None = _column("trajectory", "bool", "True where a trajectory was cut off")
    bootstrap: Float | None = _column("trajectory", "float", "value after the last turn of a truncated trajectory")
    success: Bool | None = _column("trajectory", "bool", "whether the task was solved (default: total reward > 0)")
    limit: int | None = None
    spans: Mapping[str, Spans] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    layout: Layout | None = None

    def __post_init__(self) -> None:
        batch_checks.check(self)

    # --- columns -------------------------------------------------------------------------------
    @classmethod
    def columns(cls) -> dict[str, Mapping[str, Any]]:
        """Name -> metadata (axis, kind, give) of every optional column."""
        return {f.name: f.metadata for f in fields(cls) if "axis" in f.metadata}

    @property
    def present(self) -> tuple[str, ...]:
        """Names of the columns this batch has, ``group`` and ``steps`` among them."""
        names = [n for n in self.columns() if getattr(self, n) is not None]
        names += ["group"] if self.group is not None else []
        names += ["steps"] if self.step_offsets is not None else []
        names += ["limit"] if self.limit is not None else []
        return tuple(names)

    def need(self, name: str, why: str = "") -> Any:
        """The column, or an error that says how to give it."""
        got = getattr(self, "step_offsets" if name == "steps" else name, None)
        if got is None or (name == "spans" and not got):
            raise MissingColumn(how_to_give(name, why))
        return got

    def with_columns(self, **columns: Any) -> Batch:
        """A batch with these columns set (or dropped: ``None``); everything else is shared."""
        known = {f.name for f in fields(self) if f.init}
        for name in columns:
            if name not in known:
                near = get_close_matches(name, known, n=3) or sorted(self.columns())
                raise BatchError(f"a batch has no column '{name}'; did you mean {', '.join(near)}?")
        return replace(self, **columns)

    def only(self, names: Iterable[str]) -> Batch:
        """A batch that shows just these columns; how a method is kept from reading the rest."""
        shown = set(names)
        hidden: dict[str, Any] = {n: None for n in self.columns() if n not in shown}
        hidden.update({n: None for n in ("group", "limit") if n not in shown})
        if "steps" not in shown:
            hidden["step_offsets"] = None
        if "spans" not in shown:
            hidden["spans"] = {}
        return batch_checks.unchecked(self, hidden)

    # --- rewards -------------------------------------------------------------------------------
    @cached_property
    def reward(self) -> Float:
        """Total reward of each trajectory, shape (N,)."""
        total = np.zeros(self.n_trajectories)
        for name in ("outcome", "turn_reward", "token_reward"):
            given = getattr(self, name)
            if given is not None:
                owner = self.within(self.columns()[name]["axis"], "trajectory")
                total += np.bincount(owner, weights=given, minlength=self.n_trajectories)
        return total

    def rewards(self, axis: Axis, *, stray: Literal["move", "keep"] = "move") -> Float:
        """Every reward at the unit it belongs to; the outcome at the last one of its trajectory.

        On the token axis a turn's reward sits on the last *policy* token of the turn, the outcome
        on the last policy token of the trajectory, and a token reward that was put on an
        observation token on the last policy token of its step: no reward is lost. (stray="keep"
        leaves it there, for recursions that take observation tokens for actions.) Where all that
        comes to the ``token_reward`` column as it stands, it is that (read-only) column.
        """
        given: list[tuple[Int, Float]] = []  # tokens and what is earned there
        if self.token_reward is not None:
            at = np.flatnonzero(self.token_reward != 0)
            reward = self.token_reward[at]
            outside = at[~self.action[at]]
            if outside.size and stray == "move":
                step = np.searchsorted(self.offsets("step"), outside, side="right") - 1
                at[~self.action[at]] = self.last_action("step")[step]
            elif axis == "token" and self.turn_reward is None and self.outcome is None:
                return self.token_reward
            given.append((at, reward))
        if self.turn_reward is not None:
            given.append((self.last_action("turn"), self.turn_reward))
        if self.outcome is not None:
            given.append((self.last_action("trajectory"), self.outcome))
        placed = np.zeros(self.count(axis))
        for at, reward in given:
            np.add.at(placed, at if axis == "token" else self.within("token", axis)[at], reward)
        return placed

    @property
    def solved(self) -> Bool:
        """``success`` where given, else total reward > 0."""
        return self.reward > 0 if self.success is None else self.success

    # --- making and changing -------------------------------------------------------------------
    @classmethod
    def from_turns(cls, lengths: Sequence[Sequence[int]], **columns: Any) -> Batch:
        """A batch from nested turn lengths in tokens, one list per trajectory.

        >>> batch = Batch.from_turns([[2, 3], [4]], outcome=[1.0, 0.0], group=["a", "a"])
        """
        from .edges.turns import from_turns

        return from_turns(lengths, **columns)

    @classmethod
    def from_padded(cls, **tensors: Any) -> Batch:
        """A batch from the (B, T) tensors a trainer holds, numpy or torch, aligned left or right.

        response_mask (or action): (B, T), 1 where the policy wrote the token. attention_mask: 1 on
        real tokens. outcome: (B,) rewards, or token_reward: (B, T). group: the prompt of each row.
        turns: "row" (default), "mask" (runs of ones), or turn_ids: (B, T). state: keys per turn.
        trajectory and step: where rows are single turns. ids, logp, value, entropy: (B, T).
        Everything else: ``help(apportion.edges.padded.from_padded)``.
        """
        from .edges.padded import from_padded

        return from_padded(**tensors)

    @classmethod
    def from_messages(cls, conversations: Sequence[Any], **columns: Any) -> Batch:
        """A batch from chats with tool calls (lists of role/content/tool_calls messages).

        A turn is one assistant message with what was shown before it. outcome, group …: one per
        chat. tokenizer: text to token ids; state="observation": keys from what was shown.
        Everything else: ``help(apportion.edges.messages.from_messages)``.
        """
        from .edges.messages import from_messages

        return from_messages(conversations, **columns)

    @classmethod
    def from_parquet(cls, path: str | PathLike[str]) -> Batch:
        from .edges.files import from_parquet

        return from_parquet(path)

    @classmethod
    def from_jsonl(cls, path: str | PathLike[str]) -> Batch:
        from .edges.files import from_jsonl

        return from_jsonl(path)

    def to_parquet(self, path: str | PathLike[str]) -> None:
        from .edges.files import to_parquet

        to_parquet(self, path)

    def to_jsonl(self, path: str | PathLike[str]) -> None:
        from .edges.files import to_jsonl

        to_jsonl(self, path)

    def take(self, rows: Sequence[int] | Int) -> Batch:
        """The chosen rows, in the order given; a row may be taken more than once."""
        from .edges.take import take

        return take(self, np.asarray(rows, dtype=np.int64))

    def same(self, other: Batch) -> bool:
        """Whether two batches hold the same rollouts, column by column, bit by bit."""
        return batch_checks.same(self, other)

    def __repr__(self) -> str:
        from .edges.show import batch_repr

        return batch_repr(self)

    def _repr_html_(self) -> str:
        from .edges.show import batch_html

        return batch_html(self)


_ELSE = {
    "group": "the prompt (task) each trajectory was sampled from",
    "steps": "token offsets of reasoning steps; from_turns takes nested lengths",
    "limit": "the generation limit in tokens (max_new_tokens), one int",
    "reward": "outcome=, turn_reward= or token_reward=",
    "spans": "named tables of token spans: {name: Spans(start, end)}",
}


def what_it_is(name: str) -> str:
    """What a column (or "reward", "group", "steps", "limit", "spans") holds, in a few words."""
    return str(Batch.columns()[name]["give"]) if name in Batch.columns() else _ELSE.get(name, name)


def how_to_give(name: str, why: str = "") -> str:
    """A sentence that says what a missing column is and where to give it."""
    field = {"reward": "outcome", "steps": "step_offsets"}.get(name, name)
    made_with = "steps" if name == "steps" else field
    because = f" {why}" if why else ""
    way = f"Give {made_with}= ({what_it_is(name)}) when you make the batch, or batch.with_columns({field}=...)."
    return f"column '{name}' is missing{because}. {way}"
