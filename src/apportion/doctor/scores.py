"""Log-probabilities, critic values, entropies and token ids: ranges and what was never filled in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..batch import Batch
from ..edges.facts import many
from ..structure import Float
from .findings import Finding, Place, Severity
from .tally import Tally, at_tokens, either, number, percent

#: Nats: no token's entropy is larger (a vocabulary of 440,000), and no usual gap between engines.
_ENTROPY, _GAP = 13.0, 1.0


def look(batch: Batch, tally: Tally) -> None:
    policy = batch.action
    if batch.logp is not None:
        logp = batch.logp[policy]
        tally.add("logp", logp.size)
        tally.add("logp.zero", (logp == 0).sum())
        tally.add("logp.sum", logp.sum())
        tally.span("logp", logp)
        if batch.ref_logp is not None:
            gap = np.where(policy, batch.logp - batch.ref_logp, 0.0)
            gaps("reference", gap[policy], tally)
            tally.see("reference", at_tokens(batch, np.abs(gap) > 20, "over 20 nats from the reference"))
    if batch.entropy is not None:
        tally.add("entropy", policy.sum())
        tally.add("entropy.high", (policy & (batch.entropy > _ENTROPY)).sum())
        tally.add("entropy.sum", batch.entropy[policy].sum())
        tally.span("entropy", batch.entropy[policy])
        tally.see("entropy.high", at_tokens(batch, policy & (batch.entropy > _ENTROPY)))
    if batch.value is not None:
        _values(batch, batch.value, tally)
    if batch.ids is not None:
        wild = batch.ids < 0
        if tally.vocabulary is not None:
            wild = wild | (batch.ids >= tally.vocabulary)
        tally.add("ids", batch.n_tokens)
        tally.add("ids.wild", wild.sum())
        tally.span("ids", batch.ids.astype(np.float64))
        tally.see("ids.wild", at_tokens(batch, wild))


def _values(batch: Batch, value: Float, tally: Tally) -> None:
    tally.span("value", value[batch.action])
    tally.add("value", batch.action.sum())
    if "reward" not in tally.lows:
        return
    first = np.searchsorted(np.flatnonzero(batch.action), batch.offsets("trajectory")[:-1])
    start = value[np.flatnonzero(batch.action)[first]]
    error, r = batch.reward - start, batch.reward
    table = tally.table("value.moments", (5,))
    table += [r.size, r.sum(), r @ r, error.sum(), error @ error]


def gaps(name: str, gap: Float, tally: Tally) -> None:
    """Sums of the gaps between two log-probabilities of the same tokens."""
    tally.add(name, gap.size)
    tally.add(f"{name}.sum", gap.sum())
    tally.add(f"{name}.size", np.abs(gap).sum())
    tally.add(f"{name}.wide", (np.abs(gap) > _GAP).sum())
    tally.add(f"{name}.zero", (gap == 0).sum())
    tally.span(name, gap)


def say(tally: Tally) -> Iterator[Finding]:
    count = tally.count
    if count["logp"]:
        n, zero = count["logp"], count["logp.zero"]
        figures = {"tokens": n, "zero": zero, "mean": count["logp.sum"] / n, "low": tally.lows["logp"]}
        if zero == n:
            says = f"The log-probabilities of all {many(n, 'policy token')} are 0."
            yield Finding("logp-zero", "problem", says, figures)
        else:
            says = f"Log-probabilities: mean {number(figures['mean'])}, lowest {number(figures['low'])}, "
            says += f"{percent(zero / n)} exactly 0."
            yield Finding("logp-zero", "warning" if zero > 0.9 * n else "fine", says, figures)
    if count["reference"]:
        yield _reference(tally)
    if count["sampler"]:
        yield _sampler(tally)
    if count["entropy"]:
        yield _entropy(tally)
    if count["value"]:
        yield from _say_values(tally)
    if count["ids"]:
        yield _ids(tally)


def _ids(tally: Tally) -> Finding:
    n, wild, low, high = tally.count["ids"], tally.count["ids.wild"], tally.lows["ids"], tally.highs["ids"]
    size = f"a vocabulary of {tally.vocabulary:,}" if tally.vocabulary else "any vocabulary"
    figures = {"tokens": n, "outside": wild, "low": low, "high": high, "vocabulary": tally.vocabulary}
    if wild:
        says = f"{many(wild, 'token id')} of {n:,} {either(wild, 'lies', 'lie')} outside {size}; "
        says += f"ids run from {low:,.0f} to {high:,.0f}."
        return Finding("ids-range", "problem", says, figures, tally.seen("ids.wild"))
    says = f"Token ids run from {low:,.0f} to {high:,.0f}."
    return Finding("ids-range", "fine", says, figures)


def _gap_figures(tally: Tally, name: str) -> dict[str, float]:
    n = tally.count[name]
    return {
        "tokens": n, "mean": tally.count[f"{name}.sum"] / n, "mean_size": tally.count[f"{name}.size"] / n,
        "largest": max(-tally.lows[name], tally.highs[name]), "share_over_1_nat": tally.count[f"{name}.wide"] / n,
    }  # fmt: skip


def _reference(tally: Tally) -> Finding:
    figures = _gap_figures(tally, "reference")
    if tally.count["reference.zero"] == tally.count["reference"]:
        says = "Policy and reference have the same log-probability at every token: the KL to the reference is 0."
        return Finding("logp-reference", "note", says, figures)
    says = (
        f"Policy against reference: {figures['mean']:+.3g} nats a token on average, at most {number(figures['largest'])} apart."
    )
    far = figures["mean_size"] > 3 or figures["largest"] > 20
    return Finding("logp-reference", "warning" if far else "fine", says, figures, tally.seen("reference") if far else ())


def _sampler(tally: Tally) -> Finding:
    figures = _gap_figures(tally, "sampler")
    wide, mean = figures["share_over_1_nat"], figures["mean_size"]
    severity: Severity = "problem" if mean > 0.5 or wide > 0.05 else "warning" if mean > 0.05 or wide > 0.001 else "fine"
    says = (
        f"Trainer against sampler: {number(mean)} nats apart on average, at most {number(figures['largest'])}; "
        f"{percent(wide)} of the policy's tokens by more than 1."
    )
    return Finding("logp-gap", severity, says, figures, tally.seen("sampler") if severity != "fine" else ())


def _entropy(tally: Tally) -> Finding:
    n, high = tally.count["entropy"], tally.count["entropy.high"]
    mean, top = tally.count["entropy.sum"] / n, tally.highs["entropy"]
    figures = {"tokens": n, "mean": mean, "high": top, "over_13_nats": high}
    if top <= 0:
        return Finding("entropy-range", "warning", f"The entropy at all {many(n, 'policy token')} is 0.", figures)
    says = f"Entropy: mean {number(mean)}, highest {number(top)} nats"
    if high:
        places: tuple[Place, ...] = tally.seen("entropy.high")
        return Finding("entropy-range", "warning", f"{says}; {many(high, 'token')} over {_ENTROPY:.0f}.", figures, places)
    return Finding("entropy-range", "fine", f"{says}.", figures)


def _say_values(tally: Tally) -> Iterator[Finding]:
    low, high = tally.lows["value"], tally.highs["value"]
    figures: dict[str, float] = {"low": low, "high": high, "tokens": tally.count["value"]}
    if low == high and tally.count["value"] > 1:
        says = f"The critic says {number(low)} at all {many(tally.count['value'], 'policy token')}."
        yield Finding("value-constant", "warning", says, figures)
        return
    yield Finding("value-constant", "fine", f"Critic values range from {number(low)} to {number(high)}.", figures)
    n, r, rr, e, ee = tally.tables["value.moments"].tolist() if "value.moments" in tally.tables else (0, 0, 0, 0, 0)
    spread = rr - r * r / n if n else 0.0
    if spread <= 0:
        return
    explained = round(1 - (ee - e * e / n) / spread, 12) + 0.0
    figures = {"trajectories": n, "explained_variance": explained, "mean_error": e / n}
    says = f"At the first token the critic explains {100 * explained:.0f} % of the variance of the reward"
    says += f" (mean error {number(e / n)})"
    if n < 30:
        yield Finding("value-fit", "note", f"{says}; {many(n, 'trajectory')} are too few to judge it.", figures)
    else:
        yield Finding("value-fit", "warning" if explained < 0 else "fine", f"{says}.", figures)
