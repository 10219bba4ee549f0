"""The grid that method selection was measured on, as names: tasks, their split, and who enters.

The split was written down and committed before anything was measured: no setting of ``HELD_OUT`` may enter what a
selector that is compared has seen. Every method has at least one entrant here that a user could have, or that stands
for one: a simulated judge of 80 % accuracy for a judge of the user's own, a critic fitted on hashed text for a critic.
"""

from __future__ import annotations

#: Settings that a selector may learn from: layouts, lengths, and one knob at a time.
FIT: tuple[str, ...] = (
    "bifurcation/horizon-10", "bifurcation/horizon-100", "bifurcation/hidden", "bifurcation/sure-routine",
    "bifurcation/horizon-30@50", "agentic/timeless", "agentic/memory-gap-25", "interaction/or",
    "reasoning/steps-10", "reasoning/steps-100", "reasoning/mended", "team/two",
)  # fmt: skip

#: Settings on which advice is judged; other lengths, knobs and families than those of ``FIT``.
HELD_OUT: tuple[str, ...] = (
    "bifurcation/horizon-30", "bifurcation/recoverable", "bifurcation/rare-states", "bifurcation/lucky",
    "agentic/echo-trap", "classical/key-to-door",
    "reasoning/steps-30", "reasoning/sure-routine", "reasoning/long-steps", "reasoning/steps-30@50",
    "team/four", "team/one-decides",
)  # fmt: skip

#: Of both, those with rollouts too long to train everybody: the gradient stands in for learning.
LONG: tuple[str, ...] = (
    "bifurcation/horizon-100", "bifurcation/hidden", "bifurcation/sure-routine", "reasoning/steps-100",
    "bifurcation/recoverable", "bifurcation/rare-states", "bifurcation/lucky",
)  # fmt: skip
SHORT: tuple[str, ...] = tuple(t for t in (*FIT, *HELD_OUT) if t not in LONG)

#: Too dear to train here, and the dearest too dear for long rollouts.
UNTRAINED: tuple[str, ...] = ("from_r_to_q", "prime", "stepagent", "archer")
ONLY_SHORT: tuple[str, ...] = ("from_r_to_q", "prime", "stepagent", "archer", "istar")

#: One or two entrants of every method, as a user would run it.
ENTRANTS: tuple[str, ...] = (
    # only the batch
    "rloo", "grpo", "gigpo", "tempo", "pooled_td", "spro", "prl", "hgpo", "graphgpo", "proxmo", "aem", "spo-tree",
    "dr_mas", "m_grpo-released", "prs", "ragen", "agent_lightning", "reinforce_pp",
    # a model trained on the batch
    "gae", "hcapo", "pure", "prime", "itpo", "from_r_to_q", "finepo", "hiper", "a2tgpo-fit", "deltabelief-fit", "agentprm",
    "spa_rl", "stepagent", "math_shepherd-fit", "acpo-fit", "hicra", "igpo-fit", "red", "scar", "rudder", "hca", "t_reg",
    "adaptive_segment", "archer", "istar", "sweet_rl", "turn_ppo", "sorl", "poad", "ragen-ppo",
    # fresh rollouts
    "vineppo", "carl", "at2po", "spo", "math_shepherd", "omegaprm", "scar-replay", "c3", "ccpo", "sharp", "remax",
    # a judge, an editor, an author of code
    "pure-judge80", "capo-judge80", "criticsearch-judge80", "tarl-judge80", "finepo-judge80", "scribe-judge80",
    "pilotrl-judge80", "adaptive_segment-judge80", "mappa-coach80", "m_grpo-expert80", "llm_mca-critic80",
    "turn_level_reward-judge80", "int-blame80", "qllm", "lare",
)  # fmt: skip
TRAINED: tuple[str, ...] = tuple(e for e in ENTRANTS if e not in UNTRAINED)
