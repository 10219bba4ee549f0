"""``apportion select`` on a terminal: one question after the other, only those whose answer can still change something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from ..survey.profile import CHOICES, QUESTIONS, Profile, ProfileError, answer, profile
from ..survey.tree_walk import missing, unanswered

#: Asked after the trees are content: what a method may need from the user.
_HAVE = ("can_fork", "aux_model", "judge", "critic", "states_repeat", "spans", "budget")
#: What one answer, which is a single turn, never has.
_TURNS_ONLY = ("states_repeat", "spans")


def ask(given: Mapping[str, Any]) -> Profile:
    """Ask until nothing that matters is open; an empty line is "I do not know", where that is an answer."""
    answers = dict(given)
    skipped: set[str] = set()
    while (name := following(profile(answers), skipped)) is not None:
        must = name in missing(profile(answers))
        words = f" [{'/'.join(CHOICES[name])}]" if name in CHOICES else ""
        text = typer.prompt(f"{QUESTIONS[name]}{words}{'' if must else ' (empty: not known)'}", default="", show_default=False)
        if not text.strip():
            if must:
                typer.echo("this one is needed")
            else:
                skipped.add(name)
            continue
        try:
            profile({**answers, name: answer(name, text)})
        except ProfileError as error:
            typer.echo(str(error))
            continue
        answers[name] = answer(name, text)
    return profile(answers)


def following(made: Profile, skipped: set[str]) -> str | None:
    """The next field to ask for, None where nothing is open."""
    have = [n for n in _HAVE if not (n in _TURNS_ONLY and made.setting == "reasoning")]
    for name in (*missing(made), *unanswered(made), *have):
        if getattr(made, name) is None and name not in skipped:
            return name
    return None
