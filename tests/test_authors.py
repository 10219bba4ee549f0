"""The simulated author: it reads requests, writes at random, and knows nothing; what is around it makes use of it."""

from __future__ import annotations

import time

import numpy as np
import pytest

from apportion.bench.authors import SimulatedAuthor
from apportion.bench.entrants import entrants, run_entrant
from apportion.bench.tasks import find
from apportion.edges.expressions import ExpressionError
from apportion.errors import OptionError
from apportion.evidence import Author, Bill
from apportion.evidence.authoring import REPAIR, ask_for, code_of, language, listed
from apportion.evidence.latent_design import design as design_factors
from apportion.evidence.mixer import checked
from apportion.evidence.mixer_design import design as design_mixer
from apportion.evidence.text_features import Vocabulary
from apportion.examples import example

MIX = "Join them.\n- q: value\n- seen: tokens\n- position: place\n"
FACTORS = "Judge the step.\n- seen: tokens\n- position: place\n"


def _written(request: str, n: int = 300, **how: float) -> list[str]:
    author, rng = SimulatedAuthor(**how), np.random.default_rng(0)
    return [author.write(request, rng)[0] for _ in range(n)]


def _usable(text: str) -> bool:
    try:
        checked(code_of(text), Vocabulary())
    except ExpressionError:
        return False
    return True


def test_some_of_what_it_writes_is_refused_and_no_two_authors_differ() -> None:
    texts = _written(MIX, 120)
    assert len(set(texts)) > 80
    share = np.mean([_usable(t) for t in texts])
    assert 0.5 < share < 0.8
    assert all(_usable(t) for t in _written(MIX, 60, broken=0.0))
    assert not any(_usable(t) for t in _written(MIX, 50, broken=1.0))
    assert texts == _written(MIX, 120)
    assert SimulatedAuthor().write(MIX, np.random.default_rng(0))[1] == Bill(judge_calls=1.0)
    assert isinstance(SimulatedAuthor(), Author)


def test_an_error_that_is_sent_back_helps_it_as_often_as_was_said() -> None:
    again = MIX + REPAIR.format(code="x", error="no name 'x'")
    assert all(_usable(t) for t in _written(again, 50, broken=1.0, mended=1.0))
    assert not any(_usable(t) for t in _written(again, 50, broken=0.0, mended=0.0))


def test_a_choice_is_one_of_those_shown() -> None:
    answers = set(_written("Which one? Answer with a list of 3 numbers, 1 for the best", 60))
    assert answers == {"[1, 0, 0]", "[0, 1, 0]", "[0, 0, 1]"}


def test_it_uses_only_the_names_it_is_told() -> None:
    for request in (MIX, FACTORS):
        for text in _written(request, 100, broken=0.0):
            assert "written" not in text
            assert "agent" not in text


def test_shares_out_of_range_are_refused() -> None:
    for name in ("broken", "mended"):
        with pytest.raises(OptionError, match=f"{name} = 1.5"):
            SimulatedAuthor(**{name: 1.5})


def test_with_repairs_nearly_every_design_ends_well() -> None:
    batch = example("agent")
    for seed in range(10):
        rng = np.random.default_rng(seed)
        factors = design_factors(SimulatedAuthor(), batch, rng=rng, candidates=2)
        assert 1 <= len(factors.expression.program.results) <= 16
        mixer = design_mixer(SimulatedAuthor(), batch, rng=rng, rounds=2, candidates=2)
        assert mixer.bill.judge_calls == mixer.tried + 3  # two choices and one advice
        assert checked(mixer.text, mixer.vocabulary).text == mixer.text


def test_a_request_says_all_there_is_to_know() -> None:
    assert "softmax" in language()
    assert "{" not in language()
    assert listed({"a": "first", "b": "second"}) == "- a: first\n- b: second"
    assert code_of("x\n```\ny\n```\n```python\nz\n```") == "y"
    assert code_of("```py\na\nb\n```") == "a\nb"
    assert code_of("plain") == code_of("\nplain\n") == "plain"
    assert code_of("```python\nx = 1") == "x = 1"
    assert code_of("``` x") == "``` x"
    start = time.perf_counter()
    for hostile in ("`" * 100_000, "```" + " " * 100_000, "```\n" * 25_000, "```python" * 11_000, " " * 100_000):
        code_of(hostile)
    assert time.perf_counter() - start < 1.0


def test_asking_stops_at_the_first_usable_answer_and_after_the_last_repair() -> None:
    def read(code: str) -> str:
        if "q" not in code:
            raise ExpressionError("no q", 1, 1)
        return code

    rng = np.random.default_rng(0)
    found = ask_for(SimulatedAuthor(broken=0.0), MIX, read, 0, rng)
    assert found.read is not None
    assert found.refused == ()
    assert found.bill == Bill(judge_calls=1.0)
    none = ask_for(SimulatedAuthor(), "no names here", read, 4, rng)
    assert none.read is None
    assert none.refused == ("line 1, column 1: no q",) * 5
    assert none.bill == Bill(judge_calls=5.0)


def test_entrants_ask_it_once_in_learning_and_every_time_elsewhere() -> None:
    task = find("team/two")
    for id_ in ("qllm", "lare"):
        entrant = entrants()[id_]
        assert entrant.paid
        assert not entrant.oracle

        def run(learned: object = None, entrant: object = entrant) -> object:
            return run_entrant(
                entrant, task, task.start_theta, 4, 8, np.random.default_rng(0), np.random.default_rng(1), learned=learned  # type: ignore[arg-type]
            )  # fmt: skip

        first = run()
        again = run(first.learned)  # type: ignore[attr-defined]
        assert first.credit.bill.judge_calls > 0  # type: ignore[attr-defined]
        assert again.credit.bill.judge_calls == 0  # type: ignore[attr-defined]
