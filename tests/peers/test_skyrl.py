"""SkyRL: the registry's estimators and the trainer mix-in, on the package where it is installed.

SkyRL 0.4.0 needs Python 3.12 and a GPU's packages. Where it is not installed, a stand-in takes its place: the registry's
methods that are called and ``compute_advantages_and_returns`` with the signature and the call of
``skyrl/backends/skyrl_train/utils/ppo_utils.py``, and the part of ``RayPPOTrainer.compute_advantages_and_returns``
(``skyrl/train/trainer.py``) without step-wise trajectories: the same keywords, the same keys of its batch.
"""

from __future__ import annotations

import pickle
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
from apportion.integrations import skyrl as ours
from apportion.integrations.observed import observed
from apportion.integrations.rows import with_columns

from . import fakes, pages

pytestmark = pytest.mark.filterwarnings("ignore:.*is meant for a loss with denominator:UserWarning")
UTILS = "skyrl.backends.skyrl_train.utils.ppo_utils"

FAKE = {
    UTILS: """
class AdvantageEstimatorRegistry:
    _functions = {}

    @classmethod
    def register(cls, name, func):
        if name in cls._functions:
            raise ValueError(f"advantage estimator '{name}' already registered")
        cls._functions[name] = func

    @classmethod
    def get(cls, name):
        return cls._functions[name]

    @classmethod
    def list_available(cls):
        return list(cls._functions)

    @classmethod
    def unregister(cls, name):
        del cls._functions[name]


def compute_advantages_and_returns(
    token_level_rewards, response_mask, index, adv_estimator, config, values=None, grpo_norm_by_std=True, gamma=1.0, lambd=1.0,
    **kwargs,
):
    return AdvantageEstimatorRegistry.get(adv_estimator)(
        token_level_rewards=token_level_rewards, response_mask=response_mask, index=index, values=values,
        grpo_norm_by_std=grpo_norm_by_std, gamma=gamma, lambd=lambd, config=config, **kwargs,
    )
""",
    "skyrl.train.trainer": f"""
from {UTILS} import compute_advantages_and_returns


class RayPPOTrainer:
    def __init__(self, cfg, tracker, tokenizer):
        self.cfg, self.global_step = cfg, 1

    def compute_advantages_and_returns(self, data):
        algorithm = self.cfg.trainer.algorithm
        data["advantages"], data["returns"] = compute_advantages_and_returns(
            token_level_rewards=data["rewards"], response_mask=data["response_mask"], index=data.metadata["uids"],
            adv_estimator=algorithm.advantage_estimator, config=algorithm, values=data["values"], gamma=algorithm.gamma,
            lambd=algorithm.lambd, grpo_norm_by_std=algorithm.grpo_norm_by_std,
        )
        return data
""",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The stand-in's folder; None where SkyRL itself is there."""
    if fakes.installed("skyrl"):
        return None
    return fakes.write(tmp_path_factory.mktemp("skyrl"), "skyrl", "0.4.0", FAKE)


@pytest.fixture(autouse=True)
def there(root: Path | None) -> Iterator[None]:
    with nullcontext() if root is None else fakes.on_path(root, "skyrl"):
        yield


def config(estimator: str = "apportion/pooled_td", **changed: Any) -> SimpleNamespace:
    """The fields of ``SkyRLTrainConfig`` that are read, at SkyRL's defaults."""
    algorithm = SimpleNamespace(
        advantage_estimator=estimator, policy_loss_type="regular", loss_reduction="token_mean", advantage_batch_normalize=False,
        use_kl_loss=True, use_kl_in_reward=False, gamma=1.0, lambd=1.0, grpo_norm_by_std=True,
    )  # fmt: skip
    generator = SimpleNamespace(step_wise_trajectories=False, n_samples_per_prompt=2)
    critic = SimpleNamespace(model=SimpleNamespace(path=changed.pop("critic", None)))
    for name, value in changed.items():
        setattr(generator if hasattr(generator, name) else algorithm, name, value)
    return SimpleNamespace(trainer=SimpleNamespace(algorithm=algorithm, critic=critic), generator=generator)


class Data(dict[str, Any]):
    """A ``TrainingInputBatch`` as far as it is read: a mapping of tensors, and metadata."""

    metadata: dict[str, Any]


def data(**changed: Any) -> Data:
    """Five rows as ``convert_prompts_responses_to_batch_tensors`` aligns them, to the right; the last is padding.

    Prompt of two tokens (shorter in none), then: write, write, see, write. Row 3 is one token shorter.
    """
    loss = np.array([[1, 1, 0, 1], [1, 1, 0, 1], [1, 1, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0]], dtype=np.float32)
    response = np.array([[1, 1, 1, 1]] * 3 + [[0, 1, 1, 1]] + [[1, 1, 1, 1]])
    ids = np.array(
        [[1, 2, 11, 12, 7, 13], [1, 2, 11, 14, 8, 13], [3, 4, 11, 12, 7, 13], [0, 3, 4, 15, 7, 13], [1, 2, 11, 12, 7, 13]]
    )
    attention = (ids != 0).astype(np.int64)
    rewards = np.zeros((5, 4), dtype=np.float32)
    rewards[[0, 2], 3] = 1.0
    made = {"loss_mask": loss, "response_mask": response, "sequences": ids, "attention_mask": attention, "rewards": rewards}
    made |= {"action_log_probs": np.full((5, 4), -1.0), "base_action_log_probs": np.full((5, 4), -2.0)}
    try:
        from skyrl.backends.skyrl_train.training_batch import TrainingInputBatch as Batch
    except ImportError:
        Batch = Data
    batch = Batch({name: torch.as_tensor(changed.pop(name, value)) for name, value in made.items()})
    batch["values"] = batch["rollout_logprobs"] = None
    batch.metadata = {"uids": ["a", "a", "b", "b", "pad0"], "pad_size": 1, "avg_response_length": 4}
    batch.update(changed)
    made_batch: Data = batch
    return made_batch


def trainer(cfg: Any) -> Any:
    from skyrl.train.trainer import RayPPOTrainer

    class Trainer(ours.CreditMixin, RayPPOTrainer):  # type: ignore[misc]
        def __init__(self, cfg: Any) -> None:
            self._credit, self.cfg, self.global_step = ours.at_start(cfg), cfg, 1
            self.all_metrics: dict[str, Any] = {}

    return Trainer(cfg)


def test_the_mixin_credits_what_the_policy_wrote_and_nothing_else() -> None:
    ours.register("pooled_td", states="observation")
    done = trainer(config()).compute_advantages_and_returns(data())
    batch = ap.Batch.from_padded(
        action=data()["loss_mask"].numpy()[:4], attention=data()["response_mask"].numpy()[:4], turns="mask",
        outcome=[1.0, 0.0, 1.0, 0.0], group=["a", "a", "b", "b"],
        state=[["ab", 7, None], ["ab", 8, None], ["cd", 7, None], ["cd", 7, None]],
    )  # fmt: skip
    credit = ap.assign(batch, "pooled_td")
    assert isinstance(credit, Credit)
    expected = credit.to_padded()
    np.testing.assert_allclose(done["advantages"][:4].numpy(), expected, atol=1e-6)
    assert np.ptp(expected) > 0
    assert not done["advantages"][4].any()  # padding
    assert not done["advantages"][data()["loss_mask"] == 0].any()  # tool tokens
    np.testing.assert_array_equal(done["returns"][0].numpy(), [1, 1, 0, 1])


def test_prompts_and_observed_states_are_those_that_were_shown() -> None:
    ours.register("pooled_td", states="observation")
    brought = ours.Brought(trainer(config())._credit, data(), 1)
    credit = ours._with(brought, data()["rewards"]).credit
    assert credit is not None
    assert [x.tolist() for x in credit.batch.meta["prompt_ids"]] == [[1, 2], [1, 2], [3, 4], [3, 4]]
    action, ids = np.array([[0, 1, 0, 1, 0]]), np.array([[9, 5, 7, 6, 8]])
    assert observed(action, ids, [(1, 2)]) == [[(1, 2), (7,), (8,)]]
    assert observed(action, ids, [(1, 2)], attention=[[1, 1, 1, 1, 0]]) == [[(1, 2), (7,), None]]
    assert observed(np.ones((1, 2), dtype=bool), ids, [(1,)], turn_ids=[[0, 1]]) == [[(1,), (), None]]


def test_a_reward_on_a_tools_token_is_not_lost() -> None:
    ours.register("rloo")
    rewards = np.zeros((5, 4), dtype=np.float32)
    rewards[[0, 2], 2] = 1.0  # on the observation, before the last turn
    done = trainer(config("apportion/rloo")).compute_advantages_and_returns(data(rewards=rewards))
    np.testing.assert_allclose(done["advantages"][0].numpy(), [1, 1, 0, 1])


def test_what_credit_drops_leaves_the_loss_mask() -> None:
    ours.register("carl")
    done = trainer(config("apportion/carl")).compute_advantages_and_returns(data(rewards=np.eye(5, 4, dtype=np.float32)))
    assert done["loss_mask"].sum() < data()["loss_mask"].sum()


def test_masked_groups_enter_no_statistic() -> None:
    ours.register("rloo")
    loss = data()["loss_mask"].numpy().copy()
    loss[1] = 0  # the other rollout of prompt a was masked (zero-variance filter, failed environment)
    done = trainer(config("apportion/rloo")).compute_advantages_and_returns(data(loss_mask=loss))
    assert not done["advantages"][:2].any()
    assert done["advantages"][2:4].any()


def test_groups_of_any_size_are_kept_apart() -> None:
    ours.register("rloo", single="zero")
    given = data()
    given.metadata["uids"] = ["a", "a", "a", "b", "pad0"]  # three of one prompt, one of the other
    done = trainer(config("apportion/rloo")).compute_advantages_and_returns(given)
    np.testing.assert_allclose(done["advantages"][:, 3].numpy(), [0.5, -1.0, 0.5, 0.0, 0.0])


def test_a_response_cut_off_in_a_turn_is_credited_as_far_as_it_goes() -> None:
    ours.register("pooled_td", states="observation")
    whole = trainer(config()).compute_advantages_and_returns(data())["advantages"]
    given = data()
    given["loss_mask"][2, 3] = 0  # the second turn of row 2 was cut off before its first token: one turn is left
    given["response_mask"][2, 3] = 0
    given["rewards"][2] = torch.tensor([0.0, 0.0, 1.0, 0.0])
    cut = trainer(config()).compute_advantages_and_returns(given)["advantages"]
    assert torch.isfinite(cut).all()
    assert cut[2, 3] == 0
    assert (cut[2, :2] == cut[2, 0]).all()
    assert cut[2, 0] != 0
    torch.testing.assert_close(cut[:2], whole[:2])  # the other prompt knows nothing of it


def test_another_average_than_the_method_means_is_said_once_at_start() -> None:
    ours.register("rloo")
    with pytest.warns(UserWarning, match="denominator 'trajectory'.*token_mean"):
        ours.at_start(config("apportion/rloo"))


def test_skyrls_own_estimators_pass_through() -> None:
    assert ours.at_start(config("grpo")) is None


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"step_wise_trajectories": True}, "step_wise_trajectories"),
        ({"advantage_batch_normalize": True}, "counts padding"),
        ({"policy_loss_type": "cross_entropy"}, "policy_loss_type"),
        ({"n_samples_per_prompt": 1}, "there is 1 of each"),
    ],
)
def test_settings_that_would_spoil_credit_are_refused_at_start(changed: dict[str, Any], says: str) -> None:
    ours.register("pooled_td", states="observation")
    with pytest.raises(OptionError, match=says):
        ours.at_start(config(**changed))


