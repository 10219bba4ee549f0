"""What the YAML of the records says, remembered between two runs: reading a hundred of them takes seconds.

One JSON file in the user's cache folder (``$XDG_CACHE_HOME``, else ``~/.cache``) keeps the plain data beside a
digest of all files it was read from. It is used only where the digest fits, and what it holds is validated as
the files are. Where it cannot be read or written, the files are read: nothing depends on it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..edges.atomic import atomic

#: To be raised when the same text reads as other data.
_VERSION = 1


def place() -> Path:
    """The file; its folder may not exist yet."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "apportion" / "papers.json"


def digest(contents: Sequence[tuple[str, bytes]]) -> str:
    """Of names and contents of the files, in order."""
    made = hashlib.sha256(f"{_VERSION}".encode())
    for name, content in contents:
        made.update(f"\0{name}\0{len(content)}\0".encode())
        made.update(content)
    return made.hexdigest()


def recall(key: str) -> Mapping[str, Any] | None:
    """Id -> plain data that was remembered for these files; None where there is nothing, or nothing that can be read."""
    try:
        said = json.loads(place().read_text(encoding="utf-8"))
        papers = said["papers"] if said["of"] == key else None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, RecursionError):
        return None
    return papers if isinstance(papers, dict) else None


def remember(key: str, papers: Mapping[str, Any]) -> None:
    """Keep the data for these files; a folder that cannot be written is no error."""
    try:
        path = place()
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as file:
            file.write(json.dumps({"of": key, "papers": papers}).encode())
    except (OSError, RuntimeError):  # no home folder, a disk that is full or read-only
        return
