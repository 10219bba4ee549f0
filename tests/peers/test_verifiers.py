"""verifiers 0.4: credit lands on its own nodes; prime-rl: a fake of its algorithm package with the recorded signatures.

Recorded from prime-rl 559b4477 (0.8.0): src/prime_rl/orchestrator/algo/{__init__,base,routing}.py.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import sys
import warnings
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

pytest.importorskip("verifiers")

import apportion as ap
from apportion.errors import BatchError, MissingColumn, OptionError, TrainerError
from apportion.integrations import verifiers as plugin
from apportion.integrations.traces import branches_at
from apportion.words import Provenance
from tests.peers import pages
from tests.peers.verifiers_world import episode, records, trace

VERSION = "apportion.integrations.versions.version"


def pair(first: Any, second: Any) -> list[Any]:
    return [episode(first, id_="1"), episode(second, id_="2")]


def sampled(episode_: Any) -> list[Any]:
    return [node.advantages for node in episode_.traces[0].nodes if node.sampled]


def test_the_example_runs_as_written_and_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    records()
    pages.check("verifiers", pages.run_here("verifiers", capsys), plugin.PRIME_RL)


def test_each_policy_token_gets_its_credit_and_verifiers_spreads_it_over_the_branch() -> None:
    group = pair(trace([[1, 2], [3]], 1.0, name="a"), trace([[1], [4, 5]], 0.0, name="b"))
    credit = plugin.credit_episodes(group, "grpo", spread="none")
    assert credit is not None
    assert sampled(group[0]) == [[0.5, 0.5], [0.5]]
    assert sampled(group[1]) == [[-0.5], [-0.5, -0.5]]
    assert group[0].traces[0].branches[0].advantages == [0, 0, 0.5, 0.5, 0, 0, 0.5]
    assert group[0].traces[0].nodes[0].advantages is None
    assert all(node.loss_weights is None for node in group[0].traces[0].nodes)


def test_credit_of_a_turn_stays_with_its_node_where_turns_touch() -> None:
    """A tool call whose result never came: two sampled messages in a row stay two turns."""
    group = pair(trace([[1, 2], [3]], 1.0, shown=[[9], []]), trace([[1, 2], [4]], 0.0, shown=[[9], []]))
    for member in group:
        plugin.hand_over(member.traces[0], state=["home", member.id])
    plugin.credit_episodes(group, "gigpo", spread="none", omega=2.0, gamma=1.0)
    first, second = sampled(group[0])
    assert first == [1.5, 1.5]  # the episode .5 and 2 x the step .5: both came by "home"
    assert second == [0.5]  # alone in its state: the step says nothing


def branched(name: str, reward: float, parent: int | None) -> dict[str, Any]:
    """Three turns, the last of which does not go on from the second: a new root (compaction), or a fork from an earlier node."""
    made = trace([[1], [2], [3]], reward, name=name)
    made["nodes"][4] |= {"parent": parent, "message": {"role": "user", "content": "so far"}}
    return made


@pytest.mark.parametrize(("parent", "says"), [(None, "it begins anew"), (1, "it continues node 1")])
def test_branches_are_credited_by_rewards_alone_and_never_read_as_one_text(parent: int | None, says: str) -> None:
    group = pair(branched("a", 1.0, parent), branched("b", 0.0, parent))
    assert group[0].traces[0].num_branches == 2
    plugin.credit_episodes(group, "rloo")
    assert [sampled(e) for e in group] == [[[1.0]] * 3, [[-1.0]] * 3]
    once = pair(trace([[1], [2], [3]], 1.0, name="a"), trace([[1], [2], [3]], 0.0, name="b"))
    credit = plugin.credit_episodes(once, "rloo")
    assert credit is not None
    learned = ap.learn(credit.batch, "rudder", rng=0)
    asked: list[str] = []
    for e in group:
        for node in e.traces[0].nodes:
            node.advantages = None
    for method, options in (
        ("vineppo", {"sampler": Unasked(asked)}),
        ("rudder", {"fit": True}),
        ("rudder", {"learned": learned}),
    ):
        with pytest.raises(BatchError, match=f"trace a, node 4: {says}, not the node before it, and {next(iter(options))}="):
            plugin.credit_episodes(group, method, **options)
    assert asked == []
    assert sampled(group[0]) == [None] * 3
    plugin.credit_episodes(once, "rudder", learned=learned)  # one chain is read


class Unasked:
    """A sampler that notes what it is asked."""

    provenance: Provenance = "text_refeed"

    def __init__(self, asked: list[str]) -> None:
        self.asked = asked

    def continuations(self, *_: Any, **__: Any) -> Any:
        self.asked.append("continuations")

    def branch(self, *_: Any, **__: Any) -> Any:
        self.asked.append("branch")


def test_a_message_without_a_token_makes_no_branch_of_what_goes_on_around_it() -> None:
    nodes = [SimpleNamespace(parent=p, token_ids=ids) for p, ids in ((None, [1]), (0, []), (0, [2]), (1, [3]), (3, [4]))]
    assert branches_at(nodes[:3]) is None
    assert branches_at(nodes) == 3  # its text is that of node 0, not of node 2
    assert branches_at([SimpleNamespace(parent=1, token_ids=[1])] * 2) == 1  # a record in which nothing comes first


def test_what_was_never_scored_is_none_and_not_zero() -> None:
    group = [
        *pair(trace([[1]], 1.0, name="a"), trace([[2]], 0.0, name="b")),
        episode(trace([[3]], None, name="unscored")),
        episode(trace([[4]], 1.0, ok=False, name="failed")),
        episode(trace([[5]], 1.0, trainable=False, name="judge")),
        episode(trace([[]], 1.0, name="silent")),
    ]
    plugin.credit_episodes(group, "rloo")
    assert [sampled(e) for e in group] == [[[1.0]], [[-1.0]], [None], [None], [None], [None]]
    assert plugin.credit_episodes(group[2:], "rloo") is None


def test_roles_decide_nothing_and_what_was_sampled_does() -> None:
    """What verifiers sampled is the policy's under whatever role; a role that verifiers does not know, it refuses itself."""
    odd = trace([[1, 2], [3]], 1.0, name="a")
    odd["nodes"][2]["message"] = {"role": "system", "content": "x"}  # instead of the tool's answer
    group = pair(odd, trace([[1], [4, 5]], 0.0, name="b"))
    plugin.credit_episodes(group, "grpo", spread="none")
    assert sampled(group[0]) == [[0.5, 0.5], [0.5]]
    odd["nodes"][2]["message"]["role"] = "robot"
    with pytest.raises(ValueError, match="robot"):
        episode(odd)


