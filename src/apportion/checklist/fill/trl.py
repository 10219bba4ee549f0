"""What a folder of TRL's GRPO trainer proves: ``trainer_state.json`` and, where there is one, the model card.

``training_args.bin`` is a pickle, which can run code when it is read, and is not opened. What TRL 1.16.0 logs
is averaged over the batches between two entries, the smallest and largest lengths too; with tools, lengths
count the tokens the policy wrote and no others.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...edges.yaml_lines import NotYaml, parse, plain
from .proof import FillError, Finding, collect, tidy

Given = tuple[Any, ...] | str
STATE, CARD = "trainer_state.json", "README.md"
MEAN, LEAST, MOST = (f"completions/{name}_length" for name in ("mean", "min", "max"))


@dataclass(frozen=True)
class Look:
    """``name``: of the state file, as a locator; ``entries``: those of training with lengths, and the steps each covers."""

    name: str
    state: Mapping[str, Any]
    entries: tuple[tuple[int, Mapping[str, float]], ...]
    card: Mapping[str, Any]
    card_text: str
    setting: tuple[str, ...]

    def at(self, key: str) -> str:
        return f"{self.name}:log_history[].{key}"


def state_file(folder: Path) -> Path | None:
    """The state of the trainer: in the folder itself, else of its latest checkpoint."""
    if (folder / STATE).is_file():
        return folder / STATE
    checkpoints = [p for p in folder.glob(f"checkpoint-*/{STATE}") if re.fullmatch(r"checkpoint-\d+", p.parent.name)]
    return max(checkpoints, key=lambda p: int(p.parent.name.split("-")[1]), default=None)


def prove(folder: Path, setting: tuple[str, ...]) -> tuple[Finding, ...]:
    """One finding per item.

    Raises:
        FillError: the state cannot be read, or is not of a trainer that samples completions.
    """
    path = state_file(folder)
    if path is None:
        raise FillError(f"{folder}: no {STATE} here or in a checkpoint")
    state = _json(path)
    entries = _entries(state)
    if not entries:
        raise FillError(f"{path}: no entry of log_history has {MEAN}: not the log of a trainer that samples completions")
    text = (folder / CARD).read_text("utf-8", "replace") if (folder / CARD).is_file() else ""
    look = Look(path.relative_to(folder).as_posix(), state, entries, _front(text), text, setting)
    return collect({item: functools.partial(ask, look) for item, ask in _ASKED.items()}, "the trainer's log does not hold it")


def _base_model(look: Look) -> Given:
    name = look.card.get("base_model")
    if not isinstance(name, str):
        return f"no {CARD} that names it (base_model); {STATE} does not"
    return (
        "partial",
        {"name": name},
        (f"{CARD}:base_model",),
        "size and version, where the name does not say them, are for you to add",
    )


def _training_data(look: Look) -> Given:
    names = look.card.get("datasets")
    found = ", ".join(map(str, names)) if isinstance(names, list) else names
    if not isinstance(found, str) or not found:
        return f"no {CARD} that names it (datasets); {STATE} does not"
    return "partial", {"source": found}, (f"{CARD}:datasets",), "how much of it and what was filtered is not in the folder"


def _mean_length(look: Look) -> Given:
    weight = sum(steps for steps, _ in look.entries)
    mean = sum(steps * entry[MEAN] for steps, entry in look.entries) / weight
    why = f"mean over {weight} steps of training of the tokens the policy wrote"
    if look.setting == ("reasoning",):
        return "reported", {"tokens": tidy(mean)}, (look.at(MEAN),), why
    missing = (
        "turns, which agents are measured in, are not logged" if look.setting else "the form names no setting: agents need turns"
    )
    return "partial", {"tokens": tidy(mean)}, (look.at(MEAN),), f"{why}; {missing}"


def _length_distribution(look: Look) -> Given:
    least = [entry[LEAST] for _, entry in look.entries if LEAST in entry]
    most = [entry[MOST] for _, entry in look.entries if MOST in entry]
    if not least or not most:
        return "the log has no smallest and largest length"
    why = "no median is logged; an entry averages the smallest and largest of its batches, so the true ends may lie further out"
    return "partial", {"min": tidy(min(least)), "max": tidy(max(most)), "unit": "tokens"}, (look.at(LEAST), look.at(MOST)), why


def _gpu_hours(look: Look) -> Given:
    times = [e["train_runtime"] for e in look.state["log_history"] if _is_number(e.get("train_runtime"))]
    if not times:
        return f"{STATE} of a checkpoint has no train_runtime; trainer.save_state() after training writes it"
    why = f"wall time {times[-1] / 3600:.3g} h of the last call of train(); how many devices, and which, is not logged"
    return "partial", None, (look.at("train_runtime"),), why


def _rollout_budget(look: Look) -> Given:
    counts = [entry["num_tokens"] for _, entry in look.entries if "num_tokens" in entry]
    said = f" ({int(counts[-1])} in all)" if counts else ""
    return f"num_tokens{said} counts prompts as well, and what was generated cannot be told from it"


def _code_commit(look: Look) -> Given:
    version = re.search(r"^- TRL: (\S+)$", look.card_text, re.MULTILINE)
    if not version:
        return f"no {CARD} with TRL's version"
    why = "the trainer's release; your own script is not in the folder"
    return "partial", {"repository": "TRL", "commit": version[1], "licence": "Apache-2.0"}, (f"{CARD}:Framework versions",), why


_ASKED: dict[str, Any] = {
    "base_model": _base_model,
    "training_data": _training_data,
    "credit_unit": lambda look: "the log names no credit, and CreditGRPOTrainer's card reads as GRPO's",
    "methodology": lambda look: "the log names no credit, and CreditGRPOTrainer's card reads as GRPO's",
    "episode_baseline": lambda look: "one run has no baseline in it",
    "baseline_budget": lambda look: "one run has one arm",
    "spread": lambda look: "one run is one seed; its seed is in training_args.bin, which is not opened",
    "metric": lambda look: "rewards of training are logged, but no evaluation is defined there",
    "credit_overhead": lambda look: "step_time is of the whole step, the credit's part is not apart",
    "mean_length": _mean_length,
    "length_distribution": _length_distribution,
    "gpu_hours": _gpu_hours,
    "rollout_budget_tokens": _rollout_budget,
    "code_commit": _code_commit,
}


def _entries(state: Mapping[str, Any]) -> tuple[tuple[int, Mapping[str, float]], ...]:
    """Entries of training that carry lengths, each with the steps since the entry before (averages are over these)."""
    found, last = [], 0
    for entry in state["log_history"]:
        step = entry.get("step")
        if not isinstance(step, int) or not _is_number(entry.get(MEAN)):
            continue
        numbers = {k: float(v) for k, v in entry.items() if _is_number(v)}
        found.append((max(step - last, 1), numbers))
        last = step
    return tuple(found)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FillError(f"{path}: not readable as JSON ({error})") from None
    history = found.get("log_history") if isinstance(found, Mapping) else None
    if not isinstance(history, list) or not all(isinstance(entry, Mapping) for entry in history):
        raise FillError(f"{path}: no list log_history of mappings, so it is not the state of a trainer")
    return dict(found)


def _front(text: str) -> Mapping[str, Any]:
    """The YAML at the head of a model card; empty where there is none that can be read."""
    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    try:
        data = plain(parse(found[1])) if found else {}
    except (NotYaml, ValueError):
        return {}
    return data if isinstance(data, Mapping) else {}
