"""What select prints for trainers is the entrant that was ranked, fed as it was, and a line that can be copied."""

from __future__ import annotations

import contextlib
import json
import shlex
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import apportion
from apportion.bench.authors import SimulatedAuthor
from apportion.bench.editors import SimulatedEditor
from apportion.bench.knobs import entrant
from apportion.bench.layouts import to_batch
from apportion.bench.samplers import TabularSampler
from apportion.bench.selection.answer import code, used
from apportion.bench.selection.grid import ENTRANTS
from apportion.bench.sources import SimulatedJudge, SimulatedPolicy
from apportion.bench.tasks import find
from apportion.bench.world import roll
from apportion.cli import main
from apportion.cli.select_lines import Line, lines
from apportion.errors import ApportionError
from apportion.feeds import feed
from apportion.integrations import honours
from apportion.integrations.trl.start import check_method
from apportion.integrations.verl.settings import settings_of
from apportion.integrations.verl.start import brings
from apportion.registry import methods

#: Settings of TRL that bring all it can.
CONFIG = SimpleNamespace(
    loss_type="grpo", beta=0.1, gradient_accumulation_steps=1, steps_per_generation=1, num_iterations=1, use_vllm=True,
    max_completion_length=64, importance_sampling_level="token", scale_rewards="group",
    multi_objective_aggregation="sum_then_normalize",
)  # fmt: skip
LITTLE = ["--setting", "agentic", "--turns", "3", "--budget", "low"]
LITTLE += [x for name in ("states-repeat", "can-fork", "aux-model") for x in (f"--{name}", "no")]


def _sources() -> dict[str, Any]:
    task = find("bifurcation/horizon-10")
    rollouts = roll(task, task.start_theta, 2, 4, np.random.default_rng(0))
    made = {"sampler": TabularSampler(rollouts), "judge": SimulatedJudge(rollouts), "policy": SimulatedPolicy(rollouts)}
    return {**made, "author": SimulatedAuthor()}


def _trl(line: Line) -> tuple[str, dict[str, Any]]:
    """The method and the options of a printed trainer, read by Python itself."""
    found: dict[str, Any] = {}

    def trainer(*_: Any, **given: Any) -> None:
        found.update(given)

    eval(line["command"] or "", {"CreditGRPOTrainer": trainer, **_sources()})
    return found["credit"], found.get("credit_options", {})


def _verl(line: Line) -> tuple[str, dict[str, str]]:
    words = dict(part.split("=", 1) for part in shlex.split(line["command"] or ""))
    return words.pop("algorithm.adv_estimator").removeprefix("apportion/"), words


def test_a_variant_keeps_its_options_and_is_no_other_method() -> None:
    found = lines(entrant("spo-tree"))
    assert found["trl"]["command"] == "CreditGRPOTrainer(..., credit=\"spo\", credit_options={'variant': 'tree'})"
    assert _verl(found["verl"])[1]["+algorithm.apportion.variant"] == "tree"
    assert "sampler" not in json.dumps(found)


def test_what_was_fitted_is_fitted_and_not_asked() -> None:
    found = lines(entrant("prime"))
    assert _trl(found["trl"]) == ("prime", {"fit": True})
    assert _verl(found["verl"])[1]["+algorithm.apportion.fit"] == "true"
    assert found["trl"]["note"] == "ref_logp: set beta above 0"
    assert "use_kl_loss=true" in str(found["verl"]["note"])


