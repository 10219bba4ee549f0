"""The table of methods, ``assign``, and the records they are joined with."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import apportion as ap
from apportion import Batch, Credit
from apportion.errors import MissingColumn, OptionError
from apportion.evidence import Bill, Evidence
from apportion.registry import _METHODS, get, methods

from .contract.factory import case
from .fakes import FakeJudge, FakeSampler

Float = NDArray[np.float64]


def pair(**columns: Any) -> Batch:
    return Batch.from_turns([[1, 1], [1]], outcome=[1.0, 0.0], group=["p", "p"], **columns)


class Guess:
    """A learned object that leaves one number per turn."""

    bill = Bill(trained=3.0)

    def evidence(self, batch: Batch) -> Evidence:
        return Evidence({"guess": np.full(batch.n_turns, 0.5)}, {"guess": "turn"}, Bill(scored=2.0), "learned")

    def save(self) -> dict[str, NDArray[Any]]:
        return {}


def collect(batch: Batch, sampler: FakeSampler, *, k: int = 2, rng: np.random.Generator) -> Evidence:
    asked = sampler.continuations(batch, batch.prefix_before, k, rng)
    return Evidence({"worth": asked.values.mean(axis=1)}, {"worth": "turn"}, asked.bill, sampler.provenance)


def fit(batch: Batch, *, rate: float = 0.1, rng: np.random.Generator) -> Guess:
    return Guess()


@pytest.fixture
def toy() -> Iterator[str]:
    """A method that collects one piece of evidence and learns another."""

    @ap.method(
        unit="turn",
        reads={"reward"},
        evidence={"worth": "turn", "guess": "turn"},
        source="sampler",
        collect=collect,
        fit=fit,
        status="ours",
        unbiased="no: a toy",
    )
    def toy(batch: Batch, *, worth: Float, guess: Float, scale: float = 1.0) -> Credit:
        """Scale times worth minus guess."""
        return Credit.of(batch, "turn", scale * (worth - guess))

    yield "toy"
    del _METHODS["toy"]


def test_methods_stays_a_function_after_the_package_of_that_name_is_loaded() -> None:
    code = "import apportion as ap; ap.methods(); import apportion.methods.rloo; assert 'rloo' in ap.methods()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_misspelt_method_gets_its_neighbours_named() -> None:
    with pytest.raises(OptionError, match="did you mean rloo"):
        ap.get("rlo")


def test_a_name_like_no_other_is_not_answered_with_all_of_them() -> None:
    with pytest.raises(OptionError) as error:
        get("nope")
    assert str(error.value) == "no method 'nope' (apportion methods lists all)"


def test_two_methods_of_one_name_are_refused(toy: str) -> None:
    def impostor(batch: Batch) -> Credit:
        raise AssertionError

    impostor.__name__, impostor.__module__ = "toy", "elsewhere"
    with pytest.raises(OptionError, match="registered twice"):
        ap.method(unit="turn", reads=set(), status="ours", unbiased="yes")(impostor)


def test_a_declared_method_can_be_called_directly() -> None:
    from apportion.methods.rloo import rloo

    credit = rloo(pair())
    assert isinstance(credit, Credit)
    assert credit.unit.tolist() == [1.0, -1.0]


def test_a_method_sees_only_what_it_declares(toy: str) -> None:
    seen: list[tuple[str, ...]] = []

    @ap.method(unit="turn", reads={"outcome"}, may_read={"state"}, status="ours", unbiased="no: a toy")
    def nosy(batch: Batch) -> Credit:
        seen.append(batch.present)
        return Credit.of(batch, "turn", np.zeros(batch.n_turns))

    try:
        given = pair(ids=[1, 2, 3], state=["a", "b", "c", "a", "d"])
        credit = nosy(given)
        assert seen == [("outcome", "state")]
        assert credit.batch is given
    finally:
        del _METHODS["nosy"]


def test_assign_collects_and_learns_what_was_not_given(toy: str) -> None:
    sampler = FakeSampler(answer=lambda prefix: [1.0, 0.0])
    credit = ap.assign(pair(), "toy", sampler=sampler, fit=True, rng=0, scale=2.0)
    assert isinstance(credit, Credit)
    assert credit.unit.tolist() == [0.0, 0.0, 0.0]
    assert credit.options == {"scale": 2.0}
    assert credit.bill == Bill(generated=10.0 * 2 * 3, trained=3.0, scored=2.0)


def test_assign_uses_given_evidence_as_it_is(toy: str) -> None:
    credit = ap.assign(pair(), "toy", worth=[1.0, 2.0, 3.0], learned=Guess())
    assert isinstance(credit, Credit)
    assert credit.unit.tolist() == [0.5, 1.5, 2.5]


def test_assign_passes_options_to_collect_and_fit(toy: str) -> None:
    credit = ap.assign(pair(), "toy", sampler=FakeSampler(), k=5, rate=0.5, fit=True, rng=0)
    assert credit.bill.generated == 10.0 * 5 * 3


def test_assign_is_reproducible_from_its_seed(toy: str) -> None:
    runs = [ap.assign(pair(), "toy", sampler=FakeSampler(), fit=True, rng=7) for _ in range(2)]
    assert isinstance(runs[0], Credit)
    assert isinstance(runs[1], Credit)
    assert np.array_equal(runs[0].unit, runs[1].unit)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"nonsense": 1}, "no option 'nonsense'; it has: k, rate, scale"),
        ({"judge": FakeJudge()}, "does not ask a judge: it asks sampler="),
        ({"sampler": FakeJudge()}, "FakeJudge, which is no Sampler"),
        ({"sampler": FakeSampler(), "worth": [0.0] * 3, "fit": True}, "'worth' was given and would be collected"),
        ({"fit": True, "learned": Guess()}, "choose one"),
    ],
)
def test_assign_refuses_what_makes_no_sense(toy: str, given: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        ap.assign(pair(), "toy", **given)


def test_nothing_is_asked_before_the_options_are_known(toy: str) -> None:
    sampler = FakeSampler()
    with pytest.raises(OptionError):
        ap.assign(pair(), "toy", sampler=sampler, nonsense=1)
    assert sampler.asked == []


def test_nothing_is_asked_before_the_columns_are_there(toy: str) -> None:
    sampler = FakeSampler()
    with pytest.raises(MissingColumn, match="'reward' is missing for toy"):
        ap.assign(Batch.from_turns([[1]]), "toy", sampler=sampler, fit=True)
    assert sampler.asked == []


def test_missing_evidence_names_every_way_to_get_it(toy: str) -> None:
    with pytest.raises(MissingColumn, match=r"pass worth=[\s\S]*sampler=[\s\S]*fit=True"):
        ap.assign(pair(), "toy")


def test_a_method_that_needs_no_fit_says_so() -> None:
    with pytest.raises(OptionError, match="rloo has nothing to fit"):
        ap.assign(pair(), "rloo", fit=True)


@pytest.mark.parametrize("id_", sorted(id_ for id_, m in methods().items() if m.evidence))
def test_a_second_axis_of_evidence_is_refused_by_name_unless_it_is_declared(id_: str) -> None:
    method = methods()[id_]
    given = case(method, 0)
    assert method.several <= set(method.evidence)
    for name, values in given.evidence.items():
        for width in (1, 3):
            wide = np.repeat(values[:, None], width, axis=1)
            if name in method.several:
                with contextlib.suppress(OptionError):  # how many it takes is its own affair, and its own words
                    method(given.batch, **{**given.evidence, name: wide})
                continue
            with pytest.raises(OptionError, match=rf"evidence '{name}' has shape \({values.size}, {width}\), expected"):
                method(given.batch, **{**given.evidence, name: wide})
