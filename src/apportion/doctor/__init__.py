"""What is wrong with rollouts, and what methods could make of them.

``examine(batch)`` for batches, ``examine_padded(tensors)`` for the tensors of a training step; both
return a :class:`Diagnosis`, which prints as a report.
"""

from __future__ import annotations

from .checks import examine
from .findings import Diagnosis, Finding, Picture, Place
from .logs import examine_log
from .padded import examine_padded

__all__ = ["Diagnosis", "Finding", "Picture", "Place", "examine", "examine_log", "examine_padded"]
