"""Of a run of the benchmark: what was trained on what, which credit, and which code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import __version__
from ...registry import methods
from ...survey import records
from ..items import items
from .bench import Look

Given = tuple[Any, ...] | str


def base_model(look: Look) -> Given:
    unknown = [id_ for id_ in look.run.tasks if id_ not in look.built]
    if unknown:
        return f"the policy's size is not in the manifest, and {unknown[0]} is not defined here as it was there"
    sizes = {id_: int(task.start_theta.size) for id_, task in look.built.items()}
    value = {
        "name": "softmax policy over the features of the task, its parameters zero at the start; no language model",
        "size": "; ".join(f"{n} parameters ({id_})" for id_, n in sizes.items()),
        "version": "; ".join(f"{id_} sha256 {look.run.tasks[id_]['sha256'][:12]}" for id_ in sizes),
    }
    return "reported", value, tuple(look.at("tasks", id_, "sha256") for id_ in sizes)


def training_data(look: Look) -> Given:
    if not look.trained:
        return _UNTRAINED
    tasks = list(dict.fromkeys(task for task, _, _ in look.trained))
    prompts = {id_: look.run.tasks[id_].get("prompts") for id_ in tasks}
    if None in prompts.values():
        return "the manifest does not say how many prompts a task has"
    value = {
        "source": f"the tasks' own prompts, drawn anew for every batch: {', '.join(tasks)}",
        "size": "; ".join(f"{n} prompts ({id_})" for id_, n in prompts.items()),
        "filter": "none",
    }
    return "reported", value, tuple(look.at("tasks", id_, "prompts") for id_ in tasks)


def credit_unit(look: Look) -> Given:
    spec = methods().get(str(look.entrant.get("method")))
    if spec is None:
        return f"no method '{look.entrant.get('method')}' is registered here, so its unit is not known"
    option = look.entrant.get("options", {}).get("unit")
    own = option in items()["credit_unit"].fields["unit"].choices
    where = (look.at("entrants", look.own, "options.unit" if own else "method"),)
    return "reported", {"unit": option if own else spec.unit}, where, "" if own else f"as {spec.id} declares it{_newer(look)}"


def methodology(look: Look) -> Given:
    record = records().get(str(look.entrant.get("method")))
    family = record.label("methodology") if record else None
    if record is None or family is None:
        return f"the inventory has no methodology of '{look.entrant.get('method')}'"
    where = (look.at("entrants", look.own, "method"), f"survey/papers/{record.id}.yaml:methodology")
    return "reported", {"family": family}, where


def episode_baseline(look: Look) -> Given:
    here = {key[1] for cells in look.run.values.values() for key in cells if key[0] == look.own}
    found = [
        id_ for id_ in look.baselines if here & {key[1] for cells in look.run.values.values() for key in cells if key[0] == id_}
    ]
    if not found:
        return "no other entrant of the run gives a trajectory one credit"
    value = {"baseline": ", ".join(look.run.title(id_) for id_ in found), "same_base_model": True}
    why = "every entrant starts from the same parameters of the same tasks"
    return "reported", value, tuple(look.at("entrants", id_, "method") for id_ in found), why


def benchmarks(look: Look) -> Given:
    tasks = look.run.tasks
    digests = {id_: str(one.get("sha256") or one.get("digest") or "") for id_, one in tasks.items()}
    where = tuple(look.at("tasks", id_) for id_ in tasks)
    if not all(digests.values()) or any(one.get("prompts") is None for one in tasks.values()):
        return "partial", {"names": ", ".join(tasks)}, where, "the manifest has no prompts or digest for some of them"
    each = "; ".join(f"{id_}: {one['prompts']} prompts, sha256 {digests[id_][:12]}" for id_, one in tasks.items())
    return "reported", {"names": ", ".join(tasks), "splits": f"{each}; no split, all prompts in training and evaluation"}, where


def metric(look: Look) -> Given:
    target = look.run.manifest.get("settings", {}).get("learning", {}).get("target")
    if not look.trained or target is None:
        return _UNTRAINED
    value = {
        "name": f"cost to {target:.0%} of the attainable return",
        "definition": "all that was spent, failed runs included, over the runs that reached it, in price units (one generated "
        "token is priced as the manifest says); the return is the exact expectation, not sampled",
    }
    return "reported", value, ("manifest.json:settings.learning.target", "manifest.json:prices", "results.parquet:learning.cost")


def replay_provenance(look: Look) -> Given:
    ask, where = look.entrant.get("ask"), (look.at("entrants", look.own, "ask"),)
    if ask is None:
        return "the manifest does not say what the method asks for"
    if ask not in ("sampler", "editor"):
        return "not_applicable", None, where, f"it asks for no continuation (ask: {ask})"
    why = "the simulated world keeps its whole state"
    return (
        "reported",
        {"way": "environment_restore", "replica_noise": "0: two replays differ by the dice drawn after it"},
        where,
        why,
    )


def judge_calibration(look: Look) -> Given:
    ask, where = look.entrant.get("ask"), (look.at("entrants", look.own, "ask"),)
    accuracy = look.entrant.get("source", {}).get("accuracy")
    if ask in ("nothing", "sampler", "truth"):
        return "not_applicable", None, where, f"no model's word enters the credit or the reward (ask: {ask})"
    if ask != "judge" or accuracy is None:
        return "what is learned in the run, or simulated, is not measured for how often it is right"
    value = {
        "judge": "simulated, from the exact truth",
        "agreement": f"set to be right on {accuracy:.0%} of texts",
        "against": "the exact truth",
    }
    return "reported", value, (*where, look.at("entrants", look.own, "source.accuracy"))


def environment(look: Look) -> Given:
    version = look.run.manifest.get("versions", {}).get("apportion")
    if version is None:
        return "the manifest names no version"
    digests = "; ".join(f"{id_} {str(one.get('sha256') or '')[:12]}".strip() for id_, one in look.run.tasks.items())
    value = {"environment": ", ".join(look.run.tasks), "version": f"apportion {version}; {digests}"}
    return "partial", value, ("manifest.json:versions.apportion", "manifest.json:tasks"), "seconds of a reset are not measured"


def code_commit(look: Look) -> Given:
    manifest = look.run.manifest
    version, code = manifest.get("versions", {}).get("apportion"), manifest.get("code")
    if not version or not code:
        return "the manifest names no version and digest of the code"
    value = {"repository": "apportion", "commit": f"{version}, sources sha256 {code[:12]}", "licence": "Apache-2.0"}
    return (
        "reported",
        value,
        ("manifest.json:versions.apportion", "manifest.json:code"),
        "the benchmark's code; yours is beside it",
    )


def _newer(look: Look) -> str:
    there = look.run.manifest.get("versions", {}).get("apportion")
    return "" if there == __version__ else f" here ({__version__}; the run was made with {there})"


_UNTRAINED = "nothing was trained by this method in this run (measure: learning)"

ASKED: dict[str, Callable[[Look], Given]] = {
    "base_model": base_model,
    "training_data": training_data,
    "credit_unit": credit_unit,
    "methodology": methodology,
    "episode_baseline": episode_baseline,
    "benchmarks": benchmarks,
    "metric": metric,
    "replay_provenance": replay_provenance,
    "judge_calibration": judge_calibration,
    "environment_version_and_reset_cost": environment,
    "code_commit": code_commit,
}
