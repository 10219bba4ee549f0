"""Math-Shepherd (Wang et al. 2024, arXiv 2312.08935)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..evidence import Evidence, Sampler
from ..evidence.prefix import LearnedPrefix, fit_prefix, own_ends, share_correct
from ..registry import method
from ..structure import Float
from ..words import check_word

Label = Literal["hard", "soft"]
Form = Literal["reward", "difference"]


def collect(
    batch: Batch,
    sampler: Sampler,
    *,
    rng: np.random.Generator,
    k: int = 8,
    above: float = 0.0,
    prm: bool = False,
    prm_label: Label = "hard",
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
    action_tokens: int = 3,
) -> Evidence:
    """Share of ``k`` fresh completions that are correct, from every prefix; the last one is the outcome itself.

    A completion is correct if its reward is above ``above``; one that came back with nothing does not
    count, and a prefix none came back from is null. k: 8 in the paper. The bare prompt is asked too
    (difference credit needs it).

    prm: train a process reward model on these labels (of kind ``prm_label``) and answer with its scores:
    cross-fitted linear models of hashed features (``evidence.prefix``) in place of the paper's 7B
    model, so no label reaches the score of its own trajectory. folds, ridge, buckets, action_tokens: theirs.
    """
    check_word(prm_label, Label, "prm_label")
    ends = batch.step_prefix_offsets[1:] - 1
    at = np.setdiff1d(np.arange(batch.count("step_prefix")), ends)
    found = np.empty(batch.count("step_prefix"))
    found[at], bill = share_correct(batch, sampler, at, k, above, rng)
    found[ends] = batch.reward > above
    back = np.isfinite(found)
    evidence = Evidence(
        {"success_rate": found}, {"success_rate": "step_prefix"}, bill=bill, provenance=sampler.provenance,
        diagnostics={"asked": float(at.size), "lost": float((~back).sum())},
    )  # fmt: skip
    if not prm:
        return evidence
    labels = np.where(back, found > 0, np.nan) if prm_label == "hard" else found
    labels[batch.step_prefix_offsets[:-1]] = np.where(back, found, np.mean(found[ends]))[batch.step_prefix_offsets[:-1]]
    before, after, trained = fit_prefix(
        batch, "step", labels, rng, folds=folds, ridge=ridge, buckets=buckets, actions=action_tokens
    )  # fmt: skip
    scored = LearnedPrefix(before, after, trained).evidence(batch)
    bill = bill + trained + scored.bill
    return Evidence(scored.arrays, scored.axis, bill=bill, provenance="learned", diagnostics=evidence.diagnostics)


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
    action_tokens: int = 3,
) -> LearnedPrefix:
    """The process reward model trained without a completer: a rollout's own end is its one completion (k = 1).

    Cross-fitted, so a rollout's own end never labels it.
    """
    before, after, bill = fit_prefix(
        batch, "step", own_ends(batch, "step"), rng, folds=folds, ridge=ridge, buckets=buckets, actions=action_tokens
    )  # fmt: skip
    return LearnedPrefix(before, after, bill)


@method(
    unit="step",
    reads=set(),
    may_read={"steps"},
    evidence={"success_rate": "step_prefix"},
    source="sampler",
    collect=collect,
    fit=fit,
    cost="about K N T / 2 tokens generated, once, to label; one pass of the reward model",
    status="secondary",
    unbiased="no: hard labels ask whether a prefix can still succeed, not how often, and a step's own quality is paid as reward",
    smallest="(Batch.from_turns([[1, 1]], outcome=[1.0]), {'success_rate': [0.5, 0.75, 1.0]})",
    scope="trajectory",
)
def math_shepherd(batch: Batch, *, success_rate: Float, form: Form = "reward", label: Label = "soft") -> Credit:
    """The quality of a step is its potential to lead to a right answer, counted from completions.

        soft:  y_k = 1/K sum_j c_{k,j}        hard:  y_k = 1 if any c_{k,j} = 1, else 0        c: completion j is correct
        r_k = y_k                             form="reward": paid at the last token of step k
        A_k = y_k - y_{k-1}                   form="difference"; y_0 = share of right answers from the bare prompt

    success_rate: share of correct completions from every prefix between steps, or the score of a process
    reward model there, in [0, 1], shape (steps + trajectories,), first the prompt's, last the outcome
    itself. NaN = not asked: form="reward" pays such a step nothing, "difference" has no opinion on
    the steps on either side; ``scored`` is False for both. Labels need not fall: a step after a
    bad one may recover by luck.

    form: "reward", the paper's step-by-step PPO: the credit's ``kind`` is "reward", and only the
    last policy token of a step holds it. It becomes an advantage with a critic, as there, through
    ``gae`` on batch.with_columns(token_reward=credit.token), or without one through
    ``grpo(supervision="process")`` on the column process=credit.unit. Rewards of this form are never negative:
    summed up, more steps are worth more. "difference" telescopes, sum_k A_k = y_n - y_0, and is
    what the benchmark scores; with label="soft" and outcomes 0 or 1 it is VinePPO's advantage.
    label: "soft", the rates as they are, or "hard": any success_rate above 0 counts as 1. The released reward model
    was trained on hard labels (``collect`` does so with prm=True); its own scores (prm=True, fit=True) are hardly ever
    exactly 0 and mean something only as they are. diagnostics: ``scored``, and with "hard" ``positive``, the share of
    labels that are 1: near 1 they tell no steps apart.

    y_0 is never made hard: it is a success rate. One step: the reward model is an outcome model. K = 1:
    hard is soft. Biased: the hard label's expectation is 1 - (1 - V)^K, not V; a reward per step adds up
    what should be compared.

    Source: Wang et al., ACL 2024 (2312.08935), sections 3.2-3.4, from a card of the paper, openr's training code
    and the released model's page; the authors published data and model, no RL code. y_0 and
    the difference are ours, from VinePPO.
    """
    check_word(form, Form, "form")
    check_word(label, Label, "label")
    _check_range(success_rate)
    owner = batch.within("step", "trajectory")
    after = np.arange(batch.n_steps) + owner + 1
    first = np.zeros(success_rate.size, dtype=np.bool_)
    first[batch.step_prefix_offsets[:-1]] = True
    y = np.where(first | np.isnan(success_rate) | (label == "soft"), success_rate, success_rate > 0)
    credit = y[after] if form == "reward" else y[after] - y[after - 1]
    known = ~np.isnan(credit)
    credit = np.where(known, credit, 0.0)
    diagnostics = {"scored": float(known.mean())}
    if label == "hard":
        asked = y[after][~np.isnan(y[after])]
        diagnostics["positive"] = float(asked.mean()) if asked.size else 0.0
    if form == "difference":
        return Credit.of(batch, "step", credit, scored=known, diagnostics=diagnostics)
    token = np.zeros(batch.n_tokens)
    token[batch.last_action("step")] = credit
    return Credit(batch, "step", unit=credit, token=token, kind="reward", scored=known, diagnostics=diagnostics)


def _check_range(success_rate: Float) -> None:
    odd = (success_rate < 0) | (success_rate > 1)  # null is neither
    if odd.any():
        i = int(np.argmax(odd))
        raise OptionError(
            f"evidence 'success_rate'[{i}] = {success_rate[i]:g}: expected a share from 0 to 1 (scores in [-1, 1]: (1 + s) / 2)"
        )
