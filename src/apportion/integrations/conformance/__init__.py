"""The same trajectories through every trainer's own GAE and group statistics, beside ours: ``apportion conformance``."""

from .table import Row, rows

__all__ = ["Row", "rows"]
