"""OpenRLHF: its own experience maker (0.11.2), with our advantages in the place of its own.

What its modules import for GPUs is stood in for. Models, vLLM and its script are not run; the trainer is one with the
signature of ``BasePPOTrainer.__init__`` in ``openrlhf/trainer/ppo_trainer.py``.
"""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
if find_spec("openrlhf") is None:
    pytest.skip("OpenRLHF is not installed", allow_module_level=True)

import torch

import apportion as ap
from apportion.credit import Credit
from apportion.errors import ApportionError, BatchError, MissingColumn, OptionError, TrainerError
from apportion.integrations import method_table
from apportion.integrations import openrlhf as ours
from apportion.integrations.conformance.openrlhf import GPU_ONLY
from apportion.integrations.conformance.standins import standing_in

with standing_in(GPU_ONLY):
    from openrlhf.trainer.ppo_utils.experience import Experience
    from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker
    from openrlhf.utils.config import hierarchize

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
DOCS = Path(__file__).parents[2] / "docs"


def arguments(**changed: Any) -> Any:
    """The options that are read, at OpenRLHF's defaults but for the KL penalty."""
    given = {
        "algo.advantage.estimator": "reinforce", "algo.advantage.gamma": 1.0, "algo.advantage.lambd": 1.0,
        "algo.advantage.no_std_norm": False, "algo.kl.init_coef": 0.0, "algo.kl.use_loss": False,
        "rollout.n_samples_per_prompt": 2, "reward.clip_range": (-10, 10), "actor.policy_loss_type": "ppo",
        "actor.loss_agg_mode": "token-mean", "critic.model_name_or_path": None, "train.async_enable": False,
    }  # fmt: skip
    return hierarchize(Namespace(**{**given, **{name.replace("__", "."): value for name, value in changed.items()}}))


def maker(method: str, args: Any | None = None, **options: Any) -> Any:
    args = arguments() if args is None else args
    made = ours.crediting(RemoteExperienceMaker)(*[None] * 4, SimpleNamespace(value=args.algo.kl.init_coef), strategy(args), None)
    made.plan = ours.at_start(args, method, options)
    return made


def strategy(args: Any) -> Any:
    return SimpleNamespace(args=args)


def own(args: Any) -> Any:
    return RemoteExperienceMaker(*[None] * 4, SimpleNamespace(value=args.algo.kl.init_coef), strategy(args), None)


def micro(rows: list[tuple[list[int], list[int]]], rewards: list[float], index: list[int], **more: Any) -> Any:
    """A micro-batch as OpenRLHF makes it, padded to the right. rows: (ids, mask of all of them) each."""
    width = max(len(ids) for ids, _ in rows)
    ids, mask, real = (
        torch.tensor([list(x) + [0] * (width - len(x)) for x in part])
        for part in ([r[0] for r in rows], [r[1] for r in rows], [[1] * len(r[0]) for r in rows])
    )
    made = Experience(sequences=ids, attention_mask=real, action_mask=mask[:, 1:], index=index, prompts=["p"] * len(rows))
    made.rewards, made.kl = torch.tensor(rewards), torch.zeros(len(rows), width - 1)
    made.action_log_probs = -0.5 * made.action_mask
    made.truncated = torch.tensor([False] * len(rows))
    for name, value in more.items():
        setattr(made, name, value)
    return made


def shop() -> list[Any]:
    """Two prompts of two rollouts in two micro-batches of different widths, as dynamic batches shuffle them."""
    a = [([1, 2, 11, 7, 13], [0, 0, 1, 0, 1]), ([1, 2, 3, 14, 8], [0, 0, 0, 1, 0])]  # the second was cut off in its turn
    b = [([1, 2, 3, 11, 7, 14], [0, 0, 0, 1, 0, 1]), ([1, 2, 14, 8, 13], [0, 0, 1, 0, 1])]
    return [
        micro(a, [1.0, 0.0], [0, 3], prompts=["a", "b"], truncated=torch.tensor([False, True])),
        micro(b, [1.0, 0.0], [2, 1], prompts=["b", "a"]),
    ]


