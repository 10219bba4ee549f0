"""OpenRLHF: a method's credit in the place of its experience maker's advantages. See ``docs/openrlhf.md``.

OpenRLHF makes advantages of all rollouts of a step in its trainer's process, by a class that it names itself.
``python -m apportion.integrations.openrlhf --credit.method gigpo ...`` runs its own script with a trainer that has ours.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from ..edges.tensors import to_numpy
from ..errors import BatchError, OptionError
from . import honours, thin
from .named import split
from .observed import after_prompt
from .rows import Plan, Rows, credit_rows, plan, say
from .versions import check_version

#: OpenRLHF versions the plug-in was tested with: this one and above, below the other.
TESTED = ("0.11.2", "0.11.3")

SCRIPT = "openrlhf.cli.train_ppo_ray"
#: Where that script takes its trainers from.
TRAINERS = {"openrlhf.trainer.ppo_trainer": "PPOTrainer", "openrlhf.trainer.ppo_trainer_async": "PPOTrainerAsync"}
#: ``--actor.loss_agg_mode`` in our words for what a loss is averaged over.
DENOMINATORS = {"token-mean": "token", "seq-mean-token-mean": "sequence"}

WAYS = {
    "state": "`--credit.states observation`",
    "outcome": "`--algo.kl.use_loss`, or `--algo.kl.init_coef 0`",
    "value": "`--algo.advantage.estimator gae`",
    "ref_logp": "`--algo.kl.use_loss`",
}
COLUMNS = ("reward", "group", "ids", "logp", "truncated")
LOSS = honours.Honours("OpenRLHF", frozenset({"token", "sequence"}), keep=True, denominator=None)
PLACE = thin.Place("OpenRLHF", (*COLUMNS, *WAYS), LOSS, WAYS)  # where its options bring all that they can


def at_start(args: Any, method: str, options: Mapping[str, Any]) -> Plan:
    """The plan for OpenRLHF's arguments (as ``hierarchize`` nests them). Refuses what would fail or go wrong in training."""
    check_version("openrlhf", TESTED, "apportion's plug-in")
    if args.train.async_enable:
        raise OptionError("--train.async_enable: OpenRLHF then makes its trainer by name in another process, out of our reach")
    ratio = "sequence" if args.actor.policy_loss_type == "gspo" else "token"  # gspo's is a factor: credit stays at its token
    denominator = "sequence" if ratio == "sequence" else DENOMINATORS.get(args.actor.loss_agg_mode)
    columns = {*COLUMNS} | ({"value"} if args.critic.model_name_or_path else set())
    columns |= {"ref_logp"} if args.algo.kl.use_loss and args.algo.kl.init_coef > 0 else set()
    columns |= set() if _penalised(args) else {"outcome"}
    loss = honours.Honours("OpenRLHF", frozenset({"token", ratio}), keep=True, denominator=denominator)
    place = thin.Place("OpenRLHF", columns, loss, WAYS)
    return say(plan(place, method, options, group_size=int(args.rollout.n_samples_per_prompt)))


def crediting(base: type) -> Any:
    """``base``, a ``RemoteExperienceMaker``, with the advantages of ``plan``."""

    class CreditMaker(base):  # type: ignore[misc]
        plan: Plan
        steps = 0

        def compute_advantages_and_returns(self, experiences: list[Any]) -> Any:
            n = int(self.args.rollout.n_samples_per_prompt)
            check_groups(experiences, n)
            kls = [e.kl for e in experiences]  # OpenRLHF drops them
            made = super().compute_advantages_and_returns(experiences)
            coefficient = self.kl_ctl.value if _penalised(self.args) else 0.0
            done = credit_rows(self.plan, rows_of(made, kls, coefficient, self.args.reward.clip_range, n), self.steps)
            self.steps += 1
            at = 0
            for e in made:
                here = (slice(at, at + len(e.action_mask)), slice(1, 1 + e.action_mask.shape[1]))
                e.advantages, e.returns = (e.advantages.new_tensor(x[here]) for x in (done.token, done.returns))
                e.action_mask = e.action_mask * e.action_mask.new_tensor(done.keep[here])
                at = here[0].stop
            return made

    return CreditMaker


