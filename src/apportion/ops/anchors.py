"""Anchor groups: which visits count as visits to the same state."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray

from ..errors import BatchError, OptionError

Int = NDArray[np.int64]


def anchor_groups(over: Int, key: Int) -> Int:
    """Visits with the same key inside the same group, as dense indices, shape (n,).

    over, key: group and state key (-1 = unknown) of each visit. An unknown state equals no other.
    """
    known = key >= 0
    anchor = np.empty(key.size, dtype=np.int64)
    pairs = over[known] * (int(key.max(initial=0)) + 1) + key[known]
    found, anchor[known] = np.unique(pairs, return_inverse=True)
    anchor[~known] = found.size + np.arange(key.size - int(known.sum()))
    return anchor


def context_groups(over: Int, key: Int, place: Int, depth: int) -> list[Int]:
    """Groups of visits that share their last k states, for k = 1 .. depth: a list of dense indices, each of shape (n,).

    over, key: as in :func:`anchor_groups`, the visits of a trajectory in a run. place: how many visits of its
    trajectory come before each. A visit with fewer than k states behind it (itself included), or with an unknown
    one among them, is alone at depth k. Stops early, at the first depth at which everyone is alone.
    """
    found = [anchor_groups(over, key)]
    while len(found) < depth and np.bincount(found[-1]).max(initial=0) > 1:
        # the same k states: the same k - 1 up to the visit before, and the same state now
        before = np.concatenate(([0], found[-1][:-1]))
        found.append(anchor_groups(before, np.where(place >= len(found), key, -1)))
    return found


def similar_groups(over: Int, key: Int, names: Sequence[object], threshold: float) -> Int:
    """Visits whose state *texts* are alike inside the same group, as dense indices, shape (n,).

    Visits are read in order; each joins the first cluster of its group whose representative (its
    first member) has ``SequenceMatcher(None, text, representative).ratio() >= threshold``, else it
    opens one. Depends on the order, and costs (distinct texts) x (clusters) comparisons a group.
    """
    if not 0 < threshold < 1:
        raise OptionError(f"similarity = {threshold}: expected a ratio between 0 and 1, or None for equal keys only")
    odd = next((i for i, name in enumerate(names) if not isinstance(name, str)), None)
    if odd is not None:
        raise BatchError(
            f"state key {names[odd]!r} is {type(names[odd]).__name__}: similarity compares texts, so keys must be strings"
        )
    exact = anchor_groups(over, key)
    visits = np.unique(exact, return_index=True)[1]
    # a text that was seen before joins the cluster it joined then: the clusters before it are the same
    joined = np.empty(visits.size, dtype=np.int64)
    clusters: dict[int, list[tuple[int, SequenceMatcher[str]]]] = {}
    made = 0
    for visit in np.sort(visits).tolist():
        text = str(names[key[visit]]) if key[visit] >= 0 else None
        known = clusters.setdefault(int(over[visit]), [])
        found = None if text is None else next((c for c, matcher in known if _alike(matcher, text, threshold)), None)
        if found is None:
            found, made = made, made + 1
            if text is not None:
                known.append((found, SequenceMatcher(None, "", text)))
        joined[exact[visit]] = found
    return joined[exact]


def _alike(matcher: SequenceMatcher[str], text: str, threshold: float) -> bool:
    matcher.set_seq1(text)
    # two upper bounds that are cheaper than the ratio itself
    return matcher.real_quick_ratio() >= threshold and matcher.quick_ratio() >= threshold and matcher.ratio() >= threshold
