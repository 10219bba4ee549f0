"""A credit table joined back onto the rollouts it speaks of: credit again, for the lens or a trainer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import CreditError
from ..structure import Bool, Int
from ..words import Unit
from .credit_table import COLUMNS, KEY, NAMES, SCHEMA, levels_of, name_texts, schema, units
from .plain import python

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

_NEEDED = ("trajectory", "level", "unit", "value")
_DEFAULT = {"kind": "advantage", "method": "", "version": "", "config": "", "source": "estimate"}


class Which(NamedTuple):
    """One of the credits a table may hold."""

    method: str
    config: str
    source: str


def credits_of(table: pa.Table) -> list[Which]:
    """The credits that a table holds, in the order they appear."""
    table = conform(table)
    columns = [_codes(table, name) for name in Which._fields]
    key = np.zeros(table.num_rows, dtype=np.int64)
    for codes, names in columns:
        key = key * (len(names) + 1) + codes
    first = np.sort(np.unique(key, return_index=True)[1])
    return [Which(*(str(names[codes[i]]) for codes, names in columns)) for i in first]


def from_table(
    table: pa.Table,
    batch: Batch,
    *,
    method: str | None = None,
    config: str | None = None,
    source: str | None = None,
    level: Unit | None = None,
    loss: Loss | None = None,
) -> Credit:
    """The credit of ``batch`` that a table holds; rows of other trajectories are passed over.

    method, config, source: which credit, where the table holds several. level: which rows, where it
    holds several levels (default: the method's own, with its token rows). loss: default what the
    table's header says. A table made elsewhere needs trajectory, level, unit and value; null values
    are units without an opinion. Raises ``CreditError`` that names the trajectory where ids, unit
    counts or token spans disagree.
    """
    table = conform(table)
    wanted = {"method": method, "config": config, "source": source}
    keep = np.ones(table.num_rows, dtype=np.bool_)
    for name, value in wanted.items():
        if value is not None:
            codes, names = _codes(table, name)
            keep &= codes == (names.index(value) if value in names else len(names))
    if not keep.all():
        table = _filter(table, keep)
    found = credits_of(table)
    if not found:
        asked = ", ".join(f"{k} {v!r}" for k, v in wanted.items() if v is not None)
        raise CreditError(f"the table holds no credit{' of ' + asked if asked else ''}")
    if len(found) > 1:
        shown = "; ".join(f"method={w.method!r}, config={w.config!r}, source={w.source!r}" for w in found[:4])
        raise CreditError(f"the table holds {len(found)} credits, choose one: {shown}")
    told = _configs(table).get(found[0].config, {})
    home, names = _home(table, batch)
    table, home = _filter(table, home >= 0), home[home >= 0]
    own, beside = _levels(table, told, level)
    codes, words = _codes(table, "level")
    kinds = {str(_names_at(table, "kind", at)) for at in np.unique(_codes(table, "kind")[0], return_index=True)[1]}
    if len(kinds) > 1:
        raise CreditError(f"{found[0].method}: the rows are of kinds {', '.join(sorted(kinds))}; a credit has one")
    placed = {}
    for at in (own, *beside):
        rows = codes == words.index(at)
        placed[at] = _place(_filter(table, rows), home[rows], batch, names, at, told)
    value, scored, kept = placed[own]
    more: dict[str, Any] = {
        "kind": kinds.pop(),
        "scored": None if scored.all() else scored,
        "method": found[0].method,
        "options": python(told.get("config", {}).get("options", {})),
        "evidence": python(told.get("config", {}).get("evidence", {})),
        "loss": _loss(told, found[0].method) if loss is None else loss,
        "segment": told.get("segment") if own == "segment" else None,
    }
    if beside:
        tokens, _, kept = placed["token"]
        kept = kept[: batch.n_tokens]
        more["keep"] = None if kept[batch.action].all() else kept
        return Credit(batch=batch, level=own, unit=value, token=tokens, **more)
    more["keep"] = None if kept.all() else kept[batch.within("token", own)]
    if own == "token":  # observation tokens have no rows: neither an opinion nor a place in the loss
        more["scored"] = None if scored[batch.action].all() else scored
        more["keep"] = None if kept[batch.action].all() else kept
    return Credit.of(batch, own, value, **more)


def conform(table: pa.Table) -> pa.Table:
    """The table with every column in its type; what a table made elsewhere lacks is null or the plainest word."""
    import pyarrow as pa

    if table.schema.equals(schema()):
        return table.unify_dictionaries()
    for name in _NEEDED:
        if name not in table.column_names:
            raise CreditError(f"the credit table has no column '{name}': it needs {', '.join(_NEEDED)}")
    columns = []
    for field in schema():
        if field.name in table.column_names:
            try:
                column = table[field.name]
                text = field.name in NAMES and not pa.types.is_dictionary(column.type)
                columns.append((column.cast(pa.string()) if text else column).cast(field.type))
            except (pa.ArrowException, ValueError) as error:
                raise CreditError(f"column '{field.name}' is {table[field.name].type}: expected {field.type} ({error})") from None
        elif field.name in _DEFAULT or field.name == "kept":
            value = True if field.name == "kept" else _DEFAULT[field.name]
            columns.append(pa.repeat(pa.scalar(value), table.num_rows).cast(field.type))
        else:
            columns.append(pa.nulls(table.num_rows, field.type))
    made = pa.table(columns, names=list(COLUMNS)).replace_schema_metadata(table.schema.metadata)
    return made.unify_dictionaries()


def _configs(table: pa.Table) -> dict[str, Any]:
    text = (table.schema.metadata or {}).get(KEY)
    if text is None:
        return {}
    head = json.loads(text)
    if head.get("schema") != SCHEMA:
        raise CreditError(f"credit table of schema version {head.get('schema')!r}: this apportion reads {SCHEMA}, upgrade it")
    return dict(head["configs"])


def _filter(table: pa.Table, rows: Bool) -> pa.Table:
    import pyarrow as pa

    return table if rows.all() else table.filter(pa.array(rows))


def _codes(table: pa.Table, name: str) -> tuple[Int, list[Any]]:
    """Codes and names of a dictionary column (null: -1), equal names with equal codes."""
    column = table[name].combine_chunks()
    if hasattr(column, "chunks"):  # what combine_chunks leaves of a column without rows, or of a very long one
        import pyarrow as pa

        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return np.asarray(column.indices.fill_null(-1), dtype=np.int64), column.dictionary.to_pylist()


def _names_at(table: pa.Table, name: str, row: int) -> Any:
    return table[name][int(row)].as_py()


def _home(table: pa.Table, batch: Batch) -> tuple[Int, list[str]]:
    """Trajectory of each row in the batch (-1 where it has none), and the names of the batch's trajectories."""
    texts = name_texts("trajectory", batch.trajectory)
    names = [texts[c] for c in batch.trajectory.codes.tolist()]
    place = {name: i for i, name in enumerate(names)}
    codes, given = _codes(table, "trajectory")
    if (codes < 0).any():
        raise CreditError(f"row {int(np.argmax(codes < 0))} of the credit table names no trajectory")
    table_of = np.array([place.get(name, -1) for name in given], dtype=np.int64)
    return (table_of[codes] if given else codes), names


def _levels(table: pa.Table, told: dict[str, Any], level: Unit | None) -> tuple[Unit, tuple[Unit, ...]]:
    """The level of the units to read, and ``("token",)`` where their tokens have rows of their own."""
    codes, words = _codes(table, "level")
    there = levels_of([words[c] for c in np.unique(codes) if c >= 0])
    if level is not None and level not in there:
        raise CreditError(f"level = {level!r}: the rows of these trajectories are of level {', '.join(there) or 'none'}")
    if level is None and not there:
        raise CreditError("the credit table has no rows for the trajectories of this batch")
    # Without a header: token rows beside those of one level are what that level's tokens get.
    own = told.get("level") or (there[-1] if len(there) <= 2 else None)
    if level is None and len(there) > 1 and (own not in there or set(there) - {own, "token"}):
        raise CreditError(f"the table holds levels {', '.join(there)}: choose one with level=")
    chosen = level or (own if own in there else there[0])
    beside = chosen == own and chosen != "token" and "token" in there
    return chosen, (("token",) if beside else ())


def _place(
    table: pa.Table, home: Int, batch: Batch, names: list[str], level: Unit, told: dict[str, Any]
) -> tuple[Any, Bool, Bool]:
    """Value, whether scored and whether kept of every unit of the batch at a level, in the batch's order."""
    segment = told.get("segment")
    if level == "segment" and segment not in batch.spans:
        raise CreditError(f"the credit is per segment of table {segment!r}: the batch has spans {sorted(batch.spans)}")
    chosen, owner, unit, start, end = units(batch, level, segment)
    count = np.bincount(owner, minlength=batch.n_trajectories)
    given = np.bincount(home, minlength=batch.n_trajectories)
    wrong = given != count
    if wrong.any():
        i = int(np.argmax(wrong))
        what = "policy token" if level == "token" else level
        missing = "is not in the credit table" if not given[i] else f"has {given[i]} {what}s in the credit table"
        raise CreditError(f"trajectory {names[i]!r} {missing}, but {count[i]} in the batch")
    at = np.asarray(table["unit"].fill_null(-1), dtype=np.int64)
    order = np.lexsort((at, home))  # by trajectory, then unit: the order of ``units``
    wrong = at[order] != unit
    if wrong.any():
        k = int(np.argmax(wrong))
        i = int(owner[k])
        said = int(at[order][k])
        due = f"token {unit[k]}, the next policy token" if level == "token" else f"{level} {unit[k]}"
        raise CreditError(f"trajectory {names[i]!r}: the credit table has {level} {said} where the batch has {due}")
    for name, expected in (("start", start), ("end", end)):
        column = table[name]
        told_at = np.asarray(column.fill_null(-1), dtype=np.int64)[order]
        wrong = (told_at != expected) & (told_at >= 0)  # null: the table says nothing of tokens
        if wrong.any():
            k = int(np.argmax(wrong))
            raise CreditError(
                f"trajectory {names[int(owner[k])]!r}, {level} {unit[k]}: {name} is token {told_at[k]} in the credit table, "
                f"{expected[k]} in the batch: were they cut by the same tokenizer?"
            )
    n = batch.count(level) if level != "segment" else chosen.size
    value, scored, kept = np.zeros(n), np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    value[chosen] = np.asarray(table["value"].fill_null(0.0), dtype=np.float64)[order]
    scored[chosen] = np.asarray(table["value"].is_valid())[order]
    kept[chosen] = np.asarray(table["kept"].fill_null(True))[order]
    return value, scored, kept


def _loss(told: dict[str, Any], method: str) -> Loss:
    loss = dict(told.get("loss", {}))
    if loss.pop("clip", False):
        raise CreditError(
            f"{method}: its loss has a clip range per unit, which a table does not hold: "
            "give loss= (and the range), or make the credit anew with ap.assign"
        )
    return Loss(**loss)
