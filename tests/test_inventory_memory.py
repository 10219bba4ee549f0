"""Records are remembered between runs; only the files decide what they say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from apportion.survey import memory, records
from apportion.survey.records import Record
from apportion.survey.records import records as read_records

KEY = memory.digest([("a.yaml", b"text")])
MODULE = sys.modules["apportion.survey.records"]  # the package's name for it is the function
FOLDER = Path(memory.__file__).parent / "papers"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "apportion" / "papers.json"


def test_what_is_remembered_is_recalled_for_the_same_files_only() -> None:
    memory.remember(KEY, {"a": 1})
    assert memory.recall(KEY) == {"a": 1}
    for other in ([("a.yaml", b"texts")], [("b.yaml", b"text")], [("a.yaml", b"te"), ("b.yaml", b"xt")], []):
        assert memory.recall(memory.digest(other)) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"of": 1}', b"\xff", b"[" * 100_000])
def test_what_cannot_be_read_is_as_if_it_were_not_there(cache: Path, content: bytes) -> None:
    cache.parent.mkdir()
    cache.write_bytes(content)
    assert memory.recall(KEY) is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    memory.remember(KEY, {"a": 1})
    assert memory.recall(KEY) is None


def papers_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two records in place of ours."""
    folder = tmp_path / "survey" / "papers"
    folder.mkdir(parents=True)
    for id_ in ("gigpo", "rloo"):
        (folder / f"{id_}.yaml").write_bytes((FOLDER / f"{id_}.yaml").read_bytes())
    monkeypatch.setattr(MODULE, "files", lambda _: folder.parent)
    return folder


def fresh() -> dict[str, Record]:
    """As a new process would read them."""
    return dict(read_records.__wrapped__())


def test_recalled_records_equal_those_that_were_read(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    papers_folder(tmp_path, monkeypatch)
    read = fresh()
    assert cache.exists()
    monkeypatch.setattr(MODULE, "load", lambda path: pytest.fail(f"{path} was read again"))
    again = fresh()
    assert again == read == {id_: records()[id_] for id_ in ("gigpo", "rloo")}
    assert [r.model_dump(exclude_unset=True) for r in again.values()] == [r.model_dump(exclude_unset=True) for r in read.values()]


def test_a_changed_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = papers_folder(tmp_path, monkeypatch)
    fresh()
    path = folder / "rloo.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("name: RLOO", "name: Other"), encoding="utf-8")
    assert fresh()["rloo"].name == "Other"
    (folder / "gigpo.yaml").unlink()
    assert list(fresh()) == ["rloo"]


def test_a_memory_that_does_not_fit_the_model_is_not_believed(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    papers_folder(tmp_path, monkeypatch)
    read = fresh()
    said = json.loads(cache.read_text())
    said["papers"]["rloo"]["evidence"] = "S"
    cache.write_text(json.dumps(said))
    assert fresh() == read
    del said["papers"]["rloo"]
    cache.write_text(json.dumps(said))
    assert fresh() == read
