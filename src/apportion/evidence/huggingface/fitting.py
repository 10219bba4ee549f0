"""How heads learn: mini-batches of rollouts, cross-fitted, stopped early on groups that are held out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from ...batch import Batch
from ...errors import OptionError
from ...words import check_word
from ..bill import Bill
from ..held_out import deal
from ..learned import Linear
from ..sources import Array
from .heads import HFHead
from .problem import Fitting, Problem
from .rows import fit_row
from .scoring import Watch
from .states import fingerprint, hidden_states, texts_of
from .targets import KINDS, places, targets

Trunk = Literal["frozen", "trained"]


def fit_head(
    model: Any,
    batch: Batch,
    kind: str = "value",
    *,
    rng: np.random.Generator | int = 0,
    labels: Array | None = None,
    gamma: float = 1.0,
    lam: float = 1.0,
    trunk: Trunk = "frozen",
    width: int = 0,
    folds: int | None = None,
    held_out: float = 0.2,
    epochs: int = 60,
    patience: int = 6,
    lr: float = 3e-3,
    trunk_lr: float = 1e-4,
    weight_decay: float = 1e-2,
    batch_tokens: int = 1024,
    max_tokens: int | None = None,
    state: HFHead | None = None,
    watch: Watch | None = None,
) -> HFHead:
    """A head on ``model``'s last hidden states that says ``kind`` of every unit, learned from the batch's rewards.

        value           E[return from here on], before each policy token                       squared error
        prediction      E[total reward], once each step is done                                squared error
        progress        c_j with sum_j c_j = total reward, no step ever labelled               squared error of the sum
        promise         P(success), once each step is done                                     cross-entropy
        process         2 P(success) - 1, likewise                                             cross-entropy
        success_rate    P(success), at each prefix between steps                               cross-entropy

    labels: what to learn instead, one per unit in the evidence's own range, NaN where unknown (human step labels,
    continuations); value and progress take none. gamma, lam: of the value's targets, Monte-Carlo returns with lam = 1, else
    TD(lambda) returns of the head's own predictions, made anew every epoch; policy tokens are steps, others skipped.
    The linear part is solved on hidden states that are read once, its ridge penalty chosen by held-out groups (``linear``).
    width: of a hidden layer beside it. trunk: "frozen"; or "trained", where all weights below the head learn as well, for
    every fold a copy of its own, and the given model stays as it is. Both go on from the linear part by AdamW (lr, trunk_lr,
    weight_decay) on mini-batches of ``batch_tokens``, whole trajectories of like length.

    folds: by trajectory; 5, or 2 where the trunk is trained, which takes folds + 1 trainings and copies. held_out: share
    of the other groups (prompts) that choose the penalty and when to stop: after ``patience`` epochs without a better loss
    there, and the best epoch is kept; with one group the penalty is the usual and all epochs are done. state: goes on from
    an earlier head, towards which the penalty pulls, or by AdamW alone where that has a hidden layer or a trunk of its own;
    what it learned from stays in its fold. watch(done, of all epochs).

    Bill: "scored" tokens were read without gradients, "trained" with; a head on a frozen trunk trains on the batch's policy
    tokens, counted once. diagnostics: ``held_out_loss``, relative to what the head began with (a constant, without state).
    """
    check_word(trunk, Trunk, "trunk")
    if kind not in KINDS:
        raise OptionError(f"kind = {kind!r}: expected one of {', '.join(KINDS)}")
    folds = folds if folds is not None else 5 if trunk == "frozen" else 2
    _check(gamma=gamma, lam=lam, width=width, folds=folds, held_out=held_out, epochs=epochs, patience=patience, lr=lr,
           trunk_lr=trunk_lr, weight_decay=weight_decay, batch_tokens=batch_tokens)  # fmt: skip
    if state is not None:
        _same(state, kind, trunk, width, fingerprint(model))
    generator = np.random.default_rng(rng)
    texts = texts_of(model, batch)
    units, at = places(batch, kind)
    learn = targets(batch, kind, labels, units, at, gamma, lam)
    old = None if state is None else Linear("step", 0, np.zeros((len(state.rows), 2)), state.keys, state.fold)
    count, part, keys, fold = deal(batch, generator, folds, old)
    for k in range(count + 1 if state is None else 0):
        if np.isnan(learn.y[(part != k)[learn.owner]]).all():
            raise OptionError("labels are known of too few trajectories: some fold would have none to learn from")
    seed = int(generator.integers(2**63))
    every = np.arange(batch.n_trajectories)
    states = hidden_states(model, texts, every, batch, at, max_tokens)
    how = Fitting(width, held_out, epochs, patience, lr, trunk_lr if trunk == "trained" else None, weight_decay, batch_tokens)
    problem = Problem(model, batch, texts, kind, at, states, learn)
    rows, bill = [], Bill(scored=float(batch.n_tokens))
    told: list[float] = []
    for k in range(count + 1):
        # only where something is known: groups without a target must not decide what is kept
        mine = np.unique(learn.owner[problem.known(np.flatnonzero(part != k))])
        before = None if state is None else state.rows[k]
        if not mine.size:  # nothing new for this row
            assert before is not None
            rows.append(before)
            continue
        tell = None if watch is None else _from(watch, k * epochs, (count + 1) * epochs)
        row, spent, share = fit_row(problem, mine, how, np.random.default_rng([seed, k]), before, tell)
        rows.append(row)
        bill, told = bill + spent, [*told, share]
    if trunk == "frozen":
        bill = bill + Bill(trained=float(batch.action.sum()))
    found = {"held_out_loss": float(np.nanmean(told))} if np.isfinite(told).any() else {}
    return HFHead(kind, tuple(rows), keys, fold, fingerprint(model), bill, found, model, max_tokens)


def _from(watch: Watch, done: int, total: int) -> Callable[[int], None]:
    return lambda epoch: watch(done + epoch, total)


def _same(state: HFHead, kind: str, trunk: Trunk, width: int, made_for: int) -> None:
    row = state.rows[-1]
    had = {
        "kind": state.kind, "trunk": "trained" if any(n.startswith("trunk.") for n in row) else "frozen",
        "width": int(row["w1"].shape[1]) if "w1" in row else 0,
    }  # fmt: skip
    for name, value in (("kind", kind), ("trunk", trunk), ("width", width)):
        if had[name] != value:
            raise OptionError(f"state= was learned with {name} = {had[name]!r}, and this call says {value!r}: keep what it has")
    if state.made_for != made_for:
        raise OptionError("state= was learned on other weights than the given model's: fit a head for this one")


def _check(**given: float) -> None:
    limits = {
        "gamma": (0, 1), "lam": (0, 1), "width": (0, 65536), "folds": (2, 1000), "held_out": (0, 0.9), "epochs": (1, 10**6),
        "patience": (1, 10**6), "lr": (0, 10), "trunk_lr": (0, 10), "weight_decay": (0, 10), "batch_tokens": (1, 10**9),
    }  # fmt: skip
    for name, value in given.items():
        low, high = limits[name]
        if not low <= value <= high:
            raise OptionError(f"{name} = {value}: expected {low} to {high}")
