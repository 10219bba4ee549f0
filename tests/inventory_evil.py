"""A record whose every free text is an attack on the page that shows it."""

from __future__ import annotations

from typing import Any

from apportion.survey import Record, record

EVIL = "</script><img src=x onerror='window.pwned=1'><script>window.pwned=1</script>\"'><b>&amp;{{ 7*7 }}"
ID = "evil"


def evil_record(base: str = "rloo") -> Record:
    """A valid record by the schema's letter."""
    made: dict[str, Any] = record(base).model_dump(mode="json", by_alias=True)
    made.update(id=ID, name=EVIL, title=EVIL, authors=EVIL, aliases=[EVIL], notes=[EVIL, "\x1b[31m\u202ered"], arxiv_note=EVIL)
    for name in ("venue", "licence", "cost"):
        made[name] = {"is": EVIL, "from": "ours", "at": EVIL, "note": EVIL}
    made["code"] = {"is": "javascript:window.pwned=1", "from": "ours", "at": EVIL}
    for name in ("benchmarks", "base_models"):
        made[name] = {"is": [EVIL, EVIL], "from": "ours"}
    told = {"is": EVIL, "from": "ours"}
    made["results"] = [{"says": EVIL, "against": told, "base_model": told, "from": "primary", "at": EVIL}]
    return Record.model_validate(made)
