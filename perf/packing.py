"""python -m perf.packing: texts scored one by one, padded and packed, in turns, in one run.

A random Llama (4 layers, width 128, 8,192 words) and 64 texts of 8 to 500 tokens, of which a third is asked about.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

#: Rounds; the middle one is printed.
ROUNDS = 3


def one_by_one(model: Any, texts: list[list[int]], wanted: list[Any]) -> list[Any]:
    import torch

    found = []
    for text, mask in zip(texts, wanted, strict=True):
        with torch.no_grad():
            said = torch.log_softmax(model(torch.tensor([text]), use_cache=False).logits[0, :-1].float(), dim=-1)
        own = said.gather(1, torch.tensor(text[1:])[:, None])[:, 0].numpy()
        found.append(np.where(mask, np.append(0.0, own), 0.0))
    return found


def main() -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from apportion.evidence.huggingface import packing
    from apportion.evidence.huggingface.scoring import token_logp

    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=8192, hidden_size=128, intermediate_size=256, num_hidden_layers=4, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=2048,
        )
    ).eval()  # fmt: skip
    rng = np.random.default_rng(0)
    texts = [rng.integers(8192, size=n).tolist() for n in np.clip(rng.lognormal(4.5, 0.8, 64).astype(int), 8, 500)]
    wanted = [rng.random(len(text)) < 1 / 3 for text in texts]

    def ours(packed: bool) -> list[Any]:
        packing._PACKS[model] = packed
        return token_logp(model, texts, wanted=wanted, entropy=False)[0]

    ways: dict[str, Callable[[], list[Any]]] = {
        "one by one": lambda: one_by_one(model, texts, wanted),
        "padded": lambda: ours(False),
        "packed": lambda: ours(True),
    }
    assert packing.packs(model)
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        said = []
        for name, way in ways.items():
            begin = time.perf_counter()
            said.append(np.concatenate(way()))
            took[name].append(time.perf_counter() - begin)
        for other in said[1:]:
            np.testing.assert_allclose(other, said[0], atol=1e-3)
    base = float(np.median(took["one by one"]))
    print(f"{sum(map(len, texts)):,} tokens in {len(texts)} texts, {torch.get_num_threads()} thread(s)")
    for name, times in took.items():
        print(f"{name:<11} {np.median(times):6.2f} s   {base / np.median(times):5.2f} x")


if __name__ == "__main__":
    main()
