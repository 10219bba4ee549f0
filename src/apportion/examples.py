"""Small batches to try things on, each made in code: nothing is drawn, nothing is downloaded."""

from __future__ import annotations

import json
from collections import deque
from functools import cache
from typing import Any

import numpy as np

from .batch import Batch
from .edges.word_pieces import word_ids
from .errors import OptionError
from .structure import Float, Int


def example(name: str = "agent") -> Batch:
    """A small batch by name.

    agent: 8 chats of a house robot in 2 tasks, with tool calls, observation tokens and states that
    recur. math: 8 answers to 2 questions in reasoning steps, with process scores, critic values and
    shared beginnings; one is cut off at the generation limit. tree: rollouts of 2 searches that
    fork, with tree nodes.
    """
    makers = {"agent": _agent, "math": _math, "tree": _tree}
    if name not in makers:
        raise OptionError(f"no example '{name}'; there are: {', '.join(makers)}")
    return makers[name]()


def _scored(batch: Batch) -> Batch:
    """The batch with log-probabilities, reference ones and entropies that follow from its token ids."""
    ids = batch.need("ids")
    unit = ((ids % 9973) * 31 + np.arange(ids.size) * 17) % 9973 / 9973
    logp: Float = np.where(batch.action, -0.01 - 2.5 * unit**3, 0.0)
    reference: Float = np.where(batch.action, logp - 0.2 * unit, 0.0)
    return batch.with_columns(logp=logp, ref_logp=reference, entropy=np.where(batch.action, 1.5 * unit**2, 0.0))


# --- agent: a house with four rooms -----------------------------------------------------------------
_DOORS = {"hall": ("kitchen", "garden"), "kitchen": ("hall", "cellar"), "garden": ("hall",), "cellar": ("kitchen",)}
_TASKS = {"apple": ("cellar", "garden"), "lamp": ("garden", "cellar")}
_SCRIPTS = {
    "apple": (
        "go kitchen; go cellar; take apple; go kitchen; go hall; go garden; drop apple",
        "go garden; go hall; go kitchen; go cellar; take apple; go kitchen; go hall; go garden; drop apple",
        "go kitchen; go hall; go kitchen; go hall; go garden; go hall",
        "go kitchen; go cellar; take apple; go kitchen; drop apple; go hall; go garden",
    ),
    "lamp": (
        "go garden; take lamp; go hall; go kitchen; go cellar; drop lamp",
        "go kitchen; go cellar; go kitchen; go hall; go garden; take lamp; go hall",
        "go garden; go hall; go garden; take lamp; go hall; go kitchen; go cellar; drop lamp",
        "go garden; take lamp; drop lamp; go hall; go kitchen; go cellar",
    ),
}
_House = tuple[str, str]  # the robot's room, and where the thing is: a room or "hand"


def _act(house: _House, action: str) -> _House:
    room, thing = house
    verb, what = action.split()
    if verb == "go":
        return (what, thing) if what in _DOORS[room] else house
    if verb == "take":
        return (room, "hand") if thing == room else house
    return (room, room) if thing == "hand" else house


@cache
def _distance(house: _House, task: str) -> int:
    """Fewest actions until the thing lies where the task wants it."""
    queue, seen = deque([(house, 0)]), {house}
    while queue:
        now, far = queue.popleft()
        if now[1] == _TASKS[task][1]:
            return far
        for action in (*(f"go {door}" for door in _DOORS[now[0]]), f"take {task}", f"drop {task}"):
            if (new := _act(now, action)) not in seen:
                seen.add(new)
                queue.append((new, far + 1))
    raise AssertionError("every room can be reached")


def _look(house: _House, task: str) -> str:
    room, thing = house
    see = f"a {task}" if thing == room else "nothing"
    return f"You are in the {room}. You see {see}. You carry {'the ' + task if thing == 'hand' else 'nothing'}."


def _agent() -> Batch:
    chats, values, scores = [], [], []
    for task, (start, goal) in _TASKS.items():
        for script in _SCRIPTS[task]:
            house: _House = ("hall", start)
            messages: list[dict[str, Any]] = [
                {"role": "system", "content": f"Bring the {task} to the {goal}."},
                {"role": "user", "content": _look(house, task)},
            ]
            for action in script.split("; "):
                before = _distance(house, task)
                house = _act(house, action)
                values.append(0.9**before)
                scores.append(0.8 * (before - _distance(house, task)))
                call = {"type": "function", "function": {"name": "act", "arguments": json.dumps({"do": action})}}
                messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
                messages.append({"role": "tool", "content": _look(house, task)})
            done = house[1] == goal
            chats.append({"messages": messages, "reward": float(done), "success": done, "group": f"{task} to the {goal}"})
    batch = Batch.from_messages(chats, state="observation", process=scores, limit=512)
    return _scored(batch.with_columns(value=np.asarray(values)[batch.within("token", "turn")]))


