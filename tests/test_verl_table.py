"""The table in docs/verl.md is the one the code makes of the registered methods."""

from __future__ import annotations

from pathlib import Path

from apportion.integrations.verl.table import alone, in_mode, markdown
from apportion.registry import get, methods


def test_the_page_holds_the_table_as_the_code_makes_it() -> None:
    page = (Path(__file__).parents[1] / "docs" / "verl.md").read_text()
    assert markdown() in page, "docs/verl.md is stale: make docs"


def test_every_method_is_in_it_and_every_no_says_why() -> None:
    for id_, spec in methods().items():
        assert f"| `{id_}` |" in markdown()
        for cell in (alone(spec), in_mode(spec)):
            assert cell == "yes" or cell.startswith(("yes: ", "no: "))


def test_what_three_tensors_feed_is_decided_by_what_methods_declare() -> None:
    assert alone(get("rloo")) == "yes"
    assert alone(get("gigpo")) == "no: `state` is not passed"
    assert alone(get("carl")).startswith("no: keep takes tokens")
    assert "hands over `state`" in in_mode(get("gigpo"))
    assert "critic.enable=true" in in_mode(get("gae"))
    assert "no sampler" in in_mode(get("vineppo"))
