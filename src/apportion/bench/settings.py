"""How every measure is taken, and what things cost: data, written whole into the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from ..errors import BenchError
from .records import MEASURES, Measure

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]

#: Price of one unit of each kind of work, in units of one generated token.
PRICES: dict[str, float] = {"generated": 1.0, "scored": 0.3, "env_steps": 5.0, "judge_calls": 500.0, "trained": 2.0}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Gradient(_Frozen):
    """The complete update of a method against the exact gradient."""

    batch_sizes: tuple[Count, ...] = (64, 512, 4096)  # trajectories
    replicates: tuple[Count, ...] = (16, 8, 4)  # independent batches per seed, one number per batch size
    turns: Count = 10_000_000  # larger batches are left out
    kl: Rate = 1e-3  # nats a trajectory at which the one-step gain is read

    def sizes(self, horizon: int) -> list[tuple[int, int]]:
        """(batch size, replicates) of those that fit; the smallest always does."""
        both = zip(self.batch_sizes, self.replicates, strict=True)
        return [(b, n) for b, n in both if b * horizon <= self.turns or b == min(self.batch_sizes)]

    @model_validator(mode="after")
    def _paired(self) -> Gradient:
        if len(self.replicates) != len(self.batch_sizes):
            raise ValueError(f"{len(self.replicates)} replicates for {len(self.batch_sizes)} batch sizes: give one per size")
        if min(self.replicates, default=2) < 2:
            raise ValueError("bias is estimated from pairs of batches: replicates must be at least 2")
        return self


class Learning(_Frozen):
    """Training from scratch, every method on the same grid of learning rates and batch sizes."""

    batch_sizes: tuple[Count, ...] = (64, 512)
    lrs: tuple[Rate, ...] = (0.2, 0.1, 0.05)  # of Adam
    max_updates: Count = 1000  # at the largest batch size: sets the budget of every run, in cost
    target: Annotated[float, Field(gt=0, lt=1)] = 0.8  # of the attainable return
    methods: tuple[str, ...] | None = None  # None: every entrant of the run
    tasks: tuple[str, ...] | None = None  # None: every task of the run
    curve: Annotated[int, Field(ge=0)] = 0  # points of the curve; with any, every run spends its whole budget

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Settings without curves are written as before there were any, so that older results compare with newer ones."""
        made: dict[str, Any] = handler(self)
        if not self.curve:
            made.pop("curve", None)
        return made


class Identification(_Frozen):
    """Credit against the exact advantage, unit by unit."""

    batch: Count = 256
    epsilon: Rate = 1e-6  # pairs of units whose advantages differ by less are ties


class Cost(_Frozen):
    """The bill of one batch."""

    batch: Count = 64


class Settings(_Frozen):
    """All that a cell's numbers depend on besides the cell, its task and its entrant."""

    measures: tuple[Measure, ...] = MEASURES
    group: Count = 8  # rollouts per prompt
    gradient: Gradient = Gradient()
    learning: Learning = Learning()
    identification: Identification = Identification()
    cost: Cost = Cost()
    prices: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(default_factory=lambda: dict(PRICES))

    @model_validator(mode="after")
    def _priced(self) -> Settings:
        check_prices(self.prices, "prices")
        return self


def check_prices(prices: Mapping[str, Any], where: str) -> None:
    """Raise unless every kind of work has a price and nothing else has."""
    import difflib

    for name in prices:
        if name not in PRICES:
            near = difflib.get_close_matches(str(name), PRICES, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(PRICES)}"
            raise BenchError(f"{where}: no kind of work is called '{name}'; {hint}")
    missing = [name for name in PRICES if name not in prices]
    if missing:
        raise BenchError(f"{where}: no price for {', '.join(missing)} (nothing is free by accident; write 0 if it is)")


def read_prices(path: Path) -> dict[str, float]:
    """Prices from a YAML file that maps kinds of work to numbers; those left out keep their default."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        given = YAML(typ="safe").load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"--prices {path}: cannot be read ({error})") from None
    except YAMLError as error:
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        line = f", line {mark.line + 1}" if mark else ""
        raise BenchError(f"--prices {path}{line}: not YAML") from None
    if not isinstance(given, dict):
        raise BenchError(f"--prices {path}: expected lines like 'generated: 1.0', found {type(given).__name__}")
    for name, price in given.items():
        if isinstance(price, bool) or not isinstance(price, int | float) or not 0 <= price < float("inf"):
            raise BenchError(f"--prices {path}: {name} = {price!r}: expected a number of at least 0")
    merged = {**PRICES, **{name: float(price) for name, price in given.items()}}
    check_prices(merged, f"--prices {path}")
    return merged
