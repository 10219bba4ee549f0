"""The real small model: a text read once is worth what it would be read anew, and saves what is promised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from perf.prefix import PROMISED, race, text_of

from apportion.evidence.huggingface import Prefix

pytestmark = pytest.mark.heavy


def test_scores_after_many_cuts_are_those_of_texts_read_anew(smollm2: tuple[Any, Any]) -> None:
    model, tokenizer = smollm2
    text, new = text_of(tokenizer, 60), tokenizer(" so it stays up", add_special_tokens=False)["input_ids"]
    cuts = [20, 60, 41]
    for cut, found in zip(cuts, Prefix(model, text).score(cuts, [new] * 3), strict=True):
        whole = torch.tensor([text[:cut] + new])
        with torch.no_grad():
            said = torch.log_softmax(model(whole).logits[0].double(), -1)
        np.testing.assert_allclose(found, said[range(cut - 1, whole.shape[1] - 1), new].numpy(), atol=1e-3)


def test_continuations_of_a_text_read_once_are_promised_times_as_fast(smollm2: tuple[Any, Any]) -> None:
    found = race(smollm2, length=128, new_tokens=4, rounds=1, only=("each cut", "read once"))
    assert found.ratios["each cut"].median >= PROMISED
