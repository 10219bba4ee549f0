"""TRL: ``CreditMixin`` in front of ``GRPOTrainer``, or the ready ``CreditGRPOTrainer``. See docs/trl.md.

TRL is imported only when a trainer class is made.
"""

from __future__ import annotations

from typing import Any

from .mixin import CreditMixin
from .start import LOSSES, REFUSED, TESTED

__all__ = ["LOSSES", "REFUSED", "TESTED", "CreditGRPOTrainer", "CreditMixin"]


def __getattr__(name: str) -> Any:
    """``CreditGRPOTrainer``, made when it is first asked for."""
    if name != "CreditGRPOTrainer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .mixin import ready_trainer

    globals()[name] = made = ready_trainer()
    return made
