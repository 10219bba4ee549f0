"""NeMo-RL: the factory of its trainers, and estimators for GRPO with message logs, GRPO over the data plane, and PPO.

NeMo-RL 0.7.0 (tag v0.7.0, commit 81aa43dd) needs Python 3.13 and a GPU's packages, and is on no index: a stand-in takes its
place where it is not installed. Recorded: ``_create_advantage_estimator(master_config)`` of ``nemo_rl/algorithms/grpo.py``
(which ``grpo_sync.py`` takes by name) and of ``ppo.py``; the keywords of their calls of ``compute_advantage``; configurations
as dicts within ``MasterConfig``, ``loss_fn`` by attribute. Figures under ``THEIRS`` were printed by the estimators of
``nemo_rl/algorithms/advantage_estimator.py`` of that tag, for the batch of ``numbers``.
"""

from __future__ import annotations

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

pytest.importorskip("torch")

import torch

import apportion as ap
from apportion.credit import Credit
from apportion.errors import ApportionError, BatchError, MissingColumn, OptionError, TrainerError
from apportion.integrations import nemo_rl as ours
from apportion.integrations.message_logs import Noted, read_log

from . import fakes, pages

pytestmark = pytest.mark.filterwarnings("ignore:.*is meant for a loss with denominator:UserWarning")
DOCS = Path(__file__).parents[2] / "docs"

_FACTORY = """
def _create_advantage_estimator(master_config):
    name = master_config.{section}["adv_estimator"]["name"]
    if name != "{known}":
        raise ValueError(f"Invalid adv_estimator name: {{name}}")
    return "NeMo-RL's own"
"""
FAKE = {
    "nemo_rl.algorithms.grpo": _FACTORY.format(section="grpo", known="grpo"),
    "nemo_rl.algorithms.grpo_sync": "from nemo_rl.algorithms.grpo import _create_advantage_estimator\n",
    "nemo_rl.algorithms.ppo": _FACTORY.format(section="ppo", known="gae"),
}

