"""The form of a contributed run, and what makes one whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..edges.escape import plain
from ..errors import BenchError
from .records import Measure
from .settings import Settings

KIND: Literal["apportion results"] = "apportion results"
#: Metrics that every gradient cell has as numbers; the others may be undefined (null).
NEVER_UNDEFINED = {"gradient": ("inner", "norm2", "truth2"), "cost": ("price",), "learning": ("reached", "cost", "final")}

Sha = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Words = Annotated[str, Field(max_length=500)]
#: A number, "inf" or "-inf", or null where it is undefined.
Value = float | Literal["inf", "-inf"] | None


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _printable(cls, value: Any) -> Any:
        return _clean(value)


def _clean(value: Any) -> Any:
    """The value, unless a text in it holds what a terminal acts upon."""
    if isinstance(value, Mapping):
        for item in (*value, *value.values()):
            _clean(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _clean(item)
    elif isinstance(value, str) and plain(value) != value:
        raise ValueError("holds control characters")
    return value


class About(_Part):
    """Who made the numbers, where and when, in their own words."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    contributor: Annotated[str, Field(min_length=1, max_length=120)]
    date: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    hardware: Words = ""
    notes: Words = ""
    licence: Literal["CC-BY-4.0"] = "CC-BY-4.0"


class Described(BaseModel):
    """A task or an entrant, with its whole definition besides these."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: Annotated[str, Field(min_length=1, max_length=200)]


class DescribedTask(Described):
    """``digest``: of definition, title and, for a task of somebody's own, the file it came from (``file_sha256``)."""

    family: str
    horizon: int = Field(ge=1)
    digest: Sha
    file_sha256: Sha | None


class DescribedEntrant(Described):
    """``oracle``: whether its evidence touches the truth; such rows are never ranked."""

    method: str
    title: str
    oracle: bool
    paid: bool
    options: dict[str, Any]


class Cell(_Part):
    """Every metric of one method on one task under one measure, a value per seed in the order of ``seeds``."""

    method: str
    task: str
    measure: Measure
    batch: int = Field(ge=0)
    lr: float = Field(ge=0, description="0 where there is none")
    metrics: dict[str, tuple[Value, ...]]


class Submission(_Part):
    """A contributed run. ``sha256`` is the digest of everything else, as JSON with sorted keys and no blanks."""

    kind: Literal["apportion results"]
    protocol: Literal["1.0"]
    about: About
    suite: str
    command: str
    versions: dict[str, str]
    code: Sha = Field(description="digest of the source that made the numbers")
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    prices: dict[str, float]
    settings: dict[str, Any]
    tasks: Annotated[tuple[DescribedTask, ...], Field(min_length=1)]
    entrants: Annotated[tuple[DescribedEntrant, ...], Field(min_length=1)]
    cells: Annotated[tuple[Cell, ...], Field(min_length=1)]
    sha256: Sha

    @model_validator(mode="after")
    def _whole(self) -> Submission:
        for what, items in (("tasks", self.tasks), ("entrants", self.entrants)):
            ids = [item.id for item in items]
            if len(set(ids)) < len(ids):
                raise ValueError(f"{what}: '{next(i for i in ids if ids.count(i) > 1)}' is there twice")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: one is there twice")
        _check_cells(self)
        return self


def settings_of(found: Submission) -> Settings:
    """How the file says it was measured; BenchError names a setting that this version does not have, or not with this value."""
    try:
        return Settings.model_validate({**found.settings, "prices": found.prices})
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(("settings", *map(str, first["loc"])))
        why = "this version of apportion has no such setting" if first["type"] == "extra_forbidden" else first["msg"]
        raise BenchError(f"{at}: {why.removeprefix('Value error, ')}") from None


def _check_cells(found: Submission) -> None:
    tasks, entrants, seen = {t.id for t in found.tasks}, {e.id for e in found.entrants}, set()
    for i, cell in enumerate(found.cells):
        where = f"cells[{i}] ({cell.method}, {cell.task}, {cell.measure})"
        if cell.task not in tasks or cell.method not in entrants:
            raise ValueError(f"{where}: its {'task' if cell.task not in tasks else 'method'} is not defined in the file")
        key = (cell.method, cell.task, cell.measure, cell.batch, cell.lr)
        if key in seen:
            raise ValueError(f"{where}: is there twice")
        seen.add(key)
        for name in NEVER_UNDEFINED.get(cell.measure, ()):
            if name not in cell.metrics:
                raise ValueError(f"{where}: {name} is missing; every finished cell has it")
        for name, values in cell.metrics.items():
            if len(values) != len(found.seeds):
                raise ValueError(f"{where}: {name} has {len(values)} values for {len(found.seeds)} seeds")
            if name in NEVER_UNDEFINED.get(cell.measure, ()) and any(v is None for v in values):
                raise ValueError(f"{where}: {name} is null; it is a number in every finished cell")
    _check_grids(found)
    # RLOO is the numeraire: nothing can be said of a task without it
    for task in tasks:
        if not any(c.method == "rloo" and c.task == task for c in found.cells):
            raise ValueError(f"task {task}: no row of rloo, the numeraire of every figure")


def _check_grids(found: Submission) -> None:
    """Whoever is measured on a task has every row there that the settings ask for, and none besides: settings left out, or
    tried in addition, would let a method choose."""
    settings = settings_of(found)
    rules, horizons = settings.learning, {t.id: t.horizon for t in found.tasks}
    there: dict[tuple[str, str], set[tuple[str, int, float]]] = {}
    for cell in found.cells:
        there.setdefault((cell.method, cell.task), set()).add((cell.measure, cell.batch, cell.lr))
    grid = {("learning", b, lr) for b in rules.batch_sizes for lr in rules.lrs}
    for (method, task), rows in there.items():
        asked = {("gradient", b, 0.0) for b, _ in settings.gradient.sizes(horizons[task])}
        asked |= {("identification", 0, 0.0), ("cost", 0, 0.0)}
        if (rules.methods is None or method in rules.methods) and (rules.tasks is None or task in rules.tasks):
            asked |= grid
        asked = {row for row in asked if row[0] in settings.measures}
        for wrong, what in ((asked - rows, "is missing"), (rows - asked, "is not among the settings")):
            if wrong:
                measure, batch, lr = min(wrong)
                at = f" at batch {batch}, rate {lr}" if measure == "learning" else f" at batch {batch}" if batch else ""
                raise ValueError(f"{method} on {task}: its row of {measure}{at} {what}")
