"""LaRe (Qu et al. 2024, arXiv 2412.11120): step rewards from factors that a model wrote, decoded to sum to the return."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..evidence import Author, Bill, Evidence
from ..evidence.critic import final_value
from ..evidence.decoder import Fitted, Settings, fit_latent
from ..evidence.latent import PLAIN, Factors, LearnedLatent, factors_of
from ..evidence.latent_design import design
from ..ops.places import against_others_at_place
from ..ops.scans import discounted_suffix, first_active, gae_and_returns
from ..registry import method
from ..structure import Float
from ..words import Single, check_word

Form = Literal["to_go", "immediate", "gae", "reward"]


def collect(
    batch: Batch,
    author: Author,
    *,
    rng: np.random.Generator,
    task: str = "",
    candidates: int = 5,
    repairs: int = 5,
    words: int = 8,
    direct: bool = False,
    loss: Fitted = "rd",
    unbiased: bool = True,
    k: int = 64,
    draws: int = 8,
    alpha: float = 0.0,
    bias: bool = True,
    ridge: float = 1e-3,
    folds: int = 5,
) -> Evidence:
    """Have factors written, then fit their decoder: ``fit`` with an author, and what it says."""
    learned = fit(
        batch, rng=rng, author=author, task=task, candidates=candidates, repairs=repairs, words=words, direct=direct,
        loss=loss, unbiased=unbiased, k=k, draws=draws, alpha=alpha, bias=bias, ridge=ridge, folds=folds,
    )  # fmt: skip
    found = learned.evidence(batch)
    written = {"written": float(learned.factors.tried), "refused": float(learned.factors.refused)}
    return replace(found, bill=learned.bill + found.bill, diagnostics=written)


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    state: LearnedLatent | None = None,
    factors: Factors | str | None = None,
    author: Author | None = None,
    task: str = "",
    candidates: int = 5,
    repairs: int = 5,
    words: int = 8,
    direct: bool = False,
    loss: Fitted = "rd",
    unbiased: bool = True,
    k: int = 64,
    draws: int = 8,
    alpha: float = 0.0,
    bias: bool = True,
    ridge: float = 1e-3,
    folds: int = 5,
) -> LearnedLatent:
    """The decoder: least squares on the sums of an episode's rewards, cross-fitted (``evidence.decoder`` has the losses).

    The factors are those of ``state``, what was learned from another batch, so that they are written once, before
    training; or ``factors``: what ``design`` returned, or a function of your own as text; or they are written now by
    ``author`` (``evidence.latent_design.design`` explains task, candidates, repairs, words and direct). Without any
    of these they are what anybody would count. The decoder is fitted afresh on this batch.
    loss: "rd", mean rewards against R / T; "rrd", the same on ``k`` sampled units (64 in MuJoCo, 10 in MPE), less
    their variance if ``unbiased``; "sum", sums against R (MPE). alpha: weight of the variance over time (off, as
    in the code). The paper decodes with a small network trained along with the agent; this is linear and
    solved, with a bias unless ``bias=False``. ridge (ours): in units of the factors' spread; draws: samples of "rrd".
    """
    how = Settings(loss, unbiased, k, draws, alpha, bias, ridge, folds)
    cost = Bill()
    if state is not None:
        chosen = state.factors
    elif factors is None and author is not None:
        chosen = design(
            author, batch, rng=rng, task=task, candidates=candidates, repairs=repairs, words=words, direct=direct
        )  # fmt: skip
        cost = chosen.bill
    else:
        chosen = factors_of(PLAIN if factors is None else factors, batch)
    learned = fit_latent(batch, chosen, rng, how)
    return replace(learned, bill=learned.bill + cost)


@method(
    unit="step",
    reads={"reward", "group"},
    may_read={"steps", "value", "truncated", "bootstrap"},
    evidence={"latent": "step"},
    source="author",
    collect=collect,
    fit=fit,
    cost="6 to 11 calls of a model once a task; a trajectory takes counting its words, no model",
    status="verified",
    unbiased="no: the decoded rewards need not add up to the return, and what is not counted gets no credit",
    smallest="(Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0]), {'latent': [0.7, 0.2, 0.1, 0.1]})",
    scope="group",
)
def lare(
    batch: Batch,
    *,
    latent: Float,
    form: Form = "to_go",
    gamma: float = 1.0,
    lam: float = 0.95,
    single: Single = "error",
) -> Credit:
    """The reward of every step, decoded from factors of its text that were written once, before training.

        z_t = phi(s_t, a_t),   r_t = f(z_t),   f = argmin E (mean_t r_t - R / T)^2
        A_t = sum_{u >= t} gamma^(u - t) r_u - mean_{j != i} (the same of rollout j at that place)      form "to_go"

    latent: r, shape (steps,), turns where the batch has no steps. It comes from ``author=``, who writes phi here and now, or
    from what ``fit`` learned, with a phi written once or your own (``ap.learn(batch, "lare", author=...)``, then
    ``state=``; or ``fit=True, factors="[written, seen_again]"``). phi is a list of array expressions that are read and
    computed, never run, over the features in ``evidence.text_features`` (lengths, repetitions, counts of words …),
    never states or rewards; f is fitted on returns, out of fold. The rewards need not add up to R, and nothing is
    normalised.

    What was written is ``learned.factors.text`` of what ``learn`` returns; with ``author=`` in one call it is not kept.
    form: the paper relabels the rewards that TD3, SAC, PPO or IPPO learns from. "reward" is that: r itself, at the last
    policy token of each step, still to be turned into an advantage; "gae" does it with a critic (``value``, before the
    first policy token of each step), gamma and lam (.95, IPPO's). Without one: "to_go" (ours), above, and "immediate" (ours), r
    against the others at its place. gamma: of "gae" and "to_go"; 1, as in MPE. single: what a prompt of one rollout gets.
    A null (NaN) reward counts as 0; where all are null, that is refused. diagnostics: ``known``, the share that is not null;
    ``error``, the root mean square of R minus the sum; with ``author=`` also answers ``written`` and ``refused``.

    The paper trains no language model (adjacent); text features and this adapter are ours. The survey calls it explanations
    turned into scalars: it is code, written once, and no model is asked about a step.

    Source: Qu et al., AAAI 2025 (2412.11120); thu-rllab/LaRe, read: ``mujoco/reward_model/{LLMrd,rrd,chat_with_gpt}.py``,
    ``mpe/utils/util.py``. Ours: the linear decoder, cross-fitting, requests, the language.
    """
    check_word(form, Form, "form")
    check_word(single, Single, "single")
    if not (0 <= gamma <= 1 and 0 <= lam <= 1):
        raise OptionError(f"gamma = {gamma}, lam = {lam}: expected numbers from 0 to 1")
    known = np.isfinite(latent)
    if not known.any():
        raise OptionError("every entry of evidence 'latent' is null: there is no reward to credit with")
    r = np.where(known, latent, 0.0)
    owner = batch.within("step", "trajectory")
    bounds = np.searchsorted(owner, np.arange(batch.n_trajectories + 1))
    left = batch.reward - np.bincount(owner, weights=r, minlength=batch.n_trajectories)
    found = {"known": float(known.mean()), "error": float(np.sqrt(np.mean(left**2)))}
    if form == "reward":
        token = np.zeros(batch.n_tokens)
        token[batch.last_action("step")] = r
        return Credit(batch, "step", r, token, kind="reward", diagnostics=found)
    if form == "gae":
        value = batch.need("value", "for lare with form='gae'")[first_active(batch.action, batch.offsets("step"))]
        everywhere = np.ones(r.size, dtype=np.bool_)
        a, returns = gae_and_returns(r, value, everywhere, bounds, gamma, lam, final_value(batch))
        return Credit.of(batch, "step", a, targets={"value": returns}, diagnostics=found)
    x = discounted_suffix(r, bounds, gamma) if form == "to_go" else r
    a = against_others_at_place(x, owner, batch.within("trajectory", "group"), single=single)
    return Credit.of(batch, "step", a, diagnostics=found)
