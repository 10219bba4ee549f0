"""Pages of trainers: their example is the script that runs, and what it prints stands on the page."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from apportion.integrations.thin import Place, page

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


def _script(name: str) -> Path:
    return DOCS / "examples" / f"{name}_quickstart.py"
