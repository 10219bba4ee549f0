"""CriticSearch (Zhang et al. 2025, arXiv 2511.12159): good and bad search turns, labelled in retrospect."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence import Evidence, Judge, Rubric
from ..evidence.judging import ask, check_levels, provenance
from ..ops.groups import standardise
from ..registry import method
from ..structure import Bool, Float
from ..words import Denominator, Single, Spread, check_word

TurnNorm = Literal["group", "trajectory", "none"]
Search = Literal["but_last", "all", "spans"]
AnswerCredit = Literal["global", "mixed"]

#: Our wording of what the critic is asked (the paper's prompt was not seen); edit it with ``dataclasses.replace``.
RUBRIC = Rubric(
    name="criticsearch",
    template=(
        "A search agent has finished its work on a question. Look back at it, knowing the answer.\n\nQuestion:\n{question}\n\n"
        "Gold answer:\n{reference}\n\nWhat the agent thought, searched for and found, turn by turn:\n{units}\n\n"
        "Label every search: Good if it brought the agent closer to the gold answer, Bad if it was off the point, "
        "repeated what was known or led away from it. Answer with one label per turn, in order."
    ),
    levels=(0.0, 1.0),
    privileged=True,
)

#: The same for a critic that does not know the gold answer.
UNAIDED = replace(
    RUBRIC, name="criticsearch-unaided", privileged=False,
    template=RUBRIC.template.replace(", knowing the answer", "").replace("Gold answer:\n{reference}\n\n", "")
    .replace("the gold answer", "an answer"),
)  # fmt: skip


def collect(batch: Batch, judge: Judge, *, rng: np.random.Generator, rubric: Rubric = RUBRIC) -> Evidence:
    """Ask a frozen critic once per trajectory whether each turn's search was good (1) or bad (0); NaN: no answer.

    rubric: ``UNAIDED`` hides the gold answer.
    """
    asked = ask(batch, judge, "turn", rng, rubric)
    return Evidence({"label": asked.values}, {"label": "turn"}, bill=asked.bill, provenance=provenance(judge, rubric))


@method(
    unit="turn",
    reads={"reward", "group"},
    may_read={"spans"},
    evidence={"label": "turn"},
    source="judge",
    collect=collect,
    cost="1 judge call, which reads T tokens and the gold answer and writes N labels",
    status="secondary",
    unbiased="no: a label is no estimate of the advantage, and both terms are divided by a spread",
    smallest="(Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0]), {'label': [1.0, 1.0, 0.0, 1.0]})",
    scope="group",
)
def criticsearch(
    batch: Batch,
    *,
    label: Float,
    alpha: float = 0.25,
    turn_norm: TurnNorm = "group",
    search: Search = "but_last",
    answer_credit: AnswerCredit = "global",
    spread: Spread = "sample",
    eps: float = 1e-6,
    single: Single = "zero",
    denominator: Denominator = "sequence",
) -> Credit:
    """GRPO's advantage mixed with a critic's labels of the search turns, standardised.

        G_i     = (R_i - mean_G R) / (std_G R + eps)                          per trajectory
        L_{i,k} = (l_{i,k} - mean l) / (std l + eps)                          over the labelled search turns of the prompt
        A_{i,k} = alpha L_{i,k} + (1 - alpha) G_i     search turns            A_i = G_i     answer turns

    R (N,) is the total reward. label: l, shape (turns,), 1 good, 0 bad; a null (NaN) is a label that could
    not be parsed: it enters no mean, its L is 0 and the turn keeps (1 - alpha) G (our rule). Parts:
    ``global`` and ``turn``, which add up. All rewards alike: G = 0 exactly and the labels still teach;
    all labels alike, or one label only: L = 0 exactly. Coding good and bad as +1 and -1 changes only what
    eps does.

    alpha: 0.25, the weight of the turn term; alpha=0 is GRPO.
    turn_norm: over what the labels are standardised: the search turns of all rollouts of the prompt
    ("group"), those of each trajectory by itself, or not at all (L = l, which is never negative).
    search: which turns search: all but the last of a trajectory, which is its answer ("but_last"); "all"; or
    those that hold a token of the span table "search" ("spans"). Labels of other turns are not read.
    answer_credit: what a turn that does not search gets: G ("global") or (1 - alpha) G ("mixed").
    spread, eps: ddof 1 and 1e-6, for both terms. single: G of a prompt with one rollout; the labels of its
    turns can still be compared. denominator: "sequence", GRPO's.

    Diagnostics: ``unparsed`` (share of the search turns without a label), ``good`` (of those with one).

    Status: secondary. The mixture, alpha and binary labels were read at second hand; reconstructed: the
    scope and ddof of the turn's standardisation, the 0/1 coding, the answer turn. The method section of
    the paper or the repository's reward code would settle all of them.

    Source: Zhang et al., Findings of ACL 2026 (2511.12159); repository zhyaoch/CriticSearch, README only.
    """
    check_word(turn_norm, TurnNorm, "turn_norm")
    check_word(answer_credit, AnswerCredit, "answer_credit")
    check_word(denominator, Denominator, "denominator")
    if not 0 <= alpha <= 1:
        raise OptionError(f"alpha = {alpha}: expected the weight of the turn term, from 0 to 1")
    check_levels("evidence 'label'", label, RUBRIC.levels)
    searching = _searching(batch, search)
    labelled = searching & ~np.isnan(label)
    good = np.where(labelled, label, 0.0)
    term = good
    if turn_norm != "none":
        over = batch.within("turn", turn_norm)
        term = standardise(good, over, spread=spread, eps=eps, counted=labelled, single="zero")
    owner = batch.within("turn", "trajectory")
    whole = standardise(batch.reward, batch.within("trajectory", "group"), spread=spread, eps=eps, single=single)[owner]
    mixed = searching if answer_credit == "global" else np.ones(batch.n_turns, dtype=np.bool_)
    parts = {"global": np.where(mixed, 1.0 - alpha, 1.0) * whole, "turn": np.where(labelled, alpha * term, 0.0)}
    n = int(labelled.sum())
    return Credit.of(
        batch, "turn", parts["global"] + parts["turn"], parts=parts, loss=Loss(denominator=denominator),
        diagnostics={"unparsed": 1.0 - n / max(int(searching.sum()), 1) if searching.any() else 0.0,
                     "good": float(good.sum()) / max(n, 1)},
    )  # fmt: skip


def _searching(batch: Batch, search: Search) -> Bool:
    """Which turns are search actions."""
    check_word(search, Search, "search")
    which = np.ones(batch.n_turns, dtype=np.bool_)
    if search == "but_last":
        which[batch.trajectory_turns[1:] - 1] = False
    elif search == "spans":
        if "search" not in batch.spans:
            raise OptionError(f"search='spans' reads the span table 'search'; the batch has spans {sorted(batch.spans)}")
        table, turn = batch.spans["search"], batch.within("token", "turn")
        # a span may reach over several turns: +1 at its first, -1 after its last
        edge = np.bincount(turn[table.start], minlength=batch.n_turns + 1)
        edge -= np.bincount(turn[table.end - 1] + 1, minlength=batch.n_turns + 1)
        which = np.cumsum(edge)[:-1] > 0
    return which
