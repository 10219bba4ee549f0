"""A bar for what takes long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SHOW_AFTER = 2.0  # seconds


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Gives a function to call with (done, all); on a terminal's standard error it is a bar after two seconds."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    begun = time.monotonic()
    bar = Progress(console=console, transient=True)
    task = bar.add_task(label, total=None)

    def watch(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)
        if not bar.live.is_started and time.monotonic() - begun > SHOW_AFTER:
            bar.start()

    try:
        yield watch
    finally:
        if bar.live.is_started:
            bar.stop()
