"""slime: its two function paths.

slime needs Megatron and SGLang on GPUs, so a stand-in takes its place, recorded from version 0.3.1, commit 624b824a of
THUDM/slime: the fields of ``Sample`` that are read (``slime/utils/types.py``), the signature of ``slice_log_prob_with_cp``
(``slime/backends/megatron_utils/cp_utils.py``), the calls ``custom_reward_post_process_func(args, samples)``
(``slime/ray/rollout.py``) and ``custom_adv_fn(args, rollout_data)`` (``slime/backends/megatron_utils/loss.py``).
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import apportion as ap
from apportion.credit import Credit
from apportion.errors import ApportionError, BatchError, MissingColumn, OptionError, TrainerError
from apportion.evidence import Asked, Bill
from apportion.integrations import slime as ours
from apportion.integrations.rows import with_columns
from apportion.words import Provenance

from . import fakes, pages

pytestmark = pytest.mark.filterwarnings("ignore:.*is meant for a loss with denominator:UserWarning")
FAKE = {
    "slime.utils.types": """
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


@dataclass
class Sample:
    group_index: int | None = None
    index: int | None = None
    tokens: list = field(default_factory=list)
    response_length: int = 0
    reward: Any = None
    loss_mask: list | None = None
    rollout_log_probs: list | None = None
    remove_sample: bool = False

    class Status(Enum):
        PENDING = "pending"
        COMPLETED = "completed"
        TRUNCATED = "truncated"

    status: Status = Status.PENDING
    metadata: dict = field(default_factory=dict)
""",
    "slime.backends.megatron_utils.cp_utils": """
HALF = False  # as if this were the second of two ranks under context parallelism


