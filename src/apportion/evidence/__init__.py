"""Live sources, recorded evidence and what both cost."""

from .bill import Bill
from .sources import SOURCES, Asked, Evidence, Judge, Learned, Policy, Sampler

__all__ = ["SOURCES", "Asked", "Bill", "Evidence", "Judge", "Learned", "Policy", "Sampler"]
