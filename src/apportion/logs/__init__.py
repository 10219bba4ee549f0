"""Rollout logs people already have: read as batches, a piece at a time, saying what was assumed."""

from __future__ import annotations

from .log import Log, open_log

__all__ = ["Log", "open_log"]
