"""SWEET-RL (Zhou et al. 2025, arXiv 2503.15478): a critic that knows the solution ranks candidates turn by turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Preferences
from ..errors import OptionError
from ..evidence import Evidence, Sampler
from ..evidence.fresh import fresh_actions
from ..evidence.implicit import log_ratio_to
from ..evidence.implicit_design import Reference
from ..evidence.privileged import LearnedCritic, Mean, Pairing, best_pairs, fit_critic, shares
from ..ops.groups import standardise
from ..ops.pairs import log_sigmoid_pull
from ..registry import method
from ..structure import Float, Int
from ..words import check_word

Form = Literal["advantage", "preferences"]
Seed = Literal["seed", "sampled"]
Baseline = Literal["none", "candidates"]


def collect(
    batch: Batch, sampler: Sampler, *, rng: np.random.Generator, k: int = 16, samples: int | None = None
) -> Evidence:  # fmt: skip
    """Candidates: ``k`` fresh actions at every turn, or at ``samples`` turns drawn with replacement; none is executed.

    The batch that is credited, or ranked, consists of them. k: 16, the paper's, on a tenth of its data.
    """
    return fresh_actions(batch, sampler, rng, k=k, samples=samples, who="sweet_rl")


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    state: LearnedCritic | None = None,
    privileged: Sequence[Sequence[int] | None] | None = None,
    mean: Mean = "turn",
    pairing: Pairing = "best",
    at_least: float | None = 1.0,
    beta: float = 0.1,
    base: Reference = "frozen",
    folds: int = 5,
    ridge: float = 1.0,
    buckets: int = 2**14,
    steps: int = 30,
) -> LearnedCritic:
    """The critic: its mean log-ratios to its seed, summed over turns, should rank the trajectories of a task.

        J = -log sigmoid(beta sum_t A(o+_t, a+_t, c) - beta sum_t A(o-_t, a-_t, c))

    A log-linear policy on hashed text features, cross-fitted by task (``evidence.implicit``), in place of a language
    model. privileged: c, one sequence of token ids per trajectory (or None), which it reads as ``evidence.privileged``
    says; left out, it is the paper's ablation without training-time information. Fresh actions have the c of the
    trajectory whose turn they answer; tell a later batch's with ``learned.with_texts(batch, ...)``. On texts that it never
    met the level of A, the same for all actions there, means nothing: compare candidates.
    mean: over "turn"s, the paper's A, or one over all agent tokens of the "trajectory", as the code trains; "none" is
    the ablation without it. pairing: the "best" of a task against every worse one, where the best reward is ``at_least`` 1
    (the code; None: any), or "all" of solved and unsolved. Pairs of a task weigh together half its rollouts.
    base: the seed, "frozen" (``ref_logp``) or "policy" (``logp``). state: goes on learning (the paper trains it once).
    """
    return fit_critic(
        batch, rng, state=state, privileged=privileged, mean=mean, pairing=pairing, at_least=at_least, beta=beta, base=base,
        folds=folds, ridge=ridge, buckets=buckets, steps=steps,
    )  # fmt: skip


@method(
    unit="turn",
    reads=set(),
    may_read={"group", "logp", "outcome", "turn_reward", "token_reward"},
    unless={"seed_logp": ("reference", "sampled")},
    evidence={"critic_logp": "token", "seed_logp": "token"},
    source="sampler",
    collect=collect,
    fit=fit,
    cost="K candidates per turn, K critic and reference passes over T tokens each; the critic is trained once",
    status="verified",
    unbiased="no: it is the log-ratio of a learned critic, not an advantage of the policy",
    smallest="(Batch.from_turns([[1, 1]]), {'critic_logp': [-0.5, -1.0], 'seed_logp': [-0.7, -0.8]})",
    grows=True,
    scope="trajectory",
)
def sweet_rl(
    batch: Batch,
    *,
    critic_logp: Float,
    seed_logp: Float | None = None,
    form: Form = "advantage",
    mean: Mean = "turn",
    reference: Seed = "seed",
    baseline: Baseline = "none",
    pairs: int = 4,
    beta: float = 0.1,
    at_least: float | None = 1.0,
    rng: np.random.Generator | int | None = None,
) -> Credit | Preferences:
    """A turn's mean log-ratio of a critic that knows more to its seed; candidates of a turn ranked by it.

        A(o_t, a_t, c) = 1/L_t sum_l [ log pi_theta(a_t^l | o_t, a_t^{<l}, c) - log pi_seed(a_t^l | o_t, a_t^{<l}, c) ]

    critic_logp, seed_logp: log-probability of every token under the critic and under its frozen seed, both told c, shape
    (T,), in nats. L_t: policy tokens of turn t. One value per turn, on all its tokens.

    form: "preferences" is the paper's: per state, the K candidates ranked by A, a chosen one drawn from the upper half
    and a rejected one from the lower half (floor(K/2) each: the middle of an odd K is in neither; ties keep their order),
    for DPO on the policy, which never sees c. It needs candidates: trajectories of one turn, grouped by the state they
    answer, as ``sampler=`` collects them. "advantage", the default, is the same A as on-line credit, also of logged turns.
    pairs: how many are drawn per state, 4; rng: from what, a seed or a generator, 0 if none (``ap.assign`` passes its own).
    margin of a preference: how far the two are apart in A.
    mean: "turn"; "trajectory": the turn's sum over all agent tokens of its trajectory, its share of what the code
    trains the critic on; "none": the sum, the ablation that collapses to short replies.
    reference: "seed", the paper's; "sampled": the column ``logp`` in its place, the code's, which compares with the mean
    log-probability of a candidate when it was sampled, without c.
    baseline: "candidates" subtracts the mean A of the state's candidates.
    diagnostics, where the batch has groups and rewards: ``loss``, the mean of -log sigmoid(beta (S+ - S-)) over the pairs of
    a task, the best (reward at_least 1; None: any) and each worse one, S the sum of A over a trajectory; and ``pairs``.

    Rewards are not read for credit: they reached the critic. A critic that is its seed: all credit is 0.

    Source: Zhou et al. 2025 (2503.15478); facebookresearch/sweet_rl ``scripts/rank_best_of_n.py`` (read),
    ``evaluate_code.py``, YifeiZhou02/collab_openrlhf ``dpo_trainer.py``. Ours: "advantage" is the library's default, for
    it is what a trainer of policies takes, and the share of "trajectory". A language model as critic: give ``critic_logp``
    and ``seed_logp``, or ``learned=`` anything with ``evidence(batch)``.
    """
    for name, word, words in (
        ("form", form, Form), ("mean", mean, Mean), ("reference", reference, Seed), ("baseline", baseline, Baseline)
    ):  # fmt: skip
        check_word(word, words, name)
    if beta <= 0 or pairs < 1:
        raise OptionError(f"beta = {beta}, pairs = {pairs}: expected above 0, and at least 1")
    seed = batch.need("logp", "for sweet_rl") if reference == "sampled" else seed_logp
    ratio = shares(batch, mean) * log_ratio_to(batch, critic_logp, "critic_logp", seed, "seed_logp")
    score: Float = np.zeros(batch.n_turns)
    score += np.bincount(batch.within("token", "turn"), weights=ratio, minlength=batch.n_turns)
    if form == "preferences":
        up, down = _drawn(score, _states(batch), pairs, np.random.default_rng(0 if rng is None else rng))
        return Preferences(batch, "turn", up, down, margin=score[up] - score[down])
    told = _loss(batch, score, beta, at_least)
    if baseline == "candidates":
        score = standardise(score, _states(batch), single="zero")
    return Credit.of(batch, "turn", score, diagnostics=told)


def _states(batch: Batch) -> Int:
    """The state that each candidate answers."""
    batch.need("group", "to know the candidates of a state")
    if batch.n_turns != batch.n_trajectories:
        i = int(np.argmax(np.diff(batch.trajectory_turns)))
        raise OptionError(
            f"trajectory {i} has {np.diff(batch.trajectory_turns)[i]} turns: candidates are trajectories of one turn, grouped "
            "by the state they answer. Let them be collected: sampler="
        )
    return batch.within("turn", "group")


def _drawn(score: Float, over: Int, pairs: int, rng: np.random.Generator) -> tuple[Int, Int]:
    """``pairs`` of (upper half, lower half) per state with at least two candidates."""
    ranked = np.lexsort((np.arange(score.size), -score, over))
    size = np.bincount(over)
    start = (np.cumsum(size) - size)[size > 1]
    size = size[size > 1]
    half = np.repeat(size // 2, pairs)
    up, down = (rng.integers(half) for _ in range(2)) if half.size else (half, half)
    return ranked[np.repeat(start, pairs) + up], ranked[np.repeat(start + size, pairs) - 1 - down]


def _loss(batch: Batch, score: Float, beta: float, at_least: float | None) -> dict[str, float]:
    rewards = (batch.outcome, batch.turn_reward, batch.token_reward)
    if batch.group is None or all(r is None for r in rewards):
        return {}
    total: Float = np.zeros(batch.n_trajectories)
    total += np.bincount(batch.within("turn", "trajectory"), weights=score, minlength=total.size)
    up, down, _ = best_pairs(batch, at_least)
    if not up.size:
        return {"pairs": 0.0}
    loss = log_sigmoid_pull(beta * total, up, down, np.full(up.size, 1.0 / up.size))[2]
    return {"loss": loss, "pairs": float(up.size)}
