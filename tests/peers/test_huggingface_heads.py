"""Heads on a language model's hidden states: they follow what they should, and never the outcome of whom they score."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers

import apportion as ap
from apportion.bench.layouts import choices, situation, to_batch
from apportion.bench.oracle import oracle, truth
from apportion.bench.tasks import find
from apportion.bench.world import roll
from apportion.errors import OptionError
from apportion.evidence import load_learned, save_learned
from apportion.evidence.huggingface import HFHead, fit_head
from apportion.evidence.huggingface.problem import split
from apportion.evidence.huggingface.targets import KINDS, places, targets
from apportion.evidence.learned import trajectory_keys

V, N, MANY = 12, 24, 120


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def model(seed: int = 0, size: int = 24, words: int = V) -> Any:
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=words, hidden_size=size, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=64, initializer_range=0.2,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def rollouts(seed: int = 0, first: int = 0, n: int = N, **changes: Any) -> ap.Batch:
    """Prompts of four rollouts of two turns: one token shown, then two or one written; the very last decides."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(2, 6, 5 * n)
    ids[4::5] += 4  # the words of the second turn are 6 to 9
    won = (ids[4::5] < 8).astype(float)
    columns = {
        "ids": ids, "outcome": won, "group": [i // 4 for i in range(n)], "trajectory": [first + i for i in range(n)], **changes,
    }  # fmt: skip
    return ap.Batch.from_turns([[3, 2]] * n, action=[False, True, True, False, True] * n, **columns)


def said(head: HFHead, batch: ap.Batch) -> Any:
    return head.evidence(batch).arrays[head.kind]


QUICK: dict[str, Any] = {"epochs": 3, "lr": 0.05, "batch_tokens": 60}

# --- what they say --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trunk", "bound"),
    [({}, 0.8), ({"trunk": "trained", "trunk_lr": 3e-3, "epochs": 12, "patience": 3}, 0.5)],
)
def test_a_value_head_follows_the_exact_value_on_rollouts_it_has_not_seen(trunk: dict[str, Any], bound: float) -> None:
    task = find("tiny/turns")
    start = np.zeros((task.features.shape[1], task.offset.shape[1]))
    drawn = [roll(task, start, 24, 8, np.random.default_rng(seed)) for seed in (0, 1)]
    raw = [to_batch(r).with_columns(state=None) for r in drawn]
    words = np.unique(np.concatenate([b.need("ids") for b in raw]))
    batches = [b.with_columns(ids=np.searchsorted(words, b.need("ids"))) for b in raw]
    head = fit_head(model(0, 48, int(words.size)), batches[0], "value", rng=0, **trunk)
    untrained = replace(head, rows=tuple({**row, **{n: np.zeros_like(row[n]) for n in ("w0", "b0")}} for row in head.rows))
    for i, r in enumerate(drawn):
        prompt, time, state, _ = situation(r, batches[i])
        first = choices(task, batches[i]).first
        with oracle():
            exact = truth(task, start).V[prompt, time, state]
        error = [float(((said(h, batches[i])[first] - exact) ** 2).mean() / exact.var()) for h in (head, untrained)]
        assert error[0] < bound < 0.95 < error[1], error  # a constant has an error of at least 1, but for rounding
    assert head.diagnostics["held_out_loss"] < 0.9


def test_a_step_head_learns_the_labels_of_steps_it_was_not_shown() -> None:
    batch = rollouts(n=MANY)
    last = batch.need("ids")[batch.last_action("step")]
    labels = np.where(last % 2 == 0, 1.0, -1.0)
    shown = labels.copy()
    shown[np.random.default_rng(0).random(labels.size) < 0.3] = np.nan
    head = fit_head(model(), batch, "process", labels=shown)
    found = said(head, batch)
    assert ((found >= -1) & (found <= 1)).all()
    assert (np.sign(found) == labels).mean() > 0.85
    other = rollouts(1, first=1000)
    assert (np.sign(said(head, other)) == np.where(other.need("ids")[other.last_action("step")] % 2 == 0, 1, -1)).mean() > 0.85


def test_progress_sums_to_the_outcome_and_lies_where_it_was_decided() -> None:
    head = fit_head(model(), rollouts(n=MANY), "progress")
    other = rollouts(1, first=1000)
    found = said(head, other).reshape(N, 2)
    assert np.mean((found.sum(axis=1) - other.reward) ** 2) < 0.5 * other.reward.var()
    assert np.corrcoef(found[:, 1], other.reward)[0, 1] > 0.75
    assert found[:, 0].std() < 0.5 * found[:, 1].std()


