"""What a file or a folder holds, from its first bytes: never from its name alone."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import BatchError
from .beside import with_trial
from .formats import READERS
from .sources import Chain, Documents, Elements, Lines, Source
from .tables import Arrow, Parquet, saved_dataset

#: Bytes looked at.
_HEAD = 1 << 20

_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2", b"\x04\x22\x4d\x18": "lz4"}
_ENDINGS = (".jsonl", ".ndjson", ".parquet", ".arrow", ".json")


def known() -> str:
    """The formats there are, in a sentence."""
    return "; ".join(
        [*(f"{name}: {reader.what}" for name, reader in READERS.items()), "batch: files written by Batch.to_jsonl or to_parquet"]
    )


def source_of(path: Path) -> Source | str:
    """The records of a log; or "batch" or "padded" for files that are no records."""
    if not path.exists():
        raise BatchError(f"{path}: there is no such file or folder")
    return _folder(path) if path.is_dir() else _file(path)


def _file(path: Path) -> Source | str:
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    if not head.strip():
        raise BatchError(f"{path}: the file is empty. Formats: {known()}")
    if head.startswith(b"PAR1"):
        return "batch" if _own_parquet(path) else Parquet(path, size)
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return Arrow(path, size)
    if head.startswith(b"PK\x03\x04") or (head[8:9] == b"{" and path.suffix == ".safetensors"):
        return "padded"
    for magic, kind in _PACKED.items():
        if head.startswith(magic):
            return _unpacked(path, kind)
    return _text(path, head, size, lambda: open(path, "rb"))


def _own_parquet(path: Path) -> bool:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        return b"apportion" in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError) as error:
        raise BatchError(f"{path}: not a readable Parquet file, perhaps cut short ({str(error).splitlines()[0]})") from None


def _unpacked(path: Path, kind: str) -> Source:
    """A compressed text, written out once: records are read by their place, which compressed text has not."""
    import pyarrow as pa

    file = tempfile.NamedTemporaryFile(prefix="apportion-")  # noqa: SIM115 (lives as long as the source)
    try:
        with pa.input_stream(str(path), compression=kind) as packed:
            while chunk := packed.read(_HEAD):
                file.write(chunk)
        file.flush()
    except (OSError, pa.ArrowException) as error:
        raise BatchError(f"{path}: looks like {kind}, but does not unpack ({str(error).splitlines()[0]})") from None
    file.seek(0)
    head = file.read(_HEAD)

    def again() -> BinaryIO:
        return open(file.name, "rb")

    found = _text(path, head, file.tell() if len(head) < _HEAD else Path(file.name).stat().st_size, again)
    if isinstance(found, str):
        raise BatchError(f"{path}: a batch's own file is read uncompressed: unpack it first")
    return found


def _text(path: Path, head: bytes, size: int, again: Any) -> Source | str:
    start = head.lstrip()[:1]
    if head.startswith(b"\xef\xbb\xbf"):
        raise BatchError(f"{path}: begins with a byte order mark: save it as UTF-8 without one")
    if head[:1] == b"\x80":
        raise BatchError(f"{path}: looks like a Python pickle, which can run code: save arrays as .npz instead")
    if head.startswith(b"\x93NUMPY"):
        raise BatchError(f"{path}: holds one array without a name: save all of them with np.savez(path, response_mask=..., ...)")
    if start not in (b"{", b"["):
        seen = head[:40].decode("utf-8", "replace").splitlines()
        raise BatchError(
            f"{path}, line 1: no JSON, Parquet, Arrow or tensor file; it begins {seen[0] if seen else ''!r}. Formats: {known()}"
        )
    line = _first_line(head)
    if line is not None and _is_json(line) and not (start == b"[" and _is_array(line)):
        own = json.loads(line)
        return "batch" if isinstance(own, dict) and {"apportion", "trajectories"} <= set(own) else Lines(path, size, again)
    if start == b"{" and (line is None or re.match(rb"^\{.+\}\s*$", line)):
        return Lines(path, size, again)  # a first line that is broken (named when it is read), or longer than what was looked at
    depth = 0 if start == b"{" or _one_chat(head) else 1
    return Elements(path, size, again, depth, "document" if depth == 0 else "element")


def _first_line(head: bytes) -> bytes | None:
    """The first line that is not blank; None where it is longer than what was read."""
    text = head.lstrip()
    stop = text.find(b"\n")
    return text[:stop] if stop >= 0 else text if len(head) < _HEAD else None


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_array(line: bytes) -> bool:
    """Whether a line is an array of records, rather than one chat as a bare list of messages."""
    value = json.loads(line)
    return not (isinstance(value, list) and value and isinstance(value[0], dict) and ({"role", "from"} & set(value[0])))


def _one_chat(head: bytes) -> bool:
    """Whether an array spread over lines is one chat: its first object has a role."""
    match = re.match(rb'\s*\[\s*\{\s*"(\w+)"', head)
    return match is not None and match.group(1) in (b"role", b"from")


def _folder(path: Path) -> Source | str:
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        return saved_dataset(path)
    trials = _sorted(path.rglob("trajectory.json"))
    if trials:
        return Documents(path, tuple(trials), with_trial(path))
    for ending in _ENDINGS:
        for found in (_sorted(path.glob(f"*{ending}*")), _sorted(path.rglob(f"*{ending}*"))):
            files = [f for f in found if f.is_file() and not f.name.startswith(".")]
            if not files:
                continue
            parts = [(_file(f), f) for f in files]
            strange = next((f for part, f in parts if isinstance(part, str)), None)
            if strange is not None:
                raise BatchError(f"{strange} is a file to be read by itself: give its path instead of the folder's")
            return Chain(path, [part for part, _ in parts if not isinstance(part, str)], [f for _, f in parts])
    raise BatchError(f"{path}: no {', '.join(_ENDINGS)} file in this folder, and no saved data set. Formats: {known()}")


def _sorted(paths: Iterable[Path]) -> list[Path]:
    """By name, numbers in it by their value: 2.jsonl before 10.jsonl."""
    return sorted(paths, key=lambda p: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", str(p))])
