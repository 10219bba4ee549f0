"""Where a mix-in has to stand: before the class whose methods it overrides."""

from __future__ import annotations

from ..errors import TrainerError


def check_in_front(cls: type, mixin: type, *names: str) -> None:
    """Refuse a class in which ``mixin`` stands behind what it overrides, and would silently do nothing.

    names: the methods it overrides. Another class may stand before the mix-in and override them too, where one behind
    it still has them. Call it from ``__init_subclass__``, so that a wrong order is an error when the class is made.
    """
    order = cls.__mro__
    at = order.index(mixin)
    before = [c for c in order[:at] if not issubclass(c, mixin)]
    for name in names:
        hides = next((c for c in before if name in vars(c)), None)
        if hides is None or any(name in vars(c) for c in order[at + 1 :] if c is not object):
            continue
        base = next(c for c in before if issubclass(c, hides)).__name__
        raise TrainerError(
            f"{mixin.__name__} stands behind {base} and would do nothing: write class {cls.__name__}({mixin.__name__}, {base})"
        )
