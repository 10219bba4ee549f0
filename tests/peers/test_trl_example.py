"""The example of docs/trl.md runs as it stands and learns."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("trl")

ROOT = Path(__file__).parents[2]


def test_the_quickstart_runs_without_network_and_learns_both_turns(tmp_path: Path) -> None:
    offline = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT / "src"), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "examples" / "trl_quickstart.py")],
        cwd=tmp_path,
        env=os.environ | offline,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = ast.literal_eval(done.stdout.strip().splitlines()[-1])
    assert len(said) == 4
    assert sum(text == "a go b" for text in said) >= 3
