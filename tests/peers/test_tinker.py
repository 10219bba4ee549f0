"""Tinker 0.38 and its cookbook 0.6.1: their own data types, assembling and preparing of minibatches; no service is called."""

from __future__ import annotations

import asyncio
import runpy
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tinker_cookbook")

import tinker
from tinker_cookbook.completers import TokensWithLogprobs
from tinker_cookbook.rl import train
from tinker_cookbook.rl.data_processing import assemble_training_data, compute_advantages
from tinker_cookbook.rl.types import PARSE_ERROR_MASKED_METRIC_KEY, Trajectory, TrajectoryGroup, Transition

from apportion.errors import ApportionError, BatchError, MissingColumn, OptionError, TrainerError
from apportion.integrations import tinker as ours
from apportion.registry import methods

from . import pages

pytestmark = pytest.mark.filterwarnings("ignore:.*is meant for a loss with denominator:UserWarning")
DOCS = Path(__file__).parents[2] / "docs"
SLOTS = ("target_tokens", "logprobs", "advantages", "mask")


def step(prompt: list[Any], wrote: list[int], reward: float = 0.0, **more: Any) -> Transition:
    logp = more.pop("logp", [-0.25 * (k + 1) for k in range(len(wrote))])
    ac = TokensWithLogprobs(list(wrote), logp, more.pop("stop", "stop"), more.pop("sequence", None))
    ob = prompt if isinstance(prompt, tinker.ModelInput) else tinker.ModelInput.from_ints(prompt)
    return Transition(ob, ac, reward, episode_done=False, **more)


def rollout(turns: list[list[int]], reward: float = 0.0, shown: list[list[int]] | None = None, **more: Any) -> Trajectory:
    """Turn k writes turns[k] after shown[k] (default: one token, 100 + k) was added to all before; the last turn is paid."""
    shown = [[100 + k] for k in range(len(turns))] if shown is None else shown
    logs = more.pop("logs", [{}] * len(turns))
    seen: list[int] = []
    done = []
    for k, wrote in enumerate(turns):
        seen = [*seen, *shown[k]]
        done.append(step(seen, wrote, reward if k == len(turns) - 1 else 0.0, logs=logs[k]))
        seen = [*seen, *wrote]
    return Trajectory(transitions=done, final_ob=tinker.ModelInput.empty(), **more)


def group(*members: Trajectory, final: list[float] | None = None) -> TrajectoryGroup:
    return TrajectoryGroup(list(members), [0.0] * len(members) if final is None else final, [{} for _ in members])


def pair(*rewards: float) -> TrajectoryGroup:
    return group(*(rollout([[1, 2], [3]], r) for r in rewards))


def values(datum: Any, slot: str = "advantages") -> list[float]:
    return list(np.asarray(datum.loss_fn_inputs[slot].to_numpy(), dtype=float).round(6))


def credit(groups: list[TrajectoryGroup], method: str, **options: Any) -> list[list[float]]:
    """Advantages of the data, on the tokens that were written."""
    data, _ = ours.assembler(method, **options)(groups)
    return [[a for a, m in zip(values(d), values(d, "mask"), strict=True) if m] for d in data]


