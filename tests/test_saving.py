"""What a method learned: on disk and back, and from batch to batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import apportion as ap
from apportion.errors import OptionError
from apportion.evidence import load_learned, save_learned
from apportion.evidence.saving import classes

FITTED = [id_ for id_, spec in ap.methods().items() if spec.fit is not None]


def batch_for(id_: str) -> ap.Batch:
    lacking = ap.get(id_).lacking
    names = ("agent", "math", "tree")
    found = [ap.example(n) for n in names if not lacking([*ap.example(n).present, *(["spans"] if ap.example(n).spans else [])])]
    if not found:
        pytest.skip("no example has what it reads")
    return found[0]


@pytest.mark.parametrize("id_", FITTED)
def test_what_was_learned_comes_back_from_disk_bit_for_bit(tmp_path: Path, id_: str) -> None:
    batch = batch_for(id_)
    learned = ap.learn(batch, id_, rng=0)
    save_learned(learned, tmp_path / "x.npz")
    again = load_learned(tmp_path / "x.npz")
    assert type(again) is type(learned)
    assert again.bill == learned.bill
    before, after = learned.evidence(batch), again.evidence(batch)
    assert list(before.arrays) == list(after.arrays)
    for name, array in before.arrays.items():
        np.testing.assert_array_equal(array, after.arrays[name])


@pytest.mark.parametrize("id_", FITTED)
def test_learning_apart_is_learning_in_one_call(id_: str) -> None:
    """But for the bill: ``learned=`` does not pay for the training again."""
    batch = batch_for(id_)
    learned = ap.learn(batch, id_, rng=0)
    together, apart = ap.assign(batch, id_, rng=0, fit=True), ap.assign(batch, id_, rng=0, learned=learned)
    if not isinstance(together, ap.Credit) or not isinstance(apart, ap.Credit):
        pytest.skip("gives preferences")
    if "rng" not in ap.get(id_).options:
        np.testing.assert_array_equal(together.token, apart.token)
    assert together.bill == apart.bill + learned.bill


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones(2))
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04 torn")
    np.savez(tmp_path / "c.npz", apportion_kind=np.asarray("LearnedValue"))
    np.savez(tmp_path / "d.npz", apportion_kind=np.asarray("Popen"))
    np.savez(tmp_path / "e.npz", x=np.array([object()], dtype=object), allow_pickle=True)
    for name, said in {
        "a": "does not say what",
        "b": "not readable",
        "c": "not a whole LearnedValue",
        "d": "no class of",
    }.items():
        with pytest.raises(OptionError, match=said):
            load_learned(tmp_path / f"{name}.npz")
    with pytest.raises(OptionError, match="not readable"):
        load_learned(tmp_path / "e.npz")
    with pytest.raises(OptionError, match="holds a LearnedValue, not a dict"):
        load_learned(tmp_path / "c.npz", dict)


def test_only_learned_things_can_be_named_by_a_file() -> None:
    assert {"LearnedValue", "LearnedProcess", "LearnedImplicit"} <= set(classes())
    assert all(name[0].isupper() for name in classes())


def test_objects_that_would_need_pickle_are_not_written(tmp_path: Path) -> None:
    class Sly:
        bill = ap.assign(ap.example("agent"), "rloo").bill

        def evidence(self, batch: ap.Batch) -> object:
            return batch

        def save(self) -> dict[str, object]:
            return {"code": np.array([object()], dtype=object)}

    with pytest.raises(OptionError, match=r"save\(\)\['code'\] holds Python objects"):
        save_learned(Sly(), tmp_path / "x.npz")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_method_of_one_batch_cannot_go_on() -> None:
    batch = ap.example("agent")
    with pytest.raises(OptionError, match="gae learns from one batch at a time"):
        ap.learn(batch, "gae", state=ap.learn(batch, "gae", rng=0))
    with pytest.raises(OptionError, match="rloo has nothing to fit"):
        ap.learn(batch, "rloo")
    with pytest.raises(OptionError, match="the fit of gae has no option 'fold'"):
        ap.learn(batch, "gae", fold=2)
