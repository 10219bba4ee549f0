"""The doctor on torch tensors as trainers hold them: any dtype, with gradients, left as they were."""

from __future__ import annotations

import numpy as np
import pytest

from apportion.doctor import examine_padded

from ..sick import padded

torch = pytest.importorskip("torch")


def test_torch_and_numpy_are_examined_alike() -> None:
    arrays = padded()
    tensors = {n: torch.tensor(v) if isinstance(v, np.ndarray) and v.dtype != object else v for n, v in arrays.items()}
    tensors["old_log_probs"].requires_grad_(True)
    assert examine_padded(tensors).to_plain() == examine_padded(arrays).to_plain()
    assert tensors["old_log_probs"].requires_grad


def test_bfloat16_with_nan_is_looked_at() -> None:
    tensors = padded()
    logp = torch.tensor(tensors["old_log_probs"]).to(torch.bfloat16)
    logp[2, 0] = float("nan")
    finding = examine_padded({**tensors, "old_log_probs": logp, "rollout_log_probs": None}).finding("scores-not-finite")
    assert finding is not None
    assert (finding.severity, finding.places[0].trajectory) == ("problem", "2")


def test_a_real_data_proto_is_examined() -> None:
    verl = pytest.importorskip("verl")
    data = verl.DataProto.from_dict(
        tensors={n: torch.tensor(v) for n, v in padded().items() if isinstance(v, np.ndarray) and v.dtype != object},
        non_tensors={"uid": padded()["uid"]},
    )
    diagnosis = examine_padded({**dict(data.batch.items()), **data.non_tensor_batch, "turns": "mask"})
    assert diagnosis.healthy
    assert diagnosis.holds["groups"] == 2
