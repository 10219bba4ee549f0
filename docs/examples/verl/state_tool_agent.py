"""verl's tool loop, handing over what it saw before each turn, where turns end, and what each tool call earned."""

from verl.experimental.agent_loop.agent_loop import register
from verl.experimental.agent_loop.tool_agent_loop import ToolAgentLoop

from apportion.integrations.verl import hand_over


@register("state_tool_agent")
class StateToolAgentLoop(ToolAgentLoop):
    async def run(self, sampling_params, **kwargs):
        output = await super().run(sampling_params, **kwargs)
        noted = output.extra_fields.pop("noted")
        return hand_over(output, **noted)

    async def _handle_generating_state(self, agent_data, *args, **kwargs):
        seen, written = agent_data.messages[-1]["content"], sum(agent_data.response_mask)
        after = await super()._handle_generating_state(agent_data, *args, **kwargs)
        noted = agent_data.extra_fields.setdefault("noted", {"state": [], "turn_lengths": [], "turn_reward": []})
        noted["state"].append(seen)  # anything hashable; what two rollouts share is what a method can compare
        noted["turn_lengths"].append(sum(agent_data.response_mask) - written)
        noted["turn_reward"].append(0.0)
        return after

    async def _handle_processing_tools_state(self, agent_data):
        before = len(agent_data.tool_rewards)
        after = await super()._handle_processing_tools_state(agent_data)
        agent_data.extra_fields["noted"]["turn_reward"][-1] += sum(agent_data.tool_rewards[before:])
        return after
