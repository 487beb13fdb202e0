"""Microsoft Agent Framework on a local Phi.

agent = Agent(PhiChatClient(), tools=[get_weather])
print(await agent.run("What is the weather in Oslo?"))

options    what can be asked of the model, besides the question
messages   Agent Framework's messages from and to ours
client     `PhiChatClient`
tools      our plugins and the tools of MCP servers, for its agents
"""

from __future__ import annotations

from localphi_agents.agent_framework.client import PhiChatClient
from localphi_agents.agent_framework.options import PhiChatOptions
from localphi_agents.agent_framework.tools import mcp_tools, plugin_tools

__all__ = ["PhiChatClient", "PhiChatOptions", "mcp_tools", "plugin_tools"]
