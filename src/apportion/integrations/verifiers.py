"""verifiers 0.4 and prime-rl: ``MessageNode.advantages``, one number per token the policy sampled. See docs/verifiers.md.

Nothing of verifiers is imported: episodes are read by attribute. prime-rl is imported by :func:`install`.
"""

from __future__ import annotations

import asyncio
import inspect
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ..credit import Credit
from ..errors import BatchError, OptionError, TrainerError
from ..structure import Float
from ..words import check_word
from .honours import Honours
from .packed import Rollout, groups_of, pack
from .thin import Chosen, Place, choose, credited, in_company
from .traces import check_one_text, read_trace
from .versions import check_installed, check_version

#: Versions read and tested: verifiers by running it, prime-rl by its recorded signatures (commit 559b4477).
TESTED = {"verifiers": ("0.4.0", "0.5"), "prime-rl": ("0.8.0", "0.9")}
#: ``Trace.version`` of verifiers 0.4.
SCHEMA = 1
#: The key of ``Trace.info`` under which a task hands over what only it knows.
FIELD = "apportion"
States = Literal["given", "shown"]

_COLUMNS = ("reward", "outcome", "turn_reward", "group", "agent", "state", "ids", "logp", "truncated")
_WAYS = {
    "state": 'states: `hand_over(trace, state=[...])` in the task, or `states="shown"`',
    "turn_reward": "`hand_over(trace, turn_reward=[...])` in the task",
}
#: prime-rl averages over all tokens, takes its ratio per token, and a weight of 0 takes a token out of both.
_LOSS = Honours("prime-rl", frozenset({"token"}), keep=True, denominator="token")
PRIME_RL = Place("prime-rl", _COLUMNS, _LOSS, _WAYS, sees="group")
_NOTED = {"ref_logp": "`reference_logprobs` on every sampled node", "entropy": "`entropies` on every sampled node"}
EPISODES = Place("verifiers", (*_COLUMNS, *_NOTED), _LOSS, {**_WAYS, **_NOTED})


def hand_over(trace: Any, *, state: Sequence[Any] | None = None, turn_reward: Sequence[float] | None = None) -> None:
    """Note in ``trace.info["apportion"]``, from a task's ``finalize`` or ``@vf.reward``, what its turns saw and earned.

    state: a string per sampled message, what the policy saw before it, and perhaps one for the end. turn_reward: what
    each earned *besides* ``trace.rewards``. A wrong number of entries is an error here, where it is easy to find.
    """
    n = trace.num_turns
    for name, given, sizes in (("state", state, (n, n + 1)), ("turn_reward", turn_reward, (n,))):
        if given is not None and len(given) not in sizes:
            raise BatchError(f"trace {trace.id}: {name} has {len(given)} entries, but there are {n} sampled messages")
    found = {"state": state, "turn_reward": turn_reward}
    trace.info[FIELD] = {name: list(given) for name, given in found.items() if given is not None}


def credit_episodes(
    episodes: Sequence[Any], method: str = "grpo", *, states: States = "given", rng: int | None = None, **options: Any
) -> Credit | None:
    """Write ``node.advantages`` of all traces that train the policy; the credit itself, None where nothing was scored.

    Traces that failed, that are not trainable, that hold no sampled tokens or no reward keep None: never scored, which
    is not a credit of zero. Those that this leaves alone in their group get 0. What a method takes out of the loss gets
    ``loss_weights["rl"]`` 0 as well.
    states: "given" by :func:`hand_over`, or "shown": the tokens shown just before a turn. options: see
    :func:`apportion.assign`.
    """
    check_word(states, States, "states")
    check_installed("verifiers", TESTED["verifiers"], "apportion's plug-in")
    return _write(EPISODES, choose(EPISODES, method, options), episodes, states, rng)


