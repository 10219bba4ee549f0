"""TRL's completions become a batch and the credit comes back row by row; no trainer is needed for that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import apportion as ap
from apportion.errors import BatchError, OptionError
from apportion.integrations.honours import Honours
from apportion.integrations.trl.rollouts import Rollout, credited, observed, to_batch, used
from apportion.integrations.trl.start import check_method, dishonoured, feeding
from apportion.registry import get, methods

from .fakes import FakeAuthor, FakeJudge, FakePolicy, FakeSampler

TRL = Honours("TRL", frozenset({"token"}), keep=True, denominator="token")


def rollout(mask: str, outcome: float = 0.0, group: int = 0, **more: Any) -> Rollout:
    """A completion from a string: 1 what the policy wrote, 0 what it was shown."""
    action = np.array([c == "1" for c in mask])
    given: dict[str, Any] = {"trained": action.copy(), "ids": np.arange(action.size), "truncated": False, **more}
    return Rollout(process=0, group=group, outcome=outcome, action=action, **given)


def run(rollouts: list[Rollout], method: str, options: Any = None, trainer: Honours = TRL, **more: Any) -> Any:
    return credited(rollouts, get(method), options or {}, trainer, limit=16, rng=np.random.default_rng(0), **more)


def test_every_completion_gets_its_own_length_back() -> None:
    found = run([rollout("11011", 1.0), rollout("1", 0.0), rollout("111", 0.5)], "rloo")
    assert [t.tolist() for t in found.token] == [[0.75, 0.75, 0, 0.75, 0.75], [-0.75], [0, 0, 0]]
    assert [k.tolist() for k in found.keep] == [[True, True, False, True, True], [True], [True, True, True]]


def test_who_is_left_out() -> None:
    rows = [rollout("11", np.nan), rollout("11", 1.0), rollout("00", 1.0), rollout("11", 1.0, group=1), rollout("1", 0, group=1)]
    assert used(rows, alone=True) == [1, 3, 4]
    assert used(rows, alone=False) == [3, 4]  # 1 has nobody left to compare with
    found = run(rows, "rloo")
    assert [t.tolist() for t in found.token] == [[0, 0], [0, 0], [0, 0], [1, 1], [-1]]
    assert found.metrics["credit/left_out"] == pytest.approx(3 / 5)


def test_single_decides_over_those_left_alone() -> None:
    rows = [rollout("11", np.nan), rollout("11", 2.0), rollout("1", 1.0, group=1), rollout("1", 0.0, group=1)]
    found = run(rows, "rloo", {"single": "raw"})
    assert found.token[1].tolist() == [2.0, 2.0]
    with pytest.raises(BatchError, match="single member"):
        run(rows, "rloo", {"single": "error"})


def test_nothing_to_credit_is_no_error() -> None:
    found = run([rollout("11", np.nan), rollout("1", np.nan)], "gigpo")
    assert [t.tolist() for t in found.token] == [[0, 0], [0]]
    assert found.metrics == {"credit/left_out": 1.0}


def test_what_trl_does_not_train_on_gets_nothing_but_enters_the_mean() -> None:
    hidden = rollout("111", 4.0, trained=np.zeros(3, dtype=np.bool_))
    found = run([hidden, rollout("11", 0.0), rollout("11", 2.0)], "grpo", {"spread": "none"})
    assert [t.tolist() for t in found.token] == [[0, 0, 0], [-2, -2], [0, 0]]
    assert not found.keep[0].any()


def test_turns_states_rewards_and_columns() -> None:
    rows = [
        rollout(
            "110111", 1.0, states=["a", "b"], turn_rewards=[0.5, 0.25], logp=np.full(6, -2.0), prompt=np.array([7, 8]).tobytes()
        ),
        rollout("1", 0.0, group=1, states=["a", "z"], logp=np.full(1, -1.0), truncated=True),
    ]
    batch = to_batch(rows, [0, 1], limit=16)
    assert batch.n_turns == 3
    assert batch.reward.tolist() == [1.75, 0.0]
    assert batch.turn_reward is not None
    assert batch.turn_reward.tolist() == [0.5, 0.25, 0.0]  # none were given for the second
    assert batch.state is not None
    assert [batch.state.name(i) for i in range(5)] == ["a", "b", None, "a", "z"]
    assert batch.truncated is not None
    assert batch.truncated.tolist() == [False, True]
    assert batch.logp is not None
    assert batch.logp[0] == -2.0
    assert batch.limit == 16
    assert [ids.tolist() for ids in batch.meta["prompt_ids"]] == [[7, 8], []]


def test_touching_turns_stay_apart_by_turn_ids_beside_rows_without() -> None:
    rows = [rollout("1111", turn_ids=[0, 0, 1, 1]), rollout("1101", turn_ids=None), rollout("1101", turn_ids=[3, 3, -1, 4])]
    batch = to_batch(rows, [0, 1, 2], limit=16)
    assert np.diff(batch.row_turns).tolist() == [2, 2, 2]
    assert np.diff(batch.turn_offsets).tolist() == [2, 2, 2, 2, 2, 2]


def test_log_probs_that_vllm_did_not_give_are_no_column() -> None:
    rows = [rollout("11", logp=np.array([-1.0, np.nan])), rollout("11", logp=np.array([-1.0, -1.0]))]
    assert to_batch(rows, [0, 1], limit=16).logp is None


def test_a_reference_that_gave_nan_is_refused_by_place_where_it_is_read_as_a_column() -> None:
    rows = [rollout("11", ref_logp=np.array([-1.0, -1.0])), rollout("101", ref_logp=np.array([-1.0, np.nan, np.nan]))]
    with pytest.raises(BatchError, match=r"ref_logp\[1, 2\] = nan"):  # token 1 is the environment's: anything may stand there
        to_batch(rows, [0, 1], limit=16)


def test_groups_of_any_size_are_kept_apart() -> None:
    """Groups of three, two and one, as completions that nobody scored or that wrote nothing leave them."""
    rows = [rollout("11", r, group=g) for g, r in ((0, 1.0), (1, 3.0), (0, 0.0), (2, 9.0), (0, 0.5), (1, 1.0))]
    assert [t[0] for t in run(rows, "rloo").token] == pytest.approx([0.75, 2.0, -0.75, 0.0, 0.0, -2.0])


def test_what_was_shown_before_each_turn() -> None:
    seen = rollout("110010", prompt=b"prompt", turn_ids=None)
    shown, after = np.array([2, 3]).tobytes(), np.array([5]).tobytes()
    assert observed(seen) == [b"prompt", shown, after]
    assert observed(rollout("1101", prompt=b"p"))[-1] is None  # nothing was shown after the last turn
    touching = rollout("1111", prompt=b"p", turn_ids=[0, 0, 1, 1])
    assert observed(touching) == [b"p", b"", None]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"states": ["a"] * 4}, r"states of completion 7 has 4 entries, but it has 2 turns .*: expected 2 or 3"),
    ({"turn_rewards": [1.0]}, r"turn_rewards of completion 7 has 1 entries, but it has 2 turns .*: expected 2"),
    ({"states": [["a"], ["b"]]}, "states of completion 7 holds a list: keys must be hashable"),
    ({"turn_ids": [0, 1]}, "turn_ids of completion 7 has 2 entries, but it has 4 tokens"),
]


@pytest.mark.parametrize(("given", "sentence"), BAD)
def test_what_does_not_fit_a_completion_names_it(given: dict[str, Any], sentence: str) -> None:
    """The index is TRL's, whatever was left out before it."""
    rows = [rollout("1", np.nan)] * 7 + [rollout("1101", **given), rollout("11")]
    with pytest.raises(BatchError, match=sentence):
        to_batch(rows, used(rows, alone=True), limit=16)