def random_groups(seed: int, n: int = 4) -> list[TrajectoryGroup]:
    """Groups of any size; rollouts of any length that write nothing now and then, start anew or have turns that are masked."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        members = []
        for _ in range(int(rng.integers(1, 5))):
            seen: list[int] = []
            steps = []
            named = bool(rng.random() < 0.5)
            for k in range(int(rng.integers(1, 5))):
                anew = k == 0 or rng.random() < 0.2
                wrote = rng.integers(50, 99, int(rng.integers(2, 5)) if anew else int(rng.integers(0, 4))).tolist()
                new = rng.integers(1, 50, int(rng.integers(0, 4))).tolist()
                seen = new if anew else [*seen, *new]
                masked = {PARSE_ERROR_MASKED_METRIC_KEY: 1.0} if rng.random() < 0.2 else {}
                logp = (-rng.random(len(wrote))).tolist()
                sequence = f"s{rng.integers(1 << 30)}" if named else None
                steps.append(step(seen, wrote, float(rng.normal()), metrics=masked, logp=logp, sequence=sequence))
                seen = [*seen, *wrote]
            members.append(Trajectory(steps, tinker.ModelInput.from_ints(seen)))
        made.append(group(*members, final=rng.normal(size=len(members)).tolist()))
    return made


@pytest.mark.parametrize("seed", range(20))
def test_centred_rewards_are_the_cookbooks_own_data_to_the_last_field(seed: int) -> None:
    groups = random_groups(seed)
    theirs, origin = assemble_training_data(groups, compute_advantages(groups))
    data, where = ours.assembler("grpo", spread="none")(groups)
    assert where == origin
    for mine, own in zip(data, theirs, strict=True):
        assert mine.model_input == own.model_input
        assert (mine.model_input_spans, mine.loss_fn_input_spans) == (own.model_input_spans, own.loss_fn_input_spans)
        assert sorted(mine.loss_fn_inputs) == sorted(own.loss_fn_inputs)
        for slot in SLOTS:
            a, b = mine.loss_fn_inputs[slot], own.loss_fn_inputs[slot]
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_allclose(a.to_numpy(), b.to_numpy(), atol=2e-6)


def test_what_the_random_groups_hold_is_all_that_was_meant() -> None:
    groups = [made for seed in range(20) for made in random_groups(seed)]
    data = assemble_training_data(groups, compute_advantages(groups))[0]
    members = [t for made in groups for t in made.trajectories_G]
    assert len(data) > len(members)  # some start anew
    assert any(not t.ac.tokens for m in members for t in m.transitions)
    assert any(t.metrics for m in members for t in m.transitions)
    assert any(not m.transitions[0].ob.length for m in members)  # the first token is no target then
    assert any(d.model_input_spans for d in data)
    assert not all(d.model_input_spans for d in data)


def test_leave_one_out_is_theirs_times_n_over_n_minus_one() -> None:
    groups = [pair(1.0, 0.0, 0.5), pair(2.0, 0.0)]
    theirs, _ = assemble_training_data(groups, compute_advantages(groups))
    mine, _ = ours.assembler("rloo")(groups)
    for k, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        np.testing.assert_allclose(values(a), np.asarray(values(b)) * (1.5 if k < 3 else 2.0), atol=1e-6)


def test_turns_that_saw_the_same_are_compared() -> None:
    a = rollout([[1], [2]], 1.0, shown=[[9], [50]])
    b = rollout([[1], [2]], 0.0, shown=[[9], [50]])
    c = rollout([[3], [2]], 0.0, shown=[[9], [51]])
    found = credit([group(a, b, c)], "gigpo", states="observation", spread="none")
    assert found[0][1] - found[1][1] == pytest.approx(2.0)  # by the rollout, and by the state they shared
    assert found[2][1] - found[1][1] == pytest.approx(0.5)  # alone where it stood


def test_states_an_environment_names_are_where_its_steps_led() -> None:
    logs = [[{"state": "s"}, {"state": "end"}], [{"state": "s"}, {"state": "end"}]]
    two = group(rollout([[1], [2]], 1.0, logs=logs[0]), rollout([[3], [4]], 0.0, shown=[[100], [7]], logs=logs[1]))
    state = _batch([two], "gigpo").state
    assert state.codes.tolist() == [state.codes[0], state.codes[1], state.codes[2]] * 2
    assert len(set(state.codes[:3].tolist())) == 3
    with pytest.raises(MissingColumn, match=r"logs\['state'\]"):
        credit([pair(1.0, 0.0)], "gigpo")


def _batch(groups: list[TrajectoryGroup], method: str, **options: Any) -> Any:
    from apportion.integrations.packed import pack

    plan = ours.assembler(method, **options).plan
    return pack([ours._rollout(plan, f"{p} {g}", t, f, p) for p, made in enumerate(groups)
                 for g, (t, f) in enumerate(zip(made.trajectories_G, made.final_rewards_G, strict=True))])  # fmt: skip


def test_rewards_stay_with_the_turn_that_earned_them_and_the_last_is_the_outcome() -> None:
    earned = [step([9], [1], 0.25), step([9, 1], [2], 0.5), step([9, 1, 2], [3], 1.0)]
    made = group(Trajectory(earned, tinker.ModelInput.empty()), rollout([[1], [2], [3]]), final=[4.0, 0.0])
    batch = _batch([made], "rloo")
    assert batch.turn_reward.tolist() == [0.25, 0.5, 0, 0, 0, 0]
    assert batch.outcome.tolist() == [5.0, 0.0]
    assert credit([made], "rloo")[0] == [5.75] * 3 == [made.get_total_rewards()[0]] * 3


def test_rollouts_that_were_cut_off_are_known_to_be() -> None:
    cut = replace(rollout([[1]]), stop_reason="max_turns")
    mid = Trajectory([step([9], [1, 2], stop="length")], tinker.ModelInput.empty())
    done = replace(mid, stop_reason="completed")
    assert _batch([group(cut, mid, done, rollout([[1]]))], "rloo").truncated.tolist() == [True, True, False, False]


def test_turns_the_cookbook_masks_are_credited_like_others_and_not_trained_on() -> None:
    bad = rollout([[1, 2], [3]], 1.0)
    bad.transitions[0].metrics[PARSE_ERROR_MASKED_METRIC_KEY] = 1.0
    data, _ = ours.assembler("rloo")([group(bad, rollout([[1], [3]]))])
    assert values(data[0], "mask") == [0, 0, 0, 1]
    assert values(data[0]) == [0, 0, 0, 1.0]


def test_what_a_method_drops_has_no_advantage_and_no_mask() -> None:
    groups = [group(*(rollout([[1], [2]], r, shown=[[9], [s]]) for r, s in ((1.0, 5), (0.0, 5), (1.0, 6), (1.0, 6))))]
    made = ours.assembler("carl")
    calls = [c for rollout_ in made.credit(groups).values() for c in rollout_]
    assert not all(c.keep.all() for c in calls)
    for datum, t in zip(made(groups)[0], groups[0].trajectories_G, strict=True):
        kept = np.concatenate([c.keep for c in made.credit(groups)[id(t)]])
        written = [1, 3]  # targets: 9 is no target, then 1, shown, 2
        assert [values(datum, "mask")[k - 1] for k in written] == kept.astype(float).tolist()
        assert all(a == 0 for a, m in zip(values(datum), values(datum, "mask"), strict=True) if not m)


def test_a_rollout_that_wrote_nothing_or_is_alone_gets_nothing_and_disturbs_nobody() -> None:
    never = Trajectory([step([], [], -1.0)], tinker.ModelInput.empty())  # its prompt was too long to begin
    alone = rollout([[1]], 3.0)
    data, origin = ours.assembler("rloo")([group(never, *pair(1.0, 0.0).trajectories_G), group(alone), group(never)])
    assert origin == [{"group_idx": 0, "traj_idx": 1}, {"group_idx": 0, "traj_idx": 2}, {"group_idx": 1, "traj_idx": 0}]
    assert [values(d)[-1] for d in data] == [1.0, -1.0, 0.0]
    assert ours.assembler("rloo")([group(never)]) == ([], [])


def test_images_in_a_prompt_stand_where_they_stood() -> None:
    def seen(data: bytes, reward: float) -> Trajectory:
        chunk = tinker.types.ImageChunk(data=data, format="png", expected_tokens=3)
        prompt = tinker.ModelInput(chunks=[tinker.EncodedTextChunk(tokens=[9]), chunk, tinker.EncodedTextChunk(tokens=[8])])
        return Trajectory([step(prompt, [1, 2], reward)], tinker.ModelInput.empty())

    groups = [group(seen(b"a", 1.0), seen(b"a", 0.0), seen(b"b", 0.0))]
    data, _ = ours.assembler("rloo")(groups)
    assert values(data[0]) == [0, 0, 0, 0, 1.0, 1.0]
    batch = _batch(groups, "gigpo", states="observation")
    assert batch.ids[:7].tolist() == [9, -1, -1, -1, 8, 1, 2]
    codes = batch.state.codes
    assert codes[0] == codes[2] != codes[4]
    with pytest.raises(BatchError, match="trajectory 0: its prompt holds images"):
        ours.assembler("gae", fit=True)(groups)


class Sampler:
    """Has the methods of a sampler, and is never asked: what would be wrong with it is refused before."""

    def value(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("asked")


def test_a_source_is_not_asked_about_a_context_the_policy_never_had() -> None:
    anew = Trajectory([step([9], [1]), step([8, 7], [2], 1.0)], tinker.ModelInput.empty())
    made = ours.assembler("rloo")
    asks = replace(made.plan.chosen, spec=methods()["vineppo"], options={"sampler": Sampler()})
    made.plan = replace(made.plan, chosen=asks)
    with pytest.raises(BatchError, match="trajectory 0, turn 1: its prompt does not continue the turn before, and sampler="):
        made([group(anew, anew)])


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (step([9], [1, 2], logp=[-0.5, float("nan")]), "group 0, trajectory 1, turn 0: logp of policy token 1 is nan"),
        (step([9], [1, 2], logp=[-0.5]), "turn 0: it has 1 log-probs for 2 tokens"),
        (step([9], [1, 2], logp=None), "turn 0: it has 0 log-probs for 2 tokens"),
        (step([9], [1], float("nan")), "trajectory 1: its rewards are nan"),
        (step([9], [1], logs={"state": ["a"]}), "a state key is a list"),
    ],
)
def test_bad_input_is_one_error_that_names_the_rollout(bad: Transition, says: str) -> None:
    with pytest.raises(BatchError, match=says):
        credit([group(rollout([[1]]), Trajectory([bad], tinker.ModelInput.empty()))], "rloo")


def test_rewards_that_do_not_match_the_rollouts_are_an_error() -> None:
    with pytest.raises(BatchError, match="group 0 has 1 final rewards, but 2 trajectories"):
        credit([group(rollout([[1]]), rollout([[1]]), final=[0.0])], "rloo")


@pytest.mark.parametrize(
    ("method", "options", "error", "says"),
    [
        ("rlo", {}, ApportionError, "rlo"),
        ("rloo", {"gamma": 0.9}, OptionError, "gamma"),
        ("rloo", {"states": "seen"}, OptionError, "states"),
        ("rloo", {"seed": -1}, OptionError, "seed"),
        ("rloo", {"group_size": 1}, OptionError, "there is 1 of each"),
        ("rloo", {"loss_fn": "gspo"}, OptionError, "loss_fn = 'gspo'"),
        ("rloo", {"loss_fn": "cross_entropy"}, OptionError, "importance_sampling, ppo"),
        ("gae", {}, OptionError, "pass fit=True"),
        ("vineppo", {"sampler": 3}, OptionError, "sampler is int"),
        ("turn_ppo", {"fit": True}, OptionError, "loss.ratio"),
        ("ragen", {}, OptionError, "resamples rows"),
        ("int", {}, ApportionError, "int"),
        ("dr_mas", {}, MissingColumn, "no agent"),
    ],
)
def test_what_does_not_fit_is_refused_at_start(method: str, options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ours.assembler(method, **options)


def test_a_group_of_one_is_fine_where_an_option_says_what_it_gets() -> None:
    assert ours.assembler("rloo", group_size=1, single="zero")


def test_other_versions_are_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for package, number in (("tinker", "0.39.0"), ("tinker-cookbook", "0.5.8")):
        monkeypatch.setattr(
            "apportion.integrations.versions.version",
            lambda p, package=package, number=number: number if p == package else ours.TESTED[p][0],
        )
        with pytest.raises(TrainerError, match=rf"{package} >= .* not with {number}"):
            ours.assembler("rloo")


# --- in the cookbook's loop -----------------------------------------------------------------------------


@pytest.fixture
def cookbook(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``tinker_cookbook.rl.train``, afterwards as it was."""
    for name in ("prepare_minibatch", "assemble_training_data"):
        monkeypatch.setattr(train, name, getattr(train, name))
    return train


