"""Having factors written: several answers, one that sums them up, and what is wrong sent back."""

from __future__ import annotations

import numpy as np

from ..batch import Batch
from ..errors import OptionError
from ..words import Axis
from .authoring import ask_for, code_of, language, listed, said
from .bill import Bill
from .latent import Factors, checked
from .sources import Author
from .text_features import described, telling_words, text_features

#: Our wording of what the author is asked. {unit}, {task}, {wanted}, {language} and {names} are filled in.
WRITE = (
    "A policy acts in {unit}s, and only the outcome of a whole rollout is known. {task}\nThink about which behaviour in a "
    "single {unit} makes a good outcome more or less likely, and about what shows it. Then write a function that {wanted}. "
    "Use as little as possible, and nothing that is not given.\n{language}\nNames, one value per {unit}:\n{names}"
)
FACTORS = "returns a list of numbers, each of which judges the {unit} from another side"
REWARD = "returns a list of one number, the reward of the {unit}"
#: The second request. {request} and {answers} are filled in.
SUM_UP = (
    "{request}\n\nYou have written these functions:\n{answers}\nSum them up in one function that holds all their numbers, "
    "and add what is missing."
)
#: How many recorded units a function is tried on.
_SAMPLES = 256


def design(
    author: Author,
    batch: Batch,
    *,
    rng: np.random.Generator,
    task: str = "",
    candidates: int = 5,
    repairs: int = 5,
    words: int = 8,
    direct: bool = False,
    attempts: int = 3,
) -> Factors:
    """Factors for tasks like those of ``batch``, made once, before training.

    The author writes ``candidates`` functions, then one that sums them up (one candidate: that one is taken); it is read, tried
    on recorded units, and sent back with what is wrong up to ``repairs`` times. Where that does not help everything is done
    again, ``attempts`` times in all. batch: where the words to count (``words`` written and ``words`` shown) and the units come
    from; its rewards are not looked at. task: what the author is told of it. direct: it writes the reward itself.
    The paper asks at temperatures of 1.0 and .3, which are the author's own business here.
    """
    for name, value, least in (("candidates", candidates, 1), ("repairs", repairs, 0), ("attempts", attempts, 1)):
        if value < least:
            raise OptionError(f"{name} = {value}: expected at least {least}")
    unit: Axis = "step" if batch.step_offsets is not None else "turn"
    vocabulary = telling_words(batch, "step", words)
    about = described(unit, vocabulary, done=True)
    some = np.sort(rng.permutation(batch.n_steps)[:_SAMPLES])
    samples = {name: x[some] for name, x in text_features(batch, "step", about).items()}
    wanted = (REWARD if direct else FACTORS).format(unit=unit)
    request = WRITE.format(unit=unit, task=task, wanted=wanted, language=language(), names=listed(about))
    bill, tried = Bill(), 0
    refused: list[str] = []
    for _ in range(attempts):
        asked = request
        if candidates > 1:
            answers = []
            for _ in range(candidates):
                answer, cost = said(author, request, rng)
                bill, tried = bill + cost, tried + 1
                answers.append(f"```python\n{code_of(answer)[:4000]}\n```")
            asked = SUM_UP.format(request=request, answers="\n".join(answers))
        one = ask_for(author, asked, lambda code: checked(code, vocabulary, samples, direct=direct), repairs, rng)
        bill, tried = bill + one.bill, tried + len(one.refused) + (one.read is not None)
        refused += one.refused
        if one.read is not None:
            return Factors(one.read.text, vocabulary, direct, tried, len(refused), bill)
    raise OptionError(f"no usable function in {tried} answers; the last one was refused: {refused[-1]}")
