"""A run in the schema of Every Eval Ever (version 0.3.0), a shared format for evaluation results.

One file per method, ``data/apportion/apportion/METHOD/UUID.json``. The schema speaks of models: what stands in its
``model_info`` here is a credit-assignment method, and says so. Scores of every task: alignment of the update with the
exact gradient, cost to the goal and share of runs that got there, correlation of credit with the exact advantage, price.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ..bench.manifest import digest
from ..bench.records import plain_name
from ..bench.statistics import resample_index
from ..errors import BenchError
from .gradient import gradient_rows
from .learning import learning_rows
from .pool import mean_estimate, resample_weights
from .read import Run, reference_batch

VERSION = "0.3.0"
RESAMPLES = 1000
Relationship = Literal["first_party", "third_party", "collaborative", "other"]

#: id -> name, what it is, unit, lower is better, least, greatest.
METRICS: Mapping[str, tuple[str, str, str, bool, float | str, float | str]] = {
    "alignment": ("gradient alignment", "cosine of the method's update and the exact gradient", "proportion", False, -1.0, 1.0),
    "learning_cost": (
        "cost to the goal",
        "all that was spent over the number of runs that reached the goal, at the best setting",
        "generated tokens",
        True,
        0.0,
        "Infinity",
    ),
    "learning_reached": ("runs that got there", "share of training runs that reached the goal", "proportion", False, 0.0, 1.0),
    "identification": ("correlation of credit", "correlation of credit with exact advantage", "proportion", False, -1.0, 1.0),
    "price": ("price of a rollout", "work of a rollout and its credit", "generated tokens", True, 0.0, "Infinity"),
}


def export(run: Run, folder: Path, *, stamp: int, organization: str, relationship: Relationship = "third_party") -> list[Path]:
    """Write a file for each method; gives the files. stamp: seconds since 1970 at which the record was made.

    Raises BenchError where a folder cannot be written. A score that is undefined, or never reached, has no record.
    """
    from ..edges.atomic import atomic

    scores = _scores(run)
    written = []
    for method in run.methods():
        if method not in scores:
            continue
        record = _record(run, method, scores[method], stamp, organization, relationship)
        body = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        name = uuid.UUID(hex=digest(record)[:32], version=4)
        path = folder / "data" / "apportion" / "apportion" / plain_name(method).replace("~", "-") / f"{name}.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BenchError(f"{path.parent}: cannot be made ({error.strerror})") from None
        with atomic(path) as file:
            file.write(body.encode())
        written.append(path)
    return written


def _record(
    run: Run, method: str, scores: list[dict[str, Any]], stamp: int, organization: str, relationship: Relationship
) -> dict[str, Any]:
    entrant, manifest = run.entrants[method], run.manifest
    id_ = f"apportion/{plain_name(method).replace('~', '-')}"
    return {
        "schema_version": VERSION,
        "evaluation_id": f"apportion/{id_}/{stamp}",
        "retrieved_timestamp": str(stamp),
        "source_metadata": {
            "source_name": f"apportion, suite {manifest.get('suite')}",
            "source_type": "evaluation_run",
            "source_organization_name": organization,
            "evaluator_relationship": relationship,
            "additional_details": {"command": str(manifest.get("command") or ""), "protocol": str(manifest.get("protocol"))},
        },
        "eval_library": {
            "name": "apportion",
            "version": str((manifest.get("versions") or {}).get("apportion", "unknown")),
            "additional_details": {"code_sha256": str(manifest.get("code")), "prices": _text(manifest.get("prices"))},
        },
        "model_info": {
            "name": run.title(method),
            "id": id_,
            "additional_details": {
                "deployment_type": "unknown",
                "model_availability": "unknown",
                "what_is_ranked": "a credit-assignment method, not a language model",
                "method": str(entrant.get("method")),
                "options": _text(entrant.get("options")),
                "oracle": "true" if run.is_oracle(method) else "false",
            },
        },
        "evaluation_results": scores,
    }


def _scores(run: Run) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for method, task, metric, estimate, more in _estimates(run):
        if isinstance(estimate["value"], float):
            found.setdefault(method, []).append(_score(run, task, metric, estimate, more))
    return found


def _estimates(run: Run) -> Iterator[tuple[str, str, str, Mapping[str, Any], dict[str, Any]]]:
    """(method, task, metric, {value, low, high}, parameters) of everything that was measured."""
    index = resample_index(len(run.seeds), RESAMPLES, 0)
    weights, batch = resample_weights(index), reference_batch(run)
    for row in gradient_rows(run, index):
        if row["batch"] == batch:
            yield row["method"], row["task"], "alignment", row["rho"], {"batch": batch}
    for row in learning_rows(run, index):
        setting = {"batch": row["batch"], "learning_rate": row["lr"]}
        yield row["method"], row["task"], "learning_cost", row["cost"], setting
        yield row["method"], row["task"], "learning_reached", {"value": row["reached"], "low": None, "high": None}, setting
    for measure, name, metric in (("identification", "correlation", "identification"), ("cost", "price", "price")):
        for (method, task, _, _), cell in run.values.get(measure, {}).items():
            yield method, task, metric, mean_estimate(cell, name, weights), {}


def _score(run: Run, task: str, metric: str, found: Mapping[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    name, what, unit, lower, least, most = METRICS[metric]
    details: dict[str, Any] = {"score": found["value"]}
    if isinstance(found["low"], float) and isinstance(found["high"], float) and len(run.seeds) > 1:
        details["uncertainty"] = {
            "confidence_interval": {
                "lower": found["low"], "upper": found["high"], "confidence_level": 0.95,
                "method": "t interval, bootstrap standard error over seeds",
            },
            "num_samples": len(run.seeds),
            "num_bootstrap_samples": RESAMPLES,
        }  # fmt: skip
    definition = run.tasks[task]
    return {
        "evaluation_result_id": f"{task}/{metric}",
        "evaluation_name": task,
        "source_data": {
            "dataset_name": task,
            "source_type": "other",
            "additional_details": {
                "title": str(definition.get("title") or ""),
                "family": str(definition.get("family") or ""),
                "sha256": str(definition.get("sha256") or definition.get("digest") or ""),
            },
        },
        "metric_config": {
            "evaluation_description": what, "metric_id": f"apportion.{metric}", "metric_name": name,
            "metric_kind": metric, "metric_unit": unit, "metric_parameters": more, "lower_is_better": lower,
            "score_type": "continuous", "min_score": least, "max_score": most,
        },
        "score_details": details,
    }  # fmt: skip


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
