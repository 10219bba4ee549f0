"""The training of one row of a head's weights: what all folds but one, or all, have to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...structure import Float, Int
from ..bill import Bill
from .heads import Row, apply, shown, tensors
from .linear import solve
from .packing import bins, hidden, packs, still, trunk_of
from .problem import Fitting, Problem, constant, error, layer, split, trunk
from .states import hidden_states
from .targets import KINDS


def fit_row(
    p: Problem, mine: Int, how: Fitting, rng: np.random.Generator, before: Row | None, tell: Callable[[int], None] | None
) -> tuple[Row, Bill, float]:
    """Weights from trajectories ``mine`` only (each has a target), what they cost, and the held-out loss relative to the
    first (NaN: none)."""
    learn, check = split(p.batch, mine, how.held_out, rng)
    row, share = before if before is not None else constant(p, p.known(learn)), 1.0
    # solved as if nothing stood beside it: not where a hidden layer says its part already, or the trunk below has moved
    if before is None or (how.trunk_lr is None and "w1" not in before):
        row, share = solve(p, row, learn, check)
    if how.width and "w1" not in row:
        row = {**row, **layer(p.states.shape[1], how.width, rng)}
    bill = Bill()
    if how.width or how.trunk_lr is not None:
        row, bill, more = _descend(p, row, before, learn, check, how, rng, tell)
        share *= more
    if tell:
        tell(how.epochs)
    return row, bill, share


def _descend(
    p: Problem, row: Row, before: Row | None, learn: Int, check: Int, how: Fitting, rng: np.random.Generator,
    tell: Callable[[int], None] | None,
) -> tuple[Row, Bill, float]:  # fmt: skip
    """AdamW on mini-batches of trajectories, from ``row`` on; the best epoch on the held-out groups is kept."""
    import torch

    head = tensors(row, p.states.device)
    below = trunk(p.model, before) if how.trunk_lr is not None else {}
    trained = [head[name] for name in ("w0", "b0", "w1", "b1", "w2") if name in head]
    for weight in (*trained, *below.values()):
        weight.requires_grad_()
    groups: list[dict[str, Any]] = [{"params": trained, "lr": how.lr}]
    if below:
        groups.append({"params": list(below.values()), "lr": how.trunk_lr})
    optimiser = torch.optim.AdamW(groups, weight_decay=how.weight_decay)
    look, packed = _Look(p, head, below), packs(p.model)
    lengths = [len(p.texts[i]) for i in learn]
    batches = [learn[some] for some in bins(lengths, how.batch_tokens, packed=packed)]
    first = best = look.loss(check)
    kept, since = look.copy(), 0
    for epoch in range(how.epochs):
        y = p.targets.y if p.targets.again is None else p.targets.again(look.said(learn))
        for b in rng.permutation(len(batches)):
            optimiser.zero_grad()
            loss = look.error(batches[b], y, gradients=True)
            if loss is not None:
                loss.backward()
                torch.nn.utils.clip_grad_norm_([w for g in groups for w in g["params"]], 1.0)
                optimiser.step()
        now, since = look.loss(check), since + 1
        if now < best:
            best, kept, since = now, look.copy(), 0
        if tell:
            tell(epoch + 1)
        if check.size and since >= how.patience:
            break
    return kept if check.size else look.copy(), look.bill, best / first if first > 0 else float("nan")


class _Look:
    """The head (and trunk) as they are while they learn, and what was read with them."""

    def __init__(self, p: Problem, row: dict[str, Any], below: dict[str, Any]) -> None:
        self.p, self.row, self.below, self.bill = p, row, below, Bill()
        self.bounds = np.searchsorted(p.targets.owner, np.arange(p.batch.n_trajectories + 1))
        self.place = p.at - p.batch.offsets("trajectory")[p.targets.owner]

    def error(self, some: Int, y: Float, *, gradients: bool) -> Any:
        """Mean loss over the units of trajectories ``some``; None where none has a target."""
        units = self._units(some)
        units = units[~np.isnan(y[units])]
        if not units.size:
            return None
        said = apply(self.row, self._states(some, units, gradients))
        return error(said, y[units], self.p.targets.owner[units], self.p.loss, float(self.row["scale"]))

    def loss(self, some: Int) -> float:
        import torch

        with torch.no_grad():
            found = self.error(some, self.p.targets.y, gradients=False)
        return float("nan") if found is None else float(found)

    def said(self, some: Int) -> Float:
        """Predictions at all units, 0 outside trajectories ``some``."""
        import torch

        units = self._units(some)
        found = np.zeros(self.p.at.size)
        with torch.no_grad():
            found[units] = shown(apply(self.row, self._states(some, units, False)), KINDS[self.p.kind]).cpu().numpy()
        return found

    def copy(self) -> Row:
        row = {name: weight.detach().cpu().numpy().copy() for name, weight in self.row.items()}
        return row | {f"trunk.{name}": weight.detach().cpu().numpy().copy() for name, weight in self.below.items()}

    def _units(self, some: Int) -> Int:
        every = [np.arange(self.bounds[i], self.bounds[i + 1]) for i in np.sort(some)]
        return np.concatenate([np.zeros(0, dtype=np.int64), *every])

    def _states(self, some: Int, units: Int, gradients: bool) -> Any:
        import torch

        if not self.below:
            return self.p.states[torch.from_numpy(units)]
        p, tokens = self.p, float(sum(len(self.p.texts[i]) for i in some))
        self.bill += Bill(trained=tokens) if gradients else Bill(scored=tokens)
        if not gradients:
            return hidden_states(p.model, p.texts, some, p.batch, p.at[units], None, self.below)
        with still(p.model):
            states = hidden(trunk_of(p.model), [p.texts[i] for i in some], packs(p.model), self.below)
        begin = dict(zip(some.tolist(), np.cumsum([0, *(len(p.texts[i]) for i in some)]), strict=False))
        place = np.asarray([begin[int(o)] for o in p.targets.owner[units]]) + self.place[units]
        return states[torch.from_numpy(place)]
