"""What a user says of their setting: the questions that selectors ask, and answers that cannot be true together.

An answer that was not given is None: it is never filled in with a guess, only where it follows from another one (whoever
can fork a rollout can sample; without an auxiliary model there is neither judge nor critic).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from ..edges import escape
from ..errors import ApportionError

Where = Literal["reasoning", "agentic", "multi-agent"]
Budget = Literal["low", "medium", "high"]


class ProfileError(ApportionError, ValueError):
    """Answers that are missing, impossible or contradict each other; one sentence that names the flag."""


@dataclass(frozen=True)
class Profile:
    """The user's setting; None is "not said".

    turns: of one rollout. cot_tokens: of one answer of reasoning. spans: of options. G: rollouts of a prompt; K: continuations
    of a prefix; T: tokens and N: units (turns or steps) of a rollout. success: share of rollouts that succeed now.
    """

    setting: Where | None = None
    turns: int | None = None
    cot_tokens: int | None = None
    aux_model: bool | None = None
    can_fork: bool | None = None
    sampler: bool | None = None
    states_repeat: bool | None = None
    spans: bool | None = None
    hidden: bool | None = None
    judge: bool | None = None
    critic: bool | None = None
    step_verifier: bool | None = None
    privileged: bool | None = None
    agents: int | None = None
    budget: Budget | None = None
    success: float | None = None
    G: int | None = None
    K: int | None = None
    T: int | None = None
    N: int | None = None

    @property
    def units(self) -> int | None:
        """Turns, or steps of one answer: that it is one turn says nothing of its steps."""
        return self.turns if self.N is None and self.setting != "reasoning" else self.N

    @property
    def tokens(self) -> int | None:
        """Tokens of a rollout."""
        return self.T if self.T is not None else self.cot_tokens

    def said(self) -> dict[str, Any]:
        """The answers that were given or follow from them, by name."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}


#: Field -> the question, as asked on a terminal.
QUESTIONS: Mapping[str, str] = {
    "setting": "Which setting: one answer (reasoning), turns with tools or an environment (agentic), several agents?",
    "turns": "How many turns has a rollout?",
    "cot_tokens": "How many tokens has a chain of thought?",
    "aux_model": "May another model be used besides the policy (a judge, a critic, a reward model)?",
    "can_fork": "Can a rollout be restored at an intermediate state and gone on with from there?",
    "sampler": "Can further rollouts be sampled while credit is given?",
    "states_repeat": "Do rollouts of a prompt meet the same state (page, room, board) again?",
    "spans": "Are the tokens of a rollout labelled as options (the column spans)?",
    "hidden": "Is part of the state that matters never shown to the policy?",
    "judge": "Is there a language model that can be asked about every rollout?",
    "critic": "Can a critic (a value or reward model) be trained beside the policy?",
    "step_verifier": "Is there a reliable check of intermediate steps?",
    "privileged": "Is there information in training that the policy does not see (solutions, hidden state)?",
    "agents": "How many agents share the reward?",
    "budget": "How much compute beyond plain rollouts?",
    "success": "What share of rollouts succeeds now (0 to 1)?",
    "G": "How many rollouts of each prompt (G)?",
    "K": "How many continuations of a prefix can be paid for (K)?",
    "T": "How many tokens has a rollout (T)?",
    "N": "How many units, turns or steps, has a rollout (N)?",
}

YES_NO = ("yes", "no")

#: Field -> the words it takes, in order; all other fields take a number.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "setting": get_args(Where), "budget": get_args(Budget), "aux_model": YES_NO, "can_fork": YES_NO, "sampler": YES_NO,
    "states_repeat": YES_NO, "spans": YES_NO, "hidden": YES_NO, "judge": YES_NO, "critic": YES_NO, "step_verifier": YES_NO,
    "privileged": YES_NO,
}  # fmt: skip
_YES_NO = {"yes": True, "no": False, "true": True, "false": False}

MOST = 10**12  #: No count of a rollout is larger.


def flag(field: str) -> str:
    """The command's option for a field: ``--cot-tokens``."""
    return "--" + field.replace("_", "-")


