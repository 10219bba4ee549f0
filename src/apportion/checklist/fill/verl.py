"""What a folder of verl's trainer proves: its configuration, and the metrics of its file logger.

Hydra writes ``.hydra/config.yaml`` beside a run; ``trainer.logger`` with ``file`` in it writes one JSON line a step
(``VERL_FILE_LOGGER_PATH``, else ``project/experiment.jsonl`` where the run was started). Of verl 0.9.1:
``response_length`` counts what tools wrote as well, ``num_turns`` counts messages (2 without tools), and
``timing_s/step`` leaves validation and start-up out.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...edges.yaml_lines import NotYaml, parse, plain
from ...registry import methods
from ...survey import records
from .proof import FillError, Finding, collect, tidy

Given = tuple[Any, ...] | str
CONFIGS = (".hydra/config.yaml", "config.yaml")
OURS = "apportion/"
#: verl's own estimators that are the methods of the same name here.
_SAME = ("gae", "grpo", "rloo")


@dataclass(frozen=True)
class Look:
    """``config`` and ``name`` of its file; ``steps``: metrics of every training step, and ``log`` the file they are in."""

    name: str
    config: Mapping[str, Any]
    log: str
    steps: tuple[tuple[int, Mapping[str, float]], ...]
    setting: tuple[str, ...]

    def get(self, dotted: str) -> Any:
        """A setting; None where it is absent, or points to another one."""
        at: Any = self.config
        for part in dotted.split("."):
            at = at.get(part) if isinstance(at, Mapping) else None
        return None if isinstance(at, str) and at.startswith("${") else at

    def at(self, dotted: str) -> str:
        return f"{self.name}:{dotted}"

    def column(self, key: str) -> list[float]:
        """A metric of every step; empty unless all have it."""
        found = [step[key] for _, step in self.steps if key in step]
        return found if len(found) == len(self.steps) else []

    @property
    def whole(self) -> str:
        """Which steps the log covers, in words."""
        first, last = self.steps[0][0], self.steps[-1][0]
        gaps = last - first + 1 != len(self.steps)
        return f"{len(self.steps)} logged steps ({first} to {last}{', with gaps' if gaps else ''})"


def config_file(folder: Path) -> Path | None:
    """verl's configuration in a folder, known by what is in it."""
    for name in CONFIGS:
        path = folder / name
        if path.is_file() and "adv_estimator" in (text := path.read_text("utf-8", "replace")) and "actor_rollout_ref" in text:
            return path
    return None


def prove(folder: Path, setting: tuple[str, ...]) -> tuple[Finding, ...]:
    """One finding per item.

    Raises:
        FillError: the configuration or the metrics cannot be read, or there are several files of metrics.
    """
    path = config_file(folder)
    if path is None:
        raise FillError(f"{folder}: no configuration of verl ({' or '.join(CONFIGS)})")
    try:
        config = plain(parse(path.read_text("utf-8")))
    except (NotYaml, ValueError) as error:
        raise FillError(f"{path}: not readable as YAML ({error})") from None
    log, steps = _metrics(folder)
    look = Look(path.relative_to(folder).as_posix(), config, log, steps, setting)
    return collect({item: functools.partial(ask, look) for item, ask in _ASKED.items()}, "verl's files do not hold it")


def _base_model(look: Look) -> Given:
    path = look.get("actor_rollout_ref.model.path")
    if not isinstance(path, str):
        return "actor_rollout_ref.model.path is not set"
    value, where = {"name": _name(path)}, (look.at("actor_rollout_ref.model.path"),)
    return "partial", value, where, "size and version, where the name does not say them, are for you to add"


def _training_data(look: Look) -> Given:
    names = _names(look.get("data.train_files"))
    if not names:
        return "data.train_files is not set"
    long = look.get("data.filter_overlong_prompts")
    rule = f"prompts over {look.get('data.max_prompt_length')} tokens" if long else "none by the trainer"
    where = (look.at("data.train_files"), look.at("data.filter_overlong_prompts"))
    return "partial", {"source": names, "filter": rule}, where, "how many prompts the files hold is not in the configuration"


