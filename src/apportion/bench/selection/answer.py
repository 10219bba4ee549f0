"""The whole answer to one profile, as plain data: what each tree says, where they disagree, what was measured, what to type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...registry import methods
from ...survey.profile import Profile, flag
from ...survey.records import records
from ...survey.tree_walk import Answer, how_to_answer, walk
from ...survey.trees import Tree, trees
from ..entrants import Entrant
from ..knobs import entrant as find
from .bills import KINDS, continuations, cost
from .grid import ENTRANTS
from .measured import Measured
from .needs import PROVISIONS, Lack, lacks, needs
from .rank import Ranked, rank
from .worth import never

#: How an entrant gets its evidence -> what stands in the call.
_CALL: Mapping[str, str] = {
    "fit": "fit=True", "experts": "fit=True, experts=...", "hint": "fit=True, privileged=...", "sampler": "sampler=sampler",
    "editor": "sampler=editor", "judge": "judge=judge", "policy": "policy=policy", "author": "author=author",
}  # fmt: skip
#: Options that only suit texts as simple as the benchmark's.
_SMALL = frozenset(
    ("buckets", "folds", "steps", "ridge", "capacity", "epochs", "samples", "candidates", "repairs", "rounds", "beta")
)


def answer(profile: Profile, m: Measured) -> dict[str, Any]:
    """JSON-able; see docs/select.md for the fields."""
    answers = [walk(tree, profile) for tree in trees().values()]
    return {
        "profile": profile.said(),
        "trees": [_tree(a, profile, m) for a in answers],
        "disagreements": _disagreements(answers),
        "measured": _measured(profile, m),
    }


def _tree(a: Answer, profile: Profile, m: Measured) -> dict[str, Any]:
    t = a.tree
    node = {n.id: n for n in t.nodes}
    return {
        "id": t.id, "title": t.title, "source": t.source, "version": t.version, "read_from": t.read_from,
        "caveats": list(t.caveats),
        "trace": [vars(step) for step in a.steps],
        "leaves": [leaf.model_dump(mode="json") for leaf in a.leaves],
        "candidates": [candidate(id_, profile, m) for id_ in a.candidates],
        "open": [
            {"node": id_, "question": node[id_].question, "answer": [how_to_answer(f) for f in names]} for id_, names in a.open
        ],
        "gaps": [{"node": id_, "question": node[id_].question} for id_ in a.gaps],
    }  # fmt: skip


def candidate(id_: str, profile: Profile, m: Measured) -> dict[str, Any]:
    """A method that a tree names: whether it runs here, what it needs and costs, and what of that the user lacks."""
    base: dict[str, Any] = {"method": id_, "name": records()[id_].name, "implemented": id_ in methods()}
    if id_ not in methods():
        return {**base, "runs": False, "why_not": ["a record of the inventory without an implementation here"]}
    spec = methods()[id_]
    own = [find(name) for name in ENTRANTS if find(name).method == id_]
    ways = [(e, lacks(e, profile, _price(m, profile, e))) for e in own]
    free = [e for e, why in ways if not why]
    best = free[0] if free else min(ways, key=lambda w: len(w[1]))[0]
    return {
        **base, "runs": bool(free), "why_not": [] if free else _says(dict.fromkeys(x for _, why in ways for x in why)),
        "reads": sorted(spec.reads), "evidence": dict(spec.evidence), "needs": _needs(best), "declared_cost": spec.cost,
        "cost": costs(m, best.id, profile), "code": code(best, profile.K),
    }  # fmt: skip


def _price(m: Measured, profile: Profile, e: Entrant) -> float | None:
    found = cost(m, e.id, profile)
    return None if found is None else found.times


def _says(found: Mapping[Lack, None] | Sequence[Lack]) -> list[str]:
    return [lack.says for lack in found]


def _needs(e: Entrant) -> list[str]:
    return [PROVISIONS[n][1] for n in needs(e)]


def costs(m: Measured, name: str, profile: Profile) -> dict[str, Any] | None:
    """The bill of one rollout's credit at the user's size; null where the length was not said or nothing was measured."""
    found = cost(m, name, profile)
    if found is None:
        return None
    counts = {kind: float(f"{found.counts[kind]:.3g}") for kind in KINDS if found.counts[kind] > 0}
    return {"per_rollout": counts, "times": round(found.times, 3), "T": found.tokens, "N": found.units, "from": list(found.at)}


def code(e: Entrant, k: int | None = None) -> str:
    """The line that credits a batch with it; k: continuations of a prefix, where the user said how many and it samples some."""
    parts = [
        "batch",
        f'"{e.method}"',
        *([_CALL[e.ask]] if e.ask in _CALL else []),
        *(f"{n}={v!r}" for n, v in used(e, k).items()),
    ]
    return f"ap.assign({', '.join(parts)})"


def used(e: Entrant, k: int | None = None) -> dict[str, Any]:
    """Its options as a user would give them: of the method, its ``collect`` or its ``fit``."""
    options = {n: v for n, v in e.options.items() if n not in _SMALL}
    return {**options, "k": k} if k is not None and continuations(e.id) is not None else options


def _disagreements(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """Methods that one tree names here and another knows but puts elsewhere, with the conditions of its leaves."""
    named: dict[str, list[str]] = {}
    for a in answers:
        for id_ in a.candidates:
            named.setdefault(id_, []).append(a.tree.id)
    found = []
    for id_, by in named.items():
        elsewhere = [place for a in answers if a.tree.id not in by and not a.open for place in _places(a.tree, id_)]
        if elsewhere:
            found.append({"method": id_, "named_by": by, "elsewhere": elsewhere})
    return found


def _places(tree: Tree, id_: str) -> list[dict[str, str]]:
    ways = tree.paths()
    return [
        {"tree": tree.id, "leaf": leaf.title, "when": " or ".join(", ".join(map(str, way)) or "always" for way in ways[leaf.id])}
        for leaf in tree.leaves
        if id_ in leaf.candidates
    ]


def _measured(profile: Profile, m: Measured) -> dict[str, Any]:
    found = rank(profile, m)
    short, trained = never(m, [(n.setting.id, r.entrant) for n in found.near for r in found.ranked])
    return {
        "drawn_on": {"never": short, "trained": trained},
        "candidates": [_ranked(r, profile, m) for r in found.ranked],
        "out": [
            {"entrant": n, "method": find(n).method, "why": _says(why), "said": all(x.known for x in why)}
            for n, why in found.out.items()
        ],
        "near": [
            {"task": n.setting.id, "distance": round(n.distance, 3), "terms": {k: round(v, 3) for k, v in n.terms}}
            for n in found.near
        ],
        "distance": None if found.distance is None else round(found.distance, 3),
        "outside": found.outside,
        "not_said": [
            flag("N" if f == "turns" and profile.setting == "reasoning" else f)
            for f in ("turns", "hidden", "states_repeat", "success", "G")
            if _silent(profile, f)
        ],
        "scale": {"slope": round(found.scale.slope, 3), "rank": _plain(found.scale.rank), "pairs": found.scale.pairs},
        "about": {**m.about, "seeds": m.seeds, "group": m.group},
    }  # fmt: skip


def _silent(profile: Profile, field: str) -> bool:
    """Whether an answer that enters the distance was not given."""
    if field == "turns":
        return profile.units is None
    if field == "states_repeat" and profile.setting == "reasoning":
        return False
    return getattr(profile, field) is None


def _ranked(r: Ranked, profile: Profile, m: Measured) -> dict[str, Any]:
    e = find(r.entrant)
    return {
        "entrant": r.entrant, "method": r.method, "title": e.title,
        "worth": {"value": _plain(r.worth), "low": _plain(r.low), "high": _plain(r.high)},
        "tied_with_first": r.tied, "by": list(r.by), "rests_on": round(r.rests, 3), "price": _plain(r.price),
        "stands_in": "a simulated judge of 80 % accuracy stands for yours" if e.ask in ("judge", "editor") else None,
        "needs": _needs(e), "declared_cost": methods()[r.method].cost, "cost": costs(m, r.entrant, profile),
        "code": code(e, profile.K),
    }  # fmt: skip


def _plain(x: float) -> float | None:
    return float(f"{x:.4g}") if np.isfinite(x) else None
