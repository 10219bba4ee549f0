"""One of two gloo processes: trains, writes what it generated and the credit it was given; then trains into an error."""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import Any

sys.path.insert(0, os.path.dirname(__file__))
warnings.simplefilter("ignore")


def main(folder: str, fail: bool) -> None:
    import numpy as np
    import trl_world as world  # type: ignore[import-not-found]

    from apportion.integrations.trl import CreditGRPOTrainer

    rank = int(os.environ["RANK"])
    rng = np.random.default_rng(rank)

    def rollout_func(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        """One to three turns; the processes pad to different lengths."""
        turns = [int(rng.integers(1, 3)) + rank for _ in prompts]
        size = [3 * n - 1 for n in turns]
        found: dict[str, Any] = {
            "prompt_ids": [[3, 4]] * len(prompts),
            "completion_ids": [[6, 7, 5] * (n - 1) + [8, 1] for n in turns],
            "logprobs": [[-1.0] * n for n in size],
            "env_mask": [[1, 1, 0] * (n - 1) + [1, 1] for n in turns],
            "states": [[f"room {x}" for x in rng.integers(0, 2, n + 1)] for n in turns],
            "turn_rewards": [[round(float(x), 2) for x in rng.random(n)] for n in turns],
            "solved": [float(x) for x in rng.integers(0, 2, len(prompts))],
        }
        if fail and rank == 0:
            found["states"][1] = ["too", "many", "states", "for", "so", "few", "turns"]
        kept.append(found)
        return found

    kept: list[dict[str, Any]] = []
    trainer: Any = CreditGRPOTrainer(
        world.model(),
        lambda completions, solved, **_: solved,
        # eight completions of one prompt, four on each process
        args=world.config(folder, per_device_train_batch_size=4, num_generations=8, max_steps=1, max_completion_length=16),
        train_dataset=world.prompts(),
        processing_class=world.tokenizer(),
        rollout_func=rollout_func,
        credit="gigpo",
    )
    made = []
    inner = trainer._generate_and_score_completions

    def watched(inputs: Any) -> Any:
        made.append(inner(inputs))
        return made[-1]

    trainer._generate_and_score_completions = watched
    try:
        trainer.train()
    except Exception as error:
        with open(f"{folder}/{rank}.error", "w") as file:
            file.write(f"{type(error).__name__}: {error}")
        return
    record = {**kept[0], "advantages": made[0]["advantages"].tolist(), "items": int(made[0]["num_items_in_batch"])}
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(record, file)


if __name__ == "__main__":
    main(sys.argv[1], fail=False)
    main(sys.argv[1], fail=True)
    # gloo's threads abort a process whose peer has gone first: leave together, and without tearing down.
    import torch.distributed

    torch.distributed.barrier()
    os._exit(0)
