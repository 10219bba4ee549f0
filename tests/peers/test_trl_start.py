"""What the TRL plug-in refuses before a model is loaded, and what it says once."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("trl")

from apportion.errors import OptionError, TrainerError
from apportion.integrations import versions
from apportion.integrations.trl import LOSSES, REFUSED, TESTED, CreditGRPOTrainer, CreditMixin

from . import trl_world as world


def start(tmp_path: Path, credit: str, options: Any = None, more: Any = None, **config: Any) -> Any:
    """A trainer whose model cannot be loaded: what is refused must be refused before."""
    args = world.config(tmp_path, **config)
    return CreditGRPOTrainer(
        "no/such-model", lambda **_: [], args=args, train_dataset=None, credit=credit, credit_options=options, **(more or {})
    )


def made(tmp_path: Path, credit: str = "grpo", **config: Any) -> tuple[Any, list[str]]:
    """A trainer and what it said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer: Any = CreditGRPOTrainer(
            world.model(),
            lambda completions, **_: [float(len(c)) for c in completions],
            args=world.config(tmp_path, **config),
            train_dataset=world.prompts(),
            processing_class=world.tokenizer(),
            credit=credit,
        )
    return trainer, [str(w.message) for w in caught if issubclass(w.category, UserWarning)]


REFUSALS: list[tuple[str, Any, dict[str, Any], str]] = [
    ("grppo", None, {}, "no method 'grppo'; did you mean grpo"),
    ("gigpo", None, {}, r"TRL cannot feed gigpo \(no state\): let rollout_func return 'states'"),
    ("gigpo", {"omgea": 1}, {}, "gigpo has no option 'omgea'"),
    ("gae", None, {}, r"it has no value; pass credit_options=\{'fit': True\}"),
    ("gae", {"value": [1.0]}, {}, "credit_options: value is evidence, which differs from batch to batch"),
    ("gae", {"sampler": 1, "fit": True}, {}, "gae has no option 'sampler'"),
    ("vineppo", None, {}, r"it has no prefix_value; pass credit_options=\{'sampler': \.\.\.\}"),
    ("vineppo", {"sampler": object()}, {}, "sampler is object, which is no Sampler"),
    ("grpo", {"supervision": "process"}, {}, "process"),
    ("grpo", {"spread": "none "}, {}, "spread = 'none '"),
    ("grpo", None, {"loss_type": "ppo"}, "loss_type = 'ppo': CreditMixin knows grpo, dapo"),
]


@pytest.mark.parametrize(("credit", "options", "config", "sentence"), REFUSALS, ids=lambda x: x if isinstance(x, str) else "")
def test_what_does_not_fit_is_refused_before_the_model_is_loaded(
    tmp_path: Path, credit: str, options: Any, config: dict[str, Any], sentence: str
) -> None:
    with pytest.raises((OptionError, ValueError, LookupError), match=sentence):
        start(tmp_path, credit, options, **config)


@pytest.mark.parametrize("loss_type", [name for name, loss in LOSSES.items() if not loss.detached])
def test_one_ratio_per_completion_is_refused_where_it_would_average_the_credit(tmp_path: Path, loss_type: str) -> None:
    settings = {"loss_type": loss_type, "importance_sampling_level": "sequence"}
    with pytest.raises(OptionError, match=r"importance_sampling_level = 'sequence'.*one per turn"):
        start(tmp_path, "gigpo", more={"states": "observation"}, **settings)


def test_one_ratio_per_completion_is_fine_for_one_credit_per_completion(tmp_path: Path) -> None:
    trainer, _ = made(tmp_path, "rloo", loss_type="grpo", importance_sampling_level="sequence", max_steps=1)
    trainer.train()


def test_a_sampler_that_grows_the_batch_is_refused(tmp_path: Path) -> None:
    class Sampler:
        provenance = "recorded"

        def continuations(self, *args: Any, **more: Any) -> None: ...

        def branch(self, *args: Any, **more: Any) -> None: ...

    with pytest.raises(OptionError, match="carl with sampler=: it grows new rollouts"):
        start(tmp_path, "carl", {"sampler": Sampler()})


def test_a_word_that_is_no_source_of_states_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="states = 'observed': expected one of given, observation"):
        start(tmp_path, "rloo", more={"states": "observed"})


def test_another_denominator_is_said_once_with_the_loss_that_has_it(tmp_path: Path) -> None:
    trainer, said = made(tmp_path, "rloo", loss_type="dapo")
    assert [s for s in said if "denominator" in s] == [
        "rloo is meant for a loss with denominator 'trajectory'; TRL (loss_type='dapo') has 'token' "
        "(loss_type = 'luspo' averages like that)"
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.train()
    assert not [w for w in caught if "denominator" in str(w.message)]


def test_the_matching_loss_says_nothing(tmp_path: Path) -> None:
    assert made(tmp_path, "rloo", loss_type="luspo")[1] == []
    assert made(tmp_path, "grpo", loss_type="grpo")[1] == []


def test_settings_that_no_longer_do_anything_are_named(tmp_path: Path) -> None:
    _, said = made(tmp_path, loss_type="grpo", scale_rewards="batch", multi_objective_aggregation="normalize_then_sum")
    assert said == [
        "scale_rewards = 'batch' is ignored: the method makes the advantages (see credit_options)",
        "multi_objective_aggregation = 'normalize_then_sum' is ignored: the method makes the advantages (see credit_options)",
    ]


def test_gmpo_and_other_losses_are_refused_by_name() -> None:
    from trl import RLOOTrainer, SFTTrainer
    from trl.experimental.async_grpo import AsyncGRPOTrainer
    from trl.experimental.gmpo import GMPOTrainer

    for base in (GMPOTrainer, AsyncGRPOTrainer, RLOOTrainer):
        with pytest.raises(TrainerError, match=f"does not fit {base.__name__}: {REFUSED[base.__name__][:20]}"):
            type("T", (CreditMixin, base), {})
    with pytest.raises(TrainerError, match="does not fit SFTTrainer: write class T"):
        type("T", (CreditMixin, SFTTrainer), {})


def test_a_mixin_behind_the_trainer_is_refused() -> None:
    from trl import GRPOTrainer

    with pytest.raises(TrainerError, match="stands behind GRPOTrainer"):
        type("T", (GRPOTrainer, CreditMixin), {})


@pytest.mark.parametrize("other", ["1.15.2", "1.17.0", "2.0", "0.29.1"])
def test_other_versions_of_trl_are_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    monkeypatch.setattr(versions, "version", lambda package: other)
    with pytest.raises(
        ImportError, match=rf"^apportion's plug-in was tested with trl >= {TESTED[0]}, < {TESTED[1]}, not with {other}:"
    ):
        type("T", (CreditMixin,), {})


@pytest.mark.parametrize("other", ["1.16.0", "1.16.3", "1.16.1.dev0"])
def test_patch_releases_are_taken(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    monkeypatch.setattr(versions, "version", lambda package: other)
    type("T", (CreditMixin,), {})


def test_the_installed_version_is_one_that_is_tested() -> None:
    assert versions.check_version("trl", TESTED, "the plug-in") == "1.16.0"
