"""AReaL: its own actor, engine and trainer (1.0.4), with our advantages in the place of its own.

Servers, log services and a task runner that it imports on the way are stood in for; its rollouts and optimisers are not run.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
if find_spec("areal") is None:
    pytest.skip("AReaL is not installed", allow_module_level=True)

import torch

import apportion as ap
from apportion.credit import Credit
from apportion.errors import ApportionError, BatchError, MissingColumn, OptionError, TrainerError
from apportion.integrations import areal as ours
from apportion.integrations import method_table
from apportion.integrations.conformance.areal import IMPORT_ONLY
from apportion.integrations.conformance.standins import standing_in
from apportion.integrations.rows import with_columns

with standing_in(IMPORT_ONLY):
    from areal.api.cli_args import NormConfig, PPOActorConfig
    from areal.trainer.ppo.actor import PPOActor

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
DOCS = Path(__file__).parents[2] / "docs"
ENGINE = SimpleNamespace(get_version=lambda: 3)


def config(**changed: Any) -> Any:
    return PPOActorConfig(experiment_name="e", trial_name="t", **{"kl_ctl": 0.0, **changed})


def actor(method: str, changed: dict[str, Any] | None = None, **options: Any) -> Any:
    made = ours.crediting(PPOActor)(config(**(changed or {})), ENGINE)
    made.plan = ours.at_start(made.config, method, options)
    return made


def whole(**changed: Any) -> Any:
    """The fields of ``PPOConfig`` that are read."""
    given = {"actor": config(), "ref": None, "critic": None, "gconfig": SimpleNamespace(n_samples=2)}
    return SimpleNamespace(**{**given, **changed})


def group(rows: list[tuple[list[int], list[int]]], rewards: list[float], **more: Any) -> dict[str, Any]:
    """A group as AReaL's workflows return it: tensors (rollouts, tokens), right-padded. rows: (ids, mask) each."""
    width = max(len(ids) for ids, _ in rows)
    pad = [(ids + [0] * (width - len(ids)), mask + [0] * (width - len(ids))) for ids, mask in rows]
    ids, mask = (torch.tensor([row[k] for row in pad]) for k in (0, 1))
    real = torch.tensor([[k < len(ids) for k in range(width)] for ids, _ in rows])
    made = {
        "input_ids": ids,
        "loss_mask": mask,
        "attention_mask": real,
        "logprobs": -0.5 * mask,
        "rewards": torch.tensor(rewards),
    }
    return {**made, **more}


def groups() -> list[dict[str, Any]]:
    """Two rollouts of one prompt and three of a longer one; the last of all was cut off in its second turn."""
    a = [([1, 2, 11, 7, 13], [0, 0, 1, 0, 1]), ([1, 2, 14, 8, 13], [0, 0, 1, 0, 1])]
    b = [
        ([1, 2, 3, 11, 7, 14], [0, 0, 0, 1, 0, 1]),
        ([1, 2, 3, 14, 8, 15], [0, 0, 0, 1, 0, 1]),
        ([1, 2, 3, 11, 8], [0, 0, 0, 1, 0]),
    ]
    return [group(a, [1.0, 0.0]), group(b, [1.0, 1.0, 0.0])]


def at_tokens(done: list[dict[str, Any]], name: str = "advantages") -> list[Any]:
    """Each number back at its token."""
    return [np.roll(g[name].numpy(), 1, axis=1) for g in done]


