"""Rows of a batch that another tokenizer than the model's made: each way from a trainer's data to credit, on its own types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers

from apportion.errors import OptionError
from apportion.evidence.huggingface import HFPolicy
from apportion.integrations import honours, rows, thin
from apportion.integrations.calls import Call, credit_calls, told
from apportion.integrations.packed import Rollout, pack, turn
from apportion.integrations.trl import rollouts as trl
from apportion.registry import get

pytestmark = pytest.mark.filterwarnings("ignore:.*is meant for a loss with denominator:UserWarning")
V = 41
LOSS = honours.Honours("here", frozenset({"token"}), keep=True, denominator="token")
PLACE = thin.Place("here", ("reward", "outcome", "group", "ids"), LOSS)
ACTION = np.array([[False, True, True, False, True]] * 4)
OUTCOMES, GROUPS = [1.0, 0.0, 0.5, 2.0], [0, 0, 1, 1]


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=V, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1
    )
    return transformers.LlamaForCausalLM(config).eval()


def token_ids(*wrong: tuple[int, int, int]) -> Any:
    """Four rows of five tokens; wrong: (row, token, id)."""
    ids = 2 + np.arange(20).reshape(4, 5) % 7
    for row, t, value in wrong:
        ids[row, t] = value
    return ids


def by_rows(method: str, ids: Any, **options: Any) -> Any:
    """AReaL, NeMo-RL, OpenRLHF, SkyRL, slime: padded tensors."""
    columns = {"ids": ids, "outcome": np.array(OUTCOMES), "group": GROUPS, "attention": np.ones_like(ACTION)}
    return rows.credit_rows(rows.plan(PLACE, method, options), rows.Rows(ACTION, None, None, columns)).token


def by_turns(method: str, ids: Any, **options: Any) -> Any:
    """verifiers and prime-rl: messages one after the other."""
    made = [
        Rollout(f"rollout {i}", [turn("a", own[:3], [0, 1, 1]), turn("b", own[3:], [0, 1])], OUTCOMES[i], GROUPS[i])
        for i, own in enumerate(ids)
    ]
    return thin.credited(PLACE, thin.choose(PLACE, method, options), pack(made), 0).token.reshape(ACTION.shape)


def by_calls(method: str, ids: Any, **options: Any) -> Any:
    """Tinker, rLLM, Trinity: calls of a model, each with the whole prompt it saw."""
    read = [told(f"rollout {i}", [Call(own[:1], own[1:3]), Call(own[:4], own[4:])]) for i, own in enumerate(ids.tolist())]
    made = [Rollout(f"rollout {i}", r.turns, OUTCOMES[i], GROUPS[i]) for i, r in enumerate(read)]
    found = credit_calls(rows.plan(PLACE, method, options), made)
    done = np.zeros(ACTION.shape)
    done[ACTION] = np.concatenate([call.credit for rollout in found for call in rollout])
    return done


def by_trl(method: str, ids: Any, **options: Any) -> Any:
    made = [trl.Rollout(0, GROUPS[i], OUTCOMES[i], ACTION[i], ACTION[i], own, False) for i, own in enumerate(ids)]
    return np.stack(trl.credited(made, get(method), options, LOSS, limit=5, rng=np.random.default_rng(0)).token)


WAYS = [by_rows, by_turns, by_calls, by_trl]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("wrong", "says"), [((2, 3, V), f"token 3: id {V}"), ((1, 4, -1), "token 4: id -1")])
def test_ids_that_the_model_does_not_have_are_refused_by_row_and_token(
    model: Any, way: Callable[..., Any], wrong: tuple[int, int, int], says: str
) -> None:
    policy = HFPolicy(model, answers=[[5], [6], [5], [6]])
    assert np.isfinite(way("igpo", token_ids(), policy=policy)).all()
    with pytest.raises(OptionError, match=rf"trajectory {wrong[0]} \(.*\), {says}, but LlamaForCausalLM knows 0 to {V - 1}"):
        way("igpo", token_ids(wrong), policy=policy)


@pytest.mark.parametrize("way", WAYS)
def test_methods_that_go_by_rewards_never_look_ids_up_and_fits_take_any(way: Callable[..., Any]) -> None:
    own, other = token_ids(), token_ids((1, 2, 10**6), (3, 4, V))
    np.testing.assert_array_equal(way("rloo", own), way("rloo", other))
    assert np.ptp(way("rloo", own)) > 0
    assert np.isfinite(way("rudder", other, fit=True)).all()
