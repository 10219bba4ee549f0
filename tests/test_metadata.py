"""Every task has a record that its published schema accepts, and that says what is true of it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import numpy as np
import pytest

from apportion.bench.export import export
from apportion.bench.metadata import Record, record, schema
from apportion.bench.tasks import find, variants
from apportion.cli import main

#: Long ones and the dearest to solve stand for themselves; their records differ in numbers only.
SOME = sorted(id_ for id_ in variants() if not any(x in id_ for x in ("300", "500", "distract")))


@pytest.mark.parametrize("id_", SOME)
def test_every_record_is_accepted_by_the_schema(id_: str) -> None:
    made = record(find(id_))
    data = json.loads(made.model_dump_json())
    jsonschema.Draft202012Validator(schema()).validate(data)
    assert Record.model_validate(data) == made


def test_the_schema_refuses_what_it_does_not_know() -> None:
    data = json.loads(record(find("bifurcation/horizon-10")).model_dump_json())
    validator = jsonschema.Draft202012Validator(schema())
    for wrong in ({"gap": 2.0}, {"sha256": "x"}, {"more": 1}, {"protocol": "0.9"}):
        assert list(validator.iter_errors({**data, **wrong})), wrong
    del data["downstream"]
    assert list(validator.iter_errors(data))


def test_records_say_what_the_knobs_say() -> None:
    ten = record(find("bifurcation/horizon-10"))
    assert ten.bifurcation_units == (1, 4, 8)
    assert ten.delay == 1
    assert ten.observability == "full"
    assert 0.3 < ten.gap < 0.8
    assert ten.values.hardest_prompt < ten.values.expected_return < ten.values.optimum
    assert record(find("bifurcation/hidden")).observability == "partial"
    assert record(find("witness/plus")).observability.startswith("log hides")
    assert record(find("interaction/xor")).interaction == "xor"
    assert record(find("team/redundant-4")).interaction == "redundant"
    assert record(find("team/redundant-4")).units.agents == 4
    assert record(find("team/two")).interaction is None
    sure, plain = record(find("bifurcation/sure-forks")), record(find("bifurcation/horizon-100"))
    assert (sure.entropy.forks or 0) < (plain.entropy.forks or 0)
    assert record(find("reasoning/steps-10")).noise.transition == 0.0
    assert record(find("classical/umbrella-length-10")).reward.verifier == "exact"
    assert record(find("team/two")).estimands[-2:] == ("difference", "team_shapley")
    assert record(find("classical/shortcut")).bifurcation_units == tuple(range(8))


@pytest.mark.parametrize(
    ("id_", "unseen"),
    [
        ("bifurcation/horizon-10", 0), ("bifurcation/unseen-10", 10), ("bifurcation/delayed", 25), ("bifurcation/hidden", None),
        ("bifurcation/aliased", None), ("team/redundant-4", None), ("team/chain", 0), ("agentic/memory-gap-5", None),
        ("agentic/unseen-mistakes", None), ("agentic/turns-16", 0),
    ],
)  # fmt: skip
def test_what_the_policy_cannot_see_is_not_said_to_be_shown_at_once(id_: str, unseen: int | None) -> None:
    assert record(find(id_)).unseen == unseen


def test_the_command_prints_records_and_their_schema(capsys: pytest.CaptureFixture[str]) -> None:
    for words, key in ((["team/two"], "task_id"), (["--schema"], "$schema")):
        with pytest.raises(SystemExit) as ended:
            main(["bench", "tasks", *words])
        assert ended.value.code == 0
        assert key in json.loads(capsys.readouterr().out)


def test_exported_arrays_define_the_task(tmp_path: Path) -> None:
    """Another implementation gets the same truth from the files alone."""
    task = find("bifurcation/horizon-10")
    export([task, find("witness/plus")], tmp_path / "tasks")
    with np.load(tmp_path / "tasks" / "bifurcation-horizon-10.npz", allow_pickle=False) as file:
        a = {name: file[name] for name in file.files}
    logits = a["offset"]
    pi = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    v = a["success"]
    for t in reversed(range(task.horizon)):
        q = np.einsum("psau,pu->psa", a["kernels"][a["kernel_of"][:, t]], v)
        v = (pi[a["context"][:, t]] * q).sum(axis=-1)
    told = json.loads((tmp_path / "tasks" / "bifurcation-horizon-10.json").read_text())
    assert (a["start"] * v).sum() / task.prompts == pytest.approx(told["values"]["expected_return"], abs=1e-12)
    assert sorted(p.name for p in (tmp_path / "tasks").iterdir()) == [
        "bifurcation-horizon-10.json", "bifurcation-horizon-10.npz", "task.schema.json", "witness-plus.json", "witness-plus.npz",
    ]  # fmt: skip
