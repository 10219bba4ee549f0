"""A random policy learns to say "a", then "b": states and a reward per turn, on a CPU, without network."""

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig

from apportion.integrations.trl import CreditGRPOTrainer

words = Tokenizer(models.WordLevel({"<pad>": 0, "<end>": 1, "go": 2, "a": 3, "b": 4}, "<end>"))
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<end>")
size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
model = Qwen2ForCausalLM(Qwen2Config(vocab_size=5, pad_token_id=0, eos_token_id=1, **size))


def rollout(prompts, trainer):
    n, go, turns = len(prompts), torch.full((len(prompts), 1), 2), []
    for _ in range(2):  # the environment says "go", the policy one word
        seen = torch.cat([go, *(t for turn in turns for t in (turn, go))], dim=1)
        turns.append(trainer.model.generate(seen, attention_mask=torch.ones_like(seen), max_new_tokens=1, do_sample=True)[:, -1:])
    said = torch.cat(turns, dim=1).tolist()
    rollouts = {"prompt_ids": [[2]] * n, "completion_ids": [[x, 2, y] for x, y in said], "env_mask": [[1, 0, 1]] * n}
    states, rewards = [["start", f"said {x}"] for x, _ in said], [[float(x == 3), float(y == 4)] for x, y in said]
    return {**rollouts, "logprobs": None, "states": states, "turn_rewards": rewards}


args = GRPOConfig(
    "out", max_steps=40, learning_rate=1e-2, per_device_train_batch_size=32, loss_type="luspo", use_cpu=True, save_strategy="no"
)
given = {"args": args, "train_dataset": Dataset.from_dict({"prompt": ["go"] * 32}), "processing_class": tokenizer}
trainer = CreditGRPOTrainer(model, lambda prompts, **_: [0.0] * len(prompts), **given, rollout_func=rollout, credit="pooled_td")
trainer.train()
print(tokenizer.batch_decode(rollout(["go"] * 4, trainer)["completion_ids"]))
