"""Where records lie: scanned once in order, then read again by address, so that a log is never held in memory."""

from __future__ import annotations

import json
import mmap
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from ..errors import BatchError


class Piece(NamedTuple):
    """A record: where it lies, how many bytes it takes, its number for people, and its value."""

    address: int
    size: int
    line: int
    value: Any


class Source(Protocol):
    """Records that can be read again. ``unit``: what people call one ("line"). ``total``: bytes of it all."""

    @property
    def unit(self) -> str: ...
    @property
    def total(self) -> int: ...
    def scan(self) -> Iterator[Piece]: ...
    def read(self, address: Sequence[int], size: Sequence[int]) -> Iterator[Any]: ...
    def where(self, line: int) -> str: ...
    def name(self, line: int) -> Any: ...


Open = Callable[[], BinaryIO]


@dataclass(frozen=True)
class Lines:
    """JSON lines: one record a line, blank lines apart."""

    path: Path
    total: int
    open: Open
    unit: str = "line"

    def scan(self) -> Iterator[Piece]:
        address = 0
        with self.open() as file:
            for line, text in enumerate(file, 1):
                if text.strip():
                    yield Piece(address, len(text), line, parsed(text, self.where(line)))
                address += len(text)

    def read(self, address: Sequence[int], size: Sequence[int]) -> Iterator[Any]:
        with self.open() as file:
            for start, length in zip(address, size, strict=True):
                file.seek(start)
                yield parsed(file.read(length), f"{self.path}, byte {start}")

    def where(self, line: int) -> str:
        return f"{self.path}, line {line}"

    def name(self, line: int) -> Any:
        return line


#: A string is skipped in one piece, so that only brackets outside of strings are seen.
_MARK = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True)
class Elements:
    """Objects or lists in one JSON text: the elements of an array (``depth`` 1), or documents one after another (0)."""

    path: Path
    total: int
    open: Open
    depth: int
    unit: str = "element"

    def scan(self) -> Iterator[Piece]:
        with self.open() as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            for line, (start, stop) in enumerate(self._spans(text), 1):
                yield Piece(start, stop - start, line, parsed(text[start:stop], self.where(line)))

    def _spans(self, text: mmap.mmap) -> Iterator[tuple[int, int]]:
        depth, start = 0, 0
        for mark in _MARK.finditer(text):
            sign = mark.group()
            if sign in (b"{", b"["):
                if depth == self.depth:
                    start = mark.start()
                depth += 1
            elif sign in (b"}", b"]"):
                depth -= 1
                if depth == self.depth:
                    yield start, mark.end()
        if depth:
            raise BatchError(f"{self.path}: the JSON ends inside a value ({depth} brackets are open): is the file cut short?")

    def read(self, address: Sequence[int], size: Sequence[int]) -> Iterator[Any]:
        return Lines(self.path, self.total, self.open).read(address, size)

    def where(self, line: int) -> str:
        return f"{self.path}, {self.unit} {line}"

    def name(self, line: int) -> Any:
        return line


Extra = Callable[[Path, Any], Any]


@dataclass(frozen=True)
class Documents:
    """A file per record, under ``root``; ``extra`` adds what lies beside a file."""

    root: Path
    paths: tuple[Path, ...]
    extra: Extra = lambda path, value: value
    unit: str = "file"

    @property
    def total(self) -> int:
        return sum(p.stat().st_size for p in self.paths)

    def scan(self) -> Iterator[Piece]:
        for k, path in enumerate(self.paths):
            yield Piece(k, path.stat().st_size, k + 1, self._value(k))

    def _value(self, k: int) -> Any:
        return self.extra(self.paths[k], parsed(self.paths[k].read_bytes(), str(self.paths[k])))

    def read(self, address: Sequence[int], size: Sequence[int]) -> Iterator[Any]:
        return (self._value(k) for k in address)

    def where(self, line: int) -> str:
        return str(self.paths[line - 1])

    def name(self, line: int) -> Any:
        return self.paths[line - 1].relative_to(self.root).as_posix()


#: Room for addresses in each part of a chain.
_SHIFT = 44


class Chain:
    """Several sources one after another, as if they were one; lines are numbered as they are scanned."""

    def __init__(self, root: Path, parts: Sequence[Source], paths: Sequence[Path]) -> None:
        self.root, self.parts, self.paths = root, parts, paths
        self.unit = parts[0].unit
        self.total = sum(p.total for p in parts)
        self._before: list[int] = []

    def scan(self) -> Iterator[Piece]:
        self._before = [0]
        for k, part in enumerate(self.parts):
            last = 0
            for address, size, last, value in part.scan():
                yield Piece((k << _SHIFT) + address, size, self._before[k] + last, value)
            self._before.append(self._before[k] + last)

    def read(self, address: Sequence[int], size: Sequence[int]) -> Iterator[Any]:
        wanted = zip(address, size, strict=True)
        for k, run in groupby(wanted, key=lambda w: w[0] >> _SHIFT):
            here = list(run)
            yield from self.parts[k].read([a & ((1 << _SHIFT) - 1) for a, _ in here], [n for _, n in here])

    def _part(self, line: int) -> tuple[int, int]:
        part = min(bisect_left(self._before, line), len(self._before)) - 1
        return part, line - self._before[part]

    def where(self, line: int) -> str:
        part, own = self._part(line)
        return self.parts[part].where(own)

    def name(self, line: int) -> Any:
        part, own = self._part(line)
        return f"{self.paths[part].relative_to(self.root).as_posix()}:{self.parts[part].name(own)}"


def parsed(text: bytes, where: str) -> Any:
    """A JSON value, or an error that says where it is broken."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BatchError(f"{where}: not valid JSON ({error})") from None
