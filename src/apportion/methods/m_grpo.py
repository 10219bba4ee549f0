"""M-GRPO (Hong et al. 2025, arXiv 2511.13288): a main agent and its sub-agents, each with rewards and a group of its own."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..edges.take import ranges
from ..errors import OptionError
from ..evidence import Bill, Evidence, Judge, Rubric
from ..evidence.judging import ask, provenance
from ..ops.groups import standardise
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import check_word
from ._agents import agents, cells

SubReward = Literal["paper", "released"]
Formats = Literal["assumed", "given"]
Unparsed = Literal["leave_out", "zero"]
Ratio = Literal["sequence", "token"]

#: Our wording of the expert's question about one call of a sub-agent.
RUBRIC = Rubric(
    name="m_grpo",
    template=(
        "A main agent gave a sub-agent a task of its own. The whole work of the sub-agent is shown, with the answers of its "
        "tools.\n\nQuestion the main agent works on:\n{question}\n\nThe sub-agent's task and work:\n{units}\n\nHow well does "
        "the result serve the task it was given? Judge what was found and whether the tools' answers support it, not whether "
        "the main agent succeeds. Answer with one number: 0 useless or made up, 0.25 poor, 0.5 partial, 0.75 good, 1 complete."
    ),
    levels=(0.0, 0.25, 0.5, 0.75, 1.0),
    asks="progress",
)


def collect(batch: Batch, judge: Judge, *, rng: np.random.Generator, rubric: Rubric = RUBRIC, main: Any = "main") -> Evidence:
    """Ask for an expert's score of every sub-trajectory, NaN where it could not be parsed; the main agent's are not shown."""
    calls = np.flatnonzero(~_is(batch, agents(batch, "m_grpo"), main))
    values, bill = np.full(batch.n_trajectories, np.nan), Bill()
    if calls.size:
        asked = ask(batch.take(_rows(batch, calls)), judge, "trajectory", rng, rubric)
        values[calls], bill = asked.values, asked.bill
    return Evidence({"expert": values}, {"expert": "trajectory"}, bill=bill, provenance=provenance(judge, rubric))


@method(
    unit="trajectory",
    reads={"reward", "group", "agent"},
    unless={"expert": ("sub_reward", "released"), "valid": ("formats", "assumed")},
    evidence={"expert": "trajectory", "valid": "trajectory"},
    source="judge",
    collect=collect,
    cost="1 judge call per sub-trajectory; copied sub-trajectories are trained on again, dropped ones were sampled in vain",
    status="verified",
    unbiased="no: a judge is part of the reward, spreads divide, and dropped calls leave a random subset",
    smallest=(
        "(Batch.from_turns([[1], [1], [1], [1]], outcome=[1.0, 1.0, 0.0, 0.0], group=[0] * 4, episode=[0, 0, 1, 1], "
        "agent=['main', 'sub'] * 2), {'expert': [np.nan, 1.0, np.nan, 0.5], 'd': 1})"
    ),
    scope="group",
)
def m_grpo(
    batch: Batch,
    *,
    expert: Float | None = None,
    valid: Float | None = None,
    main: Any = "main",
    d: int = 8,
    main_weights: tuple[float, float] = (0.1, 0.9),
    sub_weights: tuple[float, float, float] = (0.1, 0.4, 0.5),
    sub_reward: SubReward = "paper",
    formats: Formats = "assumed",
    unparsed: Unparsed = "leave_out",
    eps: float = 1e-6,
    ratio: Ratio = "sequence",
    rng: np.random.Generator | int | None = None,
) -> Credit:
    """GRPO for each agent: the main one against its K rollouts, a sub-agent against all its calls, d from each rollout.

        R_M = a1 f + a2 r                A_M = (R_M - mean R_M) / (std R_M + eps)   over the K main trajectories of the prompt
        R_S = b1 f + b2 r + b3 e         A_S = (R_S - mean R_S) / (std R_S + eps)   over its d K aligned sub-trajectories

    (f = 1 with a valid format; R is 0 where f is.) r is the total reward of the rollout's main
    trajectory: right or wrong; f the format, e the expert's score of a call. ``episode`` ties a rollout together;
    each call of a sub-agent is a trajectory. std is the population's. One value per trajectory, on all its policy
    tokens. Agents never share statistics; several sub-agents have one formula each.

    Alignment: of every rollout's calls of a sub-agent, d enter: where there are fewer, random ones are copied
    (with replacement), where there are more, random ones are dropped. The credit is for ``rows`` of the input, a copy
    like its original. A rollout without calls stays out of the sub-agent's batch (the paper has no rule).

    expert: e in [0, 1], shape (N,); entries of the main agent are not read. A null (NaN) is an answer that could not
    be parsed: the call is no candidate ("leave_out"), or has e = 0 ("zero"); ``unparsed``, ours.
    valid: f in [0, 1], shape (N,), 0 where the format is invalid. formats: "assumed", without it all are
    valid; or it must be "given".
    main: name of the main agent; all others are sub-agents. A rollout without it takes r from its own trajectory.
    d: 8, the paper's for K = 8; with other data, such that about 99 % of the rollouts have at most d calls.
    main_weights, sub_weights: (a1, a2) and (b1, b2, b3), the paper's.
    sub_reward: "paper"; "released" is the code's, f if r is above 0.1, else 0.1 f, without an expert.
    ratio: "sequence", the product of the ratios of all policy tokens of a trajectory; "token", as released.
    rng: what the alignment is drawn from, a generator or a seed; 0 where none is given. (``ap.assign`` hands its own on.)
    Prompts share no statistics, but one stream of draws: a log credited piece by piece picks other calls of
    rollouts that have fewer or more than d, in the same way each time.
    Clip 0.2 / 0.28 in the scripts, the trainer's business here.

    All rewards of an agent equal, or K = 1 with one call: 0 exactly. In a loss over all trajectories at once
    the main agent is 1 / (1 + d) of it; the paper adds a mean over K and one over d K, for separate models.
    Diagnostics: ``copied`` (share of what was taken), ``dropped`` (share of the calls), ``unparsed``.

    Source: Hong et al. (2511.13288), section on the method; AQ-MedAI/MrlX at 0d04788, ``sub_agent_multiturn.py``
    (reward). Its scripts run SLIME's GRPO; the alignment was not found in them.
    """
    for value, words, name in ((sub_reward, SubReward, "sub_reward"), (formats, Formats, "formats"), (ratio, Ratio, "ratio")):
        check_word(value, words, name)
    check_word(unparsed, Unparsed, "unparsed")
    if d < 1:
        raise OptionError(f"d = {d}: take at least one call a rollout")
    who = agents(batch, "m_grpo")
    is_main = _is(batch, who, main)
    correct = _correct(batch, is_main)
    f = _share("valid", np.ones(batch.n_trajectories) if valid is None else valid)
    if np.isnan(f).any():
        i = int(np.argmax(np.isnan(f)))
        raise OptionError(f"evidence 'valid'[{i}] is null: say of every trajectory whether its format holds")
    known = np.ones_like(is_main)
    if sub_reward == "released":
        sub = np.where(correct > 0.1, 1.0, 0.1) * f
    else:
        assert expert is not None  # the registry asks for it unless sub_reward="released"
        e = _share("expert", np.where(is_main, np.nan, expert))
        known = is_main | ~np.isnan(e)
        sub = sub_weights[0] * f + sub_weights[1] * correct + sub_weights[2] * np.where(np.isnan(e), 0.0, e)
    reward = np.where(f > 0, np.where(is_main, main_weights[0] * f + main_weights[1] * correct, sub), 0.0)
    candidate = ~is_main & (known | (unparsed == "zero"))
    calls = np.flatnonzero(candidate)
    cell = cells(batch.within("trajectory", "episode")[calls], who[calls])
    picked = _aligned(calls, cell, d, np.random.default_rng(0 if rng is None else rng))
    taken = np.sort(np.concatenate([np.flatnonzero(is_main), picked]))
    over = cells(batch.within("trajectory", "group")[taken], who[taken])
    a = standardise(reward[taken], over, spread="population", eps=eps, single="zero")
    rows = _rows(batch, taken)
    distinct = np.unique(picked).size
    return Credit.of(
        batch.take(rows), "trajectory", a, rows=rows,
        loss=Loss(ratio=ratio, form="product") if ratio == "sequence" else Loss(),
        diagnostics={
            "copied": (picked.size - distinct) / taken.size,
            "dropped": (calls.size - distinct) / max(calls.size, 1),
            "unparsed": float((~known).sum() / max((~is_main).sum(), 1)),
        },
    )  # fmt: skip


def _is(batch: Batch, who: Int, main: Any) -> Bool:
    """Which trajectories are the main agent's."""
    names = batch.need("agent").names
    if main not in names:
        raise OptionError(f"main = {main!r}: the batch has the agents {', '.join(map(repr, names))}; say which one leads")
    return np.asarray(who == names.index(main))


