"""The command as someone types it."""

from __future__ import annotations

import pytest

from apportion.cli import main


def typed(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of ``apportion WORDS``."""
    with pytest.raises(SystemExit) as left:
        main([str(w) for w in words])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err
