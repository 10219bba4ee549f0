"""MAPPA (Li et al. 2026, arXiv 2601.23228): a coach scores every action of every agent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence import Evidence, Judge, Rubric
from ..evidence.judging import ask, provenance
from ..ops.scans import discounted_suffix
from ..ops.weighted import weighted_standardise
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import Denominator, check_word
from ._agents import agents

Unparsed = Literal["neutral", "leave_out"]
Statistics = Literal["agent", "team"]

NEUTRAL, BEST, CLAMP = 5.0, 10.0, 1e-8

#: Our wording of what the coach is asked, one call an action; edit it with ``dataclasses.replace``.
RUBRIC = Rubric(
    name="mappa",
    template=(
        "You coach a team of agents. One action of one agent is shown with the agent's role, what it was given (the "
        "work of the agents before it, files, answers of tools) and what it wrote.\n\nTask of the team:\n{question}\n\n"
        "The action:\n{units}\n\nJudge this action by what its agent could know and was there to do. A mistake that came in "
        "with its input is not its own, unless its role was to find it; an error message that its own output caused is. "
        "10: does its part completely and well. 5: of mixed use. 0: harmful or empty. Say why, then end with one whole "
        "number from 0 to 10."
    ),
    levels=tuple(float(level) for level in range(11)),
    one_call=False,
)

#: The same for a coach that is shown the reference answer, which the released prompts allow.
WITH_ANSWER = replace(
    RUBRIC, name="mappa-with-answer", privileged=True,
    template=RUBRIC.template.replace("\n\nThe action:", "\n\nReference answer:\n{reference}\n\nThe action:"),
)  # fmt: skip


def collect(batch: Batch, judge: Judge, *, rng: np.random.Generator, rubric: Rubric = RUBRIC) -> Evidence:
    """Ask for a score of every action (turn): a level of the rubric, NaN where the answer could not be parsed."""
    asked = ask(batch, judge, "turn", rng, rubric)
    return Evidence({"coach": asked.values}, {"coach": "turn"}, bill=asked.bill, provenance=provenance(judge, rubric))


@method(
    unit="turn",
    reads={"agent"},
    may_read={"outcome", "token_reward", "logp", "ref_logp"},
    evidence={"coach": "turn"},
    source="judge",
    collect=collect,
    cost="N judge calls, each reads what its agent read and wrote; one model to train per agent",
    status="verified",
    unbiased="no: it climbs the coach's scores instead of the reward, one action at a time",
    smallest="(Batch.from_turns([[1, 1]], agent=['a']), {'coach': [8.0, 2.0]})",
    scope="batch",
)
def mappa(
    batch: Batch,
    *,
    coach: Float,
    process_weight: float = 1.0,
    outcome_weight: float = 0.0,
    beta: float = 0.0,
    statistics: Statistics = "agent",
    unparsed: Unparsed = "neutral",
    denominator: Denominator = "token",
) -> Credit:
    """REINFORCE++ for each agent of a team, on a coach's score of every single action.

        R_u = process_weight p_u / 10 + outcome_weight o_i
        r_t = -beta (log pi - log pi_ref)_t  (+ R_u on the last policy token of action u)
        G_t = sum_{t' >= t} r_t'                                          within action u
        A_t = (G_t - mean_k G) / sqrt(max(var_k G, 1e-8))      over all policy tokens of agent k in the batch

    An action is a turn of the trajectory of one agent. coach: p in [0, 10], shape (turns,). Returns do not
    cross actions or agents: the score is the whole reward of its action, and nothing is discounted. Mean and
    (population) variance count tokens, so long actions weigh more; agents are never pooled, because each
    is a model of its own and is scored in its own role. No groups, no rewards and no second rollout are needed.

    Without rewards of tokens one value per turn, on all its policy tokens; with them an action's value is the mean
    of its tokens'.

    process_weight, outcome_weight: 1 and 0, the released settings; o is the ``outcome`` column (the code's is the
    coach's own verdict on the answer), the same on all actions of a trajectory. Rewards of turns are not read.
    beta: weight of the k1 estimate of the KL in the reward (columns ``logp``, ``ref_logp``). 0, as trainers put it
    into ``token_reward`` (added to r_t of its action, at its token) or the loss; the paper's is 0.01.
    unparsed: a null (NaN) score is 5, "neutral" (the code's, after one more try), or leaves statistics and
    loss ("leave_out": 0, ``keep`` False, not ``scored``). Diagnostic ``unparsed``, their share.
    statistics: "agent"; "team" pools all agents (for comparison: what REINFORCE++ would do).
    denominator: "token", the code's.

    An agent whose tokens all have one G (equal scores, a single action) gets exactly 0. The coach's mistakes are
    the method's, and equal rewards do not give 0.

    Source: Li et al. (2601.23228); ltjed/multiagent-coaching at ed66921, ``marti/verifiers/coach/external_coach.py``,
    ``marti/worlds/workflows/mathchat_processor.py``, ``marti/trainers/experience_maker.py`` (an agent each).
    """
    check_word(unparsed, Unparsed, "unparsed")
    check_word(statistics, Statistics, "statistics")
    check_word(denominator, Denominator, "denominator")
    known = _known(batch, coach)
    counted = known if unparsed == "leave_out" else np.ones_like(known)
    reward = process_weight * np.where(known, coach, NEUTRAL) / BEST
    if outcome_weight:
        outcome = batch.need("outcome", f"for mappa with outcome_weight={outcome_weight:g}")
        reward = reward + outcome_weight * outcome[batch.within("turn", "trajectory")]
    who = agents(batch, "mappa") if statistics == "agent" else np.zeros(batch.n_trajectories, dtype=np.int64)
    left: dict[str, Any] = {}
    if not counted.all():
        left = {"keep": counted[batch.within("token", "turn")], "scored": counted}
    loss, diagnostics = Loss(denominator=denominator), {"unparsed": float(1.0 - known.mean())}
    along = _along(batch, beta)
    if along is None:
        a = _whitened(reward, who[batch.within("turn", "trajectory")], counted * batch.action_count("turn"))
        return Credit.of(batch, "turn", a, loss=loss, diagnostics=diagnostics, **left)
    owner = batch.within("token", "turn")
    g = reward[owner] + discounted_suffix(along, batch.offsets("turn"))
    a = _whitened(g, who[batch.within("token", "trajectory")], (counted[owner] & batch.action).astype(np.int64))
    mean = np.bincount(owner, weights=a, minlength=batch.n_turns) / np.maximum(batch.action_count("turn"), 1)
    return Credit(batch, "turn", unit=mean, token=a, loss=loss, diagnostics=diagnostics, **left)


def _known(batch: Batch, coach: Float) -> Bool:
    """Which actions have a score; one that is off the scale is refused."""
    if coach.shape != (batch.n_turns,):
        raise OptionError(f"evidence 'coach' has shape {coach.shape}, expected ({batch.n_turns},)")
    bad = (coach < 0) | (coach > BEST)
    if bad.any():
        i = int(np.argmax(bad))
        raise OptionError(f"evidence 'coach'[{i}] = {coach[i]:g}: expected a score from 0 to {BEST:g} (NaN where there is none)")
    return ~np.isnan(coach)


def _along(batch: Batch, beta: float) -> Float | None:
    """Rewards of single tokens, None where there are none."""
    if beta < 0:
        raise OptionError(f"beta = {beta}: expected a number of at least 0")
    given = batch.token_reward
    if beta:
        why = "for mappa with beta > 0"
        penalty = -beta * np.where(batch.action, batch.need("logp", why) - batch.need("ref_logp", why), 0.0)
        return penalty if given is None else penalty + given
    return given


def _whitened(x: Float, over: Int, times: Int) -> Float:
    """(x - mean) / sqrt(max(var, 1e-8)) of each agent, item i counted ``times[i]`` times; 0 where it is not."""
    centred = weighted_standardise(x, over, times, spread="none")
    n = np.bincount(over, weights=times)
    variance = np.bincount(over, weights=times * centred**2) / np.maximum(n, 1)
    a: Float = centred / np.sqrt(np.maximum(variance, CLAMP))[over]
    return a
