"""Methods of turns that came after the survey, and InT. (An answer in steps is one turn, where AEM has nothing to weigh.)

A2TGPO and DeltaBelief-RL ask how likely the right answer is: with the exact chance of success in its place they are
oracle rows, with a belief learned from outcomes they are not. All rollouts here are equally long, so that
DeltaBelief-RL's price per turn cancels. AT2PO samples half of each group itself, beside its least certain turns. InT
asks an editor that sees the truth (an oracle row by construction), and is scored as the library's derived credit: its
own form clones text and has no advantage.
"""

from __future__ import annotations

from ..entrants import FIT, Entrant
from ..records import Layout

_TURNS: tuple[Layout, ...] = ("turns", "team")
_TREE = {"rounds": 2, "branches": 2}
_BLAME = {"form": "blame", "k": 8}

ENTRANTS = (
    Entrant("aem", "aem", "AEM on GRPO", logp=True, layouts=_TURNS),
    Entrant("aem-surprisal", "aem", "AEM on GRPO, sampled surprisal", options={"uncertainty": "surprisal"}, logp=True,
            layouts=_TURNS),
    Entrant("aem-reversed", "aem", "AEM reversed (its ablation)", options={"lam": -1.0}, logp=True, layouts=_TURNS),
    Entrant("at2po", "at2po", "AT2PO, half of the rollouts branched", "sampler", _TREE, fresh=4, logp=True),
    Entrant("at2po-once", "at2po", "AT2PO, shared turns trained once", "sampler", {"copies": "first", **_TREE}, fresh=4,
            logp=True),
    Entrant("at2po-parent", "at2po", "AT2PO, value less the parent's", "sampler", {"advantage": "diff_parent", **_TREE}, fresh=4,
            logp=True),
    Entrant("at2po-mean", "at2po", "AT2PO, plain means, value less the parent's", "sampler",
            {"advantage": "diff_parent", "weights": "mean", **_TREE}, fresh=4, logp=True),
    Entrant("a2tgpo", "a2tgpo", "A2TGPO, exact belief in the answer", "policy", source={"skill": 1.0}, logp=True, layouts=_TURNS),
    Entrant("a2tgpo-fit", "a2tgpo", "A2TGPO, belief learned from outcomes", "fit", FIT, layouts=_TURNS),
    Entrant("a2tgpo-fit-4", "a2tgpo", "A2TGPO, learned belief, 4 epochs a batch", "fit", FIT, epochs=4, layouts=_TURNS),
    Entrant("deltabelief", "deltabelief", "DeltaBelief-RL, exact belief", "policy", source={"skill": 1.0}, logp=True,
            layouts=_TURNS),
    Entrant("deltabelief-fit", "deltabelief", "DeltaBelief-RL, belief learned from outcomes", "fit", FIT, layouts=_TURNS),
    Entrant("deltabelief-signed", "deltabelief", "DeltaBelief-RL, learned belief, losses count too", "fit",
            {"change": "signed", **FIT}, layouts=_TURNS),
    Entrant("int-blame", "int", "InT's blame, editor always right", "editor", _BLAME, layouts=("steps",)),
    Entrant("int-blame80", "int", "InT's blame, editor right on 80 %", "editor", _BLAME, {"accuracy": 0.8}, layouts=("steps",)),
)  # fmt: skip
