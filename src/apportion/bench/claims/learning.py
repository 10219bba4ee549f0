"""What becomes of training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..entrants import Entrant, entrants
from ..learning import train
from ..oracle import expected_return, optimum
from ..records import Cell
from ..settings import Settings
from ..tabular import Task
from ..tasks import find
from .finding import Claim, Finding, over_seeds, said

BATCH, LR, UPDATES = 128, 0.15, 60


def final(entrant: Entrant, task: Task, seed: int, batch: int = BATCH) -> float:
    """Share of the gain there is (for any policy) won after a set number of updates; below 0: worse than at the start."""
    settings = Settings()
    best, start = optimum(task), expected_return(task, task.start_theta)
    rules = settings.learning.model_copy(update={"target": 0.999})
    free = dict.fromkeys(settings.prices, 0.0) | {"trained": 1.0}  # what counts here is the number of updates
    settings = settings.model_copy(update={"learning": rules, "prices": free})
    tokens = task.words.shape[1] + (2 if task.layout == "steps" else 0)
    limit = float(UPDATES * batch * task.horizon * tokens)
    ended = train(Cell(entrant.id, task.id, seed, "learning"), task, entrant, settings, batch, LR, limit)
    return float((ended["final"] - start) / (best - start))


def hacking(seeds: int) -> Finding:
    """Process rewards of a judge that is right on 80 % of texts, its errors frozen, and no verified outcome."""
    task, base = find("reasoning/steps-10"), entrants()["pure-judge80"]
    forms = {form: replace(base, options={**base.options, "form": form, "verifiable": 0.0}) for form in ("softmax", "sum")}
    gained = {form: [final(entrant, task, seed) for seed in range(seeds)] for form, entrant in forms.items()}
    numbers = [over_seeds(f"share of the gain won, {form} form", values) for form, values in gained.items()]
    apart = over_seeds("softmax less sum", list(np.subtract(gained["softmax"], gained["sum"])))
    return said(apart.above, (*numbers, apart), fails=apart.below)


def echo(seeds: int) -> Finding:
    """A safe action that can be repeated for ever, beside a plan that pays more but is rarely finished at first."""
    numbers = []
    for name in ("agentic/echo-trap", "agentic/echo-trap-deep"):
        for id_ in ("rloo", "exact"):
            won = [final(entrants()[id_], find(name), s) for s in range(seeds)]
            numbers.append(over_seeds(f"share of the gain won, {id_} on {name}", won))
    open_, _, deep, exact = numbers
    if deep.high < 0.8 <= open_.low:
        beside = " (even with exact credit)" if exact.high < 0.8 else " (not with exact credit)" if exact.low >= 0.8 else ""
        return Finding("holds only when", tuple(numbers), f"the plan is hardly ever finished at first{beside}")
    return said(open_.high < 0.8 and deep.high < 0.8, numbers, fails=open_.low >= 0.8 and deep.low >= 0.8)


CLAIMS = (
    Claim(
        "min-form-resists-hacking",
        "Returns as the minimum of process rewards resist a judge that errs at random better than their sum.",
        "PURE (2504.15275)",
        hacking,
        "PURE with frozen random errors of a judge right on 80 % of texts and no verified outcome: share of the gain won by "
        "training, both forms on the same seeds. Holds where the difference is surely above 0, fails where it is surely below",
    ),
    Claim(
        "echo-trap",
        "With one reward an episode, training collapses into repeating a safe action.",
        "RAGEN (2504.20073)",
        echo,
        "Training with RLOO and with exact credit where a safe action can be repeated: share of the gain won, for a plan of "
        "three steps and for one hardly ever finished at first. Training collapses where surely less than 0.8 is won",
    ),
)
