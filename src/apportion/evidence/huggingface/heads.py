"""Heads on the hidden states of a language model: a critic, a process reward, a return predictor, learned from rollouts.

A head reads the last hidden state of the token a prefix ends with, so it knows what stood there and nothing that came
later. Weights are kept for every fold and for all rollouts together: whoever was learned from is scored by weights that
have not seen how it ended (as everywhere in ``apportion.evidence``), anyone else by those fitted on everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from ...batch import Batch
from ...errors import OptionError
from ...structure import Float, Int
from ..bill import Bill
from ..learned import trajectory_keys
from ..sources import Array, Evidence
from . import checks
from .states import fingerprint, hidden_states, texts_of
from .targets import KINDS, Kind, places

Row = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class HFHead:
    """What :func:`fit_head` returns; ``learned=`` of every method that reads the evidence ``kind`` and no other.

    rows: weights of each fold's head (and of its trunk, where that was trained), the last fitted on everything. keys
    (sorted), fold: the trajectories it was fitted on and where they were held out. made_for: of the model's weights.
    The model itself is not saved: after loading, say ``load_learned(path).on(model)``.
    """

    kind: str
    rows: tuple[Row, ...]
    keys: Array
    fold: Int
    made_for: int
    bill: Bill
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    model: Any = None
    max_tokens: int | None = None

    def on(self, model: Any) -> HFHead:
        """The head on its model; another model than it was learned on is refused."""
        if fingerprint(model) != self.made_for:
            raise OptionError(
                f"this head was learned on other weights than those of the given {type(model).__name__}: fit it again"
            )
        return replace(self, model=model)

    def evidence(self, batch: Batch) -> Evidence:
        """One number per unit; 0 for tokens that the policy did not write."""
        check_placed(self)
        values, scored = self.read(batch)
        kind = KINDS[self.kind]
        bill = Bill(scored=scored)
        return Evidence({self.kind: values}, {self.kind: kind.axis}, bill, "learned", diagnostics=self.diagnostics)

    def read(self, batch: Batch) -> tuple[Float, float]:
        """Values per unit of the head's axis, and how many tokens were read."""
        import torch

        kind, texts = KINDS[self.kind], texts_of(self.model, batch)
        units, at = places(batch, self.kind)
        owner = batch.within("token", "trajectory")[at]
        row = self.row_of(batch)
        values, scored = np.zeros(batch.count(kind.axis)), 0.0
        own = any(name.startswith("trunk.") for name in self.rows[0])
        # a frozen trunk reads the batch once, whoever's weights score what it says
        for k in np.unique(row).tolist() if own else [None]:
            mine = np.arange(row.size) if k is None else np.flatnonzero(row == k)
            weights = None if k is None else trunk_weights(self.model, self.rows[k])
            here = np.isin(owner, mine)
            states = hidden_states(self.model, texts, mine, batch, at[here], self.max_tokens, weights)
            scored += sum(len(texts[i]) for i in mine)
            for j in np.unique(row[mine]).tolist():
                some = row[owner[here]] == j
                with torch.no_grad():
                    said = shown(apply(tensors(self.rows[j], states.device), states[torch.from_numpy(some)]), kind)
                values[units[here][some]] = said.cpu().numpy()
        checks.finite(batch, values[units], at, f"the {self.kind}")
        return values, scored

    def row_of(self, batch: Batch) -> Int:
        """Whose weights score each trajectory: those that have not seen it where it was learned from, else the last."""
        keys = trajectory_keys(batch)
        at = np.minimum(np.searchsorted(self.keys, keys), self.keys.size - 1)
        found: Int = np.where(self.keys[at] == keys, self.fold[at], len(self.rows) - 1)
        return found

    def save(self) -> dict[str, Array]:
        """Plain arrays; ``HFHead.load(x.save()).on(model)`` says the same, bit for bit."""
        saved = {f"row{k}.{name}": array for k, row in enumerate(self.rows) for name, array in row.items()}
        told = {f"told.{name}": np.asarray(value) for name, value in self.diagnostics.items()}
        about = {"kind": np.asarray(self.kind), "made_for": np.asarray(self.made_for), "keys": self.keys, "fold": self.fold}
        return {**about, "bill": np.asarray(list(asdict(self.bill).values())), **told, **saved}

    @classmethod
    def load(cls, saved: Mapping[str, Array]) -> HFHead:
        rows: dict[int, dict[str, Array]] = {}
        for name, array in saved.items():
            if name.startswith("row"):
                number, _, rest = name[3:].partition(".")
                rows.setdefault(int(number), {})[rest] = array
        told = {name[5:]: float(value) for name, value in saved.items() if name.startswith("told.")}
        return cls(
            saved["kind"].item(), tuple(rows[k] for k in sorted(rows)), saved["keys"], saved["fold"], int(saved["made_for"]),
            Bill(*saved["bill"].tolist()), told,
        )  # fmt: skip


def check_placed(learned: Any) -> None:
    """Refuse a head whose model is missing; anything else that is learned passes. For trainers to ask at their start."""
    if isinstance(learned, HFHead) and learned.model is None:
        raise OptionError(
            "learned: a head that was loaded has no model yet, and its file holds none: give load_learned(path).on(model), "
            "in Python"
        )


def apply(row: Mapping[str, Any], states: Any) -> Any:
    """The head's output (n,): a linear map of standardised hidden states, and of a hidden layer on them if there is one."""
    import torch

    x = (states - row["mean"]) / row["std"]
    said = x @ row["w0"] + row["b0"]
    if "w1" in row:
        said = said + torch.nn.functional.gelu(x @ row["w1"] + row["b1"]) @ row["w2"]
    return said * row["scale"] + row["shift"]


def shown(said: Any, kind: Kind) -> Any:
    return kind.low + (kind.high - kind.low) * said.sigmoid() if kind.loss == "bce" else said


def tensors(row: Row, device: Any) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(array).to(device) for name, array in row.items() if not name.startswith("trunk.")}


def trunk_weights(model: Any, row: Row) -> dict[str, Any]:
    import torch

    return {n[6:]: torch.from_numpy(array).to(model.device) for n, array in row.items() if n.startswith("trunk.")}
