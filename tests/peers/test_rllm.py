"""rLLM: the hook for groups and the estimators, on rLLM where it is installed, else on what :mod:`rllm_world` recorded."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("omegaconf")

from omegaconf import OmegaConf

import apportion as ap
from apportion.credit import Credit
from apportion.errors import ApportionError, BatchError, MissingColumn, OptionError, TrainerError
from apportion.integrations import rllm as ours
from apportion.integrations import thin

from . import fakes, pages
from .rllm_world import MODULES

pytestmark = pytest.mark.filterwarnings("ignore:.*is meant for a loss with denominator:UserWarning")
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The stand-in's folder; None where rLLM itself is there."""
    if fakes.installed("rllm"):
        return None
    return fakes.write(tmp_path_factory.mktemp("rllm"), "rllm", "0.3.0", MODULES)


@pytest.fixture(autouse=True)
def there(root: Path | None) -> Iterator[None]:
    with nullcontext() if root is None else fakes.on_path(root, "rllm"):
        yield
        from rllm.trainer.algorithms.advantage import RLLM_ADV_ESTIMATOR_REGISTRY as registry

        for name in [n for n in registry if str(n).startswith("apportion/") or n == "other"]:
            del registry[name]


def config(n: int = 2, **algorithm: Any) -> Any:
    """The parts of rLLM's configuration that are read, as ``rllm/trainer/config/rllm/base.yaml`` has them."""
    enable = algorithm.pop("enable", False)
    given = {"adv_estimator": "grpo", "use_precomputed_advantage": True, "loss_fn": None, **algorithm}
    return OmegaConf.create({"rllm": {"algorithm": given, "rollout": {"n": n}, "async_training": {"enable": enable}}})


def trajectory(turns: list[list[int]], reward: float | None = 1.0, *, name: str = "agent", **more: Any) -> Any:
    """Step k answers turns[k] to a prompt that adds the token 100 + k (or shown[k]) to all before."""
    from rllm.types import Step, Trajectory

    shown = more.pop("shown", [[100 + k] for k in range(len(turns))])
    states, paid = more.pop("states", [None] * len(turns)), more.pop("paid", [0.0] * len(turns))
    seen: list[int] = []
    steps = []
    for new, wrote, state, earned in zip(shown, turns, states, paid, strict=True):
        seen = [*seen, *new]
        about = None if state is None else {"state": state}
        steps.append(Step(prompt_ids=seen, response_ids=wrote, logprobs=[-0.5] * len(wrote), metadata=about, reward=earned))
        seen = [*seen, *wrote]
    return Trajectory(name=name, steps=steps, reward=reward)


def episodes(*members: Any, task: str = "task", **more: Any) -> list[Any]:
    """An episode for each trajectory, or for each list of them."""
    from rllm.types import Episode

    return [Episode(id=f"{task}:{k}", trajectories=t if isinstance(t, list) else [t], **more) for k, t in enumerate(members)]


def grouped(made: list[Any], method: str, **options: Any) -> list[Any]:
    """The groups rLLM makes through the hook."""
    from rllm.trainer.algorithms.config import TransformConfig
    from rllm.trainer.algorithms.transform import transform_episodes_to_trajectory_groups

    hook = ours.grouping_hook(options.pop("config", config()), method, backend="tinker", **options)
    groups, _ = transform_episodes_to_trajectory_groups(made, TransformConfig(), traj_grouping_hook=hook)
    return list(groups)


def advantages(groups: list[Any]) -> list[Any]:
    return [[s.advantage for s in t.steps] for g in groups for t in g.trajectories]


def batch_of(groups: list[Any], method: str, rewards: Any = "trajectory", **options: Any) -> Any:
    from apportion.integrations.packed import pack

    made = ours._crediting(ours.PLACE, config(), method, rewards, options)
    return pack([ours._rollout(made, g, i) for g in groups for i in range(len(g.trajectories))])


