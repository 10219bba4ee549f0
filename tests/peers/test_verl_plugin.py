"""The entry point: verl finds the plug-in by installed metadata, in a process that never mentions apportion."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points, version

import pytest

pytest.importorskip("verl")

from apportion.errors import TrainerError
from apportion.integrations.verl import TESTED
from apportion.integrations.verl.after_import import after_import


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **env}
    )


FOUND = """
import sys
import verl
assert "apportion.integrations.verl.plugin" in sys.modules
assert not [m for m in sys.modules if m.endswith(("core_algos", "trainer_base"))], "loading a plug-in must stay light"
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, get_adv_estimator_fn
print(sorted(n for n in ADV_ESTIMATOR_REGISTRY if n.startswith("apportion/")))
assert "trainer_base" not in " ".join(sys.modules)
from verl.trainer.ppo.v1 import get_trainer_cls, PPOTrainerSync
assert issubclass(get_trainer_cls("apportion"), PPOTrainerSync)
print(sorted(get_trainer_cls(m).__mro__[2].__name__ for m in ("apportion_colocate_async", "apportion_separate_async")))
from apportion.integrations.verl.trainer import CreditMixin
try:
    type("Behind", (PPOTrainerSync, CreditMixin), {})
except Exception as error:
    print(type(error).__name__, error)
"""


def test_verl_finds_estimators_and_trainer_modes_by_itself() -> None:
    done = run(FOUND)
    assert done.returncode == 0, done.stderr
    assert "'apportion/gigpo'" in done.stdout
    assert "'apportion/rloo'" in done.stdout
    assert "['PPOTrainerColocateAsync', 'PPOTrainerSeparateAsync']" in done.stdout
    assert "TrainerError CreditMixin stands behind PPOTrainer" in done.stdout
    assert "apportion" not in done.stderr


UNTESTED = """
import apportion.integrations.verl as plug_in
plug_in.TESTED = ("0.1", "0.2")
import verl
from verl.trainer.ppo.core_algos import get_adv_estimator_fn
try:
    get_adv_estimator_fn("apportion/rloo")(token_level_rewards=None, response_mask=None)
except ImportError as error:
    print("estimator:", error)
from verl.trainer.ppo.v1 import get_trainer_cls
try:
    get_trainer_cls("apportion")(config=None)
except ImportError as error:
    print("trainer:", error)
"""


def test_an_untested_version_is_said_once_and_again_where_it_is_used() -> None:
    done = run(UNTESTED)
    assert done.returncode == 0, done.stderr
    sentence = f"apportion's plug-in was tested with verl >= 0.1, < 0.2, not with {version('verl')}"
    assert done.stderr.count(sentence) == 1
    assert f"estimator: {sentence}" in done.stdout
    assert f"trainer: {sentence}" in done.stdout


def test_the_installed_version_is_a_tested_one() -> None:
    from apportion.integrations.verl.plugin import untested

    assert untested() == ""
    assert TESTED[0] == "0.9.1"


def test_metadata_names_the_plug_in() -> None:
    (found,) = entry_points(group="verl.plugins", name="apportion")
    assert found.value == "apportion.integrations.verl.plugin"
    assert found.load().load


def test_a_failure_is_a_warning_and_not_the_end_of_verl() -> None:
    from apportion.integrations.verl.plugin import _said

    def broken(module: object) -> None:
        raise TrainerError("no such registry")

    with pytest.warns(UserWarning, match="apportion could not register with os: no such registry"):
        _said(broken)(os)


def test_after_import_calls_back_once_and_at_once_for_what_is_there() -> None:
    seen: list[str] = []
    after_import("os", lambda module: seen.append(module.__name__))
    assert seen == ["os"]
    sys.modules.pop("this", None)
    after_import("this", lambda module: seen.append(module.__name__))
    assert seen == ["os"]
    import_module("this")
    assert seen == ["os", "this"]
    del sys.modules["this"]
    import_module("this")
    assert seen == ["os", "this"]
