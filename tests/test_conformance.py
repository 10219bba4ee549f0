"""The conformance table without any trainer: ours with each trainer's meaning, what the command prints, what it refuses."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from math import nan
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from apportion.integrations.conformance import ask, cases, ours, page, table
from apportion.integrations.conformance.ask import Answers, key
from apportion.integrations.conformance.meanings import MEANINGS, NAMES, PACKAGES, UNPACKAGED, of
from apportion.integrations.conformance.standins import standing_in
from apportion.integrations.conformance.table import Row

from .commands import typed as run
from .test_semantics import loop


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no trainer were installed."""
    monkeypatch.setattr(table, "installed", lambda peer: None)


def group_loop(rewards: Any, group: Any, kind: str) -> list[float]:
    """The trainers' group statistics, rollout by rollout, from their definitions."""
    out = []
    centred = [
        r - np.mean([x for x, h in zip(rewards, group, strict=True) if h == g]) for r, g in zip(rewards, group, strict=True)
    ]
    for i, (r, g) in enumerate(zip(rewards, group, strict=True)):
        mine = [x for x, h in zip(rewards, group, strict=True) if h == g]
        n, mean = len(mine), sum(mine) / len(mine)
        sd = np.sqrt(sum((x - mean) ** 2 for x in mine) / (n - 1)) if n > 1 else nan
        everyone = np.sqrt(sum((x - np.mean(rewards)) ** 2 for x in rewards) / (len(rewards) - 1))
        out.append(
            {
                "verl grpo": r / (1 + 1e-6) if n == 1 else (r - mean) / (sd + 1e-6),
                "verl grpo_vectorized": r / (1 + 1e-6) if n == 1 else (r - mean) / (sd + 1e-6),
                "verl dr_grpo": r if n == 1 else r - mean,
                "verl rloo": r if n == 1 else r - (sum(mine) - r) / (n - 1),
                "verl rloo_vectorized": 0.0 if n == 1 else r - (sum(mine) - r) / (n - 1),
                "trl group": (r - mean) / (sd + 1e-4),
                "trl batch": (r - mean) / (everyone + 1e-4),
                "trl none": r - mean,
                "openrlhf group_norm": (r - mean) / (sd + 1e-9),
                "openrlhf dr_grpo": r - mean,
                "openrlhf rloo": r - (sum(mine) - r) / max(n - 1, 1),
                "skyrl grpo": r / (1 + 1e-6) if n == 1 else (r - mean) / (sd + 1e-6),
                "skyrl dr_grpo": r if n == 1 else r - mean,
                "skyrl rloo": 0.0 if n == 1 else r - (sum(mine) - r) / (n - 1),
                "areal group": 0.0 if n == 1 else (r - mean) / (sd + 1e-5),
                "areal centred": centred[i] / (np.sqrt(sum(c**2 for c in centred) / (len(centred) - 1)) + 1e-5),
                "areal batch": (r - np.mean(rewards)) / (everyone + 1e-5),
                "areal rloo": r if n == 1 else r - (sum(mine) - r) / (n - 1),
                "torchrl mc": (r - mean) / max(sd, 1e-6),
            }[kind]
        )
    return out


KNOWN = [(m, case) for m in MEANINGS if m.options is not None for case in m.cases()]


@pytest.mark.parametrize(("meaning", "case"), KNOWN, ids=[f"{m.peer}-{m.id}-{c.name}" for m, c in KNOWN])
def test_every_meaning_is_its_definition_on_every_case_it_takes(meaning: Any, case: Any) -> None:
    got = ours.numbers(case, meaning)
    if isinstance(case, cases.GroupCase):
        if got is None:  # a lone rollout where the trainer divides by zero
            assert (meaning.peer, case.size) == ("openrlhf", 1)
            return
        expected = group_loop(case.reward, case.group, f"{meaning.peer} {meaning.id}")
        assert_allclose(got, expected, atol=1e-9 if not case.rounds else 1e-8)
        return
    assert got is not None
    if meaning.options.get("unit") == "turn":
        return  # a table of test_semantics
    semantics = meaning.options.get("semantics", "skip")
    reward = case.reward.copy()
    for row, mask in zip(reward, case.mask, strict=True):
        if not mask[-1] and meaning.masked_reward != "keep":
            row[np.flatnonzero(mask)[-1]], row[-1] = (row[-1] if meaning.masked_reward == "move" else 0.0), 0.0
    rows = zip(reward, case.value, case.mask, strict=True)
    if semantics == "skyrl":
        everywhere = np.array([loop(r, v, np.ones(len(r)), case.gamma, case.lam, "skip") for r, v, _ in rows])
    else:
        everywhere = np.array([loop(r, v, m, case.gamma, case.lam, semantics) for r, v, m in rows])
    policy = case.mask == 1
    if case.whiten:
        x = everywhere[policy] if semantics != "skyrl" else everywhere.ravel()
        spread = np.sqrt(x.var()) if semantics == "openrlhf" else np.sqrt(x.var(ddof=1) + 1e-8)
        everywhere = (everywhere - x.mean()) / spread
    assert_allclose(got, everywhere[policy], atol=1e-12)


