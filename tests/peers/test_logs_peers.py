"""Logs that other packages write: Hugging Face data sets, torch and safetensors dumps, a saved tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
datasets = pytest.importorskip("datasets")

from apportion.errors import BatchError  # noqa: E402
from apportion.logs import open_log  # noqa: E402

ROWS: list[dict[str, Any]] = [
    {
        "prompt": [{"role": "user", "content": f"q{i % 3}"}],
        "completion": [{"role": "assistant", "content": f"a{i}"}],
        "reward": i / 4,
    }
    for i in range(10)
]


def test_a_saved_data_set_is_read_without_its_package(tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "log"), num_shards=3)
    log = open_log(tmp_path / "log")
    assert (log.format, log.trajectories, log.groups) == ("chat", 10, 3)
    assert sorted(r for b in log.batches("group", 1) for r in b.reward.tolist()) == [r["reward"] for r in ROWS]


def test_rows_selected_are_refused_until_written_out(tmp_path: Path) -> None:
    chosen = datasets.Dataset.from_list(ROWS).select([1, 3, 4])
    chosen.flatten_indices().save_to_disk(str(tmp_path / "flat"))
    assert open_log(tmp_path / "flat").batch().reward.tolist() == [0.25, 0.75, 1.0]
    chosen.save_to_disk(str(tmp_path / "chosen"))  # the package writes the rows out by itself
    assert open_log(tmp_path / "chosen").batch().reward.tolist() == [0.25, 0.75, 1.0]


def test_splits_are_listed(tmp_path: Path) -> None:
    half = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict({"train": half, "test": half}).save_to_disk(str(tmp_path / "log"))
    with pytest.raises(BatchError, match=r"choose one of its splits: .*train.*test"):
        open_log(tmp_path / "log")
    assert open_log(tmp_path / "log" / "test").trajectories == 10


DUMP = {"response_mask": [[1, 0, 1], [1, 1, 0]], "old_log_probs": [[-0.5, 0.0, -0.25], [-1.0, -1.0, 0.0]], "rewards": [1.0, 0.0]}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_tensors_are_read_from_a_torch_file(tmp_path: Path, dtype: str) -> None:
    made = {k: torch.tensor(v) for k, v in DUMP.items()}
    made["old_log_probs"] = made["old_log_probs"].to(getattr(torch, dtype))
    torch.save({**made, "uid": ["p", "p"]}, tmp_path / "a.pt")
    log = open_log(tmp_path / "a.pt")
    assert (log.format, log.trajectories, log.groups) == ("padded", 2, 1)
    batch = log.batch()
    assert batch.need("outcome").tolist() == [1.0, 0.0]
    assert batch.need("logp").tolist() == [-0.5, 0, -0.25, -1, -1]


def test_a_torch_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"response_mask": Path("x")}, tmp_path / "a.pt")
    with pytest.raises(BatchError, match="without running its code"):
        open_log(tmp_path / "a.pt")
    torch.save(torch.ones(2), tmp_path / "b.pt")
    with pytest.raises(BatchError, match="holds Tensor, expected a dict of tensors"):
        open_log(tmp_path / "b.pt")


def test_tensors_are_read_from_a_safetensors_file(tmp_path: Path) -> None:
    numpy_ = pytest.importorskip("safetensors.numpy")
    numpy_.save_file({k: np.asarray(v) for k, v in DUMP.items()}, str(tmp_path / "a.safetensors"))
    assert open_log(tmp_path / "a.safetensors").batch().need("outcome").tolist() == [1.0, 0.0]


def test_a_saved_tokenizer_cuts_the_text(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    held = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "q0": 1}, unk_token="[UNK]"))
    held.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=held, unk_token="[UNK]").save_pretrained(str(tmp_path / "words"))
    datasets.Dataset.from_list(ROWS[:1]).to_parquet(str(tmp_path / "log.parquet"))
    batch = open_log(tmp_path / "log.parquet", tokenizer=str(tmp_path / "words")).batch()
    assert 1 in batch.need("ids")[~batch.action]
    assert set(batch.need("ids").tolist()) == {0, 1}
    assert batch.meta["tokenizer"] == "words"
