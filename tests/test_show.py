"""What batches and credit look like: short, escaped, and readable without colour."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

import apportion as ap
from apportion import Batch, Credit, Spans

EVIL = "<script>alert('x')</script>"


def credit_of(name: str, method: str) -> Credit:
    credit = ap.assign(ap.example(name), method)
    assert isinstance(credit, Credit)
    return credit


def fits(text: str) -> bool:
    return len(text.splitlines()) <= 20 and max(map(len, text.splitlines())) <= 100 and "\x1b" not in text


def test_a_batch_says_what_it_holds_and_what_it_lacks() -> None:
    text = repr(ap.example("agent"))
    assert fits(text)
    assert "8 trajectories in 2 groups" in text
    assert "solved 50%" in text
    has, lacks = text.split("lacks")
    assert "logp" in has
    assert "logp" not in lacks
    assert "turn_reward" in lacks


def test_credit_says_method_options_kind_shares_and_cost() -> None:
    text = repr(credit_of("agent", "gigpo"))
    assert fits(text)
    assert text.startswith("gigpo: advantage per turn")
    assert "omega=1.0" in text
    assert "nothing extra" in text
    assert re.search(r"^  2 +[▼▽]{6}  reward 0$", text, re.MULTILINE)


def test_units_out_of_the_loss_and_units_without_a_score_have_marks_of_their_own() -> None:
    batch = Batch.from_turns([[1, 1, 1, 1]], outcome=[1.0])
    credit = Credit.of(
        batch,
        "turn",
        np.array([1.0, -0.2, 0.0, 0.5]),
        scored=np.array([True, True, False, True]),
        keep=np.array([True, True, True, False]),
    )
    assert "▲▽?×" in repr(credit)
    assert "75% of turns scored" in repr(credit)
    assert "75% of the policy's tokens" in repr(credit)


def test_the_strongest_unit_stands_for_its_cell() -> None:
    batch = Batch.from_turns([[1] * 6000])
    values = np.zeros(6000)
    values[1234] = -1.0
    assert repr(Credit.of(batch, "turn", values)).count("▼") == 2  # the fork, and the legend


def test_a_million_tokens_stay_short() -> None:
    n = 1_000_000
    batch = Batch.from_turns([[n // 100] * 100], outcome=[1.0])
    assert fits(repr(batch))
    credit = Credit.of(batch, "token", np.linspace(-1, 1, n))
    assert fits(repr(credit))
    assert len(credit._repr_html_()) < 100_000
    many = Batch.from_turns([[1]] * 4096, outcome=np.arange(4096.0))
    assert fits(repr(many))
    assert "4,088 more" in repr(Credit.of(many, "trajectory", np.ones(4096)))
    assert len(Credit.of(many, "trajectory", np.ones(4096))._repr_html_()) < 100_000


def test_html_shows_markup_as_text() -> None:
    batch = Batch.from_turns(
        [[1], [1]], text=[EVIL, '" onmouseover="x'], trajectory=[EVIL, "b"], spans={EVIL: Spans(np.array([0]), np.array([1]))}
    )
    credit = Credit.of(batch, "turn", np.array([1.0, -1.0]), method=EVIL, options={EVIL: EVIL}, diagnostics={EVIL: 1.0})
    for page in (batch._repr_html_(), credit._repr_html_()):
        assert "<script" not in page
        assert '" onmouseover' not in page
        assert "&lt;script&gt;" in page


def test_a_terminal_gets_colour_and_no_control_characters_of_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch.from_turns([[1], [1]], trajectory=["a\x1b[2Jb", "c"], outcome=[1.0, 0.0])
    credit = Credit.of(batch, "turn", np.array([1.0, -1.0]))
    assert "\x1b" not in repr(credit)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert "\x1b[38;2;33;102;172m" in repr(credit)
    assert "\x1b[2J" not in repr(credit)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in repr(credit)


@pytest.mark.parametrize("level", ["token", "step", "turn", "trajectory"])
def test_every_level_has_a_picture(level: str) -> None:
    batch = ap.example("math")
    credit = Credit.of(batch, level, np.ones(batch.count(level)))  # type: ignore[arg-type]
    assert f"advantage per {level}" in repr(credit)
    assert credit._repr_html_().count("reward ") >= 8


def test_segments_and_all_zero_credit_have_a_picture() -> None:
    batch = Batch.from_turns([[4], [2]], spans={"tag": Spans(np.array([0, 2]), np.array([2, 4]))})
    credit = Credit(batch=batch, level="segment", segment="tag", unit=np.zeros(2), token=np.zeros(6))
    assert fits(repr(credit))
    assert "··" in repr(credit)
    assert "none given" in repr(batch)
