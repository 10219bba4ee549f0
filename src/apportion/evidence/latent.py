"""Rewards of single units whose sums are the returns: factors that were written once, decoded by least squares.

    z_u = phi(features of unit u)      the written part, d numbers
    r_u = w . z_u + b                  the decoder, fitted so that sum_u r_u is the return of the episode

phi is data (:mod:`apportion.edges.expressions`); features are those of :mod:`.text_features`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from ..batch import Batch
from ..edges.expressions import Expression, ExpressionError, evaluate, parse
from ..structure import Float, Int
from ..words import Axis
from .bill import Bill
from .learned import trajectory_keys
from .sources import Array, Evidence
from .text_features import Vocabulary, described, text_features

#: Factors anybody would count, for where nobody was asked.
PLAIN = "[position, seen, written, seen_again, written_again, new, copied]"


@dataclass(frozen=True)
class Factors:
    """text: of phi, which returns a list of factors (or the reward itself: ``direct``). vocabulary: words it may count.
    tried and refused: answers of the author while it was made, and how many were not usable. bill: what that cost."""

    text: str = PLAIN
    vocabulary: Vocabulary = Vocabulary()
    direct: bool = False
    tried: int = 0
    refused: int = 0
    bill: Bill = Bill()

    @cached_property
    def expression(self) -> Expression:
        return parse(self.text, names(self.vocabulary), several=True)

    def latent(self, batch: Batch, axis: Axis) -> Float:
        """z of every unit, shape (units, d)."""
        given = text_features(batch, axis, self.expression.reads)
        return _stacked(self.expression, given, batch.count(axis))

    def save(self) -> dict[str, Array]:
        """Plain arrays; ``Factors.load(x.save())`` is equal to it."""
        return {
            "factors.text": np.asarray(self.text), "factors.direct": np.asarray(self.direct),
            "factors.counts": np.asarray([self.tried, self.refused]),
            "factors.bill": np.asarray(list(asdict(self.bill).values())), **self.vocabulary.save("factors"),
        }  # fmt: skip

    @classmethod
    def load(cls, saved: Mapping[str, Array]) -> Factors:
        tried, refused = saved["factors.counts"].tolist()
        bill, direct = Bill(*saved["factors.bill"].tolist()), bool(saved["factors.direct"])
        return cls(saved["factors.text"].item(), Vocabulary.load(saved, "factors"), direct, tried, refused, bill)


def names(vocabulary: Vocabulary) -> tuple[str, ...]:
    """All that factors may read."""
    return tuple(described("step", vocabulary, done=True))


def factors_of(written: Factors | str, batch: Batch) -> Factors:
    """The factors themselves; or those of your own text, with the words it counts, tried on this batch."""
    if isinstance(written, Factors):
        return written
    found = {which: tuple(dict.fromkeys(re.findall(rf"\b{which}_(\w+)", written, re.ASCII))) for which in ("wrote", "saw")}
    vocabulary = Vocabulary(**found)
    reads = parse(written, names(vocabulary), several=True).reads or ("position",)
    checked(written, vocabulary, text_features(batch, "step", reads))
    return Factors(written, vocabulary)


def checked(text: str, vocabulary: Vocabulary, samples: Mapping[str, Float], *, direct: bool = False) -> Expression:
    """The factors as read, or an ExpressionError: tried on features of recorded units, two of them as the paper does.

    samples: every feature of some units. direct: it must return one value, the reward.
    """
    expression = parse(text, names(vocabulary), several=True)
    if direct and len(expression.program.results) > 1:
        raise ExpressionError(f"{len(expression.program.results)} values are returned: expected one, the reward")
    _stacked(expression, {n: np.asarray(samples[n]) for n in expression.reads}, next(iter(samples.values())).size)
    return expression


def _stacked(expression: Expression, given: Mapping[str, Float], n: int) -> Float:
    found = evaluate(expression, given if given else {expression.names[0]: np.zeros(n)})
    return np.concatenate(found, axis=1)


@dataclass(frozen=True, eq=False)
class LearnedLatent:
    """Evidence ``latent``, the reward of every unit, out of fold where its episode was fitted on.

    weights: (folds + 1, d + 1), the last row fitted on everything, the last column b. keys (sorted) and fold: the
    trajectories it was fitted on, and where they were held out.
    """

    factors: Factors
    axis: Axis
    weights: Float
    keys: Array
    fold: Int
    bill: Bill

    def evidence(self, batch: Batch) -> Evidence:
        keys = trajectory_keys(batch)
        row = np.full(keys.size, self.weights.shape[0] - 1)
        if self.keys.size:
            at = np.minimum(np.searchsorted(self.keys, keys), self.keys.size - 1)
            row = np.where(self.keys[at] == keys, self.fold[at], row)
        w = self.weights[row[batch.within(self.axis, "trajectory")]]
        z = self.factors.latent(batch, self.axis)
        r = (w[:, :-1] * z).sum(axis=1) + w[:, -1]
        return Evidence({"latent": r}, {"latent": self.axis}, Bill(), "learned")

    def save(self) -> dict[str, Array]:
        """Plain arrays; ``LearnedLatent.load(x.save())`` says the same, bit for bit."""
        own = {"axis": np.asarray(self.axis), "weights": self.weights, "keys": self.keys, "fold": self.fold}
        return {**self.factors.save(), **own, "bill": np.asarray(list(asdict(self.bill).values()))}

    @classmethod
    def load(cls, saved: Mapping[str, Array]) -> LearnedLatent:
        factors, bill = Factors.load(saved), Bill(*saved["bill"].tolist())
        return cls(factors, saved["axis"].item(), saved["weights"], saved["keys"], saved["fold"], bill)
