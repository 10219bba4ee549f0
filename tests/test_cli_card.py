"""``apportion card``: cards listed, shown, examined, begun; the page of the docs."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
from ruamel.yaml import YAML

from apportion.bench.falsifiers import Verdict, stored
from apportion.cli import main
from apportion.survey import records
from apportion.survey.card import Card, cards
from apportion.survey.tier import tier

from .card_forms import fields
from .commands import typed

PAGE = (Path(__file__).parents[1] / "docs" / "cards.md").read_text(encoding="utf-8")


pytestmark = pytest.mark.usefixtures("terminal")


def run(capsys: pytest.CaptureFixture[str], line: str) -> tuple[int, str, str]:
    return typed(capsys, "card", *shlex.split(line))


def test_the_list_has_a_line_a_card_and_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "list")
    assert status == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1 : 1 + len(cards())]] == list(cards())
    assert re.search(r"^capo .* predictive +\d+\*$", out, re.MULTILINE)
    assert re.search(r"^vineppo +advantage +restored +decoder_restore +restored +\d+$", out, re.MULTILINE)


def test_filters_hold_together_and_unknown_words_name_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "list --json --tier observational-causal --unit turn")
    found = {one["method"] for one in json.loads(out)}
    assert "gigpo" in found
    assert found == {id_ for id_, card in cards().items() if tier(card) == "observational-causal" and card.unit == "turn"}
    _, out, _ = run(capsys, "list --json --finding claim")
    assert {one["outranks"] for one in json.loads(out)} == {True}
    assert run(capsys, "list --estimand shaply")[::2] == (2, "apportion: --estimand shaply: did you mean shapley?\n")
    assert "there are: observed, matched" in run(capsys, "list --state zzz")[2]
    assert "0 cards" in run(capsys, "list --state latent --unit token")[1]


def test_a_card_is_shown_with_what_follows_from_it(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "show capo")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "predictive: state observed, intervention none" in out
    assert "claim" in out.partition("Findings")[2]
    data = json.loads(run(capsys, "show capo --json")[1])
    assert Card.model_validate(data["card"]) == cards()["capo"]
    assert (data["tier"], data["findings"][0]["kind"]) == ("predictive", "claim")
    assert data["ablation"]["is"] == records()["capo"].checklist["credit_ablation"].is_
    table = run(capsys, "show capo --markdown")[1]
    assert "| intervention | none |" in table
    assert all(line.count("|") == 3 for line in table.splitlines() if line.startswith("|"))


def test_what_the_falsifiers_found_is_shown_and_what_is_old_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Verdict(
        name="witness", method="gigpo", entrant="gigpo", needs="nothing", oracle=False, task="witness/plus", seed=0, rollouts=8,
        prediction="no sign", status="failed", passed=False, outcome="It tells \x1b[31ma sign.",
    )  # fmt: skip
    monkeypatch.setattr(stored, "stored", lambda id_: (found,) if id_ == "gigpo" else ())
    monkeypatch.setattr(stored, "is_current", lambda id_: True)
    out = run(capsys, "show gigpo")[1]
    assert re.search(r"^Falsifiers, as found\n  witness +failed: It tells \[31ma sign\.$", out, re.MULTILINE)
    assert json.loads(run(capsys, "show gigpo --json")[1])["falsified"] == [found.model_dump(mode="json")]
    assert "apportion card run capo: runs its falsifiers" in run(capsys, "show capo")[1]
    monkeypatch.setattr(stored, "is_current", lambda id_: False)
    assert "as found, of an older version of the code" in run(capsys, "show gigpo")[1]
    assert json.loads(run(capsys, "show gigpo --json")[1])["falsified_is_current"] is False


def test_without_stored_results_a_card_is_shown_all_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(id_: str) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(stored, "stored", absent)
    assert "apportion card run gigpo" in run(capsys, "show gigpo")[1]


def test_an_unknown_method_is_one_clean_line(capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("show gigp", "lint gigp", "show appo"):  # the last has a record and no card
        status, out, err = run(capsys, line)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert "did you mean" in err


def test_lint_exits_with_one_for_a_claim_above_its_tier(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "lint gigpo capo")
    assert status == 1
    assert re.search(r"^capo\.yaml:\d+: finding: verb: the claim attributes", out)
    assert out.endswith("2 cards, 0 errors, 1 finding, 1 claim above its tier\n")
    assert run(capsys, "lint gigpo")[:2] == (0, "1 card, 0 errors, 0 findings, 0 claims above their tier\n")


def test_other_findings_fail_where_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "lint vineppo")[0] == 0
    assert run(capsys, "lint vineppo --strict")[0] == 1
    assert run(capsys, "lint gigpo --strict")[0] == 0


def test_all_cards_that_ship_have_findings_and_no_errors(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "lint --json")
    data = json.loads(out)
    assert (status, data["cards"], data["errors"]) == (1, len(cards()), 0)
    assert data["claims"] == sum(one["kind"] == "claim" for one in data["found"]) > 0
    assert data["findings"] == len(data["found"])


def test_a_file_of_ones_own_is_examined_with_its_path_and_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine").mkdir()
    with Path("mine/card.yaml").open("w") as file:
        YAML().dump(fields(state="observed", note="\x1b[31mred"), file)
    status, out, _ = run(capsys, "lint mine/card.yaml")
    assert status == 1
    assert re.search(r"^mine/card\.yaml:\d+: error: state: observed, but intervention decoder_restore", out, re.MULTILINE)
    assert run(capsys, "lint nowhere.yaml")[::2] == (2, "apportion: nowhere.yaml: No such file or directory\n")


def test_an_empty_card_is_written_and_never_over_another(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "new --method 'Our: method'")[0] == 0
    text = Path("card.yaml").read_text()
    assert YAML().load(text)["method"] == "Our: method"
    status, _, err = run(capsys, "new")
    assert (status, Path("card.yaml").read_text()) == (2, text)
    assert "card.yaml exists" in err
    assert run(capsys, "new --force")[0] == 0
    assert run(capsys, "new -o -")[1] == Path("card.yaml").read_text() != text
    assert [path.name for path in Path().iterdir()] == ["card.yaml"]
    status, out, _ = run(capsys, "lint card.yaml")
    assert status == 1
    assert "error: method: missing" in out


def test_the_schema_takes_what_the_model_takes(capsys: pytest.CaptureFixture[str]) -> None:
    schema = json.loads(run(capsys, "schema")[1])
    jsonschema.Draft202012Validator.check_schema(schema)
    valid = jsonschema.Draft202012Validator(schema).is_valid
    assert valid(fields())
    assert all(valid(card.model_dump(mode="json", by_alias=True, exclude_none=True)) for card in cards().values())
    for wrong in (
        fields(state="restord"),
        {**fields(), "tier": "predictive"},
        fields(support__overlap=3),
        fields(claim="It works"),
    ):
        assert not valid(wrong)


def test_the_page_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "list --markdown")[1] == PAGE, "docs/cards.md is stale: make docs"
    assert re.findall(r"^\| `(\w+)` \| \w+ \| ", PAGE, re.MULTILINE) == list(cards())


def test_the_page_names_every_field_of_a_card_and_every_finding() -> None:
    for name in set(Card.model_fields) - {"method", "diagnostics", "note"}:
        assert f"`{name}`" in PAGE
    for kind in ("claim", "state", "noise", "ablation", "estimand", "falsifiers"):
        assert f"| `{kind}` |" in PAGE


@pytest.mark.parametrize("line", ["list", "show", "lint", "new", "schema", "run"])
def test_help_reads(capsys: pytest.CaptureFixture[str], line: str) -> None:
    status, out, _ = run(capsys, f"{line} --help")
    assert status == 0
    assert "Usage: apportion card" in out


def test_ids_and_words_are_completed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def completed(words: str) -> list[str]:
        monkeypatch.setenv("_APPORTION_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
        with pytest.raises(SystemExit):
            main([])
        return capsys.readouterr().out.split()

    assert completed("apportion card show gig") == ["gigpo"]
    assert completed("apportion card lint vin") == ["vineppo"]
    assert completed("apportion card list --tier obs") == ["observational-causal"]
