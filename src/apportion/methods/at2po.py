"""AT2PO (Zong et al. 2026, arXiv 2601.04767): turns valued on a tree that grew where the policy was unsure."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import BatchError, OptionError
from ..evidence import Bill, Evidence, Sampler
from ..ops.groups import standardise
from ..ops.tree import Edges, child_means, tree_edges
from ..registry import method
from ..structure import Float, Int
from ..words import Spread, check_word

Uncertainty = Literal["surprisal", "entropy"]
Weights = Literal["softmax", "linear", "mean", "leaves"]
Advantage = Literal["node_value", "diff_parent", "diff_global", "diff_localglobal"]
Copies = Literal["all", "first"]


def collect(
    batch: Batch,
    sampler: Sampler,
    *,
    rounds: int = 2,
    branches: int = 6,
    penalty: float = 0.05,
    uncertainty: Uncertainty = "surprisal",
    rng: np.random.Generator,
) -> Evidence:
    """Grow each prompt's rollouts into a tree: ``rounds`` times, try again at the ``branches`` least certain turns.

        score(u) = H(u) - penalty (children of the node above u - 1)

    Candidates are the tree's turns that others follow (a last turn is not tried again), each once however many rows
    share it, and the prompt itself, with H = 0. A new rollout leaves the state *before* the chosen turn, beside it, and
    runs to the end. All are chosen before any is run; where there are too few, the best are taken again.
    Ties: the earliest turn. The batch holds the chains that each prompt starts with (the paper's 10, so that 22 leaves
    come of it); without ``node`` and ``parent`` every turn becomes a node of its own. Siblings are counted as the code
    does: at the prompt all chains count. uncertainty: H, as in the method.
    """
    if rounds < 0 or branches < 1 or not np.isfinite(penalty):
        raise OptionError(
            f"rounds = {rounds}, branches = {branches}, penalty = {penalty}: expected at least 0, at least 1, a finite number"
        )
    check_word(uncertainty, Uncertainty, "uncertainty")
    batch.need("group", "for at2po")
    node, parent = _nodes(batch)
    tree, bill = batch.with_columns(node=node, parent=parent), Bill()
    for _ in range(rounds):
        prefixes = tree.prefix_before[_branch_points(tree, branches, penalty, uncertainty)]
        grown, cost = sampler.branch(tree, prefixes, rng)
        if grown.n_trajectories != tree.n_trajectories + prefixes.size:
            raise BatchError(
                f"the sampler's branch returned {grown.n_trajectories} trajectories, expected "
                f"{tree.n_trajectories} and one new for each of {prefixes.size} prefixes"
            )
        tree, bill = grown, bill + cost
    told = {"branches": float(tree.n_trajectories - batch.n_trajectories)}
    return Evidence(bill=bill, provenance=sampler.provenance, batch=tree, diagnostics=told)


@method(
    unit="turn",
    reads={"reward", "group", "logp"},
    may_read={"node", "parent", "entropy"},
    unless={"logp": ("uncertainty", "entropy")},
    source="sampler",
    collect=collect,
    cost="rounds x branches suffixes of about T / 2 tokens generated for each prompt",
    status="verified",
    unbiased="no: unsure children count for more than they are sampled, and values have no baseline of their own state",
    smallest=(
        "Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0], logp=[-0.5, -2.0, -0.5, -1.0], "
        "node=[0, 1, 0, 2], parent=[-1, 0, -1, 0])"
    ),
    grows=True,
    scope="group",
)
def at2po(
    batch: Batch,
    *,
    weights: Weights = "softmax",
    advantage: Advantage = "node_value",
    uncertainty: Uncertainty = "surprisal",
    copies: Copies = "all",
    spread: Spread = "population",
    eps: float = 1e-6,
    clip_low: float = 3e-3,
    clip_high: float = 4e-3,
) -> Credit:
    """Outcomes go up a tree of turns, unsure branches weighing more; a turn gets the value of its node.

        V(leaf) = (R - mean) / (std + eps)               over the leaves of the prompt's tree
        V(u) = sum_c w_c V(c),   w = softmax of H(c)      over the children c of u
        A(turn to u) = V(u)
        H(c) = mean over the policy tokens of the turn of -log pi(token)

    A turn is an edge; ``node`` names the state it leads to, ``parent`` the one it leaves; the prompt is the root
    (any parent below 0). R (N,) is the total reward. One value per turn, the same in all rows that share it. loss: one
    ratio per turn (geometric), clipped to 1 - clip_low .. 1 + clip_high; denominator "sequence".

    However many rows share a turn, it is one child and its H is looked at once; rollouts that end in the same node are
    one leaf, worth their mean. ``batch`` is a tree: recorded (``node``, ``parent``) or grown by ``collect``.
    Without the two columns every turn is a node of its own; chains that share nothing get their leaf's value
    throughout, which is ``grpo`` with the population's spread. Where a rollout ends in a node that others continue,
    its end counts as one more child, as unsure as the turn that led there (ours; the code has no such nodes).

    weights: "softmax" (released), "linear", w = H / sum H (a note on the paper; plain where all H are 0), "mean" or
    "leaves", the mean of all leaves below (both in the code).
    advantage: "node_value" (released); "diff_parent", V(u) - V(node above); "diff_global", V(u) - V(root);
    "diff_localglobal", the sum of both.
    uncertainty: H from "surprisal", as above (column ``logp``; the code), or from the column ``entropy``, full distributions.
    copies: "all": every root-to-leaf path is a training sample, so that a shared turn is in the loss once for each row that
    holds it (released); "first": only its first copy is in the loss and its denominator, as in ``carl``.
    spread: "population" (released), "sample" or "none". eps: 1e-6. clip_low, clip_high: 3e-3 and 4e-3.

    Equal leaves give 0, and so does a tree with one leaf. diagnostics: ``leaves``, ``nodes``, ``shared`` (share of turns that
    are copies).

    Biased: the softmax is not the policy's own distribution over children; with "node_value" turns are compared
    with all of the tree and not with their siblings; branches stand where H was high.

    Added after the survey. Source: Zong et al., ACL 2026 (2601.04767); zzfoutofspace/ATPO,
    ``vllm_rollout_with_tools_tree_offline.py`` and ``compute_policy_loss_gspo_turn``, script ATPO_qwen3_4B.sh.
    """
    for word, words, name in (
        (weights, Weights, "weights"), (advantage, Advantage, "advantage"), (uncertainty, Uncertainty, "uncertainty"),
        (copies, Copies, "copies"), (spread, Spread, "spread"),
    ):  # fmt: skip
        check_word(word, words, name)
    for name, bound in (("clip_low", clip_low), ("clip_high", clip_high)):
        if not 0 <= bound < 1:
            raise OptionError(f"{name} = {bound}: expected a number from 0 to below 1")
    tree = _edges(batch)
    ended = _leaves(batch, tree, spread, eps)
    value, _ = child_means(tree.parent, ended, _weights(batch, tree, ended, weights, uncertainty))
    group, starts = batch.within("turn", "group"), batch.turn_index == 0
    root = np.empty(batch.count("group"), dtype=np.int64)
    root[group[starts]] = tree.source[starts]
    above = value[root[group]]
    own, before = value[tree.target], value[tree.source]
    forms = {
        "node_value": own, "diff_parent": own - before, "diff_global": own - above,
        "diff_localglobal": (own - above) + (own - before),
    }  # fmt: skip
    return Credit.of(
        batch, "turn", forms[advantage],
        keep=None if copies == "all" else tree.first[batch.within("token", "turn")],
        loss=Loss(ratio="turn", clip=np.tile([1.0 - clip_low, 1.0 + clip_high], (batch.n_turns, 1)), denominator="sequence"),
        diagnostics={
            "leaves": float(np.isfinite(ended).sum()), "nodes": float(tree.at.size), "shared": 1.0 - float(tree.first.mean()),
        },
    )  # fmt: skip


def _edges(batch: Batch) -> Edges:
    node, parent = _nodes(batch)
    return tree_edges(node, parent, batch.within("turn", "group"), batch.turn_index == 0, merge_root=True)


def _nodes(batch: Batch) -> tuple[Int, Int]:
    """Node and parent of every turn; each turn its own node where the batch has none."""
    if (batch.node is None) != (batch.parent is None):
        batch.need("node" if batch.node is None else "parent", "for at2po: node and parent go together")
    if batch.node is not None and batch.parent is not None:
        return batch.node, batch.parent
    node = np.arange(batch.n_turns, dtype=np.int64)
    return node, np.where(batch.turn_index == 0, -1, node - 1)


def _leaves(batch: Batch, tree: Edges, spread: Spread, eps: float) -> Float:
    """Normalised reward of each node in which rollouts end (their mean, counted once), NaN elsewhere; shape (M + R,)."""
    turn = batch.trajectory_turns[1:] - 1
    leaf, first, which = np.unique(tree.target[turn], return_index=True, return_inverse=True)
    base = batch.reward[first]  # differences from it, so that the mean of equal rewards is that reward
    more = np.bincount(which, weights=batch.reward - base[which]) / np.bincount(which)
    over = batch.within("trajectory", "group")[first]
    ended = np.full(tree.parent.size, np.nan)
    ended[leaf] = standardise(base + more, over, spread=spread, eps=eps, single="zero")
    return ended


def _uncertain(batch: Batch, uncertainty: Uncertainty) -> Float:
    """H of every turn: the mean over its policy tokens."""
    why = f"for at2po with uncertainty={uncertainty!r}"
    x = batch.need("entropy", why) if uncertainty == "entropy" else -batch.need("logp", why)
    total = np.bincount(batch.within("token", "turn"), weights=np.where(batch.action, x, 0.0), minlength=batch.n_turns)
    return np.maximum(total / batch.action_count("turn"), 0.0)


def _weights(batch: Batch, tree: Edges, ended: Float, weights: Weights, uncertainty: Uncertainty) -> Float | None:
    """Weight of each node among its siblings, and of the end in it among its children; the largest of a set is 1."""
    if weights == "mean":
        return None
    n, m = tree.parent.size, tree.at.size
    inner, end = tree.parent[:m], np.isfinite(ended)
    if weights == "leaves":
        one = np.unique(tree.target[batch.trajectory_turns[1:] - 1], return_index=True)[1]  # a rollout for each leaf
        path = np.isin(batch.within("turn", "trajectory"), one)
        return np.stack([np.bincount(tree.target[path], minlength=n), np.ones(n)]).astype(np.float64)
    h = np.zeros(n)
    h[:m] = _uncertain(batch, uncertainty)[tree.at]
    most = np.full(n, -np.inf)
    np.maximum.at(most, inner, h[:m])
    most[end] = np.maximum(most[end], h[end])
    made = np.ones((2, n))
    if weights == "softmax":
        made[0, :m] = np.exp(h[:m] - most[inner])
        made[1, end] = np.exp((h - most)[end])
    else:
        made[0, :m] = np.where(most[inner] > 0, h[:m] / np.where(most[inner] > 0, most[inner], 1.0), 1.0)
        made[1, end] = np.where(most[end] > 0, h[end] / np.where(most[end] > 0, most[end], 1.0), 1.0)
    return made


def _branch_points(tree: Batch, branches: int, penalty: float, uncertainty: Uncertainty) -> Int:
    """Turns beside which each group branches next: its best ``branches`` by score, taken again where there are fewer."""
    edges = _edges(tree)
    n, m = edges.parent.size, edges.at.size
    children = np.bincount(edges.parent[:m], minlength=n)
    h = _uncertain(tree, uncertainty)[edges.at]
    inner = np.flatnonzero(children[:m] > 0)
    top = np.flatnonzero(edges.parent[:m] >= m)
    roots, start = np.unique(edges.parent[top], return_index=True)
    turn = np.concatenate([edges.at[inner], edges.at[top[start]]])  # a first turn stands for its prompt
    siblings = np.concatenate([children[edges.parent[inner]], children[roots]]) - 1
    score = np.concatenate([h[inner], np.zeros(roots.size)]) - penalty * siblings
    group = tree.within("turn", "group")[turn]
    order = np.lexsort((turn, -score, group))
    bounds = np.searchsorted(group[order], np.arange(int(group.max()) + 2))
    chosen = [np.resize(turn[order[a:b]], branches) for a, b in pairwise(bounds.tolist())]
    return np.concatenate(chosen)
