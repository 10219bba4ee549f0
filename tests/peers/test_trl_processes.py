"""A group whose completions lie on two processes: two real gloo processes on CPU."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("trl")

import apportion as ap

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what two processes that trained together wrote."""
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true",
              "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}  # fmt: skip
    command = [sys.executable, str(Path(__file__).with_name("trl_two_processes.py")), str(folder)]
    started = [
        subprocess.Popen(
            command,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=(folder / f"{rank}.log").open("w"),
        )
        for rank in range(2)
    ]
    try:
        codes = [process.wait(timeout=240) for process in started]
    finally:
        for process in started:
            process.kill()
    said = [(folder / f"{rank}.log").read_text()[-2000:] for rank in range(2)]
    assert codes == [0, 0], "\n".join(said)
    return folder


def test_credit_is_of_the_whole_group_and_each_process_gets_its_own_rows(trained: Path) -> None:
    parts: list[dict[str, Any]] = [json.loads((trained / f"{rank}.json").read_text()) for rank in range(2)]
    masks = [mask for part in parts for mask in part["env_mask"]]
    width = max(map(len, masks))
    assert len({len(part["advantages"][0]) for part in parts}) == 2  # padded to different lengths
    batch = ap.Batch.from_padded(
        action=np.array([mask + [0] * (width - len(mask)) for mask in masks]),
        turns="mask",
        outcome=np.array([x for part in parts for x in part["solved"]]),
        turn_reward=[x for part in parts for x in part["turn_rewards"]],
        state=[x for part in parts for x in part["states"]],
        group=["one prompt"] * 8,
    )
    credit = ap.assign(batch, "gigpo")
    assert isinstance(credit, ap.Credit)
    expected = credit.to_padded()
    for rank, part in enumerate(parts):
        got = np.array(part["advantages"])
        np.testing.assert_allclose(got, expected[4 * rank : 4 * rank + 4, : got.shape[1]], rtol=1e-5, atol=1e-6)
        assert part["items"] == sum(map(sum, masks))
    assert np.abs(expected).max() > 0.1


def test_a_failure_on_the_main_process_is_raised_on_both(trained: Path) -> None:
    assert (trained / "0.error").read_text().startswith("BatchError: states of completion 1 has 7 entries")
    assert (trained / "1.error").read_text().startswith("CreditError: on the main process, BatchError: states of completion 1")
