"""GraphGPO (Cheng et al. 2026, arXiv 2605.26684). Added after the survey."""

from __future__ import annotations

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..ops.anchors import anchor_groups, similar_groups
from ..ops.graph import steps_to
from ..ops.groups import standardise
from ..registry import method
from ..structure import Float, Int
from ..words import Single, Spread, check_word
from ._episode import Statistics, episode_part

#: What the step into success earns, as the reward of the environments the code was written for.
_TOP = 10.0


@method(
    unit="turn",
    reads={"reward", "group", "state"},
    may_read={"success"},
    cost="0",
    status="verified",
    unbiased="no: the shortest way anyone found stands in for the value of a state, and both baselines contain the turn itself",
    smallest=(
        "Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0], "
        "state=['start', 'left', 'end', 'start', 'right', 'pit'])"
    ),
    scope="group",
)
def graphgpo(
    batch: Batch,
    *,
    gamma: float = 0.1,
    omega: float = 1.0,
    episode_weight: float = 1.0,
    normalize_distance: bool = False,
    spread: Spread = "sample",
    eps: float = 1e-6,
    statistics: Statistics = "trajectory",
    similarity: float | None = None,
    single: Single = "error",
) -> Credit:
    """The rollouts of a task as one graph of states: a turn is as good as the state it led to is near to success.

        d(s)  = least number of turns from s to success, in the graph of all turns s_t -> s_{t+1} of the group
        g_t   = 10 gamma^d(s_{t+1})            or, with normalize_distance,  10 gamma^(d(s_{t+1}) - d(s_t) + 1)
        AS_t  = (g_t - mean) / F               over the turns of the group in the same state
        AE_i  = (R_i - mean) / F               over the group's rollouts
        A_t   = omega AS_t + episode_weight AE_i

    Added after the survey. States are the ``state`` keys of all prefixes, so that after the last turn included. The last
    turn of a rollout that is solved (column ``success``, else total reward > 0) leads to success itself, which is at
    distance 0, whatever key stands after it; that of another rollout leads to the state it ended in. A state from
    which success was never reached is one farther than the farthest from which it was: if nothing was solved, all are
    at 1, and the step part is 0. A state without a key (None) is a place of its own, on its own rollout's way.
    A turn in a state that nobody else left has AS 0. One value per turn; parts: ``step`` and ``episode``. Rewards
    enter AE and say what is solved; AS knows distances only. So a good turn of a failed rollout may end above 0, and
    a detour of a solved one below. diagnostics: ``reachable``, the share of turns after which success was in reach.

    gamma: .1 per turn of distance, far below the discount of ``gigpo``; omega, episode_weight, eps: 1, 1, 1e-6. With
    these AS fades some seven turns from success: there g is 1e-6, and eps outweighs the std of such numbers. With
    normalize_distance (official False) g is 10 for every turn on a shortest way, however far from success.
    spread: F, "sample" (official "mean_std_norm", ddof 1, plus eps), "none" (official "mean_norm") or "population" (ours).
    statistics: what AE's mean and std count once: each "trajectory" (our default, as in ``gigpo``) or each "row" (the
    official code: every turn counts, long rollouts weigh more).
    similarity: None: equal keys only. A threshold (official .95) joins the states of the *graph* whose text keys are
    that alike (see ``gigpo``); AS still compares equal keys, as in the code. Slower: it compares texts in pairs.
    single: a group of one rollout: an error, its own reward ("raw", as the code has it for a rollout of one turn) or "zero".

    Biased: a state counts by its shortest known way to success, not by the chance to take it, and how short that is
    depends on how many rollouts came by.
    Not offered: the official penalty on invalid actions, which needs a column that batches do not have.

    Source: ICML 2026 (2605.26684); verl-agent ``recipe/GraphGPO/core_graph.py`` and ``rollout_loop.py`` (read in a fork).
    """
    check_word(spread, Spread, "spread")
    check_word(statistics, Statistics, "statistics")
    if not 0 <= gamma <= 1:
        raise OptionError(f"gamma = {gamma}: expected a number between 0 and 1")
    here, there, success = _edges(batch, similarity)
    found = steps_to(here, there, np.array([success]), success + 1)
    distance = _unreached(found, here, there, batch.within("turn", "group"))
    away = distance[1] - distance[0] + 1 if normalize_distance else distance[1]
    g: Float = np.asarray(_TOP * float(gamma) ** away, dtype=np.float64)
    same = anchor_groups(batch.within("turn", "group"), batch.need("state").codes[batch.prefix_before])
    parts = {
        "step": omega * standardise(g, same, spread=spread, eps=eps, single="zero"),
        "episode": episode_weight * episode_part(batch, spread, eps, statistics, single),
    }
    reachable = {"reachable": float((found[there] >= 0).mean())}
    return Credit.of(batch, "turn", parts["step"] + parts["episode"], parts=parts, diagnostics=reachable)


def _edges(batch: Batch, similarity: float | None) -> tuple[Int, Int, int]:
    """Node of the state before and of that after each turn, and of success: the last one."""
    state, over = batch.need("state"), batch.within("prefix", "group")
    won = batch.prefix_offsets[1:][batch.solved] - 1  # what stands after a solved rollout is success, not a state
    if similarity is None:
        node = anchor_groups(over, state.codes)
    else:
        seen = np.ones(over.size, dtype=np.bool_)
        seen[won] = False
        node = np.zeros(over.size, dtype=np.int64)
        node[seen] = similar_groups(over[seen], state.codes[seen], state.names, similarity)
    success = int(node.max()) + 1  # one for all groups: their states are apart, and nothing leads on from it
    node[won] = success
    here = batch.prefix_before
    return node[here], node[here + 1], success


def _unreached(found: Int, here: Int, there: Int, group: Int) -> tuple[Int, Int]:
    """Distances before and after each turn; one more than the group's largest where success was not reached."""
    before, after = found[here], found[there]
    far = np.zeros(int(group.max()) + 1, dtype=np.int64)
    np.maximum.at(far, group, np.maximum(before, after))
    return np.where(before < 0, far[group] + 1, before), np.where(after < 0, far[group] + 1, after)
