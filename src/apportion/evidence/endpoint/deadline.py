"""One deadline for a whole answer: the HTTP library's own timeouts count anew with every piece that arrives."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from typing import Any

#: Under this name a request carries the moment when it has taken too long.
LATE = "apportion.late"


def http_client(seconds: float) -> Any:
    """openai's own client (its defaults, the environment's proxies), whose answers must be whole ``seconds`` after the start.

    Too late is that library's ReadTimeout, which openai tries again as any other. It is seen when the next piece arrives, or
    when none does for ``seconds``: so after at most twice as long, headers that drip aside.
    """
    import openai

    # openai is built on httpx, or on what has followed it
    http: Any = importlib.import_module(str(openai.DefaultHttpxClient.__mro__[1].__module__).partition(".")[0])

    class Body(http.SyncByteStream):  # type: ignore[misc]
        def __init__(self, response: Any) -> None:
            self.stream, self.request = response.stream, response.request

        def __iter__(self) -> Iterator[bytes]:
            for piece in self.stream:
                if time.monotonic() > self.request.extensions[LATE]:
                    raise http.ReadTimeout(f"the answer was not whole after {seconds:g} s", request=self.request)
                yield piece

        def close(self) -> None:
            self.stream.close()

    def begun(request: Any) -> None:
        request.extensions[LATE] = time.monotonic() + seconds

    def answered(response: Any) -> None:
        response.stream = Body(response)

    return openai.DefaultHttpxClient(event_hooks={"request": [begun], "response": [answered]})
