"""What a row of a head's weights is learned from, and what is to be made small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...batch import Batch
from ...structure import Float, Int
from .heads import Row
from .packing import trunk_of
from .targets import KINDS, Loss, Targets


@dataclass(frozen=True)
class Fitting:
    """Settings of ``fit_head``; trunk_lr None: the trunk is frozen."""

    width: int
    held_out: float
    epochs: int
    patience: int
    lr: float
    trunk_lr: float | None
    weight_decay: float
    batch_tokens: int


@dataclass(frozen=True, eq=False)
class Problem:
    """at: the token of the batch that each unit is read at. states: hidden states there, as the given model has them."""

    model: Any
    batch: Batch
    texts: list[list[int]]
    kind: str
    at: Int
    states: Any
    targets: Targets

    @property
    def loss(self) -> Loss:
        return KINDS[self.kind].loss

    def known(self, some: Int) -> Int:
        """Units of trajectories ``some`` that have a target."""
        return np.flatnonzero(np.isin(self.targets.owner, some) & ~np.isnan(self.targets.y))


def error(said: Any, y: Float, owner: Int, loss: Loss, scale: float) -> Any:
    """Mean loss of what was said (before the sigmoid) of units of trajectories ``owner`` (ascending), in spreads of y."""
    import torch

    if loss == "bce":
        return torch.nn.functional.binary_cross_entropy_with_logits(said, torch.from_numpy(y).to(said))
    if loss == "sum":
        names, first, number = np.unique(owner, return_index=True, return_inverse=True)
        total = torch.zeros(names.size, dtype=said.dtype, device=said.device)
        said, y = total.index_add(0, torch.from_numpy(number).to(said.device), said), y[first]
    return (((said - torch.from_numpy(y).to(said)) / scale) ** 2).mean()


def split(batch: Batch, mine: Int, share: float, rng: np.random.Generator) -> tuple[Int, Int]:
    """Trajectories to learn from, and those of the groups that decide when to stop (none, where there is one group)."""
    group = batch.within("trajectory", "group")[mine]
    names = rng.permutation(np.unique(group))
    count = min(int(np.ceil(share * names.size)), names.size - 1)
    out = np.isin(group, names[:count])
    return mine[~out], mine[out]


def constant(p: Problem, used: Int) -> Row:
    """A head that says one number of every unit: the mean of what it is to learn from."""
    import torch

    states, y = p.states[torch.from_numpy(used)], p.targets.y[used]
    mean, scale, level = float(y.mean()), float(y.std()), 0.0
    if p.loss == "bce":
        level, mean, scale = float(np.log(np.clip(mean, 0.01, 0.99) / (1 - np.clip(mean, 0.01, 0.99)))), 0.0, 1.0
    elif p.loss == "sum":
        owner = np.unique(p.targets.owner[used], return_index=True)[1]
        mean, scale = float(y[owner].mean() * owner.size / used.size), float(y[owner].std())
    row = {"mean": states.mean(dim=0).cpu().numpy(), "std": states.std(dim=0, correction=0).cpu().numpy() + 1e-3}
    row |= {"w0": np.zeros(states.shape[1]), "b0": np.asarray(level), "shift": np.asarray(mean)}
    row["scale"] = np.asarray(scale if scale > 1e-6 else 1.0)
    return {name: np.asarray(array, dtype=np.float32) for name, array in row.items()}


def layer(size: int, width: int, rng: np.random.Generator) -> Row:
    """A hidden layer that says nothing yet."""
    row = {"w1": rng.normal(size=(size, width)) / np.sqrt(size), "b1": np.zeros(width), "w2": np.zeros(width)}
    return {name: array.astype(np.float32) for name, array in row.items()}


def trunk(model: Any, before: Row | None) -> dict[str, Any]:
    """The trunk's weights, in single precision, to be trained."""
    import torch

    named = {n: w.detach().float().clone() for n, w in trunk_of(model).named_parameters() if w.is_floating_point()}
    for name in named:
        if before is not None:
            named[name] = torch.from_numpy(before[f"trunk.{name}"]).to(model.device).clone()
    return named
