"""Methods that ask the policy itself, where it is a model that can be asked (``neural/...`` tasks).

No row here touches the truth: what the model says of its words in hindsight, or of how a rollout will end, it has
learned from rollouts. Their oracle twins on tabular tasks ask a simulated policy of declared skill instead.
"""

from __future__ import annotations

from ..entrants import Entrant
from ..records import Layout

_AGENTS: tuple[Layout, ...] = ("turns", "team")
_WHOLE = {"form": "product"}  # actions are a few tokens here: their probability is that of all of them

ENTRANTS = (
    Entrant("hcapo-model", "hcapo", "HCAPO, the model's own hindsight", "model", logp=True),
    Entrant("hca-model", "hca", "HCA, the model's own hindsight, no bound", "model", {**_WHOLE, "bound": None}, logp=True),
    Entrant("t_reg-model", "t_reg", "T-REG, the model's own contrast", "model", {"alpha": 0.5}, logp=True, reference=True),
    Entrant("acpo-model", "acpo", "ACPO, the model's own belief in the answer", "model", logp=True),
    # an answer in steps is one turn, where IGPO is GRPO
    Entrant("igpo-model", "igpo", "IGPO, the model's own belief in the answer", "model", logp=True, layouts=_AGENTS),
    Entrant("deltabelief-model", "deltabelief", "DeltaBelief-RL, the model's own belief", "model", logp=True, layouts=_AGENTS),
    Entrant("a2tgpo-model", "a2tgpo", "A2TGPO, the model's own belief", "model", logp=True, layouts=_AGENTS),
)