def collected(groups: list[Any], cfg: Any, **roles: str) -> list[Any]:
    """Advantages as rLLM's own collecting leaves them under a configuration."""
    from rllm.trainer.algorithms.advantage import collect_reward_and_advantage_from_trajectory_groups as collect
    from rllm.trainer.algorithms.config import AlgorithmConfig

    collect(groups, AlgorithmConfig.from_config(cfg.rllm.algorithm, estimator_map=roles))
    return advantages(groups)


def plain(*rewards: float, task: str = "task") -> list[Any]:
    """Groups without credit, of two steps a rollout."""
    from rllm.trainer.algorithms.config import TransformConfig
    from rllm.trainer.algorithms.transform import transform_episodes_to_trajectory_groups as group

    made = episodes(*(trajectory([[1, 2], [3]], r) for r in rewards), task=task)
    return list(group(made, TransformConfig())[0])


def test_every_token_of_every_step_gets_the_credit_of_its_turn() -> None:
    seen = [["home", "a"], ["home", "a"], ["home", "b"], ["home", "b"]]
    rewards = [1.0, 0.0, 0.0, 1.0]
    found = advantages(grouped(
        episodes(*(trajectory([[1, 2], [3, 4, 5]], r, states=s) for r, s in zip(rewards, seen, strict=True))), "gigpo"
    ))  # fmt: skip
    batch = ap.Batch.from_turns(
        [[3, 4]] * 4, action=[0, 1, 1, 0, 1, 1, 1] * 4, outcome=rewards, group=["x"] * 4,
        state=[s for row in seen for s in (*row, None)],
    )  # fmt: skip
    credit = ap.assign(batch, "gigpo")
    assert isinstance(credit, Credit)
    expected = credit.unit.reshape(4, 2)
    for steps, (first, second) in zip(found, expected, strict=True):
        np.testing.assert_allclose(steps[0], [first] * 2)
        np.testing.assert_allclose(steps[1], [second] * 3)
    assert np.ptp(expected) > 0


def test_rllm_takes_the_lists_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    """Steps that wrote nothing have an empty list; a length that is wrong rLLM would fill with zeros."""
    made = episodes(trajectory([[1, 2], [], [3]], 1.0), trajectory([[1], [4, 5]], 0.0))
    groups = grouped(made, "rloo")
    before = advantages(groups)
    assert before == [[[1.0, 1.0], [], [1.0]], [[-1.0], [-1.0, -1.0]]]
    with caplog.at_level(logging.WARNING):
        assert collected(groups, config()) == before
    assert "zero" not in caplog.text


OURS: tuple[tuple[str, str, dict[str, Any]], ...] = (("rloo", "rloo", {}), ("grpo", "grpo", {"spread": "population"}))


@pytest.mark.parametrize("seed", range(5))
def test_our_estimators_are_rllms_where_they_mean_the_same(seed: int) -> None:
    """Groups of 2 to 5; GRPO by the population's spread, as rLLM takes it."""
    rng = np.random.default_rng(seed)
    rewards = [rng.normal(size=int(rng.integers(2, 6))).tolist() for _ in range(3)]

    def made() -> list[Any]:
        return [g for k, r in enumerate(rewards) for g in plain(*r, task=f"t{k}")]

    for theirs, method, options in OURS:
        cfg = config(adv_estimator=f"apportion/{method}", use_precomputed_advantage=False)
        assert ours.register(cfg, method, backend="verl", **options) == f"apportion/{method}"
        own = collected(made(), config(adv_estimator=theirs, use_precomputed_advantage=False))
        mine = collected(made(), cfg)
        for a, b in zip(mine, own, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-9)
        assert np.ptp([a[0] for a in mine]) > 0


def test_a_role_takes_an_estimator_by_name_and_others_stay_rllms() -> None:
    ours.register(config(), "rloo", backend="tinker")
    pairs = [[trajectory([[1]], r, name="solver"), trajectory([[2]], -r, name="judge")] for r in (1.0, 0.0)]
    groups = grouped(episodes(*pairs), "rloo")
    for s in (s for g in groups for t in g.trajectories for s in t.steps):
        s.advantage = None
    cfg = config(adv_estimator="grpo", use_precomputed_advantage=False, norm_adv_by_std_in_grpo=False)
    found = dict(
        zip([g.group_id for g in groups], np.reshape(collected(groups, cfg, solver="apportion/rloo"), (2, 2)), strict=True)
    )
    assert found["task:solver"].tolist() == [1.0, -1.0]
    assert found["task:judge"].tolist() == [-0.5, 0.5]


