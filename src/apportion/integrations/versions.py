"""Which versions of a trainer a plug-in was tested with, and one sentence outside of them."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version

from ..errors import TrainerError


def check_version(package: str, tested: tuple[str, str], plug_in: str) -> str:
    """The installed version of ``package``, if ``tested[0]`` <= version < ``tested[1]``; else :class:`TrainerError`.

    A plug-in overrides methods its trainer keeps private, so an unknown version is refused rather than tried.
    """
    low, below = tested
    try:
        found = version(package)
    except PackageNotFoundError:
        raise TrainerError(f"{plug_in} needs {package} >= {low}, < {below}: pip install '{package}>={low},<{below}'") from None
    if not _numbers(low) <= _numbers(found) < _numbers(below):
        raise TrainerError(
            f"{plug_in} was tested with {package} >= {low}, < {below}, not with {found}: "
            f"pip install '{package}>={low},<{below}', or take the apportion that knows {package} {found}"
        )
    return found


def check_installed(package: str, tested: tuple[str, str], plug_in: str) -> None:
    """:func:`check_version`, where the package is there: what it recorded may be read without it."""
    try:
        version(package)
    except PackageNotFoundError:
        return
    check_version(package, tested, plug_in)


def _numbers(text: str) -> tuple[int, ...]:
    """(1, 16, 0) of "1.16.0"; a pre-release counts as its release."""
    return tuple(int(n) for n in re.findall(r"\d+", re.split(r"(?:a|b|rc|\.dev|\+)", text)[0]))
