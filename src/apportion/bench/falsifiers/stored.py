"""Results that ship with the package: every method tried once, together, and what code they are of."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, ValidationError

from ...errors import BenchError
from ...registry import methods
from ..statistics import student_quantile
from .verdict import Verdict
from .who import entrant_of

FILE = "results.json"
#: Files of this folder on which no verdict hangs.
_APART = ("stored.py", "together.py")


class Results(BaseModel):
    """What ``apportion card run --all --out FILE`` writes. code: digest per id of the method, its entrant and the tests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    command: str
    code: Mapping[str, str]
    verdicts: Mapping[str, tuple[Verdict, ...]]


def written(found: Mapping[str, Sequence[Verdict]], command: str) -> bytes:
    """The results as a file: JSON, a verdict a line, nothing in it that a second run would change."""
    whole = Results(
        command=command, code={id_: code_of(id_) for id_ in found}, verdicts={id_: tuple(v) for id_, v in found.items()}
    )
    data = whole.model_dump(mode="json", exclude_none=False)
    lines = [
        f" {json.dumps(id_)}: [\n" + ",\n".join("  " + json.dumps(v, ensure_ascii=False) for v in verdicts) + "\n ]"
        for id_, verdicts in data.pop("verdicts").items()
    ]
    head = json.dumps(data, indent=1, ensure_ascii=False).removesuffix("\n}")
    return (head + ',\n "verdicts": {\n' + ",\n".join(lines) + "\n }\n}\n").encode()


def read(text: bytes, where: str) -> Results:
    """Results from a file; BenchError says what is wrong with it."""
    try:
        return Results.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BenchError(f"{where}: {place}: {first['msg']} (expected what 'apportion card run --out' writes)") from None


@cache
def shipped() -> Results:
    """The results that ship with the package."""
    return read(files(__package__).joinpath(FILE).read_bytes(), FILE)


def stored(method: str) -> tuple[Verdict, ...]:
    """The shipped verdicts of a method; none where it was never tried."""
    return shipped().verdicts.get(method, ())


def is_current(method: str) -> bool:
    """Whether the shipped verdicts are of the code as it stands: the method's file, its entrant, the tests."""
    return shipped().code.get(method) == code_of(method)


def code_of(id_: str) -> str:
    """Digest of a method's file, of the entrant that stands for it, and of the tests with the quantile they go by."""
    entrant = entrant_of(id_)
    digest = hashlib.sha256(repr(entrant).encode())
    if entrant.method in methods():
        digest.update(inspect.getsource(inspect.getmodule(methods()[entrant.method].function)).encode())  # type: ignore[arg-type]
    for file in sorted(files(__package__).iterdir(), key=lambda f: f.name):
        if file.name.endswith(".py") and file.name not in _APART:
            digest.update(file.read_bytes())
    digest.update(inspect.getsource(student_quantile).encode())
    return digest.hexdigest()[:16]
