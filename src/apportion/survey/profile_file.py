"""Answers from a YAML file."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from ..edges import escape
from ..edges.yaml_lines import NotPlain, NotYaml, parse, place, plain
from .profile import QUESTIONS, ProfileError, answer


def read_profile(path: Path) -> dict[str, Any]:
    """Answers from a YAML file of lines like ``turns: 40``; not yet checked against each other."""
    try:
        data = parse(path.read_text("utf-8-sig"))
        found = plain(data)
    except (NotYaml, NotPlain) as error:
        raise ProfileError(f"{path.name}: {error}") from None
    except UnicodeDecodeError:
        raise ProfileError(f"{path.name}: not UTF-8") from None
    if not isinstance(found, dict):
        raise ProfileError(f"{path.name}: expected lines like 'setting: agentic' and 'turns: 40'")
    answers = {}
    for name, value in found.items():
        at = f"{path.name}:{place(data, (name,)).line}"
        key = str(name).replace("-", "_")
        if key not in QUESTIONS:
            near = difflib.get_close_matches(key, QUESTIONS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(QUESTIONS)}"
            raise ProfileError(f"{at}: no question is called '{escape.plain(str(name))}'; {hint}")
        if value is not None:
            answers[key] = answer(key, value, f"{at}: {key}")
    return answers
