"""Errors that name the field, the index, what was expected and how to mend it."""

from __future__ import annotations


class ApportionError(Exception):
    """Base of every error apportion raises on purpose."""


class BatchError(ApportionError, ValueError):
    """The data given for a batch (or a file holding one) is not usable."""


class MissingColumn(ApportionError, LookupError):
    """A method needs a column or evidence that nobody gave."""


class CreditError(ApportionError, ValueError):
    """A method returned something that is not credit for its batch."""


class OptionError(ApportionError, TypeError):
    """A method was called with an option or a source it does not know."""


class TrainerError(ApportionError, ImportError):
    """A trainer is missing, of a version that was not tested, or of a class the plug-in does not fit."""


class TruthAccessError(ApportionError, PermissionError):
    """Exact truth was read outside an oracle."""


class BenchError(ApportionError, ValueError):
    """A benchmark run cannot start, or its folder cannot be used."""
