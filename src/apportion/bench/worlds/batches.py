"""How walks read as a batch: what was shown, what was written, and how likely every token of it was."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ...batch import Batch
from ...edges.word_pieces import word_ids, words
from .walks import Options, Walk, World

#: What stands at the end of every choice, so that one which begins like another can be told from it.
END = "\n"


@lru_cache(maxsize=1 << 16)
def pieces(text: str) -> tuple[str, ...]:
    """The tokens of a choice, its end mark included."""
    return (*words(text), END)


@lru_cache(maxsize=1 << 16)
def scores(options: Options, choice: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Log-probability and entropy (nats) of each token of a choice, given those before it.

    The policy draws whole texts; a token's chance is the share, among texts that begin as this one did so far, of those
    that go on with it. The log-probabilities of a choice sum to log of its chance (of all options that read alike).
    """
    alive = [(pieces(text), chance) for text, chance in zip(options.texts, options.chance, strict=True)]
    logp, entropy = [], []
    for j, token in enumerate(pieces(options.texts[choice])):
        share: dict[str, float] = {}
        for text, chance in alive:
            share[text[j]] = share.get(text[j], 0.0) + chance
        p = np.array(list(share.values())) / sum(share.values())
        logp.append(float(np.log(share[token] / sum(share.values()))))
        entropy.append(float(-(p * np.log(p)).sum()))
        alive = [(text, chance) for text, chance in alive if text[j] == token]
    return tuple(logp), tuple(entropy)


def to_batch(
    world: World, walks: Sequence[Walk], *, node: Sequence[Sequence[int]] | None = None, names: Sequence[Any] | None = None
) -> Batch:
    """A trajectory a walk, grouped by prompt; turns or steps as the world's layout says.

    Turns: what is shown, then the words written, which alone are the policy's. Steps: the question, then one turn of
    all steps; the first step holds the question. State keys are what was seen, never the place itself.
    """
    ids: list[int] = []
    action: list[bool] = []
    logp: list[float] = []
    entropy: list[float] = []
    lengths: list[list[int]] = []
    state: list[str] = []
    text: list[str] = []
    for one in walks:
        written = [world.options(place).texts[c] for place, c in zip(one.places, one.choices, strict=False)]
        seen = world.read(one.prompt, written)
        lengths.append([])
        for t, (said, choice) in enumerate(zip(written, one.choices, strict=True)):
            shown = word_ids(seen.texts[t]) if t < len(seen.texts) else []
            own = [i for piece in pieces(said) for i in word_ids(piece)]
            token_logp, token_entropy = scores(world.options(one.places[t]), choice)
            ids += [*shown, *own]
            action += [False] * len(shown) + [True] * len(own)
            logp += [0.0] * len(shown) + list(token_logp)
            entropy += [0.0] * len(shown) + list(token_entropy)
            lengths[-1].append(len(shown) + len(own))
        if world.layout == "turns":
            state += seen.keys
            text += [f"{shown}> {said}" for shown, said in zip(seen.texts, written, strict=False)]
        else:
            state += [seen.keys[0], seen.keys[-1]]
            text.append(END.join([*seen.texts, *written]))
    columns: dict[str, Any] = {"ids": ids, "logp": logp, "entropy": entropy, "state": state, "text": text}
    if node is not None:
        columns["node"] = [n for walk in node for n in walk]
        columns["parent"] = [n for walk in node for n in (-1, *walk[:-1])]
    steps = world.layout == "steps"
    return Batch.from_turns(
        [[sum(turn)] for turn in lengths] if steps else lengths,
        steps=lengths if steps else None,
        action=action,
        outcome=[one.reward for one in walks],
        group=[world.prompts[one.prompt] for one in walks],
        trajectory=list(range(len(walks))) if names is None else names,
        **columns,
    )
