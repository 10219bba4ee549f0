"""MT-GRPO and MT-PPO (Zeng, Wei et al. 2025, arXiv 2505.11821): rewards of turns beside the outcome."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, Loss
from ..errors import OptionError
from ..evidence import Evidence, Judge, Rubric
from ..evidence.judging import ask, provenance
from ..ops.groups import standardise
from ..ops.scans import discounted_suffix, gae_and_returns
from ..registry import method
from ..structure import Float
from ..words import Single, check_word

Variant = Literal["mt_grpo", "mt_ppo"]
Estimator = Literal["aae", "cae"]
OneTurn = Literal["outcome", "combined"]

#: The judge's side of the paper's alternative: its own prompt mirrors the rules of the search agent.
RUBRIC = Rubric(
    name="turn reward",
    template=(
        "An assistant answers a question in several turns and may call a search tool.\n"
        "Question: {question}\n\nTurns:\n{units}\n\n"
        "Rate every turn by itself. Ask of each: is the call well formed, does what it brings back help to answer the "
        "question, and was it needed at all? A turn that repeats a search or breaks the format is rated low; the last "
        "turn is rated by its answer and format.\n"
        "Give each turn one of -1, -0.5, 0, 0.5, 1, in order."
    ),
    levels=(-1.0, -0.5, 0.0, 0.5, 1.0),
)


def collect(batch: Batch, judge: Judge, *, rng: np.random.Generator, rubric: Rubric = RUBRIC) -> Evidence:
    """One rating in [-1, 1] per turn, from one call per trajectory; NaN where it could not be parsed."""
    asked = ask(batch, judge, "turn", rng, rubric)
    return Evidence({"turn_reward": asked.values}, {"turn_reward": "turn"}, bill=asked.bill, provenance=provenance(judge, rubric))


@method(
    unit="turn",
    reads={"outcome", "group"},
    may_read={"value"},
    evidence={"turn_reward": "turn"},
    source="judge",
    collect=collect,
    cost="0 with rules; 1 judge call with a judge; mt_ppo: T tokens scored by a critic",
    status="verified",
    unbiased="no: rewards are divided by spreads, and turns of one index are compared across different states",
    smallest="Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0], turn_reward=[0.5, 0.0, 0.2, 0.0])",
    scope="group",
)
def turn_level_reward(
    batch: Batch,
    *,
    turn_reward: Float,
    variant: Variant = "mt_grpo",
    alpha: float = 1.0,
    coef: float = 1.0,
    estimator: Estimator = "aae",
    one_turn: OneTurn = "outcome",
    gamma: float = 1.0,
    lam: float = 1.0,
    eps: float = 1e-4,
    single: Single = "error",
) -> Credit:
    """Rewards of turns and of the outcome standardised apart; a turn gets its own and the discounted later ones.

        norm(z)_i = (z_i - mean z) / (std z + eps)       A^I_(l) = norm(R^I_l), over the rollouts with a reward at turn l
        A^O = norm(R^O), over all rollouts of the prompt
        A_(k) = coef sum_{l=k}^{K-1} alpha^(l-k) A^I_(l) + alpha^(K-k) A^O        "mt_grpo", K turns; A_(K) = A^O
        A_t = GAE(gamma, lam) of the rewards, each on the last token of its turn           "mt_ppo", every policy token

    turn_reward: R^I, one per turn, shape (turns,): the batch's column, rules' or a judge's ratings (judge=, prompt
    ``RUBRIC``). The last turn's joins the outcome: R^O = outcome + R^I_K. Null (NaN): the turn has none, enters no
    statistic and has A^I = 0; where nobody else of the prompt has one at that index, likewise. Token rewards are not read.
    parts: ``turn`` (the sum over A^I) and ``outcome`` ("mt_grpo" with "aae").

    variant: "mt_grpo", no critic (default), or "mt_ppo".
    alpha, coef: 1 and 1: the paper's discount, and the code's weight of the turn part.
    estimator: "aae" as above; "cae", the other one the code had until May 2025, for two turns (more are ours): the return
    to go sum_{l>=k} alpha^(l-k) R_l standardised among the turns of that index, but a last turn that is not the only one
    gets A^O; nulls count 0 there.
    one_turn: rollouts of one turn (no tool was called) get "outcome", A^O, as the formula has it, or "combined",
    norm(sum of all rewards over all rollouts of the prompt), as the code ("aae" only).
    eps: 1e-4 (code), ddof 1. single: a prompt of one rollout: an error; "zero", as the card has it; "raw".
    gamma, lam: of "mt_ppo": 1 and 1. It reads the column ``value`` (V before every token; 0 after the last one) and is
    ``gae`` of the same rewards. targets: ``value``.
    loss.denominator: "token".

    One chain per rollout: the paper's K-turn form compares the actions of one state, G^(K-1) rollouts of a tree; this is
    its approximation for independent rollouts, exact for two turns. With rewards of 0 for all turns but the last it is
    GRPO, with discount alpha^(K-k). A baseline per turn index is biased where the policy decides when to stop.

    Source: Zeng et al. and Wei et al. (2505.11821 v1, v2, appendix D); SiliangZeng/Multi-Turn-RL-Agent
    ``verifiers/trainers/mt_grpo_env_trainer.py`` (``_assign_advantages``), read. Code of MT-PPO: none found.
    """
    for word, words, name in (
        (variant, Variant, "variant"), (estimator, Estimator, "estimator"), (one_turn, OneTurn, "one_turn"),
        (single, Single, "single"),
    ):  # fmt: skip
        check_word(word, words, name)
    for name, factor in (("alpha", alpha), ("gamma", gamma), ("lam", lam)):
        if not 0 <= factor <= 1:
            raise OptionError(f"{name} = {factor}: expected a number from 0 to 1")
    if estimator == "cae" and (coef != 1 or one_turn != "outcome"):
        raise OptionError(f"coef = {coef}, one_turn = {one_turn!r}: estimator='cae' has neither: leave them out")
    scored = ~np.isnan(turn_reward)
    reward = np.where(scored, turn_reward, 0.0)
    final = np.zeros(batch.n_turns, dtype=np.bool_)
    final[batch.trajectory_turns[1:] - 1] = True
    reward[final] += batch.need("outcome")
    if variant == "mt_ppo":
        return _mt_ppo(batch, reward, gamma, lam)
    owner, over = batch.within("turn", "trajectory"), batch.within("trajectory", "group")
    outcome = standardise(reward[final], over, spread="sample", eps=eps, single=single)[owner]
    index = np.unique(over[owner] * (int(batch.turn_index.max()) + 1) + batch.turn_index, return_inverse=True)[1]
    turns = np.diff(batch.trajectory_turns)[owner]
    if estimator == "cae":
        to_go = discounted_suffix(reward, batch.trajectory_turns, alpha)
        a = standardise(to_go, index, spread="sample", eps=eps, single="zero")
        return Credit.of(batch, "turn", np.where(final & (turns > 1), outcome, a), loss=Loss(denominator="token"))
    early = scored & ~final
    own = np.where(early, standardise(reward, index, spread="sample", eps=eps, counted=early, single="zero"), 0.0)
    a = coef * discounted_suffix(own, batch.trajectory_turns, alpha)
    b = alpha ** (turns - 1.0 - batch.turn_index) * outcome
    if one_turn == "combined":
        total = np.asarray(np.bincount(owner, weights=reward), dtype=np.float64)
        b = np.where(turns == 1, standardise(total, over, spread="sample", eps=eps, single=single)[owner], b)
    return Credit.of(batch, "turn", a + b, parts={"turn": a, "outcome": b}, loss=Loss(denominator="token"))


def _mt_ppo(batch: Batch, reward: Float, gamma: float, lam: float) -> Credit:
    value = batch.need("value", "for turn_level_reward with variant='mt_ppo'")
    r = np.zeros(batch.n_tokens)
    r[batch.last_action("turn")] = reward
    a, returns = gae_and_returns(r, value, batch.action, batch.offsets("trajectory"), gamma, lam, np.zeros(batch.n_trajectories))
    return Credit(batch, "token", unit=a, token=a, targets={"value": returns}, loss=Loss(denominator="token"))
