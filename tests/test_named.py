"""Live sources and learned parts that a configuration file names, and options on a trainer's command line."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import apportion as ap
from apportion.errors import ApportionError, MissingColumn, OptionError
from apportion.evidence import Bill, save_learned
from apportion.evidence.huggingface import HFHead
from apportion.integrations import honours, thin
from apportion.integrations.named import loaded, split
from apportion.integrations.rows import plan, read

PLACE = thin.Place(
    "here", ("reward", "group", "ids"), honours.Honours("here", frozenset({"token"}), True, "token"), {"value": "a critic"}
)


class Judge:
    """Called without arguments, so that a test can see which object it is."""


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = ModuleType("named_here")
    made.Judge, made.make, made.judge = Judge, lambda: "made", Judge()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "named_here", made)
    return made


def test_a_class_and_a_function_are_called_and_an_object_is_taken(module: Any) -> None:
    assert isinstance(loaded({"judge": "named_here:Judge"})["judge"], Judge)
    assert loaded({"sampler": "named_here:make"})["sampler"] == "made"
    assert loaded({"policy": "named_here:judge"})["policy"] is module.judge
    assert loaded({"judge": module.judge})["judge"] is module.judge


def test_other_options_are_left_alone_and_so_is_what_was_given() -> None:
    given = {"omega": 0.5, "similarity": "named_here:Judge", "judge": "named_here:make"}
    assert loaded(given) == {**given, "judge": "made"}
    assert given["judge"] == "named_here:make"


@pytest.mark.parametrize(
    "text", ["named_here", "named_here.Judge", ":Judge", "named_here:", "named_here:none", "no_such_module:x"]
)
def test_a_name_that_leads_nowhere_is_an_error_that_says_so(text: str) -> None:
    with pytest.raises(OptionError, match=f"judge = '{text}'"):
        loaded({"judge": text})


def test_what_was_learned_is_read_from_its_file(tmp_path: Path) -> None:
    batch = ap.example("agent")
    save_learned(ap.learn(batch, "gae", rng=0), tmp_path / "critic.npz")
    made = plan(PLACE, "gae", {"learned": str(tmp_path / "critic.npz")})
    assert made.chosen.options["learned"] is not None
    assert not isinstance(made.chosen.options["learned"], str)
    assert {"ids", "logp"} <= read(made.chosen)
    with pytest.raises((ApportionError, OSError)):
        plan(PLACE, "gae", {"learned": str(tmp_path / "none.npz")})


def test_a_head_on_a_language_model_is_refused_at_start_unless_it_has_its_model(tmp_path: Path) -> None:
    row = {"w0": np.zeros(2), "b0": np.zeros(())}
    head: Any = HFHead("value", (row, row), np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=np.int64), 1, Bill())
    save_learned(head, tmp_path / "head.npz")
    for learned in (str(tmp_path / "head.npz"), head):
        with pytest.raises(OptionError, match=r"learned: a head .* load_learned\(path\)\.on\(model\)"):
            plan(PLACE, "gae", {"learned": learned})
    assert plan(PLACE, "gae", {"learned": replace(head, model=object())}).chosen.options["learned"].model is not None


def test_a_source_that_is_none_is_refused_by_its_type() -> None:
    with pytest.raises(OptionError, match="Judge"):
        plan(PLACE, "capo", {"judge": "named_here:Judge"})


def test_what_a_place_has_other_ways_to_bring_is_said() -> None:
    with pytest.raises(OptionError, match=r"it has no value; a critic or pass fit=True"):
        plan(PLACE, "gae", {})
    assert "logp" not in read(plan(PLACE, "rloo", {}).chosen)


def test_a_column_that_only_an_option_asks_for_is_there_or_says_what_brings_it() -> None:
    loss = honours.Honours("here", frozenset({"token"}), True, "token")
    place = thin.Place("here", ("reward", "group"), loss, {"logp": "a second pass"})
    assert plan(place, "reinforce_pp", {"variant": "baseline"}).chosen.options == {"variant": "baseline"}
    with pytest.raises(MissingColumn, match=r"here cannot feed reinforce_pp with these options: a second pass.*column 'logp'"):
        plan(place, "reinforce_pp", {"beta": 0.1})
    with pytest.raises(MissingColumn, match="column 'group'"):
        plan(thin.Place("here", ("reward",), loss), "reinforce_pp", {"variant": "baseline"})


def test_the_command_line_is_split_into_ours_and_theirs() -> None:
    words = ["--credit.method", "gigpo", "--actor.optim", "adam", "--credit.omega=0.5", "--credit.states", "observation", "--x"]
    assert split(words) == ({"method": "gigpo", "omega": 0.5, "states": "observation"}, ["--actor.optim", "adam", "--x"])
    with pytest.raises(OptionError, match=r"credit\.method is missing"):
        split(["--actor.optim", "adam"])


def test_an_option_without_a_value_does_not_swallow_the_next() -> None:
    for words in (
        ["--credit.fit", "--train.seed", "1"],
        ["--train.seed", "1", "--credit.fit"],
        ["--credit.fit", "--credit.omega=1"],
    ):
        with pytest.raises(OptionError, match=r"--credit\.fit needs a value.*--credit\.fit true"):
            split(["--credit.method", "rloo", *words])
    given, theirs = split(["--credit.method", "rloo", "--credit.omega", "-1", "--credit.fit", "true", "--x", "-y"])
    assert given == {"method": "rloo", "omega": -1, "fit": True}
    assert theirs == ["--x", "-y"]
