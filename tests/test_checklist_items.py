"""The checklist's items: the survey's fourteen, ours beside them, and nothing in them that cannot be answered."""

from __future__ import annotations

from typing import get_args

import pytest

from apportion.checklist.items import Asked, Item, extension, item, items
from apportion.survey.terms import ITEMS, Granularity, Methodology

from .checklist_forms import VALUES

EVERY = [*items().values(), *extension().values()]


def test_there_are_ten_required_and_four_recommended_items() -> None:
    assert tuple(items()) == ITEMS
    assert [i.number for i in items().values()] == list(range(1, 15))
    recommended = [i.number for i in items().values() if i.priority == "recommended"]
    assert recommended == [7, 10, 12, 14]
    assert sum(i.priority == "required" for i in items().values()) == 10


def test_our_items_are_labelled_and_share_no_id_with_the_surveys() -> None:
    assert {i.priority for i in extension().values()} == {"extension"}
    assert not {*items()} & {*extension()}
    assert [i.number for i in extension().values()] == list(range(1, len(extension()) + 1))


def test_choices_are_the_inventorys_words() -> None:
    assert items()["credit_unit"].fields["unit"].choices == get_args(Granularity)
    assert items()["methodology"].fields["family"].choices == get_args(Methodology)


@pytest.mark.parametrize("one", EVERY, ids=[i.id for i in EVERY])
def test_an_item_says_when_it_does_not_apply(one: Item) -> None:
    never = one.not_applicable.startswith("Never")
    everywhere = len(one.applies_to) == 3
    assert never == (one.waiver == "never" and everywhere)
    if one.waiver == "untrained":
        assert one.not_applicable == "Nothing is trained."


def test_every_item_has_an_example_in_the_tests() -> None:
    assert {*VALUES} == {i.id for i in EVERY}


def test_a_bare_value_is_the_one_field_of_its_item() -> None:
    assert item("credit_unit").given("turn") == {"unit": "turn"}
    assert item("credit_unit").given({"unit": "turn"}) == {"unit": "turn"}
    assert item("rollout_budget_tokens").given(5) == {"tokens": 5}
    assert item("spread").given(5) == {"": 5}
    assert item("spread").given({"seeds": 5}) == {"seeds": 5}
    assert item("spread").given(None) == {}


def test_an_unknown_item_suggests_the_nearest() -> None:
    with pytest.raises(KeyError, match="did you mean gpu_hours"):
        item("gpu_hour")
    with pytest.raises(KeyError, match="there are: base_model"):
        item("zzzz")


def test_choices_belong_to_choices() -> None:
    with pytest.raises(ValueError, match="one_of has choices"):
        Asked(kind="one_of", says="x")
    with pytest.raises(ValueError, match="no choices: c"):
        Asked(kind="one_of", says="x", choices=("a", "b"), partial=("c",))
