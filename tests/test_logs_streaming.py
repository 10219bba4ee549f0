"""A log is read in pieces: whole groups, however they lie, in a memory that does not grow with the file."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import apportion as ap
from apportion.errors import OptionError
from apportion.logs import open_log
from apportion.logs.pieces import pieces

from .test_logs_chat import ASK, CHAT, LOOK, SAY, SEEN, lines

sizes = st.lists(st.tuples(st.integers(-1, 4), st.integers(1, 50)), min_size=1, max_size=30)


@settings(max_examples=200, deadline=None)
@given(sizes, st.integers(1, 120), st.sampled_from(["trajectory", "group"]))
def test_pieces_hold_everything_once_groups_whole_and_no_more_than_the_budget(items: Any, budget: int, scope: Any) -> None:
    group = np.unique([g for g, _ in items], return_inverse=True)[1] if min(g for g, _ in items) >= 0 else np.full(len(items), -1)
    size = np.asarray([s for _, s in items])
    found = list(pieces(scope, group.astype(np.int64), size, budget))
    assert sorted(np.concatenate(found).tolist()) == list(range(len(items)))
    assert all((np.diff(p) > 0).all() for p in found), "the log's order"
    unit = np.arange(len(items)) if scope == "trajectory" or group.min() < 0 else group
    for p in found:
        assert size[p].sum() <= budget or np.unique(unit[p]).size == 1
        others = np.setdiff1d(np.arange(len(items)), p)
        assert not np.intersect1d(unit[p], unit[others]).size
    if scope == "trajectory":  # no piece could have taken what the next begins with
        assert all(size[p].sum() + size[q[0]] > budget for p, q in itertools.pairwise(found))


def test_all_at_once_and_unknown_scopes(tmp_path: Path) -> None:
    log = open_log(lines(tmp_path / "a", *[{"messages": CHAT, "uid": i} for i in range(5)]))
    assert [b.n_trajectories for b in log.batches("batch", 1)] == [5]
    assert [b.n_trajectories for b in log.batches("group", 1)] == [1] * 5
    assert [b.n_trajectories for b in log.batches("group", 10**9)] == [5]
    with pytest.raises(ValueError, match="scope = 'groups'"):
        next(log.batches("groups"))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="budget = 0"):
        next(log.batches("group", 0))


@pytest.mark.parametrize("method", ["rloo", "gigpo", "tempo", "pooled_td"])
def test_credit_of_the_pieces_is_credit_of_the_whole(tmp_path: Path, method: str) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"messages": [ASK, *[LOOK, SEEN] * int(rng.integers(3)), SAY], "uid": f"p{i % 7}", "reward": float(rng.random())}
        for i in range(40)
    ]
    log = open_log(lines(tmp_path / "a", *rows))
    scope = ap.registry.get(method).scope_for({})
    whole = ap.assign(log.batch(), method)
    assert isinstance(whole, ap.Credit)
    expected = {whole.batch.trajectory.name(i): whole.token[a:b] for i, (a, b) in enumerate(_tokens(whole.batch))}
    n = 0
    for batch in log.batches(scope, 3000):
        credit = ap.assign(batch, method)
        assert isinstance(credit, ap.Credit)
        for i, (a, b) in enumerate(_tokens(batch)):
            np.testing.assert_allclose(credit.token[a:b], expected[batch.trajectory.name(i)], atol=1e-12)
            n += 1
    assert n == 40


def _tokens(batch: ap.Batch) -> list[tuple[int, int]]:
    return list(itertools.pairwise(batch.offsets("trajectory").tolist()))


def big(path: Path, rows: int, groups: int) -> Path:
    text = " ".join(f"word{i % 997}" for i in range(700))
    with open(path, "w") as file:
        for i in range(rows):
            messages = [{"role": "user", "content": "go"}, {"role": "assistant", "content": f"{i} {text}"}]
            file.write(json.dumps({"messages": messages, "reward": i % 2, "uid": i % groups}) + "\n")
    return path


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = big(tmp_path / "a", 1000, 250)  # groups of 4, scattered over the whole file
    size = path.stat().st_size
    assert size > 5_000_000
    next(open_log(big(tmp_path / "small", 4, 1)).batches())  # what is loaded once is not the file's
    tracemalloc.start()
    log = open_log(path)
    indexed = tracemalloc.get_traced_memory()
    n = sum(b.n_trajectories for b in log.batches("group", 100_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 1000
    assert indexed[0] < 300_000, "the index is a few numbers a trajectory"
    assert indexed[1] < 1_500_000, "the first pass holds one record, and at its start the first megabyte"
    assert peak < size / 2


def test_progress_counts_the_bytes(tmp_path: Path) -> None:
    path = big(tmp_path / "a", 20, 5)
    seen: list[tuple[int, int]] = []
    log = open_log(path, progress=lambda done, total: seen.append((done, total)))
    assert len(seen) == 20
    assert seen[-1] == (path.stat().st_size,) * 2
    seen.clear()
    pieces_ = list(log.batches("group", 30_000, progress=lambda done, total: seen.append((done, total))))
    assert len(seen) == len(pieces_) > 1
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (path.stat().st_size,) * 2


def test_a_million_tokens_are_one_trajectory(tmp_path: Path) -> None:
    text = " ".join(f"w{i % 50_000}" for i in range(250_000))
    messages = [ASK, {"role": "assistant", "content": text}, {"role": "user", "content": text}] * 2 + [SAY]
    log = open_log(lines(tmp_path / "a", {"messages": messages, "reward": 1}, {"messages": CHAT, "reward": 0}))
    first, second = log.batches("trajectory", 1000)
    assert first.n_tokens > 1_000_000
    assert second.n_tokens < 100
