"""What a group baseline makes of counterfactual credit, and of an index the policy controls."""

from __future__ import annotations

import itertools

import numpy as np

import apportion as ap

from .finding import Claim, Finding, Number, over_seeds, said


def collapse(seeds: int) -> Finding:
    """CCPO's counterfactual bonus against the prompt's own mean, beside GRPO without its spread."""
    found: list[float] = []
    paired: list[float] = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        n, outcomes = 16, (rng.random(16) < rng.uniform(0.3, 0.7)).astype(np.float64)
        batch = ap.Batch.from_turns(
            [[1], [1]] * n, outcome=np.repeat(outcomes, 2), group=[0] * 2 * n, agent=["helper", "solver"] * n,
            episode=np.repeat(np.arange(n), 2),
        )  # fmt: skip
        without = np.where(np.arange(2 * n) % 2 == 0, (rng.random(2 * n) < 0.5).astype(np.float64), np.nan)
        helper = np.arange(2 * n) % 2 == 0
        plain = ap.assign(batch, "grpo", spread="none")
        for into, flag in ((found, False), (paired, True)):
            credit = ap.assign(batch, "ccpo", without=without, solver="solver", variant="signed", paired=flag)
            assert isinstance(credit, ap.Credit)
            assert isinstance(plain, ap.Credit)
            into.append(1.0 - float(np.corrcoef(credit.unit[helper], plain.unit[helper])[0, 1]) ** 2)
    numbers = [
        over_seeds(
            "share of the credit's variance that GRPO does not explain, counterfactual averaged over the prompt", found, 0.0
        ),
        over_seeds("the same, each rollout's own counterfactual", paired),
    ]
    return said(numbers[0].within(1e-9) and numbers[1].value > 1e-3, numbers)


#: Reward per turn and chance of: stopping at once, going on and losing, going on and winning.
WAYS = (((0.2,), 0.5), ((0.0, 0.0), 0.25), ((0.0, 1.0), 0.25))
GROUP = 4


def stopping(seeds: int) -> Finding:
    """The first choice is to stop (reward .2) or to go on to a coin (0 or 1): going on is worth .3 more.

    The expected update of its logit, over all groups of four rollouts: with returns against the mean of the other
    rollouts' returns, and with returns of rewards that were centred per turn index, over the rollouts that got there.
    Exact; ``seeds`` changes nothing.
    """
    truth = 0.25 * (0.2 - 0.5)  # d/dlogit of the expected reward, for a fair first choice
    plain = per_index = 0.0
    for group in itertools.product(WAYS, repeat=GROUP):
        chance = float(np.prod([c for _, c in group]))
        rewards = [r for r, _ in group]
        score = np.array([0.5 if len(r) == 1 else -0.5 for r in rewards])
        total = np.array([sum(r) for r in rewards])
        others = (total.sum() - total) / (GROUP - 1)
        plain += chance * float((score * (total - others)).mean())
        mean = [np.mean([r[t] for r in rewards if len(r) > t] or [0.0]) for t in range(2)]
        centred = np.array([sum(x - mean[t] for t, x in enumerate(r)) for r in rewards])
        per_index += chance * float((score * centred).mean())
    numbers = [
        Number("expected update, returns against the other rollouts", plain, claimed=truth),
        Number("expected update, rewards centred per turn index", per_index, claimed=truth),
    ]
    return said(numbers[0].agrees and numbers[1].value > 0 > truth, numbers)


CLAIMS = (
    Claim(
        "plain-baseline-collapse",
        "Counterfactual credit against a plain group baseline is GRPO with another learning rate.",
        "card of CCPO (2603.21563), from its code",
        collapse,
        "Random outcomes of a team of two; how much of CCPO's credit of the helper is no multiple of GRPO's (without its spread)",
    ),
    Claim(
        "per-turn-baselines-biased",
        "Rewards centred per turn index mislead where the policy decides how long it goes on: they can push the wrong way.",
        "cards of DeltaBelief-RL and A2TGPO, from their formulas",
        stopping,
        "A choice between stopping and a coin: the expected update of its logit over all groups of four rollouts, exactly",
    ),
)
