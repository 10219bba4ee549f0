"""Which methods a set of columns can feed, and what the others lack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .registry import Method, get, methods


@dataclass(frozen=True)
class Feed:
    """What a method still lacks. ``columns``: of the batch; ``evidence``: recorded, asked or learned."""

    method: str
    columns: tuple[str, ...]
    evidence: tuple[str, ...]
    source: str | None
    can_fit: bool

    @property
    def ready(self) -> bool:
        """Whether the method runs on what is there."""
        return not self.columns and not self.evidence

    @property
    def learnable(self) -> bool:
        """Whether the method runs with ``fit=True``: all it lacks it can learn from the batch."""
        return not self.columns and bool(self.evidence) and self.can_fit

    @property
    def why_not(self) -> str:
        """What is lacking, in a few words; empty where the method is ready."""
        parts = [f"no {' and no '.join(self.columns)}"] if self.columns else []
        if self.evidence:
            ways = [f"ask a {self.source}"] if self.source else []
            ways += ["learn it (fit=True)"] if self.can_fit else []
            parts.append(f"no {' and no '.join(self.evidence)}" + (f": {' or '.join(ways)}" if ways else ""))
        return "; ".join(parts)


def feed(id_: str, have: Iterable[str], options: Mapping[str, Any] | None = None) -> Feed:
    """What method ``id_`` lacks where there are the columns ``have`` (``Batch.present``; "reward" stands for any reward)."""
    return _feed(get(id_), set(have), options)


def feeds(have: Iterable[str]) -> list[Feed]:
    """One :class:`Feed` per method, by id."""
    known = set(have)
    return [_feed(spec, known, None) for spec in methods().values()]


def _feed(spec: Method, have: set[str], options: Mapping[str, Any] | None) -> Feed:
    evidence = tuple(n for n in spec.wanted(options) if n not in have)
    return Feed(spec.id, tuple(spec.lacking(have, options)), evidence, spec.source, spec.fit is not None)