def test_a_message_without_a_token_is_no_turn_and_its_reward_is_not_lost() -> None:
    group = pair(trace([[1], [], [3]], 0.0, name="a"), trace([[2], [4]], 0.0, name="b"))
    plugin.hand_over(group[0].traces[0], state=["s", "unseen", "t"], turn_reward=[0.0, 1.0, 0.0])
    plugin.hand_over(group[1].traces[0], state=["s", "t"])
    credit = plugin.credit_episodes(group, "pooled_td")
    assert credit is not None
    assert credit.batch.n_turns == 4
    assert credit.batch.turn_reward is not None
    assert credit.batch.turn_reward.tolist() == [1.0, 0.0, 0.0, 0.0]  # earned before the silent turn ended: by the first
    assert sampled(group[0])[1] is None


def test_a_group_that_shrank_to_one_rollout_gets_zero() -> None:
    for method, states in (("rloo", "given"), ("pooled_td", "shown")):  # with an option single, and without
        lone = episode(trace([[1]], 1.0), group="lone")
        group = [lone, *pair(trace([[1]], 1.0), trace([[1]], 0.0))]
        plugin.credit_episodes(group[:1], method, states=states)  # type: ignore[arg-type]
        assert sampled(lone) == [[0.0]]
        plugin.credit_episodes(group, method, states=states)  # type: ignore[arg-type]
        assert sampled(lone) == [[0.0]]
        assert sampled(group[1])[0][0] > 0 > sampled(group[2])[0][0]
    with pytest.raises(BatchError):
        plugin.credit_episodes(group[:1], "rloo", single="error")