def _estimator(look: Look) -> str | None:
    name = look.get("algorithm.adv_estimator")
    if isinstance(name, str):
        return name.removeprefix(OURS) if name.startswith(OURS) else name if name in _SAME else None
    return None


def _credit_unit(look: Look) -> Given:
    id_ = _estimator(look)
    if id_ not in methods():
        return f"algorithm.adv_estimator = {look.get('algorithm.adv_estimator')}: its unit is not known here"
    own = look.get("algorithm.apportion.unit")
    why = f"as {id_} is declared here" if own is None else "its option unit"
    return "reported", {"unit": own or methods()[id_].unit}, (look.at("algorithm.adv_estimator"),), why


def _methodology(look: Look) -> Given:
    id_ = _estimator(look)
    record = records().get(id_ or "")
    family = record.label("methodology") if record else None
    if family is None:
        return f"algorithm.adv_estimator = {look.get('algorithm.adv_estimator')}: the inventory has no methodology of it"
    return "reported", {"family": family}, (look.at("algorithm.adv_estimator"), f"survey/papers/{id_}.yaml:methodology")


def _benchmarks(look: Look) -> Given:
    names = _names(look.get("data.val_files"))
    if not names:
        return "data.val_files is not set"
    return (
        "partial",
        {"names": names},
        (look.at("data.val_files"),),
        "validation during training; splits and sizes are not in the configuration",
    )


def _credit_overhead(look: Look) -> Given:
    seconds = look.column("timing_s/adv")
    if not seconds:
        return _NO_LOG if not look.steps else "the log has no timing_s/adv"
    value = {"amounts": {"seconds of the advantage": tidy(sum(seconds) / len(seconds))}, "per": "update"}
    return "partial", value, (f"{look.log}:timing_s/adv",), f"time alone, mean over {look.whole}; calls of models are not logged"


def _gpu_hours(look: Look) -> Given:
    seconds = look.column("timing_s/step")
    if not seconds:
        return _NO_LOG if not look.steps else "the log has no timing_s/step"
    devices = look.get("trainer.n_gpus_per_node"), look.get("trainer.nnodes")
    if look.get("trainer.device") != "cuda" or not all(isinstance(n, int) for n in devices):
        return f"trainer.device = {look.get('trainer.device')}, and the number of GPUs is not known from it"
    if _more_devices(look):
        return (
            "more devices than the trainer's own were used (rollout, reward model or teacher), and verl does not log their time"
        )
    count = devices[0] * devices[1]
    why = f"{count} GPUs x the time of {look.whole}, without validation and start-up; which GPU is not logged"
    where = (f"{look.log}:timing_s/step", look.at("trainer.n_gpus_per_node"), look.at("trainer.nnodes"))
    return "partial", {"hours": tidy(sum(seconds) * count / 3600)}, where, why


def _mean_length(look: Look) -> Given:
    tokens, messages = look.column("response_length/mean"), look.column("num_turns/mean")
    if not tokens:
        return _NO_LOG if not look.steps else "the log has no response_length/mean"
    value, where = {"tokens": tidy(sum(tokens) / len(tokens))}, (f"{look.log}:response_length/mean",)
    why = f"mean over {look.whole}"
    if not _single(look):
        mean = f", {tidy(sum(messages) / len(messages))} messages a rollout" if messages else ""
        return "partial", value, where, f"{why}; counts what tools wrote as well, and num_turns counts messages, not turns{mean}"
    if look.setting == ("reasoning",):
        return "reported", value, where, why
    return (
        "partial",
        value,
        where,
        f"{why}; " + ("agents need turns" if look.setting else "the form names no setting: agents need turns"),
    )


def _length_distribution(look: Look) -> Given:
    least, most = look.column("response_length/min"), look.column("response_length/max")
    if not least or not most:
        return _NO_LOG if not look.steps else "the log has no response_length/min and max"
    why = f"no median is logged; over {look.whole}" + ("" if _single(look) else "; counts what tools wrote as well")
    value = {"min": tidy(min(least)), "max": tidy(max(most)), "unit": "tokens"}
    return "partial", value, (f"{look.log}:response_length/min", f"{look.log}:response_length/max"), why


