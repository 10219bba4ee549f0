"""InT: the card's example, what is cloned and what is dropped, credit derived at the fork, and the simulated editor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.bench.editors import SimulatedEditor
from apportion.bench.entrants import entrants, run_entrant
from apportion.bench.layouts import to_batch
from apportion.bench.oracle import oracle, truth
from apportion.bench.tasks import find
from apportion.bench.world import Rollouts, roll
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.evidence import Asked, Bill, Editor, Intervention, Sampler
from apportion.methods.int_ import collect

from .fakes import FakeSampler

NAN = np.nan


def _int(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "int", **options)
    assert isinstance(credit, Credit)
    return credit


@dataclass
class Scripted(FakeSampler):
    """An editor with prepared answers: steps, leaks, and what continuations of edits and of originals earn."""

    steps: Sequence[float] = ()
    leaks: Sequence[bool] = ()
    mended: Sequence[Sequence[float]] = ()
    before: Sequence[Sequence[float]] = ()
    extra: int = 0

    def intervene(self, batch: Batch, rng: np.random.Generator) -> Intervention:
        self.asked.append(("trajectory", [int(str(name)[1:]) for name in batch.trajectory.to_list()]))
        step = np.array(self.steps, dtype=float)
        edited = [[1] * int(t) + [4] + [9] * self.extra for t in step[step >= 0]]
        names = [f"e{i}" for i in range(len(edited))]
        made = Batch.from_turns([[sum(x)] for x in edited], steps=edited, trajectory=names) if edited else None
        leaks = np.array(self.leaks or [False] * step.size)
        return Intervention(step, made, leaks, Bill(scored=7.0, generated=4.0))

    def continuations(self, batch: Batch, prefixes: Any, k: int, rng: Any, *, axis: Any = "prefix") -> Asked:
        self.asked.append((axis, prefixes.tolist()))
        answers = self.mended if str(batch.trajectory.name(0)).startswith("e") else self.before
        return Asked(np.array(answers, dtype=float).reshape(prefixes.size, k), Bill(generated=100.0 * prefixes.size))


def _failed(n: int = 1) -> Batch:
    return Batch.from_turns([[14]] * n, steps=[[3, 2, 4, 5]] * n, outcome=[0.0] * n, trajectory=[f"t{i}" for i in range(n)])


# --- recorded edits -----------------------------------------------------------------------------------


def test_worked_example_of_the_card() -> None:
    edited = Batch.from_turns([[9]], steps=[[3, 2, 4]])
    credit = _int(edited, error_step=[2.0])
    assert credit.kind == "weight"
    assert_array_equal(credit.token, np.ones(9))
    logp = np.array([-0.1, -0.2, -0.1, -0.3, -0.1, -1.0, -0.5, -0.8, -0.7])
    assert_allclose([-(credit.token * logp).sum(), -(credit.token * logp)[credit.kept].mean()], [3.8, 0.4222], atol=5e-5)
    assert credit.loss.denominator == "trajectory"

    scripted = Scripted(steps=[2], mended=[[0, 1, 0, 0]], before=[[0, 0, 0, 0]])
    blame = _int(_failed(), sampler=scripted, form="blame", k=4, rng=0)
    assert_allclose(blame.unit, [0, 0, -0.25, 0])
    assert blame.kind == "advantage"
    assert blame.scored is not None
    assert_array_equal(blame.scored, [True, True, True, False])  # what follows is no fault of its own
    assert_array_equal(blame.kept, [True] * 9 + [False] * 5)
    praise = _int(_failed(), sampler=scripted, form="praise", k=4, rng=0)
    assert_allclose(praise.unit, [0, 0, 0.25])
    assert praise.batch.n_steps == 3


def test_only_the_prefix_and_the_correction_are_cloned_and_nothing_after() -> None:
    edited = Batch.from_turns([[14], [3], [2]], steps=[[3, 2, 4, 5], [1, 2], [2]])
    credit = _int(edited, error_step=[2.0, -1.0, NAN])
    assert_array_equal(credit.unit, [1, 1, 1, 0, 0, 0, 0])
    assert credit.token.sum() == credit.kept.sum() == 9
    assert_array_equal(np.asarray(credit.scored), [True] * 3 + [False] * 4)
    assert credit.diagnostics == {"items": 1.0}


def test_a_wrong_first_step_has_no_prefix_and_without_steps_a_step_is_a_turn() -> None:
    first = _int(Batch.from_turns([[5]], steps=[[2, 3]]), error_step=[0.0])
    assert_array_equal(first.kept, [True, True, False, False, False])
    turns = _int(Batch.from_turns([[2, 3, 1]], action=[True, False, True, True, True, True]), error_step=[1.0])
    assert_array_equal(turns.token, [1, 0, 1, 1, 1, 0])


def test_gain_keeps_its_sign_and_a_null_drops_the_rollout() -> None:
    batch = Batch.from_turns([[2], [2], [2]], steps=[[1, 1]] * 3)
    given: dict[str, Any] = {"error_step": [1.0, 0.0, 1.0], "gain": [-0.5, 0.25, NAN]}
    blame, praise = (_int(batch, form=form, **given) for form in ("blame", "praise"))
    assert_allclose(blame.unit, [0, 0.5, -0.25, 0, 0, 0])
    assert_allclose(praise.unit, -blame.unit)
    assert_array_equal(blame.kept, [True, True, True, False, False, False])
    assert blame.diagnostics == {"items": 2.0}
    with pytest.raises(MissingColumn, match="gain="):
        _int(batch, form="blame", error_step=[1.0, 0.0, 1.0])
    assert _int(batch, error_step=[1.0, 0.0, 1.0]).kept.sum() == 5  # cloning needs no gain


@pytest.mark.parametrize("bad", [2.0, 0.5, -2.0])
def test_an_index_that_is_no_step_is_refused_by_name(bad: float) -> None:
    batch = Batch.from_turns([[2], [2]], steps=[[1, 1]] * 2)
    with pytest.raises(OptionError, match=r"'error_step'\[1\] = .*0 to 1, -1"):
        _int(batch, error_step=[0.0, bad])


# --- asking an editor -----------------------------------------------------------------------------------


def test_what_is_dropped_is_counted_and_only_failures_are_shown() -> None:
    batch = Batch.from_turns(
        [[14]] * 8, steps=[[3, 2, 4, 5]] * 8, outcome=[1.0, 0, 0, 0, 0, 0, 0, 0], trajectory=[f"t{i}" for i in range(8)]
    )
    # no error, no answer, no such step, half a step, leaks, no use, kept
    scripted = Scripted(steps=[-1, NAN, 4, 1.5, 1, 2, 3], leaks=[False] * 4 + [True, False, False], mended=[[0, NAN], [0, 1]])
    evidence = collect(batch, scripted, k=2, rng=np.random.default_rng(0))
    assert scripted.asked[0] == ("trajectory", list(range(1, 8)))
    assert evidence.diagnostics == {
        "failed": 7, "unfound": 1, "unreadable": 3, "leaked": 1, "unhelpful": 1, "kept": 1
    }  # fmt: skip
    assert evidence.batch is not None
    assert evidence.batch.n_trajectories == 5  # every edit that was written
    assert_array_equal(evidence.arrays["error_step"], [NAN, NAN, NAN, NAN, 3])
    # asked after the corrected step of the two sound edits: 5, 2, 2, 3 and 4 steps, and a prefix more each
    assert scripted.asked[1] == ("step_prefix", [6 + 3 + 3 + 3, 6 + 3 + 3 + 4 + 4])
    assert evidence.bill == Bill(scored=7.0, generated=204.0)
    assert evidence.provenance == "privileged"
    credit = _int(batch, sampler=scripted, k=2, rng=0)
    assert credit.token[credit.kept].sum() == credit.kept.sum() == 3 + 4
    assert credit.diagnostics["kept"] == credit.diagnostics["items"] == 1
    assert credit.bill == evidence.bill


def test_blame_is_keyed_to_the_rollouts_as_they_were() -> None:
    batch = Batch.from_turns(
        [[14]] * 4, steps=[[3, 2, 4, 5]] * 4, outcome=[0, 1, 0, 0], trajectory=[f"t{i}" for i in range(4)], ids=np.arange(56)
    )
    scripted = Scripted(steps=[1, -1, 0], mended=[[1, 1], [1, 0]], before=[[0, 1], [1, 1]])
    evidence = collect(batch, scripted, form="blame", k=2, rng=np.random.default_rng(0))
    assert evidence.batch is None
    assert_array_equal(evidence.arrays["error_step"], [1, NAN, -1, 0])
    assert_array_equal(evidence.arrays["gain"], [0.5, NAN, NAN, -0.5])
    assert scripted.asked[2] == ("step_prefix", [2, 2 * 5 + 1])  # among the three that failed
    credit = _int(batch, sampler=scripted, form="blame", k=2, rng=0)
    assert credit.batch is batch
    assert_allclose(credit.unit, [0, -0.5, 0, 0, *[0] * 8, 0.5, 0, 0, 0])


def test_after_a_last_step_the_original_s_reward_is_known() -> None:
    batch = _failed(2)
    scripted = Scripted(steps=[3, 1], mended=[[1, 1], [1, 0]], before=[[0, 1]])
    evidence = collect(batch, scripted, form="blame", k=2, rng=np.random.default_rng(0))
    assert_array_equal(evidence.arrays["gain"], [1.0, 0.0])
    assert scripted.asked[2] == ("step_prefix", [5 + 2])
    lone = Scripted(steps=[3], mended=[[1, 1]])
    assert_allclose(_int(_failed(), sampler=lone, form="blame", k=2, rng=0).unit, [0, 0, 0, -1])


def test_without_the_filter_every_sound_edit_is_cloned_for_free() -> None:
    scripted = Scripted(steps=[2, 0])
    evidence = collect(_failed(2), scripted, filtered=False, rng=np.random.default_rng(0))
    assert_array_equal(evidence.arrays["error_step"], [2, 0])
    assert evidence.bill == Bill(scored=7.0, generated=4.0)
    useless = Scripted(steps=[2], mended=[[0, 0]], before=[[0, 1]])
    assert_allclose(_int(_failed(), sampler=useless, filtered=False, form="blame", k=2, rng=0).unit, [0, 0, 0.5, 0])
    assert not _int(_failed(), sampler=useless, form="blame", k=2, rng=0).kept.any()


def test_a_threshold_says_what_a_useful_continuation_is() -> None:
    for above, kept in ((0.0, 1.0), (0.5, 0.0)):
        scripted = Scripted(steps=[2], mended=[[0, 0.5]])
        assert collect(_failed(), scripted, k=2, above=above, rng=np.random.default_rng(0)).diagnostics["kept"] == kept


def test_steps_written_after_the_correction_are_not_cloned() -> None:
    credit = _int(_failed(), sampler=Scripted(steps=[2], mended=[[1]], extra=1), k=1, rng=0)
    assert_array_equal(credit.unit, [1, 1, 1, 0])


@pytest.mark.parametrize("form", ["clone", "blame", "praise"])
def test_where_nothing_failed_or_nothing_was_edited_nothing_is_trained(form: Any) -> None:
    solved = Batch.from_turns([[2]], steps=[[1, 1]], outcome=[1.0])
    credit = _int(solved, sampler=Scripted(), form=form, rng=0)
    assert not credit.kept.any()
    assert credit.diagnostics["failed"] == 0
    assert credit.bill == Bill()
    none = _int(_failed(), sampler=Scripted(steps=[-1]), form=form, rng=0)
    assert not none.kept.any()
    assert none.diagnostics["unfound"] == 1


def test_an_editor_s_answer_that_does_not_fit_is_refused() -> None:
    class Short(Scripted):
        def intervene(self, batch: Batch, rng: np.random.Generator) -> Intervention:
            made = super().intervene(batch, rng)
            return Intervention(made.step + 1, made.edited, made.leaks, made.bill)

    class Missing(Scripted):
        def intervene(self, batch: Batch, rng: np.random.Generator) -> Intervention:
            made = super().intervene(batch, rng)
            return Intervention(made.step, None, made.leaks, made.bill)

    with pytest.raises(BatchError, match="ends before its corrected step 2"):
        _int(_failed(), sampler=Short(steps=[1]), rng=0)
    with pytest.raises(BatchError, match="0 edited trajectories, expected 1"):
        _int(_failed(), sampler=Missing(steps=[1]), rng=0)
    with pytest.raises(OptionError, match="step has shape"):
        _int(_failed(), sampler=Scripted(steps=[1, 1]), rng=0)
    with pytest.raises(OptionError, match="leaks has shape"):
        _int(_failed(), sampler=Scripted(steps=[1], leaks=[False, True]), rng=0)
    with pytest.raises(OptionError, match="k = 0"):
        _int(_failed(), sampler=Scripted(steps=[1]), k=0)


def test_a_sampler_that_cannot_edit_is_refused() -> None:
    class Plain:
        provenance = "exact_restore"

        def continuations(self, *_: Any, **__: Any) -> Any: ...

        def branch(self, *_: Any, **__: Any) -> Any: ...

    assert isinstance(Plain(), Sampler)
    assert not isinstance(Plain(), Editor)
    with pytest.raises(OptionError, match="Plain, which has no intervene"):
        _int(_failed(), sampler=Plain())


# --- the simulated editor ---------------------------------------------------------------------------------

TASK = find("reasoning/steps-10")


def _rollouts(n: int = 8) -> tuple[Rollouts, Batch]:
    rollouts = roll(TASK, TASK.start_theta, n, 8, np.random.default_rng(0))
    return rollouts, to_batch(rollouts)


def test_a_right_editor_names_the_step_that_cost_most_and_writes_the_best_one() -> None:
    rollouts, batch = _rollouts()
    made = SimulatedEditor(rollouts).intervene(batch, np.random.default_rng(1))
    with oracle():
        solved = truth(TASK, rollouts.theta)
        T = TASK.horizon
        prompt, time, state = rollouts.prompt[:, None], np.arange(T), rollouts.states[:, :-1]
        fall = -solved.A[prompt, time, state, rollouts.actions]
        q = solved.seen[prompt, time, state]
    found = made.step >= 0
    assert 0.5 < found.mean() < 1
    assert_array_equal(made.step[found], fall.argmax(axis=1)[found])
    assert (fall[~found].max(axis=1) <= 1e-9).all()
    assert made.edited is not None
    assert made.edited.n_trajectories == found.sum()
    width = batch.n_tokens // batch.n_steps
    written = made.edited.need("ids")
    at = 0
    for i in np.flatnonzero(found):
        t = int(made.step[i])
        same = batch.need("ids")[i * T * width : (i * T + t) * width]
        assert_array_equal(written[at : at + t * width], same)  # the steps before it
        words = written[at + t * width + 1 : at + t * width + 1 + TASK.words.shape[1]]
        assert_array_equal(words, TASK.words[q[i, t].argmax()])
        at += (t + 1) * width
    assert at == written.size
    assert made.bill.scored == batch.n_tokens


def test_continuations_of_an_edit_go_on_from_where_it_led() -> None:
    rollouts, batch = _rollouts()
    editor = SimulatedEditor(rollouts)
    made = editor.intervene(batch, np.random.default_rng(1))
    assert made.edited is not None
    ends = made.edited.step_prefix_offsets[1:] - 1
    after = editor.continuations(made.edited, ends, 400, np.random.default_rng(2), axis="step_prefix").values.mean(axis=1)
    with oracle():
        q = truth(TASK, rollouts.theta).Q
    found = np.flatnonzero(made.step >= 0)
    t = made.step[found].astype(int)
    here = q[rollouts.prompt[found], t, rollouts.states[found, t]]
    assert_allclose(after, here.max(axis=1), atol=0.12)  # the best action's value
    assert editor.rollouts is rollouts  # edits are no rollouts of the policy


def test_a_misreading_editor_names_other_steps_the_same_ones_every_time() -> None:
    rollouts, batch = _rollouts(40)
    right, wrong = (SimulatedEditor(rollouts, accuracy=a) for a in (1.0, 0.8))
    first, again = (wrong.intervene(batch, np.random.default_rng(s)).step for s in (1, 2))
    assert_array_equal(first, again)
    truthful = right.intervene(batch, np.random.default_rng(1)).step
    found = truthful >= 0
    assert abs((first == truthful)[found].mean() - 0.8) < 0.1
    assert_array_equal(first < 0, truthful < 0)
    blind = SimulatedEditor(rollouts, accuracy=0.0).intervene(batch, np.random.default_rng(1))
    assert (blind.step != truthful)[found].all()  # never right by accident
    assert blind.edited is not None
    width, at = batch.n_tokens // batch.n_steps, blind.step[found].astype(int)
    last = blind.edited.offsets("trajectory")[1:] - width + 1  # the words of the corrected step …
    first = (np.flatnonzero(found) * TASK.horizon + at) * width + 1  # … and of the original one
    L = np.arange(TASK.words.shape[1])
    written, done = blind.edited.need("ids")[last[:, None] + L], batch.need("ids")[first[:, None] + L]
    assert (written != done).any(axis=1).all()
    mute = SimulatedEditor(rollouts, unreadable=1.0).intervene(batch, np.random.default_rng(1))
    assert np.isnan(mute.step).all()
    assert mute.edited is None
    with pytest.raises(OptionError, match="accuracy"):
        SimulatedEditor(rollouts, accuracy=1.5)
    with pytest.raises(OptionError, match="layout"):
        SimulatedEditor(roll(find("team/two"), find("team/two").start_theta, 2, 2, np.random.default_rng(0)))


def test_a_corrected_last_step_leaks() -> None:
    rollouts, batch = _rollouts(40)
    made = SimulatedEditor(rollouts, accuracy=0.0).intervene(batch, np.random.default_rng(1))
    assert_array_equal(made.leaks[made.step >= 0], (made.step == TASK.horizon - 1)[made.step >= 0])
    assert made.leaks.any()


def test_blame_finds_forks_of_failures_and_is_an_oracle_s_row() -> None:
    entrant = entrants()["int-blame"]
    assert entrant.oracle
    assert entrant.paid
    outcome = run_entrant(entrant, TASK, TASK.start_theta, 16, 8, np.random.default_rng(0), np.random.default_rng(1))
    credit = outcome.credit
    forks = TASK.fork[outcome.rollouts.prompt].ravel()
    blamed = credit.unit < 0
    assert blamed.sum() > 20
    assert forks[blamed].all()
    assert credit.evidence["gain"]["provenance"] == "oracle"
    cloned = assign(outcome.sampled, "int", sampler=SimulatedEditor(outcome.first), k=8, rng=0)
    assert isinstance(cloned, Credit)
    assert cloned.kind == "weight"
    assert cloned.diagnostics["items"] > 20
