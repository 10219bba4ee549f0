"""TRL: its arithmetic stands inside ``GRPOTrainer._generate_and_score_completions``, so a trainer is built and asked.

The trainer, its generation and its call of the reward function are TRL's; the model is a random one of a
few thousand parameters, and the reward function returns the rewards of the case.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

from .cases import GroupCase

WORDS = ("<pad>", "<end>", "<unk>", "a", "b")


def gae(case: Any) -> list[float]:
    raise NotImplementedError("TRL has no GAE since its PPO trainer went")


def group(case: GroupCase, id_: str) -> list[float]:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from trl import GRPOConfig, GRPOTrainer

    n = len(case.reward)
    inputs = [{"prompt": "a b", "earned": float(r), "order": i} for i, r in enumerate(case.reward)]
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            per_device_train_batch_size=n,
            num_generations=case.size,
            max_completion_length=2,
            scale_rewards=id_,
            beta=0.0,
            report_to=[],
            disable_tqdm=True,
            gradient_checkpointing=False,
        )
        trainer = GRPOTrainer(
            model=_model(), reward_funcs=_earned, args=config, train_dataset=_dataset(inputs), processing_class=_tokenizer()
        )
        found: list[float] = trainer._generate_and_score_completions(inputs)["advantages"].tolist()
    return found


def _earned(earned: list[float], **_: Any) -> list[float]:
    return list(earned)


def _dataset(rows: list[dict[str, Any]]) -> Any:
    from datasets import Dataset

    return Dataset.from_list(rows)


def _tokenizer() -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    special = {"pad_token": "<pad>", "eos_token": "<end>", "unk_token": "<unk>", "padding_side": "left"}
    return PreTrainedTokenizerFast(tokenizer_object=words, **special)


def _model() -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(WORDS),
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            num_key_value_heads=1,
            max_position_embeddings=32,
            bos_token_id=None,
            eos_token_id=1,
            pad_token_id=0,
        )
    )
