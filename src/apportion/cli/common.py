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


def reads_log(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of reading a log; it gets those that were given as ``reading``."""

    @functools.wraps(command)
    def call(**given: Any) -> None:
        asked = {name: given.pop(name) for name in READING}
        command(**given, reading={name: value for name, value in asked.items() if value is not None})

    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name != "reading"]
    kind = inspect.Parameter.KEYWORD_ONLY
    more = [inspect.Parameter(name, kind, default=None, annotation=option) for name, option in READING.items()]
    call.__signature__ = signature.replace(parameters=[*(p.replace(kind=kind) for p in own), *more])  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in (*own, *more)}
    return call


def opened(path: Path, reading: Mapping[str, Any]) -> Log:
    """The log, read as was asked, behind a bar."""
    with progress("reading the log") as watch:
        return open_log(path, **reading, progress=watch)
