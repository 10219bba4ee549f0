"""Lint of cards: what is missing, what contradicts itself, what a claim outranks; one sentence each, with its line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from apportion.survey.card import Card
from apportion.survey.card_blank import blank
from apportion.survey.card_lint import Finding, lint, lint_file, shipped

from .card_forms import card as made
from .card_forms import fields, logs, model


def said(which: Card) -> list[tuple[str, str]]:
    return [(found.kind, found.field) for found in lint(which)]


def written(path: Path, data: dict[str, Any]) -> tuple[Finding, ...]:
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(data, file)
    return lint_file(path)


@pytest.mark.parametrize("which", [made(), logs(), model(verb="ranks"), model(state="latent")])
def test_a_card_that_claims_what_it_shows_has_nothing_wrong(which: Card) -> None:
    assert said(which) == []


EVERY = [
    "method", "claim", "verb", "unit", "estimand", "reference", "state", "environment", "intervention", "interface",
    "protocol.continuation", "protocol.horizon", "protocol.verifier", "protocol.noise", "support.overlap",
    "support.exchangeability", "support.repetitions", "support.interval", "support.noise_floor", "ablation",
]  # fmt: skip


def test_an_empty_card_misses_every_field() -> None:
    assert said(Card()) == [*(("missing", name) for name in EVERY), ("falsifiers", "falsifiers")]


@pytest.mark.parametrize("name", EVERY)
def test_each_field_is_missed_alone(name: str) -> None:
    found = [field for kind, field in said(model(**{name.replace(".", "__"): None})) if kind == "missing"]
    assert found == [name]


def test_an_unknown_claim_is_a_missing_one_and_an_unknown_ablation_a_finding() -> None:
    assert said(made(claim="unknown")) == [("missing", "claim")]
    assert said(made(ablation="unknown")) == [("ablation", "ablation")]


@pytest.mark.parametrize(
    ("which", "field", "words"),
    [
        (made(intervention="none", support__overlap="not_applicable"), "state", "nothing was restored"),
        (made(intervention="surrogate"), "state", "nothing was restored"),
        (made(state="observed"), "state", "starts from a restored state"),
        (made(intervention="rerun", state="latent"), "state", "starts from a restored state"),
        (logs(state="observed"), "state", "only there"),
        (model(state="matched"), "state", "only there"),
        (made(intervention="environment_restore"), "environment", "absent"),
        (made(environment="present"), "environment", "does not restore it"),
        (made(reference="none"), "reference", "advantage is a difference"),
        (made(estimand="difference", reference="without_unit"), "unit", "is of agents"),
        (made(estimand="team_shapley", reference="without_unit"), "unit", "is of agents"),
        (made(estimand="leave_one_out", unit="agent"), "unit", "of single choices"),
        (made(estimand="shapley", reference="policy"), "reference", "left out or drawn anew"),
        (made(protocol__continuation="logged"), "protocol.continuation", "somebody who acts"),
        (logs(protocol__continuation="policy"), "protocol.continuation", "continued as logged"),
        (logs(protocol__noise="shared"), "protocol.noise", "nothing is run twice"),
        (model(intervention="none"), "support.overlap", "no two actions are compared"),
        (logs(falsifiers={"witness": "identified"}), "falsifiers.witness", "only a restored state"),
    ],
)
def test_two_fields_that_cannot_both_be_true_are_an_error(which: Card, field: str, words: str) -> None:
    clashes = [found for found in lint(which) if found.kind == "clash"]
    assert field in [found.field for found in clashes]
    assert any(words in found.says for found in clashes)


def test_what_may_stand_together_is_no_clash() -> None:
    team = made(estimand="difference", unit="agent", reference="without_unit", intervention="rerun")
    assert said(team) == []
    assert said(made(protocol__noise="shared")) == []
    assert said(made(estimand="shapley", reference="without_unit")) == []
    assert said(model(verb="ranks", estimand="none", reference="none")) == []


def test_a_claim_above_its_tier_is_said_with_both_tiers() -> None:
    (found,) = lint(model(verb="measures_effect"))
    assert (found.kind, found.field) == ("claim", "verb")
    assert "measures an effect, which needs observational-causal evidence, but it is model-relative" in found.says
    assert said(model(intervention="none", support__overlap="not_applicable")) == [("claim", "verb")]


def test_an_effect_of_nothing_is_a_finding() -> None:
    assert said(made(estimand="none")) == [("estimand", "estimand")]


def coded(**codes: str) -> dict[str, Any]:
    return {code: {"is": word, "from": "ours"} for code, word in codes.items()}


def test_an_observed_state_is_a_finding_where_more_may_hide() -> None:
    assert said(model()) == []
    assert said(model(environment="present")) == [("state", "state")]
    assert said(model(diagnostics=coded(T="addressed"))) == [("state", "state")]
    assert said(model(diagnostics=coded(O="addressed"))) == [("state", "state")]
    assert said(model(environment="present", diagnostics=coded(T="not_applicable", O="not_applicable"))) == []
    assert said(model(environment="present", diagnostics=coded(T="not_applicable"))) == [("state", "state")]
    assert said(model(environment="present", state="latent", diagnostics=coded(T="addressed"))) == []


def test_runs_that_are_repeated_want_a_noise_floor() -> None:
    for word in ("not_reported", "unknown"):
        assert said(made(support__noise_floor=word)) == [("noise", "support.noise_floor")]
        assert said(made(support__noise_floor=word, diagnostics=coded(R="not_applicable"))) == []
        assert said(model(support__noise_floor=word)) == []


def test_an_ablation_that_nobody_made_is_a_finding() -> None:
    assert said(made(ablation={"is": "not_reported", "from": "primary"})) == [("ablation", "ablation")]
    for word in ("partial", "not_applicable"):
        assert said(made(ablation={"is": word, "from": "primary"})) == []


def test_findings_of_a_file_have_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "card.yaml"
    assert written(path, fields()) == ()
    (found,) = written(path, fields(support__noise_floor="unknown"))
    assert (found.level, found.kind, found.file) == ("finding", "noise", str(path))
    lines = path.read_text().splitlines()
    assert lines[found.line - 1].strip() == "noise_floor: unknown"
    clash = [found for found in written(path, fields(environment="present")) if found.kind == "clash"]
    assert [(found.level, lines[found.line - 1].partition(":")[0]) for found in clash] == [
        ("error", "environment"),
        ("error", "  witness"),  # and so the two worlds of the witness could not be told apart
    ]


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"estimnad": "advantage"}, "estimnad", "did you mean estimand?"),
        ({"protocol": {"verifer": "a judge"}}, "protocol.verifer", "did you mean verifier?"),
        ({"zzz": 1}, "zzz", "no such field; there are: method, claim"),
        ({"state": "restord"}, "state", "'observed', 'matched', 'restored' or 'latent'"),
        ({"tier": "predictive"}, "tier", "no such field"),
        ({"falsifiers": {"wittness": "identified"}}, "falsifiers", "no falsification test 'wittness'"),
        ({"claim": "It works."}, "claim", "say where it comes from"),
        ({"claim": {"is": "It works."}}, "claim", "'from' is missing"),
    ],
)
def test_what_is_misspelt_is_an_error_at_its_line(tmp_path: Path, changes: dict[str, Any], field: str, words: str) -> None:
    path = tmp_path / "card.yaml"
    found = written(path, fields() | changes)
    assert [(one.level, one.field) for one in found] == [("error", field)]
    assert words in found[0].says
    assert field.split(".")[-1] in path.read_text().splitlines()[found[0].line - 1]


@pytest.mark.parametrize("text", ["", "[1, 2]", "just words", "state: [unclosed", "a: 1\na: 2", "x: !!python/object:os.system 1"])
def test_what_is_no_card_is_one_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "card.yaml"
    path.write_text(text)
    found = lint_file(path)
    assert [one.level for one in found] == ["error"]
    assert found[0].says


def test_bytes_that_are_no_text_are_one_error(tmp_path: Path) -> None:
    path = tmp_path / "card.yaml"
    path.write_bytes(b"method: \xff\n")
    assert "UTF-8" in lint_file(path)[0].says


def test_the_empty_card_can_be_read_and_has_errors_for_what_is_missing_alone(tmp_path: Path) -> None:
    path = tmp_path / "card.yaml"
    path.write_text(blank("Ours"), encoding="utf-8")
    found = lint_file(path)
    assert {one.kind for one in found} == {"missing"}
    assert {one.field for one in found} == set(EVERY) - {"method"}
    lines = path.read_text().splitlines()
    for one in found:
        assert lines[one.line - 1].strip().startswith(one.field.split(".")[-1] + ":")
    assert blank('"; rm').count('method: "\\"; rm"') == 1


def test_a_record_is_read_with_its_diagnostics_and_its_ablation(tmp_path: Path) -> None:
    home = shipped("vineppo")
    copy = tmp_path / "vineppo.yaml"
    shutil.copy(home, copy)
    assert lint_file(copy, "vineppo.yaml") == lint_file(home, "vineppo.yaml")
    assert [found.kind for found in lint_file(copy)] == ["noise"]
    text = home.read_text(encoding="utf-8")
    copy.write_text(text.replace("  R: unknown", "  R: {is: not_applicable, from: ours}"), encoding="utf-8")
    assert lint_file(copy) == ()
    copy.write_text(text.replace("  credit_ablation:", "  credit_ablaton:"), encoding="utf-8")
    found = lint_file(copy)
    assert {one.level for one in found} == {"error"}
    assert "credit_ablation" in found[0].says
    copy.write_text(text[: text.index("\ncard:") + 1], encoding="utf-8")
    assert [one.says for one in lint_file(copy)] == ["the record has no card"]
