"""What reading refused, as findings: the same words, with a diagnosis."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..edges.facts import many
from .findings import Finding

#: What a message speaks of -> the finding it belongs to; the first match counts.
_KINDS: tuple[tuple[str, str], ...] = (
    (r"is used twice|trajectory ids must be distinct|has several rows", "duplicate-trajectories"),
    (r"has no action token|has no policy token|no assistant", "turns-without-policy"),
    (r"each reward would count twice", "rewards-said-twice"),
    (r"outside the action mask", "reward-on-masked-tokens"),
    (r"must be attended to", "policy-outside-attention"),
    (r"a mask holds 0 and 1|not all 0 or 1", "mask-not-binary"),
    (r"turn_ids|step_ids", "turn-ids"),
    (r"(logp|ref_logp)\S* = \S+ at most 0|(logp|ref_logp)\S* = \S+ expected at most 0", "logp-positive"),
    (r"(outcome|reward)\S* = (nan|inf|-inf)", "reward-not-finite"),
    (r"expected a finite number", "scores-not-finite"),
    (r"has shape .* but action has shape|expected \d+: one per", "shapes-disagree"),
)


@dataclass
class Refusals:
    """The errors of reading, by kind: how many, and the first few messages."""

    messages: dict[str, list[str]] = field(default_factory=dict)
    count: dict[str, int] = field(default_factory=dict)

    def add(self, message: str) -> None:
        id_ = diagnose(message)
        self.count[id_] = self.count.get(id_, 0) + 1
        kept = self.messages.setdefault(id_, [])
        if len(kept) < 3:
            kept.append(message)

    def say(self) -> Iterator[Finding]:
        for id_, messages in self.messages.items():
            n = self.count[id_]
            more = f" ({many(n, 'error')} of this kind)" if n > 1 else ""
            yield Finding(id_, "problem", f"Reading refused: {messages[0]}{more}", {"errors": n, "messages": messages})


def diagnose(message: str) -> str:
    """The id of the finding that an error of reading belongs to."""
    return next((id_ for pattern, id_ in _KINDS if re.search(pattern, message)), "unreadable")