@pytest.mark.parametrize("kind", ["promise", "success_rate", "prediction"])
def test_chances_and_predictions_know_the_outcome_once_it_is_decided(kind: str) -> None:
    head = fit_head(model(), rollouts(n=MANY), kind)
    other = rollouts(1, first=1000)
    found = said(head, other)
    if KINDS[kind].loss == "bce":
        assert ((found >= 0) & (found <= 1)).all()
    before, after = found.reshape(N, -1)[:, -2:].T
    assert np.corrcoef(after, other.reward)[0, 1] > 0.8
    assert np.mean((after - other.reward) ** 2) < 0.5 * np.mean((before - other.reward) ** 2)


# --- held out -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        *((kind, QUICK) for kind in KINDS), ("value", {**QUICK, "lam": 0.5}), ("process", {**QUICK, "width": 4}),
        ("value", {"trunk": "trained", "trunk_lr": 1e-2, "epochs": 2, "batch_tokens": 60}),
    ],
)  # fmt: skip
def test_turning_one_outcome_round_leaves_what_is_said_of_that_rollout_as_it_was(kind: str, how: dict[str, Any]) -> None:
    before = said(fit_head(model(), rollouts(), kind, **how), rollouts())
    moved = 0.0
    for i in (13,):
        outcome = rollouts().reward.copy()
        outcome[i] = 1.0 - outcome[i]
        changed = rollouts(outcome=outcome)
        after = said(fit_head(model(), changed, kind, **how), changed)
        own = changed.within(KINDS[kind].axis, "trajectory") == i
        np.testing.assert_array_equal(after[own], before[own])
        moved = max(moved, float(np.abs(after - before).max()))
    assert moved > 0


def test_truth_and_state_keys_are_never_read_and_outcomes_not_when_scoring() -> None:
    plain = fit_head(model(), rollouts(), "value", **QUICK)  # outside oracle(): truth would raise
    keyed = fit_head(model(), rollouts(state=[f"s{i % 3}" for i in range(3 * N)]), "value", **QUICK)
    bare = rollouts(outcome=None)
    np.testing.assert_array_equal(said(keyed, bare), said(plain, rollouts()))


