"""Records made for tests, in the form their files have."""

from __future__ import annotations

from typing import Any

from apportion.survey import Record
from apportion.survey.terms import DIAGNOSTICS, ITEMS

#: What tries to be markup, a formula, a command or a cell border wherever it is printed.
HOSTILE = [
    '=HYPERLINK("http://evil","a")', "+1+1", "-1", "@SUM(A1)", "\t=1", "\r=2",
    "<script>alert(1)</script>", "</script><img src=x onerror=a()>", "&amp;", "a | b",
    r"\input{/etc/passwd}", "{unbalanced", "}closed", "100% $x_1$ #1 & ~^",
    "`code` [link](javascript:a) ![i](x)", "\x1b[31mred\x1b[0m", "\u202eturned", "two\nlines\n\n| x |",
    "!!python/object/apply:os.system ['a']", "[bold]markup[/bold]", "{{ 7 * 7 }}", "null", "1e5",
]  # fmt: skip


def known(value: Any, origin: str = "primary", **more: Any) -> dict[str, Any]:
    return {"is": value, "from": origin, **more}


def plain(id_: str, **changes: Any) -> dict[str, Any]:
    """A valid record as plain data, with other fields in place of its own."""
    return {
        "id": id_,
        "name": id_.upper(),
        "title": f"The paper of {id_}",
        "authors": "One, Two",
        "date": "2025-01",
        "arxiv": None,
        **dict.fromkeys(("venue", "peer_reviewed", "code", "licence", "cost", "base_models", "benchmarks"), "unknown"),
        "snapshot": "survey",
        "scope": [known("core", "companion")],
        "setting": [known(["agentic"])],
        "granularity": [known(["turn"])],
        "methodology": [known("monte-carlo")],
        "baseline_family": known(["G"]),
        "facts": {"role": known("method", "ours"), **dict.fromkeys(("comparator", "benchmarks", "seeds", "interval"), "unknown")},
        "needs": known(["group"]),
        "checklist": dict.fromkeys(ITEMS, "unknown"),
        "diagnostics": dict.fromkeys(DIAGNOSTICS, "unknown"),
        "status": None,
        **changes,
    }


def paper(id_: str, **changes: Any) -> Record:
    return Record.model_validate(plain(id_, **changes))


def hostile(id_: str = "hostile") -> Record:
    """A valid record whose every free text is hostile."""
    text = iter(HOSTILE * 3)

    def said(value: Any = None) -> dict[str, Any]:
        return known(next(text) if value is None else value, at=next(text), note=next(text))

    return paper(
        id_,
        name=next(text), aliases=[next(text)], title=next(text), authors=next(text), arxiv="2501.00001", arxiv_note=next(text),
        venue=said(), code=said(), licence=said(), cost=said(), peer_reviewed=said(True),
        base_models=said(HOSTILE), benchmarks=said(HOSTILE), setting=[said(["agentic"])], notes=HOSTILE,
        results=[{"says": next(text), "against": said(), "base_model": said(), "from": "ours", "at": next(text)}],
    )  # fmt: skip