def noise(seed: int) -> list[Any]:
    """Two micro-batches of three rollouts of two prompts, one turn each, with values and penalties."""
    rng = np.random.default_rng(seed)
    made = []
    for k in range(2):
        rows = [(rng.integers(1, 50, n + m).tolist(), [0] * n + [1] * m) for n, m in rng.integers(1, 5, (3, 2))]
        e = micro(rows, rng.normal(size=3).tolist(), [3 * k, 3 * k + 1, 3 * k + 2])
        for name in ("values", "kl"):
            setattr(e, name, torch.tensor(rng.normal(size=e.action_mask.shape), dtype=torch.float32) * e.action_mask)
        made.append(e)
    return made


def flat(done: list[Any], name: str = "advantages") -> list[float]:
    return [float(x) for e in done for x in getattr(e, name)[e.action_mask.bool()]]


def test_credit_stands_at_the_tokens_the_policy_wrote_whatever_the_micro_batches() -> None:
    first, second = maker("pooled_td", states="observation").compute_advantages_and_returns(shop())
    batch = ap.Batch.from_padded(  # in the order of the micro-batches
        action=np.array([[1, 0, 1], [1, 0, 0], [1, 0, 1], [1, 0, 1]]),
        attention=np.array([[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 1, 1]]), turns="mask",
        outcome=[1.0, 0.0, 1.0, 0.0], group=[0, 1, 1, 0], truncated=[False, True, False, False],
        state=[["p", 7, None], ["q", 8], ["q", 7, None], ["p", 8, None]],
    )  # fmt: skip
    credit = ap.assign(batch, "pooled_td")
    assert isinstance(credit, Credit)
    expected = credit.to_padded()
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(first.advantages.numpy(), [[0, *expected[0]], [0, 0, *expected[1][:2]]], atol=1e-6)
    np.testing.assert_allclose(second.advantages.numpy(), [[0, 0, *expected[2]], [0, *expected[3], 0]], atol=1e-6)
    assert first.advantages.dtype == torch.float32


@pytest.mark.parametrize(("estimator", "method", "options"), [
    ("rloo", "rloo", {}), ("group_norm", "grpo", {"eps": 1e-9}), ("dr_grpo", "grpo", {"spread": "none"}),
])  # fmt: skip
def test_group_baselines_through_the_plug_in_are_openrlhfs_own(estimator: str, method: str, options: dict[str, Any]) -> None:
    args = arguments(rollout__n_samples_per_prompt=3, algo__advantage__estimator=estimator)
    theirs = flat(own(args).compute_advantages_and_returns(noise(1)))
    found = flat(maker(method, args, **options).compute_advantages_and_returns(noise(1)))
    np.testing.assert_allclose(found, theirs, atol=2e-6)


@pytest.mark.parametrize("coefficient", [0.0, 0.2])
def test_gae_of_one_turn_through_the_plug_in_is_openrlhfs_own(coefficient: float) -> None:
    changed = {"algo__advantage__estimator": "gae", "algo__advantage__gamma": 0.97, "algo__advantage__lambd": 0.9}
    changed |= {"critic__model_name_or_path": "c", "rollout__n_samples_per_prompt": 1, "algo__kl__init_coef": coefficient}
    args = arguments(**changed)
    theirs = own(args).compute_advantages_and_returns(noise(2))
    raw = [float(x) for e in theirs for x in (e.returns - e.values)[e.action_mask.bool()]]  # before it whitens
    done = maker("gae", args, gamma=0.97, lam=0.9).compute_advantages_and_returns(noise(2))
    np.testing.assert_allclose(flat(done), raw, atol=2e-6)
    np.testing.assert_allclose(flat(done, "returns"), flat(theirs, "returns"), atol=2e-6)


def test_rewards_are_clipped_as_openrlhf_is_told() -> None:
    done = maker("rloo", arguments(reward__clip_range=(0.0, 0.5))).compute_advantages_and_returns(shop())
    np.testing.assert_allclose(done[0].advantages[0, 1], 0.5)