def slice_log_prob_with_cp(log_prob, total_length, response_length):
    assert len(log_prob) == response_length <= total_length
    return log_prob[response_length // 2 :] if HALF else log_prob
""",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fakes.write(tmp_path_factory.mktemp("slime"), "slime", "0.3.1", FAKE)


@pytest.fixture(autouse=True)
def there(root: Path) -> Iterator[None]:
    ours._PLANS.clear()
    ours._STEPS.clear()
    with fakes.on_path(root, "slime"):
        yield


def args(method: str = "rloo", changed: dict[str, Any] | None = None, **settings: Any) -> Namespace:
    given: dict[str, Any] = {
        "apportion": {"method": method, **settings}, "custom_reward_post_process_path": ours.REWARDS,
        "custom_advantage_function_path": ours.ADVANTAGES, "advantage_estimator": "grpo", "n_samples_per_prompt": 2,
        "reward_key": None, "kl_coef": 0.0, "normalize_advantages": False, "calculate_per_token_loss": False, "use_opsm": False,
    }  # fmt: skip
    return Namespace(**{**given, **(changed or {})})


def samples(**changed: Any) -> list[Any]:
    """Four rollouts of two prompts, the last one shorter; ``changed`` goes into the third."""
    from slime.utils.types import Sample

    said, masks = [[11, 7, 13], [14, 8, 13], [11, 7, 14], [14, 8]], [[1, 0, 1]] * 3 + [[1, 0]]
    made = [
        Sample(group_index=i // 2, index=i, tokens=[1, 2, *s], response_length=len(s), loss_mask=m, reward=r)
        for i, (s, m, r) in enumerate(zip(said, masks, [1.0, 0.0, 1.0, 0.0], strict=True))
    ]
    for name, value in changed.items():
        setattr(made[2], name, value)
    return made


def test_credit_is_made_of_all_samples_and_each_rank_gets_its_part() -> None:
    raw, credit = ours.rewards(args("pooled_td", states="observation"), samples())
    assert raw == [1.0, 0.0, 1.0, 0.0]
    batch = ap.Batch.from_padded(
        action=np.array([[1, 0, 1]] * 3 + [[1, 0, 0]]), attention=np.array([[1, 1, 1]] * 3 + [[1, 1, 0]]), turns="mask",
        outcome=raw, group=[0, 0, 1, 1], state=[["p", 7, None], ["p", 8, None], ["p", 7, None], ["p", 8]],
    )  # fmt: skip
    made = ap.assign(batch, "pooled_td")
    assert isinstance(made, Credit)
    expected = made.to_padded()
    assert [x.tolist() for x in credit] == [pytest.approx(row[:n]) for row, n in zip(expected, [3, 3, 3, 2], strict=True)]
    assert np.ptp(expected) > 0
    part = [3, 0]  # as slime deals samples out to ranks
    data = {"rewards": [credit[i] for i in part], "total_lengths": [4, 5], "response_lengths": [2, 3], "kl": [torch.zeros(2)] * 2}
    ours.advantages(args("pooled_td", states="observation"), data)
    for found, i in zip(data["advantages"], part, strict=True):
        torch.testing.assert_close(found, credit[i])
    assert len(data["returns"]) == 2


def test_context_parallel_ranks_hold_a_part_of_each_response() -> None:
    from slime.backends.megatron_utils import cp_utils

    _, credit = ours.rewards(args(), samples())
    cp_utils.HALF = True
    data = {"rewards": credit[:1], "total_lengths": [5], "response_lengths": [3], "kl": [torch.zeros(2)]}
    ours.advantages(args(), data)
    torch.testing.assert_close(data["advantages"][0], credit[0][1:])


def test_states_and_turn_rewards_come_from_the_metadata() -> None:
    given = samples()
    for k, sample in enumerate(given):
        turns = sum(sample.loss_mask)
        sample.metadata = {"state": ["a", "b"][:turns], "turn_reward": [0.5, 3.0 * k][:turns]}
    _, credit = ours.rewards(args("gigpo"), given)
    assert credit[0][0] != credit[0][2]
    given[1].metadata = {}
    with pytest.raises(BatchError, match="sample 1 has no metadata"):
        ours.rewards(args("gigpo"), given)


class Dice:
    """A sampler whose rewards are chance alone."""

    provenance: Provenance = "text_refeed"

    def continuations(self, batch: ap.Batch, prefixes: Any, k: int, rng: np.random.Generator, *, axis: str = "prefix") -> Asked:
        return Asked(rng.random((len(prefixes), k)), Bill())

    def branch(self, batch: ap.Batch, prefixes: Any, rng: np.random.Generator) -> Any: ...


def test_what_is_random_differs_from_step_to_step_and_comes_again_with_the_seed() -> None:
    def steps(given: Namespace) -> list[list[float]]:
        return [[float(x) for row in ours.rewards(given, samples())[1] for x in row] for _ in range(3)]

    given = args("vineppo", sampler=Dice(), seed=1)
    first, second, third = steps(given)
    assert first != second != third != first
    ours.check(given)  # each rank asks too, which is no step
    ours._STEPS.clear()
    assert steps(given) == [first, second, third]
    assert steps(args("vineppo", sampler=Dice(), seed=2)) != [first, second, third]


def test_a_removed_sample_enters_no_statistic_and_neither_does_who_is_left_alone() -> None:
    _, credit = ours.rewards(args(), samples(remove_sample=True))
    assert not credit[2].any()
    assert not credit[3].any()
    assert credit[0].any()


def test_a_sample_in_which_the_policy_wrote_nothing_gets_zero_and_enters_no_statistic() -> None:
    given = [*samples(), *samples()[2:]]
    given[4].loss_mask = [0, 0, 0]  # a third rollout of the second prompt, of which nothing is the policy's
    given[4].reward = 100.0
    _, credit = ours.rewards(args(), given[:5])
    _, without = ours.rewards(args(), given[:4])
    assert not credit[4].any()
    assert [x.tolist() for x in credit[:4]] == [x.tolist() for x in without]


def test_groups_of_any_size_are_kept_apart() -> None:
    given = [*samples(), *samples()[:1]]
    given[4].reward = 0.5  # three of the first prompt, two of the second
    _, credit = ours.rewards(args(), given)
    assert [float(x[0]) for x in credit] == pytest.approx([0.75, -0.75, 1.0, -1.0, 0.0])


def test_a_sample_cut_off_is_known_to_be_and_credited_with_the_others() -> None:
    from slime.utils.types import Sample

    given = samples(status=Sample.Status.TRUNCATED)
    assert ours.rows_of(given, [s.reward for s in given]).columns["truncated"] == [False, False, True, False]
    _, credit = ours.rewards(args(), given)
    assert credit[2].tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_log_probs_that_are_no_numbers_name_the_row_where_the_policy_wrote(bad: float) -> None:
    given = samples()
    for sample in given:
        sample.rollout_log_probs = [-1.0] * sample.response_length
    given[2].rollout_log_probs = [-1.0, bad, -1.0]  # a tool's token: anything may stand there
    ours.rewards(args("hca", fit=True), given)
    given[2].rollout_log_probs = [-1.0, -1.0, bad]
    with pytest.raises(BatchError, match=rf"logp of row 2 is {bad} \(token 2\)"):
        ours.rewards(args("hca", fit=True), given)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"loss_mask": [1, 0]}, "sample 2.*loss_mask has 2 entries"),
        ({"rollout_log_probs": [-1.0]}, "sample 2.*rollout_log_probs has 1"),
        ({"reward": None}, "sample 2.*reward is None"),
        ({"reward": {"a": 1.0}}, "sample 2.*reward-key"),
        ({"reward": float("nan")}, "outcome of row 2 is nan"),
        ({"group_index": None}, "sample 2.*group_index"),
    ],
)
def test_samples_that_are_wrong_are_named(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(BatchError, match=says):
        ours.rewards(args(), samples(**changed))


@pytest.mark.parametrize(
    ("method", "settings", "changed", "error", "says"),
    [
        ("rlo", {}, {}, ApportionError, "rlo"),
        ("rloo", {"gamma": 0.9}, {}, OptionError, "gamma"),
        ("pure", {}, {}, ApportionError, "pure"),
        ("carl", {}, {}, OptionError, "keep takes tokens out"),
        ("dr_mas", {}, {}, MissingColumn, "agent"),
        ("rloo", {}, {"n_samples_per_prompt": 1}, OptionError, "1 of each"),
        ("rloo", {}, {"normalize_advantages": True}, OptionError, "normalize-advantages"),
        ("rloo", {}, {"kl_coef": 0.1}, OptionError, "use-kl-loss"),
        ("rloo", {}, {"use_opsm": True}, OptionError, "opsm"),
        ("rloo", {}, {"advantage_estimator": "ppo"}, OptionError, "critic"),
        ("rloo", {}, {"custom_reward_post_process_path": None}, OptionError, r"slime\.rewards there"),
        ("rloo", {}, {"custom_advantage_function_path": None}, OptionError, r"slime\.advantages there"),
        ("rloo", {}, {"apportion": None}, OptionError, "custom-config-path"),
    ],
)
def test_what_would_go_wrong_is_refused_at_start(
    method: str, settings: dict[str, Any], changed: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        ours.check(args(method, changed, **settings))


def test_rewards_that_are_no_credit_are_an_error() -> None:
    data = {"rewards": [1.0], "total_lengths": [5], "response_lengths": [3], "kl": [torch.zeros(3)]}
    with pytest.raises(TrainerError, match="custom-reward-post-process-path"):
        ours.advantages(args(), data)


def test_another_version_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apportion.integrations.versions.version", lambda _: "0.4.0")
    with pytest.raises(TrainerError, match=r"slime >= 0\.3\.1.*not with 0\.4\.0"):
        ours.check(args())


def test_the_example_runs_as_written_and_prints_what_the_page_shows(root: Path) -> None:
    pages.check("slime", pages.run_apart("slime", root), with_columns(ours.PLACE, "state"))
