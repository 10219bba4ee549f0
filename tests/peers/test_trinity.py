"""Trinity-RFT: the algorithm and the advantage function, in Trinity's own validator, registry and experience pipeline.

trinity-rft 0.6.0 is run as it is installed (without most of what it asks for): configuration, experiences, operators, its
own estimators. Its explorer and its trainer need Ray, vLLM and GPUs, and are not.
"""

from __future__ import annotations

import asyncio
import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("trinity.algorithm")

import torch
from trinity.algorithm.advantage_fn.gigpo_advantage import GiGPOAdvantageFn
from trinity.algorithm.advantage_fn.grpo_advantage import GRPOGroupedAdvantage
from trinity.algorithm.advantage_fn.multi_step_grpo_advantage import StepWiseGRPOAdvantageFn
from trinity.algorithm.policy_loss_fn import POLICY_LOSS_FN
from trinity.buffer.pipelines.experience_pipeline import ExperiencePipeline
from trinity.common.config import Config
from trinity.common.config_validator import AlgorithmConfigValidator
from trinity.common.experience import EID, Experience

from apportion.errors import ApportionError, BatchError, MissingColumn, OptionError, TrainerError
from apportion.integrations import trinity as ours
from apportion.integrations.experiences import Reading, read_run

from . import pages

pytestmark = pytest.mark.filterwarnings("ignore:.*is meant for a loss with denominator:UserWarning")
DOCS = Path(__file__).parents[2] / "docs"


def run(number: int, pages: str, rewards: list[float], task: int = 0, **changed: Any) -> list[Any]:
    """One experience a step: a page is shown, two tokens are written. Each step's prompt holds all steps before."""
    seen, steps = [1, 2], []
    for step, (page, reward) in enumerate(zip(pages, rewards, strict=True)):
        shown = [*seen, ord(page)]
        seen = [*shown, 7, 8]
        given: dict[str, Any] = {
            "eid": EID(batch=0, task=task, run=number, step=step), "tokens": seen, "prompt_length": len(shown),
            "logprobs": [-1.0] * 2, "reward": rewards[-1], "info": {"env_state_hash": page, "step_reward": reward},
        }  # fmt: skip
        steps.append(Experience(**{**given, **changed}))
    return steps


def two_tasks() -> list[Any]:
    first = run(0, "ab", [0.25, 1.0]) + run(1, "ac", [0.0, 0.0]) + run(2, "a", [0.5])
    return first + run(0, "xyy", [0.0, 0.0, 1.0], task=1) + run(1, "xy", [0.5, 0.0], task=1)


def chat(number: int, mask: list[int], reward: Any = 0.0, tokens: list[int] | None = None, **changed: Any) -> Any:
    """A whole chat in one experience: a prompt of two tokens, then what ``mask`` says."""
    ids = [1, 2, *range(10, 10 + len(mask))] if tokens is None else tokens
    eid = EID(batch=0, task=0, run=number)
    given: dict[str, Any] = {"logprobs": [-1.0] * len(mask), "action_mask": [bool(m) for m in mask], "reward": reward}
    return Experience(eid=eid, tokens=ids, prompt_length=2, **{**given, **changed})


def credited(exps: list[Any], method: str = "rloo", **settings: Any) -> list[Any]:
    made = ours.CreditAdvantage(method=method, **settings)
    found: list[Any] = asyncio.run(made.process(exps))[0]
    return found


def config(method: str = "gigpo", changed: dict[str, Any] | None = None, **settings: Any) -> Any:
    made = Config()
    made.algorithm.algorithm_type = ours.ALGORITHM
    made.algorithm.repeat_times = 2
    made.algorithm.advantage_fn_args = {"method": method, **settings}
    for name, value in (changed or {}).items():
        setattr(made.algorithm, name, value)
    return made


def validated(made: Any) -> Any:
    AlgorithmConfigValidator().validate(made)
    return made


