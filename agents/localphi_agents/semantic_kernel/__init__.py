"""Semantic Kernel on a local Phi.

agent = ChatCompletionAgent(service=PhiChatCompletion(), plugins=[Weather()])
print(await agent.get_response("What is the weather in Oslo?"))

settings     what can be asked of the model, besides the question
functions    functions of a kernel as the server's tools
messages     Semantic Kernel's messages from and to ours
history      which part of a conversation is complete
requests     what the services do around a request
service      `PhiChatCompletion`
text         `PhiTextCompletion`
conversation an answer told step by step, for programs that show what an agent does
"""

from __future__ import annotations

from localphi_agents.semantic_kernel.service import PhiChatCompletion
from localphi_agents.semantic_kernel.settings import PhiPromptExecutionSettings
from localphi_agents.semantic_kernel.text import PhiTextCompletion

__all__ = ["PhiChatCompletion", "PhiPromptExecutionSettings", "PhiTextCompletion"]
