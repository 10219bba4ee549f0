"""A world TRL can train on in seconds: a tokenizer of a dozen words, a tiny random model, a corridor with tools."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

WORDS = ["<pad>", "<end>", "<unk>", "user", "bot", "tool", "go", "left", "right", "stop", "room", "0", "1", "2", "3"]

# "go left" and "go right" are tool calls; everything else is an answer.
TEMPLATE = (
    "{% for m in messages %}"
    "{% if m.role == 'user' %}user {{ m.content }} {% endif %}"
    "{% if m.role == 'assistant' %}bot {{ m.content }}"
    "{% for c in m.tool_calls or [] %}go {{ c.function.name }} {{ c.function.arguments | tojson }} {% endfor %}<end> {% endif %}"
    "{% if m.role == 'tool' %}tool {{ m.content }} {% endif %}"
    "{% endfor %}{% if add_generation_prompt %}bot {% endif %}"
)
SCHEMA = {
    "type": "object",
    "properties": {
        "role": {"const": "assistant"},
        "content": {"type": "string", "x-regex": r"^(.*)$"},
        "tool_calls": {
            "type": "array",
            "x-regex-iterator": r"go (left|right)",
            "items": {
                "type": "object",
                "x-regex": r"(?P<name>left|right)",
                "properties": {"type": {"const": "function"}, "function": {"type": "object"}},
            },
        },
    },
}


def tokenizer() -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    raw.pre_tokenizer = WhitespaceSplit()
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="<end>", unk_token="<unk>", padding_side="left"
    )
    made.chat_template = TEMPLATE
    return made


def model(seed: int = 0, width: int = 32, positions: int = 128) -> Any:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(WORDS),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    return Qwen2ForCausalLM(config)


def config(tmp: Any, **changes: Any) -> Any:
    from trl import GRPOConfig

    settings: dict[str, Any] = {
        "output_dir": str(tmp),
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 8,
        "max_steps": 2,
        "learning_rate": 1e-2,
        "report_to": [],
        "save_strategy": "no",
        "logging_steps": 1,
        "use_cpu": True,
        "disable_tqdm": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
        "seed": 1,
    }
    return GRPOConfig(**(settings | changes))


def prompts(n: int = 8) -> Any:
    from datasets import Dataset

    return Dataset.from_dict({"prompt": [f"user room {i % 4} bot" for i in range(n)]})
