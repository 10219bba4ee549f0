"""``apportion/<method>`` as verl calls it: (rewards, mask, uid) in, (advantages, returns) out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...batch import Batch
from ...credit import Credit
from ...edges.padded import to_padded
from ...edges.tensors import to_numpy
from ...errors import BatchError, MissingColumn, OptionError, TrainerError
from ...feeds import Feed, feed
from ...ops.scans import discounted_suffix
from ...pipeline import assign
from ...registry import get
from ...structure import Float
from .. import honours
from .brought import BROUGHT, Brought
from .rollouts import batch_of
from .settings import PREFIX, Settings, settings_of

Estimator = Callable[..., tuple[Any, Any]]

#: What verl's dispatcher passes: the policy loss is not to be seen from here, so only its default is assumed.
ALONE = honours.Honours("verl without trainer_mode=apportion", frozenset({"token"}), keep=False, denominator=None)

#: How a column comes to a method in verl, for error messages and the table in docs/verl.md.
WAYS: Mapping[str, str] = {
    "state": "the agent loop hands over `state`",
    "agent": "the agent loop hands over `agent`",
    "process": "the agent loop hands over `process`",
    "node": "the agent loop hands over `node` and `parent`",
    "value": "`critic.enable=true`",
    "ref_logp": "`actor_rollout_ref.actor.use_kl_loss=true` or `algorithm.use_kl_in_reward=true`",
    "entropy": "`algorithm.rollout_correction.bypass_mode=false`",
    "group": "data.non_tensor_batch['uid'], the prompt of each row",
}

_MODE = "set trainer.use_v1=true trainer.v1.trainer_mode=apportion"


@functools.cache
def estimator(method: str) -> Estimator:
    """The function registered for one method; the same one each time, as verl refuses a second."""

    def estimate(
        token_level_rewards: Any, response_mask: Any, index: Any = None, config: Any = None, **_: Any
    ) -> tuple[Any, Any]:
        return advantages(method, token_level_rewards, response_mask, index, config)

    estimate.__name__ = f"apportion_{method}"
    estimate.__doc__ = f"{get(method).summary} (apportion: ``apportion explain {method}``)"
    return estimate


@functools.cache
def refusing(sentence: str) -> Estimator:
    """An estimator for a verl that was not tested: it says so."""

    def refuse(*_: Any, **__: Any) -> tuple[Any, Any]:
        raise TrainerError(sentence)

    return refuse


def advantages(method: str, rewards: Any, mask: Any, index: Any, config: Any) -> tuple[Any, Any]:
    """Advantages and returns, both (B, T), in the dtype and on the device of ``rewards``; 0 where the mask is 0.

    Rows in which the policy wrote nothing (verl pads batches with such) are no rollouts: they enter no
    statistic and get 0. A reward that lies on a masked position moves to the last policy token before
    it. returns: the critic's targets where the method has them, else the reward still to come in the
    trajectory, undiscounted: verl's critic regresses on it, and its logs call it so.
    """
    settings = settings_of(config, method)
    brought = BROUGHT.get()
    _check_finite("token_level_rewards", rewards)
    for each in (mask, mask if brought is None else brought.mask):
        if tuple(each.shape) != tuple(rewards.shape):
            raise BatchError(f"response_mask has shape {tuple(each.shape)}, but token_level_rewards has {tuple(rewards.shape)}")
    policy = to_numpy("response_mask", mask if brought is None else brought.mask) != 0
    rows = np.flatnonzero(policy.any(axis=1))
    if not rows.size:
        return rewards * 0, rewards * 0
    batch = _alone(rewards, mask, index, rows) if brought is None else batch_of(get(method), settings, rewards, brought, rows)
    credit = _credit(batch, method, settings, brought)
    honours.check(credit, ALONE if brought is None else brought.honours)  # its remarks were made at start
    if brought is not None:
        brought.credit = credit
        brought.keep = None if credit.keep is None else _whole(credit.to_padded("keep"), rows, mask)
    returns = credit.to_padded("value") if "value" in credit.targets else to_padded(batch, to_go(batch))
    written = mask != 0
    return _whole(credit.to_padded(), rows, rewards) * written, _whole(returns, rows, rewards) * written


def to_go(batch: Batch) -> Float:
    """Reward from each token to the end of its trajectory, shape (n_tokens,), 0 on observation tokens."""
    return np.where(batch.action, discounted_suffix(batch.rewards("token"), batch.offsets("trajectory")), 0.0)


def _check_finite(name: str, tensor: Any) -> None:
    """Refuse NaN and infinity by row, on masked positions too: a reward may lie there, where a batch would see padding."""
    wild = ~np.isfinite(to_numpy(name, tensor))
    if wild.any():
        r, c = np.argwhere(wild)[0]
        raise BatchError(f"{name}[{r}, {c}] = {float(tensor[r, c])}: expected a finite number in row {r}")


def _alone(rewards: Any, mask: Any, index: Any, rows: Any) -> Batch:
    names = None if index is None else [index[r] for r in rows]
    return Batch.from_padded(response_mask=mask[rows], token_reward=rewards[rows], group=names, turns="mask")


def _credit(batch: Batch, method: str, settings: Settings, brought: Brought | None) -> Credit:
    own = {n: v for n, v in settings.options.items() if n in get(method).options}
    lacks = feed(method, batch.present, own)
    if not (lacks.ready or (lacks.learnable and settings.fit)):
        raise MissingColumn(why_not(lacks, alone=brought is None))
    if settings.fit and batch.ids is None:
        raise MissingColumn(f"{PREFIX}{method} with fit=true learns from token ids, which verl does not pass: {_MODE}")
    learning = bool(settings.fit and lacks.evidence)
    rng = np.random.default_rng([settings.seed, 0 if brought is None else brought.step])
    credit = assign(batch, method, rng=rng, fit=learning, **settings.options)
    if not isinstance(credit, Credit):
        raise OptionError(f"verl cannot honour {method}: it gives preferences (pairs), not advantages")
    return credit


def why_not(lacks: Feed, *, alone: bool) -> str:
    """One sentence on what a method lacks in verl, and what brings it."""
    needs = f"{PREFIX}{lacks.method} needs {' and '.join((*lacks.columns, *lacks.evidence))}"
    never = [n for n in lacks.evidence if n not in WAYS and not lacks.can_fit]
    if never:
        return f"{needs}, and verl's trainers have no {lacks.source} to ask"
    if lacks.columns == ("group",):
        return f"{needs}: {WAYS['group']}"
    ways = [WAYS[n].replace("`", "") for n in (*lacks.columns, *lacks.evidence) if n in WAYS]
    if any("hands over" in way for way in ways):
        ways[-1] += " (apportion.integrations.verl.hand_over)"
    if lacks.evidence and lacks.can_fit:
        either = "or " if any(n in WAYS for n in lacks.evidence) else ""
        ways.append(f"{either}+algorithm.apportion.fit=true to learn {' and '.join(lacks.evidence)} from the batch")
    if not alone:
        return f"{needs}: {'; '.join(ways)}"
    more = f", and there: {'; '.join(ways)}" if ways else ""
    return f"{needs}, and verl passes an estimator rewards, mask and uid only: {_MODE}{more}"


def _whole(part: Any, rows: Any, like: Any) -> Any:
    """Values of ``rows`` as all rows, in the dtype and on the device of ``like``; 0 elsewhere."""
    whole = like.new_zeros(like.shape)
    whole[rows] = part.to(like.dtype)
    return whole
