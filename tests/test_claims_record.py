"""Findings as a file: what is written is what was found, damage is named, and the new experiments mean what they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from apportion.bench.claims import CLAIMS
from apportion.bench.claims.exploit import kept
from apportion.bench.claims.finding import Number
from apportion.bench.claims.games import either
from apportion.bench.claims.record import document, read_claims
from apportion.bench.claims.refed import credit, overlap
from apportion.bench.claims.selection import SETTINGS, SHARE, task_of, unsure_contexts, worths
from apportion.bench.manifest import code_digest
from apportion.bench.oracle import oracle, truth
from apportion.bench.tasks import find
from apportion.cli import main
from apportion.errors import BenchError
from apportion.report.claims import claims_rows, claims_text
from apportion.report.read import read_run

from .fake_run import write_run
from .test_claims import QUICK


def called(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["bench", "claims", *words])
    return int(ended.value.code or 0)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", seeds=2, methods=("rloo", "grpo"), lens=False)


def test_findings_are_stored_beside_a_run_and_shown_by_its_report(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run_folder.parent / "found.json"
    assert called("plain-baseline-collapse", "--seeds", "3", "--run", str(run_folder), "--out", str(out), "--json") == 0
    [printed] = json.loads(capsys.readouterr().out)
    assert len(read_claims(out).code) == len(code_digest())
    assert out.read_bytes() == (run_folder / "claims.json").read_bytes()
    [row] = claims_rows(read_run(run_folder), {})
    assert {**printed, "stale": True} == row  # the made-up run was made by no code of ours
    assert row["experiment"] == CLAIMS["plain-baseline-collapse"].experiment
    told = claims_text(
        {"claims": [row, {**row, "id": "other", "verdict": "does not hold"}, {**row, "id": "third", "verdict": "undecided"}]}
    )
    counted = "1 holds (plain-baseline-collapse); 1 does not hold (other); 1 is undecided (third)."
    assert told[0] == f"Of 3 published claims put to the test, {counted}"
    assert "other code" in told[1]


def test_claims_found_by_the_code_of_the_run_are_not_stale(run_folder: Path) -> None:
    assert called("plain-baseline-collapse", "--seeds", "2", "--run", str(run_folder)) == 0
    manifest = json.loads((run_folder / "manifest.json").read_text())
    code = read_claims(run_folder / "claims.json").code
    (run_folder / "manifest.json").write_text(json.dumps({**manifest, "code": code}))
    assert not claims_rows(read_run(run_folder), {})[0]["stale"]


def test_no_file_is_no_claims(run_folder: Path) -> None:
    assert claims_rows(read_run(run_folder), {}) == []


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("verdict", "perhaps", "claims.0.verdict"), ("seeds", 1, "claims.0.seeds"), ("numbers", [], "claims.0.numbers")],
)
def test_a_damaged_file_is_named_with_its_field(run_folder: Path, field: str, value: object, said: str) -> None:
    assert called("plain-baseline-collapse", "--seeds", "2", "--run", str(run_folder)) == 0
    path = run_folder / "claims.json"
    held = json.loads(path.read_text())
    held["claims"][0][field] = value
    path.write_text(json.dumps(held))
    with pytest.raises(BenchError, match=f"claims.json: {said}"):
        claims_rows(read_run(run_folder), {})


def test_a_place_to_write_is_looked_at_before_anything_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("min-form-resists-hacking", "--run", str(tmp_path)) != 0
    assert "no manifest.json" in capsys.readouterr().err
    assert called("min-form-resists-hacking", "--out", str(tmp_path / "gone" / "x.json")) != 0
    assert "does not exist" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_page_of_claims_holds_every_claim_as_it_is_made_now() -> None:
    """Numbers are those of the command it names; what the code says of a claim must not have moved on."""
    page = (Path(__file__).parents[1] / "docs" / "claims.md").read_text()
    assert [line[3:] for line in page.splitlines() if line.startswith("## ")] == list(CLAIMS)
    for claim in CLAIMS.values():
        assert f"\n{claim.statement} ({claim.source})\n" in page
        assert f"\n{claim.experiment}.\n" in page
    for id_, verdict in QUICK.items():
        assert page.split(f"\n## {id_}\n")[1].split("**")[1].startswith(verdict)


def test_markdown_is_what_the_page_is_made_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert called("per-turn-baselines-biased", "--seeds", "2", "--markdown") == 0
    out = capsys.readouterr().out
    assert "printed by `apportion bench claims per-turn-baselines-biased --seeds 2 --markdown`" in out
    assert "| expected update, rewards centred per turn index | 0.0375 | -0.075 |" in out
    assert out.endswith("`apportion bench claims per-turn-baselines-biased --seeds 2`\n")


def test_equal_findings_give_equal_bytes() -> None:
    assert document([{"id": "x"}]) == document([{"id": "x"}])


def test_every_claim_says_what_was_done() -> None:
    assert all(len(claim.experiment) > 40 for claim in CLAIMS.values())


def test_a_number_is_within_a_tolerance_of_what_was_claimed_only() -> None:
    assert Number("x", 0.52, claimed=0.5).within(0.03)
    assert not Number("x", 0.54, claimed=0.5).within(0.03)
    assert not Number("x", 0.5).within(1.0)


def test_the_sum_is_hacked_and_the_minimum_where_nobody_sees_the_harm() -> None:
    assert kept("softmax", caught=True, seed=0) > 0.9
    assert kept("exact", caught=True, seed=0) > 0.9
    assert kept("sum", caught=True, seed=0) < 0.01
    assert kept("softmax", caught=False, seed=0) < 0.01


def test_entropy_marks_forks_where_the_policy_is_unsure_there_and_none_where_it_is_sure() -> None:
    shares = []
    for setting in SETTINGS:
        task = task_of(*setting)
        chosen = unsure_contexts(task)[task.context]
        with oracle():
            visits = truth(task, task.start_theta).d[:, :-1]
        held = float((visits * chosen).sum() / visits.sum())
        assert SHARE <= held < SHARE + 0.15
        shares.append(float((visits * chosen * task.fork[:, :, None]).sum() / (visits * chosen).sum()))
    assert shares[0] > 0.4
    assert shares[1] == 0.0


def test_a_part_by_chance_is_worth_about_its_share() -> None:
    found = worths(task_of(*SETTINGS[0]), 0)
    assert found["all"] == pytest.approx(1.0)
    assert found["chance"] == pytest.approx(SHARE, rel=0.3)
    assert found["entropy"] > 1.0


def test_text_that_always_leads_elsewhere_says_less_than_a_restored_state() -> None:
    task = find("bifurcation/horizon-10")
    errors = {}
    for noise in (0.0, 1.0):
        found, exact = credit(task, 0, noise)
        errors[noise] = float(np.sqrt(((found - exact) ** 2).mean()))
    assert errors[0.0] < 0.03
    assert errors[1.0] > 2 * errors[0.0]
    assert overlap(np.array([9.0, 0, 0, 0, 0]), np.array([9.0, 0, 0, 0, 0])) == 1.0
    assert overlap(np.array([9.0, 0, 0, 0, 0]), np.array([0, 0, 0, 0, -9.0])) == 0.0


def test_either_of_the_two_agents_is_enough() -> None:
    """Each has one choice that matters; a first right choice leaves nothing to win for the second."""
    task = either()
    assert [int(task.fork[:, task.roles == agent].sum(axis=1).min()) for agent in range(2)] == [1, 1]
    with oracle():
        q = truth(task, task.start_theta).Q
    at = np.flatnonzero(task.fork[0])
    solved = task.observation[0, 0] - task.observation[0, 0].min() >= task.kernels.shape[1] // 2  # by status, then room
    assert np.ptp(q[0, at[1], solved], axis=1).max() < 1e-12
    assert np.ptp(q[0, at[1], ~solved], axis=1).min() > 0.5
