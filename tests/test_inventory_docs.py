"""docs/inventory.md says what the code means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apportion.survey.evidence import verdict
from apportion.survey.export import FORMATS
from apportion.survey.glossary import FIELDS, FREE, WORDS
from apportion.survey.query import FILTERS

from .papers import known, paper

PAGE = (Path(__file__).parents[1] / "docs" / "inventory.md").read_text(encoding="utf-8")


def tables() -> list[dict[str, str]]:
    """Each table of the page whose first column is code: word -> meaning."""
    found: list[dict[str, str]] = [{}]
    for line in PAGE.splitlines():
        row = re.fullmatch(r"\| `([^`]+)` \| (.*) \|", line)
        if row:
            found[-1][row[1]] = row[2]
        elif found[-1]:
            found.append({})
    return [table for table in found if table]


@pytest.mark.parametrize("name", WORDS)
def test_every_vocabulary_stands_in_the_page_as_the_glossary_has_it(name: str) -> None:
    assert dict(WORDS[name]) in tables(), f"docs/inventory.md: the table of {name} is not the glossary's"


def test_the_table_of_fields_is_the_glossary() -> None:
    assert dict(FIELDS) in tables()
    assert len(tables()) == len(WORDS) + 1


def test_what_costs_nothing_is_named() -> None:
    (sentence,) = [line for line in PAGE.splitlines() if line.startswith("`--needs none`")]
    assert set(re.findall(r"`(\w+)`", sentence)) - {"none"} == set(FREE)


def test_filters_and_formats_are_named() -> None:
    for name in FILTERS:
        assert f"--{name}" in PAGE
    (line,) = [line for line in PAGE.splitlines() if "inventory export -o" in line]
    assert all(format_ in line for format_ in FORMATS)


@pytest.mark.parametrize(
    ("facts", "level"),
    [
        ({"role": "enabler", "comparator": "matched", "benchmarks": 3}, "E"),
        ({"role": "analysis"}, "A"),
        ({"comparator": "none"}, "A"),
        ({"comparator": "unmatched", "benchmarks": 3}, "L"),
        ({}, "unknown"),
        ({"comparator": "matched", "benchmarks": 2}, "S"),
        ({"comparator": "matched", "seeds": 3}, "S"),
        ({"comparator": "matched", "interval": True}, "S"),
        ({"comparator": "matched", "benchmarks": 1, "seeds": 2, "interval": False}, "L"),
        ({"comparator": "matched", "benchmarks": 1, "seeds": 2}, "unknown"),
    ],
)
def test_the_numbered_rubric_is_the_codes(facts: dict[str, object], level: str) -> None:
    said: dict[str, object] = dict.fromkeys(("comparator", "benchmarks", "seeds", "interval"), "unknown")
    said |= {"role": known("method")} | {name: known(value) for name, value in facts.items()}
    assert verdict(paper("x", facts=said).facts)[0] == level
    assert f"**{level}**" in PAGE
