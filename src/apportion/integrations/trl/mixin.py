"""The mixin: TRL generates and scores, a method of ours says which token earned it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from ... import pipeline
from ...errors import BatchError
from ...words import check_word
from ..in_front import check_in_front
from ..versions import check_version
from .processes import array, gather, loss_mask, on_main, weighted
from .resume import Carried, Resumes, carrying, check_carry
from .rollouts import Credited, Rollout, credited
from .start import TESTED, check_class, check_method

States = Literal["given", "observation"]


class CreditMixin(Resumes):
    """Put in front of ``GRPOTrainer``, gives its loss (B, T) advantages by any method that TRL can feed.

        class Trainer(CreditMixin, GRPOTrainer): ...
        Trainer(model, rewards, args=config, train_dataset=data, credit="gigpo", credit_options={"omega": 0.5})

    credit: id of the method. credit_options: its options, and what ``apportion.assign`` takes besides:
    ``fit=True``, ``learned=``, and a live source (``sampler``, ``policy``, ``judge``). states: "given"
    takes state keys from ``rollout_func`` (``states``) or from the environments (attribute ``state``);
    "observation" makes each turn's key from the tokens shown just before it. carry: what ``fit=True`` learns
    goes on from batch to batch, for methods whose ``fit`` takes ``state=`` (which is where it starts, if given
    among the options); checkpoints hold it. All else is TRL's.

    Turns are the runs of policy tokens (``tool_mask``; tool results stand between any two), or what
    ``rollout_func`` returns as ``turn_ids``. Rewards: the weighted sum of the reward functions is the
    outcome; ``turn_rewards`` (``rollout_func``) or the growth of an environment's attribute ``earned``
    come on top of it. Credit is computed on the main process over the whole generation batch.

    Raises :class:`~apportion.errors.TrainerError` for TRL versions and trainers it was not tested with, and
    :class:`~apportion.errors.OptionError` before the model is loaded where method, options and loss do not fit.
    """

    # what GRPOTrainer has
    accelerator: Any
    args: Any
    model: Any
    environments: Any
    eos_token_ids: Any
    reward_weights: Any
    num_generations: int
    num_generations_eval: int
    max_completion_length: int
    _logs: Any
    _metrics: Any
    _tokenizer: Any

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        check_class(cls)
        check_in_front(cls, CreditMixin, "_generate_and_score_completions")

    def __init__(
        self,
        *args: Any,
        credit: str = "grpo",
        credit_options: Mapping[str, Any] | None = None,
        states: States = "given",
        carry: bool = False,
        **more: Any,
    ) -> None:
        from trl import GRPOConfig

        check_class(type(self))
        check_word(states, States, "states")
        config = next((a for a in (*args, *more.values()) if isinstance(a, GRPOConfig)), GRPOConfig)
        may_have = states == "observation" or bool(more.get("rollout_func") or more.get("environment_factory"))
        self.credit_options = dict(credit_options or {})
        self._credit, self._honours, remarks = check_method(
            credit, self.credit_options, config, states=may_have, logprobs=bool(more.get("rollout_func"))
        )
        self._carry = carry
        if carry:
            check_carry(self._credit, self.credit_options)
        self._carried = Carried(learned=self.credit_options.pop("state", None) if carry else None)
        self._states_from = states
        self._said: set[str] = set()
        self._told = bool(remarks)
        self._written: list[tuple[int, Any]] = []
        self._seen: list[list[tuple[Any, Any]]] = []
        parent: Any = super()
        parent.__init__(*args, **more)
        self._say(remarks)

    # --- what TRL does not keep, noted as it passes -------------------------------------------------
    def _generate(self, prompts: Any) -> Any:
        """TRL's, noting lengths and masks before truncated completions are masked, and where each environment ends."""
        self._seen = []
        parent: Any = super()
        found = parent._generate(prompts)
        completion_ids, mask = found[1], found[2]
        self._written = [(len(ids), None if mask is None else mask[i]) for i, ids in enumerate(completion_ids)]
        for i, (n, wrote) in enumerate(self._written):
            if wrote is not None and len(wrote) != n:  # TRL would pad it, and train on what the environment wrote
                raise BatchError(f"env_mask of completion {i} has {len(wrote)} entries, but it has {n} tokens")
        self._look()
        return found

    def _generate_single_turn(self, *args: Any, **more: Any) -> Any:
        """TRL's, noting the state of each environment before the turn: all run in step, a turn a call."""
        self._look()
        parent: Any = super()
        return parent._generate_single_turn(*args, **more)

    def _look(self) -> None:
        if self.environments:
            self._seen.append([(getattr(e, "state", None), getattr(e, "earned", None)) for e in self.environments])

    def _calculate_rewards(self, *args: Any, **more: Any) -> Any:
        """TRL's rewards per function, of all processes, kept for the credit."""
        parent: Any = super()
        self._rewards = parent._calculate_rewards(*args, **more)
        return self._rewards

    # --- the one method that matters ------------------------------------------------------------------
    def _generate_and_score_completions(self, inputs: Any) -> Any:
        """TRL's output with ``advantages`` (B, T); ``tool_mask`` and ``num_items_in_batch`` follow what leaves the loss."""
        import torch

        rows = [dict(row) for row in inputs]  # TRL merges what rollout_func returns into them: no two may be one object
        parent: Any = super()
        output = parent._generate_and_score_completions(rows)
        mode = "train" if self.model.training else "eval"
        mine = self._rollouts(rows, output, mode)
        everyone, me = gather(mine), self.accelerator.process_index
        outcome = weighted(self._rewards, self.reward_weights)
        size = self.num_generations if mode == "train" else self.num_generations_eval
        for i, rollout in enumerate(everyone):
            rollout.outcome, rollout.group = float(outcome[i]), i // size
        self._carried.batches += 1
        found = on_main(self.accelerator, lambda: self._assign(everyone, mode))
        self._say([] if self._told else found.remarks)  # what was said at start needs no second sentence
        here = [i for i, rollout in enumerate(everyone) if rollout.process == me]
        shape = output["completion_mask"].shape
        token, keep = np.zeros(shape), np.zeros(shape, dtype=np.bool_)
        for k, i in enumerate(here):
            n = found.token[i].size
            token[k, :n], keep[k, :n] = found.token[i], found.keep[i]
        before = output["advantages"]
        output["advantages"] = torch.as_tensor(token, dtype=before.dtype, device=before.device)
        self._apply_keep(output, keep)
        for name, value in found.metrics.items():
            self._metrics[mode][name].append(value)
        self._relog(found)
        return output

    def _rollouts(self, rows: Sequence[Any], output: Mapping[str, Any], mode: str) -> list[Rollout]:
        """One record per local completion; outcome and group come with those of the other processes."""
        ids, trained = array(output["completion_ids"]), array(loss_mask(output)) != 0
        prompts, prompt_mask = array(output["prompt_ids"]), array(output["prompt_mask"]) != 0
        logp = output.get("sampling_per_token_logps", output.get("old_per_token_logps"))
        logps = {"logp": logp, "ref_logp": output.get("ref_per_token_logps")}
        known = {name: array(values).astype(np.float64) for name, values in logps.items() if values is not None}
        ends = {*self.eos_token_ids, self._tokenizer.pad_token_id}
        found = []
        for i, (row, (n, mask)) in enumerate(zip(rows, self._written, strict=True)):
            action = np.ones(n, dtype=np.bool_) if mask is None else np.asarray(mask) != 0
            seen = self._environment_record(i, action)
            found.append(
                Rollout(
                    process=self.accelerator.process_index,
                    group=-1,
                    outcome=np.nan,
                    action=action,
                    trained=trained[i, :n],
                    ids=ids[i, :n].astype(np.int64),
                    truncated=int(ids[i, n - 1]) not in ends,
                    prompt=prompts[i][prompt_mask[i]].astype(np.int64).tobytes(),
                    turn_ids=row.get("turn_ids"),
                    states=row.get("states", seen[0]),
                    turn_rewards=row.get("turn_rewards", seen[1]),
                    **{name: np.where(action, values[i, :n], 0.0) for name, values in known.items()},
                )
            )
        return found

    def _environment_record(self, i: int, action: Any) -> tuple[list[Any] | None, list[float] | None]:
        """State keys (turns + 1) and rewards (turns) of completion i, from what was noted before each turn and at the end."""
        turns = int((action & ~np.append(False, action[:-1])).sum())
        noted = [look[i] for look in (*self._seen[:turns], *self._seen[-1:])]
        states, earned = [state for state, _ in noted], [total for _, total in noted]
        if all(state is None for state in states) and all(total is None for total in earned):
            return None, None
        if len(noted) != turns + 1:
            raise BatchError(
                f"completion {i} has {turns} turns, but the tool loop generated {len(noted) - 1} times: let rollout_func return "
                "'states' and 'turn_rewards' itself"
            )
        rewards = None if any(e is None for e in earned) else [float(b) - float(a) for a, b in pairwise(earned)]
        return (None if all(s is None for s in states) else states), rewards

    def _assign(self, everyone: Sequence[Rollout], mode: str) -> Credited:
        return credited(
            everyone,
            self._credit,
            self.credit_options,
            self._honours,
            limit=self.max_completion_length,
            rng=np.random.default_rng([self.args.seed, self._carried.batches]),
            observations=self._states_from == "observation",
            assign=carrying(self._credit, self._carried, keep=mode == "train") if self._carry else pipeline.assign,
        )

    def _apply_keep(self, output: dict[str, Any], keep: Any) -> None:
        """Take dropped tokens out of the loss mask and of TRL's count; attention is left as it is."""
        import torch

        mask = loss_mask(output)
        stays = torch.as_tensor(keep, device=mask.device)
        dropped = self.accelerator.gather((mask.bool() & ~stays).sum()).sum()
        if dropped == 0:
            return
        tools = output.get("tool_mask", torch.ones_like(output["completion_mask"]))
        output["tool_mask"] = tools * stays.to(tools.dtype)
        output["num_items_in_batch"] = self.accelerator.gather(loss_mask(output).sum()).sum()

    def _relog(self, found: Credited) -> None:
        """TRL's table of completions shows the mean credit of each instead of the advantage TRL computed."""
        means = [float(token[keep].mean()) if keep.any() else 0.0 for token, keep in zip(found.token, found.keep, strict=True)]
        logged = self._logs["advantages"]
        means = means[-len(logged) :] if len(logged) else []
        for k, mean in enumerate(means, start=len(logged) - len(means)):
            logged[k] = mean

    def _say(self, remarks: Sequence[str]) -> None:
        """Each sentence once, on the main process."""
        for remark in remarks:
            if remark not in self._said and self.accelerator.is_main_process:
                warnings.warn(remark, UserWarning, stacklevel=3)
            self._said.add(remark)


def ready_trainer() -> type:
    """``CreditGRPOTrainer``: the mixin in front of TRL's GRPOTrainer."""
    check_version("trl", TESTED, "apportion's plug-in")
    from trl import GRPOTrainer

    return type("CreditGRPOTrainer", (CreditMixin, GRPOTrainer), {"__doc__": CreditMixin.__doc__, "__module__": __package__})