def rows_of(experiences: Sequence[Any], kls: Sequence[Any], coefficient: float, clip: Any, n: int) -> Rows:
    """Whole sequences, a row each. OpenRLHF's numbers of tokens begin at the second, as a first one has no log-prob."""
    width = max(e.sequences.shape[1] for e in experiences)

    def whole(name: str) -> Any:
        parts = [getattr(e, name) for e in experiences]
        return None if any(x is None for x in parts) else stacked(parts, width)

    action, ids = whole("action_mask") != 0, whole("sequences").astype(np.int64)
    attention, prompt = after_prompt(action, ids, whole("attention_mask"))
    outcome = np.concatenate([_array(e.rewards) for e in experiences])
    outcome = np.clip(outcome, *clip) if clip else outcome
    reward = None
    if coefficient > 0:
        reward = np.where(action, -coefficient * stacked(kls, width), 0.0)
        last = width - 1 - np.argmax(action[:, ::-1], axis=1)  # where nothing was written, it enters nothing either
        reward[np.arange(len(reward)), last] += outcome
    names = {"logp": "action_log_probs", "ref_logp": "base_action_log_probs", "value": "values"}
    columns = {name: whole(theirs) for name, theirs in names.items()}
    columns |= {"group": [i // n for e in experiences for i in e.index], "ids": ids, "attention": attention}
    columns["outcome"] = outcome if reward is None else None
    if all(e.truncated is not None for e in experiences):
        columns["truncated"] = [bool(x) for e in experiences for x in _array(e.truncated)]
    return Rows(action, reward, prompt, columns)


def check_groups(experiences: Sequence[Any], n: int) -> None:
    """Every prompt has ``n`` rollouts, and they stand together: OpenRLHF tells groups by place alone."""
    prompts: dict[int, set[str]] = {}
    at = [i for e in experiences for i in e.index]
    if sorted(at) != list(range(len(at))) or len(at) % n:
        raise BatchError(f"there are {len(at)} rollouts, which are no groups of {n} (--rollout.n_samples_per_prompt)")
    for e in experiences:
        if len(e.action_mask) != len(e.index) or e.action_mask.shape[1] != e.sequences.shape[1] - 1:
            shapes = f"shape {tuple(e.action_mask.shape)}, but sequences {tuple(e.sequences.shape)}"
            raise BatchError(f"action_mask of rollouts {e.index} has {shapes}: expected a row each, and one column less")
        for i, prompt in zip(e.index, e.prompts, strict=False):
            prompts.setdefault(i // n, set()).add(prompt)
    for group, found in prompts.items():
        if len(found) > 1:
            raise BatchError(f"rollouts {group * n} to {group * n + n - 1} should answer one prompt, but answer {len(found)}")


def trainer(base: type, method: str, options: Mapping[str, Any]) -> type:
    """OpenRLHF's trainer with our experience maker in the place of its own."""

    class CreditTrainer(base):  # type: ignore[misc]
        experience_maker: Any

        def __init__(self, pretrain: Any, strategy: Any, *args: Any, **kwargs: Any) -> None:
            made = at_start(strategy.args, method, options)
            super().__init__(pretrain, strategy, *args, **kwargs)
            models = (self.actor_model_group, self.critic_model_group, self.reward_model_group, self.reference_model_group)
            maker = crediting(type(self.experience_maker))(*models, self.kl_ctl, self.strategy, self.tokenizer)
            maker.plan = made
            self.experience_maker = maker

    return CreditTrainer


class Launch:
    """What OpenRLHF's script finds under its trainer's name: it checks before a model is loaded, then makes ours."""

    def __init__(self, base: Any, method: str, options: Mapping[str, Any]) -> None:
        self.base, self.method, self.options = base, method, dict(options)

    def remote(self, pretrain: Any, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        import ray

        at_start(strategy.args, self.method, self.options)
        plain = self.base.__ray_metadata__.modified_class.__ray_actor_class__
        return ray.remote(trainer(plain, self.method, self.options)).remote(pretrain, strategy, *args, **kwargs)


def launch(method: str, argv: Sequence[str], **options: Any) -> None:
    """Run OpenRLHF's own script with its own arguments ``argv``, and credit by ``method``."""
    check_version("openrlhf", TESTED, "apportion's plug-in")
    plan(PLACE, method, options)
    for module, name in TRAINERS.items():
        found = import_module(module)
        setattr(found, name, Launch(getattr(found, name), method, options))
    sys.argv = [SCRIPT, *argv]
    runpy.run_module(SCRIPT, run_name="__main__")


def stacked(parts: Sequence[Any], width: int) -> Any:
    """Micro-batches under one another; a column short of a sequence begins at its second token."""
    arrays = [_array(x) for x in parts]
    wide = max(x.shape[1] for x in arrays)
    return np.concatenate([np.pad(x, ((0, 0), (width - wide, wide - x.shape[1]))) for x in arrays]).astype(np.float64)


def _penalised(args: Any) -> bool:
    return args.algo.kl.init_coef > 0 and not args.algo.kl.use_loss


def _array(tensor: Any) -> Any:
    return to_numpy("tensor", tensor)


def main() -> None:
    given, theirs = split(sys.argv[1:])
    launch(given.pop("method"), theirs, **given)


if __name__ == "__main__":
    import_module("apportion.integrations.openrlhf").main()  # so that what is sent to other processes is not of __main__
