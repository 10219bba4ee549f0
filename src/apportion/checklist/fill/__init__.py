"""Filling a form from what a run left behind: only what its files prove, each answer with its place in them."""

from .proof import Finding, Gap, Proof
from .sources import prove, sources

__all__ = ["Finding", "Gap", "Proof", "prove", "sources"]
