"""Finite tasks whose every quantity of interest can be computed exactly."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ApportionError
from .records import Layout

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Task:
    """A finite-horizon decision process, what its policy sees, and how it reads as tokens.

    Shapes: P prompts, T turns, S states, A actions, K kernels, C contexts, D features.

    start (P, S): where a rollout begins. kernels (K, S, A, S) and kernel_of (P, T): how it moves.
    success (P, S): chance of reward 1 in the last state.
    observation (P, T + 1, S): what the policy sees, as an integer; states it cannot tell apart
    share one. It is the state key of the batch and must determine the context; its remainder
    modulo S is the token that shows how the place looks.
    context (P, T, S): row of the policy table; features (C, D) ties rows together, so that
    logits = offset + features @ theta, with theta (D, A), zero at the start.
    fork (P, T): where the choice matters. words (A, L): the tokens that spell each action.
    roles (T,): which agent acts at each turn (layout "team").
    reference (C, A): logits of the reference policy; None: the policy that training starts from.
    shown (P, T + 1, S): what the world shows, where the policy sees more than that (its own last words);
    None: ``observation``. It is the state key of the batch, and its remainder modulo ``looks`` the
    token that shows how the place looks.
    """

    id: str
    title: str
    family: str
    tags: tuple[str, ...]
    start: Float
    kernels: Float
    kernel_of: Int
    success: Float
    observation: Int
    context: Int
    offset: Float
    features: Float
    fork: Bool
    words: Int
    definition: dict[str, Any] = field(default_factory=dict)
    layout: Layout = "turns"
    roles: Int | None = None
    reference: Float | None = None
    shown: Int | None = None

    def __post_init__(self) -> None:
        P, T, S = self.context.shape
        K, A = self.kernels.shape[0], self.kernels.shape[2]
        expected = {
            "start": (P, S), "kernels": (K, S, A, S), "kernel_of": (P, T), "success": (P, S),
            "observation": (P, T + 1, S), "offset": (self.features.shape[0], A), "fork": (P, T),
        }  # fmt: skip
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ApportionError(f"task {self.id}: {name} has shape {getattr(self, name).shape}, expected {shape}")
        for name in ("start", "kernels"):
            total = getattr(self, name).sum(-1)
            if not np.allclose(total, 1, atol=1e-12) or (getattr(self, name) < 0).any():
                raise ApportionError(f"task {self.id}: {name} must hold probabilities that sum to 1 over the last axis")
        if (self.success < 0).any() or (self.success > 1).any():
            raise ApportionError(f"task {self.id}: success must lie in [0, 1]")
        if np.unique(self.words, axis=0).shape[0] != A:
            raise ApportionError(f"task {self.id}: words must spell every action differently")
        if self.layout == "steps" and not all(np.isin(x, (0.0, 1.0)).all() for x in (self.start, self.kernels)):
            raise ApportionError(f"task {self.id}: steps follow from the text: start and kernels must hold 0 and 1 only")
        if (self.layout == "team") != (self.roles is not None) or (self.roles is not None and self.roles.shape != (T,)):
            raise ApportionError(f"task {self.id}: roles must name an agent for each of the {T} turns, for a team only")
        pairs = np.stack([self.observation[:, :T].ravel(), self.context.ravel()], axis=1)
        if np.unique(pairs, axis=0).shape[0] != np.unique(pairs[:, 0]).size:
            raise ApportionError(f"task {self.id}: one observation has two contexts: the policy cannot know more than it sees")

    @property
    def prompts(self) -> int:
        return int(self.context.shape[0])

    @property
    def horizon(self) -> int:
        return int(self.context.shape[1])

    @property
    def actions(self) -> int:
        return int(self.kernels.shape[2])

    @property
    def agents(self) -> int:
        return 1 if self.roles is None else int(self.roles.max()) + 1

    @property
    def contexts(self) -> int:
        return int(self.offset.shape[0])

    @property
    def looks(self) -> int:
        """How many looks a place can have."""
        return int(self.context.shape[2])

    @property
    def neural(self) -> bool:
        """Whether the policy is a network (:mod:`apportion.bench.neural`)."""
        return False

    @property
    def rate(self) -> float:
        """What learning rates are multiplied with, so that one grid serves every kind of policy."""
        return 1.0

    @property
    def attainable(self) -> float:
        """What exact gradient ascent attains, where the task itself knows."""
        raise NotImplementedError(f"task {self.id}: see oracle.attainable")

    @property
    def start_theta(self) -> Float:
        return np.zeros((self.features.shape[1], self.actions))

    def policy(self, theta: Float) -> Float:
        """pi (C, A) = softmax(offset + features @ theta)."""
        return self._softmax(self.offset + self.features @ theta)

    def pull_back(self, theta: Float, coefficient: Float) -> Float:
        """sum over contexts and actions of coefficient * d log pi / d theta, (..., C, A) -> (..., D, A).

        The coefficients of a context add up to 0, so that log pi may stand for the logits.
        """
        g: Float = np.einsum("cd,...ca->...da", self.features, coefficient)
        return g

    @staticmethod
    def _softmax(logits: Float) -> Float:
        weight = np.exp(logits - logits.max(axis=1, keepdims=True))
        pi: Float = weight / weight.sum(axis=1, keepdims=True)
        return pi

    @property
    def reference_policy(self) -> Float:
        """pi (C, A) of the reference: what a KL penalty or an implicit reward compares with."""
        return self._softmax(self.offset if self.reference is None else self.reference)

    @cached_property
    def context_of(self) -> Int:
        """Context of each observation, -1 where no turn starts there."""
        T = self.horizon
        table = np.full(int(self.observation.max()) + 1, -1, dtype=np.int64)
        table[self.observation[:, :T].ravel()] = self.context.ravel()
        return table

    @cached_property
    def spelling(self) -> Bool:
        """(A, L + 1, A): which actions are still possible after the first j tokens of action a."""
        A, L = self.words.shape
        left = np.ones((A, L + 1, A), dtype=np.bool_)
        for j in range(L):
            left[:, j + 1] = left[:, j] & (self.words[:, j][:, None] == self.words[:, j][None, :])
        return left

    def token_probabilities(self, pi: Float) -> tuple[Float, Float]:
        """log pi of each token of each action, and the entropy at its slot: both (C, A, L)."""
        A, L = self.words.shape
        mass = np.einsum("ca,bja->cbj", pi, self.spelling.astype(np.float64))
        logp = np.log(mass[:, :, 1:]) - np.log(mass[:, :, :-1])
        entropy = np.zeros_like(logp)
        for b in range(A):
            for j in range(L):
                options = {int(self.words[a, j]): a for a in range(A) if self.spelling[b, j, a]}
                for a in options.values():
                    entropy[:, b, j] -= np.exp(logp[:, a, j]) * logp[:, a, j]
        return np.minimum(logp, 0.0), np.maximum(entropy, 0.0)

    def describe(self) -> dict[str, Any]:
        """A JSON-able definition with a hash of every array."""
        digest = hashlib.sha256()
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray):
                digest.update(f.name.encode() + str(value.shape).encode() + np.ascontiguousarray(value).tobytes())
        return {
            "id": self.id, "title": self.title, "family": self.family, "tags": list(self.tags),
            "horizon": self.horizon, "prompts": self.prompts, "actions": self.actions, "layout": self.layout,
            "definition": self.definition, "sha256": digest.hexdigest(),
        }  # fmt: skip


def chain(id_: str, kernel: Any, success: Any, *, horizon: int, start: Any = None, forks: Any = None, **more: Any) -> Task:
    """A task from one kernel: the short way to define your own.

    kernel: (S, A, S) or (T, S, A, S) transition probabilities; success: (S,) or (P, S) chance of
    reward 1 in the last state; start: (S,), default state 0. The policy sees the state and the
    turn, has one row of parameters per (state, kernel) and starts uniform.
    """
    kernels = np.asarray(kernel, dtype=np.float64)
    kernels = kernels[None] if kernels.ndim == 3 else kernels
    K, S, A, _ = kernels.shape
    if K not in (1, horizon):
        raise ApportionError(f"task {id_}: kernel has {K} turns, expected 1 or horizon = {horizon}")
    ends = np.atleast_2d(np.asarray(success, dtype=np.float64))
    P, T = ends.shape[0], horizon
    begin = np.zeros(S) if start is None else np.asarray(start, dtype=np.float64)
    if start is None:
        begin[0] = 1.0
    kernel_of = np.tile(np.arange(T) if K == T else np.zeros(T, dtype=np.int64), (P, 1))
    same = np.all(np.abs(kernels - kernels[:, :, :1]) < 1e-12, axis=(1, 2, 3))
    return Task(
        id=id_, title=more.pop("title", id_), family=id_.split("/")[0], tags=tuple(more.pop("tags", ("own",))),
        start=np.tile(begin, (P, 1)), kernels=kernels, kernel_of=kernel_of, success=ends,
        observation=np.arange(P * (T + 1) * S).reshape(P, T + 1, S),
        context=(kernel_of[:, :, None] * S + np.arange(S)).astype(np.int64),
        offset=np.zeros((K * S, A)), features=np.eye(K * S),
        fork=~same[kernel_of] if forks is None else np.asarray(forks, dtype=np.bool_),
        words=binary_words(A, more.pop("tokens", 2)), definition={"kind": "chain", **more},
    )  # fmt: skip


def binary_words(actions: int, length: int) -> Int:
    """Token spellings (A, length) of the actions: bits first, then a closing token."""
    bits = max(int(np.ceil(np.log2(max(actions, 2)))), 1)
    length = max(length, bits)
    words = np.full((actions, length), FILLER, dtype=np.int64)
    for j in range(bits):
        words[:, j] = BIT + 2 * j + (np.arange(actions) >> (bits - 1 - j) & 1)
    return words


#: First token id of each kind of token in a simulated text.
FILLER, BIT, PROMPT, TURN, SEEN, RESULT = 1, 10, 100, 10_000, 100_000, 2
