"""What credit carries from batch to batch, in TRL's checkpoints, so that a killed run goes on as if it had not been."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import pipeline
from ...credit import relabelled
from ...edges.atomic import atomic
from ...errors import OptionError, TrainerError
from ...evidence import SOURCES
from ...evidence.saving import load_learned, save_learned
from ...registry import Method, keywords

#: The last file of a checkpoint to be written: a folder without it was cut short.
MARK = "credit.json"
_LEARNED = "credit_learned.npz"


@dataclass
class Carried:
    """batches: how many were credited, which seeds the next. learned: what goes on learning, on the main process."""

    batches: int = 0
    learned: Any = None


def check_carry(spec: Method, options: Mapping[str, Any]) -> None:
    """Refuse ``carry=True`` for a method that cannot go on from what it learned before."""
    if spec.fit is None or "state" not in keywords(spec.fit):
        raise OptionError(f"carry=True: {spec.id} learns from one batch at a time and carries nothing on")
    if not options.get("fit"):
        raise OptionError(f"carry=True: pass credit_options={{'fit': True}}, so that {spec.id} learns at all")
    if asked := sorted(set(SOURCES) & set(options)):
        raise OptionError(f"carry=True: what {spec.id} carries on is learned from batches alone, without {asked[0]}=")


def carrying(spec: Method, carried: Carried, *, keep: bool) -> Callable[..., Any]:
    """``assign`` whose ``fit=True`` goes on from ``carried.learned``. keep: whether what it learned is carried on."""

    def assign(batch: Any, id_: str, *, rng: Any, fit: bool = True, **given: Any) -> Any:
        fitting = {n: given[n] for n in set(keywords(spec.fit)) - {"rng", "state"} if n in given} if spec.fit else {}
        learned = pipeline.learn(batch, id_, state=carried.learned, rng=rng, **fitting)
        credit = pipeline.assign(batch, id_, rng=rng, learned=learned, **given)
        if keep:
            carried.learned = learned
        return relabelled(credit, bill=credit.bill + learned.bill)  # assign only used it: learning is paid here

    return assign


def write(folder: Path, method: str, carried: Carried) -> None:
    """Add to a checkpoint what credit carries; the mark comes last."""
    if carried.learned is not None:
        save_learned(carried.learned, folder / _LEARNED)
    with atomic(folder / MARK) as file:
        file.write(json.dumps({"method": method, "batches": carried.batches, "learned": carried.learned is not None}).encode())


def read(folder: Path, method: str) -> tuple[Carried, str]:
    """What :func:`write` put there, and a sentence where credit cannot go on from it."""
    if not (folder / MARK).exists():
        return Carried(), f"{folder.name} has no {MARK} (saved without apportion, or cut short): credit starts anew"
    try:
        found = json.loads((folder / MARK).read_text(encoding="utf-8"))
        of, batches, learned = str(found["method"]), int(found["batches"]), bool(found["learned"])
    except (ValueError, KeyError, TypeError) as error:
        raise TrainerError(f"{folder / MARK} is not readable ({error!r}): resume from another checkpoint") from None
    if learned and of != method:
        return Carried(batches), f"{folder.name} holds what {of} learned: {method} starts anew"
    return Carried(batches, load_learned(folder / _LEARNED) if learned else None), ""


def checkpoints(folder: str | os.PathLike[str]) -> list[tuple[int, Path]]:
    """All ``checkpoint-N`` of a run's folder, whole or not, by step."""
    named = [(re.fullmatch(r"checkpoint-(\d+)", p.name), p) for p in Path(folder).glob("checkpoint-*") if p.is_dir()]
    return sorted((int(name[1]), path) for name, path in named if name)


def last_checkpoint(folder: str | os.PathLike[str]) -> Path | None:
    """The newest checkpoint that was written to its end, to pass to ``trainer.train(resume_from_checkpoint=...)``.

    TRL takes the newest folder, which a kill may have left half written. None where there is none.
    """
    return next((path for _, path in reversed(checkpoints(folder)) if (path / MARK).exists()), None)


class Resumes:
    """The part of ``CreditMixin`` that writes to checkpoints and reads from them."""

    accelerator: Any
    args: Any
    state: Any
    _carried: Carried
    _credit: Method
    _sampler: Any = ()
    _say: Callable[[Sequence[str]], None]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        parent: Any = super()
        parent._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()  # the mark speaks for every process
        if self.args.should_save:
            place: Any = self
            folder = Path(place._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
            write(folder, self._credit.id, self._carried)

    def _get_train_sampler(self, *args: Any, **more: Any) -> Any:
        """TRL's, noted: resumed in a later epoch, it would draw the permutation of the first again."""
        parent: Any = super()
        self._sampler = parent._get_train_sampler(*args, **more)
        return self._sampler

    def _load_optimizer_and_scheduler(self, checkpoint: Any) -> None:
        parent: Any = super()
        parent._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            for _ in range(int(self.state.epoch or 0)):
                next(iter(self._sampler), None)  # draws a permutation and forgets it
            self._carried, remark = read(Path(checkpoint), self._credit.id)
            self._say([remark] if remark else [])