def random_groups(seed: int) -> list[dict[str, Any]]:
    """Groups of three with one to three turns each, ending in the policy's tokens; values and log-probs too."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(4):
        rows = []
        for _ in range(3):
            mask = [0] * int(rng.integers(1, 4))
            for k in range(int(rng.integers(1, 4))):
                mask += [0] * (int(rng.integers(1, 3)) if k else 0) + [1] * int(rng.integers(1, 4))
            rows.append((rng.integers(1, 50, len(mask)).tolist(), mask))
        g = group(rows, rng.normal(size=3).tolist())
        shape = g["input_ids"].shape
        real = g["attention_mask"].float()
        g |= {n: torch.tensor(rng.normal(size=shape), dtype=torch.float32) * real for n in ("values", "ref_logp")}
        # AReaL takes the longest row for one that was cut off, and adds the value after its last token.
        g["values"][torch.arange(3), real.sum(dim=1).long() - 1] = 0.0
        made.append(g)
    return made


def test_credit_stands_at_the_tokens_the_policy_wrote_and_groups_may_differ_in_size() -> None:
    done = actor("pooled_td", states="observation").compute_advantages(groups())
    batch = ap.Batch.from_padded(
        action=np.array([[1, 0, 1]] * 4 + [[1, 0, 0]]), attention=np.array([[1, 1, 1]] * 4 + [[1, 1, 0]]), turns="mask",
        outcome=[1.0, 0.0, 1.0, 1.0, 0.0], group=[0, 0, 1, 1, 1],
        state=[["p", 7, None], ["p", 8, None], ["q", 7, None], ["q", 8, None], ["q", 8]],
    )  # fmt: skip
    credit = ap.assign(batch, "pooled_td")
    assert isinstance(credit, Credit)
    expected = credit.to_padded()
    assert np.ptp(expected) > 0
    a, b = at_tokens(done)
    np.testing.assert_allclose(a[:, 2:], expected[:2], atol=1e-6)
    np.testing.assert_allclose(b[:, 3:], expected[2:], atol=1e-6)
    assert not a[:, :2].any()
    assert not b[:, :3].any()


@pytest.mark.parametrize("changed", [{}, {"kl_ctl": 0.3}, {"kl_ctl": 0.2, "kl_estimator": "k3"}])
def test_gae_through_the_plug_in_is_areals_own(changed: dict[str, Any]) -> None:
    settings = {"discount": 0.97, "gae_lambda": 0.9, **changed}
    theirs = at_tokens(PPOActor(config(**settings), ENGINE).compute_advantages(random_groups(1)))
    found = at_tokens(actor("gae", changed, gamma=0.97, lam=0.9).compute_advantages(random_groups(1)))
    for mine, own, g in zip(found, theirs, random_groups(1), strict=True):
        wrote = g["loss_mask"].numpy() != 0
        np.testing.assert_allclose(mine[wrote], own[wrote], atol=2e-6)
        assert not mine[~wrote].any()


@pytest.mark.parametrize(
    ("method", "options", "norm"),
    [
        ("rloo", {}, {"mean_level": "group", "std_level": None, "mean_leave1out": True}),
        ("grpo", {"eps": 1e-5}, {"mean_level": "group", "std_level": "group"}),
        ("grpo", {"spread": "none"}, {"mean_level": "group", "std_level": None}),
    ],
)
def test_group_baselines_through_the_plug_in_are_areals_own(method: str, options: Any, norm: Any) -> None:
    settings = config(reward_norm=NormConfig(group_size=3, **norm))
    bare = [{n: v for n, v in g.items() if n != "values"} for g in random_groups(2)]
    theirs = at_tokens(PPOActor(settings, ENGINE).compute_advantages([dict(g) for g in bare]))
    found = at_tokens(actor(method, **options).compute_advantages([dict(g) for g in bare]))
    for mine, own, g in zip(found, theirs, bare, strict=True):
        wrote = g["loss_mask"].numpy() != 0
        np.testing.assert_allclose(mine[wrote], own[wrote], atol=2e-6)


def test_a_critic_gets_the_targets_of_the_method() -> None:
    theirs = at_tokens(PPOActor(config(gae_lambda=0.9), ENGINE).compute_advantages(random_groups(1)), "returns")
    found = at_tokens(actor("gae", lam=0.9).compute_advantages(random_groups(1)), "returns")
    for mine, own, g in zip(found, theirs, random_groups(1), strict=True):
        wrote = g["loss_mask"].numpy() != 0
        np.testing.assert_allclose(mine[wrote], own[wrote], atol=2e-6)


def test_a_reward_after_a_tool_had_the_last_word_is_not_lost() -> None:
    rows = [([1, 11, 7], [0, 1, 0]), ([1, 12, 8], [0, 1, 0])]
    [a] = at_tokens(actor("rloo").compute_advantages([group(rows, [1.0, 0.0])]))
    np.testing.assert_allclose(a[:, 1], [1.0, -1.0])
    [own] = at_tokens(PPOActor(config(), ENGINE).compute_advantages([group(rows, [1.0, 0.0])]))
    assert not own[:, 1].any()  # as AReaL has it


def test_states_and_rewards_of_turns_come_from_the_workflow_and_go_no_further() -> None:
    given = [{**g, "state_ids": g["input_ids"] % 5, "turn_rewards": 0.1 * g["loss_mask"]} for g in groups()]
    done = actor("gigpo").compute_advantages(given)
    assert not {"state_ids", "turn_rewards"} & set(done[0])
    batch = ap.Batch.from_padded(
        action=np.array([[1, 0, 1]] * 4 + [[1, 0, 0]]), attention=np.array([[1, 1, 1]] * 4 + [[1, 1, 0]]), turns="mask",
        outcome=[1.0, 0.0, 1.0, 1.0, 0.0], group=[0, 0, 1, 1, 1], turn_reward=[[0.1, 0.1]] * 4 + [[0.1]],
        state=[[11 % 5, 13 % 5], [14 % 5, 13 % 5], [11 % 5, 14 % 5], [14 % 5, 15 % 5], [11 % 5]],
    )  # fmt: skip
    credit = ap.assign(batch, "gigpo")
    assert isinstance(credit, Credit)
    a, b = at_tokens(done)
    np.testing.assert_allclose(np.concatenate([a[:, 2:], b[:, 3:]]), credit.to_padded(), atol=1e-6)
    with pytest.raises(MissingColumn, match="state_ids"):
        actor("gigpo").compute_advantages(groups())


def test_what_stands_between_two_turns_was_earned_by_the_first() -> None:
    rewards = torch.zeros(2, 5)
    rewards[0, 3] = 1.0  # on the tool's answer
    g = {**groups()[0], "rewards": torch.tensor([1.0, 1.0])}
    credit = actor("turn_level_reward").compute_advantages([{**g, "turn_rewards": rewards}])
    batch = ap.Batch.from_padded(
        action=np.array([[1, 0, 1]] * 2), turns="mask", outcome=[1.0, 1.0], group=[0, 0], turn_reward=[[1.0, 0.0], [0.0, 0.0]]
    )
    expected = ap.assign(batch, "turn_level_reward")
    assert isinstance(expected, Credit)
    np.testing.assert_allclose(at_tokens(credit)[0][:, 2:], expected.to_padded(), atol=1e-6)


def test_rewards_of_turns_are_scaled_as_the_outcomes_are() -> None:
    rewards = torch.zeros(2, 5)
    rewards[1, 4] = 1.0
    given = {**groups()[0], "rewards": torch.tensor([1.0, 0.0]), "turn_rewards": rewards}
    for scaling in (1.0, 10.0):
        [a] = at_tokens(actor("rloo", {"reward_scaling": scaling}).compute_advantages([dict(given)]))
        assert not a.any()  # both earned 1, one of them in a turn
    [b] = at_tokens(actor("rloo", {"reward_scaling": 10.0, "reward_bias": 0.5}).compute_advantages([dict(given)]))
    assert not b.any()  # a bias is the outcome's, of which each rollout has one
    [c] = at_tokens(actor("rloo", {"reward_scaling": 10.0, "reward_clip": 5.0}).compute_advantages([dict(given)]))
    np.testing.assert_allclose(c[:, 2], [-5.0, 5.0])  # and so is the clip
    assert given["turn_rewards"] is rewards
    assert rewards.sum() == 1.0


def test_turns_that_happen_to_add_up_to_the_outcomes_end_no_run() -> None:
    rewards = torch.zeros(2, 5)
    rewards[:, 4] = torch.tensor([1.0, 0.0])
    given = {**groups()[0], "rewards": torch.tensor([1.0, 0.0])}
    with pytest.warns(UserWarning, match="given twice"):
        [both] = at_tokens(actor("rloo").compute_advantages([{**given, "turn_rewards": rewards}]))
    [once] = at_tokens(actor("rloo").compute_advantages([given]))
    np.testing.assert_allclose(both, 2 * once, atol=1e-6)


def test_what_credit_drops_leaves_the_loss_mask() -> None:
    done = actor("carl").compute_advantages([group([([1, 11, 7, 13], [0, 1, 0, 1])] * 2, [1.0, 1.0]), *groups()])
    before = sum(int(g["loss_mask"].sum()) for g in groups()) + 4
    assert sum(float(g["loss_mask"].sum()) for g in done) < before


def test_rollouts_without_policy_tokens_enter_no_statistic_and_neither_does_who_is_left_alone() -> None:
    rows = [([1, 11, 13], [0, 1, 1]), ([1, 12, 14], [0, 0, 0])]
    a, b = at_tokens(actor("rloo").compute_advantages([group(rows, [1.0, 0.0]), groups()[0]]))
    assert not a.any()
    np.testing.assert_allclose(b[:, 2], [1.0, -1.0])


def test_a_first_token_nothing_comes_before_is_out_of_the_loss() -> None:
    [done] = actor("rloo").compute_advantages([group([([11, 12], [1, 1]), ([13, 14], [1, 1])], [1.0, 0.0])])
    np.testing.assert_array_equal(done["loss_mask"].numpy(), [[1, 0], [1, 0]])
    np.testing.assert_allclose(done["advantages"].numpy(), [[1, 0], [-1, 0]])


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("logprobs", np.nan, r"logprobs of row 1 is nan \(token 2\)"),
        ("turn_rewards", np.inf, r"turn_rewards of row 1 is inf \(token 2\)"),
        ("values", np.nan, "values of row 1"),
    ],
)
def test_numbers_that_are_none_name_row_and_token(name: str, value: float, says: str) -> None:
    [g, _] = groups()
    g[name] = torch.zeros(2, 5)
    g[name][1, 2] = value
    with pytest.raises(BatchError, match=says):
        actor("rloo").compute_advantages([g])


def test_a_reward_that_is_none_names_its_row() -> None:
    with pytest.raises(BatchError, match="rewards of row 1 is nan"):
        actor("rloo").compute_advantages([group([([1, 11], [0, 1])] * 2, [1.0, float("nan")])])


def test_masks_that_do_not_match_are_an_error() -> None:
    [g, _] = groups()
    with pytest.raises(BatchError, match=r"loss_mask has shape \(2, 4\), but input_ids has \(2, 5\)"):
        actor("rloo").compute_advantages([{**g, "loss_mask": g["loss_mask"][:, :4]}])


@pytest.mark.parametrize(
    ("method", "options", "changed", "around", "error", "says"),
    [
        ("rlo", {}, {}, {}, ApportionError, "rlo"),
        ("rloo", {"gamma": 0.9}, {}, {}, OptionError, "gamma"),
        ("rloo", {"states": "seen"}, {}, {}, OptionError, "states"),
        ("dr_mas", {}, {}, {}, MissingColumn, "agent"),
        ("turn_ppo", {}, {}, {"critic": object()}, OptionError, "loss.ratio"),
        ("ragen", {}, {}, {}, OptionError, "resamples rows"),
        ("gae", {}, {}, {}, ApportionError, "critic"),
        ("spa_rl", {}, {"kl_ctl": 0.1}, {"ref": object()}, ApportionError, "kl_ctl"),
        ("rloo", {}, {"kl_ctl": 0.1}, {}, OptionError, "log-probs of 0"),
        ("rloo", {}, {"reward_norm": NormConfig()}, {}, OptionError, "reward_norm"),
        ("rloo", {}, {"adv_norm": NormConfig()}, {}, OptionError, "adv_norm"),
        ("rloo", {}, {"mask_no_eos_with_zero": True}, {}, OptionError, "mask_no_eos_with_zero.*set it to False"),
        ("gigpo", {}, {"importance_sampling_level": "sequence"}, {}, OptionError, "averages advantages over a row"),
        ("rloo", {}, {}, {"gconfig": SimpleNamespace(n_samples=1)}, OptionError, "1 of each"),
    ],
)
def test_what_would_go_wrong_is_refused_at_start(
    method: str, options: dict[str, Any], changed: dict[str, Any], around: dict[str, Any], error: type[Exception], says: str
) -> None:
    made = config(**changed)
    with pytest.raises(error, match=says):
        ours.at_start(made, method, options, whole(actor=made, **around))


def test_what_fits_is_taken() -> None:
    assert ours.at_start(config(), "gae", {}, whole(critic=object()))
    assert ours.at_start(config(importance_sampling_level="sequence"), "grpo", {}, whole())
    with pytest.warns(UserWarning, match="denominator 'trajectory'.*'token'"):
        ours.at_start(config(), "rloo", {})


def test_another_version_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apportion.integrations.versions.version", lambda _: "1.1.0")
    with pytest.raises(TrainerError, match=r"areal >= 1\.0\.4.*not with 1\.1\.0"):
        ours.at_start(config(), "rloo", {})


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A model's configuration, all that an engine reads when it is made."""
    from transformers import Qwen2Config

    Qwen2Config().save_pretrained(tmp_path)
    return str(tmp_path)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AREAL_SPMD_MODE", "1")
    with standing_in(IMPORT_ONLY):
        from areal.engine import FSDPPPOActor

    class Actor(ours.CreditMixin, FSDPPPOActor):  # type: ignore[misc]
        credit = "rloo"

        def create_process_group(self, parallel_strategy: Any = None) -> None:
            self.parallel = parallel_strategy

    return Actor


