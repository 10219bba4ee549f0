"""Which methods a set of columns feeds, and what is said of the others."""

from __future__ import annotations

import pytest

from apportion.errors import OptionError
from apportion.feeds import feed, feeds


def test_a_method_whose_columns_are_there_is_ready() -> None:
    found = feed("rloo", ["outcome", "group"])
    assert found.ready
    assert found.why_not == ""


@pytest.mark.parametrize("reward", ["outcome", "turn_reward", "token_reward", "reward"])
def test_any_reward_column_counts_as_reward(reward: str) -> None:
    assert feed("rloo", [reward, "group"]).columns == ()
    assert feed("rloo", ["group"]).columns == ("reward",)


def test_what_is_lacking_is_named() -> None:
    found = feed("gigpo", ["outcome", "group"])
    assert not found.ready
    assert found.columns == ("state",)
    assert found.why_not == "no state"


def test_evidence_that_can_be_learned_is_told_apart() -> None:
    found = feed("gae", ["outcome"])
    assert (found.ready, found.learnable, found.evidence) == (False, True, ("value",))
    assert "fit=True" in found.why_not
    assert feed("gae", ["outcome", "value"]).ready


def test_options_change_what_is_read() -> None:
    assert feed("grpo", ["group", "process"], {"supervision": "process"}).ready
    assert not feed("grpo", ["group", "process"]).ready


def test_every_method_is_listed_once_by_id() -> None:
    ids = [f.method for f in feeds([])]
    assert ids == sorted(set(ids))
    assert "vineppo" in ids


def test_an_unknown_method_is_an_error() -> None:
    with pytest.raises(OptionError, match="no method 'gigpi'"):
        feed("gigpi", [])
