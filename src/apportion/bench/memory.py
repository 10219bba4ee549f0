"""A bound on memory: so many bytes for all workers together, held by the system and not by hope."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from ..errors import BenchError

#: What the process that leads takes, and a worker before its first cell (measured: 110 to 170 MB).
PARENT = 200_000_000
WORKER = 180_000_000

_UNITS = {
    "": 1,
    "B": 1,
    **{f"{p}B": 1000**k for k, p in enumerate("KMGT", 1)},
    **{f"{p}IB": 1024**k for k, p in enumerate("KMGT", 1)},
}


class Memory(NamedTuple):
    """Bytes that a run may take in all: the leading process, and the workers that share the rest equally."""

    total: int

    def share(self, width: int) -> int:
        return max(self.total - PARENT, 0) // width

    def holds(self, need: float, width: int) -> bool:
        """Whether a cell that takes ``need`` bytes beyond an idle worker fits beside ``width - 1`` others."""
        return WORKER + need <= self.share(width)


def parse(text: str) -> Memory:
    """``4GB``, ``512 MiB``, ``2e9``: a bound. Raises BenchError where it is none, or where not even an idle worker fits."""
    said = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([kmgt]?i?b?)\s*", text, re.IGNORECASE)
    unit = said and _UNITS.get(said[2].upper() + ("B" if said[2] and not said[2].upper().endswith("B") else ""))
    try:
        total = int(float(said[1]) * unit) if said and unit else 0
    except ValueError:
        total = 0
    if total <= 0:
        raise BenchError(f"--memory {text}: expected a size such as 4GB or 512MB")
    if not Memory(total).holds(0.0, 1):
        least = (PARENT + WORKER) / 1e6
        raise BenchError(f"--memory {text}: apportion with one idle worker takes about {least:.0f} MB already")
    return Memory(total)


def bound(share: int | None) -> None:
    """Let this process grow to ``share`` bytes and no further: what asks for more gets a MemoryError.

    Linux counts writable private memory (RLIMIT_DATA), touched or not, so that the bound errs on the
    strict side; it is moved by what was reserved but not touched so far. On other systems there is no such limit
    that holds, and only the choice of what runs side by side keeps the bound.
    """
    sizes = None if share is None else _sizes()
    if share is None or sizes is None:
        return
    import resource

    resident, data = sizes
    soft = data + max(share - resident, 0)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def unbound() -> None:
    """Lift what :func:`bound` has set."""
    if _sizes() is not None:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _sizes() -> tuple[int, int] | None:
    """Resident and writable private bytes of this process; None where the system does not tell (it is not Linux)."""
    try:
        text = Path("/proc/self/status").read_text("ascii", "replace")
    except OSError:
        return None
    found = dict(re.findall(r"^(VmRSS|VmData):\s+(\d+) kB", text, re.MULTILINE))
    return (int(found["VmRSS"]) * 1024, int(found["VmData"]) * 1024) if len(found) == 2 else None
