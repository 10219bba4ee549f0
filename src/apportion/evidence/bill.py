"""What evidence costs, in its own units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Bill:
    """Counted work: tokens generated and scored, environment steps, judge calls, tokens trained on.

    Bills add; ``bill.price(prices)`` weighs each count with its price.
    """

    generated: float = 0.0
    scored: float = 0.0
    env_steps: float = 0.0
    judge_calls: float = 0.0
    trained: float = 0.0

    def __add__(self, other: Bill) -> Bill:
        return Bill(**{k: v + getattr(other, k) for k, v in asdict(self).items()})

    def __mul__(self, factor: float) -> Bill:
        return Bill(**{k: v * factor for k, v in asdict(self).items()})

    def price(self, prices: Mapping[str, float]) -> float:
        """Total cost; a missing price is an error, so that nothing is free by accident."""
        return float(sum(count * prices[name] for name, count in asdict(self).items()))
