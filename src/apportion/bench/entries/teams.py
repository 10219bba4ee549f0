"""Methods for teams: statistics of an agent's own, a coach of single actions, an expert of whole calls, a critic of all.

Most ask a judge, so their rows are oracle rows by construction; it is right on 80 % of the texts, its errors
frozen. In these tasks every agent acts equally often in every rollout: Dr. MAS is GRPO times a constant per agent
here, and M-GRPO has one call of each sub-agent to align (d = 1), so that its released reward, without an expert, is
GRPO of each agent alone. A judge of correctness finds nothing wrong where nothing is at stake: credits that are
summed into returns pay for losing the thread early, credits left at their steps (gamma = 0) do not. What M-GRPO's
product ratio does shows in learning only, over several epochs on a batch.
"""

from __future__ import annotations

from ..entrants import Entrant

_JUDGE = {"accuracy": 0.8}

ENTRANTS = (
    Entrant("dr_mas", "dr_mas", "Dr. MAS"),
    Entrant("mappa-coach80", "mappa", "MAPPA, coach right on 80 %", "judge", source=_JUDGE),
    Entrant("mappa-mixed80", "mappa", "MAPPA, half coach, half outcome", "judge", {"process_weight": 0.5, "outcome_weight": 0.5},
            source=_JUDGE),
    Entrant("m_grpo-expert80", "m_grpo", "M-GRPO, expert right on 80 %", "judge", {"main": 0, "d": 1}, source=_JUDGE),
    Entrant("m_grpo-released", "m_grpo", "M-GRPO, released reward (no expert)", "nothing",
            {"main": 0, "d": 1, "sub_reward": "released"}),
    Entrant("m_grpo-off80", "m_grpo", "M-GRPO, product ratio over 4 epochs", "judge", {"main": 0, "d": 1},
            source=_JUDGE, epochs=4),
    Entrant("llm_mca-critic80", "llm_mca", "LLM-MCA, critic right on 80 %", "judge", source=_JUDGE),
    Entrant("llm_mca-prompt80", "llm_mca", "LLM-MCA, statistics per prompt (ours)", "judge", {"baseline": "group"},
            source=_JUDGE),
    Entrant("llm_mca-left80", "llm_mca", "LLM-MCA, numbers left at their steps (ours)", "judge", {"gamma": 0.0}, source=_JUDGE),
)  # fmt: skip
