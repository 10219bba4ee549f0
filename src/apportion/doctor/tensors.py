"""(B, T) tensors as they are: widths, masks, NaN, and what stands where the policy wrote nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..edges.facts import many
from ..edges.tensors import Array
from ..structure import Bool
from .findings import Finding, Place, Severity
from .tally import FEW, either, number, percent


def bad_mask(mask: Array) -> Iterator[Finding]:
    """Entries of the mask that are neither 0 nor 1."""
    wrong = (mask != 0) & (mask != 1)
    if wrong.any():
        n = int(wrong.sum())
        says = f"{many(n, 'entry')} of the mask {either(n, 'is', 'are')} neither 0 nor 1."
        yield Finding("mask-not-binary", "problem", says, {"entries": n}, cells(wrong, mask))


def bad_rows(arrays: Mapping[str, Array], action: Bool, found: list[Finding]) -> Bool:
    """Rows no batch can hold: without policy tokens, or with some outside the attention mask."""
    bare: Bool = ~np.any(action, axis=1)
    if bare.any():
        n = int(bare.sum())
        says = f"{many(n, 'row')} of {bare.size:,} {either(n, 'has', 'have')} no policy token."
        found.append(Finding("turns-without-policy", "problem", says, {"rows": n}, _rows(bare)))
    bad: Bool = bare.copy()
    if "attention" in arrays:
        out = action & (arrays["attention"] == 0)
        rows: Bool = np.any(out, axis=1)
        if rows.any():
            n = int(out.sum())
            says = f"{many(n, 'policy token')} of {many(rows.sum(), 'row')} "
            says += f"{either(n, 'lies', 'lie')} where the attention mask is 0."
            figures = {"tokens": n, "rows": int(rows.sum())}
            found.append(Finding("policy-outside-attention", "problem", says, figures, _rows(rows)))
            bad |= rows
    return bad


def mended(arrays: dict[str, Array], action: Bool, found: list[Finding]) -> dict[str, Array]:
    """The arrays with what cannot be a number of their kind put to 0, each said."""
    clean = dict(arrays)
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            continue
        broken = ~np.isfinite(array)
        if broken.any():
            inside = int((broken & action).sum())
            severity: Severity = "problem" if inside else "warning"
            says = f"{name}: {many(broken.sum(), 'entry')} not finite, {inside:,} of them on policy tokens."
            id_ = "reward-not-finite" if name == "token_reward" else "scores-not-finite"
            figures = {"tensor": name, "entries": int(broken.sum()), "on_policy_tokens": inside}
            found.append(Finding(id_, severity, says, figures, cells(broken, array)))
            clean[name] = array = np.where(broken, 0.0, array)
        if name in ("logp", "ref_logp", "sampler_logp") and (high := action & (array > 1e-3)).any():
            n, top = int(high.sum()), float(array[high].max())
            says = f"{name}: {many(n, 'policy token')} of {action.sum():,} above 0, up to {number(top)}."
            figures = {"tensor": name, "tokens": n, "high": top}
            found.append(Finding("logp-positive", "problem", says, figures, cells(high, array)))
            clean[name] = np.minimum(array, 0.0)
    return clean


def masked(arrays: Mapping[str, Array], action: Bool) -> Iterator[Finding]:
    """Rewards and advantages where the policy wrote nothing."""
    if "token_reward" in arrays:
        reward = arrays["token_reward"]
        stray = ~action & (reward != 0)
        if stray.any():
            size, rows = np.abs(reward).astype(np.float64), int(np.any(stray, axis=1).sum())
            lost = float(size[stray].sum() / size.sum())
            says = f"{many(stray.sum(), 'token')} of {many(rows, 'row')} that the policy did not write "
            says += f"{either(stray.sum(), 'carries', 'carry')} a reward: {percent(lost)} of all token reward."
            figures = {"tokens": int(stray.sum()), "rows": rows, "share_of_token_reward": lost}
            yield Finding("reward-on-masked-tokens", "problem", says, figures, cells(stray, reward))
    if "advantages" in arrays:
        stray = ~action & (arrays["advantages"] != 0)
        n = int(stray.sum())
        if n:
            says = f"{many(n, 'token')} that the policy did not write {either(n, 'has', 'have')} an advantage."
            yield Finding("advantage-on-masked-tokens", "problem", says, {"tokens": n}, cells(stray, arrays["advantages"]))
        else:
            yield Finding("advantage-on-masked-tokens", "fine", "Advantages are 0 outside the mask.", {"tokens": 0})


def _rows(which: Bool) -> tuple[Place, ...]:
    return tuple(Place(str(r)) for r in np.flatnonzero(which)[:FEW].tolist())


def cells(which: Bool, values: Array) -> tuple[Place, ...]:
    """The first entry of each of the first few rows."""
    first = {r: int(np.argmax(which[r])) for r in np.flatnonzero(np.any(which, axis=1))[:FEW].tolist()}
    return tuple(Place(str(r), None, f"column {c}: {values[r, c]:g}") for r, c in first.items())
