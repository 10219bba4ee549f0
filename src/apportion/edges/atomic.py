"""Files that are either whole or not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write beside ``path`` and move into place at the end; on an error, which names ``path``, it stays as it was."""
    target = Path(path)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        with open(draft, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename == str(draft):
            error.filename = str(target)
        with suppress(OSError):  # what went wrong first is what is said
            draft.unlink(missing_ok=True)
        raise
