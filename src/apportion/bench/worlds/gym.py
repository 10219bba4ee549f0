"""The world of Reasoning Gym's sums: a solver that errs now and then, and a checker of its steps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any, Literal, NamedTuple

from ...errors import BenchError
from .games import NEEDED
from .walks import About, Options, Seen


class Place(NamedTuple):
    """How far a solver is: terms taken, what it holds for their sum, and the answer once it was given."""

    prompt: int
    taken: int
    value: int
    answer: int | None = None


class Problem(NamedTuple):
    """The question, its first term, and (sign, term) of each further one; ``entry`` as Reasoning Gym made it."""

    question: str
    first: int
    terms: tuple[tuple[int, int], ...]
    entry: Any


class Sums:
    """``chain_sum`` problems, solved one term a step and answered in a last one.

    A step goes wrong with chance ``errs``, more by half for every carry or borrow it takes: by one, by ten, or with the
    sign turned round, all equally likely. A solver that holds a wrong sum may look back (chance ``looks_back``
    at every step) and write what it should have been, so that an early slip is not the end. Reward is what
    ``score_answer`` of Reasoning Gym gives the answer.

    problems: how many. terms, digits: least and most of each. seed: of the problems.
    """

    family = "gym"
    layout: Literal["turns", "steps"] = "steps"
    replays = False
    favours = -1

    def __init__(
        self, problems: int = 4, *, terms: tuple[int, int] = (5, 8), digits: tuple[int, int] = (2, 3), seed: int = 0,
        errs: float = 0.06, looks_back: float = 0.1,
    ) -> None:  # fmt: skip
        if problems < 1 or terms[0] < 2 or not 0 <= errs <= 0.2 or not 0 <= looks_back < 1:
            raise BenchError(
                f"problems = {problems}, terms = {terms}, errs = {errs}, looks_back = {looks_back}: "
                "expected at least 1, at least 2, 0 to 0.2, 0 to below 1"
            )
        self.data = _dataset(problems, terms, digits, seed)
        self.made = {"problems": problems, "terms": list(terms), "digits": list(digits), "seed": seed}
        self.problems = [parse(entry) for entry in self.data]
        self.errs, self.looks_back = errs, looks_back
        # room for the answer and for looking back four times; a solver that needs more gives none
        self.limit = max(len(p.terms) for p in self.problems) + 5
        self._options = lru_cache(maxsize=1 << 14)(self._make_options)

    @cached_property
    def prompts(self) -> tuple[str, ...]:
        return tuple(f"chain_sum-{i}" for i in range(len(self.problems)))

    def about(self, prompt: int) -> About:
        entry = self.problems[prompt].entry
        return About(
            f"chain_sum of {len(self.problems[prompt].terms) + 1} terms", {"dataset": "chain_sum", "index": prompt, **self.made},
            {"kind": "scripted", "errs": self.errs, "looks_back": self.looks_back, "limit": self.limit},
            "reasoning_gym", "Apache-2.0", "steps that a checker finds wrong, from their text", entry,
        )  # fmt: skip

    def start(self, prompt: int) -> Place:
        return Place(prompt, 0, self.problems[prompt].first)

    def true_sum(self, place: Place) -> int:
        problem = self.problems[place.prompt]
        return problem.first + sum(sign * term for sign, term in problem.terms[: place.taken])

    def options(self, place: Place) -> Options:
        texts, chance, _ = self._options(place)
        return Options(texts, chance)

    def after(self, place: Place, choice: int) -> Place:
        return self._options(place)[2][choice]

    def ended(self, place: Place) -> bool:
        return place.answer is not None

    def reward(self, place: Place) -> float:
        """Reasoning Gym's own verdict on the answer; 0 where none was given."""
        if place.answer is None:
            return 0.0
        return float(self.data.score_answer(str(place.answer), self.problems[place.prompt].entry))

    def mattered(self, place: Place, choice: int) -> bool:
        """Whether the checker finds the step wrong: it starts from what is held and does not come to what it should."""
        return not check(self.options(place).texts[choice], self.problems[place.prompt], place.taken, place.value)

    def read(self, prompt: int, choices: Sequence[str]) -> Seen:
        question = self.problems[prompt].question + "\n"
        return Seen((question,), (question, question + "\n".join(choices)))

    def _make_options(self, place: Place) -> tuple[tuple[str, ...], tuple[float, ...], tuple[Place, ...]]:
        prompt, taken, held, _ = place
        true = self.true_sum(place)
        back = self.looks_back if held != true else 0.0
        found: dict[str, tuple[float, Place]] = {}
        if back:
            found[f"Looking back, so far it is {true}"] = back, Place(prompt, taken, true)
        terms = self.problems[prompt].terms
        if taken == len(terms):
            found[f"Answer: {held}"] = 1.0 - back, Place(prompt, taken, held, held)
        else:
            sign, term = terms[taken]
            right = held + sign * term
            slip = min(0.9, self.errs * (1 + 0.5 * carries(held, sign * term)))
            wrong = sorted({right + 1, right - 1, right + 10, right - 10, held - sign * term} - {right})
            for result in (right, *wrong):
                chance = 1.0 - slip if result == right else slip / len(wrong)
                if chance > 0:
                    line = f"{held} {'+' if sign > 0 else '-'} {term} = {result}"
                    found[line] = (1.0 - back) * chance, Place(prompt, taken + 1, result)
        return tuple(found), tuple(p for p, _ in found.values()), tuple(to for _, to in found.values())


