"""Which trajectories are read together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import OptionError
from ..structure import Int
from ..words import Scope, check_word


def pieces(scope: Scope, group: Int, size: Int, budget: int) -> Iterator[Int]:
    """Indices of trajectories that make a batch of about ``budget`` bytes: whole groups, single ones, or all.

    group: (N,) 0, 1 … by first appearance, -1 for none (each by itself). Groups come in the order in
    which they begin, in a batch the trajectories in the order of the log. A group larger than the
    budget is a batch of its own.
    """
    check_word(scope, Scope, "scope")
    if budget < 1:
        raise OptionError(f"budget = {budget}: expected a number of bytes, at least 1")
    every = np.arange(size.size, dtype=np.int64)
    if scope == "batch":
        yield every
        return
    if scope == "trajectory" or (group < 0).all():
        order, unit = every, every
    else:
        order = np.argsort(group, kind="stable")
        unit = group[order]
    first = np.flatnonzero(np.concatenate(([True], unit[1:] != unit[:-1])))
    bytes_ = np.add.reduceat(size[order], first)
    stop = np.append(first[1:], order.size)
    begin, held = 0, 0
    for k, more in enumerate(bytes_.tolist()):
        if held and held + more > budget:
            yield np.sort(order[begin : first[k]])
            begin, held = int(first[k]), 0
        held += more
    yield np.sort(order[begin : stop[-1]])
