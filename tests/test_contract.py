"""Every registered method keeps every promise of the contract; nothing to touch when one is added."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import apportion as ap
from apportion.errors import ApportionError
from apportion.survey import records

from .contract.checks import CHECKS, EXCEPT, Check

SEEDS = range(3)
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")  # a division by zero is a case nobody thought of
PAIRS = [(method, check) for method in ap.methods() for check in CHECKS]


def held(method: str, check: Check) -> bool:
    return method not in EXCEPT[check.__name__]


def ids(pairs: list[tuple[str, Check]]) -> Iterator[str]:
    return (f"{method}-{check.__name__}" for method, check in pairs)


KEPT = [p for p in PAIRS if held(*p)]
EXCEPTED = [p for p in PAIRS if not held(*p)]


@pytest.mark.parametrize(("method", "check"), KEPT, ids=ids(KEPT))
def test_method_keeps_its_promise(method: str, check: Check) -> None:
    for seed in SEEDS:
        check(ap.get(method), seed)


@pytest.mark.parametrize(("method", "check"), EXCEPTED, ids=ids(EXCEPTED))
def test_exceptions_to_a_promise_are_real(method: str, check: Check) -> None:
    broken = 0
    for seed in SEEDS:
        try:
            check(ap.get(method), seed)
        except (AssertionError, ApportionError):  # refusing what was promised breaks it as well
            broken += 1
    assert broken, f"{method} keeps {check.__name__}: strike the exception"


def test_exceptions_name_methods_and_reasons() -> None:
    for name, exceptions in EXCEPT.items():
        assert all(reason for reason in exceptions.values()), name


def test_every_method_has_a_record() -> None:
    assert set(ap.methods()) <= set(records())


def test_a_record_and_its_method_agree_on_what_was_checked() -> None:
    for id_, spec in ap.methods().items():
        assert records()[id_].status == spec.status
