"""Pages of trainers: their example is the script that runs, and what it prints stands on the page."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from apportion.errors import ApportionError
from apportion.feeds import feed
from apportion.integrations.method_table import page
from apportion.integrations.thin import Place
from apportion.registry import methods

DOCS = Path(__file__).parents[2] / "docs"


def run_here(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the example of the page prints, run in this process."""
    runpy.run_path(str(_script(name)))
    return capsys.readouterr().out


def run_apart(name: str, *path: Path | str) -> str:
    """The same in a process of its own, with these folders on its path."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(DOCS.parent / "src"), *map(str, path)])}
    done = subprocess.run([sys.executable, str(_script(name))], capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check(name: str, printed: str, place: Place | None = None) -> None:
    """The page shows the script, below 30 lines of code, what it printed, and the table of methods of ``place``."""
    text, script = (DOCS / f"{name}.md").read_text(encoding="utf-8"), _script(name).read_text(encoding="utf-8")
    assert len([line for line in script.splitlines() if line.strip()]) < 30
    assert script.strip() in text
    assert printed.strip()
    assert printed.strip() in text
    if place is not None:
        assert page(place, text) == text


def every_method(name: str, place: Place, start: Callable[[str], bool]) -> None:
    """The page has the table of ``place``; ``start(id)`` refuses by name what it says no to, and is true of what is fed."""
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert page(place, text) == text
    for id_, spec in methods().items():
        if f"| `{id_}` | {spec.unit} | no |" in text:
            with pytest.raises(ApportionError, match=id_):
                start(id_)
        elif feed(id_, place.columns).ready:
            assert start(id_)


def _script(name: str) -> Path:
    return DOCS / "examples" / f"{name}_quickstart.py"
