"""VinePPO (Kazemnejad et al. 2024, arXiv 2410.01679)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence import Evidence, Sampler
from ..ops.groups import whiten as whitened
from ..ops.prefix_tree import prefix_tree
from ..ops.scans import discounted_suffix
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import Denominator, check_word

StepUnit = Literal["step", "turn"]


def collect(
    batch: Batch,
    sampler: Sampler,
    *,
    k: int = 9,
    cap: int | None = None,
    unit: StepUnit = "step",
    share: bool = True,
    rng: np.random.Generator,
) -> Evidence:
    """Value of every state between steps: the mean reward of ``k`` fresh continuations from it.

    The end of a trajectory is never asked (nothing is earned after it). States of one group with
    the same token ids (up to the policy's next token), the common start above all, are asked once
    and shared; equal state keys or nodes alone are not taken for equal states. A state that was
    asked but came back with nothing counts 0. cap: only the start and the first ``cap`` states after.
    share: False asks for every state by itself, as is right where the policy acts on what no text shows.

    diagnostics: ``asked`` states, ``shared`` (how many more were answered by them), ``stderr`` (mean
    standard error of an asked value; only for k > 1).
    """
    check_word(unit, StepUnit, "unit")
    if k < 1:
        raise OptionError(f"k = {k}: ask at least one continuation")
    depth, boundary = _depth(batch, unit)
    wanted = np.flatnonzero(boundary & ~_last(batch) & (depth <= _cap(batch, cap)))
    alike = _identity(batch)[wanted] if share else wanted
    _, asked, answer = np.unique(alike, return_index=True, return_inverse=True)
    order = np.argsort(asked)  # ask in batch order
    at, answer = wanted[asked[order]], np.argsort(order)[answer]
    if batch.step_offsets is not None and unit == "step":
        got = sampler.continuations(batch, at, k, rng, axis="step_prefix")
    else:
        got = sampler.continuations(batch, (np.cumsum(boundary) - 1)[at], k, rng)
    values = np.asarray(got.values, dtype=np.float64)
    if values.shape != (at.size, k):
        raise OptionError(f"the sampler answered with shape {values.shape}, expected ({at.size}, {k}): one row a prefix")
    back = np.isfinite(values)
    count = back.sum(axis=1)
    mean = np.where(back, values, 0.0).sum(axis=1) / np.maximum(count, 1)
    found = np.full(batch.count("step_prefix"), np.nan)
    found[wanted] = mean[answer]
    diagnostics = {"asked": float(at.size), "shared": float(wanted.size - at.size)}
    many = count > 1
    if many.any():
        squares = np.where(back, (values - mean[:, None]) ** 2, 0.0).sum(axis=1)[many]
        diagnostics["stderr"] = float(np.sqrt(squares / ((count - 1) * count)[many]).mean())
    return Evidence(
        arrays={"prefix_value": found},
        axis={"prefix_value": "step_prefix"},
        bill=got.bill,
        provenance=sampler.provenance,
        diagnostics=diagnostics,
    )


@method(
    unit="step",
    reads={"reward"},
    may_read={"steps"},
    evidence={"prefix_value": "step_prefix"},
    source="sampler",
    collect=collect,
    cost="about K N T / 2 tokens generated, less what shared states save",
    status="verified",
    unbiased="yes",
    smallest="(Batch.from_turns([[1, 1]], outcome=[1.0]), {'prefix_value': [0.5, 0.8, 0.0]})",
    scope="trajectory",
    widens={"whiten": True},
)
def vineppo(
    batch: Batch,
    *,
    prefix_value: Float,
    cap: int | None = None,
    whiten: bool = False,
    unit: StepUnit = "step",
    denominator: Denominator = "trajectory",
) -> Credit:
    """Differences of Monte-Carlo values: how much a step changed the expected reward.

        V(s_j) = 1/K sum_k R(continuation k from s_j)     V(s_n) = 0
        A_j    = r_j + V(s_j) - V(s_{j-1})                j = 1..n, no discount, no lambda

    s_0 is the state before the first step, s_j the one after step j; r_j is what step j earned (the
    outcome belongs to the last one), so sum_j A_j = R - V(s_0). All policy tokens of a step carry
    its A. Group statistics are not used.

    prefix_value: one V per state between steps, in trajectory order (steps + 1 a trajectory; the
    last one is ignored), reward still to come. NaN = not asked: filled backwards, V(s_j) = r_{j+1} +
    V(s_{j+1}), so the step *into* an unknown stretch takes its whole change and those inside get 0.
    cap: use only s_0..s_cap (official: 25 for GSM8K, none for MATH).
    unit: "step" (a step is a turn where the batch has no steps) or "turn", which reads the values
    at turn boundaries and skips the rest.
    whiten: (A - mean) / sqrt(var + 1e-8) over all policy tokens of the batch, var with ddof 1.
    Official code does so in each micro-batch; off by default, because a credit does not know the
    micro-batch and the batch's own mean makes it biased.
    denominator: "trajectory" by default (unbiased); official code: "token".

    Unbiased where every state was asked (and whiten=False): V(s_{j-1}) comes from fresh continuations,
    so it knows nothing of the action it is a baseline for, and r_j + V(s_j) estimates Q without bias
    however small K is. Filled-in values (NaN, ``cap``) are biased: they are what this very trajectory
    went on to earn, so the steps inside an unknown stretch get 0 instead of their advantage.
    With random transitions, A_j holds the luck of step j too.

    A trajectory that was cut off ends with V = 0 like others (official code: an unfinished response
    earns a penalty, 0 by default, which belongs in its reward).

    Source: ICML 2025 (2410.01679); official code ``math_episode_generator_with_mc_advantages.py``.
    """
    check_word(unit, StepUnit, "unit")
    check_word(denominator, Denominator, "denominator")
    depth, boundary = _depth(batch, unit)
    known = np.where(depth > _cap(batch, cap), np.nan, np.asarray(prefix_value, dtype=np.float64))[boundary]
    last = _last(batch)[boundary]
    known[last] = 0.0
    asked = ~np.isnan(known)
    # an unknown value is the reward up to the next known one plus that: a suffix sum between knowns
    reward = batch.rewards(unit)
    before = np.flatnonzero(~last)
    chain = known.copy()
    chain[before] = np.where(asked[before], known[before], reward)
    value = discounted_suffix(chain, np.append(0, np.flatnonzero(asked) + 1))
    advantage = np.where(asked[before], reward + value[before + 1] - value[before], 0.0)
    if whiten:
        of_token = whitened(advantage[batch.within("token", unit)], batch.action)
        advantage = of_token[batch.last_action(unit)]
    return Credit.of(batch, unit, advantage, loss=Loss(denominator=denominator))


def _last(batch: Batch) -> Bool:
    """True at the last step prefix of each trajectory."""
    last = np.zeros(batch.count("step_prefix"), dtype=np.bool_)
    last[batch.step_prefix_offsets[1:] - 1] = True
    return last


def _depth(batch: Batch, unit: StepUnit) -> tuple[Int, Bool]:
    """Number of units before each step prefix, and whether it lies between units."""
    offsets = batch.step_prefix_offsets
    trajectory = batch.within("step_prefix", "trajectory")
    boundary = np.ones(trajectory.size, dtype=np.bool_)
    if unit == "turn":
        boundary[:] = np.isin(_tokens_before(batch), batch.turn_offsets)
    rank = np.cumsum(boundary) - 1
    return rank - rank[offsets[trajectory]], boundary


def _tokens_before(batch: Batch) -> Int:
    """Token at which each step prefix stands (the end of the trajectory for its last one)."""
    steps = batch.offsets("step")
    at = np.arange(batch.count("step_prefix")) - batch.within("step_prefix", "trajectory")
    position: Int = steps[at]
    return position


def _cap(batch: Batch, cap: int | None) -> int:
    if cap is not None and cap < 0:
        raise OptionError(f"cap = {cap}: expected None or at least 0 (0 estimates the start only)")
    return batch.n_tokens if cap is None else cap


def _identity(batch: Batch) -> Int:
    """The same number for states of one group that look the same to the policy (the last ones aside).

    A state looks as its tokens do, with the observation that opens the next step: after a random
    transition, equal actions do not mean equal states. Different state keys are different states.
    """
    trajectory = batch.within("step_prefix", "trajectory")
    group = batch.within("trajectory", "group")
    offsets = batch.offsets("trajectory")
    acts = np.append(np.flatnonzero(batch.action), batch.n_tokens)
    at = np.minimum(acts[np.searchsorted(acts, _tokens_before(batch))], offsets[trajectory + 1])
    length = at - offsets[trajectory]
    look = group[trajectory]
    if batch.ids is not None:
        inside = length > 0
        look[inside] = prefix_tree(batch.ids, offsets, group).node[at[inside] - 1]
    else:  # only the start is known to be common, where it is as long
        start = np.zeros(look.size, dtype=np.bool_)
        start[batch.step_prefix_offsets[:-1]] = True
        look[~start] = int(group.max()) + 1 + trajectory[~start]
    identity: Int = np.unique(look * (int(length.max()) + 1) + length, return_inverse=True)[1]
    if batch.state is not None:
        turns = np.flatnonzero(_depth(batch, "turn")[1])
        key = np.full(identity.size, -1, dtype=np.int64)
        key[turns] = batch.state.codes
        identity = identity * (batch.state.n + 1) + key + 1
    return identity
