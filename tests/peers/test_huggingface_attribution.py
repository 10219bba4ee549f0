"""Attributions of a reward head: by hand where all is linear, complete where they are integrated."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers

import apportion as ap
from apportion.errors import OptionError
from apportion.evidence import Judge
from apportion.evidence.huggingface import fit_head
from apportion.evidence.huggingface.attribution import HFAttribution, attention, gradient_input, integrated, value_of

V, N = 12, 16


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=V, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=32, initializer_range=0.2, attn_implementation="eager",
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def rollouts() -> ap.Batch:
    rng = np.random.default_rng(0)
    ids = rng.integers(2, V, 5 * N)
    return ap.Batch.from_turns(
        [[3, 2]] * N, action=[False, True, True, False, True] * N, ids=ids, group=[i // 4 for i in range(N)],
        outcome=(ids[4::5] < 7).astype(float),
    )  # fmt: skip


class Linear(torch.nn.Module):  # type: ignore[misc]
    """Hidden states are twice the embeddings, and those before them are added: h_t = 2 sum_{u <= t} x_u."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(3, 2)
        with torch.no_grad():
            self.table.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 3.0], [2.0, 3.0]]))
        self.device = torch.device("cpu")

    def get_input_embeddings(self) -> Any:
        return self.table

    @property
    def base_model(self) -> Any:
        return lambda inputs_embeds, use_cache: SimpleNamespace(last_hidden_state=2 * inputs_embeds.cumsum(dim=1))


def test_a_linear_model_is_attributed_by_hand() -> None:
    def f(states: Any) -> Any:
        return states[2] @ torch.tensor([1.0, -1.0])

    text = [0, 1, 2]  # f = 2 sum (first - second coordinate); the mean embedding is (1, 2)
    np.testing.assert_allclose(gradient_input(Linear(), text, f), [2, -6, -2])
    np.testing.assert_allclose(integrated(Linear(), text, f, 1), [2 + 2, -6 + 2, -2 + 2])


def test_integrated_gradients_add_up_to_what_the_score_gained(model: Any) -> None:
    text = np.random.default_rng(1).integers(2, V, 9).tolist()
    weight = torch.linspace(-1, 1, 16)

    def f(states: Any) -> Any:
        return torch.tanh(states[-1] @ weight)

    table = model.get_input_embeddings().weight.detach()
    with torch.no_grad():
        ends = [float(value_of(model, x, f)) for x in (table[text], table.mean(dim=0).expand(9, 16))]
    gained = ends[0] - ends[1]
    assert abs(gained) > 0.05
    assert integrated(model, text, f, 64).sum() == pytest.approx(gained, rel=1e-2)
    assert abs(gradient_input(model, text, f).sum() - gained) > 0.05 * abs(gained)  # which promises no such thing


def test_attention_is_that_of_the_last_layer_from_the_token_asked_about(model: Any) -> None:
    text = [2, 3, 4, 5, 6]
    found = attention(model, text, 3)
    assert found.sum() == pytest.approx(1.0, abs=1e-5)
    assert found[4] == 0.0
    assert (found[:4] > 0).all()
    with torch.no_grad():
        layers = model(torch.tensor([text]), output_attentions=True).attentions
    np.testing.assert_allclose(found, (layers[1][0, 0, 3] + layers[1][0, 1, 3]).numpy() / 2, atol=1e-6)


@pytest.mark.parametrize("how", ["attention", "gradient_input", "integrated"])
def test_adaptive_segment_takes_them_as_a_judge_of_tokens(model: Any, how: Any) -> None:
    batch = rollouts()
    judge = HFAttribution(fit_head(model, batch, "promise"), how, steps=4)
    assert isinstance(judge, Judge)
    score = judge.score(batch, "token", np.random.default_rng(0))
    assert not score.values[~batch.action].any()
    assert score.values[batch.action].all()
    work = {"attention": score.bill.scored, "gradient_input": score.bill.trained, "integrated": score.bill.trained / 4}
    assert work[how] == batch.n_tokens
    if how == "attention":
        np.testing.assert_allclose(score.values.reshape(N, 5).sum(axis=1), 1.0)
    steps = judge.score(batch, "step", np.random.default_rng(0)).values
    np.testing.assert_allclose(steps, np.add.reduceat(score.values, batch.offsets("step")[:-1]))
    credit = ap.assign(batch, "adaptive_segment", judge=judge, rated="token", rng=0)
    assert isinstance(credit, ap.Credit)
    assert np.isfinite(credit.token).all()


def test_a_rollout_is_attributed_by_weights_that_have_not_seen_its_outcome(model: Any) -> None:
    batch = rollouts()
    outcome = batch.reward.copy()
    outcome[5] = 1 - outcome[5]
    said = [
        HFAttribution(fit_head(model, b, "promise"), "gradient_input").score(b, "token", np.random.default_rng(0)).values
        for b in (batch, batch.with_columns(outcome=outcome))
    ]
    np.testing.assert_array_equal(said[0][25:30], said[1][25:30])
    assert (said[0] != said[1]).any()


def test_what_cannot_be_attributed_is_refused_at_once(model: Any) -> None:
    head = fit_head(model, rollouts(), "promise")
    with pytest.raises(ValueError, match="how = 'vibes'"):
        HFAttribution(head, "vibes")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="steps = 0"):
        HFAttribution(head, steps=0)
    with pytest.raises(OptionError, match=r"\.on\(model\)"):
        HFAttribution(type(head).load(head.save()))
    quick = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**{**model.config.to_diff_dict(), "attn_implementation": "sdpa"})
    )
    quick.load_state_dict(model.state_dict())
    with pytest.raises(OptionError, match="eager"):
        HFAttribution(head.on(quick), "attention")
