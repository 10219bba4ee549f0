"""What an entrant needs of its user: nothing is assumed, columns are named, groups must be large enough."""

from __future__ import annotations

import pytest

from apportion.bench.knobs import entrant
from apportion.bench.selection.answer import answer
from apportion.bench.selection.cases import HAVE, profile_of
from apportion.bench.selection.grid import ENTRANTS
from apportion.bench.selection.measured import measured
from apportion.bench.selection.needs import lacks
from apportion.cli.select import _FIELDS
from apportion.registry import methods
from apportion.survey.profile import Profile, profile


def _user(**given: object) -> Profile:
    return profile({"setting": "agentic", "turns": 20, **given})


@pytest.mark.parametrize(
    ("name", "field"), [(e, "states_repeat") for e in ("gigpo", "pooled_td", "hgpo", "graphgpo", "proxmo")] + [("hiper", "spans")]
)
def test_columns_that_few_have_are_not_assumed(name: str, field: str) -> None:
    critic = {"critic": "yes"}
    flag = "--" + field.replace("_", "-")
    (silent,) = lacks(entrant(name), _user(**critic))
    assert not silent.known
    assert f"not said ({flag} yes)" in silent.says
    (said,) = lacks(entrant(name), _user(**critic, **{field: "no"}))
    assert said.known
    assert f"you said {flag} no" in said.says
    assert lacks(entrant(name), _user(**critic, **{field: "yes"})) == []


def test_every_entrant_that_reads_such_a_column_names_it_among_its_needs() -> None:
    found = answer(_user(states_repeat="yes", spans="yes", critic="yes", budget="high"), measured())["measured"]["candidates"]
    for one in found:
        for column in ("state", "spans"):
            named = any(f"column {column}" in need for need in one["needs"])
            assert named == (column in methods()[one["method"]].reads), one["entrant"]
    assert {"gigpo", "hiper"} <= {one["entrant"] for one in found}


def test_one_answer_is_not_told_to_meet_states_again() -> None:
    says = [x.says for x in lacks(entrant("gigpo"), profile({"setting": "reasoning", "cot_tokens": 900}))]
    assert says == ["does not run on reasoning rollouts here"]


def test_steps_that_were_not_said_are_asked_for_by_their_name() -> None:
    found = answer(profile({"setting": "reasoning", "cot_tokens": 900, "turns": 1}), measured())["measured"]
    assert found["not_said"][0] == "--N"
    assert all(c["cost"] is None for c in found["candidates"])


def test_users_of_the_tasks_say_what_their_tasks_have() -> None:
    m = measured()
    for s in m.settings.values():
        user = profile_of(s, HAVE["all of it"], m.group)
        assert user.spans is (None if s.layout == "steps" else True)
        assert not [x for e in map(entrant, ENTRANTS) if e.fits(s.layout) for x in lacks(e, user) if not x.known]


def test_hints_change_no_answer_as_the_help_says() -> None:
    """No tree asks for them and no entrant of the grid takes them; where that changes, so must the help and the page."""
    have = {"aux_model": "yes", "critic": "yes", "judge": "yes", "can_fork": "yes", "step_verifier": "yes", "budget": "high"}
    told, untold = (answer(_user(**have, privileged=word), measured()) for word in ("yes", "no"))
    assert {**told, "profile": None} == {**untold, "profile": None}
    assert "changes no answer yet" in _FIELDS["privileged"][1]
