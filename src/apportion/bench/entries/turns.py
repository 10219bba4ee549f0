"""Methods whose unit is the turn or the call, and the trajectory baselines of trainers.

Ratios, clips and rescaling show in learning only, with several epochs on a batch: on policy an
entrant with them measures as its advantage alone. A method that reads rewards of turns has none
here but a judge's.
"""

from __future__ import annotations

from ..entrants import FIT, Entrant
from ..records import Layout

_TURNS: tuple[Layout, ...] = ("turns", "team")

ENTRANTS = (
    Entrant("turn_ppo", "turn_ppo", "Turn-PPO, critic learned afresh", "fit", FIT, layouts=_TURNS),
    Entrant("turn_ppo-4", "turn_ppo", "Turn-PPO, 4 epochs a batch", "fit", FIT, epochs=4, layouts=_TURNS),
    Entrant("turn_ppo-tokens-4", "turn_ppo", "Turn-PPO with ratios of tokens, 4 epochs", "fit",
            {"ratio": "token", **FIT}, epochs=4, layouts=_TURNS),
    Entrant("sorl", "sorl", "SO-PPO, critic learned afresh", "fit", FIT),
    Entrant("sorl-4", "sorl", "SO-PPO, 4 epochs a batch", "fit", FIT, epochs=4),
    Entrant("sorl-raw-4", "sorl", "SO-PPO, divided by the bare norm, 4 epochs", "fit",
            {"rescale": "raw", **FIT}, epochs=4),
    Entrant("sorl-grpo-4", "sorl", "SO-GRPO, 4 epochs a batch", options={"base": "grpo"}, epochs=4),
    Entrant("grpo-4", "grpo", "GRPO, 4 epochs a batch", epochs=4),
    Entrant("poad", "poad", "POAD, critic learned afresh", "fit", FIT, layouts=_TURNS),
    Entrant("poad-naive", "poad", "NTPO, POAD's ablation", "fit", {"gamma_w": 0.99, **FIT}, layouts=_TURNS),
    Entrant("poad-steps", "poad", "POAD over steps", "fit", {"action": "step", **FIT}, layouts=("steps",)),
    Entrant("ragen", "ragen", "StarPO on a quarter of the prompts"),
    Entrant("ragen-bi_level", "ragen", "bi-level GAE, critic learned afresh", "fit",
            {"estimator": "bi_level", "share": 1.0, **FIT}, layouts=_TURNS),
    Entrant("ragen-ppo", "ragen", "StarPO-S, critic learned afresh", "fit", {"estimator": "gae", **FIT}),
    Entrant("agent_lightning", "agent_lightning", "identical assignment, statistics over calls", layouts=_TURNS),
    Entrant("agent_lightning-1", "agent_lightning", "identical assignment, statistics over rollouts",
            options={"statistics": "rollout", "average": "rollout"}),
    Entrant("reinforce_pp", "reinforce_pp", "REINFORCE++"),
    Entrant("reinforce_pp-baseline", "reinforce_pp", "REINFORCE++ with the prompt's mean",
            options={"variant": "baseline"}),
    Entrant("remax", "remax", "ReMax, a greedy rollout a prompt", "sampler"),
    Entrant("turn_level_reward-judge80", "turn_level_reward", "MT-GRPO, turns rated by a judge right on 80 %", "judge",
            source={"accuracy": 0.8}, layouts=_TURNS),
)  # fmt: skip
