"""Everything the inventory holds, as one JSON or YAML document.

``inventory`` is the version of this form, ``records`` holds the records as their files have them, ``derived``
what follows from each (by id). Text is as it was written: neither format runs any of it.
"""

from __future__ import annotations

import io
import json as _json
from collections.abc import Sequence
from typing import Any

from ruamel.yaml import YAML

from ..derived import derived, plain_record
from ..records import Record

#: Version of the form.
VERSION = 1


def document(found: Sequence[Record]) -> dict[str, Any]:
    """The document, as plain data."""
    return {
        "inventory": VERSION,
        "records": [plain_record(r) for r in found],
        "derived": {r.id: derived(r) for r in found},
    }


def json(found: Sequence[Record]) -> bytes:
    """The document as JSON."""
    return (_json.dumps(document(found), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def yaml(found: Sequence[Record]) -> bytes:
    """The document as YAML; what would read as a number or a tag is quoted."""
    writer = YAML(typ="rt")
    writer.width = 110
    writer.allow_unicode = True
    file = io.BytesIO()
    writer.dump(document(found), file)
    return file.getvalue()
