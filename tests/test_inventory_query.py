"""Questions to the inventory: filters, names, and the nearest where a word is unknown."""

from __future__ import annotations

from typing import Any, get_args

import pytest

import apportion as ap
from apportion.survey import QueryError, Record, find, papers, query, records, terms
from apportion.survey.glossary import FIELDS, FREE, WORDS
from apportion.survey.terms import DIAGNOSTICS

from .papers import known, paper

SHELF = [
    paper("a", aliases=["Alpha One"], arxiv="2501.00001", needs=known([]), snapshot="baseline", date="2024-05"),
    paper("b", needs=known(["group", "turns", "policy_logp"]), methodology=[known("monte-carlo"), known("game-theoretic")]),
    paper("c", needs=known(["group", "critic"]), baseline_family=known([]), benchmarks=known(["WebShop"])),
    paper("d", needs="unknown", baseline_family="unknown", granularity=["unknown"], notes=["Learns on ALFWorld."]),
    paper(
        "e",
        arxiv="2501.00001",
        name="Alpha-one",
        granularity=[known(["step"], "companion"), known(["turn", "token"], "primary")],
        facts={"role": known("enabler", "ours"), **dict.fromkeys(("comparator", "benchmarks", "seeds", "interval"), "unknown")},
    ),
]


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "records", lambda: {r.id: r for r in SHELF})
    monkeypatch.setattr(query, "registered", lambda: frozenset({"a", "z"}))


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({}, "abcde"),
        ({"granularity": "turn"}, "abce"),
        ({"granularity": "step"}, ""),
        ({"granularity": "step", "labels": "companion"}, "e"),
        ({"granularity": "step", "labels": "any"}, "e"),
        ({"granularity": "turn", "labels": "companion"}, ""),
        ({"granularity": "unknown"}, "d"),
        ({"granularity": ["token", "unknown"]}, "de"),
        ({"methodology": "game-theoretic"}, "b"),
        ({"methodology": ["GT", "td"]}, "b"),
        ({"needs": "none"}, "abe"),
        ({"needs": "critic"}, "c"),
        ({"needs": "unknown"}, "d"),
        ({"needs": ["critic", "unknown"]}, "cd"),
        ({"needs": "policy_logp"}, "b"),
        ({"needs": "Policy-logp"}, "b"),
        ({"baseline": "GRPO"}, "abe"),
        ({"baseline": "none"}, "c"),
        ({"baseline": "unknown"}, "d"),
        ({"evidence": "e"}, "e"),
        ({"evidence": "unknown"}, "abcd"),
        ({"snapshot": "baseline"}, "a"),
        ({"scope": "core"}, "abcde"),
        ({"scope": "adjacent"}, ""),
        ({"implemented": True}, "a"),
        ({"implemented": False}, "bcde"),
        ({"search": "webshop"}, "c"),
        ({"search": "learns alfworld"}, "d"),
        ({"search": "learns webshop"}, ""),
        ({"granularity": "turn", "needs": "none", "implemented": False}, "be"),
    ],
)
def test_filters(filters: dict[str, Any], ids: str) -> None:
    assert "".join(r.id for r in papers(**filters)) == ids


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize(
    ("filters", "says"),
    [
        ({"granularity": "tunr"}, "no granularity 'tunr'; did you mean turn?"),
        ({"methodology": "shapley"}, "did you mean game-theoretic?"),
        ({"baseline": "grop"}, "did you mean G?"),
        ({"needs": "value function"}, "did you mean critic?"),
        ({"evidence": "Z"}, "no evidence 'Z'; there are: S, L, A, E, unknown"),
        ({"labels": "companio"}, "did you mean companion?"),
        ({"snapshot": "2026"}, "did you mean 2026.0"),
    ],
)
def test_an_unknown_word_names_the_nearest(filters: dict[str, Any], says: str) -> None:
    with pytest.raises(QueryError, match=says.replace("?", r"\?")):
        papers(**filters)


def test_a_word_is_wrong_even_where_nothing_would_be_found() -> None:
    with pytest.raises(QueryError):
        papers(snapshot="ours", granularity="nothing_such")


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize(("text", "id_"), [("a", "a"), ("A", "a"), ("b", "b")])
def test_a_record_is_found_by_id_and_name(text: str, id_: str) -> None:
    assert find(text).id == id_


@pytest.mark.parametrize(
    "text",
    [
        "pure",
        "PURE",
        "2504.15275",
        "arXiv:2504.15275v2",
        "https://arxiv.org/abs/2504.15275",
        "stop gamma decay",
        "Stop-Gamma Decay",
    ],
)
def test_pure_is_found_by_all_its_names(text: str) -> None:
    assert find(text).id == "pure"


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("alpha one", "names several records: a, e; ask by id"),
        ("2501.00001", "names several records: a, e"),
        ("2501.99999", "no record of arXiv 2501.99999"),
        ("alphaon", "did you mean a or e"),
        ("zzzzzz", "list prints all"),
    ],
)
def test_a_record_that_is_not_one_is_an_error_that_helps(text: str, says: str) -> None:
    with pytest.raises(QueryError, match=says):
        find(text)


def test_a_wrong_id_of_public_lists_leads_to_the_paper() -> None:
    with pytest.raises(QueryError, match=r"no record of arXiv 2504.08662; see pure: .* wrong; apportion"):
        find("2504.08662")


def test_papers_are_there_from_the_top() -> None:
    found = ap.survey.papers(granularity="turn", setting="agentic", needs="none")
    assert "pooled_td" not in [r.id for r in ap.survey.papers(needs="critic")]
    assert all(isinstance(r, Record) and FREE.issuperset(r.needs.value or ()) for r in found)
    assert "pooled_td" in [r.id for r in found]


def test_filters_part_the_records() -> None:
    by_snapshot = [r.id for word in query.FILTERS["snapshot"] for r in papers(snapshot=word)]
    by_level = [r.id for word in query.FILTERS["evidence"] for r in papers(evidence=word)]
    assert sorted(by_snapshot) == sorted(by_level) == sorted(records())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("granularity", terms.Granularity), ("setting", terms.Setting), ("methodology", terms.Methodology),
        ("snapshot", terms.Snapshot), ("scope", terms.Scope), ("baseline", terms.Baseline), ("origin", terms.Origin),
        ("checklist", terms.Answer), ("diagnostics", terms.Addressed), ("needs", terms.Need),
    ],
)  # fmt: skip
def test_the_glossary_explains_every_word_and_no_other(name: str, words: Any) -> None:
    assert tuple(WORDS[name]) == get_args(words)


def test_the_glossary_explains_every_field() -> None:
    assert list(FIELDS) == list(Record.model_fields)
    assert set(get_args(terms.Need)) >= FREE
    assert set("TORHVC") == set(DIAGNOSTICS)
