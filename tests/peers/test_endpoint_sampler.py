"""A sampler behind an endpoint: what is sent for each cut, what comes back as reward, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("openai")
pytest.importorskip("diskcache")

import apportion as ap
from apportion.errors import OptionError
from apportion.evidence import Sampler
from apportion.evidence.endpoint import Endpoint, EndpointError, EndpointSampler, Limit

from .test_endpoint import says, server

WORDS = ["zero", "<user>", "two", "<end>", "four", "five", "six", "seven", "eight", "nine"]
SAMPLING = {"max_tokens": 7, "temperature": 0.8}


def decode(ids: Any) -> str:
    return "".join(f" {WORDS[i]}" for i in ids)


def answers() -> ap.Batch:
    """Two answers to one prompt (tokens 1 2 3), in steps of 2 and 1 tokens."""
    ids = np.array([1, 2, 3, 4, 5, 6, 1, 2, 3, 7, 8, 9])
    action = np.tile([False] * 3 + [True] * 3, 2)
    return ap.Batch.from_turns([[6], [6]], outcome=[1.0, 0.0], group=[0, 0], action=action, ids=ids, steps=[[5, 1], [5, 1]])


def endpoint(url: str, **more: Any) -> Endpoint:
    return Endpoint(url, "m", **{"retries": 0, "timeout": 5.0, "sampling": SAMPLING, **more})


def continued(text: str, finish: str = "stop") -> dict[str, Any]:
    return {
        "id": "x", "object": "text_completion", "created": 0, "model": "m",
        "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
    }  # fmt: skip


def test_each_prefix_is_sent_as_text_and_what_was_written_is_rewarded() -> None:
    paid: list[tuple[int, str, bool]] = []

    def reward(i: int, text: str, ended: bool) -> float:
        paid.append((i, text, ended))
        return float(len(paid))

    def answer(request: dict[str, Any], i: int) -> tuple[int, Any]:
        return 200, continued(" yes", "length" if request["prompt"].endswith("five") else "stop")

    with server(answer) as (url, asked):
        sampler = EndpointSampler(endpoint(url, concurrency=1), reward, decode)
        assert isinstance(sampler, Sampler)
        found = sampler.continuations(answers(), np.array([1, 0, 4]), 2, np.random.default_rng(0), axis="step_prefix")
    prompts = [" <user> two <end> four five", " <user> two <end>", " <user> two <end> seven eight"]
    assert [a["prompt"] for a in asked] == [p for p in prompts for _ in range(2)]
    assert all((a["max_tokens"], a["temperature"]) == (7, 0.8) for a in asked)
    assert paid[::2] == [(0, " four five yes", False), (0, " yes", True), (1, " seven eight yes", True)]
    np.testing.assert_array_equal(found.values, [[1, 2], [3, 4], [5, 6]])
    assert (found.bill.generated, found.bill.scored) == (18, 60)
    assert sampler.provenance == "text_refeed"


def test_vineppo_asks_it_for_values() -> None:
    with server(lambda r, i: (200, continued(" good" if "four" in r["prompt"] else " bad"))) as (url, asked):
        sampler = EndpointSampler(endpoint(url), lambda i, text, ended: float("good" in text), decode)
        credit = ap.assign(answers(), "vineppo", sampler=sampler, k=2, rng=0)
    assert isinstance(credit, ap.Credit)
    np.testing.assert_allclose(credit.unit, [1, 0, 0, 0])
    assert len(asked) == 3 * 2  # the common start once, one state within each answer, the ends never


def test_draws_are_kept_by_number_and_another_seed_asks_anew(tmp_path: Path) -> None:
    def values(url: str, seed: int) -> list[float]:
        sampler = EndpointSampler(endpoint(url, cache=tmp_path), lambda i, text, ended: float(text), decode)
        rng = np.random.default_rng(seed)
        return sampler.continuations(answers(), np.array([0, 2]), 3, rng).values.ravel().tolist()  # type: ignore[no-any-return]

    with server(lambda r, i: (200, continued(str(i)))) as (url, asked):
        first = values(url, 0)
        assert sorted(first) == [0, 1, 2, 3, 4, 5]  # no draw stands for another, though both prompts are the same
        assert values(url, 0) == first
        assert len(asked) == 6
        assert sorted(values(url, 1)) == [6, 7, 8, 9, 10, 11]


@pytest.mark.filterwarnings("error")
def test_draws_that_never_differ_are_doubted() -> None:
    def draw(url: str, k: int, **sampling: Any) -> None:
        sampler = EndpointSampler(endpoint(url, sampling={**SAMPLING, **sampling}), lambda i, t, e: 0.0, decode)
        sampler.continuations(answers(), np.array([0, 2]), k, np.random.default_rng(0))

    with server(lambda r, i: (200, continued("same"))) as (url, _):
        with pytest.raises(UserWarning, match="all 4 draws after each of 2 prefixes are the same"):
            draw(url, 4)
        draw(url, 4, temperature=0)
        draw(url, 1)
    with server(lambda r, i: (200, continued("same" if i else "other"))) as (url, _):
        draw(url, 4)


def test_a_finished_answer_is_not_gone_on_with() -> None:
    with server(lambda r, i: (200, continued("more"))) as (url, asked):
        sampler = EndpointSampler(endpoint(url), lambda i, t, e: 0.0, decode)
        with pytest.raises(OptionError, match=r"prefixes\[1\] = 1: trajectory 0 is finished there"):
            sampler.continuations(answers(), np.array([0, 1]), 1, np.random.default_rng(0))
        assert not asked


def test_a_limit_stops_it() -> None:
    with server(lambda r, i: (200, continued(""))) as (url, asked):
        sampler = EndpointSampler(endpoint(url, limit=Limit(calls=2), concurrency=1), lambda i, t, e: 0.0, decode)
        with pytest.raises(EndpointError, match="limit of 2 calls"):
            sampler.continuations(answers(), np.array([0]), 5, np.random.default_rng(0))
    assert len(asked) == 2


CHATS = [[{"role": "user", "content": f"ask {i}"}] for i in range(2)]


def test_a_chat_is_gone_on_with_where_the_server_does_so() -> None:
    with server(lambda r, i: (200, says(" more"))) as (url, asked):
        texts: list[str] = []

        def reward(i: int, text: str, ended: bool) -> float:
            texts.append(text)
            return 0.0

        sampler = EndpointSampler(endpoint(url), reward, decode, form="chat", prompts=CHATS, prefill=True)
        sampler.continuations(answers(), np.array([0, 4]), 1, np.random.default_rng(0), axis="step_prefix")
    assert texts == [" more", " seven eight more"]
    by_length = {len(a["messages"]): a for a in asked}
    assert by_length[1]["messages"] == CHATS[0]
    assert "continue_final_message" not in by_length[1]
    assert by_length[2]["messages"] == [*CHATS[1], {"role": "assistant", "content": " seven eight"}]
    assert (by_length[2]["continue_final_message"], by_length[2]["add_generation_prompt"]) == (True, False)


def test_what_no_server_could_do_is_refused_before_anything_is_sent() -> None:
    with server(lambda r, i: (200, says("x"))) as (url, asked):
        plain = EndpointSampler(endpoint(url), lambda i, t, e: 0.0, decode, form="chat", prompts=CHATS)
        with pytest.raises(OptionError, match=r"prefixes\[1\] = 4: something is written before it"):
            plain.continuations(answers(), np.array([0, 4]), 1, np.random.default_rng(0), axis="step_prefix")
        short = EndpointSampler(endpoint(url), lambda i, t, e: 0.0, decode, form="chat", prompts=CHATS[:1])
        with pytest.raises(OptionError, match="prompts has 1 entries, expected 2"):
            short.continuations(answers(), np.array([0]), 1, np.random.default_rng(0))
        shown = ap.Batch.from_turns([[2, 2]], outcome=[1.0], ids=np.arange(4), action=np.array([False, True] * 2))
        with pytest.raises(OptionError, match="EndpointSampler cannot"):
            EndpointSampler(endpoint(url), lambda i, t, e: 0.0, decode).continuations(
                shown, np.array([0]), 1, np.random.default_rng(0)
            )
        assert not asked
    with pytest.raises(OptionError, match="max_tokens"):
        EndpointSampler(Endpoint("http://127.0.0.1:1/v1", "m"), lambda i, t, e: 0.0, decode)
    with pytest.raises(OptionError, match="form='chat' needs prompts"):
        EndpointSampler(endpoint("http://127.0.0.1:1/v1"), lambda i, t, e: 0.0, decode, form="chat")
    with pytest.raises(OptionError, match="no branches"):
        plain.branch(answers(), np.array([0]), np.random.default_rng(0))


def test_a_body_without_text_is_an_error() -> None:
    body = {**continued(""), "choices": [{"index": 0, "finish_reason": "stop"}]}
    with server(lambda r, i: (200, body)) as (url, _), pytest.raises(EndpointError, match="holds no text"):
        endpoint(url).ask("go on")
