"""A model of a folder behind ``transformers serve`` on this machine, for as long as it is needed."""

from __future__ import annotations

import copy
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ...errors import OptionError


def save(model: Any, tokenizer: Any, folder: str | Path) -> Path:
    """Both in one folder, as a server wants them that takes no GGUF, with all weights as they are in memory.

    ``transformers serve`` heeds a request's temperature only where the folder's generation config says that it draws
    (else it takes the likeliest token, and says nothing), and cuts to the 50 likeliest tokens unless told not to. So
    the folder says: draw, from all of them.
    """
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = copy.deepcopy(model.generation_config)
    config.do_sample, config.top_k = True, 0
    config.save_pretrained(folder)
    return Path(folder)


@contextmanager
def served(folder: str | Path, *, wait: float = 300.0, threads: int | None = None) -> Iterator[str]:
    """The address (with its ``/v1``) at which the model of ``folder`` answers; its name there is ``str(folder)``.

    wait: seconds until it must answer. threads: torch's in the server. Needs transformers, uvicorn and fastapi.

    Raises OptionError, with the end of what the server said, where it does not come up.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder), "--host", "127.0.0.1"]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
    with tempfile.TemporaryFile() as said:
        server = subprocess.Popen([*command, "--port", str(port), "--device", "cpu"], stdout=said, stderr=said, env=env)
        try:
            _until_it_answers(server, f"http://127.0.0.1:{port}/health", wait, said)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _until_it_answers(server: subprocess.Popen[bytes], health: str, wait: float, said: IO[bytes]) -> None:
    end = time.monotonic() + wait
    while server.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(health, timeout=5) as reply:
                if reply.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    said.seek(0)
    lines = " / ".join(said.read().decode(errors="replace").split("\n")[-6:]).strip(" /")
    how = f"did not answer within {wait:g} s" if server.poll() is None else f"ended with status {server.returncode}"
    raise OptionError(f"transformers serve {how}: {lines[-400:]}")
