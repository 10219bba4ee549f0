"""What the transformer reads and writes: the tokens of a batch, told apart, and a few words about how things end.

A context is ``[prompt] ([look] words)*W [turn] [look] [cue]``: the prompt, what stood and what was written at each
of the last W choices (``NOTHING`` before the first), the turn, how the place looks now, and a cue that says what is
to follow: an action (``ACT``), an action of a rollout that ends in success or failure (hindsight), or how the rollout
ends (``ANSWER``). The words of the action follow the cue, one token after the other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from ..tabular import Int

NOTHING, ACT, ANSWER, SUCCESS, FAILURE = range(5)
CUES = 5
#: The words of a hindsight text that the model has a token for; it passes over all others.
KNOWN = {"success": SUCCESS, "failure": FAILURE}


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Token ids of a task: the cues, then prompts, turns (one more than there are choices), looks, words."""

    prompts: int
    horizon: int
    looks: int
    words: Int  # (A, L): token ids of the batch

    @property
    def size(self) -> int:
        return CUES + self.prompts + self.horizon + 1 + self.looks + int(np.unique(self.words).size)

    def prompt(self, prompt: Int) -> Int:
        return CUES + prompt

    def turn(self, time: Int) -> Int:
        return CUES + self.prompts + time

    def look(self, look: Int) -> Int:
        """-1 (nothing yet) is ``NOTHING``."""
        found: Int = np.where(look < 0, NOTHING, CUES + self.prompts + self.horizon + 1 + look)
        return found

    @property
    def spelt(self) -> Int:
        """(A, L): the words of each action as tokens of this vocabulary."""
        return CUES + self.prompts + self.horizon + 1 + self.looks + np.searchsorted(np.unique(self.words), self.words)

    def spell(self, action: Int) -> Int:
        """(..., L); action -1 is ``NOTHING``."""
        found: Int = np.where(action[..., None] < 0, NOTHING, self.spelt[action])
        return found

    def context(self, prompt: Int, time: Int, look: Int, looks: Int, actions: Int, cue: int) -> Int:
        """Texts (n, length): prompt, time, look (n,); looks, actions (n, W) of the last choices, -1 for none."""
        n = looks.shape[0]
        past = np.concatenate([self.look(looks)[..., None], self.spell(actions)], axis=2).reshape(n, -1)  # (n, W (1 + L))
        now = [self.turn(time), self.look(look), np.full(n, cue)]
        return np.concatenate([self.prompt(prompt)[:, None], past, np.stack(now, axis=1)], axis=1)


def told(text: str | None) -> int:
    """The cue a hindsight text gives: its first known word, ``ACT`` where it has none."""
    for word in re.findall(r"[a-z]+", (text or "").lower()):
        if word in KNOWN:
            return KNOWN[word]
    return ACT


def with_cue(texts: Int, cue: int) -> Int:
    """The same contexts with another cue."""
    changed: Int = texts.copy()
    changed[:, -1] = cue
    return changed
