"""CCPO (Li et al. 2026, arXiv 2603.21563): an agent is paid what the outcome loses when the others act without it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..evidence import Evidence, Sampler
from ..evidence.teams import left_out, of_agent, replayer
from ..ops.groups import group_mean, level_mean, standardise
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import Single, Spread, check_word
from ._agents import agents, cells

Variant = Literal["history", "event", "signed"]
Outcomes = Literal["unit", "signed"]

#: What the running statistics consist of, under the names they have in ``diagnostics``.
HISTORY = ("delta_mean", "delta_var", "joint_mean", "joint_var", "solo_mean", "solo_var", "seen")


def collect(batch: Batch, sampler: Sampler, *, rng: np.random.Generator, solver: Any = None, k: int = 1) -> Evidence:
    """Outcome of every rollout without each of its agents: the mean of ``k`` replays with its turns drawn anew.

    The paper removes the Thinker's message and lets the Solver answer alone; here the agent acts anew from the
    same place, so "without it" means with what it writes on average. ``solver`` is never left out.
    """
    players = ~of_agent(batch, solver, "solver")
    found, bill = left_out(batch, replayer(sampler, k, "ccpo"), players, k, rng)
    return Evidence({"without": found}, {"without": "trajectory"}, bill, sampler.provenance)


@method(
    unit="trajectory",
    reads={"reward", "group"},
    may_read={"agent", "truncated"},
    evidence={"without": "trajectory"},
    source="sampler",
    collect=collect,
    cost="1 rollout without the agent for each agent but the solver (K each); none where a vote can be counted again",
    status="verified",
    unbiased="no: squashed and divided by spreads (history); a bonus for turning failure into success (event, signed)",
    smallest=(
        "(Batch.from_turns([[1], [1], [1], [1]], outcome=[1.0, 1.0, 0.0, 0.0], group=[0] * 4, agent=['t', 's', 't', 's'], "
        "episode=[0, 0, 1, 1]), {'without': [0.0, np.nan, 0.0, np.nan], 'solver': 's'})"
    ),
    scope="group",
)
def ccpo(
    batch: Batch,
    *,
    without: Float,
    variant: Variant = "history",
    solver: Any = None,
    history: Mapping[str, float] | None = None,
    alpha: float = 1.0,
    eta: float = 1.0,
    decay: float = 0.99,
    min_seen: int = 10,
    lam: float = 0.2,
    paired: bool = False,
    outcomes: Outcomes = "unit",
    spread: Spread | None = None,
    eps: float = 1e-6,
    single: Single = "raw",
) -> Credit:
    """Counterfactual rewards of agents, compared among the rollouts of the prompt, agent by agent.

        Delta = R - R_without        z_x = (x - mu_x) / (sigma_x + 1e-6),  mu and sigma of *earlier* batches
        r = tanh(alpha z_Delta)                                               helpers, variant "history"
        r = g z_R + (1 - g) z_solo,   g = sigmoid(eta mu_Delta / (sigma_Delta + 1e-6))         the solver
        A = (r - mean r) / (std r + eps)                        over the agent's trajectories of the prompt

        r = R + lam bonus (helpers),   r = R (solver),   A = r - mean r                   "event" and "signed", R = +-1
        bonus = 1[R > 0 > b] - 1[R < 0 < b]   "event"           bonus = (R - b) / 2   "signed"

    without: outcome of the rollout without this trajectory's agent, shape (N,), in the units of the reward: a
    Solver's answer without the Thinker's message; a vote without this agent (:func:`votes_without`); asked for with
    sampler=, a replay in which it acts anew.
    NaN: not known; the mean of the agent's others of the prompt stands in ("history": where there are none either,
    Delta = R and R_solo = 0; the others: no bonus). diagnostics: ``unpaired``, the share of helpers for whom one of
    these was done.
    solver: name (in ``agent``) of the one who answers and cannot be left out; its own ``without`` is not read, R_solo
    is the mean of what its helpers left. None: everybody is a helper, as in a team that votes.
    R is the mean total reward of the rollout's trajectories. A trajectory that was cut off earns r = 0.

    history: running statistics, under the names in ``HISTORY``: the ``diagnostics`` of the credit before (or any
    mapping with those names); None at the start. The credit's ``diagnostics`` hold them with this batch added: mu <-
    decay mu + (1 - decay) mean, sigma^2 likewise with ddof 0, the first batch as it is; sigma is 1 where sigma^2 <=
    1e-6. With fewer than ``min_seen`` helpers' rollouts before, r = Delta and R. alpha, eta, decay, min_seen: 1, 1,
    .99, 10 as in the code.
    lam: weight of the bonus, .2. paired: b is the rollout's own R_without; False (the later code's default): the
    prompt's mean of it.
    outcomes: rewards are 0 to 1 and become 2 R - 1 ("unit"), or lie in [-1, 1] already ("signed"). "history" takes
    them as they are.
    spread: std of A: None is the variant's own, "sample" for "history", "none" for the others. eps of A. single: a
    prompt with one trajectory of the agent: "raw" (mean 0, std 1), as verl has it.
    parts of "event" and "signed": ``outcome`` and ``bonus``, before the spread.

    With b a mean of the prompt the bonus is a function of R inside it: with a plain mean as baseline (ours; the later
    code has a robust one) A is GRPO's without std times 1 + lam/2 ("signed", and "event" where b is not 0): nothing
    but a learning rate. Only ``paired=True`` tells one helper's message from another's.

    Source: 2603.21563; bhai114/ccpo, read: ``leave_one_out_rema.py`` and ``historical_normalizer.py`` (CCPO-v1),
    ``two_model_trainer.py`` (later). Ours: several helpers at once, replays, the plain mean. Votes are reconstructed
    (no code). Not here: SEPO; the factor 0.5 of a first version without history, which the spread divides out; the turns
    that the roles take at being trained (ten steps each), which are the trainer's: train on one agent's rows at a time.
    """
    for word, words, name in ((variant, Variant, "variant"), (outcomes, Outcomes, "outcomes"), (single, Single, "single")):
        check_word(word, words, name)
    if not 0 <= decay < 1:
        raise OptionError(f"decay = {decay}: expected a share from 0 to below 1")
    agent = agents(batch, "ccpo") if batch.agent is not None else np.zeros(batch.n_trajectories, dtype=np.int64)
    over = cells(batch.within("trajectory", "group"), agent)
    episode = batch.within("trajectory", "episode")
    helper = ~of_agent(batch, solver, "solver")
    joint: Float = level_mean(batch.reward, episode)[episode]
    known = helper & ~np.isnan(without)
    mean, count = group_mean(np.where(known, without, 0.0), over, known)
    diagnostics = {"unpaired": float((helper & ~known).sum() / max(int(helper.sum()), 1))}
    parts = {}
    if variant == "history":
        solo = np.where(known, without, np.where(count > 0, mean, 0.0)[over])
        before = _before(history)
        reward = _shaped(joint, solo, helper, episode, before if before["seen"] >= min_seen else None, alpha, eta)
        diagnostics |= _after(before, joint[helper], solo[helper], decay)
    else:
        b = np.where(known, without, mean[over]) if paired else mean[over]
        if outcomes == "unit":
            joint = np.asarray(2.0 * joint - 1.0, dtype=np.float64)
            b = 2.0 * b - 1.0
        gain = (joint - b) / 2 if variant == "signed" else 1.0 * ((joint > 0) & (b < 0)) - ((joint < 0) & (b > 0))
        bonus: Float = np.where(helper & (count[over] > 0), lam * gain, 0.0).astype(np.float64)
        reward = joint + bonus
        parts = {"outcome": joint - group_mean(joint, over)[0][over], "bonus": bonus - group_mean(bonus, over)[0][over]}
    if batch.truncated is not None:
        reward = np.where(batch.truncated, 0.0, reward)
        parts = {} if batch.truncated.any() else parts
    how: Spread = spread if spread is not None else "sample" if variant == "history" else "none"
    a = standardise(reward, over, spread=how, eps=eps, single=single, what="pair of prompt and agent")
    return Credit.of(batch, "trajectory", a, parts=parts, diagnostics=diagnostics)


def votes_without(batch: Batch, answers: Sequence[Hashable], truth: Mapping[Any, Hashable] | Sequence[Hashable]) -> Float:
    """Evidence ``without`` of a team that votes: 1 where the vote without this trajectory's answer is right, else 0.

    answers: of every trajectory, None for one that gave none. truth: the right answer of every trajectory, or by the
    name of its group. A tie, and a vote of nobody, is wrong (our rule). The outcome itself should be the vote of all
    by the same rule.
    """
    if len(answers) != batch.n_trajectories:
        raise OptionError(f"answers has {len(answers)} entries, expected {batch.n_trajectories}: one per trajectory")
    right = list(truth) if not isinstance(truth, Mapping) else [truth[g] for g in batch.need("group").to_list()]
    found = np.zeros(batch.n_trajectories)
    episode = batch.within("trajectory", "episode")
    for members in np.split(np.argsort(episode, kind="stable"), np.cumsum(np.bincount(episode))[:-1]):
        for i in members.tolist():
            found[i] = wins([answers[j] for j in members.tolist() if j != i], right[i])
    return found


def wins(votes: Sequence[Hashable], right: Hashable) -> bool:
    """Whether the right answer has more votes than any other; None is no vote."""
    cast = [v for v in votes if v is not None]
    return cast.count(right) > max((cast.count(v) for v in cast if v != right), default=0)


def _shaped(
    joint: Float, solo: Float, helper: Bool, episode: Int, history: Mapping[str, float] | None, alpha: float, eta: float
) -> Float:  # fmt: skip
    """r of every trajectory; without a history Delta and R as they are."""
    if history is None:
        return np.where(helper, joint - solo, joint)
    mu = {x: history[f"{x}_mean"] for x in ("delta", "joint", "solo")}
    sigma = {x: history[f"{x}_var"] ** 0.5 if history[f"{x}_var"] > _TINY else 1.0 for x in mu}

    def z(x: Float, of: str) -> Float:
        return (x - mu[of]) / (sigma[of] + _TINY)

    # the solver alone: what its helpers' removal left, on average
    alone = group_mean(solo, episode, helper)[0][episode]
    g = 1.0 / (1.0 + np.exp(-np.clip(eta * mu["delta"] / (sigma["delta"] + _TINY), -20.0, 20.0)))
    return np.where(helper, np.tanh(alpha * z(joint - solo, "delta")), g * z(joint, "joint") + (1 - g) * z(alone, "solo"))


#: Added to every sigma, and the variance below which sigma is 1 (the code's epsilon).
_TINY = 1e-6


def _before(history: Mapping[str, float] | None) -> dict[str, float]:
    if history is None:
        return dict.fromkeys(HISTORY, 0.0)
    missing = [name for name in HISTORY if name not in history]
    if missing:
        raise OptionError(
            f"history has no {missing[0]!r}: expected the diagnostics of an earlier credit of ccpo, with {', '.join(HISTORY)}"
        )
    found = {name: float(history[name]) for name in HISTORY}
    for name, value in found.items():
        if not np.isfinite(value) or (value < 0 and not name.endswith("_mean")):
            raise OptionError(
                f"history[{name!r}] = {value}: expected a finite number{'' if '_mean' in name else ' of at least 0'}"
            )
    return found


def _after(before: Mapping[str, float], joint: Float, solo: Float, decay: float) -> dict[str, float]:
    """The statistics with this batch's helpers added."""
    if joint.size == 0:
        return dict(before)
    after = {"seen": before["seen"] + joint.size}
    for name, x in (("delta", joint - solo), ("joint", joint), ("solo", solo)):
        for kind, now in (("mean", float(x.mean())), ("var", float(x.var()))):
            key = f"{name}_{kind}"
            after[key] = now if before["seen"] == 0 else decay * before[key] + (1 - decay) * now
    return after