def _rollout_budget(look: Look) -> Given:
    tokens = look.column("response_length/mean")
    prompts, n = look.get("data.train_batch_size"), look.get("actor_rollout_ref.rollout.n")
    if not tokens or not isinstance(prompts, int) or not isinstance(n, int):
        return _NO_LOG if not look.steps else "the log has no response_length/mean, or the batch size is not set"
    if not _single(look):
        return "response_length counts what tools wrote as well, so what the policy generated is not known"
    if look.get("algorithm.filter_groups.enable") or look.get("trainer.v1.trainer_mode") not in (None, "sync", "apportion"):
        return "groups that were thrown away, or rollouts made ahead, are not in the lengths that are logged"
    why = f"train_batch_size x rollout.n x response_length/mean, summed over {look.whole}; validation is not in it"
    where = (f"{look.log}:response_length/mean", look.at("data.train_batch_size"), look.at("actor_rollout_ref.rollout.n"))
    return "reported", {"tokens": round(sum(tokens) * prompts * n)}, where, why


_NO_LOG = "no metrics in the folder: put 'file' into trainer.logger, and VERL_FILE_LOGGER_PATH or the .jsonl here"

_ASKED: dict[str, Any] = {
    "base_model": _base_model,
    "training_data": _training_data,
    "credit_unit": _credit_unit,
    "methodology": _methodology,
    "episode_baseline": lambda look: "one run has no baseline in it",
    "baseline_budget": lambda look: "one run has one arm",
    "benchmarks": _benchmarks,
    "metric": lambda look: "verl names the metric by the reward function, which is not in its files",
    "spread": lambda look: "one run is one seed",
    "gpu_hours": _gpu_hours,
    "credit_overhead": _credit_overhead,
    "mean_length": _mean_length,
    "length_distribution": _length_distribution,
    "rollout_budget_tokens": _rollout_budget,
    "code_commit": lambda look: "verl does not write its version into its files",
}


def _single(look: Look) -> bool:
    """Whether every rollout was a prompt and one answer: then all response tokens are the policy's."""
    most = look.column("num_turns/max")
    return bool(most) and max(most) <= 2


def _more_devices(look: Look) -> bool:
    return (
        "separate_async" in str(look.get("trainer.v1.trainer_mode"))
        or bool(look.get("reward.reward_model.enable_resource_pool"))
        or bool(look.get("distillation.enabled"))
    )


def _metrics(folder: Path) -> tuple[str, tuple[tuple[int, Mapping[str, float]], ...]]:
    """(file, training steps) of the one file of metrics in the folder or one below; ("", ()) where there is none."""
    found = [(p, steps) for p in sorted((*folder.glob("*.jsonl"), *folder.glob("*/*.jsonl"))) if (steps := tuple(_read(p)))]
    if len(found) > 1:
        raise FillError(f"{folder}: several files of metrics ({', '.join(p.name for p, _ in found)}): leave the one of this run")
    return (found[0][0].relative_to(folder).as_posix(), found[0][1]) if found else ("", ())


def _read(path: Path) -> Iterator[tuple[int, Mapping[str, float]]]:
    """Training steps of verl's file logger; nothing where the file is something else. A torn last line is left out."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                return
            if (
                not isinstance(entry, Mapping)
                or not isinstance(entry.get("data"), Mapping)
                or not isinstance(entry.get("step"), int)
            ):
                return
            numbers = {k: float(v) for k, v in entry["data"].items() if _is_number(v)}
            if "training/global_step" in numbers:  # validation before training has none
                yield entry["step"], numbers


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _names(value: Any) -> str:
    """Names of files without the folders of somebody's machine."""
    listed = value if isinstance(value, list) else [value]
    return ", ".join(_name(one) for one in listed if isinstance(one, str) and one)


def _name(path: str) -> str:
    """A model or data set by its public name; of a path on a machine the last two parts."""
    local = path.startswith(("/", "~", ".", "$")) or path.count("/") > 1
    return "/".join(Path(path).parts[-2:]) if local and len(Path(path).parts) > 2 else path
