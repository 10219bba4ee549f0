"""Which kind of run a folder holds, and what it proves."""

from __future__ import annotations

from pathlib import Path

from .proof import FillError, Finding

#: Kind -> what in a folder says that it is one, as a person would look for it.
KINDS = {
    "bench": "a run of apportion bench (manifest.json, results.parquet)",
    "trl": "TRL's output folder (trainer_state.json, here or in a checkpoint)",
    "verl": "verl's configuration (.hydra/config.yaml or config.yaml), best with its metrics (a .jsonl of the file logger)",
}


def sources(folder: Path) -> tuple[str, ...]:
    """The kinds of run that a folder holds."""
    from . import trl, verl

    found = {
        "bench": (folder / "manifest.json").is_file(),
        "trl": trl.state_file(folder) is not None,
        "verl": verl.config_file(folder) is not None,
    }
    return tuple(kind for kind, there in found.items() if there)


def prove(folder: Path, *, method: str | None = None, setting: tuple[str, ...] = ()) -> tuple[str, tuple[Finding, ...]]:
    """(kind, one finding per item) of the run in a folder.

    method: the method that the form is about, where a run holds several. setting: the form's; lengths are
    counted in tokens for reasoning and in turns elsewhere.

    Raises:
        FillError: there is no such folder, no run in it, or several; or it is open which method is meant.
    """
    from . import bench, trl, verl

    if not folder.is_dir():
        raise FillError(f"{folder}: no such folder")
    kinds = sources(folder)
    if len(kinds) != 1:
        wanted = "; ".join(KINDS.values())
        said = (
            f"several kinds of run ({', '.join(kinds)}): give the folder of one"
            if kinds
            else f"no run; expected one of: {wanted}"
        )
        raise FillError(f"{folder}: {said}")
    kind = kinds[0]
    if kind == "bench":
        return kind, bench.prove(folder, method, setting)
    return kind, trl.prove(folder, setting) if kind == "trl" else verl.prove(folder, setting)
