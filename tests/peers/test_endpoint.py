"""A judge behind an endpoint: a server that answers, stalls, refuses for load, breaks, talks rubbish and dies."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("openai")
pytest.importorskip("diskcache")

import apportion as ap
from apportion.errors import OptionError
from apportion.evidence import Author, Judge
from apportion.evidence.endpoint import Endpoint, EndpointAuthor, EndpointError, EndpointJudge, Limit

Answer = Callable[[dict[str, Any], int], tuple[int, Any]]


@contextmanager
def server(answer: Answer) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Address of a server that answers request number i with ``answer(request, i)``: a status, and a body or "die"."""
    asked: list[dict[str, Any]] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(asked)
                asked.append(request)
            status, body = answer(request, number)
            if body == "die":
                self.connection.close()
                return
            sent = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Retry-After", "0")
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)
            except OSError:
                pass  # whoever asked has gone

        def log_message(self, *args: Any) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.server_address[1]}/v1", asked
    finally:
        made.shutdown()
        made.server_close()


def says(text: str, finish: str = "stop") -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "x", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
    }  # fmt: skip


CHATS = [
    [
        {"role": "user", "content": f"Task {i}"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "go on"},
        {"role": "assistant", "content": f"two {i}"},
    ]
    for i in range(4)
]


def batch() -> ap.Batch:
    return ap.Batch.from_messages(CHATS, outcome=[1.0, 0.0, 1.0, 0.0], group=[0, 0, 1, 1])


def endpoint(url: str, **more: Any) -> Endpoint:
    return Endpoint(url, "m", **{"retries": 3, "timeout": 5.0, **more})


def test_a_judge_scores_each_unit_of_each_trajectory_in_order() -> None:
    def answer(request: dict[str, Any], i: int) -> tuple[int, Any]:
        text = request["messages"][0]["content"]
        which = next(n for n in range(4) if f"Task {n}" in text)
        return 200, says(f'{{"scores": [{which / 10}, -{which / 10}]}}')

    with server(answer) as (url, asked):
        judge = EndpointJudge(endpoint(url))
        assert isinstance(judge, Judge)
        found = judge.score(batch(), "turn", np.random.default_rng(0))
    np.testing.assert_allclose(found.values, [0, 0, 0.1, -0.1, 0.2, -0.2, 0.3, -0.3])
    assert found.bill.judge_calls == 4
    assert len(asked) == 4
    assert judge.endpoint.spent.read == 40
    assert "two 1" in next(a["messages"][0]["content"] for a in asked if "Task 1" in a["messages"][0]["content"])


def test_a_method_asks_it_with_its_own_rubric() -> None:
    with server(lambda r, i: (200, says('{"scores": [1, 0]}'))) as (url, asked):
        judge = EndpointJudge(endpoint(url), references=["ref"] * 4)
        credit = ap.assign(batch(), "tarl", judge=judge)
    assert isinstance(credit, ap.Credit)
    assert np.isfinite(credit.unit).all()
    assert "ref" in asked[0]["messages"][0]["content"]
    assert "-1, 0, 1" in asked[0]["messages"][0]["content"]


def test_a_rubric_that_shows_the_reference_needs_one_before_anything_is_asked() -> None:
    with server(lambda r, i: (200, says('{"scores": [1, 0]}'))) as (url, asked):
        with pytest.raises(OptionError, match="references"):
            ap.assign(batch(), "tarl", judge=EndpointJudge(endpoint(url)))
        assert not asked


@pytest.mark.parametrize("body", ["I think both were fine.", '{"scores": [1]}', '{"scores": [1, 5]}'])
def test_rubbish_is_null_and_kept_to_look_at(body: str) -> None:
    with server(lambda r, i: (200, says(body) if "Task 2" in str(r) else says('{"scores": [0, 1]}'))) as (url, _):
        judge = EndpointJudge(endpoint(url))
        found = judge.score(batch(), "turn", np.random.default_rng(0)).values
    assert np.isnan(found[4:6]).all()
    assert not np.isnan(np.delete(found, [4, 5])).any()
    assert judge.unparsed == [body]


def test_an_answer_that_was_cut_off_is_null() -> None:
    with server(lambda r, i: (200, says('{"scores": [0, 1]}', finish="length"))) as (url, _):
        assert np.isnan(EndpointJudge(endpoint(url)).score(batch(), "turn", np.random.default_rng(0)).values).all()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_refusals_for_load_and_broken_servers_are_tried_again(status: int) -> None:
    with server(lambda r, i: (status, {"error": {"message": "no"}}) if i < 3 else (200, says("fine"))) as (url, asked):
        assert endpoint(url).ask([{"role": "user", "content": "x"}]).text == "fine"
    assert len(asked) == 4


def test_a_connection_that_dies_is_tried_again() -> None:
    with server(lambda r, i: (200, "die") if i < 2 else (200, says("fine"))) as (url, asked):
        assert endpoint(url).ask([{"role": "user", "content": "x"}]).text == "fine"
    assert len(asked) == 3


