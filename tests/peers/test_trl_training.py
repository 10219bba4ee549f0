"""Real, short training runs of TRL on CPU: the credit that reaches the loss is the credit of ``assign``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

import apportion as ap  # noqa: E402
from apportion.errors import BatchError, MissingColumn  # noqa: E402
from apportion.integrations.trl import CreditGRPOTrainer, CreditMixin  # noqa: E402

from . import trl_world as world  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


class Watched(CreditGRPOTrainer):  # type: ignore[misc]
    """Keeps what TRL generated and what reached its loss."""

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        found = super()._generate_and_score_completions(inputs)
        self.generated = found
        return found

    def _compute_loss(self, model: Any, inputs: Any) -> Any:
        self.trained_on = inputs
        return super()._compute_loss(model, inputs)


def lefts(completions: list[str], **more: Any) -> list[float]:
    return [c.split().count("left") + 0.1 * len(c.split()) for c in completions]


def parameters(trainer: Any) -> Any:
    return torch.cat([p.detach().flatten().clone() for p in trainer.model.parameters()])


def trained(tmp_path: Path, rewards: Any = lefts, data: Any = None, **more: Any) -> Any:
    changes = more.pop("config", {})
    trainer = Watched(
        world.model(),
        rewards,
        args=world.config(tmp_path, **changes),
        train_dataset=data if data is not None else world.prompts(),
        processing_class=more.pop("tokenizer", None) or world.tokenizer(),
        **more,
    )
    before = parameters(trainer)
    trainer.train()
    trainer.moved = float((parameters(trainer) - before).abs().max())
    return trainer


def test_a_single_turn_run_trains_and_logs(tmp_path: Path) -> None:
    trainer = trained(tmp_path, credit="rloo")
    assert trainer.moved > 1e-4
    advantages, mask = trainer.trained_on["advantages"], trainer.trained_on["completion_mask"]
    assert advantages.shape == mask.shape
    assert (advantages[mask == 0] == 0).all()
    logged = trainer.state.log_history[0]
    assert logged["credit/mean_abs"] > 0
    assert logged["credit/varies_within"] == 0
    assert logged["credit/left_out"] == 0


@pytest.mark.parametrize("scale", ["group", "none"])
def test_grpo_with_trl_options_is_trl(tmp_path: Path, scale: str) -> None:
    """TRL's own advantages for the same rollouts, taken before the mixin replaces them."""
    from trl import GRPOTrainer

    class Plain(GRPOTrainer):  # type: ignore[misc]
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            found = super()._generate_and_score_completions(inputs)
            theirs.append(found["advantages"].clone())
            return found

    class Both(CreditMixin, Plain):
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            found = super()._generate_and_score_completions(inputs)
            mask = found["completion_mask"]
            assert (found["advantages"] == torch.where(mask == 1, found["advantages"][:, :1], 0)).all()
            ours.append(found["advantages"][:, 0])
            return found

    def second(completions: list[str], **more: Any) -> list[float | None]:
        return [float(len(c)) if len(c) % 3 else None for c in completions]

    ours: list[Any] = []
    theirs: list[Any] = []
    args = world.config(tmp_path, scale_rewards=scale, reward_weights=[0.5, 2.0], mask_truncated_completions=False)
    spread = {"group": "sample", "none": "none"}[scale]
    trainer: Any = Both(
        world.model(),
        [lefts, second],
        args=args,
        train_dataset=world.prompts(),
        processing_class=world.tokenizer(),
        credit="grpo",
        credit_options={"eps": 1e-4, "spread": spread},
    )
    trainer.train()
    assert len(ours) == len(theirs) == 2
    for mine, own in zip(ours, theirs, strict=True):
        assert own.abs().max() > 0.1
        torch.testing.assert_close(mine, own, rtol=2e-5, atol=2e-6)