def config(**changed: Any) -> Any:
    """The fields of ``train.Config`` that are read, by its own ``training_loss_fn``."""
    fields = {"loss_fn": "importance_sampling", "async_config": None, "stream_minibatch_config": None}
    made = SimpleNamespace(**{**fields, "remove_constant_reward_groups": False, **changed})
    made.training_loss_fn = lambda: train.Config.training_loss_fn(made)
    return made


class Tokenizer:
    def decode(self, tokens: Any, **_: Any) -> str:
        return " ".join(map(str, tokens)) if isinstance(tokens, list) else str(tokens)


def prepared(cookbook: Any, groups: list[TrajectoryGroup]) -> list[Any]:
    builders = [SimpleNamespace(logging_tags=lambda: ["shop"])] * len(groups)
    data, metrics, _ = asyncio.run(cookbook.prepare_minibatch(builders, groups, Tokenizer(), None, 0.0, 0.0))
    assert metrics
    return list(data)


def test_the_cookbooks_loop_trains_on_the_credit(cookbook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """``prepare_minibatch`` prints two groups of at most four rollouts first: as the credit they have among all."""
    printed: list[list[float]] = []

    def colorize(datum: Any, _: Any, key: str) -> str:
        printed.append(values(datum, key))
        return ""

    monkeypatch.setattr(cookbook, "colorize_example", colorize)
    groups = [pair(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), pair(1.0, 0.0)]
    expected = [values(d) for d in ours.assembler("rloo")(groups)[0]]
    before = prepared(cookbook, groups)
    printed.clear()
    ours.install(config(), "rloo")
    ours.install(config(), "rloo")  # once more does not stand on top of itself
    data = prepared(cookbook, groups)
    assert [values(d) for d in data] == expected != [values(d) for d in before]
    assert len(printed) == 6
    assert all(p in expected for p in printed)
    assert "mask" not in cookbook._remove_mask(data[0]).loss_fn_inputs
    assert ours._MADE.get() is None


def test_the_penalty_of_the_cookbook_adds_to_the_credit(monkeypatch: pytest.MonkeyPatch) -> None:
    """``incorporate_kl_penalty`` reads the mask and the log-probs that the plug-in wrote."""
    from tinker_cookbook.rl import metrics

    async def score(_: Any, sequences: list[Any]) -> Any:
        return [[None, *([-1.0] * (s.length - 1))] for s in sequences], None

    monkeypatch.setattr(metrics, "score_sequences", score)
    groups = [pair(1.0, 0.0)]
    own, mine = assemble_training_data(groups, compute_advantages(groups))[0], ours.assembler("grpo", spread="none")(groups)[0]
    for data in (own, mine):
        asyncio.run(metrics.incorporate_kl_penalty(data, None, 0.5, 0.0))
    assert [values(d) for d in mine] == [values(d) for d in own]
    assert values(mine[0])[0] != 0.5


def test_settings_of_the_cookbook_are_read_at_start(cookbook: Any) -> None:
    with pytest.raises(OptionError, match="loss_fn = 'gspo'"):
        ours.install(config(loss_fn="gspo"), "rloo")
    with pytest.warns(UserWarning, match="remove_constant_reward_groups"):
        ours.install(config(remove_constant_reward_groups=True), "pooled_td", states="observation")
    with pytest.warns(UserWarning, match="one minibatch at a time"):
        ours.install(config(stream_minibatch_config=object()), "reinforce_pp")
    with pytest.warns(UserWarning, match="stable_reinforce.*has none of ours"):
        ours.install(config(async_config=SimpleNamespace(loss_fn="stable_reinforce")), "rloo")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.install(config(remove_constant_reward_groups=True), "rloo")


def test_nothing_is_installed_where_something_is_refused(cookbook: Any) -> None:
    prepare, assemble = cookbook.prepare_minibatch, cookbook.assemble_training_data
    with pytest.raises(OptionError):
        ours.install(config(), "rloo", omega=1)
    assert (cookbook.prepare_minibatch, cookbook.assemble_training_data) == (prepare, assemble)


# --- the page -------------------------------------------------------------------------------------------


def test_every_method_is_taken_or_refused_by_name_as_the_page_says() -> None:
    pages.every_method("tinker", ours.PLACE, lambda id_: ours.assembler(id_).plan.chosen.spec.id == id_)


def test_the_example_runs_as_written_and_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    script = DOCS / "examples" / "tinker_quickstart.py"
    page = (DOCS / "tinker.md").read_text()
    assert len(script.read_text().splitlines()) < 30
    assert script.read_text().strip() in page
    runpy.run_path(str(script))
    assert capsys.readouterr().out.strip() in page
