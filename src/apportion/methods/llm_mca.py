"""LLM-MCA (Nagpal et al. 2025, arXiv 2502.16863): one language model divides the team's reward over agents and steps."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..edges.take import ranges
from ..errors import OptionError
from ..evidence import Asked, Bill, Evidence, Judge, Rubric
from ..evidence.judging import ask, provenance
from ..ops.groups import standardise
from ..ops.scans import discounted_suffix
from ..registry import method
from ..structure import Float, Int
from ..words import check_word
from ._agents import agents, cells

CapOver = Literal["batch", "episode", "array", "none"]
Baseline = Literal["batch", "group", "none"]

_EPISODE = re.compile(r"^[\s#*]*episode\s+(\d+)\b[^\n]*$", re.IGNORECASE | re.MULTILINE)

#: Our wording of the four parts of the critic's prompt; its answer is read by :func:`read_credits`.
RUBRIC = Rubric(
    name="llm_mca",
    template=(
        "You are the central critic of a team of agents during training: you see all of them, they see only their part. "
        "The rules of the environment:\n{question}\n\nBelow are whole episodes, under headings 'Episode 0', 'Episode 1' and "
        "so on: for every time step what each agent saw and did, and the reward of the team.\n\n{units}\n\n"
        "Keep five things apart. Temporal credit: a reward may be owed to a step long before it (the key that opened the "
        "door). Structural credit: it may be owed to some agents only (one lifted, one stood by). Under-collaboration: work "
        "for two was left to one. Over-collaboration: two did what one could. Agreement: each chose well alone, but not for "
        "what the other chose.\n"
        "First explain in words who helped or harmed the team, when and why. Then print, under each episode's heading, one "
        "line per agent, <agent>_credit = [..], with one number for each of its time steps: above 0 where it helped, below "
        "0 where it harmed, 0 where it made no difference. No agent's numbers of an episode may exceed 10 in sum. Use one "
        "scale for all episodes and agents."
    ),
    levels=tuple(float(level) for level in range(-10, 11)),
)


def collect(
    batch: Batch, judge: Judge, *, rng: np.random.Generator, rubric: Rubric = RUBRIC, per_call: int | None = None, orders: int = 1
) -> Evidence:
    """Ask for a credit of every agent at every step (turn), NaN where the answer had none.

    per_call: episodes a call shows; None puts all of them into one, so that credits share a scale. orders:
    how often it is asked, each time but the first with the trajectories in another random order, answers
    averaged; a re-implementation found credits to depend on the order of agents in the prompt. A call has no bounds:
    the tokens it reads are billed (as scored) besides.
    """
    if orders < 1 or (per_call is not None and per_call < 1):
        raise OptionError(f"orders = {orders}, per_call = {per_call}: expected at least 1")
    calls = 1 if per_call is None else -(-batch.count("episode") // per_call)
    total, heard, bill = np.zeros(batch.n_turns), np.zeros(batch.n_turns), Bill()
    for k in range(orders):
        order = rng.permutation(batch.n_trajectories) if k else np.arange(batch.n_trajectories)
        asked, turn = _asked_in(batch, judge, order, rng, rubric)
        known = ~np.isnan(asked.values)
        total[turn[known]] += asked.values[known]
        heard[turn[known]] += 1
        bill += replace(asked.bill, judge_calls=float(calls), scored=asked.bill.scored + batch.n_tokens)
    values = np.where(heard > 0, total / np.maximum(heard, 1), np.nan)
    return Evidence({"credits": values}, {"credits": "turn"}, bill=bill, provenance=provenance(judge, rubric))


def _asked_in(batch: Batch, judge: Judge, order: Int, rng: np.random.Generator, rubric: Rubric) -> tuple[Asked, Int]:
    """Answers about the trajectories in another order, and the turn each is about."""
    rows = ranges(batch.trajectory_rows[order], np.diff(batch.trajectory_rows)[order])
    turns = ranges(batch.trajectory_turns[order], np.diff(batch.trajectory_turns)[order])
    return ask(batch.take(rows), judge, "turn", rng, rubric), turns


def read_credits(answer: str, batch: Batch) -> Float:
    """The credits in a critic's answer in words, one per turn of ``batch``: evidence for :func:`llm_mca`.

    A line that begins with "Episode k" opens the numbers of the k-th episode (from 0, in the order of the batch); an
    answer without such lines is about the first. An agent's array ``<name>_credit = [..]`` is found by its whole name, the
    last one where it is printed more than once. What is missing (an array, the end of a short one, an entry that
    is no finite number) is NaN; entries beyond an agent's last turn are dropped.
    """
    who, names = agents(batch, "llm_mca"), batch.need("agent").names
    episode, values = batch.within("trajectory", "episode"), np.full(batch.n_turns, np.nan)
    blocks = _blocks(answer)
    cell = cells(episode, who)
    for first in np.unique(cell, return_index=True)[1].tolist():
        found = re.findall(
            rf"(?<![\w-]){re.escape(str(names[who[first]]))}_credit\W*?[=:]\s*\[([^\[\]]*)\]", blocks.get(int(episode[first]), "")
        )
        if found:
            own = np.flatnonzero((cell == cell[first])[batch.within("turn", "trajectory")])
            numbers = np.array([_number(entry) for entry in found[-1].split(",")])[: own.size]
            values[own[: numbers.size]] = numbers
    return values


def _blocks(answer: str) -> dict[int, str]:
    """What an answer says under the heading of each episode."""
    heads = list(_EPISODE.finditer(answer))
    if not heads:
        return {0: answer}
    blocks: dict[int, str] = {}
    for head, after in zip(heads, [*(h.start() for h in heads[1:]), len(answer)], strict=True):
        k = int(head.group(1))
        blocks[k] = blocks.get(k, "") + answer[head.end() : after] + "\n"
    return blocks


def _number(entry: str) -> float:
    try:
        number = float(entry)
    except ValueError:
        return float("nan")
    return number if np.isfinite(number) else float("nan")


@method(
    unit="turn",
    reads={"reward", "agent"},
    may_read={"group"},
    evidence={"credits": "turn"},
    source="judge",
    collect=collect,
    cost="1 judge call a batch: it reads all T tokens of every rollout and writes a number per turn and an explanation",
    status="reconstructed",
    unbiased="no: a critic's numbers replace the reward",
    smallest=("(Batch.from_turns([[1], [1]], outcome=[1.0, 0.0], agent=['a', 'a'], episode=[0, 1]), {'credits': [1.0, 0.0]})"),
    scope="batch",
)
def llm_mca(
    batch: Batch,
    *,
    credits: Float,
    cap: float = 10.0,
    cap_over: CapOver = "batch",
    gamma: float = 0.99,
    baseline: Baseline = "batch",
    eps: float = 1e-6,
) -> Credit:
    """A critic's number for every agent and step is that agent's reward there, in place of the team's.

        s_{e,i} = sum_t |c_{e,i,t}|        c <- c min(1, cap / max_{e,i} s_{e,i})
        G_{e,i,t} = c_{e,i,t} + gamma G_{e,i,t+1}
        A_{e,i,t} = (G_{e,i,t} - mean) / (std + eps)     over the episodes e in which agent i reaches its step t

    c: the critic's numbers, shape (turns,); a turn of the trajectory of agent i in episode e is its step t. One value
    per turn, on all its policy tokens. One factor for all keeps the order of credits across episodes and agents.
    std is the population's; a step that one episode alone reaches gets 0, equal returns 0 exactly. No two
    agents share statistics.

    credits: one answer about all episodes (``read_credits`` reads it, ``judge=`` asks for it). A null (NaN),
    a number that was not printed, is 0; diagnostic ``missing``, their share. An answer without any number is
    no answer: the team's rewards are used instead, without a cap, at the turns where they were earned, for the whole
    batch; diagnostic ``fallback`` is then 1.
    cap: 10. cap_over: "batch", one factor; "episode", one for each, by its own largest s, which loses the order between
    episodes; "array", one for each agent and episode, which loses that between agents too; "none". Diagnostic
    ``factor``: the smallest.
    gamma: 0.99; returns do not cross trajectories. 0 leaves every number where it was put.
    baseline: "batch"; "group", over the episodes of the prompt only (column ``group``); "none", A = G (REINFORCE).

    The paper trains small networks by Q-learning or actor-critic on c; returns and their standardisation, which
    put it to language models, are ours. Its LLM-TACA (the critic also hands tasks to the policies) is not here.

    Status: reconstructed. Known from the abstract: setting, the critic, benchmarks. From another's re-implementation: parts of
    the prompt, the parser, the cap, gamma. Not known: whether the paper caps so, its learner's settings. The
    paper's appendix or an official release would settle it.

    Source: Nagpal et al., AAMAS 2025 (2502.16863), abstract; paul6598/AAMAS (a re-implementation), at second hand.
    """
    check_word(cap_over, CapOver, "cap_over")
    check_word(baseline, Baseline, "baseline")
    if not 0 <= gamma <= 1 or cap <= 0:
        raise OptionError(f"gamma = {gamma}, cap = {cap}: expected a number from 0 to 1, and one above 0")
    if credits.shape != (batch.n_turns,):
        raise OptionError(f"evidence 'credits' has shape {credits.shape}, expected ({batch.n_turns},)")
    who, owner = agents(batch, "llm_mca"), batch.within("turn", "trajectory")
    known = ~np.isnan(credits)
    if known.any():
        c = np.where(known, credits, 0.0)
        factor = _factor(batch, c, who, cap, cap_over)
        r = c * factor
    else:
        factor, r = np.ones(1), batch.rewards("turn")
    g = discounted_suffix(r, batch.trajectory_turns, gamma)
    if baseline != "none":
        peers = [who[owner], batch.turn_index]
        if baseline == "group":
            batch.need("group", "for llm_mca with baseline='group'")
            peers.append(batch.within("turn", "group"))
        g = standardise(g, cells(*peers), spread="population", eps=eps, single="zero")
    diagnostics = {"missing": float(1 - known.mean()), "fallback": float(not known.any()), "factor": float(factor.min())}
    return Credit.of(batch, "turn", g, loss=Loss(denominator="token"), diagnostics=diagnostics)


def _factor(batch: Batch, c: Float, who: Int, cap: float, cap_over: CapOver) -> Float:
    """What every number is multiplied with, so that no agent's numbers of an episode exceed the cap in sum."""
    if cap_over == "none":
        return np.ones(c.size)
    owner, episode = batch.within("turn", "trajectory"), batch.within("trajectory", "episode")
    cell = cells(episode, who)
    total = np.bincount(cell[owner], weights=np.abs(c)).astype(np.float64)
    peak: Float
    if cap_over == "array":
        peak = total[cell]
    elif cap_over == "episode":
        largest = np.zeros(batch.count("episode"))
        np.maximum.at(largest, episode, total[cell])
        peak = largest[episode]
    else:
        peak = np.full(who.size, total.max())
    factor: Float = (cap / np.maximum(peak, cap))[owner]
    return factor