#: What NeMo-RL's estimators give for ``numbers()``: GRPO a number per sample, the others one per token of the policy.
THEIRS: dict[str, list[float]] = {
    "grpo": [0.7071057558059692, -0.7071057558059692, 0.9999959468841553, 0.0, -0.9999959468841553],
    "grpo, not normalised, leave one out": [1.0, -1.0, 0.375, 0.0, -0.375],
    "reinforce_plus_plus": [1.4927868843078613, -1.3435081243515015, 0.7837130427360535, 0.07463934272527695,
                            -0.6344343423843384],
    "reinforce_plus_plus, no baseline": [1.893728256225586, -0.8740283846855164, 0.5098499655723572, -0.18208922445774078,
                                         -0.8740283846855164],
    "gae": [0.6234649419784546, 0.7146538496017456, 0.7769230604171753, -0.21053308248519897, -0.2967698276042938,
            -0.3484486937522888, -0.4076922833919525, -0.030211132019758224, -0.03188584744930267, -0.03264499083161354,
            -0.032333362847566605, -0.0307692289352417, -0.33890387415885925, -0.38333332538604736, -0.5228535532951355,
            -0.5888825058937073, -0.6649097800254822, -0.7754230499267578, -0.879487156867981],
    "gae, returns": [0.7644906044006348, 0.8761923313140869, 1.0, 0.09459510445594788, 0.06989681720733643, 0.038730770349502563,
                     0.0, 0.41850680112838745, 0.43734490871429443, 0.4570985734462738, 0.47792303562164307, 0.5,
                     0.273916631937027, 0.25, 0.2540695071220398, 0.20855337381362915, 0.15303891897201538, 0.08355128765106201,
                     0.0],
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The stand-in's folder; None where NeMo-RL itself is there."""
    if fakes.installed("nemo-rl"):
        return None
    return fakes.write(tmp_path_factory.mktemp("nemo"), "nemo_rl", "0.7.0", FAKE)


@pytest.fixture(autouse=True)
def there(root: Path | None) -> Iterator[None]:
    with nullcontext() if root is None else fakes.on_path(root, "nemo_rl"):
        yield


def config(name: str = "apportion/rloo", ppo: bool = False, **changed: Any) -> SimpleNamespace:
    """The fields of a ``MasterConfig`` that are read, as in ``examples/configs/grpo_math_1B.yaml``."""
    section: dict[str, Any] = {
        "adv_estimator": {"name": name, "normalize_rewards": True, "use_leave_one_out_baseline": True, "minus_baseline": True},
        "num_generations_per_prompt": 2, "reward_scaling": {"enabled": False}, "seq_logprob_error_threshold": None,
    }  # fmt: skip
    loss = SimpleNamespace(
        use_kl_in_reward=False, force_on_policy_ratio=False, token_level_loss=True, sequence_level_importance_ratios=False
    )
    plane = changed.pop("data_plane", None)
    section["adv_estimator"] |= changed.pop("adv_estimator", {})
    for key, value in changed.items():
        if hasattr(loss, key):
            setattr(loss, key, value)
        else:
            section[key] = value
    return SimpleNamespace(**{"ppo" if ppo else "grpo": section}, loss_fn=loss, data_plane=plane)


def made(name: str, ppo: bool = False, changed: dict[str, Any] | None = None, **options: Any) -> Any:
    """The estimator as a trainer gets it."""
    from nemo_rl.algorithms import grpo
    from nemo_rl.algorithms import ppo as nemo_ppo

    given = config(ours.install(name, **options), ppo=ppo, **(changed or {}))
    return (nemo_ppo if ppo else grpo)._create_advantage_estimator(given)


def numbers() -> dict[str, Any]:
    """Five samples of two prompts, in tokens and masks."""
    mask = [[0, 0, 1, 1, 0, 0, 1, 0], [0, 0, 1, 0, 0, 1, 1, 1], [0, 1, 1, 1, 1, 1, 0, 0], [0, 1, 1, 0, 0, 0, 0, 0],
            [0, 1, 1, 1, 0, 1, 1, 0]]  # fmt: skip
    return {
        "prompt_ids": torch.tensor([[5, 6], [5, 6], [7, 0], [7, 0], [7, 0]]),
        "rewards": torch.tensor([1.0, 0.0, 0.5, 0.25, 0.0]),
        "mask": torch.tensor(mask, dtype=torch.float32),
    }


def log(*said: tuple[str, list[int]]) -> list[dict[str, Any]]:
    return [{"role": role, "token_ids": torch.tensor(ids, dtype=torch.int64)} for role, ids in said]


def sample(first: int, seen: int, second: list[int] | None = None) -> list[dict[str, Any]]:
    end = [13] if second is None else second
    return log(("user", [1, 2]), ("assistant", [first, 12]), ("environment", [seen]), ("assistant", end), ("environment", [9]))


def batch(**changed: Any) -> dict[str, Any]:
    """Four samples of two prompts as GRPO's trainers hand them over; the last is one token shorter."""
    logs = [sample(11, 7), sample(14, 8), sample(11, 7), log(("user", [1, 2]), ("assistant", [15, 12]), ("environment", [7]))]
    logs[3].append({"role": "assistant", "token_ids": torch.tensor([13])})
    mask = torch.tensor([[0, 0, 1, 1, 0, 1, 0, 0]] * 4, dtype=torch.float32)
    repeated = {"message_log": logs, "length": torch.tensor([2] * 4), "truncated": torch.tensor([False] * 4)}
    given: dict[str, Any] = {
        "prompt_ids": torch.tensor([[1], [1], [2], [2]]), "rewards": torch.tensor([1.0, 0.0, 1.0, 0.0]), "mask": mask,
        "logprobs_policy": torch.full((4, 8), -1.0), "logprobs_reference": torch.full((4, 8), -2.0),
    }  # fmt: skip
    for key, value in changed.items():
        (given if key in given else repeated)[key] = value
    return {**given, "repeated_batch": repeated}


def test_the_factory_makes_ours_by_name_and_leaves_nemo_rls_alone(root: Path | None) -> None:
    from nemo_rl.algorithms import grpo, grpo_sync, ppo

    ours.install("rloo")
    ours.install("grpo", spread="none")
    for module in (grpo, grpo_sync):
        estimator = module._create_advantage_estimator(config("apportion/grpo"))
        assert isinstance(estimator, ours.Estimator)
        assert estimator.plan.chosen.options == {"spread": "none"}
    assert not isinstance(grpo._create_advantage_estimator.theirs, ours.Factory)  # installed twice, wrapped once
    if root is not None:
        assert grpo._create_advantage_estimator(config("grpo")) == "NeMo-RL's own"
        assert ppo._create_advantage_estimator(config("gae", ppo=True)) == "NeMo-RL's own"
    with pytest.raises(OptionError, match=r"install\('gigpo'\)"):
        grpo._create_advantage_estimator(config("apportion/gigpo"))


@pytest.mark.parametrize(
    ("method", "options", "theirs"),
    [
        ("grpo", {}, "grpo"),
        ("rloo", {}, "grpo, not normalised, leave one out"),
        ("reinforce_pp", {"variant": "baseline", "semantics": "openrlhf"}, "reinforce_plus_plus"),
        ("reinforce_pp", {"semantics": "openrlhf"}, "reinforce_plus_plus, no baseline"),
    ],
)
def test_what_nemo_rl_has_itself_is_the_same_through_the_plug_in(method: str, options: dict[str, Any], theirs: str) -> None:
    estimator = made(method, changed={"data_plane": {"enabled": True}}, **options)
    found = estimator.compute_advantage(**numbers(), repeated_batch={}, logprobs_policy=None, logprobs_reference=None)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.tensor(THEIRS[theirs])[:, None] * numbers()["mask"], atol=1e-5, rtol=0)


