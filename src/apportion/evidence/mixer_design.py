"""Rounds in which an author proposes mixing functions, chooses among them and says what to change."""

from __future__ import annotations

import re

import numpy as np

from ..batch import Batch
from ..errors import OptionError
from .authoring import ask_for, language, listed, said
from .bill import Bill
from .mixer import OWN, Mixer, agent_names, checked
from .sources import Author
from .text_features import Vocabulary, described, telling_words

#: Our wording of what the author is asked. {task}, {language}, {names}, {best} and {advice} are filled in.
WRITE = (
    "Several agents work on one task and are paid together. {task}\n"
    "Each agent's own value q of what it does is learned. Write a function that joins these values to that of the "
    "team, so that an agent whose part matters more here counts more. It must need no training, must not fall where any q rises, "
    "and must return one number per step, for example: scores out of the names below, w = softmax(scores), "
    "return sum(w * q). (It is multiplied by the number of agents afterwards.)\n{language}\n"
    "softmax, sum, mean, std, min(x) and max(x) run over the agents of a step. Names, one value per agent and step:\n"
    "{names}\n{best}{advice}"
)
#: The choice. {task}, {n} and {candidates} are filled in.
CHOOSE = (
    "Several agents work on one task and are paid together. {task}\nThese functions join the agents' values q to the value of "
    "the team:\n{candidates}\nWhich one does it best? Answer with a list of {n} numbers, 1 for the best and 0 for the others, "
    "and nothing else."
)
#: The advice for the next round. {task} and {best} are filled in.
ADVISE = (
    "Several agents work on one task and are paid together. {task}\nThis function joins the agents' values q to the value of the "
    "team:\n```python\n{best}\n```\nWhat should be changed? Answer with one sentence."
)


def design(
    author: Author,
    batch: Batch,
    *,
    rng: np.random.Generator,
    task: str = "",
    rounds: int = 3,
    candidates: int = 3,
    repairs: int = 10,
    words: int = 8,
    monotone: bool = True,
) -> Mixer:
    """A mixing function for tasks like those of ``batch``, made once, before training.

    In each of ``rounds`` rounds the author writes ``candidates`` functions; each is read and tried (see
    ``evidence.mixer.checked``), and sent back with what is wrong up to ``repairs`` times. It then chooses among the best so
    far (first) and the new ones (an answer that cannot be read chooses the first), and says in a sentence what to change in the
    next round. batch: where the words to count (``words`` of them) and the agents' names come from; its rewards are not
    looked at. task: what the author is told of it. monotone: refuse functions that fall in some q.
    """
    for name, value, least in (("rounds", rounds, 1), ("candidates", candidates, 1), ("repairs", repairs, 0)):
        if value < least:
            raise OptionError(f"{name} = {value}: expected at least {least}")
    vocabulary = Vocabulary(saw=telling_words(batch, "turn", words).saw)
    about = listed({**OWN, **described("turn", vocabulary, done=False)})
    best, advice, bill, tried = "", "", Bill(), 0
    refused: list[str] = []
    for round_ in range(rounds):
        found = [best] if best else []
        before = f"The best so far:\n```python\n{best}\n```\n" if best else ""
        told = f"Advice: {advice}\n" if advice else ""
        request = WRITE.format(task=task, language=language(), names=about, best=before, advice=told)
        for _ in range(candidates):
            one = ask_for(author, request, lambda code: checked(code, vocabulary, monotone=monotone), repairs, rng)
            bill, tried = bill + one.bill, tried + len(one.refused) + (one.read is not None)
            refused += one.refused
            found += [one.read.text] if one.read is not None else []
        if not found:
            continue
        best, cost = _chosen(author, found, task, rng)
        bill += cost
        if round_ < rounds - 1:
            answer, cost = said(author, ADVISE.format(task=task, best=best), rng)
            advice, bill = " ".join(answer.split())[:500], bill + cost
    if not best:
        raise OptionError(f"none of {tried} functions could be used; the last one was refused: {refused[-1]}")
    return Mixer(best, vocabulary, agent_names(batch), tried, len(refused), bill)


def _chosen(author: Author, found: list[str], task: str, rng: np.random.Generator) -> tuple[str, Bill]:
    if len(found) == 1:
        return found[0], Bill()
    shown = "\n".join(f"{i + 1}.\n```python\n{text}\n```" for i, text in enumerate(found))
    answer, bill = said(author, CHOOSE.format(task=task, n=len(found), candidates=shown), rng)
    marks = re.findall(r"\d+", answer)
    usable = len(marks) == len(found) and marks.count("1") == 1 and set(marks) <= {"0", "1"}
    return found[marks.index("1") if usable else 0], bill
