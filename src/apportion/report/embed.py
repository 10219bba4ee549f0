"""Data and scripts inside one HTML file: nothing in the data can become markup or code."""

from __future__ import annotations

import base64
import hashlib
import json
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
def asset(name: str) -> str:
    """A template, style, script or vendored library of this package, as text."""
    return (resources.files("apportion.report") / name).read_text(encoding="utf-8")


@cache
def vendored() -> str:
    """d3 and Observable Plot with the licences that their copies must carry."""
    parts = []
    for name, file in (("d3", "d3.min.js"), ("plot", "plot.umd.min.js")):
        licence = asset(f"vendor/LICENSE-{name}").strip().replace("*/", "* /")
        parts.append(f"/*!\n{licence}\n*/\n{asset(f'vendor/{file}').strip()}")
    return "\n".join(parts)


def page(template: str, scripts: list[str], **values: Any) -> str:
    """A template with its scripts inlined; a content policy lets exactly these scripts run, and no request out."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    for script in scripts:
        if "</script" in script.lower() or "<!--" in script:
            raise ValueError("an inlined script may not contain '</script' or '<!--'")
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{h}'" for h in hashes)
    policy = f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:"
    inlined = Markup("\n").join(Markup(f"<script>{s}</script>") for s in scripts)
    style = Markup(asset("templates/style.css"))
    data = {k: Markup(safe_json(v)) for k, v in values.pop("embedded").items()}
    html = environment.from_string(asset(f"templates/{template}"))
    return html.render(policy=policy, scripts=inlined, style=style, embedded=data, **values)


def write_text(text: str, out: str | Path) -> Path:
    """Write a file whole or not at all."""
    import os

    path = Path(out)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8", newline="\n")
    os.replace(part, path)
    return path
