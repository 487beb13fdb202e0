"""Functions that many agents need, to hand to any of them.

    ChatCompletionAgent(service=PhiChatCompletion(), plugins=[Time(), Math(), Files("notes"), Units()])

bounds    how much a model may write for a parameter
errors    what a model is told when it asks for something impossible
time      now, date arithmetic, time zones
math      arithmetic as it is written
files     reading in one folder
units     conversion of units, by exact factors
docs      search in documents, which `localphi_agents.rag` keeps

Each is a plain class. The line under a function's head is what the model reads about it, so it is written for
a small one. Nothing here writes a file, starts a program or opens a connection.
"""

from __future__ import annotations

from localphi_agents.plugins.docs import Docs
from localphi_agents.plugins.errors import PluginError
from localphi_agents.plugins.files import Files
from localphi_agents.plugins.math import Math
from localphi_agents.plugins.time import Time
from localphi_agents.plugins.units import Units

__all__ = ["Docs", "Files", "Math", "PluginError", "Time", "Units"]
