"""Options that every command on a log shares, and how a log is opened from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..logs import Log, open_log

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
LogPath = Annotated[Path, typer.Argument(metavar="LOG", help="A file or folder of rollouts.", show_default=False)]
FormatName = Annotated[str | None, typer.Option("--format", help="What kind of log this is (default: found out).")]
Reward = Annotated[str | None, typer.Option("--reward", help="Key of the outcome reward.")]
TurnReward = Annotated[str | None, typer.Option("--turn-reward", help="Key of the rewards per turn.")]
Group = Annotated[str | None, typer.Option("--group", help="Key that names the prompt (task) of a rollout.")]
State = Annotated[str | None, typer.Option("--state", help="'observation', or the key of the states, one per turn.")]
Tokenizer = Annotated[str | None, typer.Option("--tokenizer", help="Folder of a Hugging Face tokenizer (default: words).")]
Unscored = Annotated[str | None, typer.Option("--unscored", help="'drop' leaves out rollouts without a reward.")]


def opened(path: Path, **reading: Any) -> Log:
    """The log, with the options that were given."""
    return open_log(path, **{name: value for name, value in reading.items() if value is not None})