def rollouts(seed: int = 0, n_turns: int = 3) -> Callable[..., dict[str, Any]]:
    """A rollout_func with turns of two policy tokens, a token of the environment between them."""
    rng = np.random.default_rng(seed)

    def rollout_func(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        found: dict[str, list[Any]] = {
            k: [] for k in ("prompt_ids", "completion_ids", "logprobs", "env_mask", "states", "turn_rewards", "solved")
        }
        for prompt in prompts:
            turns = int(rng.integers(1, n_turns + 1))
            rooms = [f"room {x}" for x in rng.integers(0, 2, turns + 1)]
            ids, mask = [], []
            for turn in range(turns):
                ids += [int(x) for x in rng.integers(6, 15, 2)] + ([5] if turn < turns - 1 else [1])
                mask += [1, 1] + ([0] if turn < turns - 1 else [1])
            found["prompt_ids"].append(trainer.processing_class(prompt)["input_ids"])
            found["completion_ids"].append(ids)
            found["logprobs"].append([-1.0] * len(ids))
            found["env_mask"].append(mask)
            found["states"].append(["start", *rooms[1:]])
            found["turn_rewards"].append([round(float(x), 2) for x in rng.random(turns)])
            found["solved"].append(float(rng.integers(0, 2)))
        trainer.rolled_out = found
        return found

    return rollout_func


def solved(completions: list[str], solved: list[float], **more: Any) -> list[float]:
    return solved


def assigned(trainer: Any, credit: str, **options: Any) -> Any:
    """What ``assign`` gives for the rollouts of the last generation batch, built without the plug-in."""
    found, out = trainer.rolled_out, trainer.generated
    mask = (out["completion_mask"] * out["tool_mask"]).numpy()
    batch = ap.Batch.from_padded(
        action=mask,
        attention=out["completion_mask"].numpy(),
        turns="mask",
        outcome=np.array(found["solved"]),
        turn_reward=found["turn_rewards"],
        state=found["states"],
        group=[i // 4 for i in range(len(mask))],
    )
    result = ap.assign(batch, credit, **options)
    assert isinstance(result, ap.Credit)
    return result.to_padded()


@pytest.mark.parametrize(("credit", "options"), [("gigpo", {"omega": 0.7}), ("pooled_td", {})])
def test_turns_states_and_rewards_of_rollout_func_reach_the_loss(tmp_path: Path, credit: str, options: Any) -> None:
    trainer = trained(tmp_path, solved, credit=credit, credit_options=options, rollout_func=rollouts(), config={"max_steps": 3})
    expected = assigned(trainer, credit, **options)
    out = trainer.generated["advantages"].numpy()
    np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-7)
    loss = trainer.trained_on
    mask = loss["completion_mask"] * loss["tool_mask"]
    assert sorted(map(tuple, loss["advantages"].tolist())) == sorted(map(tuple, out.tolist()))  # TRL shuffles the rows
    assert (loss["advantages"][mask == 0] == 0).all()
    assert (loss["completion_mask"] > mask).any()  # there are environment tokens among them
    assert any(len({float(a) for a in row[m == 1]}) > 1 for row, m in zip(loss["advantages"], mask, strict=True))
    assert trainer.moved > 1e-4
    assert trainer.state.log_history[-2]["credit/turns"] > 1


def test_turn_ids_keep_touching_turns_apart(tmp_path: Path) -> None:
    inner = rollouts()

    def touching(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        n = len(prompts)
        found = inner(prompts, trainer)
        found |= {
            "completion_ids": [[6, 7, 8, 1]] * n,
            "logprobs": [[-1.0] * 4] * n,
            "env_mask": [[1, 1, 1, 1]] * n,
            "turn_ids": [[0, 0, 1, 1]] * n,
            "states": [["a", "b", "c"]] * n,
            "turn_rewards": [[float(i), 0.0] for i in range(n)],
            "solved": [0.0] * n,
        }
        return found

    trainer = trained(tmp_path, solved, credit="gigpo", credit_options={"omega": 1.0}, rollout_func=touching)
    advantages = trainer.generated["advantages"]
    # first turn: R - 1.5 twice (episode and step); second: R - 1.5 and nothing still to come
    expected = torch.tensor([-1.5, -0.5, 0.5, 1.5])
    torch.testing.assert_close(advantages[:4, 0], 2 * expected)
    torch.testing.assert_close(advantages[:4, 3], expected)
    assert (advantages[:, 0] == advantages[:, 1]).all()
    assert (advantages[:, 2] == advantages[:, 3]).all()


def test_states_of_the_wrong_length_are_refused_with_the_completion(tmp_path: Path) -> None:
    inner = rollouts()

    def short(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        found = inner(prompts, trainer)
        found["states"][5] = ["start"] * 9
        return found

    with pytest.raises(BatchError, match="states of completion 5 has 9 entries"):
        trained(tmp_path, solved, credit="gigpo", rollout_func=short)


@pytest.mark.parametrize("by", [-1, 1])
def test_a_mask_that_does_not_match_is_refused_before_trl_pads_it(tmp_path: Path, by: int) -> None:
    inner = rollouts()

    def wrong(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        found = inner(prompts, trainer)
        mask = found["env_mask"][5]
        found["env_mask"][5] = mask[:-1] if by < 0 else [*mask, 1]
        return found

    with pytest.raises(BatchError, match=r"env_mask of completion 5 has \d+ entries, but it has \d+ tokens"):
        trained(tmp_path, solved, rollout_func=wrong)


def test_missing_states_say_where_they_may_come_from(tmp_path: Path) -> None:
    inner = rollouts()

    def without(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        return {k: v for k, v in inner(prompts, trainer).items() if k != "states"}

    with pytest.raises(MissingColumn, match=r"gigpo needs 'state'.*rollout_func return 'states'"):
        trained(tmp_path, solved, credit="gigpo", rollout_func=without)


def corridor(tmp_path: Path, credit: str, **more: Any) -> Any:
    tokenizer = world.tokenizer()
    tokenizer.response_schema = world.SCHEMA
    settings = {
        "max_completion_length": 40,
        "max_tool_calling_iterations": 4,
        "generation_kwargs": {"suppress_tokens": world.SILENT, "max_new_tokens": 4},
    }
    given = {"environment_factory": world.Corridor, **more}
    return trained(
        tmp_path, given.pop("rewards", None), world.chats(), tokenizer=tokenizer, credit=credit, config=settings, **given
    )


def replayed(trainer: Any) -> tuple[ap.Batch, list[list[str]], int]:
    """A batch made by playing the corridor again from the text TRL generated; what was shown; turns with parallel calls."""
    out = trainer.generated
    ids, real = out["completion_ids"].numpy(), out["completion_mask"].numpy()
    mask = real * out["tool_mask"].numpy()
    states, earned, outcome, shown, several = [], [], [], [], 0
    for row, own, size in zip(ids, mask, real.sum(1), strict=True):
        begins = np.flatnonzero(np.diff(np.append(0, own)) == 1)
        ends = np.flatnonzero(np.diff(np.append(own, 0)) == -1)
        place = world.Corridor()
        place.reset()
        keys, rewards = [place.state], []
        for k, (a, b) in enumerate(zip(begins, ends, strict=True)):
            before = place.earned
            calls = [world.WORDS[t] for t in row[a : b + 1] if world.WORDS[t] in ("left", "right")]
            for call in calls if k < 4 else []:  # max_tool_calling_iterations
                getattr(place, call)()
            several += len(calls) > 1
            keys.append(place.state)
            rewards.append(place.earned - before)
        states.append(keys)
        earned.append(rewards)
        outcome.append(place.get_reward())
        pieces = [row[b + 1 : a] for b, a in zip(ends, [*begins[1:], size], strict=True)]
        shown.append(["prompt", *(" ".join(world.WORDS[t] for t in piece) or "nothing" for piece in pieces)])
    batch = ap.Batch.from_padded(
        action=mask,
        attention=real,
        turns="mask",
        outcome=np.array(outcome),
        turn_reward=earned,
        state=states,
        group=[i // 4 for i in range(len(mask))],
    )
    return batch, shown, several


def test_environments_give_states_and_rewards_turn_by_turn(tmp_path: Path) -> None:
    trainer = corridor(tmp_path, "gigpo", credit_options={"omega": 0.5, "gamma": 0.9})
    batch, _, several = replayed(trainer)
    expected = ap.assign(batch, "gigpo", omega=0.5, gamma=0.9)
    assert isinstance(expected, ap.Credit)
    np.testing.assert_allclose(trainer.generated["advantages"].numpy(), expected.to_padded(), rtol=1e-5, atol=1e-6)
    assert batch.n_turns > batch.n_trajectories
    assert several > 0  # turns with parallel calls are among them
    assert trainer.moved > 1e-4
    assert trainer.state.log_history[0]["credit/varies_within"] > 0


def test_what_was_shown_can_stand_for_states(tmp_path: Path) -> None:
    trainer = corridor(tmp_path, "pooled_td", states="observation")
    batch, shown, _ = replayed(trainer)
    keys = [key for row in shown for key in row]
    expected = ap.assign(batch.with_columns(state=keys), "pooled_td")
    assert isinstance(expected, ap.Credit)
    np.testing.assert_allclose(trainer.generated["advantages"].numpy(), expected.to_padded(), rtol=1e-5, atol=1e-6)
    by_state = ap.assign(batch, "pooled_td")
    assert isinstance(by_state, ap.Credit)
    assert not np.allclose(by_state.token, expected.token)  # the batch can tell the two apart


def test_a_completion_nobody_scored_gets_nothing_and_enters_no_statistic(tmp_path: Path) -> None:
    def some(completions: list[str], **more: Any) -> list[float | None]:
        return [None if i % 4 == 1 else float(i) for i in range(len(completions))]

    trainer = trained(tmp_path, some, credit="rloo", config={"max_steps": 1})
    advantages = trainer.generated["advantages"][:, 0]
    torch.testing.assert_close(advantages[:4], torch.tensor([0 - 2.5, 0.0, 2 - 1.5, 3 - 1.0]))
    assert trainer.state.log_history[0]["credit/left_out"] == 0.25


def test_a_completion_left_alone_in_its_group_gets_nothing(tmp_path: Path) -> None:
    def one(completions: list[str], **more: Any) -> list[float | None]:
        return [float(i) if i >= 4 or i == 2 else None for i in range(len(completions))]

    trainer = trained(tmp_path, one, credit="rloo", config={"max_steps": 1})
    assert (trainer.generated["advantages"][:4] == 0).all()
    assert (trainer.generated["advantages"][4:, 0] != 0).all()


def test_truncated_completions_are_not_trained_on_but_count_as_in_trl(tmp_path: Path) -> None:
    lengths = {"mask_truncated_completions": True, "max_completion_length": 6, "max_steps": 1}
    trainer = trained(tmp_path, lefts, credit="grpo", credit_options={"eps": 1e-4}, config=lengths)
    masked = trainer.generated["completion_mask"].sum(1) == 0
    assert 0 < masked.sum() < 8
    assert (trainer.generated["advantages"][masked] == 0).all()
    texts = trainer.processing_class.batch_decode(trainer.generated["completion_ids"], skip_special_tokens=True)
    reward = torch.tensor(lefts(texts)).view(2, 4)
    own = (reward - reward.mean(1, keepdim=True)) / (reward.std(1, keepdim=True) + 1e-4)
    torch.testing.assert_close(trainer.generated["advantages"][~masked, 0], own.flatten()[~masked], rtol=1e-4, atol=1e-5)


def test_what_a_method_drops_leaves_the_loss_mask_and_its_count(tmp_path: Path) -> None:
    """CARL without a tree trains first turns only; attention is left alone."""
    trainer = trained(tmp_path, solved, credit="carl", rollout_func=rollouts(), config={"max_steps": 1})
    out = trainer.generated
    env = torch.nn.utils.rnn.pad_sequence([torch.tensor(m) for m in trainer.rolled_out["env_mask"]], batch_first=True)
    own = out["completion_mask"] * out["tool_mask"]
    first = (env[:, :2] * torch.ones(1, 2, dtype=torch.long)).sum()
    assert own[:, 2:].sum() < env[:, 2:].sum()
    assert own.sum() >= first
    assert out["num_items_in_batch"] == own.sum()
    assert out["completion_mask"].sum() == sum(len(ids) for ids in trainer.rolled_out["completion_ids"])
    assert trainer.state.log_history[0]["credit/dropped_tokens"] > 0


def test_a_critic_can_be_fitted_to_the_generation_batch(tmp_path: Path) -> None:
    trainer = trained(
        tmp_path, solved, credit="gae", credit_options={"fit": True, "unit": "turn", "lam": 0.9}, rollout_func=rollouts()
    )
    assert trainer.moved > 1e-4
    assert trainer.state.log_history[0]["credit/cost/trained"] > 0


def test_batches_that_are_split_and_reused_keep_rows_and_credit_together(tmp_path: Path) -> None:
    """Half-size steps, each batch twice: every row that reaches the loss has the credit it was given."""
    settings = {"per_device_train_batch_size": 4, "steps_per_generation": 2, "num_iterations": 2, "max_steps": 4}
    trainer = trained(tmp_path, lefts, credit="rloo", config=settings)
    made = trainer.generated
    given = {tuple(i): tuple(a) for i, a in zip(made["completion_ids"].tolist(), made["advantages"].tolist(), strict=True)}
    seen = trainer.trained_on
    assert seen["advantages"].shape[0] == 4
    assert "old_per_token_logps" in seen
    for ids, advantage in zip(seen["completion_ids"].tolist(), seen["advantages"].tolist(), strict=True):
        assert given[tuple(ids)] == tuple(advantage)


EVALUATE = {"per_device_eval_batch_size": 4, "eval_strategy": "steps", "eval_steps": 1, "max_steps": 1}


def test_evaluation_has_a_group_size_of_its_own(tmp_path: Path) -> None:
    settings = {
        "num_generations_eval": 2,
        "per_device_eval_batch_size": 4,
        "eval_strategy": "steps",
        "eval_steps": 1,
        "max_steps": 1,
    }
    trainer = trained(tmp_path, lefts, credit="rloo", config=settings, eval_dataset=world.prompts(4))
    logged = next(log for log in trainer.state.log_history if "eval_credit/mean_abs" in log)
    assert logged["eval_credit/left_out"] == 0
    advantages = trainer.generated["advantages"][:, 0]
    torch.testing.assert_close(advantages[0::2], -advantages[1::2])  # pairs: what one has the other lacks


def test_evaluation_of_single_completions_gives_no_credit(tmp_path: Path) -> None:
    settings = {
        "num_generations_eval": 1,
        "per_device_eval_batch_size": 4,
        "eval_strategy": "steps",
        "eval_steps": 1,
        "max_steps": 1,
    }
    trainer = trained(tmp_path, lefts, credit="rloo", config=settings, eval_dataset=world.prompts(4))
    logged = next(log for log in trainer.state.log_history if "eval_credit/left_out" in log)
    assert logged["eval_credit/left_out"] == 1
    assert (trainer.generated["advantages"] == 0).all()


def test_the_completions_table_shows_the_credit(tmp_path: Path) -> None:
    trainer = trained(tmp_path, lefts, credit="rloo", config={"max_steps": 1})
    np.testing.assert_allclose(list(trainer._logs["advantages"]), trainer.generated["advantages"][:, 0], rtol=1e-6)


def test_a_tiny_policy_learns_which_turn_pays(tmp_path: Path) -> None:
    """Mean reward of the first and the last five of 40 steps."""

    def stops(completions: list[str], **more: Any) -> list[float]:
        return [float(c.split()[:1] == ["stop"]) for c in completions]

    settings = {"max_steps": 40, "per_device_train_batch_size": 32, "num_generations": 8, "max_completion_length": 3,
                "lr_scheduler_type": "constant"}  # fmt: skip
    trainer = trained(tmp_path, stops, credit="rloo", config=settings)
    curve = [log["reward"] for log in trainer.state.log_history if "reward" in log]
    assert np.mean(curve[:5]) < 0.3
    assert np.mean(curve[-5:]) > 0.8
