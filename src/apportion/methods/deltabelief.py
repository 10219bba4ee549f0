"""DeltaBelief-RL (Auzina et al. 2026, arXiv 2602.12342): turns are paid for how much surer they make of the secret."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import BatchError, OptionError
from ..evidence import Evidence, Policy
from ..evidence.belief import answer_belief
from ..evidence.prefix import fit_prefix, own_ends
from ..evidence.secret import LearnedSecret, lengths_of
from ..registry import method
from ..structure import Bool, Float, Int
from ..words import Denominator, Single, Spread, check_word

Change = Literal["rise", "signed"]
Absent = Literal["zero", "out"]


def collect(batch: Batch, policy: Policy, *, rng: np.random.Generator, answer_tokens: object = 1) -> Evidence:
    """Ask the policy for the log-probability of the secret, proposed by force after each turn.

    Privileged: the policy does not see the secret when it acts. An :class:`apportion.evidence.Answerer` gives the mean
    per token, b is the sum: b = ``answer_tokens`` x mean, the secret's length in tokens of the source, one number or
    one per trajectory. With the default 1 the mean itself is taken, as if every secret were one token long: lam then
    weighs a smaller change than in the paper. diagnostics: ``answer_tokens``, their mean. One scoring pass a turn.
    """
    tokens = lengths_of(answer_tokens, batch)
    asked = answer_belief(batch, policy, rng, "deltabelief")
    whole = asked.values * tokens[batch.within("prefix", "trajectory")]
    told = {"answer_tokens": float(tokens.mean())}
    return Evidence({"secret_logp": whole}, {"secret_logp": "prefix"}, asked.bill, "privileged", diagnostics=told)


def fit(
    batch: Batch,
    *,
    rng: np.random.Generator,
    folds: int = 5,
    ridge: float = 3.0,
    buckets: int = 512,
    action_tokens: int = 3,
) -> LearnedSecret:
    """Belief in success, learned from outcomes: log P(success | prefix) stands in for the secret's log-probability.

    Cross-fitted linear models of hashed features (``evidence.prefix``). Not the paper's quantity, and not privileged.
    """
    before, after, bill = fit_prefix(
        batch, "turn", own_ends(batch, "turn"), rng, folds=folds, ridge=ridge, buckets=buckets, actions=action_tokens
    )  # fmt: skip
    return LearnedSecret(before, after, bill)


@method(
    unit="turn",
    reads={"reward", "group"},
    may_read={"success"},
    evidence={"secret_logp": "prefix"},
    source="policy",
    collect=collect,
    fit=fit,
    cost="N + 1 scoring passes over the context so far and the secret",
    status="verified",
    unbiased="no: belief in the secret is not the chance of success, only its rises count, and absent turns enter as 0",
    smallest=(
        "(Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0]), "
        "{'secret_logp': [-6.0, -4.0, -1.0, -6.0, -6.5, -5.0]})"
    ),
    scope="group",
)
def deltabelief(
    batch: Batch,
    *,
    secret_logp: Float,
    lam: float = 0.1,
    win: float = 2.0,
    length: float = -0.05,
    change: Change = "rise",
    absent: Absent = "zero",
    spread: Spread = "sample",
    eps: float = 1e-6,
    single: Single = "raw",
    denominator: Denominator = "token",
) -> Credit:
    """Every turn's own reward, rises of belief in the secret included, standardised among the same turn of other rollouts.

        d_t = b_t - b_{t-1},    0 at the turn that finishes a game that was won
        r_t = penalty_t + win [won] + length T + lam max(d_t, 0)              [won] and T are the whole rollout's
        A_t = (r_t - mean) / (std + eps)         over turn t of the prompt's rollouts

    secret_logp: b, the log-probability of the secret *summed* over its tokens, forced as the answer at each prefix,
    shape (turns + trajectories,); the one after the last turn of a rollout that was won is not read. Privileged. One
    value per turn, no return: a turn is not paid for later ones, but for the end of the game. parts: none, as a
    z-score has no summands; diagnostics["belief"] is the mean of lam max(d, 0).

    penalty: ``turn_reward`` (and ``token_reward``) of the turn itself; the paper has -5 for an invalid question, -1 for
    a repeated one. won: ``success`` where given, else ``outcome`` > 0 (without an outcome: total reward > 0); how high
    the outcome is does not matter. win: 2, length: -0.05 a turn, none in a game of one turn (as in the code).
    lam: 0.1; 0 is the paper's ablation, StarPO in its turn-wise form.
    change: "rise", as above, or "signed", lam d_t.
    absent: a rollout without turn t enters the statistics as "zero" (the code's padding, the default), or stays "out".
    spread: "sample" (ddof 1), "population" or "none". eps: 1e-6.
    single: a set of one keeps its own value ("raw", as in verl: the mean is 0 and the spread 1), gets 0 ("zero") or raises
    ("error"). With absent="zero" only a prompt with one rollout is such a set.
    denominator: "token", as the scripts average.

    Equal rewards at a turn (all rollouts have it) give 0. With absent="zero" a turn that few reach is compared with
    zeros: a reward above 0 there is good news whatever the others earned. Where belief is saturated (b near 0) only the
    game's end is left. A turn beside a null (NaN) has no known reward: value 0, ``scored`` False, and it enters no
    statistic; diagnostics["asked"] is the share of turns that are known.

    Biased: b can rise without the chance of success; rises are not paid back where they are lost again, so that
    wavering pays; every turn of a rollout shares its end.

    Added after the survey. Source: Auzina et al. (2602.12342); bethgelab/delta-belief-rl, ``compute_grpo_turn_advantage``,
    ``RewardManager``, ``belief_log_prob`` (agg: sum), script qwen1.7b.sh.
    """
    for word, words, name in (
        (change, Change, "change"), (absent, Absent, "absent"), (spread, Spread, "spread"), (single, Single, "single"),
        (denominator, Denominator, "denominator"),
    ):  # fmt: skip
        check_word(word, words, name)
    for name, number in (("lam", lam), ("win", win), ("length", length)):
        if not np.isfinite(number):
            raise OptionError(f"{name} = {number}: expected a finite number")
    if denominator == "limit":
        raise OptionError("denominator = 'limit': deltabelief has 'token', 'trajectory', 'sequence' and 'unit'")
    positive = secret_logp > 1e-3
    if positive.any():
        i = int(np.argmax(positive))
        raise OptionError(f"evidence 'secret_logp'[{i}] = {secret_logp[i]:g}: a log-probability is at most 0")
    owner, turns = batch.within("turn", "trajectory"), np.diff(batch.trajectory_turns)
    won = _won(batch)
    finished = won[owner] & (batch.turn_index == turns[owner] - 1)
    d = np.where(finished, 0.0, secret_logp[batch.prefix_before + 1] - secret_logp[batch.prefix_before])
    known = ~np.isnan(d)
    belief = np.where(known, lam * (np.maximum(d, 0.0) if change == "rise" else d), 0.0)
    end = win * won + np.where(turns > 1, length * turns, 0.0)
    reward = batch.only({"turn_reward", "token_reward"}).rewards("turn") + end[owner] + belief
    peers = batch.within("turn", "group") * (int(batch.turn_index.max()) + 1) + batch.turn_index
    names, over = np.unique(peers, return_inverse=True)
    entered = np.bincount(over, weights=known, minlength=names.size)
    if absent == "zero":
        size = np.bincount(batch.within("trajectory", "group"))[batch.within("turn", "group")]
        n = np.zeros(names.size)
        n[over] = size
        n -= np.bincount(over, weights=~known, minlength=names.size)
    else:
        n = entered
    return Credit.of(
        batch, "turn", _padded(reward, over, known, n, spread, eps, single), scored=known,
        loss=Loss(denominator=denominator),
        diagnostics={"asked": float(known.mean()), "belief": float(belief[known].mean()) if known.any() else 0.0},
    )  # fmt: skip


def _won(batch: Batch) -> Bool:
    if batch.success is not None or batch.outcome is None:
        return batch.solved
    won: Bool = batch.outcome > 0
    return won


def _padded(x: Float, over: Int, known: Bool, n: Float, spread: Spread, eps: float, single: Single) -> Float:
    """(x - mean) / (std + eps) of each set, filled up with zeros to ``n`` members; what is not known gets 0.

    Measured from the first known value of each set, so that equal values of a full one give 0 exactly.
    """
    count = np.maximum(n, 1.0)
    origin = np.zeros(n.size)
    at = np.flatnonzero(known)[::-1]
    origin[over[at]] = x[at]  # from the last to the first: the first one stays
    from_origin = np.where(known, x - origin[over], 0.0)
    missing = n - np.bincount(over, weights=known, minlength=n.size)
    mean = (np.bincount(over, weights=from_origin, minlength=n.size) - missing * origin) / count
    centred = np.where(known, from_origin - mean[over], 0.0)
    lone = n == 1
    if single == "error" and (lone[over] & known).any():
        i = int(np.argmax(lone[over] & known))
        raise BatchError(
            f"turn {i} has no peer, so no baseline can be made: sample more, or choose single='raw' or single='zero'"
        )
    scale = np.ones(n.size)
    if spread != "none":
        square = np.bincount(over, weights=centred**2, minlength=n.size) + missing * (origin + mean) ** 2
        scale = np.sqrt(square / np.maximum(n - (spread == "sample"), 1.0)) + eps
    alone = np.where(known, x, 0.0) / (1.0 + eps if spread != "none" else 1.0) if single == "raw" else np.zeros_like(x)
    safe = np.where(scale > 0, scale, 1.0)[over]
    return np.where(lone[over], alone, np.where(centred == 0, 0.0, centred / safe))