def test_groups_that_decide_when_to_stop_are_not_learned_from() -> None:
    mine = np.arange(2, N)
    learn, check = split(rollouts(), mine, 0.2, np.random.default_rng(0))
    assert sorted([*learn, *check]) == mine.tolist()
    assert check.size
    assert not {i // 4 for i in learn} & {i // 4 for i in check}
    one = rollouts(group=[0] * N)
    assert split(one, mine, 0.2, np.random.default_rng(0))[1].size == 0


def test_training_stops_where_held_out_groups_gain_nothing_and_says_how_far_it_is() -> None:
    rng = np.random.default_rng(0)
    noise = rollouts(outcome=rng.integers(0, 2, N).astype(float))
    told: list[tuple[int, int]] = []
    head = fit_head(
        model(), noise, "value", width=4, epochs=400, lr=0.1, patience=2, batch_tokens=60, watch=lambda a, b: told.append((a, b))
    )  # fmt: skip
    assert {total for _, total in told} == {6 * 400}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == 6 * 400
    assert len(told) < 6 * 60  # nothing can be learned here
    assert head.diagnostics["held_out_loss"] <= 1.0


def test_what_went_on_learning_keeps_everyone_in_the_fold_they_were_in() -> None:
    first = fit_head(model(), rollouts(), "value", **QUICK)
    more = fit_head(model(), rollouts(1, first=100), "value", state=first, rng=5, **QUICK)
    at = np.searchsorted(more.keys, first.keys)
    np.testing.assert_array_equal(more.keys[at], first.keys)
    np.testing.assert_array_equal(more.fold[at], first.fold)
    assert more.keys.size == 2 * N
    assert (said(more, rollouts()) != said(first, rollouts())).any()
    outcome = rollouts().reward.copy()
    outcome[3] = 1 - outcome[3]
    other = fit_head(model(), rollouts(outcome=outcome), "value", **QUICK)
    again = fit_head(model(), rollouts(1, first=100), "value", state=other, rng=5, **QUICK)
    np.testing.assert_array_equal(said(again, rollouts())[15:20], said(more, rollouts())[15:20])
    with pytest.raises(OptionError, match="width = 0"):
        fit_head(model(), rollouts(1), "value", state=first, width=3)
    with pytest.raises(OptionError, match="kind = 'value'"):
        fit_head(model(), rollouts(1), "promise", state=first)


def test_a_head_with_a_hidden_layer_goes_on_from_what_it_says() -> None:
    how: dict[str, Any] = {"width": 6, "held_out": 0.0, "batch_tokens": 60}
    learned = fit_head(model(), rollouts(), "value", **how, epochs=3, lr=0.05)
    assert all(np.abs(row["w2"]).max() > 0.01 for row in learned.rows)
    gone_on = fit_head(model(), rollouts(1, first=100), "value", state=learned, **how, epochs=1, lr=0.0)
    fresh = rollouts(2, first=1000)
    np.testing.assert_array_equal(said(gone_on, fresh), said(learned, fresh))
    told = fit_head(model(), rollouts(1, first=100), "value", state=learned, **{**how, "held_out": 0.2}, epochs=1, lr=0.0)
    assert told.diagnostics["held_out_loss"] == 1.0


# --- few labels -----------------------------------------------------------------------------------------------------


def labelled(batch: ap.Batch, *groups: int) -> Any:
    """The outcome as the label of each step, in these groups only."""
    labels = np.repeat(batch.reward * 2 - 1, 2)
    labels[~np.isin(batch.within("step", "group"), groups)] = np.nan
    return labels


def test_groups_without_labels_do_not_decide_that_nothing_was_learned() -> None:
    batch = rollouts()
    labels = labelled(batch, 2)
    head = fit_head(model(), batch, "process", labels=labels, width=4, rng=1, **QUICK)
    assert all(np.abs(row["w2"]).max() > 0 for row in head.rows)
    how: dict[str, Any] = {"trunk": "trained", "trunk_lr": 1e-3, "epochs": 2, "batch_tokens": 60, "rng": 1}
    deep = fit_head(model(), batch, "process", labels=labels, **how)
    for row in deep.rows:
        moved = [np.abs(row[f"trunk.{name}"] - w.detach().numpy()).max() for name, w in model().model.named_parameters()]
        assert max(moved) > 0
    assert 0 < deep.bill.trained <= 2 * 3 * 4 * 5  # epochs, rows of weights, labelled rollouts of 5 tokens: no other is read
    two = fit_head(model(), batch, "process", labels=labelled(batch, 1, 4), **how)
    assert two.diagnostics["held_out_loss"] <= 1.0


def test_a_fold_that_no_new_label_reaches_keeps_what_it_had() -> None:
    first = fit_head(model(), rollouts(), "process", **QUICK)
    more = rollouts(1, first=100)
    labels = np.full(2 * N, np.nan)
    labels[1] = 1.0
    head = fit_head(model(), more, "process", labels=labels, state=first, **QUICK)
    own = head.fold[np.searchsorted(head.keys, trajectory_keys(more)[:1])][0]
    for k, (row, before) in enumerate(zip(head.rows, first.rows, strict=True)):
        assert all(np.isfinite(array).all() for array in row.values())
        assert all(np.array_equal(row[name], before[name]) for name in row) == (k == own)


# --- targets --------------------------------------------------------------------------------------------------------


def test_targets_of_a_value_are_returns_or_lambda_returns_over_policy_tokens() -> None:
    batch = ap.Batch.from_turns(
        [[2, 2]], action=[False, True, False, True], ids=[1, 2, 3, 4], outcome=[1.0], turn_reward=[0.5, 0]
    )
    units, at = places(batch, "value")
    assert (units.tolist(), at.tolist()) == ([1, 3], [0, 2])
    np.testing.assert_allclose(targets(batch, "value", None, units, at, 0.5, 1.0).y, [0.5 + 0.5 * 1.0, 1.0])
    again = targets(batch, "value", None, units, at, 0.5, 0.8).again
    assert again is not None
    # the second: its reward. The first: .5 + gamma ((1 - lam) V + lam G) with V = .6, G = 1
    np.testing.assert_allclose(again(np.array([0.3, 0.6])), [0.5 + 0.5 * (0.2 * 0.6 + 0.8 * 1.0), 1.0])


def test_each_kind_is_read_where_it_is_known_and_not_later() -> None:
    batch = rollouts()
    assert places(batch, "value")[1][:3].tolist() == [0, 1, 3]
    assert places(batch, "process")[1][:2].tolist() == [2, 4]
    assert places(batch, "success_rate")[1][:3].tolist() == [0, 3, 4]


# --- in the hands of methods ------------------------------------------------------------------------------------------


READERS = sorted(
    (id_, next(iter(m.evidence)))
    for id_, m in ap.methods().items()
    if len(m.evidence) == 1
    and next(iter(m.evidence)) in KINDS
    and KINDS[next(iter(m.evidence))].axis == next(iter(m.evidence.values()))
)


def test_the_list_of_methods_that_read_what_heads_say_is_what_we_think() -> None:
    assert {"gae", "poad", "turn_ppo", "sorl", "pure", "rudder", "agentprm", "math_shepherd"} <= {id_ for id_, _ in READERS}


@pytest.mark.parametrize(("id_", "kind"), READERS)
def test_every_method_that_reads_one_of_them_takes_a_head_as_learned(id_: str, kind: str) -> None:
    batch = rollouts().with_columns(limit=8)
    credit = ap.assign(batch, id_, learned=fit_head(model(), batch, kind, **QUICK), rng=0)
    assert isinstance(credit, ap.Credit)
    assert np.isfinite(credit.token).all()
    assert credit.token.any()
    assert credit.bill.scored == batch.n_tokens
    assert credit.diagnostics["held_out_loss"] > 0


def test_value_and_progress_together_make_spa_rl() -> None:
    batch = rollouts()
    progress, value = (fit_head(model(), batch, kind, **QUICK) for kind in ("progress", "value"))
    credit = ap.assign(batch, "spa_rl", learned=progress, value=said(value, batch))
    assert isinstance(credit, ap.Credit)
    assert np.isfinite(credit.token).all()


@pytest.mark.parametrize("how", [{**QUICK, "width": 5}, {"trunk": "trained", "trunk_lr": 1e-2, "epochs": 1}])
def test_a_saved_head_says_the_same_to_the_last_bit_on_its_own_model_only(how: dict[str, Any], tmp_path: Path) -> None:
    batch = rollouts()
    head: Any = fit_head(model(), batch, "value", **how)
    save_learned(head, tmp_path / "head.npz")
    loaded = load_learned(tmp_path / "head.npz")
    with pytest.raises(OptionError, match=r"\.on\(model\)"):
        loaded.evidence(batch)
    with pytest.raises(OptionError, match="other weights"):
        loaded.on(model(1))
    again = loaded.on(model())
    for b in (batch, rollouts(1, first=100)):
        np.testing.assert_array_equal(said(again, b), said(head, b))
    assert (again.bill, again.diagnostics) == (head.bill, head.diagnostics)


def test_a_trained_trunk_is_a_copy_and_is_billed_for_every_fold() -> None:
    batch, mine = rollouts(), model(3)
    before = [w.clone() for w in mine.parameters()]
    head = fit_head(mine, batch, "value", trunk="trained", trunk_lr=1e-2, epochs=2, held_out=0.0, batch_tokens=60)
    assert all(torch.equal(a, b) for a, b in zip(before, mine.parameters(), strict=True))
    assert not mine.training
    assert head.bill.trained == 2 * (1 + 0.5 + 0.5) * batch.n_tokens
    assert head.evidence(batch).bill.scored == batch.n_tokens
    frozen = fit_head(mine, batch, "value", **QUICK)
    assert (frozen.bill.scored, frozen.bill.trained) == (batch.n_tokens, batch.action.sum())


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "beauty"}, "kind = 'beauty'"),
        ({"lam": 1.5}, "lam = 1.5"),
        ({"epochs": 0}, "epochs = 0"),
        ({"folds": 1}, "folds = 1"),
        ({"labels": np.zeros(N)}, "put them into the batch"),
        ({"kind": "process", "labels": np.zeros(3)}, r"shape \(3,\), expected \(48,\)"),
        ({"kind": "process", "labels": np.full(2 * N, 1.5)}, r"labels\[0\] = 1.5: a process head says -1 to 1"),
        ({"kind": "process", "labels": np.full(2 * N, np.nan)}, "all NaN"),
        ({"kind": "process", "labels": np.append(1.0, np.full(2 * N - 1, np.nan))}, "too few trajectories"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        fit_head(model(), rollouts(), **wrong)


def test_a_trunk_is_frozen_or_trained() -> None:
    with pytest.raises(ValueError, match="trunk = 'melted'"):
        fit_head(model(), rollouts(), trunk="melted")  # type: ignore[arg-type]


def test_rollouts_that_cannot_be_read_are_refused() -> None:
    bare = ap.Batch.from_turns([[2], [2]], outcome=[1.0, 0.0], ids=[2, 3, 4, 5])
    with pytest.raises(OptionError, match=r"trajectory 0 \(0\), token 0: no token stands before it"):
        fit_head(model(), bare, "value")
    ids = rollouts().need("ids").copy()
    ids[7] = V
    with pytest.raises(OptionError, match=rf"trajectory 1 \(1\), token 2: id {V}"):
        fit_head(model(), rollouts(ids=ids), "value")
    with pytest.raises(LookupError, match="ids"):
        fit_head(model(), rollouts(ids=None), "value")
    long = ap.Batch.from_turns([[70], [3]], outcome=[1.0, 0.0], ids=[2] * 73)
    with pytest.raises(OptionError, match="trajectory 0 has 70 tokens"):
        fit_head(model(), long, "process")
