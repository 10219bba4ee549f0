"""The long credit table: lossless, null is not zero, joined back or refused, whole or not there."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

import apportion as ap
from apportion import Batch, Credit, Loss
from apportion.edges import credit_file
from apportion.edges.credit_config import config_hash
from apportion.edges.credit_join import Which, credits_of
from apportion.edges.credit_table import COLUMNS, KEY, on_level, schema
from apportion.errors import CreditError

from .batches import random_batch

SUFFIXES = (".parquet", ".jsonl", ".csv")


def small(**more: Any) -> Batch:
    columns: dict[str, Any] = {"outcome": [1.0, 0.0], "group": ["g", "g"], "trajectory": ["a", "b"], **more}
    action = [False, True, True, False, True, True, True, False, False]  # observation tokens at both ends of a turn
    return Batch.from_turns([[2, 3], [4]], action=np.array(action), **columns)


def write(path: Path, *credits: Credit, **how: Any) -> Path:
    with ap.CreditWriter(path) as out:
        for credit in credits:
            out.append(credit, **how)
    return path


def equal(a: Credit, b: Credit) -> bool:
    """Same values, bit by bit, and the same opinion and place in the loss of every unit."""
    scored = [np.ones(c.unit.size, dtype=np.bool_) if c.scored is None else c.scored for c in (a, b)]
    own = a.batch.action if a.level == "token" else np.ones(a.unit.size, dtype=np.bool_)
    same = np.array_equal(np.where(scored[0], a.unit, 0.0)[own], np.where(scored[1], b.unit, 0.0)[own])
    same &= np.array_equal(scored[0][own], scored[1][own])
    return same and np.array_equal(a.token, b.token) and np.array_equal(a.kept, b.kept) and (a.level, a.kind) == (b.level, b.kind)


# --- rows -----------------------------------------------------------------------------------------------
def test_one_row_a_turn_with_its_place_in_the_trajectory() -> None:
    credit = Credit.of(small(agent=["x", None]), "turn", np.array([0.5, -0.25, 0.125]), method="mine", options={"k": 2})
    rows = credit.to_table().to_pylist()
    assert tuple(rows[0]) == COLUMNS
    assert [(r["trajectory"], r["unit"], r["start"], r["end"], r["value"]) for r in rows] == [
        ("a", 0, 0, 2, 0.5),
        ("a", 1, 2, 5, -0.25),
        ("b", 0, 0, 4, 0.125),
    ]
    assert [r["agent"] for r in rows] == ["x", "x", None]
    assert {r["group"] for r in rows} == {"g"}
    assert {(r["level"], r["kind"], r["method"], r["version"], r["source"]) for r in rows} == {
        ("turn", "advantage", "mine", ap.__version__, "estimate")
    }
    assert {r["episode"] for r in rows} == {r["stderr"] for r in rows} == {None}


def test_tokens_of_the_environment_have_no_rows() -> None:
    credit = Credit.of(small(), "token", np.array([0.0, 1, 2, 0, 3, 4, 5, 0, 0]))
    rows = credit.to_table().to_pylist()
    assert [(r["trajectory"], r["unit"], r["start"], r["value"]) for r in rows] == [
        ("a", 1, 1, 1.0), ("a", 2, 2, 2.0), ("a", 4, 4, 3.0), ("b", 0, 0, 4.0), ("b", 1, 1, 5.0),
    ]  # fmt: skip


def test_null_is_not_zero_and_dropped_is_neither() -> None:
    batch = small()
    keep = np.array([True] * 5 + [False] * 4)
    credit = Credit.of(batch, "turn", np.array([0.0, 0.0, 1.0]), scored=np.array([True, False, True]), keep=keep)
    rows = credit.to_table().to_pylist()
    assert [r["value"] for r in rows] == [0.0, None, 1.0]
    assert [r["kept"] for r in rows] == [True, True, False]
    assert equal(Credit.from_table(credit.to_table(), batch), credit)


def test_tokens_stand_beside_units_where_they_cannot_be_had_from_them() -> None:
    batch = small()
    plain = Credit.of(batch, "turn", np.array([1.0, 2.0, 3.0]))
    token = np.array([0.0, 1, 0.5, 0, 1.5, 3, 3, 0, 0])
    uneven = plain.with_fields(token=token)
    half = plain.with_fields(keep=np.array([True, True, True, True, False, True, True, True, True]))
    assert plain.to_table()["level"].unique().to_pylist() == ["turn"]
    for credit in (uneven, half):
        assert credit.to_table()["level"].unique().to_pylist() == ["turn", "token"]
        assert equal(Credit.from_table(credit.to_table(), batch), credit)


def test_another_level_is_the_mean_over_scored_policy_tokens() -> None:
    batch = small()
    credit = Credit.of(batch, "turn", np.array([1.0, 4.0, 0.0]), scored=np.array([True, True, False]))
    rows = credit.to_table(level="trajectory").to_pylist()
    assert [r["value"] for r in rows] == [pytest.approx((1 + 4 + 4) / 3), None]  # turn 0 has one policy token, turn 1 two
    tokens = credit.to_table(level="token").to_pylist()
    assert [r["value"] for r in tokens] == [1.0, 4.0, 4.0, None, None]
    part = Credit.of(batch, "turn", np.array([1.0, 0.0, 0.0]), scored=np.array([True, False, True]))
    assert on_level(part, "trajectory")[0].tolist() == [1.0, 0.0]  # what has no opinion is not averaged in as 0


def test_segments_keep_their_order_and_their_tokens() -> None:
    batch = random_batch(3, n=6)
    table = batch.spans["option"]
    token = np.where(batch.action, np.random.default_rng(0).normal(size=batch.n_tokens), 0.0)
    values = np.array([0.1, 0.2, 0.3, 0.4])
    credit = Credit(batch=batch, level="segment", unit=values, token=token, segment="option")
    found = credit.to_table()
    assert found["level"].unique().to_pylist() == ["segment", "token"]
    assert found.num_rows == table.start.size + batch.action.sum()
    back = Credit.from_table(found, batch)
    assert equal(back, credit)
    assert back.segment == "option"
    with pytest.raises(CreditError, match="nothing of segments"):
        Credit.of(batch, "turn", np.zeros(batch.n_turns)).to_table(level="segment")


def test_standard_error_and_source_are_the_writer_s_to_say() -> None:
    credit = Credit.of(small(), "turn", np.zeros(3))
    rows = credit.to_table(source="exact", stderr=np.array([0.1, np.nan, 0.0])).to_pylist()
    assert [r["stderr"] for r in rows] == [0.1, None, 0.0]
    assert {r["source"] for r in rows} == {"exact"}
    with pytest.raises(ValueError, match="source = 'guess'"):
        credit.to_table(source="guess")
    with pytest.raises(CreditError, match=r"stderr has shape \(2,\), expected \(3,\)"):
        credit.to_table(stderr=np.zeros(2))


def test_names_that_would_look_the_same_are_refused() -> None:
    batch = Batch.from_turns([[1], [1]], outcome=[1.0, 0.0], trajectory=[3, "3"])
    with pytest.raises(CreditError, match="trajectory: two names are written '3'"):
        Credit.of(batch, "turn", np.zeros(2)).to_table()


# --- the configuration ----------------------------------------------------------------------------------
def test_the_hash_of_a_configuration_is_stable() -> None:
    assert config_hash({"method": "gigpo", "options": {"gamma": 0.95, "single": "error"}, "evidence": {}}) == "c11f2983ce93"
    credit = Credit.of(small(), "turn", np.zeros(3), method="m", options={"b": 1, "a": None})
    again = Credit.of(small(), "turn", np.ones(3), method="m", options={"a": None, "b": 1.0})
    assert set(credit.to_table()["config"].to_pylist()) == set(again.to_table()["config"].to_pylist())


@pytest.mark.parametrize(
    "change",
    [
        {"method": "n"},
        {"options": {"a": 1.5}},
        {"options": {"a": "1"}},
        {"options": {"a": True}},
        {"options": {"a": 1, "b": None}},
        {"options": {"a": np.array([1.0])}},
        {"evidence": {"value": "given"}},
    ],
)
def test_the_hash_changes_with_every_setting(change: dict[str, Any]) -> None:
    def of(**fields: Any) -> str:
        return str(Credit.of(small(), "turn", np.zeros(3), **fields).to_table()["config"][0])

    plain = {"method": "m", "options": {"a": 1}, "evidence": {}}
    assert of(**plain) != of(**{**plain, **change})


def test_defaults_options_and_how_evidence_came_are_in_the_header() -> None:
    batch = ap.example("agent")
    learned = ap.assign(batch, "gae", fit=True, rng=0, lam=0.5)
    assert isinstance(learned, Credit)
    head = json.loads(learned.to_table(seed=0).schema.metadata[KEY])["configs"]
    ((key, told),) = head.items()
    assert config_hash(told["config"]) == key
    assert told["config"]["options"]["lam"] == 0.5
    assert told["config"]["options"].keys() == {n for n in ap.get("gae").options if n != "rng"}
    assert told["config"]["evidence"]["value"]["fit"].keys() >= {"folds", "ridge"}
    assert told["config"]["evidence"]["value"]["provenance"] == "learned"
    assert told["config"]["seed"] == 0
    column = ap.assign(batch, "gae", lam=0.5)
    assert isinstance(column, Credit)
    assert column.evidence == {"value": "column"}
    assert ap.assign(batch, "gae", lam=0.5, value=batch.value).evidence == {"value": "given"}  # type: ignore[union-attr]


def test_an_option_no_file_can_hold_is_named() -> None:
    credit = Credit.of(small(), "turn", np.zeros(3), method="m", options={"f": print})
    with pytest.raises(CreditError, match=r"m: options\['f'\] is builtin"):
        credit.to_table()


# --- there and back -------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("method", ["grpo", "gigpo", "gae", "pooled_td", "carl", "pure", "tempo"])
def test_every_kind_of_credit_survives_the_file(tmp_path: Path, suffix: str, method: str) -> None:
    batch = ap.example("math")
    credit = ap.assign(batch, method)
    assert isinstance(credit, Credit)
    table = ap.read_credit(write(tmp_path / f"c{suffix}", credit))
    assert table.schema.equals(schema())
    back = Credit.from_table(table, batch)
    assert equal(back, credit)
    assert back.method == method
    if suffix == ".parquet":  # which has a header
        assert (dict(back.options), back.evidence) == (dict(credit.options), credit.evidence)
        assert (back.loss.ratio, back.loss.denominator) == (credit.loss.ratio, credit.loss.denominator)


def test_joined_credit_feeds_the_trainer_s_tensors(tmp_path: Path) -> None:
    mask = np.array([[1, 1, 0, 1], [1, 0, 0, 1]])
    batch = Batch.from_padded(response_mask=mask, outcome=np.array([1.0, 0.0]), group=["a", "a"], turns="mask")
    credit = ap.assign(batch, "rloo")
    assert isinstance(credit, Credit)
    back = Credit.from_table(ap.read_credit(write(tmp_path / "c.parquet", credit)), batch)
    assert np.array_equal(back.to_padded(), credit.to_padded())


def test_many_credits_in_one_file_are_chosen_by_name(tmp_path: Path) -> None:
    batch = ap.example("agent")
    both = [ap.assign(batch, "gigpo", gamma=g) for g in (0.5, 1.0)]
    rloo = ap.assign(batch, "rloo")
    table = ap.read_credit(write(tmp_path / "c.parquet", *both, rloo))  # type: ignore[arg-type]
    found = credits_of(table)
    assert [w.method for w in found] == ["gigpo", "gigpo", "rloo"]
    with pytest.raises(CreditError, match="the table holds 3 credits, choose one: method='gigpo', config="):
        Credit.from_table(table, batch)
    for which, credit in zip(found, (*both, rloo), strict=True):
        assert equal(Credit.from_table(table, batch, **which._asdict()), credit)  # type: ignore[arg-type]
    assert found[2] == Which("rloo", str(rloo.to_table()["config"][0]), "estimate")  # type: ignore[union-attr]
    with pytest.raises(CreditError, match="no credit of method 'grpo'"):
        Credit.from_table(table, batch, method="grpo")


def test_a_log_in_pieces_is_joined_piece_by_piece(tmp_path: Path) -> None:
    whole = random_batch(1, n=8)
    pieces = [whole.take(np.flatnonzero(whole.within("row", "trajectory") == i)) for i in (5, 2, 7)]
    rng = np.random.default_rng(0)
    credits = [Credit.of(p, "turn", rng.normal(size=p.n_turns), method="m") for p in pieces]
    with ap.CreditWriter(tmp_path / "c.parquet", rows=1) as out:  # a row group each
        for k, credit in enumerate(credits):
            out.append(credit)
            assert out.rows == sum(c.unit.size for c in credits[: k + 1])  # nothing waits in memory
    assert pq.ParquetFile(tmp_path / "c.parquet").num_row_groups == sum(c.unit.size for c in credits)
    table = ap.read_credit(tmp_path / "c.parquet")
    for piece, credit in zip(pieces, credits, strict=True):
        assert equal(Credit.from_table(table, piece), credit)
        alone = ap.read_credit(tmp_path / "c.parquet", piece)
        assert alone["trajectory"].unique().to_pylist() == [piece.trajectory.name(0)]
        assert equal(Credit.from_table(alone, piece), credit)


def test_credit_made_elsewhere_needs_four_columns() -> None:
    batch = small()
    table = pa.table({"trajectory": ["b", "a", "a"], "level": ["turn"] * 3, "unit": [0, 1, 0], "value": [3.0, None, 1.0]})
    credit = Credit.from_table(table, batch)
    assert credit.unit.tolist() == [1.0, 0.0, 3.0]
    assert credit.scored is not None
    assert credit.scored.tolist() == [True, False, True]
    with pytest.raises(CreditError, match="no column 'level'"):
        Credit.from_table(table.drop(["level"]), batch)
    numbered = Batch.from_turns([[1], [1]], outcome=[1.0, 0.0], trajectory=[0, 1])
    ints = pa.table({"trajectory": [1, 0], "level": ["turn"] * 2, "unit": [0, 0], "value": [1, 2]})
    assert Credit.from_table(ints, numbered).unit.tolist() == [2.0, 1.0]


def rows_of(credit: Credit) -> list[dict[str, Any]]:
    return list(credit.to_table().to_pylist())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:1] + rows[2:], "trajectory 'a' has 1 turns in the credit table, but 2 in the batch"),
        (lambda rows: rows[:2], "trajectory 'b' is not in the credit table, but 1 in the batch"),
        (lambda rows: [*rows, rows[0]], "trajectory 'a' has 3 turns in the credit table, but 2"),
        (lambda rows: [{**rows[0], "unit": 1}, *rows[1:]], "'a': the credit table has turn 1 where the batch has turn 0"),
        (lambda rows: [{**rows[0], "end": 3}, *rows[1:]], "trajectory 'a', turn 0: end is token 3 in the credit table, 2 in"),
        (lambda rows: [{**r, "trajectory": "z" + r["trajectory"]} for r in rows], "no rows for the trajectories of this batch"),
        (lambda rows: [{**r, "level": "phrase"} for r in rows], "level 'phrase' is none a batch has"),
        (lambda rows: [{**rows[0], "value": float("inf")}, *rows[1:]], r"unit\[0\] is not finite"),
        (lambda rows: [{**rows[0], "kind": "weight"}, *rows[1:]], "the rows are of kinds advantage, weight"),
        (lambda rows: [{**rows[0], "trajectory": None}, *rows[1:]], "row 0 of the credit table names no trajectory"),
    ],
)  # fmt: skip
def test_a_table_that_does_not_fit_the_batch_is_refused_by_trajectory(change: Any, message: str) -> None:
    batch = small()
    rows = rows_of(Credit.of(batch, "turn", np.array([1.0, 2.0, 3.0])))
    with pytest.raises(CreditError, match=message):
        Credit.from_table(pa.Table.from_pylist(change(rows)), batch)


def test_a_clip_range_per_unit_does_not_vanish_unseen() -> None:
    batch = small()
    credit = Credit.of(batch, "turn", np.zeros(3), method="m", loss=Loss(ratio="turn", clip=np.ones((3, 2))))
    with pytest.raises(CreditError, match="m: its loss has a clip range per unit"):
        Credit.from_table(credit.to_table(), batch)
    assert Credit.from_table(credit.to_table(), batch, loss=credit.loss).loss is credit.loss
    plain = credit.with_fields(loss=Loss(ratio="sequence", denominator="limit"))
    assert Credit.from_table(plain.to_table(), batch).loss == plain.loss


# --- files ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_midway_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    credit = Credit.of(small(), "turn", np.zeros(3))
    path = tmp_path / f"c{suffix}"
    path.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), ap.CreditWriter(path, rows=1) as out:  # noqa: PT012
        out.append(credit)
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"before"

    calls: list[bool] = []

    def fails(self: Any, last: bool = False) -> None:
        calls.append(last)
        raise OSError("disk full")

    monkeypatch.setattr(credit_file.CreditWriter, "_flush", fails)
    with pytest.raises(OSError, match="disk full"), ap.CreditWriter(path) as out:  # at the very end
        out.append(credit)
    assert calls == [True]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"before"


def test_a_trajectory_that_comes_twice_is_refused(tmp_path: Path) -> None:
    credit = Credit.of(small(), "turn", np.zeros(3), method="m")
    other = Credit.of(small(), "turn", np.zeros(3), method="n")
    path = tmp_path / "c.parquet"
    with pytest.raises(CreditError, match="trajectory 'a' comes twice"), ap.CreditWriter(path) as out:  # noqa: PT012
        out.append(credit)
        out.append(other)
        out.append(credit)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_without_rows_can_be_read(tmp_path: Path, suffix: str) -> None:
    assert ap.read_credit(write(tmp_path / f"c{suffix}")).num_rows == 0


def test_files_that_are_no_credit_are_named(tmp_path: Path) -> None:
    for name, content, message in (
        ("a.parquet", b"PAR1 broken", "not a readable credit table"),
        ("b.csv", b"x,y\n1,2\n", "no column 'trajectory'"),
        ("c.jsonl", b"{]\n", "not a readable credit table"),
        ("d.txt", b"", "a credit table ends in"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CreditError, match=message) as caught:
            ap.read_credit(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(CreditError, match="no such file"):
        ap.read_credit(tmp_path / "none.parquet")


def test_texts_with_commas_quotes_and_nothing_survive(tmp_path: Path) -> None:
    names = ['a,"b"\n', "", "é\u2028"]
    batch = Batch.from_turns([[1]] * 3, outcome=[1.0] * 3, trajectory=names, group=["g", "g", "h"], agent=["", None, "x"])
    credit = Credit.of(batch, "turn", np.array([0.1, 1 / 3, 1e-300]))
    for suffix in SUFFIXES:
        table = ap.read_credit(write(tmp_path / f"c{suffix}", credit))
        assert table["trajectory"].to_pylist() == names
        assert table["agent"].to_pylist() == ["", None, "x"]
        assert table["value"].to_pylist() == credit.unit.tolist()


def test_a_million_turns_take_seconds(tmp_path: Path) -> None:
    n = 50_000
    batch = Batch.from_turns([[1] * 20] * n, trajectory=[f"t{i}" for i in range(n)])
    credit = Credit.of(batch, "turn", np.random.default_rng(0).normal(size=20 * n))
    begun = time.perf_counter()
    path = write(tmp_path / "c.parquet", credit)
    back = Credit.from_table(ap.read_credit(path), batch)
    assert time.perf_counter() - begun < 15  # 1.5 s on a quiet core: only a loop over rows would be slower
    assert np.array_equal(back.unit, credit.unit)
