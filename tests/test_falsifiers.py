"""Falsifiers can fail: exact credit passes them all, and each kind of broken credit fails the ones that look for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from apportion.bench.entrants import Outcome, entrants
from apportion.bench.falsifiers import FALSIFIERS, Verdict, examine, run, scene_of
from apportion.bench.falsifiers.scene import Scene, other_words
from apportion.bench.falsifiers.units import blocks, gradient, units
from apportion.bench.falsifiers.verdict import verdicts
from apportion.bench.layouts import choices, situation
from apportion.bench.sources import frozen_uniform
from apportion.bench.tabular import Float
from apportion.bench.tasks import find
from apportion.errors import BenchError

Change = Callable[[Outcome], Outcome]
TURNS = "bifurcation/horizon-10"


def tried(
    change: Change | None, names: list[str], *, entrant: str = "exact", task: str = TURNS, size: int = 64
) -> dict[str, Verdict]:
    scene = Scene(entrants()[entrant], find(task), size=size, change=change)
    found = verdicts((FALSIFIERS[name], test, facts) for name, test, facts in examine(scene, names))
    return {v.name: v for v in found}


def told(outcome: Outcome, values: Float) -> Outcome:
    """The outcome with another credit, one number a choice."""
    credit = outcome.credit
    token = np.zeros(credit.batch.n_tokens)
    tokens, _ = blocks(outcome)
    token[tokens] = values[:, None]
    return Outcome(outcome.first, outcome.rollouts, outcome.sampled, credit.with_fields(unit=values, token=token))


def permuted(outcome: Outcome) -> Outcome:
    """The credit of every rollout at other times of it."""
    rng, row = np.random.default_rng(3), choices(outcome.rollouts.task, outcome.credit.batch).row
    order = np.lexsort((rng.random(row.size), row))
    return told(outcome, outcome.credit.unit[order])


def worded(outcome: Outcome) -> Outcome:
    """A number read off the words of the action, whatever they do."""
    tokens, _ = blocks(outcome)
    ids = outcome.credit.batch.need("ids")[tokens]
    return told(outcome, frozen_uniform(ids[:, 0], ids[:, 1]) - 0.5)


def placed(outcome: Outcome) -> Outcome:
    """Exact credit, and beside it a number that hangs on the turn alone."""
    time = choices(outcome.rollouts.task, outcome.credit.batch).time
    return told(outcome, outcome.credit.unit + 0.05 * (time - 4.5))


def times(factor: float) -> Change:
    return lambda outcome: told(outcome, factor * outcome.credit.unit)


def alike(outcome: Outcome) -> Outcome:
    return told(outcome, np.ones_like(outcome.credit.unit))


def noisy(scale: float) -> Change:
    rng = np.random.default_rng(0)
    return lambda outcome: told(outcome, outcome.credit.unit + scale * rng.normal(size=outcome.credit.unit.size))


def test_exact_credit_passes_every_falsifier() -> None:
    found = tried(None, list(FALSIFIERS))
    assert {name: v.status for name, v in found.items()} == dict.fromkeys(FALSIFIERS, "passed")
    assert all(v.passed and v.oracle for v in found.values())


@pytest.mark.parametrize("task", ["reasoning/steps-10", "team/two"])
def test_exact_credit_passes_on_steps_and_in_teams(task: str) -> None:
    names = ["shuffled", "zero_units", "sign_flip", "rewording", "noise_floor"]
    assert all(v.passed for v in tried(None, names, task=task).values())


@pytest.mark.parametrize(
    ("change", "name", "status"),
    [
        (permuted, "shuffled", "failed"),
        (permuted, "zero_units", "failed"),
        (times(-1.0), "shuffled", "failed"),
        (times(-1.0), "sign_flip", "failed"),
        (times(-1.0), "zero_units", "passed"),
        (alike, "sign_flip", "failed"),
        (alike, "shuffled", "silent"),
        (worded, "rewording", "failed"),
        (worded, "zero_units", "failed"),
        (worded, "shuffled", "failed"),
        (placed, "zero_units", "failed"),
        (placed, "rewording", "passed"),
        (noisy(1.0), "noise_floor", "failed"),
        (noisy(0.01), "noise_floor", "passed"),
        (noisy(0.01), "zero_units", "passed"),
        (noisy(3.0), "zero_units", "undecided"),
        (times(0.0), "shuffled", "silent"),
        (times(0.0), "zero_units", "silent"),
        (times(0.0), "sign_flip", "silent"),
        (times(0.0), "noise_floor", "silent"),
        (times(0.0), "rewording", "silent"),
    ],
)  # fmt: skip
def test_broken_credit_fails_what_looks_for_it(change: Change, name: str, status: str) -> None:
    found = tried(change, [name], size=256 if change is permuted else 64)[name]
    assert found.status == status, (found.outcome, found.numbers)
    assert found.passed == {"passed": True, "failed": False}.get(status)


def test_credit_wrong_by_place_and_wrong_by_action_are_told_apart() -> None:
    by_place, by_action = (tried(change, ["zero_units"])["zero_units"] for change in (placed, worded))
    assert "moves no gradient" in by_place.outcome
    assert "moves the policy" in by_action.outcome


def test_shuffled_credit_better_than_the_real_one_is_said() -> None:
    assert "better" in tried(times(-1.0), ["shuffled"])["shuffled"].outcome
    assert "It helps" in tried(times(-1.0), ["sign_flip"])["sign_flip"].outcome


def test_the_mean_over_shuffles_is_the_mean_of_many_shuffles() -> None:
    """The exact mean stands for any number of draws: four hundred come within their error of it."""
    from apportion.bench.falsifiers.shuffled import shuffled

    [outcome] = Scene(entrants()["exact"], find(TURNS), size=32).batches[:1]
    star = Scene(entrants()["exact"], find(TURNS)).star
    row = choices(outcome.rollouts.task, outcome.credit.batch).row
    rng, drawn = np.random.default_rng(0), []
    for _ in range(400):
        other = told(outcome, outcome.credit.unit[np.lexsort((rng.random(row.size), row))])
        drawn.append(float((gradient(other, other.credit.token) * star).sum()))
    mean = float((gradient(outcome, shuffled(outcome)[0]) * star).sum())
    assert abs(np.mean(drawn) - mean) < 4 * np.std(drawn) / 20
    assert np.std(drawn) > 0


def test_ties_at_the_limit_turn_in_equal_part() -> None:
    from apportion.bench.falsifiers.sign_flip import TOP, flipped

    [outcome] = Scene(entrants()["exact"], find(TURNS), size=32, change=alike).batches[:1]
    here = outcome.credit.batch.action
    assert flipped(outcome)[here] == pytest.approx(1.0 - 2.0 * TOP)
    ranked = told(outcome, np.arange(1.0, outcome.credit.unit.size + 1))
    turned = flipped(ranked)[blocks(ranked)[0][:, 0]]
    assert (turned < 0).sum() == round(TOP * turned.size)
    assert (np.abs(turned) == ranked.credit.unit).all()
    assert turned[turned < 0].max() < -turned.size * (1 - TOP)


@pytest.mark.parametrize(
    ("contrast", "status", "says"),
    [
        ((0.6, -0.2), "passed", "It knows"),
        ((0.0, 0.0), "passed", "no sign"),
        ((0.6, 0.6), "failed", "wrong in one"),
        ((-0.2, -0.2), "failed", "wrong in one"),
        ((0.0, 0.1), "failed", "wrong in one"),
        ((0.5, 0.0), "passed", "does not claim"),
    ],
)  # fmt: skip
def test_witness_asks_who_claims_to_know(contrast: tuple[float, float], status: str, says: str) -> None:
    def say(outcome: Outcome) -> Outcome:
        at = choices(outcome.rollouts.task, outcome.credit.batch)
        action = situation(outcome.rollouts, outcome.credit.batch)[3]
        world = outcome.rollouts.task.definition.get("world")
        size = {"plus": contrast[0], "minus": contrast[1]}.get(str(world), 0.0)
        noise = 0.01 * (frozen_uniform(at.row, at.time, np.int64(outcome.rollouts.actions.sum())) - 0.5)
        return told(outcome, (at.time == 0) * (action - 0.5) * size + noise)

    found = tried(say, ["witness"])["witness"]
    assert (found.status, says in found.outcome) == (status, True), found.outcome


def test_leaving_the_deciding_unit_out_is_an_honest_answer() -> None:
    def out(outcome: Outcome) -> Outcome:
        at, keep = choices(outcome.rollouts.task, outcome.credit.batch), np.ones(outcome.credit.batch.n_tokens, dtype=np.bool_)
        keep[blocks(outcome)[0][at.time == 0]] = False
        return Outcome(outcome.first, outcome.rollouts, outcome.sampled, outcome.credit.with_fields(keep=keep))

    found = tried(out, ["witness"], entrant="rloo")["witness"]
    assert found.passed
    assert "out of the loss" in found.outcome


def test_methods_of_teams_meet_the_pair_as_a_team_and_steps_cannot() -> None:
    assert run("dr_mas", ["witness"], rollouts=768)[0].status == "failed"
    found = run("hicra", ["witness"], rollouts=768)[0]
    assert (found.status, found.passed) == ("cannot run", None)
    assert "steps of one answer" in found.outcome


def test_a_method_that_refuses_the_task_cannot_run_and_says_why() -> None:
    found = tried(None, ["sign_flip"], entrant="carl", task="reasoning/steps-10")["sign_flip"]
    assert found.status == "cannot run"
    assert "layout" in found.outcome or "steps" in found.outcome, found.outcome


def test_other_words_keep_which_actions_begin_alike() -> None:
    task = find("reasoning/long-steps")
    new = other_words(task, 0)
    assert not np.isin(new, task.words).any()
    for j in range(task.words.shape[1]):
        assert ((new[:, None, j] == new[None, :, j]) == (task.words[:, None, j] == task.words[None, :, j])).all()


def test_units_are_the_choices_with_an_opinion() -> None:
    [outcome] = Scene(entrants()["exact"], find(TURNS), size=32).batches[:1]
    u = units(outcome)
    assert u.credit.size == 32 * 10
    assert (np.abs(u.credit) > 1e-9).sum() <= u.matters.sum() < u.credit.size
    scored = np.arange(320) % 2 == 0
    half = Outcome(outcome.first, outcome.rollouts, outcome.sampled, outcome.credit.with_fields(scored=scored))
    assert units(half).credit == pytest.approx(u.credit[::2])


def test_names_that_do_not_exist_are_refused_with_the_nearest() -> None:
    with pytest.raises(BenchError, match="no falsifier 'shufled'; did you mean shuffled"):
        run("rloo", ["shufled"])
    with pytest.raises(BenchError, match="no method 'gigop'; did you mean gigpo"):
        run("gigop")
    with pytest.raises(BenchError, match="at least 384"):
        run("rloo", rollouts=100)
    with pytest.raises(BenchError, match="at most 10000000"):
        run("rloo", rollouts=10**20)
    with pytest.raises(BenchError, match="k = : expected a number"):
        run("vineppo@k=")
    with pytest.raises(BenchError, match="share = maybe: expected true or false"):
        run("vineppo@share=maybe")
    with pytest.raises(BenchError, match="seed = -1"):
        run("rloo", seed=-1)
    with pytest.raises(BenchError, match="tabular tasks only"):
        run("hcapo-model")


def test_a_method_stands_by_its_entrant_that_sees_no_truth() -> None:
    assert scene_of("igpo").entrant.id == "igpo-fit"
    assert scene_of("pure").entrant.id == "pure"
    assert scene_of("int").entrant.id == "int-blame80"
    assert scene_of("vineppo@k=16").entrant.options["k"] == 16
    assert scene_of("spro").task.id.endswith("@50")


def test_a_model_that_scores_before_it_learns_is_not_tried_on_its_first_batch() -> None:
    """On one batch it is still the reference: its rewards would say how to undo what the policy has learned."""
    scene = scene_of("istar")
    assert scene.entrant.id == "istar-before"
    assert scene_of("istar-first").entrant.id == "istar-first"


def test_what_is_asked_of_every_state_by_itself_does_not_claim_to_know() -> None:
    """Values of equal texts, shared, are of states that differ in what no text shows; the verdict says so."""
    [shared] = run("vineppo", ["witness"], rollouts=1536)
    [alone] = run("vineppo@share=false", ["witness"], rollouts=1536)
    assert (shared.status, alone.status) == ("failed", "passed")
    assert "vineppo@share=false" in shared.outcome
    assert "restored" not in run("rloo", ["witness"], rollouts=768)[0].outcome


def test_a_failed_rewording_says_where_texts_share_weights() -> None:
    from apportion.bench.falsifiers.rewording import _hashed

    assert "256 buckets" in _hashed(entrants()["acpo-fit"])
    assert "acpo-fit@buckets=2048" in _hashed(entrants()["acpo-fit"])
    assert not _hashed(entrants()["rloo"])


def test_the_same_seed_gives_the_same_verdicts() -> None:
    assert run("gae", ["noise_floor"], rollouts=768, seed=1) == run("gae", ["noise_floor"], rollouts=768, seed=1)
    assert run("gae", ["noise_floor"], rollouts=768, seed=1) != run("gae", ["noise_floor"], rollouts=768, seed=2)


def test_replica_noise_is_the_deviation_of_one_credit() -> None:
    found = tried(noisy(0.1), ["noise_floor"])["noise_floor"]
    assert {n.what: n.value for n in found.numbers}["replica noise, standard deviation"] == pytest.approx(0.1, rel=0.05)


def test_replicas_draw_anew_what_is_asked_for_the_same_rollouts() -> None:
    from apportion.bench.falsifiers.replicas import matched

    scene = Scene(entrants()["vineppo"], find(TURNS), size=32)
    one, other = scene.batches[0], scene.replicas[0]
    assert (one.first.actions == other.first.actions).all()
    before, after, _ = matched(one, other)
    assert before.size == 320
    assert np.abs(before - after).max() > 0.1
    again = Scene(entrants()["vineppo"], find(TURNS), size=32).batches[0]
    assert (matched(one, again)[0] == matched(one, again)[1]).all()


def test_what_a_method_sampled_itself_has_no_twin() -> None:
    from apportion.bench.falsifiers.replicas import matched

    scene = Scene(entrants()["carl"], find(TURNS), size=64)
    one, other = scene.batches[0], scene.replicas[0]
    own = units(one).row < one.first.prompt.size
    assert 0 < own.sum() < own.size
    assert 0 < matched(one, other)[0].size <= own.sum()
    assert matched(one, one)[0].size == own.sum()


def test_what_replicas_change_is_not_held_against_the_wording() -> None:
    assert tried(noisy(1.0), ["rewording"])["rewording"].status != "failed"


def test_credit_alike_everywhere_has_no_effect_and_nothing_to_shuffle() -> None:
    found = tried(alike, ["noise_floor", "shuffled"])
    assert found["noise_floor"].passed is None
    assert "constant within rollouts" in found["shuffled"].outcome