def test_the_numbers_of_the_issue() -> None:
    first = {m.peer: ours.numbers(cases.ANSWER[2], m) for m in MEANINGS if m.default == "gae"}
    for peer, number in {
        "verl": 0.402,
        "nemo-rl": 0.402,
        "skyrl": 0.364,
        "slime": 0.364,
        "roll": 0.364,
        "openrlhf": 0.211,
    }.items():
        found = first[peer]
        assert found is not None
        assert found[0] == pytest.approx(number, abs=5e-4)
    assert ours.by_default(cases.ENDS, MEANINGS[0]) == pytest.approx([0.475, 0.5])
    assert ours.numbers(cases.ENDS, MEANINGS[0]) == pytest.approx([-0.475, -0.5])


def test_every_peer_has_a_name_a_meaning_and_a_file_if_it_is_a_package() -> None:
    import importlib.util

    assert {m.peer for m in MEANINGS} == set(NAMES)
    assert not set(PACKAGES) & set(UNPACKAGED)
    for peer in PACKAGES:
        assert importlib.util.find_spec(f"apportion.integrations.conformance.{peer}") is not None
    keys = [(m.peer, m.id) for m in MEANINGS]
    assert len(keys) == len(set(keys))
    assert len({(m.peer, m.setting) for m in MEANINGS}) == len(keys)
    for m in MEANINGS:
        assert m.options is not None or m.note
        assert m.cases()


# --- the table -----------------------------------------------------------------------------------------


def pretend(change: Any) -> Any:
    """A trainer that answers with our numbers, changed."""

    def asking(peer: str) -> Answers:
        return {key(m.id, c.name): change(ours.numbers(c, m) or [nan] * 3) for m in of(peer) for c in m.cases()}

    return asking


def measured(monkeypatch: pytest.MonkeyPatch, change: Any, peer: str = "verl") -> list[Row]:
    monkeypatch.setattr(table, "installed", lambda name: "1.2.3")
    return table.rows([peer], pretend(change))


def test_rows_say_whether_theirs_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    same = measured(monkeypatch, lambda x: {"numbers": [v + 9e-7 for v in x]})
    assert {r.status for r in same if r.call != "no option"} == {table.AGREES}
    assert {r.status for r in same if r.call == "no option"} == {table.NO_OPTION}
    assert all(r.difference == pytest.approx(9e-7) for r in same if r.status == table.AGREES)
    off = measured(monkeypatch, lambda x: {"numbers": [*x[:-1], x[-1] + 1.1e-6]})
    noise = f"rewards, {cases.NOISE.name}"
    assert {r.status for r in off if r.call != "no option" and r.case != noise} == {table.DIFFERS}
    assert {r.status for r in off if r.call != "no option" and r.case == noise} == {table.ROUNDING}
    short = measured(monkeypatch, lambda x: {"numbers": x[:-1]})
    assert {r.status for r in short if r.call != "no option" and r.case != noise} == {table.DIFFERS}
    failed = measured(monkeypatch, lambda x: {"error": "ImportError: no flash"})
    assert {r.status for r in failed} == {"could not be run: ImportError: no flash"}
    assert page.failures(failed) == ["verl 1.2.3 could not be run: ImportError: no flash"]


def test_what_is_no_number_agrees_with_nothing_but_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(monkeypatch, lambda x: {"numbers": [nan] * len(x)}, "openrlhf")
    by_case = {(r.setting, r.case): r.status for r in found}
    assert by_case["group_norm", f"rewards, {cases.ONES.name}"] == table.REFUSED
    assert by_case["group_norm", f"rewards, {cases.PROMPTS.name}"] == table.DIFFERS
    assert by_case["GAE", cases.ANSWER[0].name] == table.DIFFERS
    assert all(r.difference is None for r in found)


