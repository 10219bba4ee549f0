"""``neural/TASK``: a task of the benchmark whose policy is a transformer that reads the text of its rollout.

The process is that of TASK; its tabular policy is only what the first checkpoint has read. ``neural/TASK@50`` is the
same after exact gradient ascent has won half of what can be won, with the first checkpoint as reference.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections import OrderedDict
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...errors import BenchError
from ..tabular import Float, Int, Task
from .checkpoints import Path, ascend
from .learned import Reading, first_checkpoint
from .model import MOST, Shape
from .process import remember
from .table import Reader, Table
from .text import Vocabulary

PREFIX = "neural/"
#: Choices the policy remembers. One is enough for it to read its own last words; each more multiplies the texts.
WINDOW = 1
#: Width of the transformer, and of tasks that have a wider one: at 24 exact ascent stops on tiny/turns-12 at a return of 0.47.
WIDTH, WIDER = 24, {"tiny/turns-12": 48}
#: Tables kept: a method, its instruments and its sources ask for the same few.
KEPT = 3


def needs_torch(id_: str) -> None:
    """Raise in one sentence where torch is missing."""
    if importlib.util.find_spec("torch") is None:
        raise BenchError(f"task {id_} has a transformer for a policy, which needs torch: pip install 'apportion[neural]'")


@dataclass(frozen=True, eq=False)
class NeuralTask(Task):
    """A :class:`Task` whose theta (n, 1) are the parameters of a transformer.

    texts (C, length): what the policy reads in each context; end (P, S), ends (E, length): after the last turn.
    percent: how far the starting policy is trained, of the gain that exact ascent wins; origin: the task
    at 0 per cent, whose first checkpoint and path of ascent this one shares.
    """

    base: Task = field(kw_only=True)
    window: int = field(kw_only=True)
    texts: Int = field(kw_only=True)
    end: Int = field(kw_only=True)
    ends: Int = field(kw_only=True)
    reading: Reading = Reading()
    percent: int = 0
    origin: NeuralTask | None = None

    @property
    def neural(self) -> bool:
        return True

    @property
    def rate(self) -> float:
        return 0.007

    @property
    def looks(self) -> int:
        return self.base.looks

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self.prompts, self.horizon, self.looks, self.words)

    @cached_property
    def model(self) -> Shape:
        width = WIDER.get(self.base.id, WIDTH)
        shape = Shape(self.vocabulary.size, self.texts.shape[1] + self.words.shape[1] - 1, width=width, inner=2 * width)
        if shape.parameters > MOST:
            raise BenchError(f"task {self.id}: its transformer would have {shape.parameters:,} parameters, {MOST:,} is the most")
        return shape

    @cached_property
    def reader(self) -> Reader:
        return Reader(self.model, self.vocabulary, self.spelling)

    @cached_property
    def first_theta(self) -> Float:
        """Parameters of the first checkpoint, (n, 1): also the reference policy's."""
        if self.origin is not None:
            return self.origin.first_theta
        return first_checkpoint(self.base, self.window, self.reader, self.vocabulary, self.reading)[:, None]

    @cached_property
    def start_theta(self) -> Float:
        return self.path.at(self.percent) if self.percent else self.first_theta

    @cached_property
    def path(self) -> Path:
        """Exact ascent from the first checkpoint."""
        return ascend(self) if self.origin is None else self.origin.path

    @property
    def attainable(self) -> float:
        return self.path.attainable

    @cached_property
    def _tables(self) -> OrderedDict[bytes, Table]:
        return OrderedDict()

    def table(self, theta: Float) -> Table:
        """The policy at ``theta``; run once while it is among the last few."""
        key = hashlib.sha256(np.ascontiguousarray(theta).tobytes()).digest()
        if key not in self._tables:
            self._tables[key] = Table(self.reader, theta, self.texts)
            while len(self._tables) > KEPT:
                self._tables.popitem(last=False)
        self._tables.move_to_end(key)
        return self._tables[key]

    def policy(self, theta: Float) -> Float:
        return self.table(theta).pi

    @property
    def reference_policy(self) -> Float:
        return self.policy(self.first_theta)

    def pull_back(self, theta: Float, coefficient: Float) -> Float:
        """(..., C, A) -> (..., n, 1) by autograd through the texts that have a coefficient."""
        table = self.table(theta)
        parts = coefficient.reshape(-1, *coefficient.shape[-2:])
        pull = table.pull_back if len(parts) == 1 else table.pull_back_part
        g = np.stack([pull(part) for part in parts])
        return g.reshape(*coefficient.shape[:-2], -1, 1)

    def describe(self) -> dict[str, Any]:
        """The definition; parameters follow from it, and are learned only when they are needed."""
        twin = self.base.describe()
        digest = hashlib.sha256(self.texts.tobytes()).hexdigest()
        return {
            **twin, "id": self.id, "title": self.title, "tags": list(self.tags), "tier": "neural", "twin": self.twin,
            "definition": {
                **self.definition, "window": self.window, "texts": len(self.texts), "parameters": self.model.parameters,
                "model": asdict(self.model), "reading": asdict(self.reading), "trained": self.percent,
            },
            "texts_sha256": digest,
        }  # fmt: skip

    @property
    def twin(self) -> str:
        """The task with the same process and a tabular policy."""
        return self.id.removeprefix(PREFIX)


def build(base: Task, window: int | None = None, reading: Reading | None = None) -> NeuralTask:
    """``base`` with a transformer for a policy. window: choices it remembers; none in a team, whose agents read their own."""
    id_ = PREFIX + base.id
    needs_torch(id_)
    if base.neural:
        raise BenchError(f"{id_}: {base.id} has a transformer for a policy already")
    window = (0 if base.layout == "team" else WINDOW) if window is None else window
    made = remember(base, window)
    return NeuralTask(
        id=id_, title=f"{base.title}; a transformer acts", family=PREFIX + base.family, tags=(*base.tags, "neural"),
        start=made.start, kernels=made.kernels, kernel_of=base.kernel_of, success=made.success,
        observation=made.observation, shown=made.shown, context=made.context, offset=np.zeros((len(made.texts), base.actions)),
        features=np.zeros((len(made.texts), 0)), fork=base.fork, words=base.words, definition=base.definition,
        layout=base.layout, roles=base.roles, base=base, window=window, texts=made.texts, end=made.end, ends=made.ends,
        reading=reading or Reading(),
    )  # fmt: skip


def trained(task: NeuralTask, percent: int) -> NeuralTask:
    """The task as it is after ``percent`` of what exact ascent wins, its reference the first checkpoint."""
    if not 0 <= percent <= 100:
        raise BenchError(f"{task.id}@{percent}: expected 0 to 100, per cent of the attainable gain")
    return replace(
        task, id=f"{task.id}@{percent}", title=f"{task.title}, {percent} % trained", tags=(*task.tags, "trained"),
        percent=percent, origin=task,
    )  # fmt: skip
