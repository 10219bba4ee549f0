"""Batches in files: Parquet for machines, JSON lines for people. Both lossless, both all or nothing."""

from __future__ import annotations

from .jsonl import from_jsonl, to_jsonl
from .parquet import from_parquet, to_parquet

__all__ = ["from_jsonl", "from_parquet", "to_jsonl", "to_parquet"]
