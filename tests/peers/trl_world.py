"""A world TRL can train on in seconds: a tokenizer of a dozen words, a tiny random model, a corridor with tools."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

WORDS = ["<pad>", "<end>", "<unk>", "user", "bot", "tool", "go", "left", "right", "stop", "room", "0", "1", "2", "3"]

# "left" and "right" are tool calls, wherever they stand; everything else is an answer.
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
            # several in one answer are parallel calls of one turn
            "x-regex-iterator": r"\b(left|right)\b",
            "items": {
                "type": "object",
                "properties": {
                    "type": {"const": "function"},
                    "function": {"type": "object", "properties": {"name": {"type": "string"}, "arguments": {"const": {}}}},
                },
            },
        },
    },
}


def tokenizer(words: Sequence[str] = tuple(WORDS)) -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = WhitespaceSplit()
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="<end>", unk_token="<unk>", padding_side="left"
    )
    made.chat_template = TEMPLATE
    return made


def model(seed: int = 0, width: int = 32, positions: int = 128, vocabulary: int = len(WORDS)) -> Any:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=vocabulary,
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


def chats(n: int = 8) -> Any:
    from datasets import Dataset

    return Dataset.from_dict({"prompt": [[{"role": "user", "content": "room 1"}]] * n})


#: Words a policy may not write in the corridor, so that a random one often calls a tool.
SILENT = [i for i, word in enumerate(WORDS) if word not in ("<end>", "left", "right", "stop", "go")]


class Corridor:
    """Rooms 0 to 3; a step to the right earns 0.1, and the end of the corridor 1."""

    def reset(self, **row: Any) -> None:
        self.at, self.earned = 1, 0.0
        self.state = "room 1"

    def left(self) -> str:
        """Go left.

        Returns:
            The room that is there.
        """
        return self._move(-1)

    def right(self) -> str:
        """Go right.

        Returns:
            The room that is there.
        """
        return self._move(1)

    def _move(self, by: int) -> str:
        before, self.at = self.at, min(max(self.at + by, 0), 3)
        self.earned += 0.1 * max(self.at - before, 0)
        self.state = f"room {self.at}"
        return self.state

    def get_reward(self) -> float:
        return float(self.at == 3)
