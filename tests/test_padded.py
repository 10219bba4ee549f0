"""(B, T) in and out: nothing a trainer holds is lost or moved, and what does not fit is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from apportion import Batch, Credit
from apportion.edges.padded import from_padded, to_padded
from apportion.errors import BatchError

Array = NDArray[Any]
MASK = np.array([[1, 1, 0, 1, 0, 0], [0, 1, 1, 1, 1, 1]])
TOKEN = ("token_reward", "logp", "ref_logp", "value", "entropy", "ids")


def tensors(seed: int, align: str) -> dict[str, Any]:
    """Random attended rows with a random action mask, aligned left or right, and every token column."""
    rng = np.random.default_rng(seed)
    rows, width = int(rng.integers(1, 6)), int(rng.integers(1, 12))
    length = rng.integers(1, width + 1, rows)
    columns = np.arange(width)
    attention = columns < length[:, None] if align == "left" else columns >= width - length[:, None]
    action = attention & (rng.random((rows, width)) < 0.5)
    action[np.arange(rows), np.where(attention, rng.random((rows, width)), -1).argmax(1)] = True
    shape = (rows, width)
    return {
        "action": action,
        "attention": attention,
        "token_reward": rng.normal(size=shape) * action,
        "logp": -rng.exponential(size=shape),
        "ref_logp": -rng.exponential(size=shape),
        "value": rng.normal(size=shape),
        "entropy": rng.exponential(size=shape),
        "ids": rng.integers(0, 50_000, shape),
    }


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["left", "right"]), st.sampled_from(["row", "mask"]), st.booleans())
def test_every_token_column_comes_back_where_it_was(seed: int, align: str, turns: Any, shuffled: bool) -> None:
    given_ = tensors(seed, align)
    more: dict[str, Any] = {}
    if shuffled:  # rows are turns of trajectories, in any order
        rng = np.random.default_rng(seed)
        n = given_["action"].shape[0]
        more = {"trajectory": rng.integers(0, 2, n), "step": rng.permutation(n)}
    batch = from_padded(turns=turns, **given_, **more)
    for name in TOKEN:
        back = to_padded(batch, getattr(batch, name), everywhere=True)
        np.testing.assert_array_equal(back, np.where(given_["attention"], given_[name], 0))
        assert back.dtype == given_[name].dtype
        policy = to_padded(batch, getattr(batch, name))
        np.testing.assert_array_equal(policy, np.where(given_["action"], given_[name], 0))
    np.testing.assert_array_equal(to_padded(batch, batch.action), given_["action"])


def test_without_attention_a_row_reaches_from_first_to_last_policy_token() -> None:
    batch = from_padded(action=MASK)
    assert np.diff(batch.offsets("row")).tolist() == [4, 5]
    assert batch.action.tolist() == [1, 1, 0, 1, 1, 1, 1, 1, 1]
    assert batch.n_turns == 2


def test_turns_are_inferred_from_the_mask_only_when_asked() -> None:
    attention = np.array([[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]])
    assert from_padded(action=MASK, attention=attention).turn_offsets.tolist() == [0, 5, 11]
    assert from_padded(action=MASK, attention=attention, turns="mask").turn_offsets.tolist() == [0, 2, 5, 11]


def test_turn_ids_keep_adjacent_turns_apart_and_tokens_between_join_the_next() -> None:
    ids = np.array([[0, 1, -1, 2, -1, -1], [-1, 0, 0, 5, 5, 5]])
    batch = from_padded(action=MASK, turn_ids=ids, attention=np.array([[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]]))
    assert batch.turn_offsets.tolist() == [0, 1, 2, 5, 8, 11]


def test_step_ids_refine_turns() -> None:
    batch = from_padded(
        action=MASK, turns="mask", step_ids=np.array([[0, 1, -1, 0, 0, 0], [0, 0, 1, 1, 3, 3]]), process=[[1, None, 2], [3, 4, 5]]
    )
    assert batch.step_offsets is not None
    assert batch.step_offsets.tolist() == [0, 1, 2, 4, 5, 7, 9]
    np.testing.assert_array_equal(batch.need("process"), [1, np.nan, 2, 3, 4, 5])


def shuffled_turns() -> Batch:
    """Trajectory b: rows 2, 0; trajectory a: rows 1, 4, 3."""
    return from_padded(
        action=np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1]]),
        trajectory=["b", "a", "b", "a", "a"],
        step=[7, 0, 3, 2, 1],
        group=["q", "q", "q", "q", "q"],
        outcome=np.array([1.0, 0.0, 1.0, 0.0, 0.0], dtype=np.float32),
        turn_reward=[0.1, 0.2, 0.3, 0.4, 0.5],
        state=["b1", "a0", "b0", "a2", "a1"],
        text=["row0", "row1", "row2", "row3", "row4"],
        ids=np.arange(15).reshape(5, 3),
    )


def test_shuffled_rows_are_packed_in_order_and_come_back_in_the_trainers() -> None:
    batch = shuffled_turns()
    assert batch.trajectory.to_list() == ["b", "a"]
    assert batch.need("text") == ("row2", "row0", "row1", "row4", "row3")
    assert batch.need("turn_reward").tolist() == [0.3, 0.1, 0.2, 0.5, 0.4]
    assert batch.need("outcome").tolist() == [1.0, 0.0]
    assert batch.need("state").to_list() == ["b0", "b1", None, "a0", "a1", "a2", None]
    credit = Credit.of(batch, "turn", np.array([2.0, 0.0, 1.0, 4.0, 3.0]))
    padded = credit.to_padded()
    assert padded.tolist() == [[0, 0, 0], [1, 0, 0], [2, 2, 0], [3, 0, 3], [4, 4, 4]]
    assert padded.dtype == np.float32
    assert credit.to_padded("keep").tolist() == (np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1]]) > 0).tolist()


def test_taken_rows_pad_to_one_row_each_and_name_their_source() -> None:
    taken = shuffled_turns().take([3, 3, 0])  # rows 4, 4 and 2 of the trainer
    assert taken.layout is not None
    assert taken.layout.source.tolist() == [4, 4, 2]
    assert to_padded(taken, taken.need("ids")).tolist() == [[12, 13, 14], [12, 13, 14], [6, 7, 0]]
    again = taken.take([2])
    assert again.layout is not None
    assert again.layout.source.tolist() == [2]


def test_state_may_be_nested_and_must_join_up() -> None:
    common: dict[str, Any] = {"action": np.ones((2, 2)), "trajectory": [0, 0], "step": [0, 1]}
    batch = from_padded(**common, state=[["s0", "s1"], ["s1", "end"]])
    assert batch.need("state").to_list() == ["s0", "s1", "end"]
    with pytest.raises(BatchError, match=r"state\[0\] ends in 'x'.*state\[1\]"):
        from_padded(**common, state=[["s0", "x"], ["s1", "end"]])
    with pytest.raises(BatchError, match=r"state\[0\] has 3 keys"):
        from_padded(**common, state=[["s0", "x", "y"], ["s1"]])


def test_grids_are_read_from_the_left() -> None:
    batch = from_padded(action=MASK, turns="mask", turn_reward=np.array([[1.0, 2.0], [3.0, np.nan]]))
    assert batch.need("turn_reward").tolist() == [1, 2, 3]
    with pytest.raises(BatchError, match=r"turn_reward\[1, 1\] = 4.0, but row 1 has only 1 turns"):
        from_padded(action=MASK, turns="mask", turn_reward=np.array([[1.0, 2.0], [3.0, 4.0]]))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["left", "right"]))
def test_moved_rewards_stay_in_their_row_and_land_on_policy_tokens(seed: int, align: str) -> None:
    data = tensors(seed, align)
    reward = np.random.default_rng(seed + 1).normal(size=data["action"].shape)
    batch = from_padded(action=data["action"], attention=data["attention"], token_reward=reward)
    back = to_padded(batch, batch.need("token_reward"), everywhere=True)
    assert (back[~data["action"]] == 0).all()
    for r in range(reward.shape[0]):
        expected = np.zeros(reward.shape[1])
        policy = np.flatnonzero(data["action"][r])
        for c in range(reward.shape[1]):
            before = policy[policy <= c]
            expected[before[-1] if before.size else policy[0]] += reward[r, c]
        np.testing.assert_allclose(back[r], expected, atol=1e-12)


def test_masked_reward_error_names_the_place() -> None:
    reward = np.zeros(MASK.shape)
    reward[0, 2] = 1.0
    with pytest.raises(BatchError, match=r"token_reward\[0, 2\] = 1 lies outside"):
        from_padded(action=MASK, token_reward=reward, masked_reward="error")


def test_rubbish_outside_the_mask_becomes_zero_and_inside_is_an_error() -> None:
    logp = np.full(MASK.shape, -1.0)
    logp[0, 2], logp[1, 0], logp[0, 5] = np.nan, 1.0, -np.inf
    batch = from_padded(action=MASK, attention=np.ones(MASK.shape), logp=logp)
    assert batch.need("logp")[[2, 5, 6]].tolist() == [0, 0, 0]
    logp[1, 3] = np.nan
    with pytest.raises(BatchError, match=r"logp\[1, 3\] = nan"):
        from_padded(action=MASK, logp=logp)


def test_spans_are_given_in_rows_and_columns() -> None:
    batch = from_padded(action=MASK, spans={"option": [(1, 2, 4, "x"), (0, 0, 2, "y")]})
    table = batch.spans["option"]
    assert (table.start.tolist(), table.end.tolist(), table.label) == ([5, 0], [7, 2], ("x", "y"))
    with pytest.raises(BatchError, match=r"spans\['option'\]\[0\]"):
        from_padded(action=MASK, spans={"option": [(0, 4, 6)]})


ONE = np.ones((2, 3))
WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "action is missing"),
    ({"action": np.ones(3)}, r"action has shape \(3,\)"),
    ({"action": np.ones((0, 3))}, r"action has shape \(0, 3\)"),
    ({"action": [[1, 2]]}, r"action\[0, 1\] = 2"),
    ({"action": [[1], [0]]}, r"action\[1\] has no action token"),
    ({"action": [[1, 1], [1]]}, "action: expected a rectangular array"),
    ({"action": ONE, "response_mask": ONE}, "same thing"),
    ({"action": ONE, "attention": [[1, 1, 1], [1, 1, 0]]}, r"action\[1, 2\] is set where attention"),
    ({"action": ONE, "logp": np.zeros((2, 5))}, r"logp has shape \(2, 5\), but action has shape \(2, 3\).*logp\[:, -3:\]"),
    ({"action": ONE, "ids": [["a"] * 3] * 2}, "ids holds"),
    ({"action": ONE, "turns": "runs"}, "turns = 'runs'"),
    ({"action": ONE, "masked_reward": "lose"}, "masked_reward = 'lose'"),
    ({"action": ONE, "turns": "mask", "turn_ids": ONE}, "pass one of them"),
    ({"action": ONE, "turn_ids": [[0, 1, 0], [0, 0, 0]]}, r"turn_ids\[0, 2\] = 0 comes after a larger id"),
    ({"action": ONE, "turn_ids": [[0, 1, -1], [0, 0, 0]]}, r"turn_ids\[0, 2\] = -1 on a policy token"),
    ({"action": [[1, 0, 1]], "turn_ids": [[0, 1, 2]]}, r"turn_ids\[0, 1\]: the unit that begins here has no policy token"),
    ({"action": ONE, "turn_ids": ONE / 2}, "turn_ids holds fractions"),
    ({"action": ONE, "trajectory": ["a", "a"]}, r"trajectory\[1\] = 'a' has several rows: give step="),
    ({"action": ONE, "trajectory": ["a"]}, "trajectory has 1 entries, but action has 2 rows"),
    ({"action": ONE, "trajectory": ["a", None]}, r"trajectory\[1\] is None"),
    ({"action": ONE, "step": [0, 1]}, "give trajectory="),
    ({"action": ONE, "trajectory": ["a", "a"], "step": [1, 1]}, r"step\[0\] = step\[1\] = 1"),
    ({"action": ONE, "trajectory": ["a", "a"], "step": [1]}, r"step has shape \(1,\)"),
    (
        {"action": ONE, "trajectory": ["a", "a"], "step": [0, 1], "outcome": [0.0, 1.0]},
        r"outcome\[0\] = 0.0 but outcome\[1\] = 1.0",
    ),
    ({"action": ONE, "trajectory": ["a", "a"], "step": [0, 1], "group": ["p", "q"]}, r"group\[0\] = p but group\[1\] = q"),
    ({"action": ONE, "outcome": [0.0, np.nan]}, r"outcome\[1\] = nan"),
    ({"action": ONE, "outcome": [0.0]}, r"outcome has shape \(1,\), but action has 2 rows"),
    ({"action": ONE, "turn_reward": [[1.0, 2.0], [1.0]]}, r"turn_reward\[0\] has 2 entries, but row 0 has 1 turns"),
    ({"action": ONE, "turn_reward": np.zeros((3, 1))}, r"turn_reward has shape \(3, 1\)"),
    ({"action": ONE, "text": ["a"]}, "text has 1 entries, but action has 2 rows"),
    ({"action": ONE, "state": ["a"]}, "state has 1 entries, but action has 2 rows"),
    ({"action": ONE, "group": [["a"], ["b"]]}, "group: expected one hashable name"),
    ({"action": ONE, "rewards": [0.0, 1.0]}, "no column 'rewards'; did you mean"),
    ({"action": ONE, "limit": 0}, "limit = 0"),
]


@pytest.mark.parametrize(("given_", "message"), WRONG)
def test_what_does_not_fit_is_named(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(BatchError, match=message):
        from_padded(**given_)


def test_given_arrays_are_neither_changed_nor_frozen() -> None:
    data = tensors(5, "left")
    before = {n: a.copy() for n, a in data.items()}
    from_padded(**data)
    for name, array in data.items():
        np.testing.assert_array_equal(array, before[name])
        assert array.flags.writeable


def test_a_batch_that_was_never_padded_comes_right_padded() -> None:
    batch = Batch.from_turns([[2, 1], [1]], outcome=[1.0, 0.0])
    assert to_padded(batch, np.array([1.0, 2.0, 3.0, 4.0])).tolist() == [[1, 2, 3], [4, 0, 0]]
    with pytest.raises(BatchError, match=r"shape \(2,\), expected \(4,\)"):
        to_padded(batch, np.zeros(2))


def test_four_thousand_trajectories_of_one_token_and_a_million_tokens() -> None:
    many = from_padded(action=np.ones((4096, 1)), outcome=np.zeros(4096), logp=np.full((4096, 1), -0.5))
    assert many.n_trajectories == many.n_tokens == 4096
    ids = np.repeat(np.arange(64), 256)[None, :].repeat(64, 0)
    wide = from_padded(action=np.ones((64, 16_384), dtype=bool), turn_ids=ids, value=np.ones((64, 16_384), dtype=np.float32))
    assert (wide.n_tokens, wide.n_turns) == (1_048_576, 4096)
    assert to_padded(wide, wide.need("value")).dtype == np.float32


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_torch_tensors_come_back_as_they_were(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    logp = (-torch.rand(3, 5, dtype=torch.float64)).to(getattr(torch, dtype)).requires_grad_()
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [0, 0, 0, 1, 1]])
    batch = from_padded(
        response_mask=mask.bool(),
        logp=logp,
        ids=torch.arange(15).reshape(3, 5),
        outcome=torch.ones(3, dtype=torch.float64),
        trajectory=torch.tensor([4, 9, 4]),
        step=torch.tensor([1, 0, 0]),
        truncated=torch.tensor([True, False, True]),
        turn_reward=torch.arange(3.0),
    )
    assert batch.trajectory.to_list() == [4, 9]
    assert batch.need("turn_reward").tolist() == [2, 0, 1]
    back = to_padded(batch, batch.need("logp"))
    assert back.dtype == logp.dtype
    assert back.device == logp.device
    assert not back.requires_grad
    assert torch.equal(back, logp.detach() * mask)
    ids = to_padded(batch, batch.need("ids"))
    assert ids.dtype == torch.int64
    assert torch.equal(ids, torch.arange(15).reshape(3, 5) * mask)
    assert torch.equal(Credit.of(batch, "trajectory", np.zeros(2)).to_padded("keep"), mask.bool())


def test_torch_is_not_imported_for_numpy() -> None:
    import subprocess
    import sys

    code = (
        "import sys, numpy as np, apportion as ap; ap.Batch.from_padded(action=np.ones((1, 2))); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
