"""apportion: which token, step, turn or agent earned this reward?

>>> import apportion as ap
>>> batch = ap.example("agent")
>>> credit = ap.assign(batch, "gigpo")
"""

from . import methods as _package  # noqa: F401  (imported first, so that the function below is not shadowed by it)
from .batch import Batch, Spans
from .credit import Credit, Loss, Preferences
from .edges.credit_file import CreditWriter, read_credit
from .examples import example
from .pipeline import assign
from .registry import get, method, methods

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Credit",
    "CreditWriter",
    "Loss",
    "Preferences",
    "Spans",
    "assign",
    "example",
    "get",
    "method",
    "methods",
    "read_credit",
]
