"""A language model behind an endpoint that goes on from prefixes: every prefix is sent again as text."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...batch import Batch
from ...errors import OptionError
from ...words import Axis, Provenance, check_word
from ..bill import Bill
from ..cuts import answer_cuts, unfinished
from ..sources import Array, Asked
from .client import Endpoint, Message, Question, Reply, Watch

Form = Literal["text", "chat"]

#: What vLLM and SGLang are told, to go on with the last message instead of beginning a new one.
GO_ON: dict[str, Any] = {"extra_body": {"add_generation_prompt": False, "continue_final_message": True}}

#: Reward of a finished answer: (number of the trajectory, all that the policy wrote in it, whether it ended by itself).
TextReward = Callable[[int, str, bool], float]


@dataclass(frozen=True, eq=False)
class EndpointSampler:
    """Continuations of answers by the model behind ``endpoint``; see :class:`apportion.evidence.Sampler`.

    For rollouts in which nothing but the policy acts after the prefix; where observations follow it refuses, as the
    environment would have to run. What stands before a cut is decoded and read anew by the server, in tokens that may be
    others: a restore by re-fed text (``provenance``).

    endpoint: with ``max_tokens`` and the policy's temperature in its ``sampling``. reward: what a finished answer earns;
    NaN: no verdict. decode: token ids -> text, special tokens included where the form is "text", save one that the server's
    tokenizer puts before every text by itself (else it stands there twice; docs/evidence.md).

    form: "text" sends the prefix, special tokens and all, to /completions. "chat" sends messages: ``prompts``, those that
    each trajectory began with, and what the policy wrote before the cut as the assistant's last message. A server must
    then go on with that message (vLLM and SGLang do, told by ``continue_final_message``), and ``prefill`` says that it
    does; without it only cuts where nothing is written yet are taken, as other servers would begin a new answer.

    Draws are asked side by side and numbered from a number that ``rng`` gives, so that the endpoint's cache keeps each
    for itself: the same seed meets the same answers, another seed asks anew. The bill is what the server says it read
    (scored) and wrote (generated), cached answers too; a server that reports no usage is billed nothing.
    """

    endpoint: Endpoint
    reward: TextReward
    decode: Callable[[Sequence[int]], str]
    form: Form = "text"
    prompts: Sequence[Sequence[Message]] | None = None
    prefill: bool = False
    watch: Watch | None = None
    provenance: Provenance = "text_refeed"

    def __post_init__(self) -> None:
        check_word(self.form, Form, "form")
        if not {"max_tokens", "max_completion_tokens"} & set(self.endpoint.sampling):
            raise OptionError("the endpoint's sampling has no max_tokens: answers would be cut off where its server likes")
        if self.form == "chat" and self.prompts is None:
            raise OptionError("form='chat' needs prompts: the messages that each trajectory began with")

    def continuations(self, batch: Batch, prefixes: Array, k: int, rng: np.random.Generator, *, axis: Axis = "prefix") -> Asked:
        cuts, owner = answer_cuts(batch, prefixes, axis, "EndpointSampler")
        unfinished(batch, prefixes, axis)
        if self.prompts is not None and len(self.prompts) != batch.n_trajectories:
            raise OptionError(f"prompts has {len(self.prompts)} entries, expected {batch.n_trajectories}: one per trajectory")
        ids, starts = batch.need("ids"), batch.offsets("trajectory")
        written, asked = [], []
        for p, (cut, i) in enumerate(zip(cuts.tolist(), owner.tolist(), strict=True)):
            part = slice(int(starts[i]), cut)
            own = self.decode(ids[part][batch.action[part]].tolist())
            written += [own] * k
            asked += [self._question(i, self.decode(ids[part].tolist()), own, f"prefixes[{p}] = {int(prefixes[p])}")] * k
        replies = self._asked(asked, [self.form == "chat" and bool(own) for own in written], int(rng.integers(2**31)))
        self._doubt([reply.text for reply in replies], k)
        paid = [
            self.reward(int(i), own + reply.text, reply.whole)
            for i, own, reply in zip(np.repeat(owner, k), written, replies, strict=True)
        ]
        bill = Bill(generated=float(sum(r.written for r in replies)), scored=float(sum(r.read for r in replies)))
        return Asked(np.asarray(paid, dtype=np.float64).reshape(len(prefixes), k), bill)

    def branch(self, batch: Batch, prefixes: Array, rng: np.random.Generator) -> tuple[Batch, Bill]:
        """Not offered: a branch of turns needs the environment."""
        raise OptionError("EndpointSampler continues answers; it grows no branches, which need an environment")

    def _asked(self, questions: Sequence[Question], within: Sequence[bool], first: int) -> list[Reply]:
        """The answers, in order; whatever goes on with a message of the assistant's is told to."""
        found: dict[int, Reply] = {}
        for going, more in ((False, {}), (True, GO_ON)):
            some = [i for i, inside in enumerate(within) if inside == going]
            if some:
                replies = self.endpoint.ask_all([questions[i] for i in some], first=first, watch=self.watch, **more)
                found |= zip(some, replies, strict=True)
        return [found[i] for i in range(len(questions))]

    def _doubt(self, texts: Sequence[str], k: int) -> None:
        """Warn where a server seems to take the likeliest token whatever the temperature: no two draws differ."""
        draws = k > 1 and len(texts) >= 8 and bool(self.endpoint.sampling.get("temperature", 1))
        if draws and any(texts) and all(texts[i] == texts[i - i % k] for i in range(len(texts))):
            warnings.warn(
                f"all {k} draws after each of {len(texts) // k} prefixes are the same: does {self.endpoint.base_url} sample? "
                "(transformers serve does so only where the model's generation config says do_sample)",
                stacklevel=3,
            )

    def _question(self, i: int, whole: str, own: str, where: str) -> Question:
        if self.form == "text" or self.prompts is None:
            return whole
        messages = [dict(message) for message in self.prompts[i]]
        if not own:
            return messages
        if not self.prefill:
            raise OptionError(
                f"{where}: something is written before it, and not every server goes on with a message: prefill=True says "
                "that yours does, form='text' needs no such thing"
            )
        return [*messages, {"role": "assistant", "content": own}]
