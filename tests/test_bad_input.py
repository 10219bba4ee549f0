"""Bad input of every kind, generated: an error before any work, with the field and the index."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apportion import Batch, Spans
from apportion.errors import BatchError
from apportion.ids import Codes

from .batches import random_batch

seeds = st.integers(0, 10_000)
some = settings(max_examples=50, deadline=None)
FLOATS = sorted(n for n, m in Batch.columns().items() if m["kind"] == "float")
COLUMNS = sorted(Batch.columns())


@some
@given(seeds, st.sampled_from(FLOATS), st.sampled_from([np.nan, np.inf, -np.inf]), st.data())
def test_what_is_not_finite_is_named(seed: int, name: str, bad: float, data: st.DataObject) -> None:
    batch = random_batch(seed)
    values = batch.need(name).copy()
    i = data.draw(st.integers(0, values.size - 1))
    values[i] = bad
    if name == "process":
        values[np.isnan(values)] = 0.0
        values[i] = bad
        if np.isnan(bad):  # null is not zero: an unscored step is allowed, and stays null
            assert np.isnan(batch.with_columns(process=values).need("process")[i])
            return
    with pytest.raises(BatchError, match=rf"^{name}\[{i}\] = {re.escape(str(bad))}"):
        batch.with_columns(**{name: values})


@some
@given(seeds, st.sampled_from(COLUMNS), st.sampled_from([-1, 1]))
def test_lengths_that_disagree_are_named_with_both_counts(seed: int, name: str, by: int) -> None:
    batch = random_batch(seed)
    meta = Batch.columns()[name]
    n = batch.count(meta["axis"])
    value = batch.need(name)
    listed = value.to_list() if isinstance(value, Codes) else list(value)
    wrong = listed[:-1] if by < 0 else [*listed, listed[0]]
    with pytest.raises(BatchError, match=rf"^{name} has {n + by} entries, expected {n}: one per {meta['axis']}"):
        batch.with_columns(**{name: wrong})


@some
@given(seeds, st.sampled_from(["turn_offsets", "row_turns", "trajectory_rows", "step_offsets"]), st.data())
def test_offsets_that_do_not_rise_are_named(seed: int, name: str, data: st.DataObject) -> None:
    batch = random_batch(seed, n=6)
    offsets = getattr(batch, name).copy()
    i = data.draw(st.integers(1, offsets.size - 2))
    offsets[i] = offsets[i + 1] + data.draw(st.integers(0, 3))
    with pytest.raises(BatchError, match=rf"{name}\[\d+:\d+\] = .*: offsets must rise"):
        batch.with_columns(**{name: offsets})


@some
@given(seeds, st.sampled_from(["turn_offsets", "row_turns", "trajectory_rows", "step_offsets"]), st.integers(1, 4))
def test_offsets_that_do_not_cover_are_named(seed: int, name: str, by: int) -> None:
    batch = random_batch(seed)
    offsets = getattr(batch, name).copy()
    with pytest.raises(BatchError, match=rf"{name}\[0\] = {by}: offsets start at 0"):
        batch.with_columns(**{name: np.concatenate(([by], offsets[1:] + by))})
    offsets[-1] += by
    with pytest.raises(BatchError, match=rf"{name}\[-1\] = {offsets[-1]}, but there are {offsets[-1] - by}"):
        batch.with_columns(**{name: offsets})


@some
@given(seeds, st.data())
def test_a_turn_without_an_action_token_is_named(seed: int, data: st.DataObject) -> None:
    batch = random_batch(seed)
    u = data.draw(st.integers(0, batch.n_turns - 1))
    action = batch.action.copy()
    action[batch.turn_offsets[u] : batch.turn_offsets[u + 1]] = False
    with pytest.raises(BatchError, match=rf"^turn {u} \(turn \d+ of trajectory \d+\) has no action token"):
        batch.with_columns(action=action)


@some
@given(seeds, st.data())
def test_ids_used_twice_are_named(seed: int, data: st.DataObject) -> None:
    batch = random_batch(seed)
    names = batch.trajectory.to_list()
    i = data.draw(st.integers(1, len(names) - 1))
    names[i] = names[data.draw(st.integers(0, i - 1))]
    with pytest.raises(BatchError, match=rf"^trajectory\[{i}\] = '{names[i]}' is used twice"):
        batch.with_columns(trajectory=Codes.of(names))


@some
@given(seeds, st.sampled_from(["group", "episode", "trajectory"]), st.data())
def test_names_that_must_be_there_are_named(seed: int, name: str, data: st.DataObject) -> None:
    batch = random_batch(seed)
    names = getattr(batch, name).to_list()
    i = data.draw(st.integers(0, len(names) - 1))
    names[i] = None
    with pytest.raises(BatchError, match=rf"^{name}\[{i}\] is None"):
        batch.with_columns(**{name: Codes.of(names)})


@some
@given(seeds, st.data())
def test_spans_outside_the_tokens_are_named(seed: int, data: st.DataObject) -> None:
    batch = random_batch(seed)
    start = data.draw(st.integers(-2, batch.n_tokens + 2))
    end = data.draw(st.integers(-2, start) if 0 <= start < batch.n_tokens else st.integers(-2, batch.n_tokens + 4))
    with pytest.raises(BatchError, match=rf"spans\['a'\]\[1\] = \[{start}, {end}\)"):
        batch.with_columns(spans={"a": Spans(np.array([0, start]), np.array([1, end]))})


ONE: dict[str, Any] = {"lengths": [[2], [1]]}
WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: Batch.from_turns([]), "lengths is empty"),
    (lambda: Batch.from_turns([[1], []]), r"lengths\[1\] = \[\]"),
    (lambda: Batch.from_turns([[1], [0, 2]]), r"lengths\[1\] = \[0, 2\]"),
    (lambda: Batch.from_turns(**ONE, rows="step"), "rows = 'step'"),
    (lambda: Batch.from_turns(**ONE, outcom=[1, 2]), "no column 'outcom'; did you mean outcome"),
    (lambda: Batch.from_turns(**ONE, outcome=["a", "b"]), "outcome: expected a 1-D array of floats"),
    (lambda: Batch.from_turns(**ONE, outcome=[["a"], ["b", "c"]]), "outcome"),
    (lambda: Batch.from_turns(**ONE, outcome=np.ones((2, 1))), r"outcome: expected a 1-D array of floats, got shape \(2, 1\)"),
    (lambda: Batch.from_turns(**ONE, ids=[1.5, 2, 3]), "ids: .*not whole numbers"),
    (lambda: Batch.from_turns(**ONE, ids=[np.inf, 2, 3]), "ids: .*not whole numbers"),
    (lambda: Batch.from_turns(**ONE, truncated=[2, 0]), "truncated: .*not all 0 or 1"),
    (lambda: Batch.from_turns(**ONE, success=[None, True]), "success: .*not all 0 or 1"),
    (lambda: Batch.from_turns(**ONE, action=[1, 2, 1]), "action: .*not all 0 or 1"),
    (lambda: Batch.from_turns(**ONE, action=[1, 1]), r"turn_offsets\[-1\] = 3, but there are 2 tokens"),
    (lambda: Batch.from_turns(**ONE, logp=[-1, 0.5, 0]), r"logp\[1\] = 0.5: expected at most 0"),
    (lambda: Batch.from_turns(**ONE, entropy=[1, -0.5, 0]), r"entropy\[1\] = -0.5: expected at least 0"),
    (lambda: Batch.from_turns(**ONE, text=["a", 3]), r"text\[1\] is int"),
    (lambda: Batch.from_turns(**ONE, text="ab"), "text has 1 entries, expected 2"),
    (lambda: Batch.from_turns(**ONE, agent=[{}, {}]), "agent: expected one hashable name"),
    (lambda: Batch.from_turns(**ONE, agent=Codes(np.array([0, 2]), ("a", "b"))), r"agent.codes\[1\] = 2"),
    (lambda: Batch.from_turns(**ONE, limit=2.5), "limit = 2.5: expected one int"),
    (lambda: Batch.from_turns(**ONE, limit=0), "limit = 0"),
    (lambda: Batch.from_turns(**ONE, steps=[[1, 1], [2]]), r"step_offsets\[-1\] = 4"),
    (lambda: Batch.from_turns(**ONE, steps=[[3]]), "step_offsets lack 2, where a turn starts"),
    (lambda: Batch.from_turns(**ONE, steps=[[1, 1], [1]], action=[1, 0, 1]), "step 1 has no action token"),
    (lambda: Batch.from_turns([[1, 1]], outcome=[1.0], turn_reward=[0.0, 1.0]), "count twice"),
    (lambda: Batch.from_turns(**ONE, spans={"a": Spans(np.array([0]), np.array([1, 2]))}), r"spans\['a'\]: start has shape"),
    (lambda: Batch.from_turns(**ONE, spans={"a": Spans(np.array([0]), np.array([1]), ("x", "y"))}), r"spans\['a'\].label has 2"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_bad_columns_are_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(BatchError, match=message):
        make()


def test_none_is_a_score_that_was_not_given() -> None:
    batch = Batch.from_turns([[1, 1]], process=[None, 0.5])
    assert np.isnan(batch.need("process")[0])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.binary(max_size=300), name=st.sampled_from(["parquet", "jsonl"]))
def test_junk_is_no_file(tmp_path: Path, junk: bytes, name: str) -> None:
    (tmp_path / "b").write_bytes(junk)
    read: Callable[[Path], Batch] = Batch.from_parquet if name == "parquet" else Batch.from_jsonl
    with pytest.raises(BatchError, match=re.escape(str(tmp_path / "b"))):
        read(tmp_path / "b")


def test_given_arrays_are_copied_and_those_of_a_batch_are_read_only() -> None:
    outcome = np.array([1.0, 0.0])
    batch = Batch.from_turns([[1], [1]], outcome=outcome)
    outcome[0] = 5.0
    assert batch.need("outcome")[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        batch.need("outcome")[0] = 2.0
    with pytest.raises(ValueError, match="read-only"):
        batch.turn_offsets[0] = 1
