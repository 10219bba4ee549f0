"""Tasks that results were published of stay what they are: another array under the same id would mislead readers."""

from __future__ import annotations

import hashlib
from dataclasses import fields

import numpy as np
import pytest

from apportion.bench.tabular import Task
from apportion.bench.tasks import find

#: Family -> digest of all arrays of its tasks, rounded so that the last bits of a processor do not count, and their names.
PUBLISHED: dict[str, tuple[str, str]] = {
    "agentic": (
        "a8a8b02a92a18bc8",
        "echo-trap echo-trap-deep memory-gap-25 memory-gap-5 timeless",
    ),
    "bifurcation": (
        "a15c807d9359905e",
        "hidden horizon-10 horizon-100 horizon-20 horizon-30 horizon-300 horizon-500 lucky rare-states "
        "recoverable small-gap sure-forks sure-routine",
    ),
    "classical": (
        "06d2641af9513703",
        "ambiguous-bandit delayed-effect-2 delayed-effect-32 delayed-effect-8 discounting-chain key-to-door matrix-game "
        "shortcut umbrella-distract "
        "umbrella-length-10 umbrella-length-100 umbrella-length-30",
    ),
    "interaction": (
        "10fc3248ad9df8c4",
        "additive and or order xor",
    ),
    "reasoning": (
        "844364c5b88cea3d",
        "long-steps mended steps-10 steps-100 steps-30 sure-routine",
    ),
    "team": (
        "1197fb708deb70bc",
        "four one-decides two",
    ),
    "tiny": (
        "81c7aa3f8846305a",
        "steps turns",
    ),
    "witness": (
        "f20a4ba1f2f978dd",
        "minus plus",
    ),
}


def digest(task: Task) -> bytes:
    found = hashlib.sha256()
    for f in fields(task):
        value = getattr(task, f.name)
        if isinstance(value, np.ndarray):
            value = np.round(value, 9) + 0.0 if value.dtype == np.float64 else value.astype(np.int64)
            found.update(f.name.encode() + str(value.shape).encode() + np.ascontiguousarray(value).tobytes())
    return found.digest()


@pytest.mark.parametrize("family", sorted(PUBLISHED))
def test_published_tasks_stay_what_they_are(family: str) -> None:
    known, names = PUBLISHED[family]
    whole = hashlib.sha256(b"".join(digest(find(f"{family}/{name}")) for name in names.split()))
    assert whole.hexdigest()[:16] == known, f"a task of {family} has changed: give the new one a new id"
