"""Parquet and JSON lines, both lossless."""

from __future__ import annotations

from os import PathLike

from ..batch import Batch


def from_parquet(path: str | PathLike[str]) -> Batch:
    raise NotImplementedError


def to_parquet(batch: Batch, path: str | PathLike[str]) -> None:
    raise NotImplementedError


def from_jsonl(path: str | PathLike[str]) -> Batch:
    raise NotImplementedError


def to_jsonl(batch: Batch, path: str | PathLike[str]) -> None:
    raise NotImplementedError
