"""InT (Yang et al. 2026, arXiv 2601.14209): the first wrong step of a failed rollout, mended, and nothing after it."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..edges.take import ranges
from ..errors import BatchError, OptionError
from ..evidence import Bill, Editor, Evidence, Intervention, Sampler
from ..ops.answers import mean_answer
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import Axis, Provenance, check_word

Form = Literal["clone", "blame", "praise"]


def collect(
    batch: Batch,
    sampler: Sampler,
    *,
    form: Form = "clone",
    k: int = 32,
    filtered: bool = True,
    above: float = 0.0,
    rng: np.random.Generator,
) -> Evidence:
    """Have the failed rollouts edited, and try ``k`` continuations from each edit.

    1. Rollouts that were solved are left out. 2. An :class:`apportion.evidence.Editor` (the sampler itself) names the first
    wrong step of each and writes a better one. Dropped are rollouts in which it finds none, whose index cannot be
    read or is not among the steps, and edits that give the answer away. 3. filtered: an edit is kept only if at least
    one of ``k`` continuations from it earns more than ``above``. 4. For "blame" and "praise", ``k`` more go on from the
    step as it was, and gain = mean reward after the edit - mean reward after the original (a last step's is known).

    The editor sees a reference solution, so all of this is privileged (or an oracle's, if it says so). "clone" and
    "praise" are keyed to a new batch, the edited rollouts, with a null in ``error_step`` where one was dropped (with
    no edit at all: to the rollouts as they were, all null); "blame" to the rollouts as they were. diagnostics: ``failed``
    rollouts; of them ``unfound``, ``unreadable``, ``leaked``, ``unhelpful`` and ``kept``.
    """
    check_word(form, Form, "form")
    if k < 1:
        raise OptionError(f"k = {k}: ask at least one continuation")
    if not isinstance(sampler, Editor):
        raise OptionError(
            f"sampler= is {type(sampler).__name__}, which has no intervene: int asks for the first wrong step and a better one "
            f"(apportion.evidence.Editor); recorded edits need no sampler: give the edited batch and error_step="
        )
    words = get_args(Provenance)
    provenance: Provenance = max(sampler.provenance, "privileged", key=words.index)
    failed = np.flatnonzero(~batch.solved)
    error, gain = (np.full(batch.n_trajectories, np.nan) for _ in range(2))
    if not failed.size:
        return _evidence(form, batch, error, gain, Bill(), provenance, dict.fromkeys(_TOLD, 0.0))
    first = batch.trajectory_rows[failed]
    asked = batch.take(ranges(first, batch.trajectory_rows[failed + 1] - first))
    made = sampler.intervene(asked, rng)
    step, sound, leaks = _read(asked, made)
    row = np.cumsum(step >= 0) - 1  # of its edit, where it has one
    good = np.flatnonzero(sound & ~leaks)
    at = step[good].astype(np.int64) + 1  # steps up to the end of the edit
    kept, after, bill = np.ones(good.size, dtype=np.bool_), np.full(good.size, np.nan), made.bill
    if made.edited is not None and good.size and (filtered or form != "clone"):
        prefix = made.edited.step_prefix_offsets[row[good]] + at
        values, cost = _continue(made.edited, sampler, prefix, k, rng)
        after, bill = mean_answer(values, good.size, k), bill + cost
        kept = np.array((values > above).any(axis=1)) if filtered else kept  # null is not above
    items, at, after = good[kept], at[kept], after[kept]
    if form != "clone" and items.size:
        before, cost = _original(asked, sampler, items, at, k, rng)
        gain[failed[items]], bill = after - before, bill + cost
    told = {
        "failed": failed.size, "unfound": (step == -1).sum(), "unreadable": (~sound & (step != -1)).sum(),
        "leaked": (sound & leaks).sum(), "unhelpful": (~kept).sum(), "kept": items.size,
    }  # fmt: skip
    counts = {name: float(number) for name, number in told.items()}
    if form == "blame" or made.edited is None:
        error[failed[step == -1]] = -1.0
        error[failed[items]] = step[items]
        return _evidence(form, batch, error, gain, bill, provenance, counts)
    own, gains = (np.full(made.edited.n_trajectories, np.nan) for _ in range(2))
    own[row[items]], gains[row[items]] = step[items], gain[failed[items]]
    return _evidence(form, made.edited, own, gains, bill, provenance, counts)


@method(
    unit="step",
    reads=set(),
    may_read={"steps"},
    evidence={"error_step": "trajectory", "gain": "trajectory"},
    unless={"gain": ("form", "clone")},
    source="sampler",
    collect=collect,
    cost="for each failed rollout T tokens read by the editor, one step written, and K continuations (2 K for blame and praise)",
    status="secondary",
    unbiased="no: failed rollouts only, cloned where an edit helped; blame and praise see one alternative, and that the editor's",
    smallest="(Batch.from_turns([[5]], steps=[[2, 3]]), {'error_step': [1.0]})",
    grows=True,
    scope="trajectory",
)
def int_(batch: Batch, *, error_step: Float, gain: Float | None = None, form: Form = "clone") -> Credit:
    """Imitate what led up to the first wrong step and the step put in its place; take nothing from what followed.

        m_t = 1 for t <= t*, 0 after                                    form="clone": weights, on edited rollouts
        maximise  sum over items of  log pi(y~ | x, y_<t*) + sum_{t < t*} log pi(y_t | x, y_<t)
        A_{t*} = -gain,  A_t = 0 for t < t*,  nothing after t*            form="blame": advantages, on the rollouts as they were
        A_{t*} = +gain,  A_t = 0 for t < t*                              form="praise": advantages, on edited rollouts
        gain = mean reward of continuations after y~ - mean reward of continuations after y_t*

    error_step: t*, shape (N,), counted from 0; -1 (no error) or null (not asked, dropped) leaves the whole rollout out.
    In "clone" and "praise" the rollout's step t* is the corrected one, y~; what may follow it is not trained on.
    One value per step (a turn, where the batch has no steps). keep and ``scored``: steps up to t*.
    gain: shape (N,), positive where the edit does better; kept with its sign, so that a worse edit speaks for the original. Null:
    not tried, and the rollout is left out. diagnostics: ``items`` that are in the loss.

    form: "clone" is the paper's method, supervised patching before GRPO: kind "weight", summed over the tokens of an
    item (loss.denominator "trajectory"). "blame" and "praise" are ours, derived from the same edits: the paper has no scalar
    advantage and gives the wrong step no negative gradient. Recorded edits need no sampler.

    t* = 0: no prefix, the corrected step alone. Further errors after t* are not looked at.

    Biased: as an estimate of credit it speaks of one step a rollout and only of failures; gain compares the policy's own
    step with one written by somebody who has seen the solution.

    Source: Yang et al., ICLR 2026 (2601.14209), at second hand: project page and a reader's note; code announced only. The
    public note sums the prefix up to t*, the text says before the error: before it is.
    """
    check_word(form, Form, "form")
    steps = _steps(batch)
    bad = ~np.isnan(error_step) & ((error_step < -1) | (error_step != np.floor(error_step)) | (error_step >= steps))
    if bad.any():
        i = int(np.argmax(bad))
        raise OptionError(
            f"evidence 'error_step'[{i}] = {error_step[i]:g}: expected a step from 0 to {steps[i] - 1}, -1 (none) or null"
        )
    used = error_step >= 0  # null is not
    if form != "clone":
        assert gain is not None  # the registry asked for it
        used &= ~np.isnan(gain)
    owner = batch.within("step", "trajectory")
    end = np.where(used, error_step, -1.0)[owner]
    index = np.arange(batch.n_steps) - np.searchsorted(owner, np.arange(batch.n_trajectories))[owner]
    inside: Bool = index <= end
    keep, told = inside[batch.within("token", "step")], {"items": float(used.sum())}
    if form == "clone" or gain is None:
        return Credit.of(batch, "step", inside.astype(np.float64), kind="weight", keep=keep, scored=inside, diagnostics=told)
    worth = np.where(used, gain if form == "praise" else -gain, 0.0)
    values = np.where(index == end, worth[owner], 0.0)
    return Credit.of(batch, "step", values, keep=keep, scored=inside, diagnostics=told)


_TOLD = ("failed", "unfound", "unreadable", "leaked", "unhelpful", "kept")


def _evidence(
    form: Form, home: Batch, error: Float, gain: Float, bill: Bill, provenance: Provenance, told: dict[str, float]
) -> Evidence:
    arrays = {"error_step": error} if form == "clone" else {"error_step": error, "gain": gain}
    axis: dict[str, Axis] = dict.fromkeys(arrays, "trajectory")
    return Evidence(arrays, axis, bill, provenance, batch=None if form == "blame" else home, diagnostics=told)


def _steps(batch: Batch) -> Int:
    """Number of steps of each trajectory."""
    return np.bincount(batch.within("step", "trajectory"), minlength=batch.n_trajectories)


def _read(asked: Batch, made: Intervention) -> tuple[Float, Bool, Bool]:
    """Step, whether it is one of the rollout's, and whether its edit leaks; an answer that does not fit is refused."""
    n = asked.n_trajectories
    step, leaks = (np.asarray(x, dtype=np.float64) for x in (made.step, made.leaks))
    for name, got in (("step", step), ("leaks", leaks)):
        if got.shape != (n,):
            raise OptionError(f"the editor's {name} has shape {got.shape}, expected ({n},): one per rollout it was shown")
    sound = (step >= 0) & (step == np.floor(step)) & (step < _steps(asked))
    proposed = np.flatnonzero(step >= 0)
    written = np.zeros(0, dtype=np.int64) if made.edited is None else _steps(made.edited)
    if written.size != proposed.size:
        raise BatchError(
            f"the editor returned {written.size} edited trajectories, expected {proposed.size}: one per step of 0 or more"
        )
    short = sound[proposed] & (written <= step[proposed])
    if short.any():
        j = int(np.argmax(short))
        raise BatchError(f"edited trajectory {j} has {written[j]} steps and ends before its corrected step {step[proposed[j]]:g}")
    return step, sound, leaks > 0


def _continue(batch: Batch, sampler: Sampler, at: Int, k: int, rng: np.random.Generator) -> tuple[Float, Bill]:
    axis: Axis = "prefix" if batch.step_offsets is None else "step_prefix"
    got = sampler.continuations(batch, at, k, rng) if axis == "prefix" else sampler.continuations(batch, at, k, rng, axis=axis)
    return np.asarray(got.values, dtype=np.float64), got.bill


def _original(asked: Batch, sampler: Sampler, rollouts: Int, at: Int, k: int, rng: np.random.Generator) -> tuple[Float, Bill]:
    """Mean reward after the original step of each rollout; after its last step that is its own reward."""
    before = asked.reward[rollouts]
    goes_on = np.flatnonzero(at < _steps(asked)[rollouts])
    if not goes_on.size:
        return before, Bill()
    prefix = asked.step_prefix_offsets[rollouts[goes_on]] + at[goes_on]
    values, bill = _continue(asked, sampler, prefix, k, rng)
    before[goes_on] = mean_answer(values, goes_on.size, k)
    return before, bill