# --- math: answers in steps, a wrong step marked by "!" ----------------------------------------------
_QUESTIONS: dict[str, tuple[tuple[bool, str], ...]] = {
    "What is 17 * 24?": (
        (True, "17 * 24 = 17 * 20 + 17 * 4.|17 * 20 = 340.|17 * 4 = 68.|So it is 340 + 68 = 408."),
        (False, "17 * 24 = 17 * 20 + 17 * 4.|17 * 20 = 340.|!17 * 4 = 78.|So it is 340 + 78 = 418."),
        (False, "17 * 24 = 17 * 20 + 17 * 4.|!17 * 20 = 320.|17 * 4 = 68.|So it is 320 + 68 = 388."),
        (True, "17 * 24 = 24 * 10 + 24 * 7.|24 * 10 = 240.|24 * 7 = 168.|So it is 240 + 168 = 408."),
    ),
    "How many primes lie below 20?": (
        (True, "Go through the odd numbers and 2.|2, 3, 5, 7 are prime.|11, 13, 17, 19 are prime.|That makes 8."),
        (False, "Go through the odd numbers and 2.|2, 3, 5, 7 are prime.|!9, 11, 13, 17, 19 are prime.|That makes 9."),
        (False, "Go through the odd numbers.|!3, 5, 7 are prime.|11, 13, 17, 19 are prime.|That makes 7."),
        (
            False,
            "Go through the odd numbers and 2.|!First recall that a prime has two divisors, that divisors come in "
            "pairs, that pairs multiply to the number, that the number is a product, that a product",
        ),
    ),
}
_CUT = "that a product"


def _math() -> Batch:
    lengths, steps, ids, action, values, scores, texts = [], [], [], [], [], [], []
    for question, answers in _QUESTIONS.items():
        for _, answer in answers:
            prompt = word_ids(f"<|user|>\n{question}<|end|><|assistant|>\n")
            parts = answer.split("|")
            hope, sizes = 0.5, []
            for k, part in enumerate(parts):
                wrong = part.startswith("!")
                end = "" if part.endswith(_CUT) else "<|end|>" if k == len(parts) - 1 else "\n"
                tokens = word_ids(part.removeprefix("!") + end)
                lead = prompt if k == 0 else []
                ids += lead + tokens
                action += [False] * len(lead) + [True] * len(tokens)
                values += [hope] * (len(lead) + len(tokens))
                scores.append(-0.8 if wrong else 0.9 - 0.1 * k)
                hope = 0.15 if wrong else hope if hope < 0.5 else min(hope + 0.12, 0.95)
                sizes.append(len(lead) + len(tokens))
            lengths.append([sum(sizes)])
            steps.append(sizes)
            texts.append(answer.replace("!", "").replace("|", "\n"))
    right = [solved for answers in _QUESTIONS.values() for solved, _ in answers]
    cut = [answer.endswith(_CUT) for answers in _QUESTIONS.values() for _, answer in answers]
    written = np.asarray(action)
    batch = Batch.from_turns(
        lengths,
        steps=steps,
        action=written,
        ids=ids,
        value=values,
        process=scores,
        text=texts,
        state=[[question, None] for question, answers in _QUESTIONS.items() for _ in answers],
        group=[question for question, answers in _QUESTIONS.items() for _ in answers],
        outcome=np.asarray(right, dtype=np.float64),
        success=right,
        truncated=cut,
        bootstrap=np.where(cut, 0.15, 0.0),
    )
    limit = int(batch.action_count("trajectory")[np.argmax(cut)])
    return _scored(batch.with_columns(limit=limit))


# --- tree: (parent, what the search did there), leaves with their reward ------------------------------
_SEARCHES: dict[str, tuple[tuple[int, str, float | None], ...]] = {
    "Who wrote the opera?": (
        (-1, "search opera", None),
        (0, "open page one", None),
        (1, "answer Verdi", 0.0),
        (0, "open page two", None),
        (3, "answer Bizet", 1.0),
        (0, "search singer", None),
        (5, "answer Verdi", 0.0),
        (-1, "search composer", None),
        (7, "answer Bizet", 1.0),
    ),
    "Where does the river end?": (
        (-1, "search river", None),
        (0, "open map", None),
        (1, "answer sea", 1.0),
        (1, "answer lake", 0.0),
        (0, "answer sea", 1.0),
        (-1, "answer lake", 0.0),
    ),
}


def _tree() -> Batch:
    columns: dict[str, list[Any]] = {n: [] for n in ("node", "parent", "text", "state", "outcome", "group")}
    lengths, ids, action = [], [], []
    base = 0
    for question, nodes in _SEARCHES.items():
        for leaf, (_, _, reward) in enumerate(nodes):
            if reward is None:
                continue
            path: list[int] = []
            at = leaf
            while at >= 0:
                path.insert(0, at)
                at = nodes[at][0]
            turns = []
            for node in path:
                parent, did, _ = nodes[node]
                shown = question if parent < 0 else f"result of {nodes[parent][1]}"
                seen, wrote = word_ids(f"<|tool|>\n{shown}<|end|>"), word_ids(f"{did}<|end|>")
                ids += seen + wrote
                action += [False] * len(seen) + [True] * len(wrote)
                turns.append(len(seen) + len(wrote))
                columns["node"].append(base + node)
                columns["parent"].append(base + parent if parent >= 0 else -1)
                columns["text"].append(f"{shown}\n{did}")
                columns["state"].append(f"{question} / {parent}")
            lengths.append(turns)
            columns["state"].append(f"{question} / {leaf}")
            columns["outcome"].append(reward)
            columns["group"].append(question)
        base += len(nodes)
    tokens: Int = np.asarray(ids, dtype=np.int64)
    return _scored(Batch.from_turns(lengths, ids=tokens, action=np.asarray(action), limit=64, **columns))
