"""An author that knows nothing: it draws functions at random from a grammar, over the names it is told.

It reads a request as a model would (which names there are, whether a list is wanted or a choice) and no more: not
the task, not the truth, not the rollouts. So some functions are useless, some do not pass the checks, and some are
not in the language at all; a part of those is mended when the error comes back. What such an author is worth is what
the loop around it is worth without understanding: a floor, not a model of a language model.
"""

from __future__ import annotations

import re

import numpy as np

from ..errors import OptionError
from ..evidence import Bill
from ..words import Provenance

#: What a model that was not listening writes.
_BROKEN = (
    "import numpy as np\nreturn np.mean({name}, axis=1)", "return [x for x in {name}]", "return {name}.sum()",
    "return 1 / 0 * {name}", "weights = torch.softmax({name}, dim=1)\nreturn weights", "return {name} ** {name}",
    "if {name} > 0:\n    return 1\nreturn 0", "The {name} matters most.", "return reward", "return x{name}",
)  # fmt: skip
_NAMES = re.compile(r"^- (\w+):", re.MULTILINE)
_CHOICE = re.compile(r"Answer with a list of (\d+) numbers")


class SimulatedAuthor:
    """broken: chance that an answer is not a usable function; mended: chance that it is, once an error was sent back.

    An answer costs a call. The functions depend on the generator that is passed, on nothing else.
    """

    provenance: Provenance = "model_judgement"

    def __init__(self, broken: float = 0.3, mended: float = 0.7) -> None:
        for name, share in (("broken", broken), ("mended", mended)):
            if not 0 <= share <= 1:
                raise OptionError(f"{name} = {share}: expected a share between 0 and 1")
        self.broken, self.mended = broken, mended

    def write(self, request: str, rng: np.random.Generator) -> tuple[str, Bill]:
        return self._answer(request, rng), Bill(judge_calls=1.0)

    def _answer(self, request: str, rng: np.random.Generator) -> str:
        choice = _CHOICE.search(request)
        if choice:
            n = int(choice.group(1))
            return str(np.eye(n, dtype=np.int64)[rng.integers(n)].tolist())
        names = list(dict.fromkeys(_NAMES.findall(request)))
        if not names:
            return f"Let number {rng.integers(10)} matter more."
        fails = self.broken if "It was refused:" not in request else 1.0 - self.mended
        if rng.random() < fails:
            code = str(rng.choice(_BROKEN)).format(name=rng.choice(names))
        elif "q" in names:
            code = _mixing([n for n in names if n != "q"], rng)
        elif "list of one number" in request:
            code = f"return [{_term(names, rng)}]"
        else:
            code = _factors(names, rng)
        return f"I thought about it.\n```python\n{code}\n```"


def _mixing(names: list[str], rng: np.random.Generator) -> str:
    """Softmax of a few random scores, at times sharpened, and a bias."""
    lines = [f"z = {' + '.join(_scaled(names, rng) for _ in range(int(rng.integers(1, 4))))}"]
    lines.append(f"w = softmax({rng.choice(['z', 'tanh(z)', 'clip(z, -3, 3)', '2 * z'])})")
    bias = f" + {_small(rng)} * mean({rng.choice(names)})" if rng.random() < 0.3 else ""
    return "\n".join([*lines, f"return sum(w * q){bias}"])


def _factors(names: list[str], rng: np.random.Generator) -> str:
    """A handful of random terms, by name first."""
    n = int(rng.integers(2, 9))
    lines = [f"f{i} = {_term(names, rng)}" for i in range(n)]
    return "\n".join([*lines, f"return [{', '.join(f'f{i}' for i in range(n))}]"])


def _term(names: list[str], rng: np.random.Generator) -> str:
    a, b = (str(x) for x in rng.choice(names, 2))
    forms = (
        a, a, a, f"{a} * {b}", f"{a} > {rng.integers(0, 3)}", f"log1p({a})", f"minimum({a}, {b})", f"{a} / (1 + {b})",
        f"where({a} > 0, {b}, {_small(rng)})", f"tanh({_small(rng)} * {a})", f"({a} > 0) and ({b} > 0)", f"{a} - {b}",
    )  # fmt: skip
    return str(rng.choice(np.asarray(forms)))


def _scaled(names: list[str], rng: np.random.Generator) -> str:
    return f"{_small(rng)} * ({_term(names, rng)})"


def _small(rng: np.random.Generator) -> str:
    return f"{rng.normal(0.0, 0.7):.2f}"
