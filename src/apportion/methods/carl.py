"""CARL (Shen et al. 2025, arXiv 2512.04949)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import BatchError, OptionError
from ..evidence import Bill, Evidence, Sampler
from ..ops.groups import firsts
from ..ops.tree import Edges, child_means, inherited, tree_edges
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import check_word

Noncritical = Literal["drop", "inherit"]


def collect(batch: Batch, sampler: Sampler, *, forks: int = 16, merge_root: bool = True, rng: np.random.Generator) -> Evidence:
    """Grow the rollouts of each group into a tree by forking ``forks`` times where H / n is largest.

        h(a) = -mean log-prob of the action's tokens     H(s) = mean h of the n actions sampled in s

    Every group forks once per round, all in one call of the sampler; a new rollout runs from the
    chosen state to the end and enters the statistics of every state it visits. Ties: the earliest
    state. The batch holds the N0 rollouts that each group starts with (columns ``logp`` and ``group``);
    without ``node`` and ``parent`` each turn becomes a node of its own.
    merge_root: one root a group, or (False) one per starting rollout, as the paper counts.
    """
    if forks < 0:
        raise OptionError(f"forks = {forks}: expected at least 0")
    batch.need("logp", "for carl's choice of forks")
    batch.need("group", "for carl")
    tree, bill = _with_nodes(batch, merge_root), Bill()
    for _ in range(forks):
        source = _fork_points(tree, merge_root)
        grown, cost = sampler.branch(tree, tree.prefix_before[source], rng)
        if grown.n_trajectories != tree.n_trajectories + source.size:
            raise BatchError(
                f"the sampler's branch returned {grown.n_trajectories} trajectories, expected "
                f"{tree.n_trajectories} and one new for each of {source.size} prefixes"
            )
        tree, bill = _same_roots(grown, tree, source), bill + cost
    grown_by = float(tree.n_trajectories - batch.n_trajectories)
    return Evidence(bill=bill, provenance=sampler.provenance, batch=tree, diagnostics={"forks": grown_by})


@method(
    unit="turn",
    reads={"reward", "group"},
    may_read={"node", "parent"},
    source="sampler",
    collect=collect,
    cost="forks / N0 branches of T / 2 tokens generated",
    status="secondary",
    unbiased="no: a child is part of its parent's mean (factor 1 - 1/children), and only forked states are trained",
    smallest=(
        "Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0], logp=[-0.5, -2.0, -0.5, -2.0], "
        "node=[0, 1, 0, 2], parent=[-1, 0, -1, 0])"
    ),
    grows=True,
    scope="group",
)
def carl(
    batch: Batch,
    *,
    noncritical: Noncritical = "drop",
    merge_root: bool = True,
    train_phase1: bool = True,
    rollouts: int | None = None,
) -> Credit:
    """Credit on a tree of rollouts: the value of the state reached minus that of the state left.

        V(leaf) = R                  V(u) = 1/|child(u)| sum_{v in child(u)} V(v)
        A(u -> v) = V(v) - V(u)      trained only if |child(u)| > 1

    A turn is an edge; ``node`` names the state it leads to, ``parent`` the one it leaves. The mean is
    plain, not weighted by leaves: forks are placed adaptively, and leaf weights would be biased.
    R is the total reward. One value per turn, no group mean, no std. A over the children of one
    state sums to 0. ``keep``: each edge is in the loss once, at its first appearance in the batch, and
    the loss averages over kept turns (denominator "unit").

    ``batch`` is a tree: recorded (``node``, ``parent``) or grown by ``collect`` from a few rollouts a
    group. Without the two columns every turn is a node of its own under one root a group (so only
    first turns are trained). Where a trajectory ends in a node that others continue, the end counts
    as one more child.

    noncritical: turns from states that were never forked are dropped from the loss and its
    denominator ("drop", not scored), or take A of the turn before them ("inherit", the paper's ablation;
    a first turn gets 0).
    merge_root: turns without a parent leave one root per group (True, the gate read literally), or
    one per tree (False, which reproduces the paper's counts): parent -1 is then a root of its own,
    -2 and below name roots that several turns of a group may leave, as ``collect`` writes them.
    train_phase1: False leaves out turns of the rollouts the tree grew from (a sentence of the
    paper's appendix; its own counts say otherwise). Those are the first ``rollouts`` (N0) of each group.

    Biased: V(u) contains V(v), so a state with m children has its gradient scaled by 1 - 1/m, and
    states are weighted by where the forks were placed, not by how often the policy visits them.

    Source: 2512.04949 v3 (from a transcription with equation numbers); no code. Clip 0.2 is ours.
    """
    check_word(noncritical, Noncritical, "noncritical")
    tree = _edges(batch, merge_root)
    value, children = child_means(tree.parent, _ended(batch, tree))
    forked = children[tree.source] > 1
    advantage = np.where(forked, value[tree.target] - value[tree.source], 0.0)
    train = tree.first & (forked | (noncritical == "inherit"))
    if noncritical == "inherit":
        advantage = inherited(advantage[tree.at], tree.parent, forked[tree.at])[tree.target]
    if not train_phase1:
        train = train & ~_phase1(batch, rollouts)
    return Credit.of(
        batch,
        "turn",
        advantage,
        keep=train[batch.within("token", "turn")],
        scored=None if noncritical == "inherit" else forked,
        loss=Loss(denominator="unit"),
        diagnostics={"trained": float(train.sum()), "edges": float(tree.first.sum())},
    )


def _edges(batch: Batch, merge_root: bool) -> Edges:
    node, parent = _nodes(batch)
    return tree_edges(node, parent, batch.within("turn", "group"), batch.turn_index == 0, merge_root=merge_root)


def _nodes(batch: Batch) -> tuple[Int, Int]:
    """Node and parent of every turn; each turn its own node where the batch has none."""
    if (batch.node is None) != (batch.parent is None):
        batch.need("node" if batch.node is None else "parent", "for carl: node and parent go together")
    if batch.node is not None and batch.parent is not None:
        return batch.node, batch.parent
    node = np.arange(batch.n_turns, dtype=np.int64)
    return node, np.where(batch.turn_index == 0, -1, node - 1)


def _ended(batch: Batch, tree: Edges) -> Float:
    """Mean total reward of the trajectories that end in each node, NaN where none does."""
    last = tree.target[batch.trajectory_turns[1:] - 1]
    count = np.bincount(last, minlength=tree.parent.size)
    total = np.bincount(last, weights=batch.reward, minlength=tree.parent.size)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _phase1(batch: Batch, rollouts: int | None) -> Bool:
    """Turns that first appear in one of the first ``rollouts`` trajectories of their group."""
    if rollouts is None or rollouts < 1:
        raise OptionError("train_phase1=False needs rollouts=: with how many rollouts (N0) did each group's tree start?")
    over = batch.within("trajectory", "group")
    order = np.argsort(over, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(over.size) - np.searchsorted(over[order], over[order])
    early: Bool = (rank < rollouts)[batch.within("turn", "trajectory")]
    return early


def _with_nodes(batch: Batch, merge_root: bool) -> Batch:
    node, parent = _nodes(batch)
    if not merge_root:
        # every tree gets a root with a name, so that forks at it can say where they belong
        parent = np.where(parent == -1, min(int(parent.min()), -1) - 1 - node, parent)
    return batch.with_columns(node=node, parent=parent)


def _same_roots(grown: Batch, tree: Batch, source: Int) -> Batch:
    """Old turns keep their parents; new trajectories leave the root that those they were forked from left."""
    held, parent = tree.need("parent"), np.array(grown.need("parent"))
    start = tree.trajectory_turns[tree.within("turn", "trajectory")[source]]
    parent[: tree.n_turns] = held
    parent[grown.trajectory_turns[tree.n_trajectories : -1]] = held[start]
    return grown.with_columns(parent=parent)


def _fork_points(tree: Batch, merge_root: bool) -> Int:
    """In each group, the first turn that leaves the state with the highest H / n."""
    edges = _edges(tree, merge_root)
    logp = np.where(tree.action, tree.need("logp"), 0.0)
    surprise = -np.bincount(tree.within("token", "turn"), weights=logp, minlength=tree.n_turns) / tree.action_count("turn")
    source = edges.source[edges.at]
    n = np.bincount(source, minlength=edges.parent.size)
    total = np.bincount(source, weights=surprise[edges.at], minlength=n.size)
    states, first_turn = np.unique(edges.source, return_index=True)
    priority = total[states] / n[states] ** 2.0
    group = tree.within("turn", "group")[first_turn]
    order = np.lexsort((first_turn, -priority, group))
    chosen: Int = first_turn[order][firsts(group[order])]
    return chosen