def _rows(batch: Batch, trajectories: Int) -> Int:
    return ranges(batch.trajectory_rows[trajectories], np.diff(batch.trajectory_rows)[trajectories])


def _correct(batch: Batch, is_main: Bool) -> Float:
    """Reward of the main trajectory of each trajectory's rollout; its own where there is none."""
    episode = batch.within("trajectory", "episode")
    n = batch.count("episode")
    led = np.bincount(episode[is_main], minlength=n)
    total = np.bincount(episode[is_main], weights=batch.reward[is_main], minlength=n)
    mean = total / np.maximum(led, 1)
    return np.where(led[episode] > 0, mean[episode], batch.reward)


def _share(name: str, values: Float) -> Float:
    bad = (values < 0) | (values > 1)
    if bad.any():
        i = int(np.argmax(bad))
        raise OptionError(f"evidence '{name}'[{i}] = {values[i]:g}: expected a number from 0 to 1")
    return values


def _aligned(calls: Int, cell: Int, d: int, rng: np.random.Generator) -> Int:
    """d of the calls in every cell: all of them and random copies, or a random d of them."""
    if not calls.size:
        return calls
    order = np.lexsort((rng.random(calls.size), cell))  # the calls of a cell in random order
    size = np.bincount(cell)
    start = np.cumsum(size) - size
    rank = np.arange(calls.size) - start[cell[order]]
    short = np.repeat(np.arange(size.size), np.maximum(d - size, 0))
    copies = start[short] + (rng.random(short.size) * size[short]).astype(np.int64)
    found: Int = calls[np.concatenate([order[rank < d], order[copies]])]
    return found
