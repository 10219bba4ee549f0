"""``apportion assign``: a log in, a credit table out; refusals come before the log is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import apportion as ap
from apportion import Batch, Credit
from apportion.cli import assign as command
from apportion.cli.settings import _parse, choose
from apportion.edges.credit_table import KEY
from apportion.errors import OptionError
from apportion.logs import Log

from .commands import typed as run


@pytest.fixture
def log(tmp_path: Path) -> Path:
    ap.example("agent").to_jsonl(tmp_path / "agent.jsonl")
    return tmp_path / "agent.jsonl"


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """The one line of an error."""
    status, out, err = run(capsys, *argv)
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    return err


def in_pieces(monkeypatch: pytest.MonkeyPatch, batch: Batch) -> list[str]:
    """A log that gives a group at a time (unless asked for all), and what it was asked for."""
    asked: list[str] = []

    def batches(self: Log, scope: str = "group", budget: int = 0, progress: Any = None) -> Iterator[Batch]:
        asked.append(scope)
        if scope == "batch":
            yield batch
            return
        for group in range(batch.count("group")):
            yield batch.take(np.flatnonzero(batch.within("row", "group") == group))

    monkeypatch.setattr(Log, "batches", batches)
    return asked


def test_credit_of_a_log_is_written_and_told(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    out = log.with_name("c.parquet")
    status, text, _ = run(capsys, "assign", log, "--method", "gigpo", "--method", "rloo", "-o", out, "--option", "gamma=0.9")
    assert status == 0
    assert f"wrote {out}: 64 rows for 8 trajectories" in text
    assert "56 turns  min -1.04" in text
    batch, table = ap.example("agent"), ap.read_credit(out)
    for method, made in (("gigpo", ap.assign(batch, "gigpo", gamma=0.9)), ("rloo", ap.assign(batch, "rloo"))):
        back = Credit.from_table(table, batch, method=method)
        assert isinstance(made, Credit)
        assert np.array_equal(back.unit, made.unit)
        assert dict(back.options) == dict(made.options)


def test_json_holds_counts_assumptions_and_configurations(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    out = log.with_name("c.csv")
    status, text, err = run(capsys, "assign", log, "--method", "carl", "-o", out, "--json")
    assert (status, err) == (0, "")
    told = json.loads(text)
    (carl,) = told["methods"]
    assert (told["rows"], told["trajectories"], told["groups"], told["out"]) == (56, 8, 2, str(out))
    credit = ap.assign(ap.example("agent"), "carl")
    assert isinstance(credit, Credit)
    assert credit.scored is not None
    assert (carl["units"], carl["null"]) == (56, int((~credit.scored).sum()))
    assert carl["dropped"] == ap.read_credit(out)["kept"].to_pylist().count(False)
    assert carl["config"] == ap.read_credit(out)["config"][0].as_py()
    assert (carl["min"], carl["max"]) == (credit.unit[credit.scored].min(), credit.unit[credit.scored].max())


def test_nulls_are_counted_and_are_no_part_of_the_spread() -> None:
    batch = Batch.from_turns([[1, 1], [1]])
    tally = command.Tally("turn")
    for values, scored in (([2.0, 0.0, 3.0], [True, False, True]), ([0.0, 4.0, 0.0], [False, True, False])):
        tally.add(Credit.of(batch, "turn", np.array(values), scored=np.array(scored)), None, 3, "c0ffee")
    facts = tally.facts()
    assert (facts["rows"], facts["units"], facts["null"], facts["dropped"]) == (6, 6, 3, 0)
    assert (facts["min"], facts["mean"], facts["max"]) == (2.0, 3.0, 4.0)
    assert "6 turns, 3 null (no opinion)  min 2  mean 3  max 4" in tally.line()


def test_a_log_in_pieces_gives_the_credit_of_the_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, log: Path
) -> None:
    batch = ap.example("agent")
    asked = in_pieces(monkeypatch, batch)
    out = log.with_name("c.parquet")
    status, *_ = run(capsys, "assign", log, "--method", "gigpo", "--method", "pooled_td", "--method", "grpo", "-o", out)
    assert status == 0
    assert asked == ["trajectory", "group", "batch"]  # a look at the columns; gigpo and grpo together; pooled_td
    table = ap.read_credit(out)
    for method in ("gigpo", "pooled_td", "grpo"):
        made = ap.assign(batch, method)
        assert isinstance(made, Credit)
        assert np.allclose(Credit.from_table(table, batch, method=method).unit, made.unit, rtol=0, atol=1e-12)


def test_options_can_widen_what_is_read_together(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, log: Path
) -> None:
    asked = in_pieces(monkeypatch, ap.example("agent"))
    run(capsys, "assign", log, "--method", "gae", "--fit", "-o", log.with_name("c.parquet"))
    assert asked[1:] == ["batch"]  # learning is from all of it
    asked.clear()
    run(capsys, "assign", log, "--method", "gae", "-o", log.with_name("d.parquet"))
    assert asked[1:] == ["trajectory"]


def test_fit_and_seed_are_in_the_configuration(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    tables = []
    for k, more in enumerate((["--seed", 1], ["--seed", 1], ["--seed", 2], ["--seed", 1, "--option", "folds=3"])):
        out = log.with_name(f"{k}.parquet")
        assert run(capsys, "assign", log, "--method", "gae", "--fit", "--level", "turn", "-o", out, *more)[0] == 0
        tables.append(ap.read_credit(out))
    first, again, other, folds = tables
    assert first.equals(again)
    configs = {t["config"][0].as_py() for t in tables}
    assert len(configs) == 3
    assert first["value"] != other["value"]
    told = json.loads(folds.schema.metadata[KEY])["configs"][folds["config"][0].as_py()]["config"]
    assert told["seed"] == 1
    assert told["evidence"]["value"]["fit"]["folds"] == 3


def test_level_gives_the_units_asked_for(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    out = log.with_name("c.parquet")
    run(capsys, "assign", log, "--method", "gigpo", "--level", "trajectory", "-o", out)
    table = ap.read_credit(out)
    assert table["level"].unique().to_pylist() == ["trajectory"]
    credit = ap.assign(ap.example("agent"), "gigpo")
    assert isinstance(credit, Credit)
    assert np.allclose(table["value"].to_numpy(), credit.on("trajectory"))
    assert "--level = 'word': expected one of token" in refused(
        capsys, "assign", log, "--method", "rloo", "--level", "word", "-o", log.with_name("d.parquet")
    )


# --- refusals -------------------------------------------------------------------------------------------
def test_a_method_the_log_cannot_feed_is_refused_before_it_is_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    batch = ap.example("agent").with_columns(state=None, value=None)
    batch.to_jsonl(tmp_path / "log.jsonl")
    monkeypatch.setattr(command, "credits", lambda *_: pytest.fail("the log was read"))
    err = refused(capsys, "assign", tmp_path / "log.jsonl", "--method", "gigpo", "-o", tmp_path / "c.parquet")
    assert "cannot feed gigpo: it has no state (state: give --state KEY or --state observation)" in err
    can, also = err.split("this log can feed ")[1].split("; with --fit also ")
    assert {"carl", "grpo", "rloo"} <= set(can.split(", "))
    assert "gigpo" not in can
    assert {"gae", "hcapo"} <= {word.strip() for word in also.split(",")}
    err = refused(capsys, "assign", tmp_path / "log.jsonl", "--method", "gae", "-o", tmp_path / "c.parquet")
    assert "it has no value (value: a column of the log, critic value before each token or --fit learns it)" in err
    assert run(capsys, "assign", tmp_path / "log.jsonl", "--method", "vineppo", "-o", tmp_path / "c.parquet")[0] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["log.jsonl"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--method", "gigpoo"], "no method 'gigpoo'; did you mean gigpo"),
        (["--method", "gigpo", "--method", "gigpo"], "method gigpo is named twice"),
        (["--method", "gigpo", "--option", "gama=1"], "gigpo has no option 'gama'; did you mean gamma?"),
        (["--method", "gigpo", "--option", "folds=3"], "gigpo has no option 'folds'; there are: eps, gamma"),
        (["--method", "gae", "--option", "folds=3"], "gae has no option 'folds'"),  # an option of its fit, without --fit
        (["--method", "rloo", "--option", "gigpo.gamma=1"], "gigpo is not among the methods rloo"),
        (["--method", "gigpo", "--option", "gamma"], "--option gamma: expected NAME=VALUE"),
        (["--method", "gigpo", "--option", "gamma=x"], "gamma=x (gigpo): expected a number (default 0.95)"),
        (["--method", "gigpo", "--option", "gamma=nan"], "expected a number"),
        (["--method", "gigpo", "--option", "gamma=2"], "gamma = 2.0: expected a discount between 0 and 1"),
        (["--method", "gigpo", "--option", "gamma=1", "--option", "gamma=0.5"], "gamma is given twice for gigpo"),
        (["--method", "gigpo", "--option", "spread=wide"], "expected none, sample, population (default none)"),
        (["--method", "rloo", "--fit"], "--fit: rloo has nothing to fit"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_command_is_one_line(
    capsys: pytest.CaptureFixture[str], log: Path, argv: list[str], message: str
) -> None:
    status, _, err = run(capsys, "assign", log, *argv, "-o", log.with_name("c.parquet"))
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert [p.name for p in log.parent.iterdir()] == [log.name]


def test_outputs_that_cannot_be_are_refused(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    there = log.with_name("c.parquet")
    there.write_bytes(b"precious")
    base = ["assign", log, "--method", "rloo", "-o"]
    assert "exists: --force replaces it" in refused(capsys, *base, there)
    assert there.read_bytes() == b"precious"
    assert "its name must end in .parquet or .jsonl or .csv" in refused(capsys, *base, log.with_name("c.xls"))
    assert "there is no folder" in refused(capsys, *base, log.parent / "none" / "c.parquet")
    assert "o such file" in run(capsys, "assign", log.with_name("x.jsonl"), *base[2:], log.with_name("d.parquet"))[2]
    assert run(capsys, *base, there, "--force")[0] == 0
    assert ap.read_credit(there).num_rows == 8


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), 130), (OSError(28, "No space left"), 2)])
def test_nothing_partial_is_left_when_it_stops_midway(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, log: Path, error: BaseException, status: int
) -> None:
    in_pieces(monkeypatch, ap.example("agent"))
    done: list[Any] = []

    def fails(one: Any, batch: Batch, rng: Any) -> Credit:
        if done:
            raise error
        done.append(batch)
        result = ap.assign(batch, "rloo")
        assert isinstance(result, Credit)
        return result

    monkeypatch.setattr(command, "one_credit", fails)
    got, out, err = run(capsys, "assign", log, "--method", "rloo", "-o", log.with_name("c.parquet"))
    assert got == status
    assert "wrote" not in out
    assert "nothing was written" in err or "No space left" in err
    assert done
    assert [p.name for p in log.parent.iterdir()] == [log.name]


# --- typed options --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("true", bool, True),
        ("No", bool, False),
        ("3", int, 3),
        ("3", float, 3.0),
        ("1e-3", float, 1e-3),
        ("none", float | None, None),
        ("0.5", float | None, 0.5),
        ("none", str | None, None),
        ("none", Literal["none", "sample"], "none"),
        ("a=b", str, "a=b"),
        ("2", int | str, 2),
        ("two", int | str, "two"),
    ],
)  # fmt: skip
def test_options_arrive_in_the_type_the_method_declares(text: str, hint: Any, value: Any) -> None:
    found = _parse(text, hint, None, "--option x")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("text", "hint"), [("1", bool), ("1.5", int), ("inf", float), ("", int), ("x", Literal["a"])])
def test_what_no_type_takes_is_refused(text: str, hint: Any) -> None:
    with pytest.raises(OptionError, match="expected"):
        _parse(text, hint, None, "--option x")


def test_what_only_python_can_give_says_so() -> None:
    with pytest.raises(OptionError, match="which only Python can give"):
        _parse("1", list[int], None, "--option x")


def test_an_option_goes_to_every_method_that_has_it_or_to_the_one_named() -> None:
    pairs = ["gamma=0.5", "gigpo.eps=0.001", "spread=sample"]
    gigpo, grpo = choose(["gigpo", "grpo"], pairs)
    assert gigpo.options == {"gamma": 0.5, "eps": 0.001, "spread": "sample"}
    assert grpo.options == {"spread": "sample"}
