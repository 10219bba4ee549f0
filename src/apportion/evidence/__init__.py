"""Live sources, recorded evidence and what both cost."""

from .bill import Bill
from .rubrics import Rubric
from .saving import load_learned, save_learned
from .sources import (
    SOURCES,
    Actor,
    Answerer,
    Asked,
    Author,
    Editor,
    Evidence,
    Intervention,
    Judge,
    Learned,
    Policy,
    Replayer,
    Sampler,
)

__all__ = [
    "SOURCES",
    "Actor",
    "Answerer",
    "Asked",
    "Author",
    "Bill",
    "Editor",
    "Evidence",
    "Intervention",
    "Judge",
    "Learned",
    "Policy",
    "Replayer",
    "Rubric",
    "Sampler",
    "load_learned",
    "save_learned",
]
