"""Methods that learn what a step is worth: from outcomes by TD, from sums, from an expert; and one that asks in stages.

StepAgent is shown its own solved rollouts, or (an oracle row) rollouts of the best policy; its implicit variant gives
a reward and pairs, no advantage, and does not enter. SPA-RL's grounding bonus is
left out: every action can be executed here. No task has plans: PilotRL's judge is asked about the first choice as if it
were one, which is why it enters with its last stage only (the others would train the first choice, or all but it).
"""

from __future__ import annotations

from ..entrants import FIT, Entrant

ENTRANTS = (
    Entrant("agentprm", "agentprm", "AgentPRM, progress", "fit", {"start": "mean", **FIT}),
    Entrant("agentprm-gae", "agentprm", "AgentPRM, advantages by GAE", "fit", {"form": "gae", "start": "mean", **FIT}),
    Entrant("agentprm-kept", "agentprm", "AgentPRM, progress, model kept", "fit", {"start": "mean", **FIT}, keeps=True),
    Entrant("agentprm-literal", "agentprm", "AgentPRM, last residual as printed", "fit",
            {"form": "gae", "start": "mean", "terminal": "literal", **FIT}),
    Entrant("spa_rl", "spa_rl", "SPA-RL, learned progress", "fit", FIT),
    Entrant("spa_rl-exact", "spa_rl", "SPA-RL, progress put right", "fit", {"exact": True, **FIT}),
    Entrant("spa_rl-code", "spa_rl", "SPA-RL, steps left as weights (as committed)", "fit",
            {"remaining_steps_weight": True, **FIT}),
    Entrant("stepagent", "stepagent", "StepAgent, solved rollouts as experts", "fit", FIT),
    Entrant("stepagent-kept", "stepagent", "StepAgent, solved rollouts as experts, discriminator kept", "fit", FIT, keeps=True),
    Entrant("stepagent-bandit", "stepagent", "StepAgent, a step an episode", "fit", {"variant": "bandit", **FIT}),
    Entrant("stepagent-experts", "stepagent", "StepAgent, 64 optimal demonstrations", "experts", FIT),
    Entrant("pilotrl-judge80", "pilotrl", "PilotRL, joint stage, first choice as the plan, judge right on 80 %", "judge",
            source={"accuracy": 0.8}),
)  # fmt: skip
