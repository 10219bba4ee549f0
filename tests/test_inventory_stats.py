"""Counts of the inventory, and what is shown of one record."""

from __future__ import annotations

import pytest

import apportion as ap
from apportion.survey import records, stats
from apportion.survey.derived import derived
from apportion.survey.evidence import level, verdict
from apportion.survey.show import text

from .papers import hostile, known, paper

TWO = [paper("a", methodology=[known("monte-carlo"), known("heuristic")]), paper("b", granularity=["unknown"], needs="unknown")]


def test_a_record_counts_under_each_of_its_labels() -> None:
    found = stats.stats(TWO)
    assert found["records"] == 2
    assert found["counts"]["methodology"] == {"monte-carlo": 2, "heuristic": 1}
    assert found["counts"]["granularity"] == {"turn": 1, "unknown": 1}
    assert found["counts"]["needs"] == {"none": 1, "group": 1, "unknown": 1}
    assert found["grid"] == {"turn": {"monte-carlo": 1, "heuristic": 1}, "unknown": {"monte-carlo": 1, "heuristic": 0}}


def test_the_labels_of_one_source_can_be_counted_alone() -> None:
    both = paper("x", granularity=[known(["step"], "companion"), known(["turn"], "primary")])
    assert stats.stats([both])["counts"]["granularity"] == {"turn": 1}
    assert stats.stats([both], labels="companion")["counts"]["granularity"] == {"step": 1}
    assert stats.stats([both], labels="survey")["counts"]["granularity"] == {"unknown": 1}
    assert stats.stats([both])["sources_differ"]["granularity"] == {"x": {"companion": ["step"], "primary": ["turn"]}}


def test_two_labels_of_one_source_are_no_difference() -> None:
    assert all(ids == {} for ids in stats.stats(TWO)["sources_differ"].values())
    order = paper("x", setting=[known(["agentic", "reasoning"], "survey"), known(["reasoning", "agentic"], "primary")])
    assert derived(order)["sources_differ_on"] == []


def test_unknown_is_counted_for_every_coded_field() -> None:
    said = stats.stats(TWO)["unknown"]
    assert said["needs"] == said["granularity"] == 1
    assert said["setting"] == 0
    assert said["facts.seeds"] == said["checklist.spread"] == said["diagnostics.T"] == 2
    assert len(said) == 10 + 4 - 1 + 5 + 14 + 6, "ten claims, three of four labels beside scope, facts, items, diagnostics"


def test_every_method_has_a_record_and_the_others_are_listed() -> None:
    found = stats.stats(list(records().values()))
    assert found["methods_without_a_record"] == []
    assert found["implemented"] == sorted(ap.methods())
    assert sorted(found["implemented"] + found["not_implemented"]) == sorted(records())


def test_a_method_without_a_record_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "registered", lambda: frozenset({"gigpo", "brand_new"}))
    found = stats.stats([records()["gigpo"], records()["pure"]])
    assert found["methods_without_a_record"] == ["brand_new"]
    assert (found["implemented"], found["not_implemented"]) == (["gigpo"], ["pure"])


@pytest.mark.parametrize("id_", records())
def test_the_reason_of_a_level_fits_it(id_: str) -> None:
    found = records()[id_]
    given, why = verdict(found.facts)
    assert given == level(found.facts)
    words = {"E": "enabler", "L": "base model", "S": "and", "unknown": "unknown"}
    assert words.get(given, "") in why


def test_show_has_every_claim_with_its_place() -> None:
    shown = " ".join(text(records()["pure"], width=80).split())
    for claims in (records()["pure"].methodology, records()["pure"].granularity):
        for claim in claims:
            assert f"[{claim.from_}: {claim.at}]" in shown
    assert "sources differ on methodology" in shown
    assert "* model-based [primary: README of the repository]" in shown
    assert "monte-carlo [companion: taxonomy grid] (tag: Min-form PRM)" in shown
    assert "* monte-carlo" not in shown
    assert "Evidence S: a comparator on the same base model, and 5 benchmarks" in shown
    assert "https://arxiv.org/abs/2504.15275" in shown
    assert "the companion list prints 2504.08662, which is wrong" in shown


def test_show_keeps_to_its_width_and_prints_no_control_characters() -> None:
    for found in (hostile(), *records().values()):
        shown = text(found, width=100)
        assert max(map(len, shown.splitlines())) <= 100, found.id
        assert not {"\x1b", "\u202e", "\r", "\t"} & set(shown)
