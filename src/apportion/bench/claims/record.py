"""Claims and what was found of them, as a file: ``claims.json`` beside a run, or wherever ``bench claims --out`` puts it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...errors import BenchError
from ..manifest import code_digest, versions
from ..metadata import PROTOCOL
from .finding import Claim, Finding, Number, Verdict

#: Name of the file in a run folder.
FILE = "claims.json"
FORMAT: Literal["apportion-claims-1"] = "apportion-claims-1"

Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NumberRow(_Part):
    """One number: null where it is undefined; low and high are null for exact numbers."""

    what: str = Field(min_length=1)
    value: Finite | None
    low: Finite | None
    high: Finite | None
    claimed: Finite | None


class ClaimRow(_Part):
    """One claim with its verdict, the numbers it follows from and the command that shows it again."""

    id: str = Field(min_length=1)
    claim: str = Field(min_length=1)
    source: str = Field(min_length=1)
    experiment: str = Field(min_length=1)
    verdict: Verdict
    when: str | None
    seeds: int = Field(ge=2)
    numbers: tuple[NumberRow, ...] = Field(min_length=1)
    command: str = Field(min_length=1)


class ClaimsFile(_Part):
    """What was run: ``code`` is the digest of apportion's own code at the time."""

    format: Literal["apportion-claims-1"]
    protocol: str
    versions: dict[str, str]
    code: str
    claims: tuple[ClaimRow, ...]


def row(claim: Claim, finding: Finding, seeds: int) -> dict[str, Any]:
    """A claim and what was found, JSON-able."""
    return {
        "id": claim.id, "claim": claim.statement, "source": claim.source, "experiment": claim.experiment,
        "verdict": finding.verdict, "when": finding.when or None, "seeds": seeds,
        "numbers": [_number(n) for n in finding.numbers],
        "command": f"apportion bench claims {claim.id} --seeds {seeds}",
    }  # fmt: skip


def document(rows: Iterable[dict[str, Any]]) -> bytes:
    """The bytes of the file: the same findings of the same code give the same bytes."""
    plain = {
        "format": FORMAT, "protocol": PROTOCOL, "versions": versions(), "code": code_digest(), "claims": list(rows),
    }  # fmt: skip
    return (json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_claims(path: Path) -> ClaimsFile:
    """The file, validated: an error names what is wrong and where."""
    try:
        return ClaimsFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BenchError(f"{path}: not readable ({error.strerror})") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise BenchError(f"{path}: {where}: {first['msg']}; `apportion bench claims --out FILE` writes such a file") from None


def _number(n: Number) -> dict[str, Any]:
    def plain(x: float | None) -> float | None:
        return None if x is None or not math.isfinite(x) else float(f"{x:.6g}")

    return {"what": n.what, "value": plain(n.value), "low": plain(n.low), "high": plain(n.high), "claimed": plain(n.claimed)}
