"""apportion: which token, step, turn or agent earned this reward?

>>> import apportion as ap
>>> batch = ap.example("agent")
>>> credit = ap.assign(batch, "gigpo")
"""

from typing import TYPE_CHECKING, Any

from . import methods as _package  # noqa: F401  (imported first, so that the function below is not shadowed by it)
from .batch import Batch, Spans
from .credit import Credit, Loss, Preferences
from .edges.credit_file import CreditWriter, read_credit
from .examples import example
from .pipeline import assign, learn
from .registry import get, method, methods

if TYPE_CHECKING:
    from . import survey

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
    "learn",
    "method",
    "methods",
    "read_credit",
    "survey",
]


def __getattr__(name: str) -> Any:
    """``survey`` needs pydantic and a YAML reader: it is imported when it is asked for."""
    if name != "survey":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return import_module(".survey", __name__)