def test_roles_are_compared_with_their_own_and_told_apart_where_a_method_reads_agents() -> None:
    pairs = [[trajectory([[1]], r, name="solver"), trajectory([[2]], 10 + r, name="judge")] for r in (1.0, 0.0)]
    assert advantages(grouped(episodes(*pairs), "rloo")) == [[[1.0]], [[-1.0]], [[1.0]], [[-1.0]]]
    batch = batch_of(grouped(episodes(*pairs), "dr_mas"), "dr_mas")
    assert batch.agent.names == ("solver", "judge")
    assert len(set(batch.group.codes.tolist())) == 1


def test_rewards_of_steps_are_a_part_of_the_trajectorys() -> None:
    made = episodes(trajectory([[1], [2], [3]], 1.0, paid=[0.25, 0.5, 0.25]), trajectory([[1], [2]], 0.0))
    groups = grouped(made, "rloo")
    by_steps, whole = batch_of(groups, "rloo", rewards="steps"), batch_of(groups, "rloo")
    assert by_steps.turn_reward.tolist() == [0.25, 0.5, 0, 0, 0]
    assert by_steps.outcome.tolist() == [0.25, 0.0]
    assert (whole.turn_reward, whole.outcome.tolist()) == (None, [1.0, 0.0])
    with pytest.raises(OptionError, match="rewards='steps'"):
        ours.grouping_hook(config(), "turn_level_reward", backend="tinker")
    assert callable(ours.grouping_hook(config(), "turn_level_reward", backend="tinker", rewards="steps"))


def test_states_are_named_by_the_workflow_or_are_what_was_shown() -> None:
    same: dict[str, Any] = {"shown": [[9], [50]]}
    made = [
        trajectory([[1], [2]], 1.0, **same),
        trajectory([[3], [2]], 0.0, **same),
        trajectory([[3], [2]], 0.0, shown=[[9], [51]]),
    ]
    groups = grouped(episodes(*made), "gigpo", states="observation")
    codes = batch_of(groups, "gigpo", states="observation").state.codes.reshape(3, 3)
    assert len(set(codes[:, 0].tolist())) == 1
    assert codes[0, 1] == codes[1, 1] != codes[2, 1]
    with pytest.raises(MissingColumn, match=r"step\.info\['state'\]"):
        grouped(episodes(*made), "gigpo")


def test_rollouts_cut_off_are_known_to_be_where_rllm_says_why_they_ended() -> None:
    from rllm.workflows.workflow import TerminationReason as Why

    def ended(*why: Any) -> Any:
        made = [e for k, w in enumerate(why) for e in episodes(trajectory([[1]], 1.0), task=f"t{k}", termination_reason=w)]
        truncated = batch_of(grouped(made, "rloo"), "rloo").truncated
        return None if truncated is None else truncated.tolist()

    assert ended(Why.MAX_TURNS_EXCEEDED, Why.ENV_DONE) == [True, False]
    assert ended(Why.MAX_TURNS_EXCEEDED, Why.UNKNOWN) is None
    assert ended(None, None) is None


def test_a_rollout_alone_or_without_a_word_gets_zeros_and_enters_no_statistic() -> None:
    assert advantages(grouped(episodes(trajectory([[1, 2]], 3.0)), "rloo")) == [[[0.0, 0.0]]]
    made = episodes(trajectory([[]], -5.0), trajectory([[1]], 1.0), trajectory([[2]], 0.0))
    assert advantages(grouped(made, "rloo")) == [[[]], [[1.0]], [[-1.0]]]
    ours.register(config(), "rloo", backend="verl")
    ids = collected(plain(3.0), config(adv_estimator="grpo", use_precomputed_advantage=False), agent="apportion/rloo")
    assert ids == [[0.0, 0.0]]


