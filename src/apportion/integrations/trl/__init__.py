"""TRL: ``CreditMixin`` in front of ``GRPOTrainer``, or the ready ``CreditGRPOTrainer``. See docs/trl.md.

TRL is imported only when a trainer class is made.
"""

from __future__ import annotations

from typing import Any

from .mixin import CreditMixin
from .resume import check_carry, checkpoints, last_checkpoint
from .start import LOSSES, REFUSED, TESTED, check_method

__all__ = [
    "LOSSES", "REFUSED", "TESTED", "CreditGRPOTrainer", "CreditMixin", "check_carry", "check_method", "checkpoints",
    "last_checkpoint",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """``CreditGRPOTrainer``, made when it is first asked for."""
    if name != "CreditGRPOTrainer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .mixin import ready_trainer

    globals()[name] = made = ready_trainer()
    return made