def install(method: str, *, replaces: str = "grpo", states: States = "given", seed: int = 0, **options: Any) -> type:
    """Let prime-rl's algorithm ``replaces`` give credit by ``method``: call it before the orchestrator starts.

    The configuration stays as it is (``algo.type = "grpo"``, whose length penalty must be off). Everything that can be
    wrong with method, options and versions is refused here. Returns the class.
    """
    check_word(states, States, "states")
    chosen = choose(PRIME_RL, method, options)
    for package, tested in TESTED.items():
        check_version(package, tested, "apportion's plug-in")
    from prime_rl.orchestrator import algo  # type: ignore[import-not-found,unused-ignore]

    known: dict[str, Any] = algo.ALGORITHM_CLASSES
    if replaces not in known or known[replaces].action_loss_type != "rl":
        fit = sorted(name for name, cls in known.items() if cls.action_loss_type == "rl")
        raise OptionError(f"replaces = {replaces!r}: expected an algorithm of prime-rl's rl loss: {', '.join(fit)}")
    if list(inspect.signature(algo.Algorithm.score_group).parameters) != ["self", "episodes"]:
        raise TrainerError("prime-rl's Algorithm.score_group does not take (episodes), as it did in 0.8.0")
    known[replaces] = made = _algorithm(algo.Algorithm, chosen, states, seed)
    sparse = (
        "tokens with credit 0 leave prime-rl's denominator: set orchestrator.train.filter_zero_advantages = false to keep them"
    )
    for remark in (*chosen.remarks, sparse):
        warnings.warn(remark, UserWarning, stacklevel=2)
    return made


def _algorithm(base: Any, chosen: Chosen, states: States, seed: int) -> type:
    class CreditAlgorithm(base):  # type: ignore[misc]
        """One method of apportion, in the hook for a group that is complete."""

        def __init__(self, config: Any, policy_pool: Any) -> None:
            super().__init__(config, policy_pool)
            if getattr(config, "length_penalty", None) is not None:
                raise OptionError(f"algo.length_penalty belongs to prime-rl's own advantages, which {chosen.spec.id} replaces")
            self.groups = 0

        async def score_group(self, episodes: list[Any]) -> None:
            self.groups += 1
            rng = np.random.default_rng([seed, self.groups])
            await asyncio.to_thread(_write, PRIME_RL, chosen, episodes, states, rng, True)

    return CreditAlgorithm


def _write(place: Place, chosen: Chosen, episodes: Sequence[Any], states: States, rng: Any, zeros: bool = False) -> Credit | None:
    """Read, credit, write; nothing is written if anything is wrong. zeros: what is not scored gets 0, not None."""
    read: list[tuple[Any, Rollout]] = []
    unscored: list[tuple[Any, Rollout]] = []
    for episode in episodes:
        for trace in episode.traces:
            if trace.version != SCHEMA:
                raise TrainerError(f"trace {trace.id} has schema {trace.version}; apportion knows {SCHEMA} (verifiers 0.4)")
            if trace.has_error or not trace.agent.trainable or not any(any(node.mask) for node in trace.nodes):
                continue
            handed = trace.info.get(FIELD) or {}
            scored = any(r is not None for r in trace.rewards.values()) or "turn_reward" in handed
            (read if scored else unscored).append((trace, read_trace(episode, trace, handed, states)))
    company = in_company(chosen, *groups_of([rollout for _, rollout in read]))
    used = [pair for pair, stays in zip(read, company, strict=True) if stays]
    for trace, rollout in used:
        check_one_text(chosen, rollout.name, trace.nodes)
    alone = [pair for pair, stays in zip(read, company, strict=True) if not stays]
    credit = credited(place, chosen, pack([rollout for _, rollout in used]), rng) if used else None
    at = 0
    for trace, _ in used:
        assert credit is not None
        at = _assign(trace.nodes, credit.token, credit.kept, at)
    for trace, _ in alone + (unscored if zeros else []):
        for node in trace.nodes:
            node.advantages = [0.0] * sum(node.mask) if any(node.mask) else node.advantages
    return credit


def _assign(nodes: Sequence[Any], token: Float, kept: Any, at: int) -> int:
    """Credit of the tokens from ``at`` on, to the nodes that hold them; where the next trace begins."""
    size = sum(len(node.token_ids) for node in nodes)
    whole = kept[at : at + size].sum() == sum(sum(node.mask) for node in nodes)
    for node in nodes:
        here = slice(at, at + len(node.token_ids))
        at = here.stop
        mask = np.asarray(node.mask, dtype=np.bool_)
        if mask.any():
            node.advantages = np.where(kept[here], token[here], 0.0)[mask].tolist()
            if not whole:
                node.loss_weights = {**(node.loss_weights or {}), "rl": kept[here].astype(float).tolist()}
    return at