def test_a_server_that_stalls_is_left_after_the_timeout() -> None:
    def answer(request: dict[str, Any], i: int) -> tuple[int, Any]:
        time.sleep(2.0 if i == 0 or "stall" in str(request) else 0.0)
        return 200, says("fine")

    with server(answer) as (url, _):
        begun = time.monotonic()
        assert endpoint(url, timeout=0.3).ask([{"role": "user", "content": "x"}]).text == "fine"
        assert time.monotonic() - begun < 2.0
        with pytest.raises(EndpointError, match="Timeout"):
            endpoint(url, timeout=0.3, retries=1).ask([{"role": "user", "content": "stall"}])


@pytest.mark.parametrize(
    "body", ["<html>bad gateway</html>", "", {}, {"choices": []}, {"choices": [{"index": 0, "message": {"role": "assistant"}}]}]
)
def test_a_body_that_holds_no_answer_is_an_error_that_shows_it(body: Any) -> None:
    with server(lambda r, i: (200, body)) as (url, _), pytest.raises(EndpointError, match=r"127\.0\.0\.1"):
        endpoint(url, retries=0).ask([{"role": "user", "content": "x"}])


def test_a_wrong_key_is_not_tried_again() -> None:
    with server(lambda r, i: (401, {"error": {"message": "no such key"}})) as (url, asked):
        with pytest.raises(EndpointError, match="no such key"):
            endpoint(url).ask([{"role": "user", "content": "x"}])
        assert len(asked) == 1


def test_what_was_answered_before_a_failure_is_not_paid_for_again(tmp_path: Path) -> None:
    broken = True

    def answer(request: dict[str, Any], i: int) -> tuple[int, Any]:
        if broken and "Task 3" in str(request):
            return 400, {"error": {"message": "too long"}}
        return 200, says('{"scores": [0, 1]}')

    with server(answer) as (url, asked):
        judge = EndpointJudge(endpoint(url, cache=tmp_path / "cache", concurrency=1))
        with pytest.raises(EndpointError, match=r"3 of 4 were answered; they are in the cache"):
            judge.score(batch(), "turn", np.random.default_rng(0))
        broken = False
        again = EndpointJudge(endpoint(url, cache=tmp_path / "cache"))
        found = again.score(batch(), "turn", np.random.default_rng(0))
        assert len(asked) == 5
    assert not np.isnan(found.values).any()
    assert (again.endpoint.spent.calls, again.endpoint.spent.cached) == (1, 3)


def test_the_cache_tells_models_sampling_and_samples_apart(tmp_path: Path) -> None:
    question = [{"role": "user", "content": "x"}]
    with server(lambda r, i: (200, says(str(i)))) as (url, asked):
        one = endpoint(url, cache=tmp_path)
        texts = [one.ask(question).text, one.ask(question, sample=1).text, one.ask(question, temperature=0.5).text]
        texts.append(Endpoint(url, "other", cache=tmp_path).ask(question).text)
        assert texts == ["0", "1", "2", "3"]
        assert one.ask(question).text == "0"
        assert len(asked) == 4
        # the same question twice in one call is two draws
        assert len({reply.text for reply in one.ask_all([question, question, question])}) == 3


def test_a_limit_stops_before_the_next_request() -> None:
    with server(lambda r, i: (200, says("fine"))) as (url, asked):
        one = endpoint(url, limit=Limit(tokens=20), concurrency=1)
        with pytest.raises(EndpointError, match="limit of 20 tokens"):
            one.ask_all([[{"role": "user", "content": str(i)}] for i in range(9)])
        assert len(asked) == 2  # 13 tokens each
        two = endpoint(url, limit=Limit(calls=3), concurrency=1)
        with pytest.raises(EndpointError, match="limit of 3 calls"):
            two.ask_all([[{"role": "user", "content": str(i)}] for i in range(9)])
        assert len(asked) == 5


def test_requests_go_out_side_by_side() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def answer(request: dict[str, Any], i: int) -> tuple[int, Any]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.1)
        with lock:
            running -= 1
        return 200, says(request["messages"][0]["content"])

    with server(answer) as (url, _):
        questions = [[{"role": "user", "content": str(i)}] for i in range(12)]
        replies = endpoint(url, concurrency=4).ask_all(questions)
    assert [reply.text for reply in replies] == [str(i) for i in range(12)]
    assert most == 4


def test_an_author_writes_and_never_a_half_answer() -> None:
    with server(lambda r, i: (200, says("x + 1" if i == 0 else "x +", finish="stop" if i == 0 else "length"))) as (url, _):
        author = EndpointAuthor(endpoint(url))
        assert isinstance(author, Author)
        assert author.write("a function", np.random.default_rng(0))[0] == "x + 1"
        with pytest.raises(EndpointError, match="max_tokens"):
            author.write("a function", np.random.default_rng(1))


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"timeout": 0.0}, {"retries": -1}, {"timeout": float("nan")}])
def test_numbers_that_make_no_sense_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Endpoint("http://127.0.0.1:1/v1", "m", **wrong)
    with pytest.raises(OptionError, match="calls = 0"):
        Limit(calls=0)
