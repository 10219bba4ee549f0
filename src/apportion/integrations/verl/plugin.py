"""What verl loads by the entry point ``verl.plugins`` while it is being imported, in every process of a run.

Nothing of verl is imported here: estimators are registered when ``core_algos`` has been imported,
trainer modes when the V1 trainers have, so that a process that needs neither pays for neither. verl
hides errors of plug-ins; so none is left to it, and what goes wrong is said in one warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ...errors import ApportionError
from ..versions import check_version
from . import TESTED
from .after_import import after_import


def load() -> None:
    """Arrange for everything to be registered; may be called again at no harm."""
    refusal = untested()
    if refusal:
        warnings.warn(refusal, stacklevel=2)
    after_import("verl.trainer.ppo.core_algos", _said(lambda module: _estimators(module, refusal)))
    after_import("verl.trainer.ppo.v1", _said(lambda module: _trainers(refusal)))


def untested() -> str:
    """One sentence where verl is of a version that was not tested; else empty."""
    try:
        check_version("verl", TESTED, "apportion's plug-in")
    except ApportionError as error:
        return str(error)
    return ""


def _estimators(core_algos: ModuleType, refusal: str) -> None:
    from ...registry import methods
    from .estimator import estimator, refusing

    for id_ in methods():
        core_algos.register_adv_est(f"apportion/{id_}")(refusing(refusal) if refusal else estimator(id_))


def _trainers(refusal: str) -> None:
    from .trainer import register

    register(refusal)


def _said(then: Callable[[Any], None]) -> Callable[[ModuleType], None]:
    """``then``, with any failure told in a warning: a plug-in must not keep its host from starting."""

    def call(module: ModuleType) -> None:
        try:
            then(module)
        except Exception as error:
            warnings.warn(f"apportion could not register with {module.__name__}: {error}", stacklevel=2)

    return call


load()
