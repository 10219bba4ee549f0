"""A chat endpoint that many questions are put to at once: retried, timed, kept on disk and within a limit.

Requests, retries with exponential backoff (which heed Retry-After) and timeouts are the openai package's, the cache is
diskcache's. An answer is kept under the digest of all that it depends on, so that a run which stopped half-way goes on
where it was and nothing is paid for twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ApportionError, OptionError
from .deadline import http_client
from .limit import Limit, Spent

Message = Mapping[str, str]
#: What is asked: a chat, or a text to be gone on with.
Question = Sequence[Message] | str
Watch = Callable[[int, int], None]
#: Why an answer ended that is not what the model would have said; only then may it be empty.
NOT_WHOLE = ("length", "content_filter", "refusal")


class EndpointError(ApportionError, RuntimeError):
    """The endpoint did not answer, or a limit was reached; what was answered before is kept."""


@dataclass(frozen=True)
class Reply:
    """An answer. ``finish``: why it ended, as the server says ("stop", "length" …), or "refusal". ``cached``: it cost nothing
    this time. ``whole``: it ended by itself; else it was cut off or withheld, and the text is a part of it, or empty.
    """

    text: str
    finish: str | None
    read: int
    written: int
    cached: bool = False

    @property
    def whole(self) -> bool:
        return self.finish not in NOT_WHOLE


class Endpoint:
    """One model behind ``base_url`` (with its ``/v1``).

    key: default: the environment's OPENAI_API_KEY, "none" where there is none. sampling: temperature, top_p, max_tokens
    and whatever else the endpoint takes with each request. concurrency: requests at a time. timeout: seconds in which one
    try of a request must be answered wholly (see :mod:`.deadline`). retries: of a request that timed out, was refused for
    load (429) or met a broken server (5xx). cache: a folder, or None to keep nothing.

    Raises OptionError where the package is missing or a number makes no sense, before anything is sent.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        key: str | None = None,
        sampling: Mapping[str, Any] | None = None,
        concurrency: int = 8,
        timeout: float = 120.0,
        retries: int = 5,
        cache: str | Path | None = None,
        limit: Limit | None = None,
    ) -> None:
        for name, value, least in (("concurrency", concurrency, 1), ("timeout", timeout, 1e-3), ("retries", retries, 0)):
            if not value >= least:
                raise OptionError(f"{name} = {value}: expected at least {least:g}")
        try:
            import diskcache
            import openai
        except ImportError as error:
            raise OptionError(f"an endpoint needs {error.name}: pip install 'apportion[endpoint]'") from None
        import os

        self.base_url, self.model, self.sampling = base_url, model, dict(sampling or {})
        self.concurrency, self.limit, self.spent = concurrency, limit or Limit(), Spent()
        given = key or os.environ.get("OPENAI_API_KEY") or "none"
        self._client = openai.OpenAI(
            base_url=base_url, api_key=given, timeout=timeout, max_retries=retries, http_client=http_client(timeout)
        )
        # JSON, not pickle: nothing in the folder can run
        self._cache = None if cache is None else diskcache.Cache(str(cache), disk=diskcache.JSONDisk, eviction_policy="none")

    def ask(self, question: Question, *, sample: int = 0, **more: Any) -> Reply:
        """One answer. sample: number of the answer, where several of the same question are wanted. more: sampling."""
        request = {"model": self.model, **_plain(question), **self.sampling, **more}
        name = hashlib.sha256(json.dumps([self.base_url, request, sample], sort_keys=True).encode()).hexdigest()
        known = None if self._cache is None else self._cache.get(name)
        if known is not None:
            with self.spent.lock:
                self.spent.cached += 1
            return Reply(**known, cached=True)
        self._within()
        reply, counted = self._send(request)
        with self.spent.lock:
            self.spent.calls += 1
            self.spent.read += reply.read
            self.spent.written += reply.written
            self.spent.uncounted += not counted
        self._counts()
        if self._cache is not None:
            self._cache.set(name, {"text": reply.text, "finish": reply.finish, "read": reply.read, "written": reply.written})
        return reply

    def ask_all(self, questions: Sequence[Question], *, first: int = 0, watch: Watch | None = None, **more: Any) -> list[Reply]:
        """One answer to each, ``concurrency`` at a time, in order; the same question asked twice is answered twice.

        first: number of the first answer to each question (``sample`` of :meth:`ask`). more: sampling.

        The first failure stops what was not begun and is raised when what was has ended; answers until then are in the cache.
        """
        seen: dict[str, int] = {}
        samples = []
        for question in questions:
            text = json.dumps(_plain(question), sort_keys=True)
            samples.append(seen.get(text, first))
            seen[text] = samples[-1] + 1
        with ThreadPoolExecutor(self.concurrency) as pool:
            jobs = [pool.submit(self.ask, q, sample=i, **more) for q, i in zip(questions, samples, strict=True)]
            try:
                for done, job in enumerate(as_completed(jobs), 1):
                    job.result()
                    if watch:
                        watch(done, len(jobs))
            except BaseException as error:
                for job in jobs:
                    job.cancel()
                if isinstance(error, EndpointError):
                    answered = sum(j.done() and not j.cancelled() and j.exception() is None for j in jobs)
                    kept = (
                        "they are in the cache: the same call goes on" if self._cache is not None else "give cache= to keep them"
                    )
                    raise EndpointError(f"{error} ({answered} of {len(jobs)} were answered; {kept})") from None
                raise
        return [job.result() for job in jobs]

    def _counts(self) -> None:
        if self.limit.tokens is not None and self.spent.uncounted:
            raise EndpointError(
                f"{self.base_url}: its answer reports no usage, so that limit: tokens = {self.limit.tokens:,} cannot be kept; "
                "limit calls= instead, with max_tokens"
            )

    def _within(self) -> None:
        self._counts()
        with self.spent.lock:
            used = {"calls": self.spent.calls, "tokens": self.spent.read + self.spent.written}
        for name, value in used.items():
            most = getattr(self.limit, name)
            if most is not None and value >= most:
                raise EndpointError(f"the limit of {most:,} {name} is reached; raise limit= to go on")

    def _send(self, request: Mapping[str, Any]) -> tuple[Reply, bool]:
        """The answer, and whether the server said what it read and wrote."""
        import openai

        try:
            asked = self._client.completions if "prompt" in request else self._client.chat.completions
            got: Any = asked.create(**request)
        except openai.OpenAIError as error:
            raise EndpointError(f"{self.base_url}: {type(error).__name__}: {_short(error)}") from None
        except ValueError as error:  # a body that is no JSON
            raise EndpointError(f"{self.base_url}: its answer cannot be read: {_short(error)}") from None
        choices = getattr(got, "choices", None)
        text, finish = _said(choices[0]) if choices else (None, None)
        if not isinstance(text, str):
            raise EndpointError(f"{self.base_url}: its answer holds no text: {_short(got)}")
        counts = [getattr(getattr(got, "usage", None), n, None) for n in ("prompt_tokens", "completion_tokens")]
        read, written = (int(n or 0) for n in counts)
        return Reply(text, finish, read, written), all(isinstance(n, int) for n in counts)


def _plain(question: Question) -> dict[str, Any]:
    """The part of a request that asks."""
    return {"prompt": question} if isinstance(question, str) else {"messages": [dict(m) for m in question]}


def _said(choice: Any) -> tuple[Any, str | None]:
    """What a chat or a text was answered with, and why it ended; "" where the reason leaves nothing to be said."""
    message, finish = getattr(choice, "message", None), getattr(choice, "finish_reason", None)
    text = getattr(choice, "text", None) if message is None else getattr(message, "content", None)
    if text is None and getattr(message, "refusal", None):
        finish = "refusal"
    return ("" if text is None and finish in NOT_WHOLE else text), finish


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 200 else text[:197] + "..."