def test_gae_and_its_returns_are_nemo_rls_in_ppo() -> None:
    estimator = made("gae", ppo=True, gamma=0.95, lam=0.9)
    given, values = numbers(), torch.linspace(0.1, 0.9, 40).reshape(5, 8)
    mask = given.pop("mask").to(torch.int64)
    found, returns = estimator.compute_advantage(**given, mask=mask, values=values, logprobs=values, reference_logprobs=None)
    torch.testing.assert_close(found[mask != 0], torch.tensor(THEIRS["gae"]), atol=1e-5, rtol=0)
    torch.testing.assert_close(returns[mask != 0], torch.tensor(THEIRS["gae, returns"]), atol=1e-5, rtol=0)
    assert not found[mask == 0].any()


def test_turns_are_messages_and_states_what_was_shown_before_them() -> None:
    found = made("pooled_td", states="observation").compute_advantage(**batch())
    expected = ap.assign(
        ap.Batch.from_padded(
            action=np.array([[1, 1, 0, 1, 0]] * 3 + [[1, 1, 0, 1, 0]]), attention=np.array([[1] * 5] * 3 + [[1] * 4 + [0]]),
            turns="mask", outcome=[1.0, 0.0, 1.0, 0.0], group=[0, 0, 1, 1],
            state=[["p", 7, 9], ["p", 8, 9], ["p", 7, 9], ["p", 7, None]],
        ),
        "pooled_td",
    )  # fmt: skip
    assert isinstance(expected, Credit)
    np.testing.assert_allclose(found[:, 2:7].numpy(), expected.to_padded(), atol=1e-6)
    assert np.ptp(expected.to_padded()) > 0
    assert not found[:, [0, 1, 7]].any()


def test_two_messages_of_the_policy_in_a_row_are_two_turns_and_prompts_may_hold_some() -> None:
    said = log(("user", [1]), ("assistant", [4]), ("user", [2]), ("assistant", [11]), ("assistant", [12, 13]), ("tool", [7]))
    action = np.array([0, 0, 0, 1, 1, 1, 0, 0], dtype=bool)
    rollout = read_log("r", said, Noted(3, False), action, 1.0, 0, "observation", {"logp": -np.arange(8.0)})
    assert [t.ids.tolist() for t in rollout.turns] == [[1, 4, 2, 11], [12, 13, 7]]
    assert [t.logp.tolist() for t in rollout.turns if t.logp is not None] == [[-3.0], [-4.0, -5.0]]
    assert rollout.state == [np.array([1, 4, 2]).tobytes(), b"", np.array([7]).tobytes()]


def test_a_message_without_a_token_is_no_turn_and_its_key_goes_with_it() -> None:
    handed = [{"apportion": {"state": ["a", k, k + "2"], "turn_reward": [0.0, 0.25, 0.0]}} for k in "bcbb"]
    logs = [
        log(
            ("user", [1, 2]),
            ("assistant", [11, 12]),
            ("environment", [7]),
            ("assistant", []),
            ("environment", [8]),
            ("assistant", [13]),
        )
        for _ in range(4)
    ]
    mask = torch.tensor([[0, 0, 1, 1, 0, 0, 1, 0]] * 4, dtype=torch.float32)
    given = batch(message_log=logs, mask=mask, extra_env_info=handed)
    found = made("gigpo", gamma=1.0).compute_advantage(**given)
    states = [s for k in "bcbb" for s in ("a", k + "2", None)]
    given_too: dict[str, Any] = {"turn_reward": [[0.25, 0.0]] * 4, "group": [0, 0, 1, 1], "state": states}
    want = ap.assign(ap.Batch.from_turns([[2, 1]] * 4, outcome=[0.75, -0.25] * 2, **given_too), "gigpo", gamma=1.0)
    assert isinstance(want, Credit)
    np.testing.assert_allclose(found[mask != 0].numpy(), want.token, atol=1e-6)