def test_what_credit_drops_leaves_the_mask_of_the_loss() -> None:
    rows = [([1, 11, 7, 13], [0, 1, 0, 1])] * 2
    [done] = maker("carl").compute_advantages_and_returns([micro(rows, [1.0, 1.0], [0, 1])])
    assert int(done.action_mask.sum()) < 4
    assert done.action_mask.dtype == torch.int64


def test_rollouts_without_policy_tokens_enter_no_statistic_and_neither_does_who_is_left_alone() -> None:
    rows = [([1, 11, 13], [0, 1, 1]), ([1, 12, 14], [0, 0, 0])]
    [done] = maker("rloo").compute_advantages_and_returns([micro(rows, [1.0, 0.0], [0, 1])])
    assert not done.advantages.any()


def test_batches_are_told_apart_by_their_number() -> None:
    made = maker("rloo")
    made.compute_advantages_and_returns(shop())
    made.compute_advantages_and_returns(shop())
    assert made.steps == 2


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        (lambda: shop()[:1], "no groups of 2"),
        (lambda: [micro([([1, 11], [0, 1])] * 3, [1.0] * 3, [0, 1, 2])], "3 rollouts.*groups of 2"),
        (lambda: [micro([([1, 11], [0, 1])] * 2, [1.0, 0.0], [0, 1], prompts=["a", "b"])], "rollouts 0 to 1.*answer 2"),
        (lambda: [micro([([1, 11], [0, 1])] * 2, [1.0, 0.0], [0, 1], action_mask=torch.ones(2, 2))], r"shape \(2, 2\)"),
        (lambda: [micro([([1, 11], [0, 1])] * 2, [1.0, float("nan")], [0, 1])], "outcome of row 1 is nan"),
    ],
)
def test_batches_that_are_wrong_are_refused_by_name(batch: Any, says: str) -> None:
    with pytest.raises(BatchError, match=says):
        maker("rloo").compute_advantages_and_returns(batch())


def test_log_probs_that_are_none_name_the_row() -> None:
    bad = micro([([1, 11], [0, 1])] * 2, [1.0, 0.0], [0, 1], action_log_probs=torch.tensor([[-1.0], [float("nan")]]))
    with pytest.raises(BatchError, match=r"logp of row 1 is nan \(token 1\)"):
        maker("reinforce_pp", beta=0.1).compute_advantages_and_returns([bad]) if "logp" in ap.registry.get(
            "reinforce_pp"
        ).reads else maker("hca", fit=True).compute_advantages_and_returns([bad])