def test_groups_of_any_size_are_kept_apart_and_named_by_the_task_where_nobody_grouped() -> None:
    three = [episode(trace([[1]], r), group=None, key="x", id_=str(r)) for r in (1.0, 0.0, 0.5)]
    two = [episode(trace([[1]], r), group=None, key="y", id_=f"y{r}") for r in (3.0, 1.0)]
    plugin.credit_episodes([three[0], two[0], three[1], two[1], three[2]], "rloo")
    assert [sampled(e)[0][0] for e in three] == pytest.approx([0.75, -0.75, 0.0])
    assert [sampled(e)[0][0] for e in two] == pytest.approx([2.0, -2.0])
    with pytest.raises(BatchError, match="neither a group nor a task key"):
        plugin.credit_episodes([episode(trace([[1]]), group=None)], "rloo")


def test_shown_states_are_what_stood_before_the_turn() -> None:
    a = trace([[1], [2]], 1.0, shown=[[9], [50]], name="a")
    b = trace([[3], [2]], 0.0, shown=[[9], [50]], name="b")
    c = trace([[3], [2]], 0.0, shown=[[9], [51]], name="c")
    group = [episode(t, id_=t["id"]) for t in (a, b, c)]
    credit = plugin.credit_episodes(group, "gigpo", states="shown")
    assert credit is not None
    assert credit.batch.state is not None
    codes = credit.batch.state.codes.tolist()
    assert codes[0] == codes[3] == codes[6]  # the prompt
    assert codes[1] == codes[4] != codes[7]  # what the tool said


def test_tokens_a_method_drops_leave_prime_rls_denominator() -> None:
    group = pair(trace([[1], [2]], 1.0, name="a"), trace([[3], [4]], 0.0, name="b"))
    credit = plugin.credit_episodes(group, "rloo")
    assert credit is not None
    keep = np.ones(credit.batch.n_tokens, dtype=bool)
    keep[np.flatnonzero(credit.batch.action)[1]] = False  # the second turn of the first trace
    plugin._assign(group[0].traces[0].nodes, credit.token, credit.batch.action & keep, 0)
    branch = group[0].traces[0].branches[0]
    assert branch.loss_weights("rl") == [0, 0, 1, 0, 0, 0]
    assert branch.advantages == [0, 0, 1, 0, 0, 0]


def spoil(**fields: Any) -> dict[str, Any]:
    made = trace([[1, 2], [3]], 1.0, name="bad")
    made["nodes"][1].update(fields)
    return made


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (spoil(mask=[True]), "trace bad, node 1: the mask has 1 entries, but there are 3 tokens"),
        (spoil(logprobs=[-0.5]), "trace bad, node 1: logp has 1 numbers, but there are 2 policy tokens"),
        (spoil(logprobs=[-0.5, float("nan")]), "trace bad, node 1: logp of policy token 1 is nan"),
        (spoil(sampled=False), "trace bad, node 1: it was not sampled"),
        (trace([[1]], float("nan"), name="bad"), "trace bad: its rewards are nan"),
        (trace([[1]], 1.0, name="bad", info={"apportion": {"state": ["a", "b", "c"]}}), "trace bad: state has 3 keys"),
        (trace([[1]], 1.0, name="bad", info={"apportion": {"state": [["a"]]}}), "trace bad: a state key is a list"),
        (trace([[1]], 1.0, name="bad", info={"apportion": {"turn_reward": [1.0, 2.0]}}), "turn_reward has 2 entries"),
    ],
)
def test_bad_input_is_one_error_that_names_the_trace_and_writes_nothing(bad: dict[str, Any], words: str) -> None:
    group = pair(trace([[1, 2], [3]], 0.0, name="good"), bad)
    with pytest.raises(BatchError, match=words):
        plugin.credit_episodes(group, "rloo")
    assert sampled(group[0]) == [None, None]