def answer(field: str, value: Any, where: str | None = None) -> Any:
    """One answer as the profile holds it; ``where`` names it in errors (default: the flag)."""
    name = where or flag(field)
    shown = _shown(value)
    if field in CHOICES:
        word = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else str(value).strip().lower()
        if word not in CHOICES[field] and not (CHOICES[field] == YES_NO and word in _YES_NO):
            raise ProfileError(f"{name} {shown}: expected {', '.join(CHOICES[field])}")
        return _YES_NO[word] if CHOICES[field] == YES_NO else word
    try:
        number = float(str(value)) if field == "success" else int(str(value).strip())
    except ValueError:
        kind = "a number from 0 to 1" if field == "success" else "a whole number"
        raise ProfileError(f"{name} {shown}: expected {kind}") from None
    if field == "success":
        if not 0 <= number <= 1:
            raise ProfileError(f"{name} {shown}: a share of rollouts lies between 0 and 1")
    elif number < 1:
        raise ProfileError(f"{name} {shown}: expected at least 1")
    elif number > MOST:
        raise ProfileError(f"{name} {shown}: expected at most {MOST:,}")
    return number


def _shown(value: Any) -> str:
    try:
        text = escape.plain(" ".join(str(value).split()))
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        text = "(a number of thousands of digits)"
    return text if len(text) <= 40 else f"{text[:40]}..."


def profile(given: Mapping[str, Any]) -> Profile:
    """The profile of these answers (None: not said), with what follows from them.

    Raises ``ProfileError`` for a name that is no question, a value out of range, and answers that contradict each other.
    """
    for name in given:
        if name not in QUESTIONS:
            near = difflib.get_close_matches(str(name), QUESTIONS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(QUESTIONS)}"
            raise ProfileError(f"no question is called '{escape.plain(str(name))}'; {hint}")
    found = Profile(**{name: answer(name, value) for name, value in given.items() if value is not None})
    whole = _implied(found)
    if wrong := [says for holds, says in (*_contradictions(found), *_contradictions(whole)) if holds]:
        raise ProfileError(wrong[0])
    return whole


def _contradictions(p: Profile) -> list[tuple[bool, str]]:
    n, t = p.units, p.tokens
    one = p.setting == "reasoning"
    return [
        (one and (p.agents or 1) > 1, f"--setting reasoning with {p.agents} agents: several agents are --setting multi-agent"),
        (one and (p.turns or 1) > 1, f"--setting reasoning with {p.turns} turns: one answer has steps (--N); "
                                     "turns are --setting agentic"),
        (one and p.states_repeat is True, "--setting reasoning with --states-repeat yes: one answer never meets a state again"),
        (p.setting == "agentic" and (p.agents or 1) > 1, f"--setting agentic with {p.agents} agents: that is multi-agent"),
        (p.setting == "multi-agent" and p.agents == 1, "--setting multi-agent with 1 agent: expected at least 2"),
        (p.setting in ("agentic", "multi-agent") and p.cot_tokens is not None,
         f"--cot-tokens with --setting {p.setting}: it is the length of one answer of reasoning; a rollout's length is --T"),
        (p.aux_model is False and p.judge is True, "--judge yes with --aux-model no: a judge is an auxiliary model"),
        (p.aux_model is False and p.critic is True, "--critic yes with --aux-model no: a critic is an auxiliary model"),
        (p.can_fork is True and p.sampler is False, "--can-fork yes with --sampler no: going on from a state takes a sampler"),
        (p.sampler is False and p.K is not None, f"--K {p.K} with --sampler no: continuations of a prefix take a sampler"),
        (p.can_fork is False and p.K is not None, f"--K {p.K} with --can-fork no: continuations need a state to go on from"),
        (not one and None not in (p.turns, p.N) and p.turns != p.N,
         f"--turns {p.turns} with --N {p.N}: the units of a rollout with turns are its turns"),
        (None not in (p.cot_tokens, p.T) and p.cot_tokens != p.T,
         f"--cot-tokens {p.cot_tokens} with --T {p.T}: both are the tokens of one answer"),
        (n is not None and t is not None and t < n, f"{t} tokens for {n} units: every unit has at least one token"),
        (n is not None and p.agents is not None and p.agents > n, f"--agents {p.agents} in {n} turns: each needs a turn"),
    ]  # fmt: skip


def _implied(p: Profile) -> Profile:
    """What follows from what was said, and nothing else."""
    more: dict[str, Any] = {}
    if p.can_fork and p.sampler is None:
        more["sampler"] = True
    if p.sampler is False and p.can_fork is None:
        more["can_fork"] = False
    if p.aux_model is False:
        more |= {"judge": False, "critic": False}
    elif p.aux_model is None and (p.judge or p.critic):
        more["aux_model"] = True
    elif p.aux_model is None and p.judge is False and p.critic is False:
        more["aux_model"] = False
    return replace(p, **more)