@pytest.mark.parametrize(
    ("method", "options", "changed", "error", "says"),
    [
        ("rlo", {}, {}, ApportionError, "rlo"),
        ("rloo", {"gamma": 0.9}, {}, OptionError, "gamma"),
        ("rloo", {"states": "seen"}, {}, OptionError, "states"),
        ("gigpo", {}, {}, MissingColumn, "credit.states observation"),
        ("dr_mas", {}, {}, MissingColumn, "agent"),
        ("ragen", {}, {}, OptionError, "resamples rows"),
        ("turn_ppo", {}, {"critic__model_name_or_path": "c"}, OptionError, "loss.ratio"),
        ("gae", {}, {}, ApportionError, "estimator gae"),
        ("prl", {}, {"algo__kl__init_coef": 0.1}, MissingColumn, "use_loss"),
        ("rloo", {}, {"train__async_enable": True}, OptionError, "async_enable"),
        ("rloo", {}, {"rollout__n_samples_per_prompt": 1}, OptionError, "1 of each"),
    ],
)
def test_what_would_go_wrong_is_refused_at_start(
    method: str, options: dict[str, Any], changed: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        ours.at_start(arguments(**changed), method, options)


def test_what_fits_is_taken_and_what_is_averaged_otherwise_is_said() -> None:
    assert ours.at_start(arguments(algo__kl__use_loss=True, algo__kl__init_coef=0.1), "prl", {})
    assert ours.at_start(arguments(actor__policy_loss_type="gspo"), "grpo", {})
    with pytest.warns(UserWarning, match="denominator 'trajectory'.*'token'"):
        ours.at_start(arguments(), "rloo", {})


def test_another_version_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apportion.integrations.versions.version", lambda _: "0.12.0")
    with pytest.raises(TrainerError, match=r"openrlhf >= 0\.11\.2.*not with 0\.12\.0"):
        ours.at_start(arguments(), "rloo", {})


class Base:
    """``BasePPOTrainer`` as far as it is read."""

    def __init__(self, pretrain: Any, strategy: Any, actor: Any, critic: Any, reward: Any, reference: Any, **kwargs: Any) -> None:
        self.actor_model_group, self.critic_model_group = actor, critic
        self.reward_model_group, self.reference_model_group = reward, reference
        self.kl_ctl, self.strategy, self.tokenizer = SimpleNamespace(value=0.0), strategy, "tokenizer"
        self.experience_maker = RemoteExperienceMaker(actor, critic, reward, reference, self.kl_ctl, strategy, "tokenizer")


def test_the_trainer_has_our_experience_maker_with_all_its_models() -> None:
    made: Any = ours.trainer(Base, "rloo", {})("model", strategy(arguments()), "a", "c", "r", "i")
    mine = made.experience_maker
    assert isinstance(mine, RemoteExperienceMaker)
    groups = (mine.actor_model_group, mine.critic_model_group, mine.reward_model_group, mine.initial_model_group)
    assert groups == ("a", "c", "r", "i")
    assert mine.tokenizer == "tokenizer"
    assert mine.compute_advantages_and_returns(shop())[0].advantages[0, 1] == 1.0
    with pytest.raises(OptionError, match="async"):
        ours.trainer(Base, "rloo", {})("model", strategy(arguments(train__async_enable=True)), "a", "c", "r", "i")


def test_the_script_finds_a_trainer_that_checks_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    with standing_in(GPU_ONLY):
        from openrlhf.trainer import ppo_trainer, ppo_trainer_async
    for module in (ppo_trainer, ppo_trainer_async):  # so that their own names come back
        monkeypatch.setattr(module, ours.TRAINERS[module.__name__], getattr(module, ours.TRAINERS[module.__name__]))
    monkeypatch.setattr(sys, "argv", [])
    ran: list[list[str]] = []
    monkeypatch.setattr("runpy.run_module", lambda name, run_name: ran.append([name, run_name, *sys.argv]))
    with pytest.raises(OptionError, match="gamma"):
        ours.launch("rloo", [], gamma=0.9)
    assert ran == []
    ours.launch("rloo", ["--rollout.batch_size", "8"], seed=1)
    assert ran == [[ours.SCRIPT, "__main__", ours.SCRIPT, "--rollout.batch_size", "8"]]
    with pytest.raises(OptionError, match="async_enable"):
        ppo_trainer_async.PPOTrainerAsync.remote("model", strategy(arguments(train__async_enable=True)))
    made: list[type] = []

    def remote(cls: type) -> Any:
        made.append(cls)
        return SimpleNamespace(remote=lambda *_, **__: "actor")

    monkeypatch.setattr(ray, "remote", remote)
    assert ppo_trainer.PPOTrainer.remote("model", strategy(arguments())) == "actor"
    assert made[0].__mro__[2] is ppo_trainer.BasePPOTrainer


def test_the_example_runs_as_written_and_prints_what_the_page_shows() -> None:
    script, page = DOCS / "examples" / "openrlhf_quickstart.py", (DOCS / "openrlhf.md").read_text()
    assert len(script.read_text().splitlines()) < 30
    assert script.read_text().strip() in page
    assert method_table.page(ours.PLACE, page) == page
    run = (
        "import runpy, sys; from apportion.integrations.conformance.openrlhf import GPU_ONLY\n"
        "from apportion.integrations.conformance.standins import standing_in\n"
        "with standing_in(GPU_ONLY): runpy.run_path(sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", run, str(script)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in page
