"""Why each finding matters and what to do about it, in a line each; docs/doctor.md says more under the same name."""

from __future__ import annotations

#: finding id -> (why it matters, what to do)
ADVICE: dict[str, tuple[str, str]] = {
    # reading
    "unreadable": (
        "What cannot be read cannot be trained on; a trainer may take the same rows without a word.",
        "Mend the record named, or leave it out; then run the doctor again.",
    ),
    # groups
    "groups-missing": (
        "GRPO, RLOO and all methods that compare rollouts of one prompt need to know which belong together.",
        "Give the key of the prompt: --group KEY, or group= when you make the batch.",
    ),
    "groups-without-signal": (
        "A group whose rollouts all got the same reward has advantage 0 everywhere: generated, paid for, not learned from.",
        "Filter or re-sample such prompts, mix in easier and harder ones, or score more finely (process or turn rewards).",
    ),
    "groups-of-one": (
        "A rollout alone has no baseline: its advantage is its reward (verl) or 0, or a method refuses the batch.",
        "Sample at least two rollouts a prompt; check that the group key is the prompt's, not the rollout's.",
    ),
    "group-sizes": (
        "Trainers that reshape rewards to (-1, G) put rollouts of different prompts into one group when sizes vary.",
        "Find the missing rollouts (filtered, failed, time-outs), or use code that groups by id.",
    ),
    "duplicate-trajectories": (
        "Rollouts that share an id are joined, or one of them is counted twice in its group's statistics.",
        "Give every rollout an id of its own; if rows are the turns of one rollout, say so (trajectory= and step=).",
    ),
    "copied-rollouts": (
        "Copies add no information to a group's baseline and weigh one attempt more than the others.",
        "Raise the temperature, check the seeds of the sampler, and look for a cache that answers.",
    ),
    # rewards
    "reward-missing": (
        "Without a reward there is no credit to assign.",
        "Name the key of the reward: --reward KEY (and --turn-reward KEY), or outcome= when you make the batch.",
    ),
    "reward-constant": (
        "If every rollout earns the same, every advantage is 0 and nothing is learned.",
        "Check the key that is read as reward, then the grader: a parse error often gives everyone the same score.",
    ),
    "reward-not-finite": (
        "One NaN reward makes the mean of its group NaN, and with it every advantage of the group.",
        "Give failed rollouts a number (0, or drop them before grouping), and mend the grader.",
    ),
    "reward-on-masked-tokens": (
        "Code that multiplies by the mask drops such a reward; verl and AReaL put it on the last position, masked or not.",
        "Put each reward on the last policy token of its turn (Batch.from_padded does so: masked_reward='move').",
    ),
    "turn-rewards-zero": (
        "A turn reward that is always 0 is a column nobody fills: methods that use it fall back to the outcome.",
        "Check the key and the environment: rewards per turn are often computed and dropped on the way (verl#2540).",
    ),
    "rewards-said-twice": (
        "outcome and turn rewards are added up: if the outcome is already their sum, each reward counts twice.",
        "Pass one of the two; turn rewards hold what is earned besides the outcome.",
    ),
    # masks and turns
    "shapes-disagree": (
        "Tensors of different width are shifted against each other: credit lands on the wrong tokens.",
        "Cut all to the response: x[:, -response_mask.shape[1]:] where x holds prompt and response.",
    ),
    "mask-not-binary": (
        "A mask is multiplied into the loss: other values than 0 and 1 are weights nobody asked for.",
        "Pass the mask itself; weights of the loss go elsewhere.",
    ),
    "policy-outside-attention": (
        "Tokens the policy is said to have written, but which are padding, train on noise.",
        "Check that both masks are aligned the same way (left or right) and cover the same tokens.",
    ),
    "turns-without-policy": (
        "A turn or row in which the policy wrote nothing cannot earn anything; means over its tokens divide by 0.",
        "Merge it with its neighbour, or leave the row out; check the mask of the chat template.",
    ),
    "turn-ids": (
        "Turn ids that fall along a row or are missing on policy tokens cut turns in the wrong places.",
        "Number the turns 0, 1, 2 ... along each row, -1 on tokens that belong to no turn.",
    ),
    "turns-merged": (
        "Where nothing is observed between two turns, a trainer that cuts turns from the mask sees one turn.",
        "Carry turn ids explicitly (turn_ids= in from_padded); do not infer them from the mask.",
    ),
    "turns-unsplit": (
        "With one turn a row, turn-level methods give every action of the rollout the same credit.",
        "Say where turns begin: turn_ids=, or turns='mask' if something is observed between all of them.",
    ),
    "observation-tokens": (
        "Trainers disagree on what GAE does at observation tokens: skip, decay through, or treat as actions.",
        "See docs/conformance.md for what yours does; with gamma, lambda < 1 the advantages differ by up to a half.",
    ),
    # endings
    "ends-in-observation": (
        "A scalar reward that a trainer puts on the last position falls on a masked token there, and may vanish.",
        "End rollouts with the policy's last token, or give the reward per turn or by outcome=.",
    ),
    "truncated-as-finished": (
        "A rollout that was cut off has no final result; its reward teaches the policy something that did not happen.",
        "Mask such rollouts out of the loss, or bootstrap their end with a value (bootstrap=).",
    ),
    "limit-reached": (
        "Rollouts as long as the generation limit were most likely cut off; unmarked, they count as failures.",
        "Set truncated= from the sampler's finish reason ('length').",
    ),
    # states
    "states-missing": (
        "Without keys of what the policy saw, methods that compare turns in the same state (gigpo, pooled_td) cannot run.",
        "Give --state observation for chats, or state= (one key per turn) when you make the batch.",
    ),
    "states-null": (
        "A turn without a key is alone by definition: it gets nothing from anchor methods.",
        "Give a key for every prefix; hash what was shown if there is no better one.",
    ),
    "states-recur": (
        "Anchor methods learn from states that several rollouts of a group met and left with different results.",
        "If keys hardly recur, leave volatile parts (times, ids) out of them, sample more, or use similarity= in gigpo.",
    ),
    "state-loops": (
        "A state met again by the same rollout says that it went in circles, or that the key leaves something out.",
        "Add to the key what the policy remembers, or penalise loops; pooled_td is exact only without them.",
    ),
    # log-probabilities, values, entropies, token ids
    "scores-not-finite": (
        "NaN times a mask of 0 is NaN: one such number anywhere makes the whole loss NaN.",
        "Zero what lies outside the mask; on policy tokens look for padding scored as text, or an overflow.",
    ),
    "logp-positive": (
        "A probability above 1 is none: these are logits, negated values, or sums of something else.",
        "Pass log-probabilities (at most 0) of the tokens that were sampled.",
    ),
    "logp-zero": (
        "Log-probabilities that are all 0 were never filled in: importance ratios and entropy methods see noise.",
        "Ask the sampler for log-probabilities, or leave the column out.",
    ),
    "logp-gap": (
        "If the trainer's log-probabilities are far from the sampler's, updates are off-policy from the first step.",
        "Compare engines (precision, chat template, token ids), and correct or cap the ratio.",
    ),
    "logp-reference": (
        "The distance from the reference policy is what a KL penalty pays for.",
        "If it is large, check that both models scored the same tokens; if it is 0, that they are two models.",
    ),
    "value-constant": (
        "A critic that says the same everywhere adds nothing: GAE with it is the plain return.",
        "Check the column, and whether the critic is trained and loaded.",
    ),
    "value-fit": (
        "A critic worse than a constant adds noise to every advantage.",
        "Train it longer before the policy, check its targets, or use a method without a critic.",
    ),
    "entropy-range": (
        "Methods that branch or weigh by entropy need nats per token: 0 to the logarithm of the vocabulary.",
        "Check the column: all 0 means it was never filled; above 13 nats it is no token's entropy.",
    ),
    "ids-range": (
        "Token ids outside the vocabulary are padding labels (-100) or another tokenizer's.",
        "Pass the ids that were sampled, with the mask saying which are the policy's.",
    ),
    "advantage-on-masked-tokens": (
        "Advantages outside the mask enter every mean taken without it, and the loss where the mask is forgotten.",
        "Multiply by the mask once more, and look for a broadcast with the wrong mask (SkyRL#1492).",
    ),
    # credit
    "length-bias": (
        "If short rollouts get the credit, the policy learns to be short (or long), whether or not that solves anything.",
        "Compare by prompt, look at truncation and length penalties, and prefer a loss averaged per token or by limit.",
    ),
    "credit-by-position": (
        "Where a method puts its weight along a rollout decides which turns are trained at all.",
        "If nearly all weight lies on the first or last turns, check rewards, gamma and the turn boundaries.",
    ),
    "sign-flips": (
        "A flipped sign is where a method says the opposite of the rollout's result: its claim, or its error.",
        "Read the turns named; apportion lens shows methods side by side.",
    ),
    "method-refused": (
        "A method that refuses these rollouts would stop your training run the same way.",
        "Read its reason; apportion explain ID says what it needs.",
    ),
}
