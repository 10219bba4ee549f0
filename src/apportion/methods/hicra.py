"""HICRA (Wang et al. 2025, arXiv 2509.03646): more credit on the tokens that plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence.grams import Cluster, Grams, mine
from ..ops.groups import group_mean, standardise
from ..registry import method
from ..structure import Bool, Float
from ..words import Denominator, Single, Spread, check_word

Variant = Literal["paper", "code"]
Marks = Literal["given", "spans"]

#: Phrases that plan, for want of a mined list: the first three are the paper's examples, the rest ours.
PHRASES = (
    "let's try a different approach", "we can use the fact that", "but the problem mentions that",
    "let me think about another way", "suppose instead that", "wait that contradicts", "to double check this",
    "the main idea is to", "it is enough to show", "let us split into cases",
)  # fmt: skip


def phrase_grams(encode: Callable[[str], Sequence[int]], phrases: Sequence[str] = PHRASES) -> Grams:
    """N-grams of phrases under a tokenizer (``encode``: text to token ids, no special tokens), to pass as learned=.

    What a phrase becomes depends on what stands before it: each is entered as it is, capitalised, and
    both with a leading space.
    """
    forms = [form for p in phrases for c in (p, p[:1].upper() + p[1:]) for form in (c, f" {c}")]
    return Grams.of([encode(form) for form in forms])


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    lengths: tuple[int, int] = (3, 5),
    top: float = 0.2,
    least: int = 2,
    folds: int = 5,
    cluster: Cluster | None = None,
) -> Grams:
    """Mine strategic n-grams from the batch's solved answers (``evidence.grams``).

    The paper mines once, offline, words of a corpus, and joins n-grams of like meaning with a sentence encoder and a
    clustering; here they are runs of token ids, equal or not, unless ``cluster`` labels them. lengths: 3 to
    5; top: 0.2 of the clusters by document frequency; both the paper's. least: n-grams in fewer solved answers
    are not looked at (ours). folds: an answer is matched with what *other* answers share, so that its own
    success does not mark it. To mine a corpus of its own, call this on it and pass the result as learned=.
    """
    return mine(batch, rng, lengths=lengths, top=top, least=least, folds=folds, cluster=cluster)


@method(
    unit="token",
    reads={"reward", "group"},
    may_read={"spans", "entropy"},
    unless={"planning": ("marks", "spans")},
    evidence={"planning": "token"},
    fit=fit,
    cost="none a rollout; mining reads a corpus of T tokens once",
    status="secondary",
    unbiased="no: tokens that plan get A + alpha |A|, whose mean is not 0 even where that of A is",
    smallest="(Batch.from_turns([[2], [2]], outcome=[1.0, 0.0], group=[0, 0]), {'planning': [1, 0, 1, 0]})",
    scope="group",
)
def hicra(
    batch: Batch,
    *,
    planning: Float | None = None,
    marks: Marks = "given",
    alpha: float = 0.2,
    variant: Variant = "paper",
    upper: float = 0.3,
    spread: Spread = "none",
    eps: float = 1e-6,
    single: Single = "error",
    denominator: Denominator = "sequence",
) -> Credit:
    """GRPO's advantage, raised by alpha |A| on tokens that plan.

        A_i = R_i - mean_G R                     (spread other than "none": over std_G R + eps)
        A_{i,t} = A_i + alpha |A_i|   for t in S_i,      else A_i

    S: the planning tokens, those inside a strategic n-gram. So plans gain more in success, (1 + alpha) A, and lose
    *less* in failure, (1 - alpha) A; for alpha <= 1 no sign turns. One value per token; parts: ``group`` (A) and
    ``planning`` (what is added). No planning token, or all rewards equal: GRPO without its std.

    planning: 1 (or any number above 0) on the tokens of S, shape (tokens,), from ``fit=True`` (n-grams mined from
    this batch), ``learned=`` (mined elsewhere, or ``phrase_grams`` of a list) or your own; null (NaN) is not marked.
    marks: "given", that evidence; "spans", the tokens of batch.spans["planning"] instead.
    alpha: 0.2. spread: "none" as the paper prints; verl's GRPO divides ("sample"). eps, single, denominator: as in GRPO.
    variant: "code", as a TRL port describes the authors' code: tokens of high entropy count as planning
    too, in answers with A > 0 that are longer than the mean of their group; high is above the value at rank
    floor((1 - upper) L) of the answer's L sorted entropies. upper: 0.3. Reads ``entropy``. (Without any S that code multiplies by
    1 + alpha, which is the same there.) The port remarks that the original may have changed a copy, and so nothing.

    Biased: E over actions of (A + alpha |A|) grad log pi has a term alpha E|A| grad log pi on planning tokens: it pays for
    surprise, whatever is chosen, and more so the more uneven the rewards.

    Source: Wang et al., ICLR 2026 (2509.03646), from notes that quote its formula; the code variant from huggingface/trl pull
    request 4997 (not merged). The authors' repository held no code when read.
    """
    check_word(variant, Variant, "variant")
    check_word(marks, Marks, "marks")
    check_word(denominator, Denominator, "denominator")
    if not 0 <= alpha <= 1:
        raise OptionError(f"alpha = {alpha}: expected a number from 0 to 1 (above 1 the punishment of plans turns into reward)")
    advantage = standardise(batch.reward, batch.within("trajectory", "group"), spread=spread, eps=eps, single=single)
    plan = batch.action & (_spans(batch) if marks == "spans" else np.asarray(planning) > 0)
    if variant == "code":
        plan |= _surprised(batch, advantage, upper)
    base = np.where(batch.action, advantage[batch.within("token", "trajectory")], 0.0)
    parts = {"group": base, "planning": np.where(plan, alpha * np.abs(base), 0.0)}
    return Credit.of(
        batch, "token", parts["group"] + parts["planning"], parts=parts, loss=Loss(denominator=denominator),
        diagnostics={"planning": float(plan[batch.action].mean())},
    )  # fmt: skip


def _spans(batch: Batch) -> Bool:
    """Tokens inside any span of the table "planning"."""
    spans = batch.need("spans", "for hicra with marks='spans'")
    if "planning" not in spans:
        raise OptionError(f"marks = 'spans': the batch has spans {sorted(spans)}, expected a table 'planning'")
    n = batch.n_tokens + 1
    edge = np.bincount(spans["planning"].start, minlength=n) - np.bincount(spans["planning"].end, minlength=n)
    inside: Bool = np.cumsum(edge[:-1]) > 0
    return inside


def _surprised(batch: Batch, advantage: Float, upper: float) -> Bool:
    """Tokens of high entropy, in answers that did better than their group and are longer than its mean."""
    if not 0 <= upper <= 1:
        raise OptionError(f"upper = {upper}: expected a share from 0 to 1")
    entropy = batch.need("entropy", "for hicra with variant='code'")
    over, length = batch.within("trajectory", "group"), batch.action_count("trajectory").astype(np.float64)
    chosen = (advantage > 0) & (length > group_mean(length, over)[0][over])
    token = batch.within("token", "trajectory")
    own = batch.action & chosen[token]
    trajectory, value = token[own], entropy[own]
    ranked = value[np.lexsort((value, trajectory))]
    first = np.searchsorted(trajectory, np.arange(length.size))
    at = first + np.minimum((1.0 - upper) * length, length - 1).astype(np.int64)
    threshold = np.append(ranked, np.inf)[np.where(chosen, at, ranked.size)]
    high: Bool = own & (entropy > threshold[token])
    return high
