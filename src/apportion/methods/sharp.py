"""SHARP (Li et al. 2026, arXiv 2602.08335): agents are paid the outcome, their marginal contribution and their tool calls."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..evidence import Evidence, Sampler
from ..evidence.coalitions import Plan
from ..evidence.teams import left_out, of_agent, replayer, shapley_shares
from ..ops.groups import group_mean, group_spread, standardise
from ..registry import method
from ..structure import Float
from ..words import Single, check_word
from ._agents import agents, cells

Estimator = Literal["leave_one_out", "shapley"]
PlannerShare = Literal["mean", "sum", "zero"]


def collect(
    batch: Batch, sampler: Sampler, *, rng: np.random.Generator, estimator: Estimator = "leave_one_out", planner: Any = None,
    k: int = 1, players: int = 6, orders: int = 4,
) -> Evidence:  # fmt: skip
    """Marginal contribution of every trajectory of a team, from replays with some agents' turns drawn anew.

        Delta_m = r(tau) - mean_k r(tau, m drawn anew)         estimator "leave_one_out", the paper's
        phi_m = Shapley value of m, v(S) = mean_k r(tau, all workers outside S drawn anew)           "shapley"

    The paper puts a placeholder for what a worker handed in; here it acts anew from the same place, so nothing is
    out of distribution and a worker is compared with its own average. planner: name of the agent that stays
    in every coalition and is not measured (NaN: it gets its workers' share); by default everybody is.
    players, orders: with "shapley", up to how many workers exactly (2^n coalitions), else by how many random
    orders. Nothing is known of tool calls (``tools`` is null).
    """
    check_word(estimator, Estimator, "estimator")
    replays, workers = replayer(sampler, k, "sharp"), ~of_agent(batch, planner, "planner")
    how: dict[str, float] = {}
    if estimator == "leave_one_out":
        without, bill = left_out(batch, replays, workers, k, rng)
        found = batch.reward - without
    else:
        found, bill, how = shapley_shares(batch, replays, workers, k, Plan(players, orders), rng)
    return Evidence(
        {"marginal": found, "tools": np.full(found.size, np.nan)}, {"marginal": "trajectory", "tools": "trajectory"},
        bill, sampler.provenance, diagnostics=how,
    )  # fmt: skip


@method(
    unit="trajectory",
    reads={"reward", "group"},
    may_read={"agent"},
    unless={"tools": ("lambda_p", 0.0)},
    evidence={"marginal": "trajectory", "tools": "trajectory"},
    source="sampler",
    collect=collect,
    cost="1 replay of the rollout a worker (K each); exact Shapley 2^n - 1 for n workers, P orders P (n - 1) + 1",
    status="reconstructed",
    unbiased="no: dividing by the spread of the role, a rollout in its own mean, and a marginal that depends on what came after",
    smallest=(
        "(Batch.from_turns([[1], [1], [1], [1]], outcome=[1.0, 1.0, 0.0, 0.0], group=[0] * 4, agent=['p', 'w', 'p', 'w'], "
        "episode=[0, 0, 1, 1]), {'marginal': [np.nan, 1.0, np.nan, 0.0], 'tools': [np.nan, 1.0, np.nan, 0.5]})"
    ),
    scope="group",
)
def sharp(
    batch: Batch,
    *,
    marginal: Float,
    tools: Float | None = None,
    lambda_s: float = 0.5,
    lambda_p: float = 0.1,
    planner_share: PlannerShare = "mean",
    eps: float = 1e-6,
    single: Single = "zero",
) -> Credit:
    """Three rewards an agent, normalised among the agents of its role in the rollouts of the prompt.

        R_m = r(tau) + lambda_s Delta_m + lambda_p T_m                 m: a trajectory of the rollout tau
        A_m = (R_m - mean R) / (std R + eps)                           over the trajectories of the prompt with m's agent

    marginal: Delta, the marginal contribution of each trajectory to the outcome, shape (N,), in units of reward:
    r(tau) - r(tau without m) (leave-one-out, the paper's), or a Shapley value (``ops.shapley``); asked for with
    sampler=, it is what acting anew changes. NaN: not measured, as for the planner, who gets ``planner_share``: the
    "mean" of those measured in its rollout, their "sum", or "zero"; where nobody was measured, 0.
    tools: T, the share of its tool calls that ran, in [0, 1], shape (N,); NaN where it made none (or it is not known)
    is 0. Not needed with lambda_p = 0. Roles are the names in ``agent`` (one role without it); a role may have several
    trajectories in a rollout, all of which count. std ddof 0. A prompt with one trajectory of a role: ``single``.
    parts: ``outcome``, ``marginal`` and ``tools``, summands of A (0 where all of a role earned the same: summands
    that make up for each other have no spread to be divided by). diagnostics: ``measured`` (share of trajectories
    with a marginal of their own), ``harmful`` (share of those below 0).

    Leave-one-out gives 0 to *both* of two workers who can stand in for each other, Shapley half to each: who is
    indispensable is not who contributed. Where one agent decides everything the others' marginals are noise.
    lambda_s = lambda_p = 0: GRPO within roles.

    Source: Li et al. (2602.08335), from its abstract and two summaries; no code. Reconstructed: both lambdas, the
    planner's share, ddof and eps, T = 0 without calls. Ours: agents act anew instead of a placeholder; Shapley
    values; the rule by which the paper leaves some counterfactuals out is not known, null marginals serve for it.
    """
    check_word(planner_share, PlannerShare, "planner_share")
    check_word(single, Single, "single")
    calls = np.full(marginal.size, np.nan) if tools is None else tools
    wrong = (calls < 0) | (calls > 1)
    if wrong.any() and lambda_p:
        i = int(np.argmax(wrong))
        raise OptionError(f"tools[{i}] = {calls[i]}: expected the share of calls that ran, from 0 to 1 (NaN = none made)")
    episode = batch.within("trajectory", "episode")
    own = ~np.isnan(marginal)
    n = np.bincount(episode, weights=own)
    total = np.bincount(episode, weights=np.where(own, marginal, 0.0))
    share = {"mean": total / np.maximum(n, 1), "sum": total, "zero": np.zeros(n.size)}[planner_share]
    delta = np.where(own, marginal, share[episode])
    ran = np.where(np.isnan(calls), 0.0, calls)
    reward = batch.reward + lambda_s * delta + lambda_p * ran
    agent = agents(batch, "sharp") if batch.agent is not None else np.zeros(batch.n_trajectories, dtype=np.int64)
    over = cells(batch.within("trajectory", "group"), agent)
    a = standardise(reward, over, spread="population", eps=eps, single=single)
    # each summand centred by itself and divided by the spread of the whole; a lone one as ``standardise`` has it
    sd, lone = group_spread(reward, over, ddof=0)[over], (np.bincount(over) == 1)[over]
    base = np.where(lone & (single == "raw"), 0.0, 1.0)
    divisor = np.where(lone, 1.0, sd) + eps
    told = (sd > 0) | (lone & (single == "raw"))
    terms = {"outcome": batch.reward, "marginal": lambda_s * delta, "tools": lambda_p * ran}
    return Credit.of(
        batch, "trajectory", a,
        parts={name: np.where(told, (x - base * group_mean(x, over)[0][over]) / np.where(told, divisor, 1.0), 0.0)
               for name, x in terms.items()},
        diagnostics={"measured": float(own.mean()), "harmful": float((marginal[own] < 0).mean()) if own.any() else 0.0},
    )  # fmt: skip
