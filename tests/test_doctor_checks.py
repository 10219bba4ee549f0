"""Every check of the doctor on planted defects, with the figures worked out by hand, and no alarm without one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import apportion as ap
from apportion import Batch
from apportion.doctor import Diagnosis, Finding, advantages, examine
from apportion.errors import BatchError

from .sick import healthy

FREE = ["rloo", "grpo", "gigpo"]


def found(batch: Any, id_: str, **options: Any) -> Finding:
    finding = examine(batch, **{"methods": ["rloo"], **options}).finding(id_)
    assert finding is not None, id_
    return finding


def severities(diagnosis: Diagnosis) -> dict[str, str]:
    return {f.id: f.severity for f in diagnosis.findings}


# --- no alarm ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(4))
def test_healthy_rollouts_are_said_to_be_healthy(seed: int) -> None:
    diagnosis = examine(healthy(seed), vocabulary=1000)
    assert diagnosis.healthy, diagnosis
    assert {i for i, s in severities(diagnosis).items() if s == "note"} <= {
        "observation-tokens",
        "credit-by-position",
        "sign-flips",
    }


@pytest.mark.parametrize("name", ["agent", "math", "tree"])
def test_the_examples_raise_no_alarm(name: str) -> None:
    diagnosis = examine(ap.example(name))
    assert diagnosis.healthy
    assert diagnosis.verdict.startswith("Healthy")


def test_what_is_true_of_the_example_is_said_as_a_note() -> None:
    said = severities(examine(ap.example("agent")))
    assert said["ends-in-observation"] == said["state-loops"] == said["observation-tokens"] == "note"


# --- groups -----------------------------------------------------------------------------------------
def test_groups_without_signal_and_what_they_cost() -> None:
    batch = Batch.from_turns(
        [[1, 1], [1, 1], [2], [4], [1], [1]],
        outcome=[1.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        group=["solved", "solved", "hopeless", "hopeless", "mixed", "mixed"],
        trajectory=list("abcdef"),
    )
    silent = found(batch, "groups-without-signal")
    assert silent.severity == "warning"
    assert silent.figures == {
        "groups": 3,
        "without_signal": 2,
        "all_solved": 1,
        "with_turn_or_token_rewards": 0,
        "share_of_turns": 6 / 8,
        "share_of_policy_tokens": 10 / 12,
    }
    assert [p.trajectory for p in silent.places] == ["a", "c"]
    assert "group solved, all 1" in silent.places[0].what


def test_a_group_of_equal_totals_but_turn_rewards_says_who_can_still_use_it() -> None:
    batch = Batch.from_turns([[1, 1], [1, 1]], turn_reward=[1.0, 0.0, 0.0, 1.0], group=["a", "a"])
    silent = found(batch, "groups-without-signal")
    assert (silent.severity, silent.figures["with_turn_or_token_rewards"]) == ("problem", 1)


def test_groups_of_one_and_sizes_that_vary() -> None:
    batch = Batch.from_turns([[1]] * 6, outcome=[0.0, 1.0, 0.0, 0.0, 1.0, 1.0], group=list("aabbbc"), trajectory=list("uvwxyz"))
    ones, sizes = found(batch, "groups-of-one"), found(batch, "group-sizes")
    assert (ones.severity, ones.figures["of_one"], [p.trajectory for p in ones.places]) == ("warning", 1, ["z"])
    assert (sizes.severity, sizes.figures["sizes"]) == ("note", {1: 1, 2: 1, 3: 1})
    alone = found(Batch.from_turns([[1]] * 2, outcome=[0.0, 1.0], group=["a", "b"]), "groups-of-one")
    assert alone.severity == "problem"


def test_a_group_of_one_is_no_group_without_signal_and_its_rollout_gets_0() -> None:
    batch = Batch.from_turns([[1]] * 3, outcome=[0.0, 1.0, 1.0], group=["a", "a", "alone"])
    diagnosis = examine(batch, methods=["rloo"])
    silent = diagnosis.finding("groups-without-signal")
    assert silent is not None
    assert (silent.severity, silent.figures["groups"], silent.figures["without_signal"]) == ("fine", 1, 0)
    assert diagnosis.finding("method-refused") is None


def test_no_groups_at_all() -> None:
    diagnosis = examine(Batch.from_turns([[1], [1]], outcome=[0.0, 1.0]))
    assert severities(diagnosis)["groups-missing"] == "warning"
    assert diagnosis.finding("groups-of-one") is None


def test_an_id_that_comes_again_in_a_later_batch() -> None:
    finding = found([healthy(0), healthy(1)], "duplicate-trajectories")
    assert (finding.severity, finding.figures["trajectories"]) == ("problem", 80)
    assert finding.places[0].trajectory == "t0"


def test_numbered_trajectories_of_two_batches_are_no_duplicates() -> None:
    batch = Batch.from_turns([[1], [1]], outcome=[0.0, 1.0], group=["a", "a"])
    assert examine([batch, batch]).finding("duplicate-trajectories") is None


def test_rollouts_copied_within_a_group() -> None:
    ids = [[1, 2], [1, 2], [1, 3], [1, 2]]
    batch = Batch.from_turns([[2]] * 4, ids=ids, outcome=[0.0, 1.0, 0.0, 1.0], group=list("aaab"), trajectory=list("wxyz"))
    copies = found(batch, "copied-rollouts")
    assert (copies.severity, copies.figures) == ("warning", {"trajectories": 4, "copies": 1})
    assert str(copies.places[0]) == "trajectory x: same tokens as w"


# --- rewards ----------------------------------------------------------------------------------------
def test_constant_and_missing_rewards() -> None:
    same = found(healthy(outcome=np.ones(80)), "reward-constant")
    assert (same.severity, same.figures) == ("problem", {"low": 1.0, "high": 1.0})
    assert found(healthy(outcome=None), "reward-missing").severity == "problem"


def test_rewards_on_tokens_the_policy_did_not_write() -> None:
    batch = Batch.from_turns(
        [[3], [2]], action=[1, 1, 0, 1, 0], token_reward=[0.0, -0.5, 1.5, 2.0, 0.0], group=["a", "a"], trajectory=["x", "y"]
    )
    masked = found(batch, "reward-on-masked-tokens")
    assert masked.severity == "problem"
    assert masked.figures == {"tokens": 1, "trajectories": 1, "share_of_token_reward": 1.5 / 4}
    assert (masked.places[0].trajectory, masked.places[0].turn) == ("x", 0)
    assert found(batch, "ends-in-observation").severity == "warning"


def test_turn_rewards_nobody_filled() -> None:
    batch = healthy()
    zero = found(batch.with_columns(turn_reward=np.zeros(batch.n_turns)), "turn-rewards-zero")
    assert (zero.severity, zero.figures) == ("warning", {"turns": batch.n_turns, "not_zero": 0})


def test_outcome_and_turn_rewards_said_twice() -> None:
    lengths = [[1, 1]] * 10
    turn_reward = [[0.5, 0.5]] * 9 + [[0.0, 0.25]]
    batch = Batch.from_turns(lengths, outcome=[1.0] * 9 + [0.0], turn_reward=turn_reward, group=[0] * 10)
    twice = found(batch, "rewards-said-twice")
    assert (twice.severity, twice.figures) == ("problem", {"trajectories": 10, "equal": 9})


def test_rollouts_that_earned_nothing_do_not_say_it_twice() -> None:
    batch = Batch.from_turns([[1]] * 3, outcome=[0.0, 0.0, 1.0], turn_reward=[0.0, 0.0, 0.5], group=[0] * 3)
    twice = found(batch, "rewards-said-twice")
    assert (twice.severity, twice.figures) == ("fine", {"trajectories": 1, "equal": 0})


def test_several_masked_rewards_in_a_turn_are_one_place() -> None:
    batch = Batch.from_turns([[4, 3]], action=[1, 0, 0, 1, 1, 0, 0], token_reward=[0, 1, 1, 0, 0, 0, 1.0], trajectory=["x"])
    assert [p.turn for p in found(batch, "reward-on-masked-tokens").places] == [0, 1]


# --- masks and endings ------------------------------------------------------------------------------
def test_turns_that_a_mask_would_merge() -> None:
    batch = Batch.from_turns(
        [[2, 1, 2], [2]], action=[0, 1, 1, 0, 1, 1, 1], outcome=[0.0, 1.0], group=[0, 0], trajectory=["x", "y"]
    )
    merged = found(batch, "turns-merged")
    assert (merged.severity, merged.figures) == ("warning", {"turns": 4, "runs": 3, "merged": 1})
    assert (merged.places[0].trajectory, merged.places[0].turn) == ("x", 1)


def test_turns_in_rows_of_their_own_are_not_merged() -> None:
    batch = Batch.from_turns([[2, 1], [2]], rows="turn", outcome=[0.0, 1.0], group=[0, 0])
    assert found(batch, "turns-merged").severity == "fine"


def test_rows_of_several_runs_taken_for_one_turn() -> None:
    mask = np.array([[1, 0, 1, 0, 1], [1, 1, 1, 0, 0]])
    batch = Batch.from_padded(response_mask=mask, outcome=[0.0, 1.0], group=["a", "a"])
    unsplit = found(batch, "turns-unsplit")
    assert unsplit.severity == "warning"
    assert unsplit.figures == {"rows": 2, "rows_of_one_turn": 2, "unsplit": 1, "runs_in_them": 3}
    ids = np.array([[0, 0, 0, 0, 0], [0, 1, 1, -1, -1]])  # whoever numbers turns elsewhere means it
    meant = Batch.from_padded(response_mask=mask, turn_ids=ids, outcome=[0.0, 1.0], group=["a", "a"])
    assert found(meant, "turns-unsplit").severity == "fine"
    cut = Batch.from_padded(response_mask=mask, outcome=[0.0, 1.0], group=["a", "a"], turns="mask")
    assert found(cut, "turns-unsplit").severity == "fine"


def test_observation_tokens_where_trainers_differ() -> None:
    batch = Batch.from_turns([[4], [3]], action=[0, 1, 0, 1, 1, 1, 0], outcome=[0.0, 1.0], group=[0, 0])
    between = found(batch, "observation-tokens")
    assert between.figures == {
        "share_of_tokens": 3 / 7,
        "share_between_policy_tokens": 1 / 7,
        "trajectories_with_some_between": 1,
    }
    assert found(batch, "ends-in-observation").figures == {"trajectories": 1, "share": 0.5}


def test_truncated_rollouts_rewarded_as_if_finished() -> None:
    cut = np.zeros(80, dtype=bool)
    cut[:4] = True
    outcome = np.tile([0.0, 1.0], 40)
    rewarded = found(healthy(truncated=cut, outcome=outcome), "truncated-as-finished")
    assert rewarded.severity == "warning"
    assert rewarded.figures == {"truncated": 4, "share": 0.05, "rewarded": 2, "without_bootstrap": 4}
    assert [p.trajectory for p in rewarded.places] == ["t1", "t3"]
    failed = found(healthy(truncated=cut & (outcome == 0), outcome=outcome), "truncated-as-finished")
    assert (failed.severity, failed.figures["truncated"]) == ("note", 2)


def test_rollouts_at_the_limit_that_are_not_marked() -> None:
    batch = healthy()
    longest = int(batch.action_count("trajectory").max())
    n = int((batch.action_count("trajectory") == longest).sum())
    limit = found(batch.with_columns(limit=longest), "limit-reached")
    assert (limit.severity, limit.figures["trajectories"]) == ("warning", n)
    assert found(batch.with_columns(limit=longest + 1), "limit-reached").severity == "fine"


# --- states -----------------------------------------------------------------------------------------
def test_how_many_turns_have_company() -> None:
    #          x: s a b end          y: s a c end           z: s (alone in its group: d e)
    state = ["s", "a", "b", None, "s", "a", "c", None, "s", "d", None, "s", "e", None]
    batch = Batch.from_turns(
        [[1] * 3, [1] * 3, [1] * 2, [1] * 2], state=state, outcome=[0.0, 1.0, 1.0, 1.0], group=["p", "p", "q", "q"]
    )
    recur = found(batch, "states-recur")
    assert recur.severity == "fine"
    figures = recur.figures
    assert (figures["turns"], figures["with_company"], figures["share"]) == (10, 6, 0.6)
    assert figures["share_beyond_first_turn"] == 2 / 6  # of a, b, a, c, d, e
    assert figures["share_where_rewards_differ"] == 4 / 10  # s and a of group p; group q has one reward
    assert (figures["anchor_groups"], figures["singletons"], figures["largest_anchor"]) == (7, 4, 2)
    assert (figures["groups"], figures["groups_with_company_beyond_first_turn"]) == (2, 1)
    assert "60 % of the turns have company" in recur.says


def test_states_that_never_recur_are_noted() -> None:
    batch = healthy()
    alone = found(batch.with_columns(state=[f"s{i}" for i in range(batch.n_prefixes)]), "states-recur")
    assert (alone.severity, alone.figures["with_company"]) == ("note", 0)


def test_company_is_another_trajectory_not_the_same_one_again() -> None:
    batch = Batch.from_turns(
        [[1, 1], [1]], state=["s", "s", None, "t", None], outcome=[0.0, 1.0], group=[0, 0], trajectory=["x", "y"]
    )
    assert found(batch, "states-recur").figures["with_company"] == 0
    loops = found(batch, "state-loops")
    assert loops.figures == {"turns": 1, "share": 1 / 3, "trajectories": 1}
    assert (loops.places[0].trajectory, loops.places[0].turn) == ("x", 1)


def test_states_that_are_not_known_are_no_loop() -> None:
    batch = Batch.from_turns([[1, 1], [1]], state=[None, None, None, "s", None], outcome=[0.0, 1.0], group=[0, 0])
    assert found(batch, "state-loops").figures["turns"] == 0


def test_turns_without_a_state_key() -> None:
    batch = Batch.from_turns([[1, 1], [1]], state=["s", None, None, "s", None], outcome=[0.0, 1.0], group=[0, 0])
    null = found(batch, "states-null")
    assert (null.severity, null.figures) == ("warning", {"turns": 3, "null": 1})
    assert found(healthy(state=None), "states-missing").severity == "note"


# --- log-probabilities, values, entropies, ids ------------------------------------------------------
def test_log_probabilities_that_were_never_filled_in() -> None:
    batch = healthy()
    zero = found(batch.with_columns(logp=np.zeros(batch.n_tokens)), "logp-zero")
    assert (zero.severity, zero.figures["zero"]) == ("problem", int(batch.action.sum()))


def test_how_far_the_reference_is() -> None:
    batch = healthy()
    assert abs(found(batch, "logp-reference").figures["mean"] - 0.5) < 0.05
    far = found(batch.with_columns(ref_logp=np.where(batch.action, batch.need("logp") - 25.0, 0.0)), "logp-reference")
    assert (far.severity, round(far.figures["largest"], 6), far.figures["share_over_1_nat"]) == ("warning", 25.0, 1.0)
    same = found(batch.with_columns(ref_logp=batch.logp), "logp-reference")
    assert (same.severity, same.figures["mean"]) == ("note", 0.0)


def test_a_critic_that_says_one_thing_or_the_wrong_thing() -> None:
    batch = healthy()
    assert found(batch, "value-fit").figures["explained_variance"] == pytest.approx(0.75, abs=0.02)
    constant = found(batch.with_columns(value=np.full(batch.n_tokens, 0.3)), "value-constant")
    assert (constant.severity, constant.figures["low"]) == ("warning", 0.3)
    wrong = found(batch.with_columns(value=-batch.need("value")), "value-fit")
    assert wrong.severity == "warning"
    assert wrong.figures["explained_variance"] == pytest.approx(1 - 1.5**2, abs=0.05)


def test_entropies_out_of_range() -> None:
    batch = healthy()
    assert found(batch.with_columns(entropy=np.zeros(batch.n_tokens)), "entropy-range").severity == "warning"
    entropy = batch.need("entropy").copy()
    entropy[np.flatnonzero(batch.action)[:2]] = 20.0
    high = found(batch.with_columns(entropy=entropy), "entropy-range")
    assert (high.severity, high.figures["over_13_nats"], high.places[0].trajectory) == ("warning", 2, "t0")


def test_token_ids_outside_the_vocabulary() -> None:
    batch = healthy()
    ids = batch.need("ids").copy()
    ids[5], ids[7] = -100, 1000
    assert found(batch.with_columns(ids=ids), "ids-range").figures["outside"] == 1
    both = found(batch.with_columns(ids=ids), "ids-range", vocabulary=1000)
    assert (both.severity, both.figures["outside"]) == ("problem", 2)


# --- credit -----------------------------------------------------------------------------------------
def test_credit_that_goes_with_length_is_called_a_bias() -> None:
    batch = healthy()
    length = batch.action_count("trajectory")
    over = batch.within("trajectory", "group")
    order = np.lexsort((length, over)).reshape(-1, 4)
    outcome = np.zeros(80)
    outcome[order[:, 2:].ravel()] = 1.0  # the two longest of each group succeed
    bias = found(batch.with_columns(outcome=outcome), "length-bias", methods=FREE)
    x = length - length.reshape(-1, 4).mean(1).repeat(4)
    expected = np.corrcoef(x, outcome - 0.5)[0, 1]
    assert bias.severity == "warning"
    assert bias.figures["rloo"]["correlation"] == pytest.approx(expected)
    assert "longer earns more" in bias.says
    short = found(batch.with_columns(outcome=1 - outcome), "length-bias")
    assert short.figures["rloo"]["correlation"] == pytest.approx(-expected)
    assert "shorter earns more" in short.says


def test_length_is_compared_within_groups_not_across_them() -> None:
    batch = healthy(value=None)
    length, over = batch.action_count("trajectory").astype(float), batch.within("trajectory", "group")
    outcome = batch.need("outcome") + 0.2 * length + 100.0 * over  # prompts differ a hundred times more than their rollouts
    bias = found(batch.with_columns(outcome=outcome, value=np.zeros(batch.n_tokens)), "length-bias", methods=["gae"])

    def centred(x: Any) -> Any:
        return x - (np.bincount(over, weights=x) / 4)[over]

    expected = np.corrcoef(centred(length), centred(outcome))[0, 1]
    assert 0.3 < expected < 0.9
    assert bias.figures["gae"]["correlation"] == pytest.approx(expected)


def test_a_correlation_that_is_sure_but_small_is_no_bias() -> None:
    batch = healthy(groups=400)
    length = batch.action_count("trajectory").astype(float)
    outcome = batch.need("outcome") + 0.018 * (length - length.mean())
    bias = found(batch.with_columns(outcome=outcome, value=None), "length-bias")
    r = bias.figures["rloo"]["correlation"]
    assert 0.1 < r < 0.2
    assert r * np.sqrt(1200) > 3
    assert bias.severity == "fine"


def test_credit_by_length_adds_up_to_the_whole() -> None:
    batch = healthy(groups=50)
    figures = found(batch, "length-bias").figures
    credit = ap.assign(batch, "rloo")
    assert isinstance(credit, ap.Credit)
    rloo, length = credit.unit, batch.action_count("trajectory")
    labels, means = figures["_lengths"]["labels"], figures["rloo"]["mean_by_length"]
    assert 5 <= len(labels) <= 10
    total = 0.0
    for label, mean in zip(labels, means, strict=True):
        low, high = (int(part) for part in (label.split("-") if "-" in label else (label, label)))
        inside = (length >= low) & (length <= high)
        assert rloo[inside].mean() == pytest.approx(mean)
        total += mean * inside.sum()
    assert total == pytest.approx(rloo.sum())


def test_weight_by_position() -> None:
    batch = Batch.from_turns([[1, 3], [1, 3, 2]], outcome=[0.0, 1.0], group=[0, 0])
    figures = found(batch, "credit-by-position").figures
    assert figures["_positions"]["labels"] == ["1", "2", "3"]
    assert figures["rloo"]["mean"].tolist() == [0.0, 0.0, 1.0]
    assert figures["rloo"]["share_of_weight"].tolist() == [0.2, 0.6, 0.2]
    assert figures["rloo"]["turns"].tolist() == [2, 2, 1]


def test_positions_are_labelled_as_far_as_there_are_turns() -> None:
    batch = Batch.from_turns([[1] * 5, [1]], outcome=[0.0, 1.0], group=[0, 0])
    assert found(batch, "credit-by-position").figures["_positions"]["labels"] == ["1", "2", "3", "4", "5"]


def test_what_a_method_drops_or_has_no_opinion_on_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch.from_turns([[1, 1], [1, 2]], outcome=[0.0, 1.0], group=[0, 0])

    def assign(batch: Batch, id_: str, **options: Any) -> Any:
        if id_ == "rloo":  # -1 and 1
            return ap.assign(batch, id_, **options)
        keep, scored = np.array([1, 1, 1, 0, 0], dtype=bool), np.array([1, 0, 1, 1], dtype=bool)
        return ap.Credit.of(batch, "turn", np.array([2.0, 0.0, 3.0, 4.0]), keep=keep, scored=scored)

    monkeypatch.setattr(advantages, "assign", assign)
    diagnosis = examine(batch, methods=["rloo", "grpo"])
    signs, weight = diagnosis.finding("sign-flips"), diagnosis.finding("credit-by-position")
    assert signs is not None
    assert signs.figures["grpo"]["turns"] == {"all": 3, "both": 3, "flipped": 1, "silenced": 0, "voiced": 0}
    assert weight is not None
    assert weight.figures["grpo"]["share_of_weight"].tolist() == [1.0, 0.0]


def test_signs_are_compared_with_rloo_turn_by_turn() -> None:
    batch = ap.example("agent")
    flips = found(batch, "sign-flips", methods=["rloo", "pooled_td"])
    ours, theirs = ap.assign(batch, "pooled_td"), ap.assign(batch, "rloo")
    assert isinstance(ours, ap.Credit)
    assert isinstance(theirs, ap.Credit)
    a, b = ours.unit, theirs.on("turn")
    turns = flips.figures["pooled_td"]["turns"]
    assert turns["flipped"] == int((a * b < -1e-12).sum()) == 8
    assert turns["silenced"] == int(((np.abs(a) < 1e-12) & (b != 0)).sum())
    tokens = flips.figures["pooled_td"]["tokens"]
    assert tokens["flipped"] == int(((ours.token * theirs.token) < -1e-12).sum())
    worst = np.argmax(np.where(a * b < 0, np.abs(a - b), 0))
    assert flips.places[0].turn == batch.turn_index[worst]
    assert "rloo" not in flips.figures


def test_a_method_that_refuses_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def assign(batch: Batch, id_: str, **options: Any) -> Any:
        if id_ == "grpo" and batch.trajectory.name(0) == "t0":
            raise BatchError("group 3 is odd")
        return ap.assign(batch, id_, **options)

    monkeypatch.setattr(advantages, "assign", assign)
    batch = healthy()
    diagnosis = examine([batch.take(range(8)), batch.take(range(8, 80))], methods=["grpo", "rloo"])
    refused = diagnosis.finding("method-refused")
    assert refused is not None
    assert refused.figures == {"method": "grpo", "trajectories": 8}
    assert "group 3 is odd" in refused.says
    weight = diagnosis.finding("credit-by-position")
    assert weight is not None
    assert (weight.figures["grpo"]["turns"][0], weight.figures["rloo"]["turns"][0]) == (72, 80)


def test_a_method_that_lacks_something_says_what() -> None:
    refused = found(healthy(), "method-refused", methods=["vineppo"])
    assert "no prefix_value" in refused.says
