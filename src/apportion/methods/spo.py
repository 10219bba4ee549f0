"""SPO (Guo et al. 2025, arXiv 2505.23564): segments between uncertain tokens, valued by sampling; chain and tree."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence import Evidence, Sampler
from ..ops.answers import mean_answer
from ..ops.groups import group_spread
from ..ops.groups import whiten as whitened
from ..ops.prefix_tree import prefix_tree
from ..ops.tree import child_means, tree_edges
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import Denominator, check_word

Variant = Literal["chain", "tree"]
Form = Literal["difference", "std"]


def collect(
    batch: Batch,
    sampler: Sampler,
    *,
    rng: np.random.Generator,
    k: int = 9,
    interval: int = 5,
    rho: float = 0.9,
    variant: Variant = "chain",
) -> Evidence:
    """Value of the state before every ``interval``-th uncertain token: the mean reward of ``k`` continuations from it.

    Asks the sampler for axis="token": continuations from the text up to, and without, a token. A state nothing came
    back from stays null. k: 9 (4 for long answers). diagnostics: ``cuts``, ``lost``.
    """
    check_word(variant, Variant, "variant")
    if variant == "tree":
        raise OptionError("variant='tree' asks nothing: its values are those of the tree in the batch; leave sampler= out")
    if k < 1:
        raise OptionError(f"k = {k}: ask at least one continuation")
    at = _cuts(batch, _unsure(batch, rho), interval)
    found = np.full(batch.n_tokens, np.nan)
    if not at.size:
        return Evidence({"cut_value": found}, {"cut_value": "token"}, provenance=sampler.provenance, diagnostics={"cuts": 0.0})
    got = sampler.continuations(batch, at, k, rng, axis="token")
    found[at] = mean_answer(got.values, at.size, k)
    told = {"cuts": float(at.size), "lost": float(np.isnan(found[at]).sum())}
    return Evidence({"cut_value": found}, {"cut_value": "token"}, got.bill, sampler.provenance, diagnostics=told)


@method(
    unit="token",
    reads={"reward", "logp"},
    may_read={"group", "node", "parent", "ids"},
    unless={"cut_value": ("variant", "tree")},
    evidence={"cut_value": "token"},
    source="sampler",
    collect=collect,
    cost="chain: about K N T / 2 tokens generated from N cuts; tree: none beyond its own rollouts",
    status="verified",
    unbiased="no: which tokens are trained and where segments end depends on the tokens drawn; in trees V(parent) holds V(child)",
    smallest="(Batch.from_turns([[2, 2]], outcome=[1.0], logp=[-1.0, 0.0, -1.0, 0.0]), {'cut_value': [0.5, 0, 0.75, 0]})",
    scope="group",
    widens={"whiten": True},
)
def spo(
    batch: Batch,
    *,
    cut_value: Float | None = None,
    variant: Variant = "chain",
    interval: int = 5,
    rho: float = 0.9,
    form: Form = "difference",
    mask: bool = True,
    whiten: bool = False,
    denominator: Denominator = "token",
) -> Credit:
    """Monte-Carlo advantages of segments, trained on the tokens the policy was unsure of.

        U = {t: p_t < rho} = u_0 < u_1 < ...        cuts c_j = u_(j interval): the states before these tokens
        A of tokens c_j .. c_(j+1) - 1 = V(c_(j+1)) - V(c_j);   of the last segment R - V(c_m)         chain
        V(leaf) = R,   V(node) = mean of its children's V,   A(parent -> child) = V(child) - V(parent)      tree

    One value per token: 0 before the first cut, and 0 and out of the loss (``keep``) where p_t >= rho.
    p_t = exp(logp), of policy tokens.

    cut_value: V, the mean reward of continuations from the state before each token, shape (tokens,); read at the cuts
    only. NaN at a cut = not asked: its segment joins the one before it, or has no credit where none is before it
    (diagnostic ``valued``: the share of cuts that have a value). Rewards earned on the way belong to the segment they
    fall in (the paper knows the outcome only). No uncertain token: no credit.
    interval: 5 uncertain tokens a segment. rho: 0.9.
    variant: "chain"; or "tree", the paper's form for long answers, where every segment was sampled in a tree and all
    values come from its leaves: no evidence is needed. An edge is a turn where the batch has ``node`` and ``parent`` (the
    segments of a grown tree; one root a group), else a stretch of the prefix tree that a group's responses form by
    themselves (``ids``; ours: in the paper the tree is sampled, 6-6-6 with segments of 30 to 600 tokens).
    All tokens of an edge share its A, at its first appearance in the batch; edges with A = 0 (equal siblings, an only
    child) leave the loss. Where a response ends in a node that others continue, the end is one child more.
    form (tree): "difference" (shipped), or "std": over the population's spread of the siblings' V + 1e-8.
    mask: False trains every policy token (the ablation); the code still zeroes p_t > rho in chains then, ours do not.
    whiten: (A - mean) / sqrt(var + 1e-8), variance with ddof 1, over the tokens in the loss (over all policy tokens
    where none is). The code does so in each micro-batch; off by default, as a credit does not know the micro-batch.
    denominator: "token", the mean over the tokens in the loss.

    Biased: a token's probability decides whether it is trained, and the value at the next cut is that of a state
    in which an unlikely token comes next, whatever the value before. In a tree a state with m children has
    its gradient scaled by 1 - 1/m. A continuation that was cut off earns what the sampler says (the paper: 0). The PPO
    clip (0.2), the KL term (1e-4) and the tree's replay buffer are the trainer's.

    Source: Guo et al., NeurIPS 2025 (2505.23564); AIFrameResearch/SPO, ``math_episode_generator_with_mc_advantages``
    (chain), ``hybrid_inference_strategy`` and ``tree_episode_generator`` (tree), ``trainers/utils`` (whitening).
    """
    check_word(variant, Variant, "variant")
    check_word(form, Form, "form")
    check_word(denominator, Denominator, "denominator")
    if variant == "chain" and form != "difference":
        raise OptionError("form = 'std' divides by the spread of siblings: it needs variant='tree'")
    unsure = _unsure(batch, rho)
    kept = unsure if mask else batch.action
    told: dict[str, float] = {}
    if variant == "tree":
        advantage, edge = _tree(batch, form)
        kept = kept & edge
    else:
        assert cut_value is not None  # the registry sees to it
        cuts = _cuts(batch, unsure, interval)
        told["valued"] = float((~np.isnan(cut_value[cuts])).mean()) if cuts.size else 1.0
        advantage = _chain(batch, cut_value, cuts)
    token = np.where(kept, advantage, 0.0)
    if whiten:
        token = whitened(token, kept if kept.any() else batch.action)
    return Credit.of(
        batch, "token", token, keep=kept if mask or variant == "tree" else None, loss=Loss(denominator=denominator),
        diagnostics={"trained": float(kept[batch.action].mean()), **told},
    )  # fmt: skip


def _unsure(batch: Batch, rho: float) -> Bool:
    if not 0 < rho <= 1:
        raise OptionError(f"rho = {rho}: expected a probability above 0")
    unsure: Bool = np.exp(batch.need("logp", "for spo, which cuts where the policy was unsure")) < rho
    return unsure & batch.action


def _cuts(batch: Batch, uncertain: Bool, interval: int) -> Int:
    """Every ``interval``-th uncertain token of each trajectory, its first one among them."""
    if interval < 1:
        raise OptionError(f"interval = {interval}: expected at least 1 uncertain token a segment")
    at = np.flatnonzero(uncertain)
    first = np.searchsorted(at, batch.offsets("trajectory")[:-1])  # of each trajectory
    rank = np.arange(at.size) - first[batch.within("token", "trajectory")[at]]
    cuts: Int = at[rank % interval == 0]
    return cuts


def _chain(batch: Batch, cut_value: Float, cuts: Int) -> Float:
    """A of every token's segment, 0 before the first cut of its trajectory."""
    cuts = cuts[~np.isnan(cut_value[cuts])]
    if not cuts.size:
        return np.zeros(batch.n_tokens)
    trajectory = batch.within("token", "trajectory")
    begins = np.zeros(batch.n_tokens, dtype=np.int64)
    begins[cuts] = 1
    segment = np.cumsum(begins) - 1
    inside = (segment >= 0) & (trajectory[cuts[np.maximum(segment, 0)]] == trajectory)
    earned = np.bincount(segment[inside], weights=batch.rewards("token")[inside], minlength=cuts.size)
    value = cut_value[cuts]
    follows = np.append(trajectory[cuts[1:]] == trajectory[cuts[:-1]], False)
    advantage = earned + np.where(follows, np.append(value[1:], 0.0), 0.0) - value
    return np.where(inside, advantage[segment], 0.0)


