"""Names (of groups, trajectories, states …) as dense integer codes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Codes:
    """``names[codes[i]]`` is the name of item i; code -1 means "no name given" (null)."""

    codes: Int
    names: tuple[Any, ...]

    @classmethod
    def of(cls, values: Iterable[Any]) -> Codes:
        """Number names in order of first appearance; ``None`` becomes -1.

        Anything hashable is a name; numpy scalars become Python ones, so that 3 from an array and
        3 from a list are the same name.
        """
        if isinstance(values, np.ndarray) and values.dtype.kind in "iu" and values.ndim == 1:
            return cls._of_ints(values)
        table: dict[Any, int] = {}
        out: list[int] = []
        for value in values:
            if isinstance(value, np.generic):
                value = value.item()
            out.append(-1 if value is None else table.setdefault(value, len(table)))
        return cls(np.asarray(out, dtype=np.int64), tuple(table))

    @classmethod
    def _of_ints(cls, values: NDArray[Any]) -> Codes:
        low = int(values.min()) if values.size else 0
        if values.size and int(values.max()) - low < 4 * values.size:
            return cls._of_dense(values.astype(np.int64) - low, low)
        names, first, inverse = np.unique(values, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        return cls(rank[inverse].astype(np.int64), tuple(names[order].tolist()))

    @classmethod
    def _of_dense(cls, values: Int, low: int) -> Codes:
        """Integers from a small range, numbered without sorting them."""
        first = np.full(int(values.max()) + 1, values.size, dtype=np.int64)
        first[values[::-1]] = np.arange(values.size - 1, -1, -1)
        used = np.flatnonzero(first < values.size)
        names = used[np.argsort(first[used], kind="stable")]
        rank = np.empty_like(first)
        rank[names] = np.arange(names.size)
        return cls(rank[values], tuple((names + low).tolist()))

    def __len__(self) -> int:
        return int(self.codes.size)

    @property
    def n(self) -> int:
        """Number of distinct names."""
        return len(self.names)

    def name(self, i: int) -> Any:
        """Name of item ``i`` (``None`` where null)."""
        code = int(self.codes[i])
        return None if code < 0 else self.names[code]

    def to_list(self) -> list[Any]:
        """All names, ``None`` where null."""
        return [None if c < 0 else self.names[c] for c in self.codes.tolist()]

    def take(self, index: Int) -> Codes:
        """The items at ``index``, renumbered in order of first appearance."""
        kept = self.codes[index]
        known = kept >= 0
        dense = Codes._of_ints(kept[known])
        codes = np.full(kept.shape, -1, dtype=np.int64)
        codes[known] = dense.codes
        return Codes(codes, tuple(self.names[c] for c in dense.names))

    def same(self, other: Codes) -> bool:
        """Whether both name the same items the same way."""
        return self.names == other.names and bool(np.array_equal(self.codes, other.codes))
