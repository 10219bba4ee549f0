"""The trainer modes: verl's own constructor, ``_compute_advantage`` and TransferQueue, on the CPU."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("verl")
pytest.importorskip("transfer_queue")
pytest.importorskip("hydra")

import apportion as ap
from apportion.credit import Credit
from apportion.errors import BatchError
from apportion.integrations.verl import hand_over

from . import verl_world as world

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def queue() -> Iterator[Any]:
    with world.transfer_queue() as tq:
        yield tq


def run(method: str, batch: Any, *overrides: str) -> tuple[np.ndarray[Any, Any], dict[str, Any], Any]:
    settings = world.config(f"algorithm.adv_estimator={method}", *overrides)
    trainer = world.trainer(settings)
    metrics: dict[str, Any] = {}
    done = trainer._compute_advantage(batch, metrics)
    assert list(done.keys) == list(batch.keys)
    return world.get(batch, "advantages")[0], metrics, trainer


def credit(batch: ap.Batch, method: str, **options: Any) -> np.ndarray[Any, Any]:
    found = ap.assign(batch, method, **options)
    assert isinstance(found, Credit)
    padded: np.ndarray[Any, Any] = found.to_padded()
    return padded


SHAPES = [(2, 1, 2), (2, 2), (1, 1, 1), (3,)]
SCORES = [1.0, 0.0, 0.5, 0.0]
STATES = [["start", "shop", "cart", "end"], ["start", "shop", "end"], ["start", "cart", "shop", "end"], ["start", "end"]]
TURN_REWARDS = [[0.0, 0.25, 0.0], [0.5, 0.0], [0.0, 0.0, -0.5], [0.0]]


def group(**more: Any) -> tuple[Any, ap.Batch]:
    """Four rollouts of one prompt in the queue, and the same ones as a batch made by hand."""
    name = world.uid()
    sessions = []
    for i, (shape, score, state, turn_reward) in enumerate(zip(SHAPES, SCORES, STATES, TURN_REWARDS, strict=True)):
        out = world.output(shape, score=score)
        sessions.append((name, i, [hand_over(out, state=state, turn_reward=turn_reward)]))
    masks = [np.array(s[2][0].response_mask) for s in sessions]
    padded = np.stack([np.pad(m, (0, world.LIMIT - m.size))[: max(x.size for x in masks)] for m in masks])
    batch = ap.Batch.from_padded(
        response_mask=padded,
        outcome=np.array(SCORES, dtype=np.float32),
        group=[name] * 4,
        turns="mask",
        state=STATES,
        turn_reward=TURN_REWARDS,
    )
    return world.put(sessions, **more), batch


@pytest.mark.parametrize(("method", "options"), [("gigpo", {"gamma": 0.9}), ("pooled_td", {"lam": 0.5}), ("rloo", {})])
def test_states_and_turn_rewards_reach_the_method(queue: Any, method: str, options: dict[str, Any]) -> None:
    rows, batch = group()
    extra = [f"+algorithm.apportion.{n}={v}" for n, v in options.items()]
    got, metrics, _ = run(f"apportion/{method}", rows, *extra)
    np.testing.assert_allclose(got, credit(batch, method, **options), atol=1e-6)
    assert np.ptp(got) > 0
    if method == "pooled_td":
        assert metrics["apportion/known"] > 0


def test_returns_are_the_reward_still_to_come(queue: Any) -> None:
    rows, _ = group()
    run("apportion/rloo", rows)
    returns = world.get(rows, "returns")[0]
    np.testing.assert_allclose(returns[0], [1.25, 1.25, 0, 0, 1.25, 0, 0, 1.0, 1.0], atol=1e-6)


def test_verls_own_estimators_pass_through(queue: Any) -> None:
    rows, _ = group()
    got, metrics, _ = run("grpo", rows)
    scores = np.array(SCORES)
    expected = (scores - scores.mean()) / (scores.std(ddof=1) + 1e-6)
    np.testing.assert_allclose(got[:, 0], expected, atol=1e-5)
    assert not any(name.startswith("apportion/") for name in metrics)


def test_the_mode_is_one_verl_knows_once_the_class_is_chosen(queue: Any) -> None:
    _, _, trainer = run("apportion/rloo", group()[0])
    assert trainer.trainer_mode == "sync"
    assert type(trainer.replay_buffer).__name__ == "ReplayBuffer"  # any other name would have made it asynchronous
    assert trainer.config.trainer.v1.trainer_mode == "sync"


def test_log_probs_values_and_ids_are_brought(queue: Any) -> None:
    from apportion.integrations.verl.trainer import fetch

    shapes = [len(world.output(s).response_mask) for s in SHAPES]
    logp = [np.linspace(-1, -0.1, n, dtype=np.float32) for n in shapes]
    rows, _ = group(
        old_log_probs=[x - 1 for x in logp],
        rollout_log_probs=logp,
        ref_log_prob=[x - 2 for x in logp],
        values=[-x for x in logp],
        entropy=[-x for x in logp],
    )
    brought = fetch(rows, world.config("algorithm.adv_estimator=apportion/rloo"))
    assert set(brought.tokens) == {"logp", "ref_logp", "value", "entropy", "ids"}
    for r, n in enumerate(shapes):
        np.testing.assert_allclose(brought.tokens["logp"][r, :n], logp[r])  # of the policy that sampled, not the trainer's
        np.testing.assert_allclose(brought.tokens["ref_logp"][r, :n], logp[r] - 2)
        np.testing.assert_allclose(brought.tokens["value"][r, :n], -logp[r])
        assert brought.tokens["ids"][r, :n].tolist() == list(range(100, 100 + n))
        assert int(brought.lengths[r]) == n


def test_a_critics_values_make_verls_own_gae(queue: Any) -> None:
    rng = np.random.default_rng(0)
    shapes = [len(world.output(s).response_mask) for s in SHAPES]
    values = [rng.normal(size=n).astype(np.float32) for n in shapes]
    critic = ("critic.enable=true",)
    sessions = [(world.uid(), 0, [world.output(s, score=r)]) for s, r in zip(SHAPES, SCORES, strict=True)]
    rows = world.put(sessions, values=values)
    own = ("+algorithm.apportion.gamma=0.9", "+algorithm.apportion.lam=0.8", "+algorithm.apportion.whiten=true")
    ours, _, _ = run("apportion/gae", rows, *critic, *own)
    our_returns = world.get(rows, "returns")[0]
    theirs, _, _ = run("gae", rows, *critic, "algorithm.gamma=0.9", "algorithm.lam=0.8")
    mask, their_returns = world.get(rows, "response_mask", "returns")
    np.testing.assert_allclose(ours, theirs * mask, atol=1e-5)
    np.testing.assert_allclose(our_returns, their_returns * mask, atol=1e-5)


def two_outputs(copies: bool = True) -> tuple[Any, ap.Batch]:
    """Three sessions of one prompt; the first and second have several outputs, which verl scores alike."""
    name = world.uid()
    shapes: list[list[tuple[int, ...]]] = [[(2,), (1,), (2,)], [(1, 1), (2,)], [(3,)]]
    sessions = []
    for i, rows in enumerate(shapes):
        outs = [world.output(s, score=SCORES[i] if copies or k == len(rows) - 1 else 0.0) for k, s in enumerate(rows)]
        sessions.append((name, i, outs))
    masks = [np.array(o.response_mask) for _, _, outs in sessions for o in outs]
    padded = np.stack([np.pad(m, (0, 4 - m.size)) for m in masks])
    owner = [i for i, rows in enumerate(shapes) for _ in rows]
    batch = ap.Batch.from_padded(
        response_mask=padded, turns="mask", trajectory=owner, step=np.arange(len(owner)), group=[name] * len(owner),
        outcome=np.array([SCORES[i] for i in owner], dtype=np.float32),
    )  # fmt: skip
    return world.put(sessions), batch


def test_the_outputs_of_a_session_are_one_trajectory_and_its_reward_counts_once(queue: Any) -> None:
    rows, batch = two_outputs()
    assert batch.n_trajectories == 3
    got, _, _ = run("apportion/rloo", rows)
    np.testing.assert_allclose(got, credit(batch, "rloo"), atol=1e-6)
    baseline = (SCORES[1] + SCORES[2]) / 2  # by trajectory: rows would give another one
    assert got[0, 0] == pytest.approx(SCORES[0] - baseline)
    assert world.get(rows, "returns")[0][0, 0] == pytest.approx(SCORES[0])


def test_shuffled_rows_get_the_same_credit(queue: Any) -> None:
    from transfer_queue import KVBatchMeta

    rows, _ = two_outputs()
    before, _, _ = run("apportion/rloo", rows)
    order = [4, 2, 0, 5, 3, 1]
    shuffled = KVBatchMeta(partition_id="train", keys=[rows.keys[i] for i in order], tags=[rows.tags[i] for i in order])
    after, _, _ = run("apportion/rloo", shuffled)
    np.testing.assert_allclose(after, before[order], atol=1e-6)


def test_token_rewards_in_an_output_that_is_not_the_last_are_refused(queue: Any) -> None:
    rows, _ = two_outputs()
    dense = [[0.5, 0.5], [0.0], [0.0, 1.0], [0.0] * 4, [0.0, 0.0], [0.0] * 3]
    world.add(rows, rm_scores=dense)
    with pytest.raises(BatchError, match=r"row 0 .*rm_scores holds token rewards"):
        run("apportion/rloo", rows)


def test_padding_rows_get_zero_and_change_nothing(queue: Any) -> None:
    from verl.trainer.ppo.padding_utils import upsample_batch_to_divisible_size

    rows, batch = group(rollout_log_probs=[np.zeros(len(world.output(s).response_mask), dtype=np.float32) for s in SHAPES])
    padded = upsample_batch_to_divisible_size(rows, 8, eos_token_id=0)  # verl's own; copies the first row's extra fields
    assert len(padded) == 8
    lengths = [len(world.output(s).response_mask) for s in SHAPES] + [1] * 4
    world.add(padded, old_log_probs=[np.zeros(n, dtype=np.float32) for n in lengths])  # verl computes them after padding
    got, _, _ = run("apportion/gigpo", padded, "+algorithm.apportion.gamma=0.9")
    np.testing.assert_allclose(got[:4], credit(batch, "gigpo", gamma=0.9), atol=1e-6)
    assert not got[4:].any()


def test_a_reward_on_a_masked_last_position_is_not_lost(queue: Any) -> None:
    name = world.uid()
    rows = world.put([(name, i, [world.output((2, 2), score=s, end_on_tool=True)]) for i, s in enumerate([1.0, 0.0])])
    got, _, _ = run("apportion/rloo", rows)
    assert got[:, 0].tolist() == [1.0, -1.0]


def test_tokens_that_credit_does_not_keep_leave_the_loss_and_its_denominator(queue: Any) -> None:
    name = world.uid()
    tree = {"node": [[0, 1], [0, 2]], "parent": [[-1, 0], [-1, 0]]}
    outs = [hand_over(world.output((2, 1), score=float(1 - i)), node=tree["node"][i], parent=tree["parent"][i]) for i in (0, 1)]
    rows = world.put([(name, i, [out]) for i, out in enumerate(outs)])
    got, _, _ = run("apportion/carl", rows)
    np.testing.assert_allclose(got, [[0, 0, 0, 0, 0.5], [0, 0, 0, 0, -0.5]])
    response, loss = world.get(rows, "response_mask", "loss_mask")
    for mask in (response, loss):  # verl sums losses over one and divides by the other
        assert mask.tolist() == [[0, 0, 0, 0, 1], [0, 0, 0, 0, 1]]


def test_masks_stay_as_they_are_where_everything_is_kept(queue: Any) -> None:
    rows, _ = group()
    before = world.get(rows, "response_mask", "loss_mask")
    run("apportion/gigpo", rows)
    for was, now in zip(before, world.get(rows, "response_mask", "loss_mask"), strict=True):
        np.testing.assert_array_equal(was, now)


def test_what_rollout_correction_rejects_keeps_its_place_in_turns_and_statistics(queue: Any) -> None:
    lengths = [len(world.output(s).response_mask) for s in SHAPES]
    old = [np.full(n, -1.0, dtype=np.float32) for n in lengths]
    rollout = [x.copy() for x in old]
    rollout[0][1] = -9.0  # verl will reject a token inside a turn,
    rollout[3][:] = -9.0  # and a whole response
    rows, batch = group(old_log_probs=old, rollout_log_probs=rollout)
    reject = ["algorithm.rollout_correction.rollout_rs=token_k1", "algorithm.rollout_correction.rollout_rs_threshold=0.5_2.0"]
    got, _, _ = run("apportion/gigpo", rows, "+algorithm.apportion.gamma=0.9", *reject)
    mask, returns = world.get(rows, "response_mask", "returns")
    assert mask[0, 1] == 0
    assert not mask[3].any()
    assert not returns[mask == 0].any()
    assert mask[0, 0] == 1
    np.testing.assert_allclose(got, credit(batch, "gigpo", gamma=0.9) * mask, atol=1e-6)


def test_a_kl_penalty_is_part_of_the_reward_and_not_of_success(queue: Any) -> None:
    name = world.uid()
    outs = [world.output((2,), score=s) for s in (1.0, 0.0, 0.0, 0.0)]
    old = [np.full(2, x, dtype=np.float32) for x in (-1.0, -1.0, -2.0, -1.0)]
    ref = [np.full(2, x, dtype=np.float32) for x in (-3.0, -1.0, -1.0, -1.0)]
    rows = world.put([(name, i, [out]) for i, out in enumerate(outs)], old_log_probs=old, ref_log_prob=ref)
    kl = ["algorithm.use_kl_in_reward=true", "algorithm.kl_ctrl.kl_coef=1.0", "algorithm.kl_penalty=kl"]
    got, _, _ = run("apportion/rloo", rows, *kl)
    total = np.array([1.0 - 4.0, 0.0, 2.0, 0.0])
    np.testing.assert_allclose(got[:, 0], (total - total.mean()) * 4 / 3, atol=1e-5)

    from apportion.integrations.verl.brought import BROUGHT
    from apportion.integrations.verl.rollouts import batch_of
    from apportion.integrations.verl.settings import Settings
    from apportion.integrations.verl.trainer import fetch
    from apportion.registry import get

    brought = fetch(rows, world.config("algorithm.adv_estimator=apportion/hcapo", "algorithm.use_kl_in_reward=true"))
    assert BROUGHT.get() is None
    rewards = brought.scores.clone()
    rewards[:, 0] -= np.array([4.0, 0.0, -2.0, 0.0])
    batch = batch_of(get("hcapo"), Settings(), rewards, brought, np.arange(4))
    assert batch.solved.tolist() == [True, False, False, False]
    assert batch.outcome is not None
    assert batch.outcome.tolist() == [1.0, 0.0, 0.0, 0.0]


def test_learning_from_the_batch_is_reproducible(queue: Any) -> None:
    rows, _ = group()
    fit = ("+algorithm.apportion.fit=true", "+algorithm.apportion.folds=2")  # folds is an option of what learns
    first, _, _ = run("apportion/gae", rows, *fit)
    again, _, _ = run("apportion/gae", rows, *fit)
    others = [run("apportion/gae", rows, *fit, f"+algorithm.apportion.seed={seed}")[0] for seed in (1, 2, 3)]
    np.testing.assert_array_equal(first, again)
    assert first.any()
    assert max(np.abs(first - other).max() for other in others) > 0

    settings = world.config("algorithm.adv_estimator=apportion/gae", *fit)
    later = []
    for step in (2, 3, 4):
        world.trainer(settings, step)._compute_advantage(rows, {})
        later.append(world.get(rows, "advantages")[0])
        settings.trainer.v1.trainer_mode = "apportion"
    assert max(np.abs(first - other).max() for other in later) > 0  # no two steps draw alike


def test_a_row_of_another_tokenizer_is_credited_like_others(queue: Any) -> None:
    """No model looks ids up here: rewards decide without them, and what is learned takes any id."""
    found = {}
    for strange in (False, True):
        name = world.uid()
        outs = [world.output(shape, score=score) for shape, score in zip(SHAPES, SCORES, strict=True)]
        if strange:
            outs[1].response_ids = [10**6 + k for k in range(len(outs[1].response_ids))]
        rows = world.put([(name, i, [out]) for i, out in enumerate(outs)])
        found[strange] = run("apportion/rloo", rows)[0]
        assert np.isfinite(run("apportion/gae", rows, "+algorithm.apportion.fit=true")[0]).all()
    np.testing.assert_array_equal(found[True], found[False])
    assert found[True].any()


def test_verls_own_tool_rewards_are_read_on_request(queue: Any) -> None:
    name = world.uid()
    given = [[0.5], [0.0, 0.25], []]
    shapes = [(1, 2), (1, 1), (2,)]
    outs = [world.output(s, score=r, tool_rewards=t) for s, r, t in zip(shapes, (1.0, 0.0, 0.0), given, strict=True)]
    rows = world.put([(name, i, [out]) for i, out in enumerate(outs)])
    run("apportion/rloo", rows, "+algorithm.apportion.turn_reward_from=tool_rewards")
    assert world.get(rows, "returns")[0][:, 0].tolist() == [1.5, 0.25, 0.0]
    run("apportion/rloo", rows)
    assert world.get(rows, "returns")[0][:, 0].tolist() == [1.0, 0.0, 0.0]


def test_tool_rewards_that_do_not_line_up_with_turns_are_refused_by_row(queue: Any) -> None:
    outs = [world.output((1, 2), score=1.0, tool_rewards=[0.1, 0.2, 0.3]), world.output((1,), score=0.0)]
    rows = world.put([("p", i, [out]) for i, out in enumerate(outs)])
    with pytest.raises(BatchError, match=r"row 0 \(p_0_0\): tool_rewards has 3 entries, but the row has 2 turns"):
        run("apportion/rloo", rows, "+algorithm.apportion.turn_reward_from=tool_rewards")


def test_the_same_reward_in_two_places_is_refused(queue: Any) -> None:
    name = world.uid()
    outs = [hand_over(world.output((1, 1), score=s), turn_reward=[0.0, s]) for s in (1.0, 0.0, 0.5)]
    rows = world.put([(name, i, [out]) for i, out in enumerate(outs)])
    with pytest.raises(BatchError, match="each reward would count twice"):
        run("apportion/rloo", rows)


def test_equal_constants_in_two_places_may_be_chance(queue: Any) -> None:
    name = world.uid()
    outs = [hand_over(world.output((1, 1), score=1.0), turn_reward=[0.0, 1.0]) for _ in range(3)]
    rows = world.put([(name, i, [out]) for i, out in enumerate(outs)])
    got, _, _ = run("apportion/rloo", rows)
    assert not got.any()  # everybody solved it: no run should end for that
    assert world.get(rows, "returns")[0][0, 0] == 2.0


@pytest.mark.parametrize(
    ("field", "method", "overrides"),
    [
        ("values", "gae", ["critic.enable=true"]),
        ("rm_scores", "gae", ["critic.enable=true"]),
        ("rollout_log_probs", "reinforce_pp", ["+algorithm.apportion.beta=0.1"]),
        ("ref_log_prob", "reinforce_pp", ["+algorithm.apportion.beta=0.1"]),
    ],
)
def test_nan_is_refused_by_row(queue: Any, field: str, method: str, overrides: list[str]) -> None:
    lengths = [len(world.output(s).response_mask) for s in SHAPES]
    wild = [np.zeros(n, dtype=np.float32) for n in lengths]
    wild[2][0] = np.nan
    name = world.uid()
    sessions = [(name, i, [world.output(s, score=r)]) for i, (s, r) in enumerate(zip(SHAPES, SCORES, strict=True))]
    calm = [np.full(n, -1.0, dtype=np.float32) for n in lengths]
    logs = {"old_log_probs": calm, "rollout_log_probs": calm, "ref_log_prob": calm} if method == "reinforce_pp" else {}
    rows = world.put(sessions, **{**logs, field: wild})
    with pytest.raises(BatchError, match=r"nan.*row 2|row 2.*nan"):
        run(f"apportion/{method}", rows, *overrides, *(["actor_rollout_ref.actor.use_kl_loss=true"] if logs else []))


def test_a_row_without_states_is_named(queue: Any) -> None:
    outs = [hand_over(world.output((1,), score=1.0), state=["a"]), world.output((1,), score=0.0)]
    rows = world.put([("q", i, [out]) for i, out in enumerate(outs)])
    with pytest.raises(BatchError, match=r"row 1 \(q_1_0\) hands over no state, but row 0"):
        run("apportion/gigpo", rows)


def test_asynchronous_modes_take_verls_settings_and_buffer(queue: Any) -> None:
    settings = world.config("algorithm.adv_estimator=apportion/rloo", "trainer.v1.trainer_mode=apportion_colocate_async")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = world.trainer(settings)
    assert trainer.trainer_mode == "colocate_async"
    assert type(trainer.replay_buffer).__name__ == "ReplayBufferAsync"
    rows, batch = group()
    trainer._compute_advantage(rows, {})
    np.testing.assert_allclose(world.get(rows, "advantages")[0], credit(batch, "rloo"), atol=1e-6)
