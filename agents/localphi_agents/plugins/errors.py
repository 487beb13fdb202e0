"""What goes wrong in a plugin's function."""

from __future__ import annotations


class PluginError(ValueError):
    """The arguments do not work. A sentence for the model, which reads it as the result and may try again."""