def test_metrics_say_where_there_is_no_signal() -> None:
    rows = [rollout("11", 1.0), rollout("1", 0.0), rollout("1", 1.0, group=1), rollout("1", 1.0, group=1)]
    metrics = run(rows, "rloo").metrics
    assert metrics["credit/groups_without_signal"] == 0.5
    assert metrics["credit/mean_abs"] == pytest.approx(3 / 5)
    assert metrics["credit/varies_within"] == 0
    varied = run([rollout("101", 1.0, states=["a", "b"]), rollout("101", 0.0, states=["a", "c"])], "gigpo").metrics
    assert varied["credit/varies_within"] == 1.0
    assert varied["credit/turns"] == 2


def many(seed: int) -> list[Rollout]:
    """Two groups of four completions of one to three turns."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(8):
        turns = int(rng.integers(1, 4))
        mask = "0".join(["11"] * turns)
        n = len(mask)
        made.append(
            rollout(
                mask, float(rng.integers(0, 2)), i // 4, ids=rng.integers(0, 5, n), logp=-rng.random(n),
                ref_logp=-rng.random(n), turn_rewards=rng.integers(0, 2, turns).tolist(),
                states=["start", *(f"room {x}" for x in rng.integers(0, 2, turns))],
            )
        )  # fmt: skip
    made[0].outcome, made[1].outcome = 1.0, 0.0
    return made


SOURCES: dict[str, Any] = {"sampler": FakeSampler, "policy": FakePolicy, "judge": FakeJudge, "author": FakeAuthor}


@pytest.mark.parametrize("id_", list(methods()))
def test_every_method_that_the_page_says_trl_feeds_runs(id_: str) -> None:
    spec, lacks = get(id_), feeding(id_, {})
    if lacks.columns or dishonoured(spec) or (lacks.evidence and not spec.source and not lacks.can_fit):
        pytest.skip("not fed")
    ways: list[dict[str, Any]] = [{}] if not lacks.evidence else [{"fit": True}] * lacks.can_fit
    if lacks.evidence and spec.source and not spec.grows:  # what grows rollouts is refused at start
        ways.append({spec.source: SOURCES[spec.source]()})
    assert ways
    for options in ways:
        found = run(many(0), id_, options)
        assert sum(np.abs(t).sum() for t in found.token) > 0


def test_the_methods_trl_feeds_today() -> None:
    fed = {i for i, spec in methods().items() if not feeding(i, {}).columns and not dishonoured(spec)}
    assert {"carl", "gae", "gigpo", "grpo", "hcapo", "pooled_td", "pure", "rloo", "tempo", "vineppo"} <= fed


class Config:
    """What the start checks read of a GRPOConfig."""

    beta, num_iterations, steps_per_generation, gradient_accumulation_steps, use_vllm = 0.0, 1, None, 1, False
    loss_type = "dapo"
    importance_sampling_level = "token"
    max_completion_length = 64
    scale_rewards = "group"
    multi_objective_aggregation = "sum_then_normalize"


def test_start_checks_need_no_trainer() -> None:
    spec, trainer, said = check_method("gigpo", {"gamma": 0.9}, Config, states=True)
    assert spec.id == "gigpo"
    assert trainer.denominator == "token"
    assert len(said) == 1
    assert check_method("grpo", {"denominator": "token"}, Config, states=False)[2] == []
    assert check_method("grpo", {"denominator": "limit"}, Config, states=False)[2][0].endswith("'dr_grpo' averages like that)")
    with pytest.raises(OptionError, match="TRL cannot feed gigpo"):
        check_method("gigpo", {}, Config, states=False)


@pytest.mark.parametrize(
    ("loss_type", "method", "taken"), [("cispo", "gigpo", True), ("grpo", "gigpo", False), ("grpo", "rloo", True)]
)
def test_one_ratio_per_completion_is_taken_where_credit_stays_at_its_token(loss_type: str, method: str, taken: bool) -> None:
    class OneRatio(Config):
        importance_sampling_level = "sequence"

    OneRatio.loss_type = loss_type
    if taken:
        assert check_method(method, {}, OneRatio, states=True)[0].id == method
    else:
        with pytest.raises(OptionError, match="importance_sampling_level = 'sequence'"):
            check_method(method, {}, OneRatio, states=True)


def test_credit_of_a_batch_is_that_of_assign() -> None:
    rows = many(1)
    batch = to_batch(rows, range(8), limit=16)
    expected = ap.assign(batch, "gigpo", omega=0.3)
    assert isinstance(expected, ap.Credit)
    padded = expected.to_padded()
    for i, token in enumerate(run(rows, "gigpo", {"omega": 0.3}).token):
        assert token.tolist() == padded[i, : token.size].tolist()