def test_trinitys_validator_and_pipeline_find_both_classes_by_their_paths() -> None:
    made = validated(config(rewards="step"))
    assert made.algorithm.advantage_fn == ours.ADVANTAGE
    pipeline = object.__new__(ExperiencePipeline)
    pipeline.operators, pipeline.auxiliary_models, pipeline.input_store = [], {}, None
    pipeline._set_algorithm_operators(made.algorithm)
    written: list[Any] = []

    class Output:
        async def write(self, exps: list[Any]) -> None:
            written.extend(exps)

    pipeline.output = Output()
    logged = asyncio.run(pipeline.process(Experience.serialize_many(two_tasks())))
    assert logged["experience_pipeline/apportion/runs"] == 5
    expected = credited(two_tasks(), "gigpo", rewards="step")
    assert [e.eid.rid for e in written] == [e.eid.rid for e in expected]
    for found, want in zip(written, expected, strict=True):
        torch.testing.assert_close(found.advantages, want.advantages)
        torch.testing.assert_close(found.returns, want.advantages)
    assert len({float(e.advantages[0]) for e in written}) > 3


def test_gigpo_is_trinitys_own() -> None:
    theirs, _ = GiGPOAdvantageFn(gamma=0.9, omega=0.5, fnorm="none").process(two_tasks())
    for found, want in zip(credited(two_tasks(), "gigpo", rewards="step", gamma=0.9, omega=0.5), theirs, strict=True):
        torch.testing.assert_close(found.advantages, want.advantages, atol=1e-5, rtol=0)  # theirs divides by 1 + 1e-6


def test_grpo_is_trinitys_own_where_runs_are_whole_chats_or_steps() -> None:
    chats = [chat(0, [1, 1, 0, 1], 1.0), chat(1, [1, 0, 1], 0.0), chat(2, [1, 1], 0.5)]
    theirs, _ = GRPOGroupedAdvantage().process(copy.deepcopy(chats))
    for found, want in zip(credited(chats, "grpo"), theirs, strict=True):
        torch.testing.assert_close(found.advantages, want.advantages)
    steps, _ = StepWiseGRPOAdvantageFn().process(two_tasks())
    want_of = {(e.eid.rid, e.eid.step): e.advantages for e in steps}
    for found in credited(two_tasks(), "grpo"):
        torch.testing.assert_close(found.advantages, want_of[found.eid.rid, found.eid.step])


def test_steps_that_go_on_from_the_one_before_hold_each_token_once() -> None:
    steps = run(0, "ab", [0.0, 1.0])
    found = read_run("r", steps, Reading("last", "observation", True))
    assert found.rollout is not None
    assert np.concatenate([t.ids for t in found.rollout.turns]).tolist() == steps[-1].tokens.tolist()
    assert found.told.restarts is None
    assert found.rollout.state == [np.array([1, 2, ord("a")]).tobytes(), np.array([ord("b")]).tobytes()]


def test_history_that_was_written_anew_is_new_and_no_source_reads_it_as_one_text() -> None:
    steps = run(0, "ab", [0.0, 1.0])
    steps[1].tokens[0] = 99
    found = read_run("r", steps, Reading("last", "observation", True))
    assert found.rollout is not None
    assert [t.ids.size for t in found.rollout.turns] == [5, 8]
    assert found.told.restarts == 1
    exps = [*steps, *run(1, "ab", [0.0, 0.0])]
    assert credited(exps)[1].advantages.tolist() == [1.0, 1.0]

    class Sampler:
        def sample(self, *given: Any, **named: Any) -> Any:
            raise AssertionError("asked")

        def __getattr__(self, name: str) -> Any:
            return self.sample

    with pytest.raises(BatchError, match=r"run 0/0/0, turn 1.*does not continue"):
        credited(exps, "remax", sampler=Sampler())


def test_steps_are_ordered_by_their_number_and_calls_of_one_step_stay_as_they_came() -> None:
    steps = run(0, "ab", [0.0, 1.0])
    backwards = credited([*reversed(steps), *run(1, "ab", [0.0, 0.0])], "gigpo", rewards="step", gamma=0.5)
    forwards = credited([*run(0, "ab", [0.0, 1.0]), *run(1, "ab", [0.0, 0.0])], "gigpo", rewards="step", gamma=0.5)
    torch.testing.assert_close(backwards[0].advantages, forwards[1].advantages)
    torch.testing.assert_close(backwards[1].advantages, forwards[0].advantages)
    assert forwards[0].advantages[0] != forwards[1].advantages[0]
    calls = run(0, "ab", [0.0, 1.0])
    calls[1].eid.step = 0
    rollout = read_run("r", calls, Reading("step", "given", False)).rollout
    assert rollout is not None
    assert rollout.state == ["a", "b"]


