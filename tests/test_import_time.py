"""``import apportion`` is quick and brings nothing heavy along."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("numba", "pyarrow", "pydantic", "rich", "torch", "jinja2", "typer", "ruamel.yaml", "pandas", "scipy")


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_is_under_half_a_second() -> None:
    # processor time, and the best of a few: other work on the machine is not ours
    code = "import time; start = time.process_time(); import apportion; print(time.process_time() - start)"
    assert any(float(python(code)) < 0.5 for _ in range(5))


def test_import_brings_nothing_heavy() -> None:
    loaded = python("import sys, apportion; print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)


def test_listing_and_running_a_free_method_brings_nothing_heavy() -> None:
    code = "import sys, apportion as ap; ap.methods(); ap.get('rloo').example(); print(*sys.modules)"
    assert not set(HEAVY) & set(python(code).split())


def test_the_command_starts_with_typer_alone() -> None:
    code = "import sys\nfrom apportion.cli import main\ntry:\n    main(['--version'])\nfinally:\n    print(*sys.modules)"
    assert not (set(HEAVY) - {"typer", "rich"}) & set(python(code).split())
