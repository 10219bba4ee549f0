"""The bifurcation family with one knob moved at a time, as data.

All but the last have a hundred turns and are ``bifurcation/horizon-100`` but for what is said here. Where the knob
needs a base of its own, so that no prompt becomes hopeless or certain, every point of its sweep has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .forks import spread

_T = 100


def _spread_over(first: int, last: int) -> Any:
    """Three turns, evenly over those from ``first`` to before ``last``."""
    return first + spread(3, last - first)


def _drawn(prompts: int) -> Any:
    """Three turns at random, for each of ``prompts``; 0: the same for all."""
    rng = np.random.default_rng(7)
    found = np.stack([np.sort(rng.choice(_T, 3, replace=False)) for _ in range(max(prompts, 1))])
    return found if prompts else found[0]


_WHERE: dict[str, tuple[Any, str]] = {
    "early": (_spread_over(0, 10), "three forks within the first ten of 100 turns"),
    "middle": (_spread_over(45, 55), "three forks within the middle ten of 100 turns"),
    "late": (_spread_over(90, 100), "three forks within the last ten of 100 turns"),
    "random": (_drawn(0), "three forks at random turns, the same for every prompt"),
    "per-prompt": (_drawn(16), "three forks at random turns, others for every prompt"),
}

#: Arguments of every variant, by the second half of its id.
KNOBS: dict[str, dict[str, Any]] = {
    **{
        f"forks-{n}": {
            "horizon": _T,
            "forks": n,
            "gap": 0.4,
            "width": 16,
            "title": f"{n} fork{'s' * (n > 1)}, each of medium weight",
        }
        for n in (1, 2, 4, 8)
    },
    **{f"position-{name}": {"horizon": _T, "at": at, "title": title} for name, (at, title) in _WHERE.items()},
    **{
        f"gap-{gap}": {"horizon": _T, "gap": gap, "title": f"the worst choice at a fork derails with chance {gap}"}
        for gap in (0.05, 0.2, 0.4)
    },
    **{
        f"drift-{drift}": {"horizon": _T, "drift": drift, "title": f"luck derails with chance {drift} over all turns"}
        for drift in (0.0, 0.3)
    },
    **{
        f"flip-{flip}": {"horizon": _T, "flip": flip, "title": f"the verifier errs with chance {flip}"}
        for flip in (0.1, 0.2, 0.4)
    },
    "recover-0.4": {"horizon": _T, "recover": 0.4, "title": "a later fork can repair an earlier mistake, at times"},
    **{
        f"delay-{d}": {"horizon": _T, "at": _T - 1 - d - np.array([32, 16, 0]), "title": f"{d} turns after the last fork"}
        for d in (0, 10, 50)
    },
    **{
        f"unseen-{d}": {"horizon": _T, "unseen": d, "title": f"what a fork led to is not shown for {d} turns"}
        for d in (10, 30, 50)
    },
    "delayed": {"horizon": _T, "recover": 0.8, "unseen": 25, "title": "the status, which repairs need, is shown 25 turns late"},
    "aliased": {"horizon": _T, "recover": 0.8, "aliased": True, "title": "half of the states look like another status's"},
    "routine-entropy-0.75": {"horizon": _T, "routine_entropy": 0.75, "title": "routine turns are rather certain"},
    **{f"rooms-{n}": {"horizon": _T, "rooms": n, "title": f"every situation has {n} look{'s' * (n > 1)}"} for n in (1, 4, 8)},
    **{f"tokens-{n}": {"horizon": 30, "tokens": n, "title": f"actions of {n} token{'s' * (n > 1)}"} for n in (1, 8, 64, 512)},
}  # fmt: skip