def test_turns_of_a_chat_are_the_runs_of_its_mask_with_keys_and_rewards_in_lists() -> None:
    info = {"env_state_hash": ["s", "t"], "step_reward": [0.5, 1.0]}
    chats = [chat(0, [1, 1, 0, 1, 0], info=info), chat(1, [1, 0, 1], info={**info, "step_reward": [0.0, 1.0]})]
    found = credited(chats, "gigpo", rewards="step", gamma=1.0)
    np.testing.assert_allclose(found[0].advantages.tolist(), [0.5, 0.5, 0, 0.25, 0])  # .25 of the run, .25 in s, 0 in t
    np.testing.assert_allclose(found[1].advantages.tolist(), [-0.5, 0, -0.25])


def test_a_single_key_is_that_of_the_first_turn_and_a_single_reward_that_of_the_last() -> None:
    one = chat(0, [1, 0, 1], 3.0, info={"env_state_hash": "s", "step_reward": 2.0})
    for rewards, last in (("step", 2.0), ("each", 3.0)):
        rollout = read_run("r", [one], Reading(rewards, "given", False)).rollout
        assert rollout is not None
        assert rollout.turn_reward == [0.0, last]
        assert rollout.state == ["s", None]


@pytest.mark.parametrize(
    ("rewards", "total", "each"),
    [("last", 4.0, None), ("each", 7.0, [3.0, 4.0]), ("step", 3.0, [1.0, 2.0])],
)
def test_rewards_are_where_they_are_said_to_be(rewards: str, total: float, each: list[float] | None) -> None:
    steps = run(0, "ab", [1.0, 2.0])
    steps[0].reward, steps[1].reward = 3.0, 4.0
    rollout = read_run("r", steps, Reading(rewards, "given", False)).rollout
    assert rollout is not None
    assert rollout.turn_reward == each
    assert rollout.outcome == (total if each is None else 0.0)
    two = credited([*steps, *run(1, "ab", [0.0, 0.0])], "rloo", rewards=rewards)
    np.testing.assert_allclose(two[0].advantages.tolist(), [total] * 2)


def test_what_credit_drops_leaves_the_mask() -> None:
    exps = [*run(0, "ab", [0.0, 1.0]), *run(1, "ac", [0.0, 0.0])]
    found = credited(exps, "carl", rewards="step")
    kept = torch.cat([e.action_mask for e in found])
    assert 0 < int(kept.sum()) < kept.numel()
    assert not torch.cat([e.advantages for e in found])[~kept].any()


def test_runs_that_cannot_be_compared_get_no_credit_and_enter_no_statistic() -> None:
    masked, unscored = chat(2, [0, 0], 9.0), chat(3, [1, 1], None)
    exps = [chat(0, [1, 1], 1.0), chat(1, [1], 0.0), masked, unscored]
    found = credited(exps)
    assert [e.advantages.tolist() for e in found] == [[1.0, 1.0], [-1.0], [0.0, 0.0], [0.0, 0.0]]
    lone = [chat(0, [1, 1], 1.0), chat(1, [1], None)]
    assert not torch.cat([e.advantages for e in credited(lone)]).any()
    logged = asyncio.run(ours.CreditAdvantage(method="rloo").process(lone))[1]
    assert logged == {"apportion/runs": 2.0, "apportion/runs_with_credit": 0.0}
    assert credited([]) == []


