"""The long credit table: one row per credited unit, for any method, level and source.

Column      What it holds
trajectory  its name; names that are no text as JSON (3 -> "3")
group, episode, agent   names of what the trajectory belongs to, null where there are none
level       token, segment, step, turn or trajectory
unit        index of the unit in its trajectory, from 0 (of a token: among all tokens, observations too)
start, end  the unit's tokens, counted from the start of its trajectory; end is exclusive
value       float64; null: the method has no opinion (which is not 0)
kept        whether any of its policy tokens enters the loss and its denominator
kind        advantage, reward or weight
method, version   who made it; version is apportion's (or that of whoever wrote the table)
config      12 hex digits that stand for method, options and how evidence came; the header holds them in words
stderr      standard error of the value, null where unknown
source      estimate, exact (ground truth is one more method) or human

A method's values at its own level are its ``unit`` values. Where tokens cannot be had from those
(each policy token has the value of its unit), rows of level token stand beside them. At another
level the value is the mean over the unit's scored policy tokens. Tokens that the environment wrote
are not credited and have no rows.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import BatchError, CreditError
from ..ids import Codes
from ..structure import Bool, Float, Int
from ..words import Unit, check_word
from .credit_config import about, config_hash, configuration, version
from .plain import plain

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

SCHEMA = 1
KEY = b"apportion.credit"  # of the metadata: {"schema": 1, "configs": {hash: about}}

Source = Literal["estimate", "exact", "human"]

NAMES = ("trajectory", "group", "episode", "agent")
WORDS = ("level", "kind", "method", "version", "config", "source")
COLUMNS = (*NAMES, "level", "unit", "start", "end", "value", "kept", "kind", "method", "version", "config", "stderr", "source")


def schema() -> pa.Schema:
    """The Arrow schema of every credit table; what repeats is dictionary-encoded."""
    import pyarrow as pa

    word = pa.dictionary(pa.int32(), pa.string())
    kinds = {"unit": pa.int64(), "start": pa.int64(), "end": pa.int64(), "value": pa.float64(), "stderr": pa.float64()}
    return pa.schema([(name, kinds.get(name, pa.bool_() if name == "kept" else word)) for name in COLUMNS])


def credit_table(
    credit: Credit, *, level: Unit | None = None, source: Source = "estimate", stderr: Float | None = None, **more: Any
) -> pa.Table:
    """The rows of ``credit``, a trajectory after another.

    level: default the method's own (and tokens, where those cannot be had from it). stderr: one per
    unit of that level, NaN where unknown. more: settings besides the options that decide the values
    (seed=0), for the configuration. Raises ``CreditError``.

    >>> credit_table(assign(batch, "rloo")).to_pylist()  # doctest: +SKIP
    """
    import pyarrow as pa

    check_word(source, Source, "source")
    if level is not None:
        check_word(level, Unit, "level")
    if level == "segment" and credit.level != "segment":
        raise CreditError(f"level = 'segment': credit per {credit.level} says nothing of segments; choose token or turn")
    levels = [level or credit.level]
    if level is None and not spreads(credit):
        levels.append("token")
    config = configuration(credit, **more)
    key = config_hash(config)
    words = {"kind": credit.kind, "method": credit.method, "version": version(), "config": key, "source": source}
    parts = [_rows(credit, at, words, stderr if at == levels[0] else None) for at in levels]
    head = {"schema": SCHEMA, "configs": {key: about(credit, config)}}
    return pa.concat_tables(parts).replace_schema_metadata({KEY: json.dumps(head, ensure_ascii=False)})


def spreads(credit: Credit) -> bool:
    """Whether the tokens follow from the units: value of the unit on its policy tokens, kept as a whole."""
    if credit.level == "token":
        return True
    if credit.level == "segment":
        return False
    batch = credit.batch
    owner = batch.within("token", credit.level)
    if not np.array_equal(credit.token, np.where(batch.action, credit.unit[owner], 0.0)):
        return False
    if credit.keep is None:
        return True
    kept = np.add.reduceat(credit.kept, batch.offsets(credit.level)[:-1], dtype=np.int64)
    return bool(((kept == 0) | (kept == batch.action_count(credit.level))).all())


def on_level(credit: Credit, level: Unit) -> tuple[Float, Bool]:
    """Values of all units of a level and which of them are scored (unscored ones have 0).

    Another level than the credit's own gets the mean over the unit's scored policy tokens.
    """
    scored = np.ones(credit.unit.size, dtype=np.bool_) if credit.scored is None else credit.scored
    if level == credit.level:
        return np.where(scored, credit.unit, 0.0), scored
    batch = credit.batch
    if credit.level != "segment":
        opinion = batch.action & scored[batch.within("token", credit.level)]
    else:
        table = batch.spans[credit.segment or ""]
        cover = np.zeros(batch.n_tokens + 1, dtype=np.int64)
        np.add.at(cover, table.start[scored], 1)
        np.add.at(cover, table.end[scored], -1)
        opinion = batch.action & (np.cumsum(cover[:-1]) > 0)
    opinion |= credit.token != 0  # credit is an opinion, wherever it stands
    if level == "token":
        return credit.token, opinion
    owner, n = batch.within("token", level)[opinion], batch.count(level)
    count = np.bincount(owner, minlength=n)
    mean = np.bincount(owner, weights=credit.token[opinion], minlength=n) / np.maximum(count, 1)
    return mean, count > 0


def units(batch: Batch, level: Unit, segment: str | None = None) -> tuple[Int, Int, Int, Int, Int]:
    """The units that have rows, by trajectory: which ones, their trajectory, index in it, and span of tokens in it."""
    first_token = batch.offsets("trajectory")
    if level == "segment":
        table = batch.spans[segment or ""]
        owner = batch.within("token", "trajectory")[table.start]
        chosen = np.argsort(owner, kind="stable")
        owner, start, end = owner[chosen], table.start[chosen], table.end[chosen]
    elif level == "token":
        chosen = np.flatnonzero(batch.action)
        owner, start, end = batch.within("token", "trajectory")[chosen], chosen, chosen + 1
    else:
        offsets = batch.offsets(level)
        chosen, owner = np.arange(offsets.size - 1), batch.within(level, "trajectory")
        start, end = offsets[:-1], offsets[1:]
    start, end = start - first_token[owner], end - first_token[owner]
    if level == "token":
        return chosen, owner, start, start, end
    first = np.searchsorted(owner, np.arange(batch.n_trajectories))
    return chosen, owner, np.arange(owner.size) - first[owner], start, end


def _rows(credit: Credit, level: Unit, words: dict[str, str], stderr: Float | None) -> pa.Table:
    import pyarrow as pa

    batch = credit.batch
    chosen, owner, unit, start, end = units(batch, level, credit.segment)
    value, scored = on_level(credit, level)
    if stderr is not None and stderr.shape != value.shape:
        raise CreditError(f"stderr has shape {stderr.shape}, expected ({value.size},): one per {level}")
    n = chosen.size
    columns: dict[str, Any] = {"trajectory": _names("trajectory", batch.trajectory, owner, n)}
    for name in NAMES[1:]:
        columns[name] = _names(name, getattr(batch, name), owner, n)
    columns |= {"level": _word(level, n), "unit": unit, "start": start, "end": end}
    columns["value"] = pa.array(value[chosen], mask=~scored[chosen])
    columns["kept"] = kept_on(credit, level)[chosen]
    columns |= {name: _word(word, n) for name, word in words.items()}
    error = np.full(n, np.nan) if stderr is None else stderr[chosen]
    columns["stderr"] = pa.array(error, mask=np.isnan(error))
    return pa.table({name: columns[name] for name in COLUMNS}, schema=schema())


def kept_on(credit: Credit, level: Unit) -> Bool:
    """Whether any policy token of each unit enters the loss."""
    if level == "token":
        return credit.kept
    total = np.concatenate(([0], np.cumsum(credit.kept, dtype=np.int64)))
    if level == "segment":
        table = credit.batch.spans[credit.segment or ""]
        return np.asarray(total[table.end] > total[table.start])
    return np.asarray(np.diff(total[credit.batch.offsets(level)]) > 0)


def _word(word: str, n: int) -> pa.DictionaryArray:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, dtype=np.int32)), pa.array([word], pa.string()))


def _names(name: str, codes: Codes | None, owner: Int, n: int) -> pa.DictionaryArray:
    """The name of each row's trajectory (or of its group …), null where there is none."""
    import pyarrow as pa

    if codes is None:
        return pa.DictionaryArray.from_arrays(pa.nulls(n, pa.int32()), pa.array([], pa.string()))
    index = codes.codes[owner].astype(np.int32)
    try:
        texts = pa.array(name_texts(name, codes), pa.string())
    except UnicodeEncodeError as error:
        raise CreditError(f"{name}: a name is not valid Unicode ({error})") from None
    return pa.DictionaryArray.from_arrays(pa.array(index, mask=index < 0), texts)


def name_texts(name: str, codes: Codes) -> list[str]:
    """Names as text; two that would look the same (3 and "3") are refused."""
    try:
        texts = [v if isinstance(v, str) else json.dumps(plain(v, f"{name} name {v!r}")) for v in codes.names]
    except BatchError as error:
        raise CreditError(str(error)) from None
    if len(set(texts)) < len(texts):
        twice = next(text for k, text in enumerate(texts) if text in texts[:k])
        raise CreditError(f"{name}: two names are written {twice!r}, as a text and as something else: rename one")
    return texts


def levels_of(words: list[str]) -> list[Unit]:
    """The levels that appear, as the words a batch knows."""
    stray = sorted(set(words) - set(get_args(Unit)))
    if stray:
        raise CreditError(f"level '{stray[0]}' is none a batch has: expected one of {', '.join(get_args(Unit))}")
    return [unit for unit in get_args(Unit) if unit in words]
