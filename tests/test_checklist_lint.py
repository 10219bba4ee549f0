"""Lint: every item without what it says, with its line; claims that outrank the evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apportion.checklist.claims import kinds
from apportion.checklist.form import Answer, Document, read
from apportion.checklist.items import extension, items
from apportion.checklist.lint import Finding, lint, lint_file
from apportion.checklist.template import blank

from .checklist_forms import VALUES, changed, full, put


def said(document: Document) -> list[tuple[str, str, str]]:
    return [(f.level, f.item, f.says) for f in lint(document)]


def only(document: Document) -> Finding:
    found = lint(document)
    assert len(found) == 1, found
    return found[0]


def claiming(*claims: str, **answers: Any) -> Document:
    """The full form with claims, and with other answers (item -> word)."""
    document = changed("claims: []", f"claims: {json.dumps(claims)}")
    for id_, word in answers.items():
        value = VALUES[id_] if word in ("reported", "partial") else None
        document.put(id_, Answer(answer=word, value=value, where=("Table 1",), why="so it is"))
    return document


def test_a_form_that_reports_everything_has_nothing_wrong() -> None:
    assert lint(full()) == ()


def test_a_blank_form_lacks_every_item_and_says_what_to_add() -> None:
    document = read(blank(extended=True))
    found = {f.item: f for f in lint(document)}
    assert {*found} == {"title", "method", "setting", *items(), *extension()}
    for id_, item in {**items(), **extension()}.items():
        assert found[id_].level == ("error" if item.priority == "required" else "warning")
        assert found[id_].add == item.add
        assert document.text().splitlines()[found[id_].line - 1].strip() == f"{id_}:"


def test_an_item_that_is_not_in_the_form_is_missed() -> None:
    text = full().text()
    start, end = text.index("  gpu_hours:"), text.index("  credit_overhead:")
    found = only(read(text[:start] + text[end:]))
    assert (found.level, found.item, found.says) == ("error", "gpu_hours", "not in the form; unanswered")


def test_an_extension_that_is_not_in_the_form_is_not_missed() -> None:
    text = full().text()
    assert lint(read(text[: text.index("extension:")])) == ()


@pytest.mark.parametrize("id_", [*items()])
def test_reported_needs_a_value_and_a_place(id_: str) -> None:
    document = put(id_, answer="reported", why="trust us")
    assert said(document) == [("error", id_, "reported without a value"), ("error", id_, "reported without a place")]
    for later in ("TODO", "?", "...", "see paper", "tbd."):
        assert ("error", id_, "reported without a value") in said(put(id_, answer="reported", value=later, where="Table 1"))
        assert said(put(id_, answer="reported", value=VALUES[id_], where=later)) == [("error", id_, "reported without a place")]


@pytest.mark.parametrize("id_", [*items(), *extension()])
def test_every_part_of_a_value_is_needed(id_: str) -> None:
    value = VALUES[id_]
    for part in value if isinstance(value, dict) and len(value) > 1 else ():
        rest = {k: v for k, v in value.items() if k != part}
        found = lint(put(id_, answer="reported", value=rest, where="Table 1"))
        assert [(f.level, f.item) for f in found] == [("error", id_)]
        assert part in found[0].says


@pytest.mark.parametrize(
    ("id_", "value", "says"),
    [
        ("spread", {"kind": "std", "over": "training_seeds", "seeds": 2}, "seeds is 2: fewer than 3 are partial at best"),
        ("spread", {"kind": "std", "over": "evaluation", "seeds": 16}, "over is evaluation: that is partial"),
        ("spread", {"kind": "sdt", "over": "training_seeds", "seeds": 3}, "kind is 'sdt': did you mean std?"),
        ("spread", {"kind": "std", "over": "training_seeds", "seeds": 3.5}, "seeds is 3.5: expected a whole number"),
        ("spread", {"kind": "std", "over": "training_seeds", "seeds": "3"}, "seeds is '3': expected a whole number"),
        ("spread", {"kind": "std", "over": "training_seeds", "seeds": True}, "seeds is True: expected a whole number"),
        ("baseline_budget", {"method": 5, "baseline": 5, "unit": "steps"}, "unit is steps: that is partial"),
        ("baseline_budget", {"method": "much", "baseline": 5, "unit": "flops"}, "method is 'much': expected a number"),
        ("baseline_budget", {"method": 5, "baseline": -1, "unit": "flops"}, "baseline is -1: it cannot be negative"),
        ("episode_baseline", {"baseline": "PPO", "same_base_model": False}, "same_base_model is False: reported needs yes"),
        ("episode_baseline", {"baseline": "TBD", "same_base_model": "yes"}, "baseline is 'TBD': say it"),
        ("credit_unit", "trun", "unit is 'trun': did you mean turn?"),
        ("credit_overhead", {"amounts": {"calls": "few"}, "per": "run"}, "amounts is {'calls': 'few'}: expected numbers by name"),
        ("gpu_hours", {"hour": 3, "hours": 3, "device": "H100"}, "'hour' is not asked for; did you mean hours?"),
        ("seeds_and_aggregation", {"seeds": 3, "aggregate": "best", "interval": "none"}, "aggregate is best: that is partial"),
        (
            "length_distribution",
            {"min": 1, "median": 2, "max": 3, "unit": "tokens"},
            "unit is tokens: in the setting agentic it is turns",
        ),
    ],
)
def test_a_value_that_is_too_little_is_no_report(id_: str, value: Any, says: str) -> None:
    found = only(put(id_, answer="reported", value=value, where="Table 1"))
    assert (found.level, found.item, found.says) == ("error", id_, says)


def test_a_bare_value_where_several_are_asked_for_is_named() -> None:
    found = lint(put("spread", answer="reported", value=0.3, where="Table 1"))
    assert found[0].says == "give it by name: kind, over, seeds"
    assert {f.says.partition(" ")[0] for f in found[1:]} == {"kind", "over", "seeds"}


def test_length_is_in_the_unit_of_the_setting() -> None:
    found = only(put("mean_length", answer="reported", value={"tokens": 9000}, where="Table 1"))
    assert found.says == "turns is missing: mean turns of an episode"
    reasoning = full("reasoning")
    assert {(f.item, f.says) for f in lint(reasoning)} == {
        ("mean_length", "tokens is missing: mean tokens of a response"),
        ("length_distribution", "unit is turns: in the setting reasoning it is tokens"),
    }
    both = changed("[agentic]", "[reasoning, agentic]")
    assert only(both).says == "tokens is missing: mean tokens of a response"


def test_the_line_is_that_of_the_part() -> None:
    document = put("spread", answer="reported", value=VALUES["spread"] | {"seeds": 2}, where="Table 1")
    found = only(document)
    assert document.text().splitlines()[found.line - 1].strip().startswith("seeds: 2")
    assert found.column == 7


def test_partial_is_said_and_its_value_may_be_less() -> None:
    found = only(put("spread", answer="partial", value={"seeds": 2}, where="Table 1", why="two seeds"))
    assert (found.level, found.says, found.add) == ("warning", "partial: two seeds", items()["spread"].add)
    required = only(put("gpu_hours", answer="partial", value={"device": "H100"}, where="Table 1", why="no hours"))
    assert required.level == "warning"
    wrong = put("spread", answer="partial", value={"seeds": "two"}, where="Table 1", why="two seeds")
    assert ("error", "spread", "seeds is 'two': expected a whole number") in said(wrong)
    nothing = put("spread", answer="partial", where="Table 1")
    assert ("error", "spread", "partial without a value") in said(nothing)
    nowhere = put("spread", answer="partial", value={"seeds": 2}, why="two seeds")
    assert ("error", "spread", "partial without a place") in said(nowhere)


def test_not_reported_is_a_gap_and_wants_a_reason() -> None:
    assert said(put("gpu_hours", answer="not_reported")) == [("error", "gpu_hours", "not reported, without a reason")]
    assert said(put("gpu_hours", answer="not_reported", why="not kept")) == [("error", "gpu_hours", "not reported")]
    assert said(put("spread", answer="not_reported", why="one seed")) == [("warning", "spread", "not reported")]
    assert said(put("failure_runs", answer="not_reported", why="not kept")) == []
    assert said(put("failure_runs", answer="not_reported"))[0][0] == "warning"
    value = put("failure_runs", answer="not_reported", why="x", value={"failed": 1})
    assert said(value) == [("warning", "failure_runs", "a value stands under not_reported")]


def test_not_applicable_where_it_applies_is_an_error() -> None:
    for id_, item in {**items(), **extension()}.items():
        found = said(put(id_, answer="not_applicable", why="we think so"))
        if item.waiver == "never":
            assert found == [("error", id_, "not applicable, but it applies to agentic")]
        elif item.waiver == "untrained":
            assert found == [("error", id_, "not applicable, but the form says trained: true")]
        else:
            assert found == []
            assert said(put(id_, answer="not_applicable")) == [("error", id_, "not applicable, without a reason")]


def test_not_applicable_where_it_does_not_apply_is_fine() -> None:
    untrained = changed("trained: true", "trained: false", put("gpu_hours", answer="not_applicable"))
    assert lint(untrained) == ()
    reasoning = full("reasoning")
    reasoning.put("mean_length", Answer(answer="reported", value={"tokens": 10}, where=("x",)))
    lengths = {"min": 1, "median": 2, "max": 30, "unit": "tokens"}
    reasoning.put("length_distribution", Answer(answer="reported", value=lengths, where=("x",)))
    reasoning.put("environment_version_and_reset_cost", Answer(answer="not_applicable"))
    assert lint(reasoning) == ()
    reasoning.put("environment_version_and_reset_cost", Answer())
    assert only(reasoning).add.startswith("Answer not_applicable")


@pytest.mark.parametrize(
    ("claim", "item", "level"),
    [
        ("It outperforms GRPO.", "baseline_budget", "error"),
        ("Ours is BETTER\n than GRPO.", "episode_baseline", "error"),
        ("It outperformed GRPO.", "spread", "warning"),
        ("The gain is significant.", "spread", "error"),
        ("Turn credit causes the gain.", "credit_ablation", "error"),
        ("The gain is due to turn credit.", "credit_ablation", "error"),
        ("It has negligible overhead.", "credit_overhead", "error"),
        ("It generalises to long-horizon tasks.", "mean_length", "warning"),
    ],
)
def test_a_claim_needs_what_carries_it(claim: str, item: str, level: str) -> None:
    document = claiming(claim, **{item: "not_reported"})
    found = [f for f in lint(document) if f.item == "claims"]
    assert [(f.level, f.line) for f in found] == [(level, 11)]
    assert item in found[0].says
    assert items()[item].add in found[0].add
    assert [f.level for f in lint(claiming(claim, **{item: "partial"})) if f.item == "claims"] == ["warning"]
    assert lint(claiming(claim)) == ()


@pytest.mark.parametrize(
    "claim",
    [
        "The gain is not significant.",
        "It does not outperform GRPO.",
        "We report insignificant gains.",
        "Nothing causal: no cause.",
    ],
)
def test_a_claim_that_is_denied_is_none(claim: str) -> None:
    document = claiming(claim, spread="not_reported", baseline_budget="not_reported", credit_ablation="not_reported")
    assert not [f for f in lint(document) if f.item == "claims" and "causal" not in f.says]


def test_not_only_denies_nothing() -> None:
    assert [f for f in lint(claiming("It does not only outperform GRPO.", spread="not_reported")) if f.item == "claims"]


def test_words_of_claims_need_items_there_are() -> None:
    for kind in kinds():
        assert {*kind.needs, *kind.wants} <= {*items()}
        assert all(kind.said_in(f"so {word} it is") for word in kind.words)


@pytest.mark.parametrize(
    ("id_", "value", "item", "says"),
    [
        ("length_distribution", {"min": 9, "median": 5, "max": 20, "unit": "turns"}, "length_distribution", "not in order"),
        ("mean_length", {"turns": 51}, "mean_length", "the mean, 51 turns, lies outside"),
        ("mean_length", {"turns": 3.5}, "mean_length", "the mean, 3.5 turns, lies outside"),
        ("failure_runs", {"failed": 7, "of": 6}, "failure_runs", "more runs failed"),
        ("credit_unit", "token", "credit_unit", "token, but the inventory has gigpo with"),
        ("methodology", "game-theoretic", "methodology", "the inventory has gigpo with"),
    ],
)
def test_values_that_contradict_each_other(id_: str, value: Any, item: str, says: str) -> None:
    found = only(put(id_, answer="reported", value=value, where="Table 1"))
    assert found.item == item
    assert says in found.says


def test_another_unit_than_the_records_may_be_explained() -> None:
    assert lint(put("credit_unit", answer="reported", value="token", where="Table 1", why="our variant")) == ()


def test_arms_with_unequal_compute_are_not_compared_in_silence() -> None:
    document = claiming("It outperforms GRPO.")
    document.put(
        "baseline_budget", Answer(answer="reported", value={"method": 20, "baseline": 10, "unit": "flops"}, where=("x",))
    )
    assert "a claim compares them" in only(document).says
    document.put(
        "baseline_budget", Answer(answer="reported", value={"method": 10, "baseline": 20, "unit": "flops"}, where=("x",))
    )
    assert lint(document) == ()


def test_a_method_that_is_nearly_one_of_ours_is_asked_about() -> None:
    assert only(changed('method: "gigpo"', 'method: "gigpoo"')).says == "no method 'gigpoo' here, but gigpo"
    assert lint(changed('method: "gigpo"', 'method: "our new one"')) == ()


def test_a_file_that_cannot_be_read_has_its_reasons_as_findings(tmp_path: Path) -> None:
    path = tmp_path / "report.yaml"
    path.write_text("schema: 1\nitems:\n  spred: {}\n")
    (found,) = lint_file(path)
    assert (found.level, found.item, found.line, found.column) == ("error", "items.spred", 3, 3)
    path.write_text("schema: [1\n")
    assert lint_file(path)[0].item == "form"
    full().save(path)
    assert lint_file(path) == ()
    with pytest.raises(OSError, match="nothing"):
        lint_file(tmp_path / "nothing.yaml")
