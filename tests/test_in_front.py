"""Mix-ins of the plug-ins behind what they override are refused when the class is made: they would silently do nothing."""

from __future__ import annotations

from typing import Any

import pytest

from apportion.errors import TrainerError
from apportion.integrations import areal, openenv, skyrl
from apportion.integrations.verl import trainer as verl

#: A mix-in, and what its trainer has of what it overrides.
PLACES = [
    (areal.CreditMixin, ["__init__"]),
    (areal.CreditMixin, ["as_controller"]),
    (areal.TrainerMixin, ["_create_train_engine", "train"]),
    (areal.TrainerMixin, ["__init__"]),
    (skyrl.CreditMixin, ["compute_advantages_and_returns"]),
    (skyrl.CreditMixin, ["__init__"]),
    (verl.CreditMixin, ["_compute_advantage"]),
    (verl.CreditMixin, ["__init__"]),
    (openenv.CreditMixin, ["compute_step_rewards"]),
]


def theirs(names: list[str]) -> type:
    def method(self: Any, *args: Any, **more: Any) -> None: ...

    return type("Theirs", (), dict.fromkeys(names, method))


@pytest.mark.parametrize(("mixin", "names"), PLACES)
def test_a_mixin_behind_its_trainer_is_refused_when_the_class_is_made(mixin: type, names: list[str]) -> None:
    trainer = theirs(names)
    says = rf"{mixin.__name__} stands behind Theirs and would do nothing: write class Mine\({mixin.__name__}, Theirs\)"
    with pytest.raises(TrainerError, match=says):
        type("Mine", (trainer, mixin), {})
    with pytest.raises(TrainerError, match="stands behind Derived"):  # what hides the mix-in is inherited
        type("Mine", (type("Derived", (trainer,), {}), mixin), {})
    with pytest.raises(TrainerError, match="stands behind Theirs"):
        type("Mine", (trainer, type("Ours", (mixin,), {})), {})


@pytest.mark.parametrize(("mixin", "names"), PLACES)
def test_a_mixin_in_front_is_taken_and_so_is_what_passes_on_to_it(mixin: type, names: list[str]) -> None:
    trainer = theirs(names)
    mine = type("Mine", (mixin, trainer), dict.fromkeys(names, trainer.__dict__[names[0]]))
    type("Derived", (mine,), {})
    type("Logged", (theirs(names), mixin, trainer), {})  # may call super(), as another mix-in would
    type("Other", (theirs(["other"]), mixin, trainer), {})
