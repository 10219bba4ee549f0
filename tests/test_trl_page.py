"""docs/trl.md says what the code does: its tables are made from it, its example is the file that is run."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from apportion.errors import TrainerError
from apportion.integrations import versions
from apportion.integrations.trl.page import methods_table, page
from apportion.integrations.trl.start import LOSSES
from apportion.registry import methods

DOCS = Path(__file__).parents[1] / "docs"


def test_the_tables_of_the_page_are_the_generated_ones() -> None:
    text = (DOCS / "trl.md").read_text(encoding="utf-8")
    assert page(text) == text, "run: python -m apportion.integrations.trl.page docs/trl.md"
    assert text.count("`loss_type=") == len(LOSSES)


def test_every_method_is_in_the_table() -> None:
    lines = methods_table().splitlines()[2:]
    assert [line.split("`")[1] for line in lines] == list(methods())


def test_the_example_on_the_page_is_the_file_that_is_run() -> None:
    example = (DOCS / "examples" / "trl_quickstart.py").read_text(encoding="utf-8")
    assert f"```py\n{example}```" in (DOCS / "trl.md").read_text(encoding="utf-8")
    assert sum(bool(line.strip()) for line in example.splitlines()) < 30


def test_without_trl_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(versions, "version", absent)
    from apportion.integrations.trl import CreditMixin

    with pytest.raises(TrainerError, match=r"needs trl >= 1\.16\.0, < 1\.17: pip install"):
        type("T", (CreditMixin,), {})
