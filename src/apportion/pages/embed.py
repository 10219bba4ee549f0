"""Data and scripts inside one HTML file: nothing in the data can become markup or code."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

# Inside <script type="application/json"> these can end the element or open a comment; as JSON escapes they cannot.
_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029", "\x7f": "\\u007f"}
)


def safe_json(data: Any) -> str:
    """JSON that is safe as the text of a script element; NaN or infinity in it is an error."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)


@cache
def packaged(package: str, name: str) -> str:
    """A template, style, script or vendored library that lies in one of our packages, as text."""
    return (resources.files(package) / name).read_text(encoding="utf-8")


def page(template: str, scripts: Sequence[str], style: str, embedded: Mapping[str, Any], **values: Any) -> str:
    """A page from a Jinja template, in one file: the common style and ``style``, and ``scripts``, stand inside it.

    template: its text, which prints ``policy``, ``style``, ``scripts`` and ``embedded.<name>`` beside its own ``values``;
    these are escaped. embedded: name -> data, as JSON for a script element. A content policy lets exactly these scripts run,
    and no request out.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    for script in scripts:
        if "</script" in script.lower() or "<!--" in script:
            raise ValueError("an inlined script may not contain '</script' or '<!--'")
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{h}'" for h in hashes) or "'none'"
    policy = f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:"
    inlined = Markup("\n").join(Markup(f"<script>{s}</script>") for s in scripts)
    styles = Markup(packaged("apportion.pages", "style.css") + style)
    data = {name: Markup(safe_json(value)) for name, value in embedded.items()}
    return environment.from_string(template).render(policy=policy, scripts=inlined, style=styles, embedded=data, **values)


def write_text(text: str, out: str | Path) -> Path:
    """Write a file whole or not at all."""
    path = Path(out)
    part = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path
