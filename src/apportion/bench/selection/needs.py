"""What a user must have for an entrant to run: derived from how it gets its evidence and which columns it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...registry import methods
from ...survey.profile import Profile, flag
from ..entrants import Entrant
from ..records import Layout

#: Where a setting's rollouts stand in the benchmark.
LAYOUTS: Mapping[str, Layout] = {"reasoning": "steps", "agentic": "turns", "multi-agent": "team"}

#: Need -> (field of the profile that must be True, what it is).
PROVISIONS: Mapping[str, tuple[str, str]] = {
    "fork": ("can_fork", "going on from an intermediate state"),
    "sampler": ("sampler", "further rollouts while credit is given"),
    "judge": ("judge", "a judge to ask"),
    "critic": ("critic", "a model trained beside the policy"),
    "author": ("judge", "a language model that writes a few lines of code, once"),
    "privileged": ("privileged", "information that the policy does not see"),
    "state": ("states_repeat", "states met again (column state)"),
    "spans": ("spans", "tokens labelled as options (column spans)"),
}

#: How an entrant gets its evidence -> what that takes.
_ASKS: Mapping[str, tuple[str, ...]] = {
    "fit": ("critic",), "experts": ("critic",), "sampler": ("fork",), "judge": ("judge",), "policy": ("judge",),
    "model": ("judge",), "editor": ("judge", "fork"), "author": ("author",), "hint": ("critic", "privileged"),
}  # fmt: skip

#: Entrants whose fresh rollouts begin at the prompt: nothing is restored.
_FROM_THE_START = frozenset(("ccpo", "sharp", "remax"))

#: Most that a rollout with its credit may cost beside a plain one, by budget.
BUDGETS: Mapping[str, float] = {"low": 1.5, "medium": 5.0, "high": float("inf")}


@dataclass(frozen=True)
class Lack:
    """Why an entrant is out: ``says`` in words; ``known`` False where the user did not say."""

    need: str
    says: str
    known: bool = True


def needs(entrant: Entrant) -> tuple[str, ...]:
    """Provisions an entrant needs, beyond rollouts of its layout: how it gets its evidence, then columns that few have."""
    asked = _ASKS.get(entrant.ask, ())
    if entrant.ask == "sampler" and entrant.method in _FROM_THE_START:
        asked = ("sampler",)
    reads = methods()[entrant.method].reads
    return (*asked, *(name for name in ("state", "spans") if name in reads))


def lacks(entrant: Entrant, profile: Profile, price: float | None = None) -> list[Lack]:
    """Everything that keeps an entrant from this user; empty where needs are a subset of what there is.

    A provision that was not mentioned is not assumed. price: of a rollout with its credit beside a plain one; a budget
    bounds it (:data:`BUDGETS`).
    """
    found = []
    if profile.setting is not None and not entrant.fits(LAYOUTS[profile.setting]):
        found.append(Lack("setting", f"does not run on {profile.setting} rollouts here"))
    for need in needs(entrant):
        field, what = PROVISIONS[need]
        has = getattr(profile, field)
        if has is False:
            found.append(Lack(need, f"needs {what}; you said {flag(field)} no"))
        elif has is None and not (need == "state" and profile.setting == "reasoning"):  # one answer never meets a state again
            found.append(Lack(need, f"needs {what}; not said ({flag(field)} yes)", known=False))
    if profile.G == 1 and "group" in methods()[entrant.method].reads:
        found.append(Lack("group", "compares rollouts of a prompt; you said --G 1"))
    elif entrant.fresh and profile.G and entrant.fresh + 2 > profile.G:  # branches are compared with two rollouts at least
        least = f"grows {entrant.fresh} of a prompt's rollouts itself, so needs --G {entrant.fresh + 2}"
        found.append(Lack("G", f"{least}; you said {profile.G}"))
    most = BUDGETS[profile.budget] if profile.budget is not None else None
    if most is not None and price is not None and price > most:
        found.append(Lack("budget", f"costs {price:.3g} times a plain rollout; --budget {profile.budget} is up to {most:g}"))
    return found
