"""Options that every command on a log shares, and how a log is opened from them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..logs import Log, open_log
from .progress import progress

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
LogPath = Annotated[Path, typer.Argument(metavar="LOG", help="A file or folder of rollouts.", show_default=False)]

#: How a log is read; keyword of ``open_log`` -> option. ``reads_log`` gives them to a command.
READING: dict[str, Any] = {
    "reward": Annotated[str | None, typer.Option("--reward", help="Key of the outcome reward.")],
    "turn_reward": Annotated[str | None, typer.Option("--turn-reward", help="Key of the rewards per turn.")],
    "group": Annotated[str | None, typer.Option("--group", help="Key that names the prompt (task) of a rollout.")],
    "state": Annotated[str | None, typer.Option("--state", help="'observation', or the key of the states, one per turn.")],
    "format": Annotated[str | None, typer.Option("--format", help="What kind of log this is (default: found out).")],
    "tokenizer": Annotated[str | None, typer.Option("--tokenizer", help="Folder of a Hugging Face tokenizer (default: words).")],
    "unscored": Annotated[str | None, typer.Option("--unscored", help="'drop' leaves out rollouts without a reward.")],
}


def listed(text: str) -> list[str]:
    """Ids separated by commas. ``KNOB=VALUE`` after an id with an ``@`` is one more knob of it, no id of its own."""
    found: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        if found and "@" in found[-1] and "=" in part and "@" not in part:
            found[-1] += f",{part}"
        elif part:
            found.append(part)
    return found


def names_in(folder: str, ending: str, incomplete: str) -> list[str]:
    """Completes names from the files of a folder of the package, so that none of them is read for it."""
    from importlib.resources import files

    found = (file.name for file in files("apportion").joinpath(*folder.split("/")).iterdir())
    names = (name.removesuffix(ending).rstrip("_") for name in found if name.endswith(ending) and not name.startswith("_"))
    return sorted(name for name in names if name.startswith(incomplete))


def takes(name: str, options: Mapping[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command more options; it gets those that were given as the mapping ``name``."""

    def more(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def call(**given: Any) -> None:
            asked = {option: given.pop(option) for option in options}
            command(**given, **{name: {option: value for option, value in asked.items() if value is not None}})

        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.name != name]
        kind = inspect.Parameter.KEYWORD_ONLY
        added = [inspect.Parameter(option, kind, default=None, annotation=hint) for option, hint in options.items()]
        call.__signature__ = signature.replace(parameters=[*(p.replace(kind=kind) for p in own), *added])  # type: ignore[attr-defined]
        call.__annotations__ = {p.name: p.annotation for p in (*own, *added)}
        return call

    return more


#: Gives a command the options of reading a log; it gets those that were given as ``reading``.
reads_log = takes("reading", READING)


def opened(path: Path, reading: Mapping[str, Any]) -> Log:
    """The log, read as was asked, behind a bar."""
    with progress("reading the log") as watch:
        return open_log(path, **reading, progress=watch)