def test_experiences_that_trinity_cut_are_credited_as_far_as_they_go() -> None:
    dummy = Experience(eid=EID(batch=0, task=0, run=0, step=1), tokens=[1, 2, 3], logprobs=[0.0], prompt_length=2, reward=0.0,
                       truncate_status="prompt_truncated")  # fmt: skip
    found = credited([chat(0, [1, 1], 1.0), dummy, chat(1, [1, 0], 1.0, truncate_status="response_truncated")])
    assert [e.advantages.tolist() for e in found] == [[-1.0, -1.0], [0.0], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: chat(1, [1, 0], tokens=[1, 2, 10]), "action_mask has 2 entries, but its response has 1 tokens"),
        (lambda: chat(1, [1, 1], logprobs=[-1.0]), "logprobs has 1 numbers"),
        (lambda: chat(1, [1, 1], logprobs=[-1.0, float("nan")]), "logp of policy token 1 is nan"),
        (lambda: chat(1, [1, 1], float("nan")), "expected finite numbers"),
        (lambda: chat(1, [1, 1], "good"), "expected a number"),
        (lambda: chat(1, [1, 0, 1], info={"env_state_hash": ["s"]}), "info.'env_state_hash'. has 1 entries, but it has 2 turns"),
        (lambda: chat(1, [1], info={"env_state_hash": {"room": 1}}), "state key is a dict"),
    ],
)
def test_experiences_that_are_wrong_are_named_and_nothing_is_written(wrong: Any, says: str) -> None:
    exps = [chat(0, [1, 1], 1.0), wrong()]
    with pytest.raises(BatchError, match=says) as error:
        ours.credit_experiences(ours.planned({"method": "gae", "fit": True}), exps)  # reads log-probs, as whatever learns does
    assert "0/0/1" in str(error.value)
    assert exps[0].advantages is None


def test_log_probs_that_nobody_reads_may_be_anything() -> None:
    found = credited([chat(0, [1, 1], 1.0, logprobs=None), chat(1, [1], 0.0, logprobs=[float("nan")])])
    assert found[0].advantages.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("method", "settings", "changed", "error", "says"),
    [
        ("rlo", {}, {}, ApportionError, "rlo"),
        ("rloo", {"gamma": 0.9}, {}, OptionError, "gamma"),
        ("rloo", {"rewards": "sum"}, {}, OptionError, "last, each, step"),
        ("rloo", {"states": "seen"}, {}, OptionError, "states"),
        ("turn_level_reward", {}, {}, OptionError, "rewards: step"),
        ("dr_mas", {}, {}, MissingColumn, "agent"),
        ("turn_ppo", {"fit": True}, {}, OptionError, "loss.ratio"),
        ("carl", {}, {"loss_agg_mode": "seq-mean-token-mean"}, OptionError, "keep takes tokens out"),
        ("rloo", {}, {"repeat_times": 1}, OptionError, "1 of each"),
        ("rloo", {}, {"policy_loss_fn": "topr"}, OptionError, "policy_loss_fn"),
        ("rloo", {}, {"kl_penalty_fn": "k2"}, OptionError, "kl_loss_fn"),
        ("rloo", {}, {"advantage_fn": "grpo"}, OptionError, "leave it out"),
        ("capo", {"judge": "no.such:Judge"}, {}, OptionError, "no.such"),
    ],
)
def test_what_would_go_wrong_is_refused_by_trinitys_validator_at_start(
    method: str, settings: dict[str, Any], changed: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        validated(config(method, changed, **settings))


def test_a_method_must_be_named() -> None:
    made = config()
    made.algorithm.advantage_fn_args = None
    with pytest.raises(OptionError, match="method: rloo"):
        validated(made)


def test_every_policy_loss_that_is_let_through_exists_and_averages_as_is_said() -> None:
    for name in ours.RATIOS:
        assert POLICY_LOSS_FN.get(name) is not None
    with pytest.warns(UserWarning, match="denominator 'trajectory'.*'token'"):
        validated(config("rloo"))


def test_an_algorithm_that_computes_advantages_in_the_trainer_is_told_why_not() -> None:
    with pytest.raises(TrainerError, match="torn apart"):
        ours.CreditAdvantage(method="rloo")(object())


def test_another_version_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apportion.integrations.versions.version", lambda _: "0.7.0")
    with pytest.raises(TrainerError, match=r"trinity-rft >= 0\.6\.0.*not with 0\.7\.0"):
        validated(config())


def test_every_method_is_taken_or_refused_by_name_as_the_page_says() -> None:
    pages.every_method("trinity", ours.PLACE, lambda id_: ours.planned({"method": id_, "rewards": "step"}).chosen.spec.id == id_)


def test_the_example_runs_as_written_and_prints_what_the_page_shows() -> None:
    script, page = DOCS / "examples" / "trinity_quickstart.py", (DOCS / "trinity.md").read_text()
    assert len(script.read_text().splitlines()) < 30
    assert script.read_text().strip() in page
    env = {**os.environ, "PYTHONPATH": str(DOCS.parent / "src")}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in page
