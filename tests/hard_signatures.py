"""The hardest methods of the plan as typed stubs: their shapes must fit the core's types.

Each is the formula of its paper cut down to what exercises the types, declared like any method but
kept out of the table. They are not the library's methods; those come with their variants and checks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import apportion as ap
from apportion import Batch, Credit, Loss, Preferences, Spans
from apportion.evidence import Bill, Evidence, Judge, Sampler
from apportion.ops.groups import firsts, standardise
from apportion.ops.scans import gae
from apportion.registry import _METHODS, Method

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def stub(**declared: Any) -> Callable[[Callable[..., Any]], Method]:
    """Declare a method as any other, but keep it out of the table."""

    def take(function: Callable[..., Any]) -> Method:
        id_ = function.__name__.rstrip("_")
        function.__name__ = f"stub_{id_}"  # the real one may be in the table
        ap.method(status="secondary", unbiased="no: a stub", **declared)(function)
        return replace(_METHODS.pop(function.__name__), id=id_)

    return take


class Actor(Sampler, Protocol):
    """A sampler that also acts afresh at recorded states, without taking an environment step."""

    def actions(self, batch: Batch, prefixes: Int, k: int, rng: np.random.Generator) -> tuple[Batch, Bill]:
        """k one-turn trajectories per prefix, grouped by prefix."""
        ...


@dataclass(frozen=True)
class Critic:
    """A learned object with state to go on from: two heads, and a token baseline."""

    age: int = 0
    bill: Bill = Bill()

    def evidence(self, batch: Batch) -> Evidence:
        heads = np.tile(np.arange(batch.n_turns)[:, None] / 10.0, (1, 2))
        arrays = {"q": heads + 0.1, "v": heads, "token_baseline": np.full(batch.n_tokens, 0.02)}
        return Evidence(arrays, {"q": "turn", "v": "turn", "token_baseline": "token"}, Bill(scored=batch.n_tokens), "learned")

    def save(self) -> dict[str, NDArray[Any]]:
        return {"age": np.array(self.age)}


def fit_critic(replay: Batch, *, state: Critic | None = None, rng: np.random.Generator) -> Critic:
    return Critic(1 + (state.age if state else 0), Bill(trained=replay.n_tokens))


def fresh_actions(replay: Batch, sampler: Actor, *, k: int = 1, rng: np.random.Generator) -> Evidence:
    batch, bill = sampler.actions(replay, replay.prefix_before, k, rng)
    return Evidence(bill=bill, provenance=sampler.provenance, batch=batch)


@stub(
    unit="turn", reads=set(), evidence={"q": "turn", "v": "turn", "token_baseline": "token"}, several={"q", "v"},
    source="sampler", collect=fresh_actions, fit=fit_critic, grows=True,
)  # fmt: skip
def archer(batch: Batch, *, q: Float, v: Float, token_baseline: Float) -> Credit:
    """A = min(Q1, Q2) - min(V1, V2) per utterance; tokens carry A less their own baseline."""
    advantage = q.min(axis=1) - v.min(axis=1)
    spread = advantage[batch.within("token", "turn")]
    token = np.where(batch.action, spread - token_baseline, 0.0)
    return Credit(batch, "turn", advantage, token, targets={"token_baseline": np.where(batch.action, spread, 0.0)})


@stub(
    unit="turn", reads={"group"}, evidence={"critic_logp": "token", "ref_logp": "token"},
    source="sampler", collect=fresh_actions, grows=True,
)  # fmt: skip
def sweet_rl(batch: Batch, *, critic_logp: Float, ref_logp: Float) -> Preferences:
    """Candidates of one state ranked by mean log-ratio; upper half preferred to lower half."""
    turn = batch.within("token", "turn")
    ratio = np.where(batch.action, critic_logp - ref_logp, 0.0)
    score = np.bincount(turn, weights=ratio, minlength=batch.n_turns) / batch.action_count("turn")
    chosen: list[int] = []
    rejected: list[int] = []
    for g in np.unique(batch.within("turn", "group")):
        members = np.flatnonzero(batch.within("turn", "group") == g)
        ranked = members[np.argsort(-score[members], kind="stable")]
        half = ranked.size // 2
        chosen += ranked[:half].tolist()
        rejected += ranked[ranked.size - half :].tolist()
    up, down = np.array(chosen, dtype=np.int64), np.array(rejected, dtype=np.int64)
    return Preferences(batch, "turn", up, down, margin=score[up] - score[down])


def fit_prm(batch: Batch, *, state: Critic | None = None, rng: np.random.Generator) -> Critic:
    return fit_critic(batch, state=state, rng=rng)


@stub(unit="turn", reads={"reward", "group"}, evidence={"prm_logp": "token", "old_logp": "token"}, fit=fit_prm)
def istar(batch: Batch, *, prm_logp: Float, old_logp: Float, beta: float = 0.05, omega: float = 1.0) -> Credit:
    """Leave-one-out over outcomes plus leave-one-out over implicit step rewards of the group."""
    ratio = np.where(batch.action, prm_logp - old_logp, 0.0)
    r = beta * np.bincount(batch.within("token", "turn"), weights=ratio, minlength=batch.n_turns)
    r = r / (np.abs(r).max() + 1e-6)
    step = omega * standardise(r, batch.within("turn", "group"), baseline="leave_one_out", single="raw")
    outcome = standardise(batch.reward, batch.within("trajectory", "group"), baseline="leave_one_out", single="raw")
    episode = outcome[batch.within("turn", "trajectory")]
    return Credit.of(batch, "turn", episode + step, parts={"episode": episode, "step": step})


@stub(unit="trajectory", reads={"reward", "group"})
def vspo(batch: Batch, *, rng: np.random.Generator, kappa: float = 1.0) -> Credit:
    """Prompts without spread give their places to valuable ones; repeated rollouts are damped."""
    over = batch.within("trajectory", "group")
    best = np.ones(int(over.max()) + 1)
    size = np.bincount(over)
    mean = np.bincount(over, weights=batch.reward) / size
    sd = np.sqrt(np.maximum(np.bincount(over, weights=batch.reward**2) / size - mean**2, 0.0))
    flat = sd <= 1e-8
    worth = np.where(flat, 0.0, (best - mean) * sd)
    drawn = rng.choice(worth.size, size=int(flat.sum()), p=worth / worth.sum())
    groups = np.concatenate([np.flatnonzero(~flat), drawn])
    members = np.concatenate([np.flatnonzero(over == g) for g in groups])
    times = np.bincount(groups, minlength=worth.size)
    advantage = standardise(batch.reward, over, spread="sample", eps=1e-6)
    rows = np.concatenate([np.arange(batch.trajectory_rows[i], batch.trajectory_rows[i + 1]) for i in members])
    return Credit.of(batch.take(rows), "trajectory", (advantage / np.maximum(times, 1)[over] ** kappa)[members], rows=rows)


@stub(unit="trajectory", reads={"reward", "group", "agent"}, evidence={"expert": "trajectory"})
def m_grpo(batch: Batch, *, expert: Float, d: int, rng: np.random.Generator) -> Credit:
    """One baseline per agent; the sub-trajectories of each rollout are duplicated or dropped to d."""
    episode, codes = batch.within("trajectory", "episode"), batch.need("agent").codes
    main = codes == batch.need("agent").names.index("main")
    taken: list[int] = []
    for e in np.unique(episode):
        own = np.flatnonzero((episode == e) & ~main)
        taken += np.flatnonzero((episode == e) & main).tolist()
        if own.size:  # a rollout without calls stays out of the sub-agent's batch
            extra = rng.choice(own, size=max(d - own.size, 0))
            taken += sorted([*rng.choice(own, size=min(d, own.size), replace=False).tolist(), *extra.tolist()])
    at = np.array(taken, dtype=np.int64)
    reward = batch.reward + np.where(np.isnan(expert), 0.0, 0.5 * expert)
    role = 2 * batch.within("trajectory", "group")[at] + main[at]
    over = np.unique(role, return_inverse=True)[1]
    advantage = standardise(reward[at], over, spread="population", eps=1e-6, single="zero")
    rows = batch.trajectory_rows[at]  # one row a trajectory
    return Credit.of(batch.take(rows), "trajectory", advantage, rows=rows, loss=Loss(ratio="sequence"))


@stub(unit="step", reads={"steps"}, evidence={"error_step": "trajectory"})
def int_(edited: Batch, *, error_step: Int) -> Credit:
    """Clone the prefix and the intervention (step ``error_step``); nothing after it; -1 drops the item."""
    first = np.searchsorted(edited.offsets("step"), edited.offsets("trajectory"))[:-1]
    owner = edited.within("step", "trajectory")
    cloned = np.arange(edited.n_steps) - first[owner] <= error_step[owner]
    keep = cloned[edited.within("token", "step")]
    return Credit.of(edited, "step", cloned.astype(np.float64), kind="weight", keep=keep, scored=cloned)


@stub(unit="turn", reads=set(), evidence={"base": "token", "values": "token"})
def sorl(batch: Batch, *, base: Float, values: Float) -> Credit:
    """Token advantages under a turn-level ratio, the update divided by the norm of its clipped part."""
    token = np.where(batch.action, base, 0.0)
    turn = np.bincount(batch.within("token", "turn"), weights=token, minlength=batch.n_turns) / batch.action_count("turn")
    loss = Loss(ratio="turn", denominator="sequence", rescale="clipped_norm")
    return Credit(batch, "turn", turn, token, loss=loss, targets={"value": token + np.where(batch.action, values, 0.0)})


@stub(unit="step", reads={"steps"}, evidence={"reward": "step", "values": "step"}, fit=fit_prm)
def stepagent(batch: Batch, *, reward: Float, values: Float, lam: float = 0.95) -> Credit:
    """GAE over steps, on the rewards of a discriminator of expert and agent steps."""
    bounds = np.searchsorted(batch.offsets("step"), batch.offsets("trajectory"))
    everywhere, end = np.ones(batch.n_steps, dtype=np.bool_), np.zeros(batch.n_trajectories)
    advantage = gae(reward, values, everywhere, bounds, 1.0, lam, end)
    return Credit.of(batch, "step", advantage, targets={"value": advantage + values})


@stub(unit="turn", reads={"reward", "group", "node", "parent"}, evidence={"entropy": "token"}, grows=True)
def at2po(tree: Batch, *, entropy: Float) -> Credit:
    """Leaf rewards go up the tree with softmax-entropy weights; every turn gets the value of its node."""
    node, parent = tree.need("node"), tree.need("parent")
    turn = tree.within("token", "turn")
    h = np.bincount(turn, weights=np.where(tree.action, entropy, 0.0), minlength=tree.n_turns) / tree.action_count("turn")
    leaf = standardise(tree.reward, tree.within("trajectory", "group"), spread="population", eps=1e-6)
    once = firsts(node)
    weight = {int(u): float(np.exp(x)) for u, x in zip(node[once], h[once], strict=True)}
    up = {int(u): int(p) for u, p in zip(node[once], parent[once], strict=True)}
    below: dict[int, list[int]] = {}
    for u, p in up.items():
        below.setdefault(p, []).append(u)
    value: dict[int, float] = dict(zip(node[tree.trajectory_turns[1:] - 1].tolist(), leaf.tolist(), strict=True))

    def solve(u: int) -> float:
        if u not in value:
            total = sum(weight[c] for c in below[u])
            value[u] = sum(weight[c] / total * solve(c) for c in below[u])
        return value[u]

    advantage = np.array([solve(int(u)) for u in node])
    clip = np.tile([1 - 3e-3, 1 + 4e-3], (tree.n_turns, 1))
    return Credit.of(tree, "turn", advantage, loss=Loss(ratio="turn", clip=clip, denominator="sequence"))


@stub(unit="segment", reads={"reward", "spans"}, evidence={"v_low": "turn", "v_term": "turn", "v_high": "turn"})
def hiper(batch: Batch, *, v_low: Float, v_term: Float, v_high: Float, lam_seg: float = 0.95) -> Credit:
    """Three advantages for three kinds of tokens; options are runs of turns (undiscounted, lambda 1).

    spans: "option" covers whole turns; "part" is labelled switch, subgoal or action.
    """
    option, part = batch.spans["option"], batch.spans["part"]
    r, turn = batch.rewards("turn"), batch.within("token", "turn")
    begin, last = turn[option.start], turn[option.end - 1]
    trajectory = batch.within("turn", "trajectory")
    n = begin.size
    follows = np.append(trajectory[begin[1:]] == trajectory[last[:-1]], False)
    after = np.where(follows, np.append(v_high[begin[1:]], 0.0), 0.0)
    everywhere = np.ones(n, dtype=np.bool_)
    gained = np.add.reduceat(r, begin)
    runs = np.append(0, np.flatnonzero(~follows) + 1)
    high = gae(gained, v_high[begin], everywhere, runs, 1.0, lam_seg, np.zeros(runs.size - 1))
    held = np.searchsorted(begin, np.arange(batch.n_turns), side="right") - 1
    to_go = np.cumsum(r[::-1])[::-1]
    rest = to_go - np.append(to_go, 0.0)[last[held] + 1] + after[held]
    low, term = rest - v_low, rest - v_term

    at, kinds = turn[part.start], np.array(part.label)
    opens = np.isin(at, begin)
    parts = {
        "low": np.where(kinds == "action", low[at], 0.0),
        "high": np.where((kinds == "subgoal") & opens, high[held[at]], 0.0),
        "term": np.where(kinds == "switch", term[at], 0.0),
    }
    unit, scored = sum(parts.values(), np.zeros(at.size)), (kinds != "subgoal") | opens
    token, keep = np.zeros(batch.n_tokens), np.zeros(batch.n_tokens, dtype=np.bool_)
    for start, end, value, counts in zip(part.start, part.end, unit, scored, strict=True):
        token[start:end], keep[start:end] = value, counts
    return Credit(
        batch, "segment", unit, token, segment="part", keep=keep, scored=scored, parts=parts,
        targets={"v_low": low + v_low, "v_term": term + v_term, "v_high": high + v_high[begin]},
    )  # fmt: skip


def options_and_parts(turns: Sequence[int], starts: Sequence[int], lengths: Sequence[int]) -> dict[str, Spans]:
    """Span tables of one trajectory: options that start at some turns, three parts a turn."""
    edge = np.concatenate(([0], np.cumsum(turns)))
    bounds = np.array([*(edge[s] for s in starts), edge[-1]])
    inner = np.concatenate([edge[i] + np.concatenate(([0], np.cumsum(lengths))) for i in range(len(turns))])
    inner = inner.reshape(len(turns), -1)
    labels = ("switch", "subgoal", "action") * len(turns)
    return {"option": Spans(bounds[:-1], bounds[1:]), "part": Spans(inner[:, :-1].ravel(), inner[:, 1:].ravel(), labels)}


@stub(unit="turn", reads={"reward", "group"}, evidence={"gold": "prefix"})
def a2tgpo(batch: Batch, *, gold: Float, alpha: float = 0.3) -> Credit:
    """Information gain per turn index of a prompt, summed forward; the gain also sets the clip range."""
    owner, group = batch.within("turn", "trajectory"), batch.within("turn", "group")
    final = batch.turn_index == np.diff(batch.trajectory_turns)[owner] - 1
    gain = np.where(final, 0.0, np.nan_to_num(gold[batch.prefix_before + 1]) - gold[batch.prefix_before])
    peers = np.unique(group * (int(batch.turn_index.max()) + 1) + batch.turn_index, return_inverse=True)[1]
    normal = np.where(final, 0.0, standardise(gain, peers, spread="population", counted=~final, single="zero", eps=1e-6))
    ahead = gae(normal, np.zeros(normal.size), ~final, batch.trajectory_turns, 1.0, 1.0, np.zeros(batch.n_trajectories))
    terms = np.maximum(np.diff(batch.trajectory_turns)[owner] - 1 - batch.turn_index, 1)
    outcome = standardise(batch.reward, batch.within("trajectory", "group"), spread="population", eps=1e-6)[owner]
    scale = np.where(final, 1.0, 1 + 0.3 * (2 / (1 + np.exp(-normal)) - 1))
    clip = np.stack([1 - scale * 3e-3, 1 + scale * 4e-3], axis=1)
    return Credit.of(batch, "turn", alpha * ahead / np.sqrt(terms) + outcome, loss=Loss(ratio="turn", clip=clip))


class Author(Judge, Protocol):
    """A judge that can also be asked to write."""

    def write(self, request: str, rng: np.random.Generator) -> tuple[str, Bill]: ...


@dataclass(frozen=True)
class Mixer:
    """A function of the agents' scores that a model proposed and a check accepted: data, not code."""

    temperature: float
    bill: Bill = Bill()

    def weights(self, scores: Float) -> Float:
        e = np.exp(scores / self.temperature)
        return np.asarray(e / e.sum(axis=1, keepdims=True))


def design(judge: Author, *, rounds: int = 3, rng: np.random.Generator) -> Mixer:
    """Ask for candidates before training; what does not parse is asked for again."""
    bill = Bill()
    for _ in range(rounds):
        text, cost = judge.write("a positive temperature for softmax over agents", rng)
        bill += cost
        if text.replace(".", "", 1).isdigit() and float(text) > 0:
            return Mixer(float(text), bill)
    raise ValueError(f"no usable candidate in {rounds} rounds")


@stub(unit="turn", reads={"agent"}, evidence={"q": "turn", "scores": "turn"})
def qllm(batch: Batch, *, q: Float, scores: Float, mixer: Mixer) -> Credit:
    """Agent i of n gets n w_i(s) q_i, its share of the mixed value, at every joint step."""
    episode, when = batch.within("turn", "episode"), batch.turn_index
    joint = np.unique(episode * (int(when.max()) + 1) + when, return_inverse=True)[1]
    order = np.argsort(joint, kind="stable")
    n = int(np.bincount(joint)[0])
    weights = np.empty(batch.n_turns)
    weights[order] = mixer.weights(scores[order].reshape(-1, n)).ravel()
    return Credit.of(batch, "turn", n * weights * q, parts={"weight": n * weights})
