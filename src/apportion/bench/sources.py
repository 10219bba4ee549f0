"""Simulated sources that look at the truth: every row that asks one is labelled oracle.

Their errors are frozen per text: the same text is misjudged the same way every time it is shown,
because errors drawn anew average away and flatter whoever asks often.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..batch import Batch, Spans
from ..credit import Credit
from ..errors import OptionError
from ..evidence import Asked, Bill, Rubric
from ..words import Axis, Provenance
from .layouts import choices, level, place, rows_of, situation
from .oracle import oracle, truth
from .tabular import TURN, Float, Int
from .world import Rollouts

#: Share of the texts of routine choices that are vivid.
VIVID = 0.25


def exact_credit(rollouts: Rollouts, batch: Batch) -> Credit:
    """The exact advantage A(h, a) of every choice, given what the policy saw."""
    with oracle():
        table = truth(rollouts.task, rollouts.theta).A
    return Credit.of(batch, level(rollouts.task), table[situation(rollouts, batch)], method="exact")


def fork_spans(rollouts: Rollouts, batch: Batch) -> Spans:
    """The words of every choice that matters: what a perfect eye for planning would mark."""
    at = choices(rollouts.task, batch)
    fork = rollouts.task.fork[rollouts.prompt[at.row], at.time]
    return Spans(at.first[fork], at.first[fork] + rollouts.task.words.shape[1])


def solutions(rollouts: Rollouts, batch: Batch) -> list[list[int]]:
    """What is known in training only, as token ids per trajectory: the best action at every fork of its prompt, in order.

    Each after the token that names its time. Best on average over the states there: it does not know where one will be.
    """
    task = rollouts.task
    with oracle():
        best = truth(task, rollouts.theta).Q.mean(axis=2).argmax(axis=2)
    texts: dict[int, list[int]] = {}
    for p in np.unique(rollouts.prompt).tolist():
        times = np.flatnonzero(task.fork[p])
        texts[p] = [w for t in times.tolist() for w in (TURN + t, *task.words[best[p, t]].tolist())]
    return [texts[p] for p in rollouts.prompt[rows_of(task, batch)].tolist()]


def frozen_uniform(*keys: Int) -> Float:
    """One number in [0, 1) per item, the same whenever the keys are the same."""
    shape = np.broadcast_shapes(*(np.shape(key) for key in keys))  # np.broadcast takes 32 arrays only (64 since numpy 2)
    z = np.zeros(shape, dtype=np.uint64)
    for key in keys:
        z = (z ^ np.asarray(key).astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    uniform: Float = (z >> np.uint64(11)).astype(np.float64) / 2.0**53
    return uniform


class SimulatedJudge:
    """A process reward 2 P(success | choice taken) - 1, or a rubric's levels, wrong with a declared frequency.

    With chance 1 - accuracy a text (the observation and the action) is misjudged for good: its
    score is that of another action in the same place. A rubric that asks for correctness is answered
    by where the choice's Q lies between the worst and the best there (the best where all are
    equal), one that asks for progress by P(success): the level nearest on their equal scale.
    Units coarser than choices get the mean of their choices. Of several units of a trajectory at the worst
    level, a rubric that allows one keeps it where the choice lost most; the others get the next level.

    independent: this share of the texts is judged anew at every asking, as a model that samples its
    critiques does: such errors average away in a vote, frozen ones do not. Above 0 it flatters whoever
    asks often, so a row that uses it says so.

    lure: how easily vivid writing takes the judge in. A share ``VIVID`` of the texts of routine choices is vivid (by hash
    of the text, the same for every judge and policy), and with this chance, frozen per text, the judge calls such
    a choice decisive: as good as a certain success or as bad as a certain failure, each for half of these texts. It models
    salience: a plan announced or a mistake bemoaned in words, where nothing was at stake. Texts at forks are read as ever,
    and ``accuracy`` by itself never misleads about a routine choice, since all actions there are worth the same.
    """

    provenance: Provenance = "oracle"

    def __init__(self, rollouts: Rollouts, accuracy: float = 1.0, independent: float = 0.0, lure: float = 0.0) -> None:
        for name, share in (("accuracy", accuracy), ("independent", independent), ("lure", lure)):
            if not 0 <= share <= 1:
                raise OptionError(f"{name} = {share}: expected a share between 0 and 1")
        self.rollouts, self.accuracy, self.independent, self.lure = rollouts, accuracy, independent, lure

    def score(self, batch: Batch, unit: Axis, rng: np.random.Generator, *, rubric: Rubric | None = None) -> Asked:
        task, made = self.rollouts.task, level(self.rollouts.task)
        with oracle():
            q = truth(task, self.rollouts.theta).seen
        prompt, time, state, action = situation(self.rollouts, batch)
        seen = task.observation[prompt, time, state]
        draw, which = frozen_uniform(seen, action), frozen_uniform(action, seen)
        if self.independent:
            anew = frozen_uniform(seen, action, np.int64(1)) < self.independent
            draw, which = (np.where(anew, rng.random(anew.size), x) for x in (draw, which))
        wrong = draw >= self.accuracy
        other = (action + 1 + (which * (task.actions - 1)).astype(np.int64)) % task.actions
        here, pick = q[prompt, time, state], np.where(wrong, other, action)
        chosen = here[np.arange(pick.size), pick]
        lost = here.max(axis=1) - chosen
        if rubric is not None and rubric.asks == "correctness":
            low, span = here.min(axis=1), np.ptp(here, axis=1)
            chosen = np.where(span > 1e-9, (chosen - low) / np.maximum(span, 1e-9), 1.0)
        if self.lure:
            vivid, taken_in, praised = (frozen_uniform(seen, action, np.int64(i)) for i in (2, 3, 4))
            lured = (vivid < VIVID) & (taken_in < self.lure) & ~task.fork[prompt, time]
            chosen, lost = np.where(lured, praised < 0.5, chosen), np.where(lured, praised >= 0.5, lost)
        if batch.count(unit) != chosen.size:
            owner = batch.within(made, unit)
            chosen, lost = (
                np.bincount(owner, weights=x, minlength=batch.count(unit)) / np.bincount(owner) for x in (chosen, lost)
            )
        if rubric is None:
            return Asked(2.0 * chosen - 1.0, Bill(judge_calls=float(chosen.size)))
        levels = np.asarray(rubric.levels)
        calls = batch.n_trajectories if rubric.one_call else chosen.size
        rank = np.rint(chosen * (levels.size - 1)).astype(np.int64)
        if rubric.at_most_one:
            worst = np.flatnonzero(rank == 0)
            of = batch.within(unit, "trajectory")[worst]
            worst = worst[np.lexsort((-lost[worst], of))]
            kept = np.unique(batch.within(unit, "trajectory")[worst], return_index=True)[1]
            rank[np.delete(worst, kept)] = 1
        return Asked(levels[rank], Bill(judge_calls=float(calls)))


class SimulatedPolicy:
    """What a policy says of its own tokens in hindsight, and of the right answer.

    ``logp`` is log pi(a | s, outcome): the exact conditional, mixed with the policy.

    skill 1 is the exact posterior pi(a | s) P(outcome | s, a) / P(outcome | s); skill 0 the policy
    itself. A turn's tokens share its change in proportion to their own log-probability, so that none
    becomes positive. A hindsight text that begins with "success" or "failure" says which outcome; any
    other stands for the trajectory's own. Scores every token of the batch once.

    ``answer_logp`` is log P(success | prefix), mixed with its mean over the batch in the same way.
    Both are wrong per text by ``noise``, a standard deviation in nats, frozen.
    """

    provenance: Provenance = "oracle"

    def __init__(self, rollouts: Rollouts, skill: float = 1.0, noise: float = 0.0) -> None:
        if not 0 <= skill <= 1:
            raise OptionError(f"skill = {skill}: expected a share between 0 and 1")
        if noise < 0:
            raise OptionError(f"noise = {noise}: expected a standard deviation of at least 0")
        self.rollouts, self.skill, self.noise = rollouts, skill, noise

    def logp(self, batch: Batch, rng: np.random.Generator, *, hindsight: Sequence[str | None] | None = None) -> Asked:
        base = batch.need("logp")
        bill = Bill(scored=float(batch.n_tokens))
        if hindsight is None:
            return Asked(base, bill)
        task = self.rollouts.task
        with oracle():
            solved = truth(task, self.rollouts.theta)
            q, pi = solved.seen, solved.pi
        prompt, time, state, action = situation(self.rollouts, batch)
        unit = choices(task, batch).level
        told = [(h or "").split(" ")[0] for h in hindsight]
        own = (batch.reward > 0).tolist()
        ended = np.asarray([{"success": True, "failure": False}.get(h, o) for h, o in zip(told, own, strict=True)])
        won = ended[batch.within(unit, "trajectory")]
        chance = np.where(won[:, None], q[prompt, time, state], 1.0 - q[prompt, time, state])
        prior = pi[task.context[prompt, time, state]]
        mixed = prior * ((1 - self.skill) + self.skill * chance / np.maximum((prior * chance).sum(1, keepdims=True), 1e-300))
        pick = np.arange(action.size)
        said = np.log(np.maximum(mixed[pick, action], 1e-300))
        if self.noise:  # wrong for good about a text and an outcome
            seen = task.observation[prompt, time, state]
            said = np.minimum(said + self.noise * np.sqrt(12.0) * (frozen_uniform(seen, action, won) - 0.5), 0.0)
        factor = said / np.minimum(np.log(prior[pick, action]), -1e-12)
        return Asked(np.where(batch.action, base * factor[batch.within("token", unit)], 0.0), bill)

    def answer_logp(self, batch: Batch, rng: np.random.Generator, *, axis: Axis = "prefix") -> Asked:
        r, task = self.rollouts, self.rollouts.task
        with oracle():
            value = truth(task, r.theta).V
        row, time = place(task, batch, axis)
        prompt, state = r.prompt[row], r.states[row, time]
        chance = np.clip(value[prompt, time, state], 1e-6, 1.0)
        mixed = (1 - self.skill) * chance.mean() + self.skill * chance
        seen = task.observation[prompt, time, state]
        error = self.noise * np.sqrt(12.0) * (frozen_uniform(seen, time) - 0.5)
        return Asked(np.minimum(np.log(mixed) + error, 0.0), Bill(scored=float(batch.n_tokens)))
