"""Published advice as data: three trees, sound, walked as their sources say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apportion.survey import trees as module
from apportion.survey.profile import Profile, profile
from apportion.survey.records import records
from apportion.survey.tree_walk import Answer, missing, unanswered, walk
from apportion.survey.trees import Leaf, Node, Tree, TreeError, trees


def _walked(tree: str, **given: Any) -> Answer:
    return walk(trees()[tree], profile(given))


@pytest.mark.parametrize(
    ("given", "candidates"),
    [
        ({"setting": "reasoning", "cot_tokens": 5000, "budget": "low"}, "grpo pure spo spro"),
        ({"setting": "reasoning", "cot_tokens": 5001, "budget": "low"}, "hicra capo spro grpo_lambda"),
        ({"setting": "reasoning", "cot_tokens": 300, "budget": "high"}, "grpo pure spo spro vineppo scar grail"),
        ({"setting": "agentic", "turns": 30, "aux_model": "no"}, "gigpo carl istar poad"),
        ({"setting": "agentic", "turns": 30, "aux_model": "yes"}, "agentprm sweet_rl"),
        ({"setting": "agentic", "turns": 31}, "c3 ccpo hcapo igpo craft appo"),
        ({"setting": "multi-agent"}, "m_grpo sharp mappa dr_mas"),
    ],
)
def test_the_figure_leads_where_the_survey_says(given: dict[str, Any], candidates: str) -> None:
    assert _walked("figure", **given).candidates == tuple(candidates.split())


@pytest.mark.parametrize(
    ("given", "leaves"),
    [
        ({"setting": "agentic", "turns": 12, "budget": "high"}, ["tool-use", "web-navigation"]),
        ({"setting": "agentic", "turns": 12, "budget": "low"}, ["tool-use", "web-navigation", "compute-limited"]),
        ({"setting": "agentic", "turns": 60, "budget": "high"}, ["software-engineering"]),
        ({"setting": "reasoning", "cot_tokens": 10_000, "budget": "high"}, ["competition-maths"]),
    ],
)
def test_rows_of_the_table_may_hold_together(given: dict[str, Any], leaves: list[str]) -> None:
    assert [leaf.id for leaf in _walked("table", **given).leaves] == leaves


def test_between_two_rows_the_table_says_nothing() -> None:
    found = _walked("table", setting="agentic", turns=40, budget="high")
    assert found.candidates == ()
    assert found.gaps == ("rows",)


def test_the_guide_asks_for_constraints_and_adds_the_team() -> None:
    found = _walked("guide", setting="multi-agent", step_verifier="no", can_fork="no", aux_model="no")
    assert [leaf.id for leaf in found.leaves] == ["implicit", "shared"]
    assert "dr_mas" in found.candidates
    assert "vineppo" not in found.candidates
    assert [s.node for s in found.steps] == ["guide", "feedback", "branching", "critic"]


def test_a_question_without_an_answer_is_reported_and_not_guessed() -> None:
    found = _walked("guide", setting="agentic", turns=40)
    assert found.open == (("feedback", ("step_verifier",)),)
    assert found.gaps == ()
    assert found.leaves == ()
    assert missing(profile({"setting": "agentic"})) == ["turns"]
    assert missing(profile({"setting": "agentic", "turns": 3})) == ["aux_model"]
    assert missing(profile({"setting": "multi-agent"})) == []
    assert unanswered(profile({"setting": "agentic"}))[0] == "turns"


def test_every_node_leaf_and_tree_says_where_it_was_read_and_every_candidate_has_a_record() -> None:
    for tree in trees().values():
        assert tree.source
        assert tree.version
        assert tree.read_from
        assert tree.caveats
        parts: list[Node | Leaf] = [*tree.nodes, *tree.leaves]
        for part in parts:
            assert part.source
            assert part.version
        for leaf in tree.leaves:
            assert set(leaf.candidates) <= set(records())
    note = trees()["figure"].node("reasoning")
    assert note is not None
    assert note.note is not None
    assert "not recoverable" in note.note


_LEAVES = [
    {"id": x, "title": "t", "candidates": ["grpo"], "rationale": "r", "source": "s", "version": "v"} for x in ("few", "many")
]


def _tree(branches: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    node = {"id": "n", "question": "q", "branches": branches, "source": "s", "version": "v"}
    base = {"id": "x", "title": "t", "source": "s", "version": "v", "read_from": "r", "root": "n", "nodes": [node]}
    return {**base, "leaves": _LEAVES, **more}


def _branch(field: str, op: str, value: Any, then: str) -> dict[str, Any]:
    return {"when": [{"field": field, "op": op, "value": value}], "then": then}


_SOUND = [_branch("turns", "<=", 5, "few"), _branch("turns", ">", 5, "many")]


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (_tree([_branch("turns", "<=", 5, "few"), _branch("turns", ">=", 5, "many")]), "turns = 5 both 'few' and 'many'"),
        (_tree([_branch("setting", "==", "agentic", "few"), _branch("turns", ">", 5, "many")]), "both 'few' and 'many'"),
        (_tree([_branch("turns", "<=", 5, "few")]), "'many' cannot be reached"),
        (_tree([*_SOUND[:1], _branch("turns", ">", 5, "lots")]), "leads to 'lots'"),
        (_tree([_branch("moons", "<=", 5, "few"), _SOUND[1]]), "no question is called 'moons'"),
        (_tree([_branch("setting", "==", "desert", "few"), _SOUND[1]]), "can never be asked"),
        (_tree([_branch("turns", "between", [5, 2], "few"), _branch("turns", ">", 5, "many")]), "can never be asked"),
        (_tree([_branch("turns", "<=", 5, "n"), _branch("turns", ">", 5, "many")]), "leads back to itself"),
        (_tree(_SOUND, leaves=[_LEAVES[0], {**_LEAVES[1], "candidates": ["nobody"]}]), "'nobody' is no record"),
        (_tree(_SOUND, leaves=[*_LEAVES, _LEAVES[0]]), "'few' stands 2 times"),
    ],
)
def test_an_unsound_tree_is_refused(made: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError) as error:
        Tree.model_validate(made)
    assert says in str(error.value)


def test_a_sound_tree_is_read(tmp_path: Path) -> None:
    assert walk(Tree.model_validate(_tree(_SOUND)), Profile(turns=6)).candidates == ("grpo",)
    (tmp_path / "x.yaml").write_text("id: x\ntitle: t\n")
    with pytest.raises(TreeError, match=r"x\.yaml"):
        module.load(tmp_path / "x.yaml")
