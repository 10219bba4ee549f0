"""Training on part of what was written: does the policy's entropy find the part that matters?"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from ..bifurcation import bifurcation
from ..entrants import entrants, run_entrant
from ..gradient import update
from ..layouts import choices, situation
from ..oracle import oracle, truth
from ..tabular import Bool, Task
from .finding import Claim, Finding, Number, over_seeds
from .gradients import cleaner, log_worth

Rule = Literal["all", "entropy", "chance"]

#: Share of the choices that is trained on: CARL reports 72 % fewer.
SHARE = 0.28
BATCH, REPLICATES = 128, 40
#: Openness of routine choices and of forks (1: open, 0: nearly certain).
SETTINGS = ((0.3, 1.0, "unsure where it matters"), (1.0, 0.3, "sure where it matters"))


def task_of(routine: float, fork: float, what: str) -> Task:
    """Three forks in 20 turns, with the policy's entropy where it matters or elsewhere."""
    return bifurcation(
        f"claims/{what.split()[0]}", horizon=20, routine_entropy=routine, fork_entropy=fork, title=f"the policy is {what}"
    )


def worths(task: Task, seed: int) -> dict[Rule, float]:
    """Noise-to-signal of RLOO's whole update over that of RLOO kept to a part of the choices, at equal batches.

    entropy: the contexts at which the policy's exact entropy is highest, as many as make up ``SHARE`` of what it visits;
    chance: a coin for every choice. Both leave RLOO's mean known exactly, so that only E|g|^2 is sampled.
    """
    theta, unsure = task.start_theta, unsure_contexts(task)
    with oracle():
        solved = truth(task, theta)
        star = solved.gradient
        pull = solved.d[:, :-1, :, None] * task.policy(theta)[task.context] * solved.latent / task.prompts
    part = np.zeros((task.contexts, task.actions))
    np.add.at(part, task.context, pull * unsure[task.context][..., None])
    truth2 = float((star**2).sum())
    inner: dict[Rule, float] = {
        "all": truth2, "entropy": float((task.pull_back(theta, part) * star).sum()), "chance": SHARE * truth2,
    }  # fmt: skip
    norm2: dict[Rule, float] = dict.fromkeys(inner, 0.0)
    for r in range(REPLICATES):
        coin = np.random.default_rng([seed, r, 2])
        streams = np.random.default_rng([seed, r]), np.random.default_rng([seed, r, 1])
        outcome = run_entrant(entrants()["rloo"], task, theta, BATCH // 8, 8, *streams)
        rollouts, credit = outcome.rollouts, outcome.credit
        prompt, time, state, _ = situation(rollouts, credit.batch)
        chosen: dict[Rule, Bool] = {
            "all": np.ones(prompt.size, dtype=np.bool_), "entropy": unsure[task.context[prompt, time, state]],
            "chance": coin.random(prompt.size) < SHARE,
        }  # fmt: skip
        turn = credit.batch.within("token", choices(task, credit.batch).level)
        for rule, keep in chosen.items():
            g = update(rollouts, replace(credit, keep=credit.kept & keep[turn]))
            norm2[rule] += float((g**2).sum()) / REPLICATES
    noise = {rule: max(norm2[rule] * truth2 / inner[rule] ** 2 - 1.0, 1e-9) if inner[rule] > 0 else np.inf for rule in inner}
    return {rule: float(noise["all"] / n) for rule, n in noise.items()}


def unsure_contexts(task: Task) -> Bool:
    """The contexts of highest entropy that hold at least ``SHARE`` of the choices that the starting policy makes, (C,)."""
    pi = task.policy(task.start_theta)
    entropy = -(pi * np.log(np.maximum(pi, 1e-300))).sum(axis=1)
    with oracle():
        d = truth(task, task.start_theta).d[:, :-1]
    visits = np.bincount(task.context.ravel(), weights=d.ravel(), minlength=task.contexts)
    order = np.argsort(-entropy, kind="stable")
    before = np.cumsum(visits[order]) - visits[order]
    chosen = np.zeros(task.contexts, dtype=np.bool_)
    chosen[order[before < SHARE * visits.sum()]] = True
    return chosen


def forks_found(task: Task, seed: int) -> float:
    """Share of forks among the choices that CARL trains on."""
    streams = np.random.default_rng([seed, 3]), np.random.default_rng([seed, 4])
    outcome = run_entrant(entrants()["carl"], task, task.start_theta, BATCH // 8, 8, *streams)
    batch = outcome.credit.batch
    at = choices(task, batch)
    kept = np.bincount(batch.within("token", at.level), weights=outcome.credit.kept, minlength=at.row.size) > 0
    return float(task.fork[outcome.rollouts.prompt[at.row], at.time][kept].mean())


def entropy(seeds: int) -> Finding:
    numbers: list[Number] = []
    for routine, fork, what in SETTINGS:
        task = task_of(routine, fork, what)
        found = [worths(task, s) for s in range(seeds)]
        for rule, part in (("entropy", "the most unsure"), ("chance", "any")):
            logs = [float(np.log(max(f[rule], 1e-3))) for f in found]  # type: ignore[index]
            numbers.append(over_seeds(f"log of what RLOO kept to {part} 28 % is worth in whole RLOO's, policy {what}", logs))
        numbers.append(
            over_seeds(f"share of forks in what CARL trains on, policy {what}", [forks_found(task, s) for s in range(seeds)])
        )
        numbers.append(log_worth(f"CARL's update, policy {what},", "carl", task, seeds))
    aligned, misaligned = numbers[0], numbers[4]
    return cleaner(aligned, misaligned, numbers, "the policy is unsure where it matters, and sure elsewhere")


CLAIMS = (
    Claim(
        "entropy-finds-what-matters",
        "Training only on the choices at which the policy is unsure gives cleaner updates.",
        "CARL (2512.04949), its premise",
        entropy,
        "Three forks in 20 turns, the policy unsure at forks and sure elsewhere, and the other way round: RLOO's update kept to "
        "the 28 % of choices with the highest entropy (CARL's 72 % fewer), or to as many at random, against the whole; beside "
        "it CARL itself. The verdict is that of the premise; a gain that is surely less than a quarter (.223 in logs) is none",
    ),
)
