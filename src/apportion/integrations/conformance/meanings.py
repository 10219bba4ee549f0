"""What each trainer means, as one of our calls; which cases it can be given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .cases import CASES, ENDS, Case, GaeCase

Groups = Literal["any", "equal", "pairs"]


@dataclass(frozen=True)
class Meaning:
    """One setting of one trainer. id: how its adapter file knows it.

    method, options: our call that means the same; options None where there is none, and ``note`` says why.
    masked_reward: where ``from_padded`` puts a reward on an observation token. groups: the sizes it takes
    ("equal": all the same; "pairs": the same, at least two). one_group: the batch is one group. whitens: whether
    our option whitens as it does. ends: whether we know what it does with a rollout that ends in a tool's answer.
    """

    peer: str
    id: str
    setting: str
    method: str
    options: Mapping[str, Any] | None = field(default_factory=dict)
    masked_reward: str = "move"
    groups: Groups = "any"
    one_group: bool = False
    whitens: bool = True
    ends: bool = True
    note: str = ""

    @property
    def default(self) -> str:
        """Our method by default: what the numbers are compared with."""
        return "gae" if self.method == "gae" else "grpo"

    def takes(self, case: Case) -> bool:
        if isinstance(case, GaeCase):
            return self.method == "gae" and (self.whitens or not case.whiten) and (self.ends or case is not ENDS)
        if self.method == "gae":
            return False
        return self.groups == "any" or case.size > (1 if self.groups == "pairs" else 0)

    def cases(self) -> list[Case]:
        return [case for case in CASES if self.takes(case)]

    @property
    def call(self) -> str:
        """Our call in words: ``gae semantics='skyrl', masked_reward='keep'``."""
        if self.options is None:
            return "no option"
        said = [f"{name}={value!r}" for name, value in self.options.items()]
        said += ["one group"] if self.one_group else []
        said += [f"masked_reward={self.masked_reward!r}"] if self.masked_reward != "move" else []
        return " ".join([self.method, *([", ".join(said)] if said else [])])


def _gae(peer: str, semantics: str, masked: str, setting: str = "GAE", **more: Any) -> Meaning:
    options = {} if semantics == "skip" else {"unit": "turn"} if semantics == "turn" else {"semantics": semantics}
    return Meaning(peer, "gae", setting, "gae", options, masked, **more)


def _group(peer: str, id_: str, setting: str, method: str = "grpo", groups: Groups = "any", **options: Any) -> Meaning:
    return Meaning(peer, id_, setting, method, options, groups=groups)


_WHITENS = "centres, then whitens over all tokens (REINFORCE++ with a baseline)"

MEANINGS: tuple[Meaning, ...] = (
    _gae("verl", "skip", "drop"),
    _gae("areal", "skip", "drop", whitens=False, note="its adv_norm divides by std + 1e-5, ours by sqrt(var + 1e-8)"),
    _gae("openrlhf", "openrlhf", "move"),
    _gae("skyrl", "skyrl", "keep"),
    _gae("torchrl", "skyrl", "keep", "GAE, which knows no mask", whitens=False),
    _gae("nemo-rl", "skip", "move", whitens=False),
    _gae("slime", "skyrl", "keep", whitens=False),
    _gae("roll", "skyrl", "keep", whitens=False),
    _gae("areal-main", "turn", "move", "GAE by turns", whitens=False, ends=False),
    _group("verl", "grpo", "grpo", single="raw"),
    _group("verl", "grpo_vectorized", "grpo_vectorized", single="raw"),
    _group("verl", "dr_grpo", "norm_adv_by_std_in_grpo=False", spread="none", single="raw"),
    _group("verl", "rloo", "rloo", "rloo", single="raw"),
    _group("verl", "rloo_vectorized", "rloo_vectorized", "rloo", single="zero"),
    Meaning("verl", "reinforce_plus_plus_baseline", "reinforce_plus_plus_baseline", "grpo", None, note=_WHITENS),
    _group("trl", "group", "scale_rewards='group'", groups="pairs", eps=1e-4),
    _group("trl", "batch", "scale_rewards='batch'", groups="pairs", spread_over="batch", eps=1e-4),
    _group("trl", "none", "scale_rewards='none'", groups="pairs", spread="none"),
    _group("openrlhf", "group_norm", "group_norm", groups="equal", eps=1e-9),
    _group("openrlhf", "dr_grpo", "dr_grpo", groups="equal", spread="none", single="zero"),
    _group("openrlhf", "rloo", "rloo", "rloo", groups="equal"),
    Meaning("openrlhf", "reinforce_baseline", "reinforce_baseline", "grpo", None, groups="equal", note=_WHITENS),
    _group("skyrl", "grpo", "grpo", single="raw"),
    _group("skyrl", "dr_grpo", "grpo_norm_by_std=False", spread="none", single="raw"),
    _group("skyrl", "rloo", "rloo", "rloo", single="zero"),
    _group("areal", "group", "reward_norm group", groups="equal", eps=1e-5, single="zero"),
    _group("areal", "centred", "reward_norm mean group, std batch", groups="equal", eps=1e-5, single="zero",
           spread_over="centred_batch"),
    Meaning("areal", "batch", "reward_norm batch", "grpo", {"eps": 1e-5}, one_group=True),
    _group("areal", "rloo", "reward_norm group, leave one out, no std", "rloo", groups="equal", single="raw"),
    _group("torchrl", "mc", "MCAdvantage, trajectory_return='sum'", groups="pairs", eps=0.0),
)  # fmt: skip


def of(peer: str) -> list[Meaning]:
    """The meanings of one trainer."""
    return [m for m in MEANINGS if m.peer == peer]


#: Peers one can install, by the name of their package, with the name they give themselves.
PACKAGES = {"verl": "verl", "trl": "TRL", "openrlhf": "OpenRLHF", "skyrl": "SkyRL", "areal": "AReaL", "torchrl": "torchrl"}
#: Peers without a package, or whose released package lacks the function: only our reading of their formula is here.
UNPACKAGED = {"nemo-rl": "NeMo-RL", "slime": "slime", "roll": "ROLL", "areal-main": "AReaL after 1.0.4"}
NAMES = PACKAGES | UNPACKAGED
