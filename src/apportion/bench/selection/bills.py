"""What a method's credit costs at the user's T, N, K and G: measured bills, brought to another size.

Each kind of work was counted at two lengths or more. Between them it grows as N^p; p comes from the counts, and the user's
bill is what was counted at the nearest length times (N / N')^p. Tokens go by their share of a rollout's tokens, so that
longer turns cost more; judge calls and environment steps do not. Fresh rollouts go with K over the K that was measured, and
those that are sampled once for a whole prompt (:data:`PER_PROMPT`) are shared by the G rollouts of it: they go with 1 / G.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import log

from ...registry import keywords, methods
from ...survey.profile import Profile
from ..knobs import entrant as find
from .measured import BILL, Measured
from .needs import LAYOUTS

KINDS = tuple(name for name in BILL if name != "price")
TOKENS = ("generated", "scored", "trained")
FRESH = ("generated", "env_steps")
#: Methods that sample for a prompt and not for each of its rollouts: ReMax one greedy rollout, the others a few branches.
#: Branches begin a little earlier in large groups, so that 1 / G is up to a third too low at four times the measured group.
PER_PROMPT = frozenset(("remax", "carl", "at2po"))


@dataclass(frozen=True)
class Cost:
    """A rollout's credit at ``tokens`` and ``units``: counts by kind, beyond the rollout and one update of it. times: the
    price of rollout, credit and update beside that of rollout and update. at: the settings it was brought from. K: that
    was measured, where it has one."""

    counts: Mapping[str, float]
    times: float
    tokens: int
    units: int
    at: tuple[str, ...]
    k: int | None


def cost(m: Measured, name: str, profile: Profile, among: Collection[str] | None = None) -> Cost | None:
    """None where no bill was measured on such rollouts, or the length is not known. among: settings that may be looked at."""
    if profile.setting is None or profile.units is None:
        return None
    layout = LAYOUTS[profile.setting]
    known = sorted(
        (s.horizon, s.id)
        for s in m.settings.values()
        if s.layout == layout and s.tokens == 2 and (s.id, name) in m.bills and (among is None or s.id in among)
    )
    if not known:
        return None
    units = profile.units
    here = min(known, key=lambda one: (abs(log(one[0] / units)), one[1]))
    other = max(known, key=lambda one: (abs(log(one[0] / here[0])), one[1]))
    setting = m.settings[here[1]]
    tokens = profile.tokens or units * setting.written
    k = continuations(name)
    fresh = profile.K / k if k is not None and profile.K is not None else 1.0
    if profile.G is not None and find(name).method in PER_PROMPT:
        fresh *= m.group / profile.G
    counts = {}
    for kind in KINDS:
        base, far = m.bills[here[1], name][kind], m.bills[other[1], name][kind]
        power = log(far / base) / log(other[0] / here[0]) if base > 0 and far > 0 and other[0] != here[0] else 1.0
        size = base * (units / here[0]) ** power
        if kind in TOKENS:  # counted at so many tokens a unit; the user has others
            size *= (tokens / units) / setting.written
        counts[kind] = size * fresh if kind in FRESH else size
    plain = tokens * (m.prices["generated"] + m.prices["trained"]) + (0 if layout == "steps" else units * m.prices["env_steps"])
    extra = sum(counts[kind] * m.prices[kind] for kind in KINDS)
    at = tuple(dict.fromkeys((here[1], other[1])))
    return Cost(counts, (plain + extra) / plain, tokens, units, at, k)


def continuations(name: str) -> int | None:
    """The continuations ``k`` a prefix had when it was measured; None where it samples none, or not so many a prefix."""
    entrant = find(name)
    collect = methods()[entrant.method].collect
    if entrant.ask not in ("sampler", "editor") or collect is None or "k" not in keywords(collect):
        return None
    k = entrant.options.get("k", keywords(collect)["k"].default)
    return int(k) if isinstance(k, int) else None
