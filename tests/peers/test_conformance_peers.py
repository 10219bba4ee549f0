"""The trainers themselves: each one's own code gives the numbers of our option to 1e-6, and the page shows what they gave."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("torch")

from apportion.integrations.conformance import Row, page, rows, table
from apportion.integrations.conformance.cases import ANSWER, ENDS, LONE, NOISE, ONES
from apportion.integrations.conformance.meanings import PACKAGES, of

HERE = [peer for peer in PACKAGES if find_spec(peer) is not None]
PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
#: The trainers of the environment that `make test-peers` makes; the page was printed there.
ON_THE_PAGE = {"verl", "trl", "openrlhf", "areal", "torchrl"}


@pytest.fixture(scope="module")
def measured() -> list[Row]:
    return rows(HERE)


def _of(measured: list[Row], peer: str) -> list[Row]:
    return [r for r in measured if r.peer == PACKAGES[peer]]


@pytest.mark.parametrize("peer", PACKAGES)
def test_its_own_code_gives_the_numbers_of_our_option(measured: list[Row], peer: str) -> None:
    if peer not in HERE:
        pytest.skip(f"{peer} is not installed")
    mine = _of(measured, peer)
    assert len(mine) == sum(len(m.cases()) for m in of(peer))
    fine = {table.AGREES, table.NO_OPTION, table.ROUNDING, table.REFUSED}
    assert [(r.setting, r.case, r.status, r.difference) for r in mine if r.status not in fine] == []
    for row in mine:
        if row.status == table.AGREES:
            assert row.difference is not None
            assert row.difference <= 1e-6


@pytest.mark.parametrize(
    ("peer", "tool_answer", "ends"),
    [
        ("verl", [0.402, 0.433, 0.465, 0.5], [-0.475, -0.5]),
        ("openrlhf", [0.211, 0.230, 0.465, 0.5], [0.475, 0.5]),
        ("skyrl", [0.364, 0.393, 0.465, 0.5], [0.429, 0.451]),
        ("areal", [0.402, 0.433, 0.465, 0.5], [-0.475, -0.5]),
        ("torchrl", [0.364, 0.393, 0.465, 0.5], [0.429, 0.451]),
    ],
)
def test_the_numbers_people_see_are_theirs(measured: list[Row], peer: str, tool_answer: list[float], ends: list[float]) -> None:
    if peer not in HERE:
        pytest.skip(f"{peer} is not installed")
    by_case = {r.case: r for r in _of(measured, peer)}
    assert by_case[ANSWER[2].name].theirs == pytest.approx(tool_answer, abs=5e-4)
    assert by_case[ENDS.name].theirs == pytest.approx(ends, abs=5e-4)
    assert by_case[ANSWER[0].name].theirs == pytest.approx([0.5] * 4, abs=1e-6)


def test_a_lone_rollout_means_four_things(measured: list[Row]) -> None:
    given = {
        (r.peer, r.setting): r.theirs[0]
        for r in measured
        if r.case in (f"rewards, {LONE.name}", f"rewards, {ONES.name}") and r.theirs is not None
    }
    if "verl" in HERE:
        assert given["verl", "rloo"] == pytest.approx(0.7)
        assert given["verl", "rloo_vectorized"] == 0.0
    if "openrlhf" in HERE:
        number = given["OpenRLHF", "group_norm"]
        assert number != number


def test_equal_rewards_are_noise_divided_by_eps_and_ours_are_zero(measured: list[Row]) -> None:
    noise = [r for r in measured if r.case == f"rewards, {NOISE.name}" and r.status != table.NO_OPTION]
    assert noise
    for row in noise:
        assert row.ours == (0.0,) * 6
        assert row.theirs is not None
        assert all(abs(x) < 1.1 for x in row.theirs)  # how much depends on the machine: one ulp over one ulp at most


def _alike(text: str) -> str:
    """Without trailing spaces, and without the last number of each line: rounding noise, different from machine to machine."""
    lines = (
        re.sub(r"\S+\s+(the default|agrees|no option|not installed|no package)$", r"\1", x.rstrip()) for x in text.splitlines()
    )
    return "\n".join(lines).strip()


def test_the_page_is_what_the_command_prints() -> None:
    if not set(HERE) >= ON_THE_PAGE or "skyrl" in HERE:
        pytest.skip("the page was printed with verl, TRL, OpenRLHF, AReaL and torchrl installed")
    command = [sys.executable, "-m", "apportion.cli", "conformance"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "100"})
    shown = PAGE.read_text(encoding="utf-8").split("```text\n")[1].split("```")[0]
    assert _alike(shown) == _alike(done.stdout), (
        "paste the output of `.venv-peers/bin/apportion conformance` into docs/conformance.md"
    )


def test_every_installed_trainer_was_run_and_none_differs(measured: list[Row]) -> None:
    assert not [r for r in measured if page.check([r]) in ("differs", "not run")]
