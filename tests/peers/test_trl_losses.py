"""Every loss_type of TRL 1.16 with (B, T) advantages: TRL's own ``_compute_loss`` against its (B,) meaning and by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from apportion.integrations.trl import LOSSES, CreditGRPOTrainer  # noqa: E402

from . import trl_world as world  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

MASK = torch.tensor([[1, 1, 0, 1, 1], [1, 1, 1, 0, 0], [1, 0, 1, 1, 1], [1, 1, 1, 1, 0]])
ADVANTAGES = torch.tensor([1.5, -1.0, 0.25, -0.75])
VARIED = torch.tensor([[1.0, 1.0, 0, -2.0, -2.0], [0.5, 0.5, -1.5, 0, 0], [-1.0, 0, 3.0, 3.0, 3.0], [2.0, -0.5, -0.5, 1.0, 0]])


def trainer_for(tmp_path: Path, loss_type: str, **more: Any) -> Any:
    args = world.config(tmp_path, loss_type=loss_type, per_device_train_batch_size=4, max_completion_length=10, **more)
    trainer: Any = CreditGRPOTrainer(
        world.model(),
        lambda completions, **_: [0.0] * len(completions),
        args=args,
        train_dataset=world.prompts(),
        processing_class=world.tokenizer(),
        credit="rloo",
    )
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def inputs_for(trainer: Any, advantages: Any) -> Any:
    """Four completions whose log-probs under the old policy differ from the new ones, past the clip range too."""
    torch.manual_seed(3)
    ids = torch.randint(6, 15, MASK.shape)
    prompt = torch.full((4, 2), 3)
    with torch.no_grad():
        whole = torch.ones(4, 7, dtype=torch.long)
        logp, _, _ = trainer._get_per_token_logps_and_entropies(trainer.model, torch.cat([prompt, ids], 1), whole, 5)
    return {
        "prompt_ids": prompt,
        "prompt_mask": torch.ones_like(prompt),
        "completion_ids": ids,
        "completion_mask": torch.ones_like(MASK),
        "tool_mask": MASK,
        "old_per_token_logps": logp - 0.5 * torch.randn(MASK.shape),
        "ref_per_token_logps": logp - 0.1,
        "num_items_in_batch": MASK.sum(),
        "advantages": advantages,
    }


def loss_and_gradient(trainer: Any, inputs: Any) -> tuple[float, Any]:
    trainer.model.zero_grad()
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten().clone() for p in trainer.model.parameters()])


def broadcast(values: Any) -> Any:
    """(B, T) as the plug-in makes it: zero on what the policy did not write."""
    return values[:, None] * MASK


SETTINGS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in LOSSES),
    *((name, {"importance_sampling_level": "sequence"}) for name in LOSSES),
    ("grpo", {"off_policy_mask_threshold": 0.05}),
    ("dapo", {"delta": 1.2}),
    ("dapo", {"top_entropy_quantile": 0.5}),
    ("dapo", {"entropy_coef": 0.1}),
]


@pytest.mark.parametrize(("loss_type", "more"), SETTINGS)
def test_constant_credit_is_trl_scalar_advantage(tmp_path: Path, loss_type: str, more: dict[str, Any]) -> None:
    trainer = trainer_for(tmp_path, loss_type, **more)
    scalar, gradient = loss_and_gradient(trainer, inputs_for(trainer, ADVANTAGES))
    per_token, same = loss_and_gradient(trainer, inputs_for(trainer, broadcast(ADVANTAGES)))
    assert abs(scalar) > 1e-4
    assert per_token == pytest.approx(scalar, rel=1e-5)
    torch.testing.assert_close(same, gradient, rtol=1e-4, atol=1e-6)


def by_hand(loss_type: str, ratio: Any, logp: Any, a: Any, m: Any) -> float:
    """The loss of each type, written from its formula one token at a time. ratio, logp, a, m: (B, T) lists."""
    total, lengths = [], [sum(row) for row in m]
    for r, p, adv, mask, n in zip(ratio, logp, a, m, lengths, strict=True):
        # vespo: one weight a completion, from the summed log ratio, its shape set by the sign of each token's credit
        w = math.prod(x for x, keep in zip(r, mask, strict=True) if keep)
        row = 0.0
        for x, lp, y, keep in zip(r, p, adv, mask, strict=True):
            if not keep:
                continue
            if loss_type == "cispo":
                row -= min(x, 1.2) * y * lp
            elif loss_type == "sapo":
                tau = 1.0 if y > 0 else 1.05
                row -= 4 / tau / (1 + math.exp(-tau * (x - 1))) * y
            elif loss_type == "vespo":
                k, lam = (2.0, 3.0) if y >= 0 else (3.0, 2.0)
                row -= math.exp(lam) * w**k * math.exp(-lam * w) * y * lp
            else:
                row -= min(x * y, min(max(x, 0.8), 1.2) * y)
        total.append(row / n if loss_type in ("grpo", "sapo") else row)
    if loss_type in ("grpo", "sapo", "luspo"):
        return sum(total) / len(total)
    return sum(total) / (4 * 10 if loss_type == "dr_grpo" else sum(lengths))


@pytest.mark.parametrize("loss_type", list(LOSSES))
def test_credit_that_varies_within_a_completion_by_hand(tmp_path: Path, loss_type: str) -> None:
    high = {"epsilon_high": 1.2} if loss_type == "cispo" else {}  # cispo's is the bound itself
    trainer = trainer_for(tmp_path, loss_type, **high)
    inputs = inputs_for(trainer, VARIED)
    got, _ = loss_and_gradient(trainer, inputs)
    with torch.no_grad():
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
        logp, _, _ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, torch.ones_like(ids), 5)
    ratio = torch.exp(logp - inputs["old_per_token_logps"])
    assert ((ratio > 1.2) | (ratio < 0.8)).any()
    expected = by_hand(loss_type, ratio.tolist(), logp.tolist(), VARIED.tolist(), MASK.tolist())
    assert got == pytest.approx(expected, rel=1e-4)


def per_token_gradient(trainer: Any, advantages: Any, token: tuple[int, int]) -> Any:
    """How the loss would change with the new log-prob of each token, by the old log-probs held fixed."""
    inputs = inputs_for(trainer, advantages)
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    ones = torch.ones_like(ids)
    logp, entropy, aux = trainer._get_per_token_logps_and_entropies(trainer.model, ids, ones, 5, compute_entropy=True)
    leaf = logp.detach().clone().requires_grad_()
    inputs["old_per_token_logps"] = leaf.detach()
    trainer._get_per_token_logps_and_entropies = lambda *a, **k: (leaf, entropy.detach(), aux)
    trainer._compute_loss(trainer.model, inputs).backward()
    return leaf.grad[token]


@pytest.mark.parametrize("loss_type", list(LOSSES))
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_which_losses_keep_credit_at_its_token(tmp_path: Path, loss_type: str, level: str) -> None:
    """Why importance_sampling_level="sequence" is refused but with cispo (and vespo, which ignores it)."""
    trainer = trainer_for(tmp_path, loss_type, importance_sampling_level=level)
    only = torch.zeros(MASK.shape)
    only[0, 0] = 1.0  # credit for the first token; another of the same completion must not move
    moved = per_token_gradient(trainer, only, (0, 4))
    stays = level == "token" or LOSSES[loss_type].detached
    assert (float(moved) == 0) == stays


def test_the_off_policy_mask_judges_each_token_by_its_own_credit(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, "grpo", off_policy_mask_threshold=-100.0)  # every completion is too far off
    kept = trainer.get_off_policy_mask(
        advantages=VARIED, per_token_logps=torch.zeros(4, 5), sampling_per_token_logps=torch.zeros(4, 5), mask=MASK,
        off_policy_threshold=-100.0,
    )  # fmt: skip
    assert (kept.bool() == (VARIED >= 0)).all()


def test_gmpo_breaks_on_per_token_credit(tmp_path: Path) -> None:
    """Why GMPO is refused by name."""
    from trl.experimental.gmpo import GMPOConfig, GMPOTrainer

    args = GMPOConfig(
        output_dir=str(tmp_path), per_device_train_batch_size=4, num_generations=4, max_completion_length=10, report_to=[],
        use_cpu=True, bf16=False,
    )  # fmt: skip
    trainer = GMPOTrainer(
        world.model(),
        lambda completions, **_: [0.0] * len(completions),
        args=args,
        train_dataset=world.prompts(),
        processing_class=world.tokenizer(),
    )
    trainer.current_gradient_accumulation_steps = 1
    assert trainer._compute_loss(trainer.model, inputs_for(trainer, ADVANTAGES)).isfinite()
    with pytest.raises(RuntimeError, match="must match the size"):
        trainer._compute_loss(trainer.model, inputs_for(trainer, broadcast(ADVANTAGES)))