_STEP = re.compile(r"(-?\d+) ([+-]) (\d+) = (-?\d+)")
_BACK = re.compile(r"Looking back, so far it is (-?\d+)")
_ANSWER = re.compile(r"Answer: (-?\d+)")


def check(line: str, problem: Problem, taken: int, held: int) -> bool:
    """Whether a step is right where it stands: it goes on from ``held`` with the term that is next, and its sum is right.

    A step that rightly goes on from a wrong sum is right; one that looks back is right if it names the true sum. What
    can be read as none of the three kinds of line is wrong.
    """
    if found := _STEP.fullmatch(line.strip()):
        a, sign, b, c = int(found[1]), 1 if found[2] == "+" else -1, int(found[3]), int(found[4])
        return taken < len(problem.terms) and a == held and (sign, b) == problem.terms[taken] and a + sign * b == c
    if found := _BACK.fullmatch(line.strip()):
        return int(found[1]) == problem.first + sum(s * t for s, t in problem.terms[:taken])
    if found := _ANSWER.fullmatch(line.strip()):
        return taken == len(problem.terms) and int(found[1]) == held
    return False


def check_steps(lines: Sequence[str], problem: Problem) -> list[bool]:
    """:func:`check` along a solution, from its text alone: each line is held against what the lines before it said."""
    taken, held, verdicts = 0, problem.first, []
    for line in lines:
        verdicts.append(check(line, problem, taken, held))
        if found := _STEP.fullmatch(line.strip()):
            taken, held = taken + 1, int(found[4])
        elif found := _BACK.fullmatch(line.strip()):
            held = int(found[1])
    return verdicts


def carries(a: int, b: int) -> int:
    """How often adding b to a (both of any sign) carries or borrows, digit by digit of their absolute values."""
    x, y, same, count, carry = abs(a), abs(b), (a < 0) == (b < 0), 0, 0
    if not same and x < y:
        x, y = y, x
    while x or y:
        digit = x % 10 + y % 10 + carry if same else x % 10 - y % 10 - carry
        carry = int(digit > 9 or digit < 0)
        count += carry
        x, y = x // 10, y // 10
    return count


def parse(entry: Any) -> Problem:
    """Terms and signs of a ``chain_sum`` entry."""
    parts = entry["metadata"]["expression"].split()
    terms = tuple((1 if sign == "+" else -1, int(term)) for sign, term in zip(parts[1::2], parts[2::2], strict=True))
    return Problem(entry["question"], int(parts[0]), terms, entry)


def _dataset(problems: int, terms: tuple[int, int], digits: tuple[int, int], seed: int) -> Any:
    try:
        import reasoning_gym
    except ImportError:
        raise BenchError("the family gym " + NEEDED.format("Reasoning Gym")) from None
    return reasoning_gym.create_dataset(
        "chain_sum", size=problems, seed=seed, min_terms=terms[0], max_terms=terms[1], min_digits=digits[0], max_digits=digits[1]
    )
