"""The same rollouts and the same credit give the same first update, through TRL's trainer and by our own loop.

Rollouts are those of the task that ``make demo-train`` learns, read as text by a tiny Qwen2. One side is TRL: rollouts
enter by ``rollout_func``, credit by the mixin, and its optimiser (plain SGD) takes one step. The other is what every
learning curve of the benchmark is made with: ``assign`` on the batch, :func:`apportion.bench.gradient.token_weights`,
and the gradient of the weighted log-probabilities.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

import apportion as ap  # noqa: E402
from apportion.bench.gradient import token_weights  # noqa: E402
from apportion.bench.layouts import to_batch  # noqa: E402
from apportion.bench.tasks import find  # noqa: E402
from apportion.bench.world import roll  # noqa: E402
from apportion.credit import relabelled  # noqa: E402
from apportion.integrations.trl import LOSSES, CreditGRPOTrainer  # noqa: E402

from . import trl_world as world  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

TASK, PROMPTS, GROUP, RATE = "tiny/turns-12", 2, 4, 1.0
#: What stands before the first choice: prompt, turn, look.
OPENING = 3


@cache
def rolled() -> tuple[ap.Batch, Any]:
    """Eight rollouts of the task as a batch, and their tokens (8, 60) as ids of a vocabulary without gaps."""
    task = find(TASK)
    rollouts = roll(task, task.start_theta, PROMPTS, GROUP, np.random.default_rng(2))
    assert all(0 < rollouts.reward[k : k + GROUP].mean() < 1 for k in (0, GROUP)), "a group without a difference has no credit"
    batch = to_batch(rollouts, logp=False)
    assert batch.ids is not None
    ids = np.unique(batch.ids, return_inverse=True)[1].ravel() + len(world.WORDS)
    return batch, torch.from_numpy(ids.reshape(PROMPTS * GROUP, -1))


@cache
def words() -> tuple[str, ...]:
    known = int(rolled()[1].max()) + 1
    return (*world.WORDS, *(f"t{i}" for i in range(len(world.WORDS), known)))


def replayed(prompts: list[Any], trainer: Any) -> dict[str, Any]:
    """The rollouts, in TRL's words: ids, which of them the policy wrote, and the state before each turn and at the end."""
    batch, ids = rolled()
    assert len(prompts) == len(ids)
    n, length = ids.shape
    action = batch.action.reshape(n, length)[:, OPENING:]
    assert batch.state is not None
    assert batch.outcome is not None
    keys = batch.state.codes.reshape(n, -1)
    return {
        "prompt_ids": ids[:, :OPENING].tolist(), "completion_ids": ids[:, OPENING:].tolist(),
        "logprobs": [[-1.0] * (length - OPENING)] * n, "env_mask": action.astype(int).tolist(),
        "states": [[f"place {key}" for key in row] for row in keys], "solved": batch.outcome.tolist(),
    }  # fmt: skip


def solved(completions: list[str], solved: list[float], **more: Any) -> list[float]:
    return solved


def flat(model: Any) -> Any:
    return torch.cat([p.detach().flatten().clone().double() for p in model.parameters()])


def by_trl(tmp_path: Path, method: str, loss_type: str) -> Any:
    """How far TRL's trainer moves the parameters in one step."""
    model = world.model(vocabulary=len(words()))
    args = world.config(
        tmp_path, loss_type=loss_type, beta=0.0, max_steps=1, learning_rate=RATE, max_grad_norm=0.0, max_completion_length=60,
        lr_scheduler_type="constant", num_generations=GROUP, per_device_train_batch_size=PROMPTS * GROUP, temperature=1.0,
    )  # fmt: skip
    trainer: Any = CreditGRPOTrainer(
        model, solved, args=args, train_dataset=world.prompts(), processing_class=world.tokenizer(words()), credit=method,
        rollout_func=replayed, optimizers=(torch.optim.SGD(model.parameters(), lr=RATE), None),
    )  # fmt: skip
    before = flat(model)
    trainer.train()
    return flat(model) - before


def our_credit(method: str, denominator: Any = None) -> ap.Credit:
    credit = ap.assign(rolled()[0], method)
    assert isinstance(credit, ap.Credit)
    return credit if denominator is None else relabelled(credit, loss=replace(credit.loss, denominator=denominator))


def by_hand(credit: ap.Credit) -> Any:
    """One step of SGD along sum_tokens w grad log pi(token | all before it)."""
    ids = rolled()[1]
    model = world.model(vocabulary=len(words()))
    before = flat(model)
    logp = model(input_ids=ids[:, :-1]).logits.log_softmax(dim=-1).gather(2, ids[:, 1:, None])[..., 0]
    weight = torch.from_numpy(token_weights(credit)).reshape(ids.shape)[:, 1:]
    (logp * weight).sum().backward()
    with torch.no_grad():
        for p in model.parameters():
            p += RATE * p.grad
    return flat(model) - before


def apart(one: Any, other: Any) -> float:
    return float((one - other).norm() / other.norm())


# the loss whose denominator is the one the method is meant for
@pytest.mark.parametrize(
    ("method", "loss_type"), [("rloo", "luspo"), ("grpo", "grpo"), ("gigpo", "luspo"), ("pooled_td", "luspo")]
)
def test_the_first_update_is_that_of_our_own_loop(tmp_path: Path, method: str, loss_type: str) -> None:
    credit = our_credit(method)
    assert credit.loss.denominator == LOSSES[loss_type].denominator
    ours, theirs = by_hand(credit), by_trl(tmp_path, method, loss_type)
    assert ours.norm() > 1e-2
    assert apart(theirs, ours) < 1e-5


@pytest.mark.parametrize("loss_type", ["dapo", "dr_grpo", "grpo"])
def test_a_loss_with_another_denominator_is_the_same_update_over_that_one(tmp_path: Path, loss_type: str) -> None:
    theirs = by_trl(tmp_path, "gigpo", loss_type)
    assert apart(theirs, by_hand(our_credit("gigpo", LOSSES[loss_type].denominator))) < 1e-5
    assert apart(theirs, by_hand(our_credit("gigpo"))) > 0.5, "the denominator is part of the update"


def test_methods_differ_in_their_first_update() -> None:
    """What the comparisons above could not tell apart they would not check."""
    found = {method: by_hand(our_credit(method)) for method in ("rloo", "gigpo", "pooled_td")}
    assert apart(found["gigpo"], found["rloo"]) > 0.1
    assert apart(found["pooled_td"], found["rloo"]) > 0.1