def test_a_critic_that_is_not_there_is_refused_at_start() -> None:
    ours.register("gae")
    with pytest.raises(ApportionError, match=r"critic\.model\.path|value"):
        ours.at_start(config("apportion/gae"))
    assert ours.at_start(config("apportion/gae", critic="some/model")) is not None


@pytest.mark.parametrize(
    ("method", "options", "error", "says"),
    [
        ("rlo", {}, ApportionError, "rlo"),
        ("rloo", {"gamma": 0.9}, OptionError, "gamma"),
        ("rloo", {"states": "seen"}, OptionError, "states"),
        ("pooled_td", {}, MissingColumn, "states='observation'"),
        ("int", {}, ApportionError, "int"),
        ("turn_ppo", {}, OptionError, "loss.ratio"),
        ("ragen", {}, OptionError, "resamples rows"),
    ],
)
def test_what_never_fits_is_refused_when_it_is_registered(
    method: str, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        ours.register(method, **options)


def test_an_estimator_alone_credits_turns_only_where_it_was_told_that_there_is_one() -> None:
    from skyrl.backends.skyrl_train.utils.ppo_utils import compute_advantages_and_returns

    given = {"token_level_rewards": data()["rewards"], "response_mask": data()["response_mask"], "config": None}
    ours.register("reinforce_pp")
    with pytest.raises(TrainerError, match="single_turn=True"):
        compute_advantages_and_returns(**given, index=list("aabbc"), adv_estimator="apportion/reinforce_pp")
    ours.register("rloo")
    found, _ = compute_advantages_and_returns(**given, index=list("aabbc"), adv_estimator="apportion/rloo")
    np.testing.assert_allclose(found[:, 3].numpy(), [1, -1, 1, -1, 0])
    assert found[3, 0] == 0  # left of a short response


@pytest.mark.parametrize(("name", "bad"), [("rewards", np.nan), ("action_log_probs", np.inf)])
def test_numbers_that_are_none_name_the_row(name: str, bad: float) -> None:
    ours.register("reinforce_pp", beta=0.1)
    wrong = data()
    wrong[name][2, 1] = bad
    with pytest.raises(BatchError, match="row 2"):
        trainer(config("apportion/reinforce_pp")).compute_advantages_and_returns(wrong)


def test_masks_that_do_not_match_are_an_error() -> None:
    ours.register("rloo")
    with pytest.raises(BatchError, match="shape"):
        trainer(config("apportion/rloo")).compute_advantages_and_returns(data(base_action_log_probs=np.zeros((5, 3))))


def test_another_version_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apportion.integrations.versions.version", lambda _: "0.5.0")
    with pytest.raises(TrainerError, match=r"skyrl >= 0\.4\.0.*not with 0\.5\.0"):
        ours.register("rloo")


def test_what_is_registered_can_be_sent_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(ours.Estimator("rloo", options={"single": "zero"}))).method == "rloo"


def test_every_method_is_registered_or_refused_by_name_as_the_page_says() -> None:
    def start(id_: str) -> bool:
        return ours.register(id_, states="observation") == f"apportion/{id_}"

    pages.every_method("skyrl", with_columns(ours.PLACE, "state"), start)


def test_the_example_runs_as_written_and_prints_what_the_page_shows(root: Path | None) -> None:
    pages.check("skyrl", pages.run_apart("skyrl", *sys.path, *([] if root is None else [root])))
