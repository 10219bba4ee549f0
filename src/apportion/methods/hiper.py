"""HiPER (Peng et al. 2026, arXiv 2602.16165). Added after the survey."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..evidence.critic import final_value
from ..evidence.options import Hierarchy, hierarchy, subgoals
from ..evidence.options_critic import LearnedOptions, fit_options
from ..ops.groups import standardise
from ..ops.scans import discounted_suffix, gae, gae_and_returns, gae_discounted
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import check_word

KeepMode = Literal["normalised", "fixed"]


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    gamma: float = 1.0,
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
) -> LearnedOptions:
    """Three values a turn for this batch: cross-fitted linear models of hashed text features (``evidence.options_critic``).

    They stand in for the paper's policy-sized critic with three heads.
    """
    return fit_options(batch, rng, gamma=gamma, folds=folds, ridge=ridge, buckets=buckets)


@method(
    unit="segment",
    reads={"reward", "spans"},
    may_read={"truncated", "bootstrap", "ids"},
    evidence={"v_low": "turn", "v_term": "turn", "v_high": "turn"},
    fit=fit,
    cost="one critic pass over T tokens, up to 3 N values read; the critic is trained; 20 to 60 more tokens a turn for tags",
    status="verified",
    unbiased="no: after an option V_high stands in for what follows, lam_seg < 1 leans on it too, norm shifts and scales",
    smallest=(
        "(Batch.from_turns([[3]], outcome=[1.0], spans={'option': Spans(np.array([0]), np.array([3])), "
        "'part': Spans(np.arange(3), np.arange(1, 4), ('switch', 'subgoal', 'action'))}), "
        "{'v_low': [0.5], 'v_term': [0.4], 'v_high': [0.4], 'norm': False})"
    ),
    scope="trajectory",
    widens={"norm": True},
)
def hiper(
    batch: Batch,
    *,
    v_low: Float,
    v_term: Float,
    v_high: Float,
    gamma: float = 1.0,
    lam: float = 1.0,
    lam_seg: float = 0.95,
    norm: bool = True,
    keep_penalty: float = 0.0,
    keep_mode: KeepMode = "normalised",
    consistency_penalty: float = 0.0,
) -> Credit:
    """Three advantages for three kinds of words: those that decide to switch, that say the subgoal, that pursue it.

        b_t    = sum_{u=t..e} gamma^{u-t} r_u + gamma^{e+1-t} V_high(e + 1)          e: last turn of the option of t
        A_term = b_t - V_term(t)                                                     switch parts of every turn
        A_low  = delta_t + gamma lam A_low(t + 1), up to turn e                      action parts of every turn
        delta  = r_t + gamma V_low(t + 1) - V_low(t), with V_high(e + 1) after e
        A_high = b_s - V_high(s) + gamma^d lam_seg A_high(s + d)                     subgoal parts of turns s that open an option

    Added after the survey. An option is a run of d turns under one subgoal: span table ``option``, whole turns, every turn in
    one. It opens where the policy switches, and at a trajectory's first turn whatever that says. Span table ``part``: spans
    within a turn labelled switch, subgoal or action (tags included). ``apportion.evidence.options`` makes both: ``options``
    from a decision a turn, ``actions`` for turns that are nothing but action (official where the action tag is missing).
    One value per part (unit "segment", table ``part``); where parts overlap, a token's values add up. Subgoals that a
    KEEP turn repeats, parts of other labels and tokens in no part leave the loss and its denominator, as in the code.

    v_low, v_term, v_high: the critic's values of every turn, shape (turns,): with the subgoal known, before the decision, and
    of the state as one where an option opens. V_high is read at opening turns only, V_term at turns with a
    switch part; null elsewhere is no matter. After the last turn stands 0, or ``bootstrap`` where the trajectory is
    ``truncated``, for all three (where the code bootstraps cut-off episodes it takes the last turn's or option's own value).
    parts: ``low``, ``high``, ``term``, one of them not 0 per part. targets: ``v_low`` and ``v_term`` (turns,), and ``v_high``
    (options,), from values as they were before ``norm``. diagnostics: ``options`` a trajectory, ``turns`` an option.

    gamma, lam, lam_seg: 1, 1, .95. norm: each of the three is (A - mean) / (std + 1e-8), population, over the turns of the batch
    that have such a part (official scripts; off, the credit of a trajectory is its own affair).
    keep_penalty: added to the reward of KEEP turns (those that open no option). keep_mode: "normalised", that over the number
    of turns of the trajectory (in all the penalty times the share of KEEP turns), or "fixed", all of it each. 0 here;
    scripts -.3 (ALFWorld), -3.5 (WebShop), normalised. In the code the first turn pays too unless it says SWITCH; here never.
    consistency_penalty: added where a KEEP turn's subgoal has other words (column ``ids``) than that of the turn before, both
    given. 0 here, scripts -.3. Their penalty on invalid actions is not offered: batches have no such column.

    One option a trajectory: A_low is ``gae`` over turns with V_low, A_high the return less V_high. With lam = 1, V_low = V_term
    and one value for both, switch and action get the same. Biased: an action hears of what comes after its option
    only through V_high, however wrong that is.

    Source: ICML 2026 (2602.16165); JonP07/HiPER-agent ``hiper_hae/core_hae.py``, ``hier_mask.py``, scripts and trainer.
    """
    check_word(keep_mode, KeepMode, "keep_mode")
    for name, factor in (("gamma", gamma), ("lam", lam), ("lam_seg", lam_seg)):
        if not 0 <= factor <= 1:
            raise OptionError(f"{name} = {factor}: expected a number from 0 to 1")
    found = hierarchy(batch)
    has = {label: found.having(label) for label in ("switch", "subgoal", "action")}
    v_low = _known("v_low", v_low, np.ones(batch.n_turns, dtype=np.bool_))
    v_term, v_high = _known("v_term", v_term, has["switch"]), _known("v_high", v_high, found.opens)
    r = _shaped(batch, found, keep_penalty, keep_mode, consistency_penalty)
    turns = np.append(found.start, batch.n_turns)
    of = batch.within("turn", "trajectory")[found.start]
    goes_on = np.append(of[1:] == of[:-1], False)
    end = final_value(batch)
    after = np.where(goes_on, np.append(v_high[found.start[1:]], 0.0), end[of])
    on = np.ones(batch.n_turns, dtype=np.bool_)
    low, low_target = gae_and_returns(r, v_low, on, turns, gamma, lam, after)
    bracket = gae(r, np.zeros(batch.n_turns), on, turns, gamma, 1.0, after)
    gained = discounted_suffix(r, turns, gamma)[found.start]
    runs = np.searchsorted(of, np.arange(batch.n_trajectories + 1))
    shrink = np.asarray(float(gamma) ** np.diff(turns), dtype=np.float64)
    high, high_target = gae_discounted(gained, v_high[found.start], on[: of.size], runs, shrink, lam_seg, end)
    a = {"low": low, "high": high[found.held], "term": bracket - v_term}
    where = {"low": has["action"], "high": has["subgoal"] & found.opens, "term": has["switch"]}
    if norm:
        a = {name: _normal(x, where[name]) for name, x in a.items()}
    credited = {"low": found.label == "action", "high": (found.label == "subgoal") & found.opens[found.part]}
    credited["term"] = found.label == "switch"
    parts = {name: np.where(credited[name], a[name][found.part], 0.0) for name in a}
    unit, scored = parts["low"] + parts["high"] + parts["term"], credited["low"] | credited["high"] | credited["term"]
    token, keep = _on_tokens(batch, unit, scored)
    return Credit(
        batch, "segment", unit, token, segment="part", keep=keep, scored=scored, parts=parts,
        targets={"v_low": low_target, "v_term": bracket, "v_high": high_target},
        diagnostics={"options": of.size / batch.n_trajectories, "turns": batch.n_turns / of.size},
    )  # fmt: skip


def _known(name: str, value: Float, needed: Bool) -> Float:
    """The values, 0 where none is needed; one that is needed and null is refused."""
    if (unknown := needed & ~np.isfinite(value)).any():
        i = int(np.argmax(unknown))
        raise OptionError(f"evidence '{name}'[{i}] = {value[i]}: expected a number at every turn that is read (see hiper)")
    return np.where(needed, value, 0.0)


def _shaped(batch: Batch, found: Hierarchy, keep: float, mode: KeepMode, consistency: float) -> Float:
    """Rewards of the turns with the penalties on KEEP turns added."""
    r, kept = batch.rewards("turn"), ~found.opens
    if keep:
        length = np.diff(batch.trajectory_turns)[batch.within("turn", "trajectory")]
        r = r + np.where(kept, keep / length if mode == "normalised" else keep, 0.0)
    if consistency:
        said, known = subgoals(batch, found, batch.need("ids", "for hiper with consistency_penalty"))
        before = np.maximum(np.arange(batch.n_turns) - 1, 0)
        r = r + np.where(kept & known & known[before] & (said != said[before]), consistency, 0.0)
    return r


def _normal(a: Float, counted: Bool) -> Float:
    if not counted.any():
        return a
    everyone: Int = np.zeros(a.size, dtype=np.int64)
    return standardise(a, everyone, spread="population", eps=1e-8, counted=counted, single="zero")


def _on_tokens(batch: Batch, unit: Float, scored: Bool) -> tuple[Float, Bool]:
    """The sum of the parts at every policy token, and which tokens are in a part with credit."""
    table = batch.spans["part"]
    length = table.end - table.start
    ends = np.concatenate(([0], np.cumsum(length)))
    at = np.arange(ends[-1]) + np.repeat(table.start - ends[:-1], length)
    token = np.bincount(at, weights=np.repeat(unit, length), minlength=batch.n_tokens)
    keep = np.bincount(at, weights=np.repeat(scored, length), minlength=batch.n_tokens) > 0
    return np.where(batch.action, token, 0.0), keep & batch.action