def test_hand_over_counts_at_once() -> None:
    with pytest.raises(BatchError, match="state has 1 entries, but there are 2 sampled messages"):
        plugin.hand_over(episode(trace([[1], [2]])).traces[0], state=["s"])


def test_a_rollout_cut_off_is_known_to_be() -> None:
    group = pair(trace([[1]], 1.0, stop_condition="max_turns"), trace([[1]], 0.0))
    credit = plugin.credit_episodes(group, "rloo")
    assert credit is not None
    assert credit.batch.truncated is not None
    assert credit.batch.truncated.tolist() == [True, False]


def test_log_probs_missing_at_one_node_are_no_column_and_the_error_says_so() -> None:
    group = pair(spoil(logprobs=[]), trace([[1]], 0.0))
    assert plugin.credit_episodes(group, "rloo") is not None
    with pytest.raises(MissingColumn, match="no logp"):
        plugin.credit_episodes(group, "hca", fit=True)


def test_a_schema_nobody_read_is_refused() -> None:
    with pytest.raises(TrainerError, match="has schema 2"):
        plugin.credit_episodes([episode(trace([[1]], version=2))], "rloo")


def test_episodes_of_another_version_are_refused_where_verifiers_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(package: str) -> str:
        raise importlib.metadata.PackageNotFoundError(package)

    group = pair(trace([[1]], 1.0), trace([[2]], 0.0))
    monkeypatch.setattr(VERSION, lambda p: "0.5.0")
    with pytest.raises(TrainerError, match=r"verifiers >= 0\.4\.0, < 0\.5, not with 0\.5\.0"):
        plugin.credit_episodes(group, "rloo")
    assert sampled(group[0]) == [None]
    monkeypatch.setattr(VERSION, absent)  # read from a file, by classes of one's own
    plugin.credit_episodes(group, "rloo")
    assert sampled(group[0]) == [[1.0]]


def test_turn_rewards_that_happen_to_equal_the_outcomes_do_not_end_a_run() -> None:
    group = pair(trace([[1]], 1.0, name="a"), trace([[1]], 0.0, name="b"))
    for e, r in zip(group, (1.0, 0.0), strict=True):
        plugin.hand_over(e.traces[0], turn_reward=[r])
    with pytest.warns(UserWarning, match="given twice"):
        plugin.credit_episodes(group, "rloo")
    assert sampled(group[0]) == [[2.0]]


@pytest.mark.parametrize("method", ["turn_level_reward", "dr_mas"])
def test_credit_does_not_jump_where_turn_rewards_equal_the_outcomes(method: str) -> None:
    def credit(more: float) -> list[list[float]]:
        group = pair(trace([[1], [2]], 1.0 + more, name="a"), trace([[1], [2]], 0.5, name="b"))
        for e, paid in zip(group, ([1.0, 0.0], [0.5, 0.0]), strict=True):
            plugin.hand_over(e.traces[0], turn_reward=paid)
        plugin.credit_episodes(group, method)
        return sampled(group[0])

    with pytest.warns(UserWarning, match="given twice"):
        equal = credit(0.0)
    np.testing.assert_allclose(equal, credit(1e-6), atol=1e-3)


def test_agents_of_the_only_episode_left_are_no_company_for_a_method_that_goes_by_episodes() -> None:
    only = episode(*(trace([[1], [2]], r, name=a, agent=a) for a, r in (("solver", 1.0), ("checker", 0.0))))
    assert plugin.credit_episodes([only], "rloo") is None
    assert [n.advantages for t in only.traces for n in t.nodes if n.sampled] == [[0.0]] * 4
    assert plugin.credit_episodes([only], "grpo") is not None