def test_what_a_method_drops_has_no_advantage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if it has credit: rLLM has no mask, so a 0 is all that takes a token out of its loss."""
    from apportion.integrations import calls

    made = thin.credited

    def dropping(*given: Any, **named: Any) -> Credit:
        credit = made(*given, **named)
        keep = np.ones(credit.batch.n_tokens, dtype=np.bool_)
        keep[[1, 6]] = False  # the first token of the first step, and of the second rollout's last
        return credit.with_fields(keep=keep)

    monkeypatch.setattr(calls, "credited", dropping)
    groups = grouped(episodes(trajectory([[1, 2]], 1.0), trajectory([[3], [4]], 0.0)), "rloo")
    assert advantages(groups) == [[[0.0, 1.0]], [[-1.0], [0.0]]]


def test_a_history_that_was_rewritten_is_shown_whole() -> None:
    from rllm.types import Step

    anew = trajectory([[1]], 1.0)
    anew.steps.append(Step(prompt_ids=[7, 8], response_ids=[2], logprobs=[-0.5]))
    batch = batch_of(grouped(episodes(anew, trajectory([[1]], 0.0)), "rloo"), "rloo")
    assert batch.ids.tolist() == [100, 1, 7, 8, 2, 100, 1]


def test_images_keep_their_places_and_what_reads_tokens_does_not_read_them() -> None:
    def seen(reward: float) -> Any:
        made = trajectory([[1]], reward)
        made.steps[0].prompt_ids = [9, SimpleNamespace(length=2), SimpleNamespace(tokens=[7, 8])]
        return made

    groups = grouped(episodes(seen(1.0), seen(0.0)), "rloo")
    assert batch_of(groups, "rloo").ids[:6].tolist() == [9, -1, -1, 7, 8, 1]
    with pytest.raises(BatchError, match="group task:agent, trajectory 0: its prompt holds images"):
        grouped(episodes(seen(1.0), seen(0.0)), "gae", fit=True)


def test_a_hook_of_ones_own_makes_the_groups() -> None:
    from rllm.types import TrajectoryGroup

    seen: list[Any] = []

    def together(given: Any, *more: Any) -> Any:
        seen.append(more)
        return [TrajectoryGroup(trajectories=[t for e in given for t in e.trajectories], group_id="all:agent")]

    made = [*episodes(trajectory([[1]], 1.0), task="a"), *episodes(trajectory([[1]], 0.0), task="b")]
    assert advantages(grouped(made, "rloo", base=together)) == [[[1.0]], [[-1.0]]]
    assert [type(x).__name__ for x in seen[0]] == ["TransformConfig", "NoneType"]  # rLLM's two configurations reach it


def spoiled(**fields: Any) -> Any:
    bad = trajectory([[1, 2], [3]], fields.pop("reward", 1.0))
    for name, value in fields.items():
        setattr(bad.steps[0], name, value)
    return bad


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"logprobs": [-0.5, float("nan")]}, "group task:agent, trajectory 1, turn 0: logp of policy token 1 is nan"),
        ({"logprobs": [-0.5]}, "turn 0: logp has 1 numbers, but there are 2 policy tokens"),
        ({"reward": float("nan")}, "trajectory 1: its rewards are nan"),
        ({"metadata": {"state": ["a"]}}, "trajectory 1: a state key is a list"),
    ],
)
def test_bad_input_is_one_error_that_names_the_rollout_and_writes_nothing(fields: dict[str, Any], says: str) -> None:
    made = episodes(trajectory([[1], [2]], 0.0), spoiled(**fields))
    with pytest.raises(BatchError, match=says):
        grouped(made, "rloo")
    assert [s.advantage for e in made for t in e.trajectories for s in t.steps] == [None] * 4


def test_a_trajectory_without_a_reward_is_an_error() -> None:
    own = ours.grouping_hook(config(), "rloo", backend="tinker", base=lambda *_: [group])
    group = SimpleNamespace(trajectories=[trajectory([[1]], None)], group_id="t:a", metadata=[])
    with pytest.raises(BatchError, match="group t:a, trajectory 0: its reward is None"):
        own([])


@pytest.mark.parametrize(
    ("changed", "backend", "says"),
    [
        ({}, "verl", "backend = 'verl': rLLM keeps one number per trajectory"),
        ({}, "fireworks", "backend = 'fireworks'"),
        ({"enable": True}, "tinker", "async_training.enable = True: rLLM does not call the hook"),
        ({"use_precomputed_advantage": False}, "tinker", "use_precomputed_advantage = False"),
        ({"loss_fn": "dro"}, "tinker", "loss_fn = 'dro': apportion knows importance_sampling, ppo"),
        ({"n": 1}, "tinker", "there is 1 of each"),
    ],
)
def test_settings_under_which_credit_would_be_lost_are_refused_at_start(changed: dict[str, Any], backend: str, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        ours.grouping_hook(config(**changed), "rloo", backend=backend)


@pytest.mark.parametrize(
    ("method", "options", "error", "says"),
    [
        ("rlo", {}, ApportionError, "rlo"),
        ("rloo", {"gamma": 0.9}, OptionError, "gamma"),
        ("rloo", {"states": "seen"}, OptionError, "states"),
        ("rloo", {"rewards": "step"}, ValueError, "rewards"),
        ("gae", {}, OptionError, "pass fit=True"),
        ("turn_ppo", {"fit": True}, OptionError, "loss.ratio"),
        ("ragen", {}, OptionError, "resamples rows"),
        ("hiper", {}, MissingColumn, "no spans"),
    ],
)
def test_what_does_not_fit_is_refused_at_start(method: str, options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ours.grouping_hook(config(), method, backend="tinker", **options)


def test_an_estimator_takes_what_credits_whole_trajectories_and_says_what_the_loss_does() -> None:
    with pytest.raises(OptionError, match="a number per trajectory, gigpo one per turn: take grouping_hook"):
        ours.register(config(), "gigpo", backend="tinker", states="observation")
    with pytest.raises(MissingColumn, match="no agent"):
        ours.register(config(), "m_grpo", backend="verl")
    with pytest.warns(UserWarning, match="denominator 'trajectory'; rLLM's estimators has none of ours"):
        ours.register(config(), "rloo", backend="verl")


def test_names_of_others_are_left_alone() -> None:
    from rllm.trainer.algorithms.advantage import RLLM_ADV_ESTIMATOR_REGISTRY as registry
    from rllm.trainer.algorithms.advantage import register_rllm_adv_estimator

    def theirs(rewards: Any, algorithm_config: Any, **_: Any) -> Any:
        return rewards, rewards

    register_rllm_adv_estimator("other")(theirs)
    ours.register(config(), "rloo", backend="tinker")  # the configuration does not name it
    assert registry["other"] is theirs
    with pytest.raises(TrainerError, match="'other' already, which is not apportion's"):
        ours.register(config(adv_estimator="apportion/rloo"), "rloo", backend="tinker")


def test_another_version_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apportion.integrations.versions.version", lambda _: "0.2.1")
    for start in (ours.grouping_hook, ours.register):
        with pytest.raises(TrainerError, match=r"rllm >= 0\.3\.0.*not with 0\.2\.1"):
            start(config(), "rloo", backend="tinker")


def test_every_method_is_taken_or_refused_by_name_as_the_page_says() -> None:
    def start(id_: str) -> bool:
        return callable(ours.grouping_hook(config(), id_, backend="tinker", rewards="steps"))

    pages.every_method("rllm", ours.PLACE, start)


def test_the_example_runs_as_written_and_prints_what_the_page_shows(root: Path | None) -> None:
    script = DOCS / "examples" / "rllm_quickstart.py"
    page = (DOCS / "rllm.md").read_text()
    assert len(script.read_text().splitlines()) < 30
    assert script.read_text().strip() in page
    path = os.pathsep.join([str(DOCS.parent / "src"), *([] if root is None else [str(root)]), *sys.path])
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in page
