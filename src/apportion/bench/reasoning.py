"""Chains of thought: steps of one answer, where only the prompt is seen and everything follows from the text.

A chain is sound, has a slip, or is lost (its *status*), and is worded in one of several ways. At a fork
one action keeps the status, one slips and the others lose the thread; a later fork can mend it. At
every routine step all actions have exactly the same Q: they only choose words. No dice but the
verifier's: the last status and the prompt set the chance of reward.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ..errors import OptionError
from .forks import CLASSES, contexts, kernels_of, observations, spread, tastes
from .tabular import Float, Int, Task, binary_words

SOUND, SLIP, LOST = range(3)


def reasoning(
    id_: str,
    *,
    horizon: int,
    title: str,
    tags: tuple[str, ...] = (),
    forks: int = 3,
    mends: bool = False,
    wordings: int = 2,
    routine_entropy: float = 1.0,
    prompts: int = 16,
    tokens: int = 2,
    width: int = 24,
    seed: int = 0,
    at: Int | None = None,
    planted: int | None = None,
) -> Task:
    """Build one task of the family.

    forks: how many steps decide, spread evenly, or at the steps ``at``. mends: whether the right action at a later fork
    makes the chain sound again. wordings: how many ways every situation can be worded.
    planted: a step whose text slips whatever the policy writes; it is no fork, for there was no choice. None: there is no such.
    routine_entropy: 1 leaves routine choices nearly uniform, 0 makes them nearly certain. width:
    features a context; contexts outnumber them, so parameters are shared.
    """
    rng = np.random.default_rng(seed)
    A, S, T = 4, 3 * wordings, horizon
    at = spread(forks, T) if at is None else at
    decides = kernels_of(rng, prompts, T, at, forks)
    kernel_of = decides.copy()
    if planted is not None:
        if (decides[:, planted] > 0).any():
            raise OptionError(f"{id_}: planted = {planted} is a fork: plant the slip at a step that decides nothing")
        kernel_of[:, planted] = 1 + CLASSES
    status, _ = np.divmod(np.arange(S), wordings)
    offset = tastes(rng, A, forks, 3, routine_entropy)
    C = offset.shape[0]
    start = np.zeros((prompts, S))
    start[:, 0] = 1.0
    ease = np.linspace(0.0, 1.0, prompts)
    success = np.stack([0.42 + 0.57 * ease, 0.15 + 0.5 * ease, 0.96 * ease**4], axis=1)
    return Task(
        id=id_, title=title, family="reasoning", tags=("credit", *tags),
        start=start, kernels=_kernels(rng, A, wordings, mends, planted is not None), kernel_of=kernel_of,
        success=success[:, status],
        observation=observations(prompts, T, np.arange(S)), context=contexts(decides, forks, status, 3), offset=offset,
        features=rng.normal(size=(C, width)) / np.sqrt(width), fork=decides > 0, words=binary_words(A, tokens),
        definition={
            "horizon": T, "forks": at.tolist(), "mends": mends, "wordings": wordings, "routine_entropy": routine_entropy,
            "tokens": tokens, "width": width, "seed": seed,
        } | ({} if planted is None else {"planted": planted}),
        layout="steps",
    )  # fmt: skip


def _kernels(rng: np.random.Generator, A: int, wordings: int, mends: bool, planted: bool) -> Float:
    """(K, S, A, S) of 0 and 1: the routine kernel, one per class of fork, and that of a planted slip."""
    S = 3 * wordings
    words = rng.integers(wordings, size=(wordings, A))  # the words depend on the action, what they are worth does not
    after = np.tile(np.arange(3)[None, :, None], (1 + CLASSES, 1, A))
    for c in range(CLASSES):
        slip, *lose = [(c + 1 + i) % A for i in range(A - 1)]
        after[1 + c][:, slip] = np.maximum(after[1 + c][:, slip], SLIP)
        after[1 + c][:, lose] = LOST
        if mends:
            after[1 + c][:, c] = SOUND
    if planted:
        after = np.concatenate([after, np.maximum(after[:1], SLIP)])
    kernels: Float = np.zeros((len(after), S, A, S))
    for k in range(len(after)):
        for s in range(S):
            for a in range(A):
                kernels[k, s, a, after[k, s // wordings, a] * wordings + words[s % wordings, a]] = 1.0
    return kernels


@cache
def variants() -> dict[str, dict[str, Any]]:
    """Arguments of every shipped variant, by id; one knob moves at a time from ``steps-30``."""
    made: dict[str, dict[str, Any]] = {}
    for T in (10, 30, 100, 300):
        made[f"reasoning/steps-{T}"] = {"horizon": T, "title": f"three forks in {T} steps of one answer", "tags": ("horizon",)}
    knobs: dict[str, dict[str, Any]] = {
        "mended": {"mends": True, "title": "a later fork can mend an earlier mistake"},
        "sure-routine": {"routine_entropy": 0.5, "title": "routine steps are nearly certain"},
        "long-steps": {"tokens": 8, "title": "steps of eight tokens"},
    }
    for name, knob in knobs.items():
        made[f"reasoning/{name}"] = {"horizon": 30, "tags": (name,), **knob}
    for n in (16, 64, 256, 960):
        title = f"32 steps, {32 * n:,} tokens of one answer"
        made[f"reasoning/tokens-{32 * n}"] = {"horizon": 32, "tokens": n, "tags": ("tokens",), "title": title}
    made["reasoning/planning"] = {
        "horizon": 30, "forks": 1, "at": np.array([0]), "width": 16, "tags": ("planning",),
        "title": "the first step decides, the others carry it out",
    }  # fmt: skip
    made["reasoning/planted"] = {
        "horizon": 30, "at": np.array([9, 17, 25]), "planted": 3, "mends": True, "tags": ("planted",),
        "title": "a slip nobody chose stands early; any of three later steps can mend it",
    }  # fmt: skip
    return made


@cache
def build(id_: str) -> Task:
    """The shipped variant with this id."""
    return reasoning(id_, **variants()[id_])
