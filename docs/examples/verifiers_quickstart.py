"""Four rollouts of one prompt as verifiers records them: states by hand, credit on the sampled tokens. No GPU, no network."""

from verifiers.v1.episode import WireEpisode

from apportion.integrations.verifiers import credit_episodes, hand_over

TASK = {"type": "Shop", "data": {"idx": 0, "prompt": "buy tea"}}


def episode(name, page, reward):
    said = [("user", [1]), ("assistant", [2, page]), ("tool", [10 + page]), ("assistant", [3])]
    nodes = []
    for k, (role, ids) in enumerate(said):
        message = {"role": role, "content": "", "tool_call_id": "look"} if role == "tool" else {"role": role, "content": ""}
        sampled = role == "assistant"
        nodes.append({"parent": k - 1 if k else None, "message": message, "token_ids": ids, "mask": [sampled] * len(ids)})
        nodes[-1].update({"sampled": True, "logprobs": [-0.7] * len(ids)} if sampled else {})
    trace = {"id": name, "task": TASK, "agent": {"config": {}}, "nodes": nodes, "rewards": {"paid": {"score": reward}}}
    made = WireEpisode.model_validate({"task": TASK, "group": {"id": "buy tea"}, "traces": [{**trace, "ok": True}], "ok": True})
    hand_over(made.traces[0], state=["home", f"page {page}"])  # in training: from the task's finalize
    return made


group = [episode("a", 5, 1.0), episode("b", 5, 0.0), episode("c", 6, 0.0), episode("d", 6, 0.0)]
credit_episodes(group, "gigpo")
for e in group:
    print(e.traces[0].id, [round(x, 2) for x in e.traces[0].branches[0].advantages])
