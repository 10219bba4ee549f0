"""FinePO (Huang et al. 2026, arXiv 2601.05688): a rollout's advantage, redistributed over its steps by ratings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence import Bill, Evidence, Judge, Rubric
from ..evidence.judging import ask, provenance
from ..evidence.learned import fit_linear
from ..evidence.rating import LearnedRating
from ..ops.groups import standardise
from ..ops.weighted import weighted_standardise
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import Denominator, Single, check_word

Answer = Literal["apart", "step"]

#: Our wording of what the process reward model is asked; edit it with ``dataclasses.replace``.
RUBRIC = Rubric(
    name="finepo",
    template=(
        "A question is solved step by step; each step says what it means to do, then does it.\n\nQuestion:\n{question}\n\n"
        "The steps, each with what was there before it and after it:\n{units}\n\n"
        "Rate each action by how well it does what its step meant to do. 4: excellent. 3: acceptable. 2: poor. "
        "1: unacceptable. Answer with one rating per step, in order."
    ),
    levels=(1.0, 2.0, 3.0, 4.0),
    one_call=False,
)

#: The same for a judge that is shown the reference answer (the paper's model is not).
INFORMED = replace(
    RUBRIC, name="finepo-informed", privileged=True,
    template=RUBRIC.template.replace("{question}\n\n", "{question}\n\nReference answer:\n{reference}\n\n"),
)  # fmt: skip


def collect(
    batch: Batch, judge: Judge, *, rng: np.random.Generator, rubric: Rubric = RUBRIC, answer: Answer = "apart"
) -> Evidence:
    """Ask for a rating of every step, 4 to 1; NaN where it could not be parsed.

    answer: "apart" leaves the last step of each trajectory unrated, as the final answer; "step" rates it like
    the others (what the paper does was not seen). rubric: ``INFORMED`` shows the reference answer.
    """
    check_word(answer, Answer, "answer")
    asked = ask(batch, judge, "step", rng, rubric)
    rating = asked.values
    if answer == "apart":
        owner = batch.within("step", "trajectory")
        rating = np.where(np.append(owner[1:] != owner[:-1], True), np.nan, rating)
    return Evidence({"rating": rating}, {"rating": "step"}, bill=asked.bill, provenance=provenance(judge, rubric))


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
    action_tokens: int = 3,
) -> LearnedRating:
    """Ratings learned from outcomes: how much each step raised the chance of success (``evidence.rating``).

    Two cross-fitted linear models of hashed features. The paper's model is a 7B vision model trained on 473k
    distilled ratings; this one knows what ended well elsewhere in this batch, and nothing else. It rates
    every step, the last one too.
    """
    solved = batch.solved.astype(np.float64)[batch.within("step", "trajectory")]
    seed = int(rng.integers(2**63))  # the same folds for both, so that their noise cancels in the difference
    before, after = (
        fit_linear(batch, "step", solved, np.random.default_rng(seed), folds=folds, ridge=ridge, buckets=buckets, actions=actions)
        for actions in (0, action_tokens)
    )
    return LearnedRating(before, after, Bill(trained=2.0 * float(batch.action.sum())))


@method(
    unit="step",
    reads={"reward", "group"},
    may_read={"steps", "spans"},
    evidence={"rating": "step"},
    source="judge",
    collect=collect,
    fit=fit,
    cost="N calls of a process reward model, each with one token of answer",
    status="secondary",
    unbiased="no: ratings move credit between steps, clipping then changes its sum, and a rollout is part of its own mean",
    smallest="(Batch.from_turns([[1, 1], [1]], outcome=[1.0, 0.0], group=[0, 0]), {'rating': [4.0, 2.0, 3.0]})",
    scope="group",
)
def finepo(
    batch: Batch,
    *,
    rating: Float,
    alpha: float = 1.0,
    beta: float | None = 2.0,
    types: str | None = None,
    policy_share: Mapping[str, float] | None = None,
    reference_share: Mapping[str, float] | None = None,
    lambda_kl: float = 0.5,
    gamma: float = 0.5,
    eps: float = 1e-6,
    single: Single = "error",
    denominator: Denominator = "sequence",
) -> Credit:
    """The group advantage of a rollout, more of it to steps rated above its own mean, less below.

        A_i  = R_i - mean_G R
        p'_j = p_j + clip(-lambda_kl log((P(a_j) + eps) / (Q(a_j) + eps)), -gamma, gamma)
        D_j  = p'_j - sum_k L_k p'_k / sum_k L_k                      over the rated steps of the trajectory
        A'_j = A_i + alpha D_j |A_i| / (max_k D_k + eps)
        A_j  = clip(A'_j, 0, beta A_i) if A_i > 0 else clip(A'_j, beta A_i, 0)

    R (N,) is the total reward, L_j the policy tokens of step j (turns where the batch has no steps), p the
    ratings: shape (steps,), 4 to 1 in the paper, any scale here (without types only their
    ratios of distances matter, up to eps). With alpha=1 the best step gets A_i + |A_i|. The mean of A'
    over the rated tokens is A_i, exactly; clipping keeps the sign of A_i and breaks that. A null (NaN) is the
    final answer or a rating that could not be parsed: it enters no mean and its step gets A_i (diagnostic
    ``unrated``; ``clipped``: share of the steps). One step, or equal ratings: D = 0 and A_j = A_i,
    exactly; A_i = 0: all 0. Parts: ``trajectory`` (A_i) and ``redistributed``, which add up.

    alpha: 1; 0 has Dr. GRPO's advantages. beta: 2, at least 1; None does not clip. Neither value was found in the source: ours.
    types: name of a span table whose labels say what kind of action each step is (the first span that starts
    in it). A kind taken more often than the reference does loses rating, so that a kind the rater likes
    does not take over. None: no such offset. Needs ``policy_share``, P (the paper's is over the last batches;
    :func:`action_shares` counts one), and ``reference_share``, Q (of the training data), kind -> share;
    a kind missing from one has share 0 there. A step without a kind has no offset.
    lambda_kl, gamma: .5 and .5 (ours). eps: 1e-6 at both places.
    single: what a prompt of one rollout gets, whose A_i is 0: an error by default, "zero", or "raw".
    denominator: "sequence", GRPO's.

    Biased: ratings are no values, and a step's share of A_i depends on the other steps of the rollout.

    Status: secondary: all equations from a note on the paper that quotes them. Not found: alpha, beta,
    lambda_kl, gamma, group size, the treatment of the final answer; the paper's appendix would settle them.

    Source: Huang et al., SketchVL, CVPR 2026 (2601.05688); no code found.
    """
    check_word(denominator, Denominator, "denominator")
    if alpha < 0:
        raise OptionError(f"alpha = {alpha}: expected at least 0; below, well rated steps would get less")
    if beta is not None and not beta >= 1:
        raise OptionError(
            f"beta = {beta}: expected at least 1, so that the rollout's own advantage is in the clip range, or None"
        )
    if eps < 0:
        raise OptionError(f"eps = {eps}: expected at least 0")
    owner = batch.within("step", "trajectory")
    rated = ~np.isnan(rating)
    p = np.where(rated, rating, 0.0)
    if types is not None:
        p = p + _offset(batch, types, policy_share, reference_share, lambda_kl, gamma, eps)
    elif policy_share is not None or reference_share is not None:
        raise OptionError("policy_share and reference_share correct for kinds of actions: name their span table with types=")
    d = weighted_standardise(p, owner, np.where(rated, batch.action_count("step"), 0))  # each token once
    best = np.maximum.reduceat(d, np.searchsorted(owner, np.arange(batch.n_trajectories)))
    whole = standardise(batch.reward, batch.within("trajectory", "group"), single=single)
    a = whole[owner]
    scale = np.maximum(best, 0.0) + eps
    moved = alpha * (np.abs(whole) / np.where(scale > 0, scale, 1.0))[owner] * d  # no best step: d is 0 throughout
    shared = a + moved
    if beta is not None:
        shared = np.clip(shared, np.minimum(beta * a, 0.0), np.maximum(beta * a, 0.0))
    clipped: Bool = shared != a + moved
    return Credit.of(
        batch, "step", shared, parts={"trajectory": a, "redistributed": shared - a}, loss=Loss(denominator=denominator),
        diagnostics={"unrated": float(1.0 - rated.mean()), "clipped": float(clipped.mean())},
    )  # fmt: skip


def action_shares(batch: Batch, types: str) -> dict[str, float]:
    """Share of each kind of action among the steps of the batch that have one, by the span table ``types``."""
    kind, names = _kinds(batch, types)
    count = np.bincount(kind[kind >= 0], minlength=len(names))
    return {name: float(n) / max(int(count.sum()), 1) for name, n in zip(names, count, strict=True)}


def _kinds(batch: Batch, types: str) -> tuple[Int, list[str]]:
    """Kind of each step as an index into the names, -1 where it has none."""
    table = batch.spans.get(types)
    if table is None or not table.label:
        raise OptionError(f"types = {types!r}: expected a span table with labels; the batch has spans {sorted(batch.spans)}")
    names = sorted(set(table.label))
    number = {name: i for i, name in enumerate(names)}
    order = np.argsort(-table.start, kind="stable")  # the last one written wins: the first span of each step
    kind = np.full(batch.n_steps, -1, dtype=np.int64)
    kind[batch.within("token", "step")[table.start[order]]] = np.array([number[name] for name in table.label])[order]
    return kind, names


def _offset(
    batch: Batch, types: str, policy: Mapping[str, float] | None, reference: Mapping[str, float] | None,
    lambda_kl: float, gamma: float, eps: float,
) -> Float:  # fmt: skip
    """What each step's kind adds to its rating, in [-gamma, gamma]."""
    if policy is None or reference is None:
        raise OptionError("types= needs policy_share= and reference_share=: kind -> share of the actions (see action_shares)")
    for name, shares in (("policy_share", policy), ("reference_share", reference)):
        for kind, share in shares.items():
            if not 0 <= share <= 1:
                raise OptionError(f"{name}[{kind!r}] = {share}: expected a share between 0 and 1")
    if not (gamma >= 0 and eps > 0):
        raise OptionError(f"gamma = {gamma}, eps = {eps}: expected at least 0, and above 0")
    index, names = _kinds(batch, types)
    p, q = (np.array([s.get(name, 0.0) for name in names]) for s in (policy, reference))
    per_kind = np.clip(-lambda_kl * np.log((p + eps) / (q + eps)), -gamma, gamma)
    return np.where(index >= 0, per_kind[index], 0.0)
