"""Traces of verifiers, a tree of messages each, as the rollouts they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import BatchError
from .packed import Rollout, Turn, turn
from .thin import Chosen


def read_trace(episode: Any, trace: Any, handed: Mapping[str, Any], states: str) -> Rollout:
    """A turn per sampled message, with what was shown since the one before; what follows the last belongs to it.

    handed: state and turn_reward of the turns, where the task noted them. states: "given" there, or "shown".
    """
    name = f"trace {trace.id}"
    turns: list[Turn] = []
    shown: list[Turn] = []
    seen: list[Any] = []
    for k, node in enumerate(trace.nodes):
        if any(node.mask) and not node.sampled:
            raise BatchError(f"{name}, node {k}: it was not sampled, but its mask claims tokens of the policy")
        written = {"logp": node.logprobs, "ref_logp": node.reference_logprobs, "entropy": node.entropies}
        part = turn(f"{name}, node {k}", node.token_ids, node.mask, **(written if node.sampled else {}))
        shown.append(part)
        if node.sampled:
            turns.append(_whole(shown, part))
            seen.append(turns[-1].ids[~turns[-1].action].tobytes())
            shown = []
    if shown and turns:
        seen.append(np.concatenate([t.ids for t in shown]).tobytes())
        turns[-1] = _whole([turns[-1], *shown], turns[-1])
    group = episode.group.id if episode.group is not None else (episode.task.key or episode.task.hash)
    if group is None:
        raise BatchError(
            f"episode {episode.id} has neither a group nor a task key: whose rollouts it is compared with is not known"
        )
    return Rollout(
        name,
        turns,
        outcome=float(trace.reward),
        group=group,
        agent=trace.agent.name,
        episode=episode.id,
        truncated=bool(trace.is_truncated),
        state=seen if states == "shown" else handed.get("state"),
        turn_reward=handed.get("turn_reward"),
    )


def check_one_text(chosen: Chosen, name: str, nodes: Sequence[Any]) -> None:
    """Refuse traces that branch where a live source, or what is learned of tokens, would read all branches as one text."""
    spec, options = chosen.spec, chosen.options
    reads = [] if spec.source is None or options.get(spec.source) is None else [spec.source]
    reads += ["fit"] * bool(options.get("fit")) + ["learned"] * (options.get("learned") is not None)
    at = branches_at(nodes) if reads else None
    if at is not None:
        parent = nodes[at].parent
        goes_on = "it begins anew" if parent is None else f"it continues node {parent}"
        raise BatchError(
            f"{name}, node {at}: {goes_on}, not the node before it, and {reads[0]}= reads a trace as one text: "
            f"keep the whole history in the prompt, or take a method without {reads[0]}="
        )


def branches_at(nodes: Sequence[Any]) -> int | None:
    """The first node that does not continue the one before it, those without tokens apart; None for a single chain."""
    ends: list[int | None] = []  # of the text up to and with each node: the last node that has a token
    before = None
    for k, node in enumerate(nodes):
        above = ends[node.parent] if node.parent is not None and node.parent < k else None
        if node.token_ids and above != before:
            return k
        before = k if node.token_ids else before
        ends.append(k if node.token_ids else above)
    return None


def _whole(parts: Sequence[Turn], wrote: Turn) -> Turn:
    ids, action = (np.concatenate([getattr(p, name) for p in parts]) for name in ("ids", "action"))
    return Turn(ids, action, wrote.logp, wrote.ref_logp, wrote.entropy)