def test_an_engine_has_our_actor_and_the_trainer_makes_it_for_the_policy_only(engine: Any, model: str) -> None:
    with standing_in(IMPORT_ONLY):
        from areal.trainer.rl_trainer import PPOTrainer

    class Trainer(ours.TrainerMixin, PPOTrainer):  # type: ignore[misc]
        credit_actor = engine

        def __init__(self, config: Any) -> None:
            self.config, self.scheduler = config, None

    trainer = Trainer(whole(actor=config(path=model)))
    made = trainer._create_train_engine(trainer.config.actor, SimpleNamespace(backend="fsdp", parallel="d1"))
    assert type(made) is engine
    assert made.parallel == "d1"
    np.testing.assert_allclose(at_tokens(made.compute_advantages(groups()[:1]))[0][:, 2], [1.0, -1.0])
    with pytest.raises(OptionError, match=r"'megatron'.*another engine"):
        trainer._create_train_engine(trainer.config.actor, SimpleNamespace(backend="megatron", parallel="d1"))
    with pytest.raises(Exception) as other:  # AReaL's own engine, for a reference: nothing of ours is in its way
        trainer._create_train_engine(config(path=model), SimpleNamespace(backend="none", parallel=None))
    assert "Invalid backend" in str(other.value)


def test_mixins_behind_what_they_override_are_refused() -> None:
    with standing_in(IMPORT_ONLY):
        from areal.engine import FSDPPPOActor
        from areal.trainer.rl_trainer import PPOTrainer
    with pytest.raises(TrainerError, match="CreditMixin stands behind FSDPPPOActor"):
        type("Actor", (FSDPPPOActor, ours.CreditMixin), {"credit": "rloo"})
    with pytest.raises(TrainerError, match="TrainerMixin stands behind PPOTrainer"):
        type("Trainer", (PPOTrainer, ours.TrainerMixin), {})