@pytest.mark.parametrize(
    ("method", "options", "kind", "words"),
    [
        ("rloo", {"omega": 1}, OptionError, "rloo has no option 'omega'"),
        ("rloo", {"fit": True}, OptionError, "nothing to fit"),
        ("vineppo", {}, OptionError, "pass sampler="),
        ("vineppo", {"sampler": 3}, OptionError, "sampler is int"),
        ("gae", {"value": 1}, OptionError, "value is evidence"),
        ("turn_ppo", {"fit": True}, OptionError, "ratio = 'turn'"),
        ("ragen", {}, OptionError, "resamples rows"),
        ("hiper", {"fit": True}, MissingColumn, "no spans"),
        ("grpo", {"spread": "wide"}, ValueError, "spread = .wide."),
    ],
)
def test_what_does_not_fit_is_refused_before_prime_rl_is_touched(
    method: str, options: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        plugin.install(method, **options)


# --- prime-rl, as recorded ----------------------------------------------------------------------------


class Algorithm:
    action_loss_type: ClassVar[str] = "rl"

    def __init__(self, config: Any, policy_pool: Any):
        self.policy_pool = policy_pool
        self.connected_pools: list[Any] = []

    async def score_group(self, episodes: list[Any]) -> None: ...

    async def finalize_group(self, episodes: list[Any]) -> None:
        await self.score_group(episodes)


@pytest.fixture
def prime_rl(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    algo = ModuleType("prime_rl.orchestrator.algo")
    grpo, sft = type("GRPOAlgorithm", (Algorithm,), {}), type("SFT", (Algorithm,), {"action_loss_type": "ce"})
    vars(algo).update(Algorithm=Algorithm, ALGORITHM_CLASSES={"grpo": grpo, "sft": sft})
    orchestrator = ModuleType("prime_rl.orchestrator")
    vars(orchestrator).update(algo=algo)
    for name, module in (("prime_rl", ModuleType("prime_rl")), ("prime_rl.orchestrator", orchestrator), (algo.__name__, algo)):
        monkeypatch.setitem(sys.modules, name, module)
    found = importlib.metadata.version
    monkeypatch.setattr(VERSION, lambda p: "0.8.1.dev66" if p == "prime-rl" else found(p))
    return algo


def test_prime_rl_scores_a_group_with_the_method(prime_rl: ModuleType) -> None:
    with pytest.warns(UserWarning, match="filter_zero_advantages"):
        cls = plugin.install("rloo")
    assert prime_rl.ALGORITHM_CLASSES["grpo"] is cls
    algorithm = cls(SimpleNamespace(length_penalty=None), None)
    group = [*pair(trace([[1, 2]], 1.0), trace([[3]], 0.0)), episode(trace([[4]], None))]
    asyncio.run(algorithm.finalize_group(group))
    assert [sampled(e) for e in group] == [[[1.0, 1.0]], [[-1.0]], [[0.0]]]  # unscored: nothing to train on, as in prime-rl


def test_prime_rl_settings_that_would_be_ignored_or_lost_are_refused(prime_rl: ModuleType) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cls = plugin.install("rloo")
    with pytest.raises(OptionError, match="length_penalty"):
        cls(SimpleNamespace(length_penalty=object()), None)
    with pytest.raises(OptionError, match="rl loss: grpo"):
        plugin.install("rloo", replaces="sft")


def test_other_versions_and_signatures_of_prime_rl_are_refused(prime_rl: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    async def score_group(self: Any, group: Any, step: int) -> None: ...

    monkeypatch.setattr(Algorithm, "score_group", score_group)
    with pytest.raises(TrainerError, match="does not take"):
        plugin.install("rloo")
    monkeypatch.setattr(VERSION, lambda p: "0.9.0")
    with pytest.raises(TrainerError, match=r"verifiers >= 0\.4\.0, < 0\.5, not with 0\.9\.0"):
        plugin.install("rloo")


def test_a_method_of_whole_batches_says_that_it_sees_one_group(prime_rl: ModuleType) -> None:
    with pytest.warns(UserWarning, match="one group at a time"):
        plugin.install("reinforce_pp")
