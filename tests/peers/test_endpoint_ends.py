"""Answers that do not come whole: cut off, withheld, without a count of tokens, or drop by drop."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("openai")
pytest.importorskip("diskcache")

from apportion.evidence.endpoint import Endpoint, EndpointAuthor, EndpointError, EndpointJudge, EndpointSampler, Limit

from .test_endpoint import batch, endpoint, says, server
from .test_endpoint_sampler import answers, continued, decode
from .test_endpoint_sampler import endpoint as sampling

ASK = [{"role": "user", "content": "x"}]


def silent(finish: str | None, **message: Any) -> dict[str, Any]:
    body = says("")
    body["choices"][0] |= {"finish_reason": finish, "message": {"role": "assistant", "content": None, **message}}
    return body


@pytest.mark.parametrize(
    ("body", "finish"),
    [
        (silent("length"), "length"),
        (silent("content_filter"), "content_filter"),
        (silent("stop", refusal="I will not."), "refusal"),
    ],
)
def test_an_answer_that_ends_before_it_begins_is_counted_and_null_for_its_units(body: Any, finish: str, tmp_path: Path) -> None:
    def answer(request: dict[str, Any], i: int) -> tuple[int, Any]:
        return 200, body if "Task 2" in str(request) else says('{"scores": [0, 1]}')

    with server(answer) as (url, asked):
        judge = EndpointJudge(endpoint(url, cache=tmp_path))
        for _ in range(2):  # the second time out of the cache
            found = judge.score(batch(), "turn", np.random.default_rng(0)).values
            assert np.isnan(found).tolist() == [False] * 4 + [True] * 2 + [False] * 2
            assert judge.unparsed == [""]
        assert (len(asked), judge.endpoint.spent.calls, judge.endpoint.spent.read) == (4, 4, 40)
        question = next(a["messages"] for a in asked if "Task 2" in str(a))
        reply = judge.endpoint.ask(question)
        assert (reply.text, reply.finish, reply.whole, reply.written) == ("", finish, False, 3)


def test_scores_of_an_answer_that_was_filtered_are_not_read() -> None:
    with server(lambda r, i: (200, says('{"scores": [0, 1]}', finish="content_filter"))) as (url, _):
        judge = EndpointJudge(endpoint(url))
        assert np.isnan(judge.score(batch(), "turn", np.random.default_rng(0)).values).all()
    assert judge.unparsed == ['{"scores": [0, 1]}'] * 4


@pytest.mark.parametrize("body", [silent("stop"), silent(None), silent("tool_calls", tool_calls=[])])
def test_an_empty_message_with_no_reason_for_it_is_an_error(body: Any) -> None:
    with server(lambda r, i: (200, body)) as (url, _), pytest.raises(EndpointError, match="holds no text"):
        endpoint(url).ask(ASK)


def test_what_was_withheld_is_no_text_of_an_author_and_no_ended_answer_of_a_sampler() -> None:
    with server(lambda r, i: (200, silent("stop", refusal="no") if i else says("x", finish="content_filter"))) as (url, _):
        author = EndpointAuthor(endpoint(url))
        for reason in ("content_filter", "refusal"):
            with pytest.raises(EndpointError, match=rf"withheld \({reason}\)"):
                author.write("a function", np.random.default_rng(0))
    ended: list[bool] = []

    def reward(i: int, text: str, whole: bool) -> float:
        ended.append(whole)
        return 0.0

    with server(lambda r, i: (200, continued("x", "content_filter" if i else "stop"))) as (url, _):
        sampler = EndpointSampler(sampling(url, concurrency=1), reward, decode)
        sampler.continuations(answers(), np.array([0]), 2, np.random.default_rng(0))
    assert ended == [True, False]


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 10}])
def test_a_limit_of_tokens_needs_a_server_that_counts_them(usage: Any) -> None:
    body = says("fine")
    body.pop("usage")
    if usage is not None:
        body["usage"] = usage
    with server(lambda r, i: (200, body)) as (url, asked):
        one = endpoint(url, limit=Limit(tokens=1000), concurrency=1)
        with pytest.raises(EndpointError, match=r"reports no usage, so that limit: tokens = 1,000 cannot be kept; limit calls="):
            one.ask_all([ASK] * 9)
        assert len(asked) == one.spent.calls == 1
        with pytest.raises(EndpointError, match="reports no usage"):
            endpoint(url, limit=Limit(tokens=1000)).ask(ASK)
        two = endpoint(url, limit=Limit(calls=2), concurrency=1)
        assert [two.ask(ASK).text, two.ask(ASK).text] == ["fine", "fine"]


@contextmanager
def dripping(drops: int, pause: float) -> Iterator[tuple[str, list[float]]]:
    """A server whose answers begin with so many spaces, one after every ``pause`` seconds."""
    begun: list[float] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            begun.append(time.monotonic())
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            try:
                for _ in range(drops):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    time.sleep(pause)
                self.wfile.write(json.dumps(says("fine")).encode())
            except OSError:
                pass  # whoever asked has gone

        def log_message(self, *args: Any) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{made.server_address[1]}/v1", begun
    finally:
        made.shutdown()
        made.server_close()


def test_an_answer_that_drips_is_left_at_the_deadline_and_tried_again() -> None:
    with dripping(40, 0.1) as (url, begun):
        start = time.monotonic()
        with pytest.raises(EndpointError, match="Timeout"):
            Endpoint(url, "m", timeout=0.4, retries=1).ask(ASK)
        assert time.monotonic() - start < 3.5  # 4 s a try without a deadline
        assert len(begun) == 2


def test_an_answer_that_drips_within_the_deadline_is_read() -> None:
    with dripping(5, 0.05) as (url, _):
        assert Endpoint(url, "m", timeout=30.0, retries=0).ask(ASK).text == "fine"
