"""Our numbers for a case, with a trainer's meaning or by default."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...batch import Batch
from ...credit import Credit
from ...errors import BatchError
from ...registry import get
from .cases import Case, GaeCase, GroupCase
from .meanings import Meaning


def numbers(case: Case, meaning: Meaning) -> list[float] | None:
    """With the trainer's meaning: per policy token, or per rollout; None where we refuse or have no such option."""
    if meaning.options is None:
        return None
    options = dict(meaning.options)
    if isinstance(case, GaeCase):
        return _gae(case, meaning.masked_reward, options | ({"whiten": True} if case.whiten else {}))
    return _group(case, meaning.method, options, meaning.one_group)


def by_default(case: Case, meaning: Meaning) -> list[float] | None:
    """Our own meaning; a method that refuses lone rollouts gives None."""
    if isinstance(case, GaeCase):
        return _gae(case, "move", {"whiten": True} if case.whiten else {})
    return _group(case, meaning.default, {}, False)


def _gae(case: GaeCase, masked_reward: str, options: dict[str, Any]) -> list[float]:
    batch = Batch.from_padded(
        action=case.mask,
        attention=np.ones_like(case.mask),
        turns="mask",
        token_reward=case.reward,
        value=case.value,
        masked_reward=masked_reward,
    )
    found: list[float] = _credit(batch, "gae", gamma=case.gamma, lam=case.lam, **options).token[batch.action].tolist()
    return found


def _group(case: GroupCase, method: str, options: dict[str, Any], one_group: bool) -> list[float] | None:
    group = [0] * len(case.group) if one_group else list(case.group)
    batch = Batch.from_turns([[1]] * len(case.reward), outcome=list(case.reward), group=group)
    try:
        found: list[float] = _credit(batch, method, **options).unit.tolist()
    except BatchError:  # a lone rollout, refused
        return None
    return found


def _credit(batch: Batch, method: str, **options: Any) -> Credit:
    credit = get(method)(batch, **options)
    assert isinstance(credit, Credit)
    return credit
