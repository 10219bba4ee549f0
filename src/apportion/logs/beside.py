"""What Harbor keeps beside a trajectory: the trial's task, its name and the verifier's reward."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import BatchError
from .formats.atif import TRIAL

#: Folders to look in above a document: agent/, steps/<step>/, steps/, <trial>/.
_LEVELS = 4


def with_trial(root: Path) -> Any:
    """A function that adds what lies beside a document, no higher than ``root``."""

    def add(path: Path, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        found: dict[str, Any] = {}
        folder = path.parent
        for _ in range(_LEVELS):
            for name, more in (("verifier", _verifier), ("result.json", _result)):
                if (folder / name).exists():
                    found = {**more(folder / name), **found}
            if "group" in found or folder == root or root not in folder.parents:
                break
            folder = folder.parent
        return {**value, TRIAL: found} if found else value

    return add


def _verifier(folder: Path) -> dict[str, Any]:
    if (folder / "reward.json").exists():
        return {"reward": _json(folder / "reward.json")}
    if (folder / "reward.txt").exists():
        text = (folder / "reward.txt").read_text().strip()
        try:
            return {"reward": float(text)}
        except ValueError:
            raise BatchError(f"{folder / 'reward.txt'}: expected a number, got {text[:40]!r}") from None
    return {}


def _result(path: Path) -> dict[str, Any]:
    """A trial's result; that of a whole job has no trial name and says nothing here."""
    result = _json(path)
    if not isinstance(result, dict) or "trial_name" not in result:
        return {}
    rewards = (result.get("verifier_result") or {}).get("rewards")
    found = {"group": result.get("task_name"), "trajectory": result["trial_name"], "reward": rewards}
    return {k: v for k, v in found.items() if v is not None}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise BatchError(f"{path}: not valid JSON ({error})") from None