def test_a_sample_cut_off_in_a_turn_is_credited_as_far_as_it_goes_and_any_other_role_is_shown() -> None:
    logs = batch()["repeated_batch"]["message_log"]
    logs[0] = log(("system", [1, 2]), ("assistant", [11, 12]), ("function", [7]), ("assistant", [13, 14, 15]))
    given = batch(message_log=logs, truncated=[True, False, False, False])
    given["mask"][0, 5:8] = 1
    found = made("rloo").compute_advantage(**given)
    np.testing.assert_allclose(found[0].tolist(), [0, 0, 1, 1, 0, 1, 1, 1])
    assert [Noted.of(given["repeated_batch"], r, True).truncated for r in range(2)] == [True, False]


def test_noted_rewards_of_turns_are_part_of_the_total_and_the_last_may_be_missing() -> None:
    handed = [{"apportion": {"turn_reward": [0.5]}}, {"apportion": {"turn_reward": [0.0, 1.0]}}, None, {}]
    given = batch(extra_env_info=handed)
    noted = [Noted.of(given["repeated_batch"], r, True) for r in range(4)]
    action = given["mask"].numpy() != 0
    rollouts = [
        read_log(f"{r}", given["repeated_batch"]["message_log"][r], noted[r], action[r], 1.0, 0, "given", {}) for r in range(4)
    ]
    assert [r.turn_reward for r in rollouts] == [[0.5, 0.0], [0.0, 1.0], None, None]
    assert [r.outcome for r in rollouts] == [0.5, 0.0, 1.0, 1.0]
    found = made("rloo").compute_advantage(**given)
    np.testing.assert_allclose(found[:, 2].numpy(), [1, -1, 1, -1])
    scaled = made("rloo", changed={"reward_scaling": {"enabled": True}})
    assert "turn_reward" not in scaled.plan.place.columns
    torch.testing.assert_close(scaled.compute_advantage(**given), found)
    given["repeated_batch"]["extra_env_info"][0] = {"apportion": {"turn_reward": [0.5, 0.0, 0.0]}}
    with pytest.raises(BatchError, match="sample 0: turn_reward has 3 entries, but there are 2 turns"):
        made("rloo").compute_advantage(**given)


def test_masked_samples_and_those_left_alone_get_nothing_and_enter_no_statistic() -> None:
    given = batch()
    given["mask"][1] = 0  # overlong_filtering, seq_logprob_error_threshold
    found = made("rloo").compute_advantage(**given)
    assert not found[:2].any()
    np.testing.assert_allclose(found[2:, 2].numpy(), [1, -1])
    given["mask"][:] = 0
    assert not made("rloo").compute_advantage(**given).any()


