"""What is worth saying of a batch or of credit: (label, text) pairs, for terminal and notebook alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..structure import Float
from .strips import bars

Facts = list[tuple[str, str]]

_OVER = {"limit": "the generation limit, then rows"}


def batch_title(batch: Batch) -> str:
    groups = f" in {many(batch.count('group'), 'group')}" if batch.group is not None else ""
    return f"Batch of {many(batch.n_trajectories, 'trajectory')}{groups}"


def batch_facts(batch: Batch) -> Facts:
    wrote = f"{batch.action.mean():.0%} written by the policy"
    counts = [many(batch.n_rows, "row"), many(batch.n_turns, "turn")]
    counts += [many(batch.n_steps, "step")] if batch.step_offsets is not None else []
    facts: Facts = [("holds", f"{', '.join(counts)}, {many(batch.n_tokens, 'token')} ({wrote})")]
    turns, tokens = np.diff(batch.trajectory_turns), np.diff(batch.offsets("trajectory"))
    facts.append(("sizes", f"{_range(turns)} turn(s) and {_range(tokens)} token(s) a trajectory"))
    if any(getattr(batch, n) is not None for n in ("outcome", "turn_reward", "token_reward")):
        r = batch.reward
        facts.append(("reward", f"{_spread(r)}  [{bars(r)}]  solved {batch.solved.mean():.0%}"))
    else:
        facts.append(("reward", "none given"))
    facts.append(("has", _words([*batch.present, *(f"spans {n}" for n in batch.spans)]) or "no columns"))
    wanted = [*batch.columns(), "group", "steps", "limit"]
    facts.append(("lacks", _words(n for n in wanted if n not in batch.present) or "nothing"))
    return facts


def credit_title(credit: Credit) -> str:
    return f"{credit.method or 'Credit'}: {credit.kind} per {credit.level}"


def credit_facts(credit: Credit) -> Facts:
    batch = credit.batch
    facts: Facts = [("of", f"{batch_title(batch)}, {many(batch.n_tokens, 'token')}")]
    if credit.options:
        facts.append(("options", ", ".join(f"{k}={_short(v)}" for k, v in credit.options.items())))
    # Observation tokens are 0 by construction; they would drown the values of the policy's.
    values = credit.unit[batch.action] if credit.level == "token" else credit.unit
    facts.append(("values", f"{_spread(values)}  [{bars(values)}]" if values.size else "none"))
    kept = f"{credit.kept.sum() / batch.action.sum():.0%} of the policy's tokens"
    scored = f"every {credit.level}" if credit.scored is None else f"{credit.scored.mean():.0%} of {plural(credit.level)}"
    facts.append(("counts", f"{kept} in the loss; {scored} scored"))
    loss = credit.loss
    extra = (", clip of its own" if loss.clip is not None else "") + (f", rescaled by {loss.rescale}" if loss.rescale else "")
    facts.append(
        ("loss", f"ratio per {loss.ratio}, averaged over {_OVER.get(loss.denominator, plural(loss.denominator))}{extra}")
    )
    for label, table in (("parts", credit.parts), ("targets", credit.targets)):
        if table:
            facts.append((label, _words(table)))
    costs = [f"{v:,.0f} {k.replace('_', ' ')}" for k, v in asdict(credit.bill).items() if v]
    facts.append(("cost", ", ".join(costs) or "nothing extra"))
    if credit.diagnostics:
        facts.append(("notes", ", ".join(f"{k} {_number(v)}" for k, v in credit.diagnostics.items())))
    return facts


def many(n: float, word: str) -> str:
    """'1 turn', '2 turns', '3 trajectories'."""
    return f"{n:,.0f} {word if n == 1 else plural(word)}"


def plural(word: str) -> str:
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"


def _range(values: Any) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _spread(values: Float) -> str:
    return f"min {_number(values.min())}  mean {_number(values.mean())}  max {_number(values.max())}"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float, np.number)) else _short(value)


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, np.ndarray) else f"array{value.shape}"
    return text if len(text) <= 24 else text[:23] + "…"


def _words(names: Iterable[str]) -> str:
    return ", ".join(names)
