"""``apportion select``: which method for this setting, by three published trees and by what was measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from .common import AsJson, takes

#: Field -> (words it takes or None for a number, help); the questions themselves are in survey/profile.py.
_FIELDS: Mapping[str, tuple[str | None, str]] = {
    "setting": ("reasoning|agentic|multi-agent", "One answer, turns with tools, or several agents."),
    "turns": (None, "Turns of a rollout."),
    "cot_tokens": (None, "Tokens of a chain of thought."),
    "aux_model": ("yes|no", "May another model be used: a judge, a critic, a reward model?"),
    "can_fork": ("yes|no", "Can a rollout be gone on with from an intermediate state?"),
    "sampler": ("yes|no", "Can further rollouts be sampled while credit is given?"),
    "states_repeat": ("yes|no", "Do rollouts of a prompt meet the same states again?"),
    "spans": ("yes|no", "Are the tokens of a rollout labelled as options (the column spans)?"),
    "hidden": ("yes|no", "Is part of the state never shown to the policy?"),
    "judge": ("yes|no", "Is there a language model to ask about rollouts?"),
    "critic": ("yes|no", "Can a critic be trained beside the policy?"),
    "step_verifier": ("yes|no", "Is there a reliable check of intermediate steps?"),
    "privileged": ("yes|no", "Is there information that only training has? Kept; it changes no answer yet."),
    "agents": (None, "Agents that share the reward."),
    "budget": ("low|medium|high", "Compute beyond plain rollouts: up to 1.5, 5, or any number of times theirs."),
    "success": (None, "Share of rollouts that succeed now, 0 to 1."),
    "G": (None, "Rollouts of a prompt."),
    "K": (None, "Continuations of a prefix."),
    "T": (None, "Tokens of a rollout."),
    "N": (None, "Units of a rollout: turns, or steps of one answer."),
}


def _offers(words: str) -> Callable[[str], list[str]]:
    return lambda incomplete: [word for word in words.split("|") if word.startswith(incomplete)]


def _option(name: str, words: str | None, says: str) -> Any:
    more: dict[str, Any] = {"autocompletion": _offers(words)} if words else {}
    option = typer.Option("--" + name.replace("_", "-"), help=says, metavar=words or "NUMBER", show_default=False, **more)
    return Annotated[str | None, option]


ANSWERS = {name: _option(name, words, says) for name, (words, says) in _FIELDS.items()}


@takes("given", ANSWERS)
def select(
    given: Mapping[str, str],
    file: Annotated[
        Path | None,
        typer.Option("--profile", metavar="FILE", help="YAML file of answers, such as 'turns: 40'.", show_default=False),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="All selectors against the measured best, on held-out settings.")
    ] = False,
    pairs: Annotated[bool, typer.Option("--pairs", help="Known pairs of benchmark and method, put to the trees.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Show every candidate, and of each that fell out why.")] = False,
    as_json: AsJson = False,
) -> None:
    """Choose a method: three published trees and what was measured, for the setting you describe.

    Answers come from options, from a file, or are asked for on a terminal; none is guessed.
    """
    from ..survey.profile import ProfileError

    if (compare or pairs) and (given or file is not None or every or (compare and pairs)):
        raise ProfileError(f"{'--compare' if compare else '--pairs'} goes with --json only")
    if compare or pairs:
        _table("compare" if compare else "pairs", as_json)
        return
    profile = _profile(given, file)
    from ..bench.selection.answer import answer
    from ..bench.selection.measured import measured
    from .progress import progress

    with progress("weighing what was measured"):
        found = answer(profile, measured())
    found["next"] = _next(found, profile.K)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    from .select_show import show

    show(found, every)


def _profile(given: Mapping[str, str], file: Path | None) -> Any:
    """The answers of file and options together, asked for where that is possible."""
    from ..survey import profile as profiles
    from ..survey.profile_file import read_profile
    from ..survey.tree_walk import how_to_answer, missing

    answers: dict[str, Any] = read_profile(file) if file is not None else {}
    for name, text in given.items():
        value = profiles.answer(name, text)
        if name in answers and answers[name] != value:
            said = (
                {True: "yes", False: "no"}.get(answers[name], answers[name]) if isinstance(answers[name], bool) else answers[name]
            )
            raise profiles.ProfileError(f"{profiles.flag(name)} {text}, but {file and file.name} says {name}: {said}")
        answers[name] = value
    made = profiles.profile(answers)
    if sys.stdin.isatty() and sys.stdout.isatty() and (missing(made) or not answers):
        from .select_ask import ask

        return ask(answers)
    if lacking := missing(made):
        raise profiles.ProfileError(f"an answer is missing: {how_to_answer(lacking[0])}")
    return made


def _next(found: Mapping[str, Any], k: int | None) -> dict[str, Any] | None:
    """What to type for the first measured candidate: our call, and the line of each trainer or why it has none."""
    from ..bench.knobs import entrant
    from .select_lines import lines

    best = next(iter(found["measured"]["candidates"]), None)
    if best is None:
        return None
    names = {name: best[name] for name in ("method", "entrant", "code")}
    return {**names, **lines(entrant(best["entrant"]), k), "explain": f"apportion explain {best['method']}"}


def _table(which: str, as_json: bool) -> None:
    from ..bench.selection import measured
    from . import select_tables

    pairs, compared = (select_tables.pair_rows(), None) if which == "pairs" else ([], measured.compared())
    if as_json:
        typer.echo(json.dumps(pairs or compared, indent=1))
    elif compared is None:
        select_tables.show_pairs(pairs)
    else:
        select_tables.show_compared(compared)
