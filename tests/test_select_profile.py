"""What a user may answer: impossible, huge or contradictory answers are one sentence, and nothing is guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apportion.survey.profile import Profile, ProfileError, profile
from apportion.survey.profile_file import read_profile


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"G": 0}, "--G 0: expected at least 1"),
        ({"setting": "agentic", "turns": -1}, "--turns -1"),
        ({"setting": "reasoning", "agents": 3}, "--setting reasoning with 3 agents"),
        ({"setting": "reasoning", "turns": 3}, "one answer has steps"),
        ({"setting": "reasoning", "states_repeat": "yes"}, "never meets a state again"),
        ({"setting": "agentic", "agents": 2}, "that is multi-agent"),
        ({"setting": "multi-agent", "agents": 1}, "expected at least 2"),
        ({"aux_model": "no", "judge": "yes"}, "a judge is an auxiliary model"),
        ({"aux_model": "no", "critic": "yes"}, "a critic is an auxiliary model"),
        ({"can_fork": "yes", "sampler": "no"}, "takes a sampler"),
        ({"can_fork": "no", "K": 4}, "continuations need a state"),
        ({"setting": "agentic", "turns": 4, "N": 5}, "--turns 4 with --N 5"),
        ({"setting": "agentic", "turns": 40, "T": 39}, "39 tokens for 40 units"),
        ({"setting": "agentic", "cot_tokens": 4}, "--cot-tokens with --setting agentic"),
        ({"cot_tokens": 4, "T": 5}, "both are the tokens of one answer"),
        ({"setting": "multi-agent", "agents": 5, "turns": 4}, "each needs a turn"),
        ({"success": 1.2}, "between 0 and 1"),
        ({"success": "nan"}, "between 0 and 1"),
        ({"turns": "many"}, "expected a whole number"),
        ({"turns": True}, "expected"),
        ({"setting": "desert"}, "expected reasoning, agentic, multi-agent"),
        ({"sampler": "no", "K": 4}, "--K 4 with --sampler no"),
        ({"success": [1]}, "--success [1]: expected a number from 0 to 1"),
        ({"success": {"a": 1}}, "expected a number from 0 to 1"),
        ({"success": 10**500}, "between 0 and 1"),
        ({"success": "9" * 500}, "between 0 and 1"),
        ({"turns": [1]}, "--turns [1]: expected a whole number"),
        ({"G": "9" * 500}, "expected at most 1,000,000,000,000"),
        ({"T": 10**500}, "expected at most"),
        ({"N": 10**6000}, "--N (a number of thousands of digits): expected a whole number"),
        ({"turns": -(10**500)}, "expected at least 1"),
        ({"can_frok": "yes"}, "did you mean can_fork"),
    ],
)
def test_answers_that_cannot_be_true_are_one_sentence(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ProfileError) as error:
        profile(given)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


def test_an_answer_of_one_turn_says_nothing_of_its_steps() -> None:
    assert profile({"setting": "reasoning", "cot_tokens": 900, "turns": 1}).units is None
    assert profile({"setting": "reasoning", "cot_tokens": 900, "turns": 1, "N": 12}).units == 12
    assert profile({"setting": "agentic", "turns": 7}).units == 7


def test_what_follows_is_filled_in_and_nothing_else() -> None:
    assert profile({"aux_model": "no"}) == Profile(aux_model=False, judge=False, critic=False)
    assert profile({"can_fork": "yes"}).sampler is True
    assert profile({"sampler": "no"}).can_fork is False
    assert profile({"judge": "yes"}).aux_model is True
    assert profile({"judge": "no"}) == Profile(judge=False)
    assert profile({"aux_model": "yes"}) == Profile(aux_model=True)


def test_a_profile_is_read_from_yaml_and_errors_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "setting.yaml"
    path.write_text("setting: agentic\nturns: 40\ncan-fork: no\naux_model: yes\n")
    assert read_profile(path) == {"setting": "agentic", "turns": 40, "can_fork": False, "aux_model": True}
    for text, says in [
        ("setting: agentic\nturn: 3\n", r"setting\.yaml:2: no question is called 'turn'; did you mean turns"),
        ("setting: agentic\nturns: some\n", r"setting\.yaml:2: turns some: expected a whole number"),
        ("- a\n", "expected lines like"),
        ("a: [\n", "line"),
        ("success: [1]\n", r"setting\.yaml:1: success \[1\]: expected a number from 0 to 1"),
        ("success: {a: 1}\n", r"setting\.yaml:1: success"),
        (f"T: {'9' * 500}\n", r"setting\.yaml:1: T 9+\.\.\.: expected at most"),
        (f"T: {'9' * 5000}\n", r"setting\.yaml"),
        (f"T: 0x{'f' * 5000}\n", r"setting\.yaml"),
    ]:
        path.write_text(text)
        with pytest.raises(ProfileError, match=says):
            read_profile(path)