def test_the_whole_configuration_is_checked_when_the_trainer_is_made(engine: Any) -> None:
    class Base:
        def __init__(self, config: Any) -> None:
            raise AssertionError("too late")

    class Trainer(ours.TrainerMixin, Base):
        credit_actor = engine

    with pytest.raises(OptionError, match="log-probs of 0"):
        Trainer(whole(actor=config(kl_ctl=0.1)))


@pytest.mark.parametrize(("workflow", "style", "fine"), [(None, "individual", False), ("agent", "individual", False),
                                                         ("agent", "concat", True), ("own", "individual", True)])  # fmt: skip
def test_rows_that_are_single_calls_are_refused_before_the_first_rollout(
    engine: Any, workflow: Any, style: str, fine: bool
) -> None:
    class Base:
        config = SimpleNamespace(rollout=SimpleNamespace(agent=SimpleNamespace(export_style=style)))

        def _requires_proxy_workflow(self, workflow: Any) -> bool:
            return bool(workflow == "agent")

        def train(self, workflow: Any = None) -> str:
            return "trained"

    trainer = type("Trainer", (ours.TrainerMixin, Base), {"credit_actor": engine, "__init__": lambda self: None})()
    if fine:
        assert trainer.train(workflow) == "trained"
    else:
        with pytest.raises(OptionError, match="export_style"):
            trainer.train(workflow)


def test_an_engine_that_workers_cannot_import_is_refused(engine: Any) -> None:
    engine.__module__ = "__main__"
    with pytest.raises(OptionError, match="workers cannot import it"):
        engine.as_controller(config(), None)


def test_the_example_runs_as_written_and_prints_what_the_page_shows(tmp_path: Path) -> None:
    script, page = DOCS / "examples" / "areal_quickstart.py", (DOCS / "areal.md").read_text()
    assert len(script.read_text().splitlines()) < 30
    assert script.read_text().strip() in page
    assert method_table.page(with_columns(ours.PLACE, "state"), page) == page
    run = (
        "import runpy, sys; from apportion.integrations.conformance.areal import IMPORT_ONLY\n"
        "from apportion.integrations.conformance.standins import standing_in\n"
        "with standing_in(IMPORT_ONLY): runpy.run_path(sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", run, str(script)], capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    printed = "\n".join(line for line in done.stdout.splitlines() if "(AReaL)" not in line)
    assert printed.strip() in page