def test_one_case_that_differs_marks_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(monkeypatch, lambda x: {"numbers": x})
    gae = [r for r in found if r.setting == "GAE"]
    assert page.check(gae) == "agrees"
    for status, word in ((table.DIFFERS, "differs"), (table.FAILED + "x", "not run"), (table.REFUSED, "agrees")):
        changed = [*gae[:-1], Row(**{**vars(gae[-1]), "status": status})]
        assert page.check(changed) == word


@pytest.mark.usefixtures("nobody")
def test_without_a_trainer_the_command_prints_ours_and_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    status, out, _ = run(capsys, "conformance")
    assert status == 0
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 100
    for shown in (".402 .433 .465 .500", ".364 .393 .465 .500*", ".211 .230 .465 .500*", "-.475 -.500*", ".429 .451*"):
        assert shown in out
    for option in ("semantics='openrlhf'", "masked_reward='drop'", "masked_reward='keep'", "spread_over='centred_batch'"):
        assert option in out
    assert "…" not in out
    assert "Not installed here: verl, trl, openrlhf, skyrl, areal, torchrl." in " ".join(out.split())
    assert "whitens over all tokens" in " ".join(out.split())
    assert " agrees " not in out.split("Each trainer")[0]


@pytest.mark.usefixtures("nobody")
def test_as_json_it_is_one_object_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "conformance", "--json", "--only", "verl,slime")
    rows = json.loads(out)
    assert {r["peer"] for r in rows} == {"verl", "slime"}
    assert {r["status"] for r in rows} == {table.NOT_INSTALLED, table.NO_PACKAGE}
    first = next(r for r in rows if r["peer"] == "slime" and "0.99" in r["case"])
    assert first["ours"][0] == pytest.approx(0.3642, abs=5e-5)
    assert first["default"][0] == pytest.approx(0.4018, abs=5e-5)
    assert first["differs_from_default"] is True
    assert first["theirs"] is None


def test_numbers_that_are_none_are_null_in_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "installed", lambda name: "1.2.3" if name == "openrlhf" else None)
    monkeypatch.setattr(table.rows, "__defaults__", (None, pretend(lambda x: {"numbers": [nan] * len(x)})))
    _, out, _ = run(capsys, "conformance", "--json", "--only", "openrlhf")
    assert json.loads(out)[0]["theirs"] == [None] * 4


def test_an_unknown_trainer_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "conformance", "--only", "slimy")
    assert (status, out) == (2, "")
    assert err.startswith("apportion: no trainer 'slimy': expected some of verl, trl")


@pytest.mark.parametrize(("number", "text"), [(0.4018, ".402"), (-0.5, "-.500"), (1.5, "1.500"), (-1e-9, ".000"), (nan, "nan")])
def test_numbers_are_short(number: float, text: str) -> None:
    assert page.short(number) == text


# --- asking --------------------------------------------------------------------------------------------


def test_a_process_that_breaks_is_reported_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    found = ask.ask("verl")
    assert set(found) == {key(m.id, c.name) for m in of("verl") for c in m.cases()}
    assert {v["error"] for v in found.values()} == {"exit status 1"}

    def late(*_: Any, **__: Any) -> Any:
        raise subprocess.TimeoutExpired("x", 1)

    monkeypatch.setattr(subprocess, "run", late)
    assert {v["error"] for v in ask.ask("verl").values()} == {"no answer in 300 s"}


def test_a_package_that_cannot_be_imported_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    found = ask.answer("torchrl")
    assert all("ModuleNotFoundError" in v["error"] and "torch" in v["error"] for v in found.values())


def test_stand_ins_can_be_imported_only_while_asked_and_never_used() -> None:
    with standing_in(("surely_absent", "numpy")) as missing:
        assert missing == ("surely_absent",)
        from surely_absent.deep.down import Thing  # type: ignore[import-not-found]

        class Mine(Thing):  # type: ignore[misc]
            pass

        with pytest.raises(RuntimeError, match=r"surely_absent\.deep\.down\.Thing is a stand-in"):
            Thing()
        with pytest.raises(RuntimeError, match="stand-in"):
            Mine()
    assert importlib.util.find_spec("surely_absent") is None  # who asks whether it is installed is told the truth
    with pytest.raises(ModuleNotFoundError):
        import surely_absent  # type: ignore[import-not-found]  # noqa: F401
