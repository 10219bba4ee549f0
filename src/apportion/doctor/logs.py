"""Examine a log: what reading it refuses is a finding, and the rest is examined without it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..edges.facts import many
from ..errors import BatchError
from ..logs import Log, open_log
from ..logs.dump import arrays_of
from ..logs.sniff import source_of
from .checks import diagnosis, look, new_tally
from .findings import Diagnosis
from .padded import examine_padded
from .refused import Refusals
from .tally import Tally, either

#: Lines that are left out of a log one after the other, and the size of a log up to which that is done.
MOST_LINES = 20
MOST_BYTES = 256 << 20

#: Bytes of a log looked at together: several methods hold arrays over its tokens at once.
PIECE = 16 << 20


def examine_log(
    path: str | Path, *, methods: Sequence[str] | None = None, vocabulary: int | None = None, **reading: Any
) -> Diagnosis:
    """Examine the log at ``path``, a few groups at a time; otherwise as :func:`examine`.

    reading: the options of ``open_log``; ``progress`` is called while the log is looked at as well.
    A (B, T) dump is examined as :func:`examine_padded` does it. Where a line of a JSON-lines log
    cannot be used, that is a finding, and the log is examined without it: up to 20 lines, in logs of
    up to 256 MiB. Otherwise the examination ends there, which is said.
    """
    path = Path(path)
    if path.is_file() and _is_dump(path):
        given = {name: value for name, value in reading.items() if name in ("reward", "group")}
        return examine_padded(_renamed(arrays_of(path), given, path), methods=methods, vocabulary=vocabulary)
    refusals, left_out = Refusals(), list[int]()
    with TemporaryDirectory(prefix="apportion-") as room:
        readable = path
        while True:
            tally = new_tally(methods, vocabulary)
            log, error = _examined(readable, reading, tally)
            if error is None:
                break
            line = _line(error)
            original = None if line is None else _before(line, left_out)
            refusals.add(_as_of(error, path, readable, line, original))
            if original is None or not _can_leave_out(path, left_out):
                break
            left_out.append(original)
            readable = Path(room) / path.name
            _without(path, readable, set(left_out))
    assumed = [*(log.assumed if log is not None else ())]
    if left_out:
        said = f"{many(len(left_out), 'line')} that cannot be used {either(len(left_out), 'was', 'were')} left out"
        assumed.append(f"{said}: {', '.join(map(str, sorted(left_out)))}")
    if error is not None and tally.count["trajectories"]:
        assumed.append("Reading ended at the error: what comes after it was not examined")
    return diagnosis(tally, [*refusals.say()], assumed)


def _examined(path: Path, reading: Mapping[str, Any], tally: Tally) -> tuple[Log | None, str | None]:
    """Look at every batch; the log, and the error that ended the reading."""
    log = None
    try:
        log = open_log(path, **reading)
        for batch in log.batches("group", PIECE, reading.get("progress")):
            look(batch, tally)
    except BatchError as error:
        return log, str(error)
    return log, None


def _is_dump(path: Path) -> bool:
    try:
        return source_of(path) == "padded"
    except BatchError:
        return False


def _renamed(arrays: Mapping[str, Any], given: Mapping[str, str], path: Path) -> dict[str, Any]:
    """The arrays with the chosen keys under names that are looked for first; several runs in a row are turns."""
    held = dict(arrays)
    for name, key in given.items():
        if key not in held:
            raise BatchError(f"{path}: there is no array {key!r} for the {name} (it has {', '.join(sorted(held))})")
        held["group" if name == "group" else "token_reward" if held[key].ndim == 2 else "outcome"] = held[key]
    return held if "turn_ids" in held else {**held, "turns": "mask"}


def _line(error: str) -> int | None:
    found = re.search(r", line (\d+)", error)
    return int(found.group(1)) if found else None


def _before(line: int, left_out: Sequence[int]) -> int:
    """The number a line had before others were left out."""
    for gone in sorted(left_out):
        line += gone <= line
    return line


def _as_of(error: str, path: Path, readable: Path, line: int | None, original: int | None) -> str:
    """The error as it would read of the log itself."""
    return error.replace(str(readable), str(path)).replace(f", line {line}", f", line {original}", 1)


def _can_leave_out(path: Path, left_out: Sequence[int]) -> bool:
    if not path.is_file() or len(left_out) == MOST_LINES or path.stat().st_size > MOST_BYTES:
        return False
    with open(path, "rb") as file:
        return file.read(1) == b"{" and bool(file.readline().rstrip().endswith(b"}"))


def _without(path: Path, target: Path, left_out: set[int]) -> None:
    """A copy without these lines; a batch's own file promises fewer trajectories in its header."""
    with open(path, "rb") as source, open(target, "wb") as copy:
        for number, line in enumerate(source, 1):
            if number == 1 and 1 not in left_out:
                line = _header(line, len(left_out))
            if number not in left_out:
                copy.write(line)


def _header(line: bytes, fewer: int) -> bytes:
    try:
        head = json.loads(line)
    except ValueError:
        return line
    if not isinstance(head, dict) or not {"apportion", "trajectories"} <= set(head):
        return line
    return json.dumps({**head, "trajectories": head["trajectories"] - fewer}).encode() + b"\n"
