"""One trainer's numbers, asked in a process of its own: what a trainer does on import stays there.

``python -m apportion.integrations.conformance.ask PEER`` writes them to standard output as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .cases import GaeCase
from .meanings import of

#: Seconds a trainer has to import itself and answer.
PATIENCE = 300.0
Answers = dict[str, dict[str, Any]]


def installed(peer: str) -> str | None:
    """The version of the peer's package; None where it is not installed."""
    try:
        return version(peer)
    except PackageNotFoundError:
        return None


def key(id_: str, case: str) -> str:
    return f"{id_}: {case}"


def ask(peer: str) -> Answers:
    """Its numbers (or why there are none) by meaning and case, from a process of its own."""
    command = [sys.executable, "-m", "apportion.integrations.conformance.ask", peer]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return _nothing(peer, f"no answer in {PATIENCE:g} s")
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        return _nothing(peer, last[0])
    answers: Answers = json.loads(done.stdout)
    return answers


def answer(peer: str) -> Answers:
    """The same in this process."""
    adapter = import_module(f"{__package__}.{peer}")
    found: Answers = {}
    for meaning in of(peer):
        for case in meaning.cases():
            try:
                numbers = adapter.gae(case) if isinstance(case, GaeCase) else adapter.group(case, meaning.id)
            except ImportError as error:  # and so it would go on
                return _nothing(peer, _sentence(error))
            except Exception as error:
                found[key(meaning.id, case.name)] = {"error": _sentence(error)}
            else:
                found[key(meaning.id, case.name)] = {"numbers": numbers}
    return found


def _nothing(peer: str, why: str) -> Answers:
    return {key(m.id, case.name): {"error": why} for m in of(peer) for case in m.cases()}


def _sentence(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def main() -> None:
    out = os.dup(1)
    os.dup2(2, 1)  # what trainers print is not the answer
    found = json.dumps(answer(sys.argv[1]))
    with os.fdopen(out, "w", encoding="utf-8") as stream:
        stream.write(found)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # no waiting for what a trainer left running


if __name__ == "__main__":
    main()