def test_groups_are_prompts_whatever_their_size() -> None:
    found = made("rloo").compute_advantage(**batch(prompt_ids=torch.tensor([[1], [1], [1], [2]])))
    np.testing.assert_allclose(found[:, 2].numpy(), [0.5, -1.0, 0.5, 0.0])


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"rewards": torch.tensor([1.0, 0.0, float("nan"), 0.0])}, "sample 2.*expected finite numbers"),
        ({"rewards": torch.tensor([1.0, 0.0])}, "4 message logs, but 4 masks, 2 rewards"),
        ({"mask": torch.ones(4, 8)}, "sample 0: its messages hold 7 tokens"),
        ({"mask": torch.ones(4, 5)}, r"logp has shape \(4, 8\)"),
        ({"logprobs_policy": torch.full((4, 8), float("nan"))}, "sample 0, turn 0: logp of policy token 0 is nan"),
        ({"logprobs_reference": torch.zeros(4, 7)}, r"ref_logp has shape \(4, 7\)"),
        ({"extra_env_info": [{"apportion": {"state": ["a"]}}] * 4}, "sample 0: state has 1 keys"),
    ],
)
def test_what_is_wrong_in_a_batch_is_named(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(BatchError, match=says):
        made("reinforce_pp", beta=0.1).compute_advantage(**batch(**changed))


def test_numbers_that_nobody_reads_may_be_anything() -> None:
    found = made("rloo").compute_advantage(**batch(logprobs_policy=torch.full((4, 8), float("nan")), logprobs_reference=None))
    assert found.isfinite().all()


def test_states_that_some_samples_lack_are_unknown_there_and_an_error_where_all_do() -> None:
    handed = [{"apportion": {"state": ["a", "b"]}}, {"apportion": {"state": ["a", "c"]}}, None, None]
    found = made("gigpo", omega=1.0).compute_advantage(**batch(extra_env_info=handed))
    assert found[0, 2] != found[2, 2]
    with pytest.raises(MissingColumn, match="states='observation'"):
        made("gigpo").compute_advantage(**batch())


@pytest.mark.parametrize(
    ("method", "options", "changed", "error", "says"),
    [
        ("rloo", {}, {"num_generations_per_prompt": 1}, OptionError, "1 of each"),
        ("rloo", {}, {"use_kl_in_reward": True}, OptionError, "use_kl_in_reward"),
        ("rloo", {}, {"adv_estimator": {"omega": 0.5}}, OptionError, r"adv_estimator\.omega"),
        ("reinforce_pp", {"beta": 0.1}, {"force_on_policy_ratio": True}, MissingColumn, "force_on_policy_ratio=false"),
        ("prl", {}, {"skip_reference_policy_logprobs_calculation": True}, ApportionError, "skip_reference_policy_logprobs"),
        ("gigpo", {"states": "observation"}, {"data_plane": {"enabled": True}}, OptionError, "no tokens"),
        ("gigpo", {}, {"data_plane": {"enabled": True}}, MissingColumn, "state"),
        ("hicra", {"fit": True}, {"data_plane": {"enabled": True}}, OptionError, "token ids"),
        ("pooled_td", {"states": "observation"}, {"sequence_level_importance_ratios": True}, OptionError, "mean credit"),
        ("turn_level_reward", {}, {"reward_scaling": {"enabled": True}}, ApportionError, "turn_reward"),
    ],
)
def test_configurations_that_would_spoil_credit_are_refused_before_the_first_rollout(
    method: str, options: dict[str, Any], changed: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        made(method, changed=changed, **options)


def test_states_need_message_logs_which_ppo_does_not_show() -> None:
    with pytest.raises(OptionError, match="no tokens"):
        made("gigpo", ppo=True, states="observation")
    with pytest.raises(OptionError, match="PPO"):
        made("gae")


def test_what_settings_take_away_is_not_read() -> None:
    estimator = made("rloo", changed={"force_on_policy_ratio": True, "seq_logprob_error_threshold": 1.5})
    assert "logp" in estimator.plan.place.columns  # NeMo-RL computes them for the threshold
    given = made("rloo", changed={"sequence_level_importance_ratios": True, "token_level_loss": False})
    assert given.plan.place.loss.denominator == "sequence"
    assert given.plan.place.loss.ratios == {"token", "sequence"}


@pytest.mark.parametrize(
    ("method", "options", "error", "says"),
    [
        ("rlo", {}, ApportionError, "rlo"),
        ("rloo", {"gamma": 0.9}, OptionError, "gamma"),
        ("rloo", {"states": "seen"}, OptionError, "states"),
        ("carl", {}, OptionError, "keep takes tokens out"),
        ("dr_mas", {}, MissingColumn, "agent"),
        ("turn_ppo", {}, OptionError, "loss.ratio"),
    ],
)
def test_what_never_fits_is_refused_when_it_is_installed(
    method: str, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    from nemo_rl.algorithms import grpo

    with pytest.raises(error, match=says):
        ours.install(method, **options)
    assert f"apportion/{method}" not in getattr(grpo._create_advantage_estimator, "ours", {})


def test_another_average_than_the_method_means_is_said_once_at_start() -> None:
    with pytest.warns(UserWarning, match="denominator 'trajectory'.*token_level_loss=True.*'token'"):
        made("rloo")


def test_another_version_or_factory_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from nemo_rl.algorithms import ppo

    monkeypatch.setattr(ppo, "_create_advantage_estimator", lambda master_config, value_model: None)
    with pytest.raises(TrainerError, match=r"ppo.*does not take \(master_config\)"):
        ours.install("rloo")
    monkeypatch.setattr("apportion.integrations.versions.version", lambda _: "0.6.0+7ea279a")
    with pytest.raises(TrainerError, match=r"nemo-rl >= 0\.7\.0.*not with 0\.6\.0"):
        ours.install("rloo")


def test_every_method_is_installed_or_refused_by_name_as_the_page_says() -> None:
    pages.every_method("nemo-rl", ours.PLACE, lambda id_: ours.install(id_) == f"apportion/{id_}")


def test_the_example_runs_as_written_and_prints_what_the_page_shows(root: Path | None) -> None:
    script, page = DOCS / "examples" / "nemo_rl_quickstart.py", (DOCS / "nemo-rl.md").read_text()
    assert len(script.read_text().splitlines()) < 30
    assert script.read_text().strip() in page
    path = os.pathsep.join([str(DOCS.parent / "src"), *sys.path, *([] if root is None else [str(root)])])
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in page
