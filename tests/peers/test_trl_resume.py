"""What credit carries from batch to batch is in TRL's checkpoints, and only whole checkpoints are gone on from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from transformers import AutoModelForCausalLM  # noqa: E402

from apportion.errors import OptionError, TrainerError  # noqa: E402
from apportion.integrations.trl import CreditGRPOTrainer, last_checkpoint  # noqa: E402
from apportion.integrations.trl.resume import MARK, Carried, read, write  # noqa: E402

from . import trl_world as world  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def lefts(completions: list[str], **more: Any) -> list[float]:
    return [c.split().count("left") + 0.1 * len(c.split()) for c in completions]


def made(
    folder: Path, *, credit: str = "agentprm", options: Any = None, carry: bool = True, prompts: int = 8, **changes: Any
) -> Any:
    settings = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "constant"} | changes
    base = folder / "model"
    model: Any = AutoModelForCausalLM.from_pretrained(base) if base.exists() else world.model()
    return CreditGRPOTrainer(
        model, lefts, args=world.config(folder, **settings), train_dataset=world.prompts(prompts),
        processing_class=world.tokenizer(), credit=credit, carry=carry,
        credit_options={"fit": True} if options is None else options,
    )  # fmt: skip


def state(trainer: Any) -> Any:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def test_a_run_that_goes_on_ends_where_it_would_have_ended_and_has_learned_the_same(tmp_path: Path) -> None:
    """From the middle of a second epoch, whose problems stand in another order than those of the first."""
    again: Any = {"save_steps": 3, "prompts": 4}
    whole = made(tmp_path / "whole", **again)
    whole.train()
    shutil.copytree(tmp_path / "whole" / "checkpoint-3", tmp_path / "half" / "checkpoint-3")
    before, _ = read(tmp_path / "half" / "checkpoint-3", "agentprm")
    other = made(tmp_path / "half", **again)
    start = state(other)
    other.train(resume_from_checkpoint=str(last_checkpoint(tmp_path / "half")))
    assert len(other.state.log_history) == len(whole.state.log_history)
    assert float((state(other) - start).abs().max()) > 1e-3
    np.testing.assert_allclose(state(other), state(whole), rtol=0, atol=1e-6)
    assert other._carried.batches == whole._carried.batches == 4
    first, second = whole._carried.learned.save(), other._carried.learned.save()
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    assert any(not np.array_equal(then, first[name]) for name, then in before.learned.save().items())
    bill = [row["credit/cost/trained"] for row in whole.state.log_history if "credit/cost/trained" in row]
    assert len(bill) == 4
    assert min(bill) > 0


def test_what_is_carried_on_is_used_and_what_evaluation_learns_is_not(tmp_path: Path) -> None:
    """The second batch is credited differently by whom has seen a first; looking at an evaluation changes nothing."""
    runs = []
    for carry in (True, False):
        trainer = made(tmp_path / str(carry), max_steps=2, carry=carry)  # seeds the samples anew
        trainer.train()
        runs.append(trainer)
    carried, afresh = runs
    size = [run.state.log_history[0]["credit/mean_abs"] for run in runs]
    assert size[0] == size[1]  # nothing was learned before the first batch
    assert float((state(carried) - state(afresh)).abs().max()) > 1e-4
    learned = carried._carried.learned
    carried.evaluate(world.prompts(4))
    assert carried._carried.learned is learned
    assert afresh._carried.learned is None


def test_a_checkpoint_without_its_mark_was_cut_short(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    for step in (2, 10, 9):
        (tmp_path / f"checkpoint-{step}").mkdir()
        write(tmp_path / f"checkpoint-{step}", "rloo", Carried(step))
    (tmp_path / "checkpoint-11").mkdir()
    (tmp_path / "checkpoint-last").mkdir()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert read(tmp_path / "checkpoint-10", "rloo") == (Carried(10), "")
    assert "starts anew" in read(tmp_path / "checkpoint-11", "rloo")[1]
    (tmp_path / "checkpoint-9" / MARK).write_text("{}")
    with pytest.raises(TrainerError, match=r"credit\.json is not readable"):
        read(tmp_path / "checkpoint-9", "rloo")


def test_what_another_method_learned_is_not_taken_over(tmp_path: Path) -> None:
    trainer = made(tmp_path, max_steps=1, save_steps=1)
    trainer.train()
    assert read(tmp_path / "checkpoint-1", "agentprm")[0].learned is not None
    carried, remark = read(tmp_path / "checkpoint-1", "istar")
    assert carried == Carried(1, None)
    assert remark == "checkpoint-1 holds what agentprm learned: istar starts anew"


@pytest.mark.parametrize(
    ("credit", "options", "match"),
    [
        ("rloo", {}, r"carry=True: rloo learns from one batch at a time"),
        ("gae", {"fit": True}, r"carry=True: gae learns from one batch at a time"),
        ("agentprm", {"learned": object()}, r"carry=True: pass credit_options=\{'fit': True\}"),
    ],
)
def test_carrying_is_refused_where_nothing_would_be_carried(tmp_path: Path, credit: str, options: Any, match: str) -> None:
    with pytest.raises(OptionError, match=match):
        made(tmp_path, credit=credit, options=options)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"beta": 0.1}, r"TRL cannot feed spro.*gradient_accumulation_steps"),
        ({"num_iterations": 2}, r"TRL cannot feed spro.*set beta above 0"),
    ],
)
def test_log_probs_that_the_settings_do_not_bring_are_missed_at_start(tmp_path: Path, changes: Any, match: str) -> None:
    with pytest.raises(OptionError, match=match):
        made(tmp_path, credit="spro", options={}, carry=False, **changes)


def test_log_probs_that_the_settings_bring_are_there(tmp_path: Path) -> None:
    world.model().save_pretrained(tmp_path / "model")  # TRL loads the reference from where the model came from
    trainer = made(tmp_path, credit="spro", options={}, carry=False, beta=0.1, num_iterations=2, max_steps=2)
    trainer.train()
    assert trainer.state.log_history[0]["credit/mean_abs"] > 0