def _tree(batch: Batch, form: Form) -> tuple[Float, Bool]:
    """A of the edge each token lies on, and which tokens to train: edges with A, where they first appear."""
    node, first, parent, end = _turns(batch) if batch.node is not None or batch.parent is not None else _tokens(batch)
    ends = np.bincount(end, minlength=parent.size)
    ended = np.bincount(end, weights=batch.reward, minlength=parent.size) / np.maximum(ends, 1)
    value, _ = child_means(parent, np.where(ends > 0, ended, np.nan))
    inner = parent >= 0
    advantage = np.where(inner, value - value[parent], 0.0)
    advantage[np.abs(advantage) < 1e-12] = 0.0  # a child at its siblings' mean, up to the rounding of a mean
    if form == "std":
        # children of each node: the nodes below it, and the responses that end in it while others go on
        also = np.flatnonzero((ends > 0) & (np.bincount(parent[inner], minlength=parent.size) > 0))
        siblings = np.concatenate([value[inner], ended[also]])
        spread = group_spread(siblings, np.concatenate([parent[inner], also]), ddof=0)
        advantage[inner] /= spread[parent[inner]] + 1e-8
    return advantage[node], first & (advantage[node] != 0)


def _turns(batch: Batch) -> tuple[Int, Bool, Int, Int]:
    """Node and first appearance of each token, node above each node, node each trajectory ends in."""
    if batch.node is None or batch.parent is None:
        batch.need("node" if batch.node is None else "parent", "for spo: node and parent go together")
    node, parent = batch.need("node"), batch.need("parent")
    edges = tree_edges(node, parent, batch.within("turn", "group"), batch.turn_index == 0, merge_root=True)
    turn = batch.within("token", "turn")
    return edges.target[turn], edges.first[turn], edges.parent, edges.target[batch.trajectory_turns[1:] - 1]


def _tokens(batch: Batch) -> tuple[Int, Bool, Int, Int]:
    """The same of the prefix tree that token ids form."""
    ids = batch.need("ids", "for spo with variant='tree', unless node and parent are given")
    tree = prefix_tree(ids, batch.offsets("trajectory"), batch.within("trajectory", "group"))
    trajectory = batch.within("token", "trajectory")
    found, at = np.unique(tree.node, return_index=True)
    opened = np.zeros(tree.parent.size, dtype=np.int64)
    opened[found] = trajectory[at]
    return tree.node, opened[tree.node] == trajectory, tree.parent, tree.end