@pytest.mark.parametrize("name", ENTRANTS)
def test_each_line_says_what_our_own_call_does_and_the_trainer_takes_it(name: str) -> None:
    made = entrant(name)
    spec, said = methods()[made.method], used(made, 16)
    found = lines(made, 16)
    for line in found.values():
        assert line["command"] or line["note"]
        assert "\n" not in (line["command"] or "")
        assert "(" not in (line["command"] or "").removeprefix("CreditGRPOTrainer(")
    if found["trl"]["command"]:
        id_, options = _trl(found["trl"])
        assert id_ == made.method
        fed = {n for n in options if n in ("fit", "sampler", "judge", "policy", "author")}
        assert fed == {word for word in ("fit", "sampler", "judge", "policy", "author") if f"{word}=" in code(made)}
        assert {n: v for n, v in options.items() if n not in fed} == said
        check_method(made.method, options, CONFIG, states=True)  # raises what TRL would
    else:
        sources = {n: v for n, v in _sources().items() if f"{n}=" in code(made)}
        with pytest.raises(ApportionError):
            check_method(made.method, {**sources, **({"fit": True} if made.ask == "fit" else {}), **said}, CONFIG, states=True)
    if found["verl"]["command"]:
        id_, words = _verl(found["verl"])
        given = {n.removeprefix("+algorithm.apportion."): _read(v) for n, v in words.items() if n.startswith("+")}
        settings = settings_of({"apportion": given}, id_)  # raises what verl would
        assert id_ == made.method
        assert settings.fit == (made.ask == "fit")
        assert settings.options == {n: v for n, v in said.items() if n in spec.options or settings.fit}
        lacks = feed(id_, brings(), {n: v for n, v in settings.options.items() if n in spec.options})
        assert lacks.ready or (settings.fit and lacks.learnable)
        if "trainer.v1.trainer_mode" not in words:  # rewards and prompts are all it gets
            own = {n: v for n, v in settings.options.items() if n in spec.options}
            assert feed(id_, ("reward", "group"), own).ready
            honours.smallest(spec, own, brings=("reward", "group"))


def _read(word: str) -> Any:
    try:
        return json.loads(word)
    except json.JSONDecodeError:
        return word


def _out(capsys: pytest.CaptureFixture[str], *more: str) -> str:
    with contextlib.suppress(SystemExit):
        main(["select", *LITTLE, *more])
    return capsys.readouterr().out


def test_a_command_stands_on_one_line_and_its_remark_apart(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    told = json.loads(_out(capsys, "--json"))["next"]
    assert told["entrant"] == "spo-tree"
    assert told["code"] == "ap.assign(batch, \"spo\", variant='tree')"
    assert "no sampler" not in json.dumps(told)
    out = _out(capsys).split("\nNext\n")[1].splitlines()
    for name in ("verl", "trl"):
        assert told[name]["note"] not in told[name]["command"]
        assert [line for line in out if line.endswith(told[name]["command"])]
    rest = [line for line in out if not line.lstrip().startswith(("python ", "verl ", "TRL ", "shell "))]
    assert rest
    assert all(line.lstrip().startswith("# ") for line in rest)
    assert max(map(len, rest)) <= 60


@pytest.mark.parametrize(
    ("task", "name"),
    [
        *(
            ("bifurcation/horizon-10", e)
            for e in ("spo-tree", "gigpo", "gae", "vineppo", "carl", "remax", "capo-judge80", "lare")
        ),
        *(("reasoning/steps-10", e) for e in ("prl", "prime", "hicra", "math_shepherd", "finepo-judge80", "int-blame80")),
        *(("team/two", e) for e in ("dr_mas", "m_grpo-released", "c3", "ccpo", "llm_mca-critic80")),
    ],
)
def test_our_own_call_runs_as_printed(task: str, name: str) -> None:
    made = find(task)
    rollouts = roll(made, made.start_theta, 8, 8, np.random.default_rng(0))
    sources: dict[str, Any] = {
        "sampler": TabularSampler(rollouts),
        "judge": SimulatedJudge(rollouts),
        "author": SimulatedAuthor(),
    }
    sources |= {"editor": SimulatedEditor(rollouts)} if made.layout == "steps" else {}
    known = {"ap": apportion, "batch": to_batch(rollouts, logp=True, reference=True), **sources}
    credit = eval(code(entrant(name), 3), known)
    assert credit.method == entrant(name).method
    assert np.isfinite(credit.token).all()
    assert np.abs(credit.token).sum() > 0
