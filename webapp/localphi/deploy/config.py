"""serve.yaml: what `serve deploy` and KubeRay are given to run localphi in a cluster."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from localphi.deploy.scale import Scale

_HEAD = """\
# localphi on Ray Serve. In a cluster:  serve deploy serve.yaml
# On KubeRay it is the text of spec.serveConfigV2. Every node needs: pip install 'localphi[ray]'
# Run the cluster with RAY_AUTH_MODE=token and RAY_USAGE_STATS_ENABLED=0.
#
# It listens on loopback. For others: http_options.host and args.host 0.0.0.0, and access keys in
# args.key_file, a file that every node can read; without keys it does not start.
# args.home is where models are, the same path on every node: a shared folder, or one on each, filled by
# `localphi models pull` or, with args.pull true, by the first replica there, once for all of its node.
# Each replica compares the files with their hashes before it loads them.
"""


def document(
    model: str, scale: Scale, *, home: str | None = None, port: int = 8000, pull: bool = False
) -> dict[str, Any]:
    """The configuration, as Ray's schema has it."""
    args: dict[str, Any] = {"model": model, "threads": max(1, int(scale.num_cpus)), "scale": asdict(scale)}
    if home is not None:
        args["home"] = home
    if pull:
        args["pull"] = True
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "127.0.0.1", "port": port},
        "applications": [
            {
                "name": "localphi",
                "route_prefix": "/",
                "import_path": "localphi.deploy.ray_serve:application",
                "args": args,
            }
        ],
    }


def serve_yaml(document: dict[str, Any]) -> str:
    """The configuration as a file."""
    return _HEAD + "\n".join(_lines(document, 0)) + "\n"


def _lines(value: Any, depth: int) -> list[str]:
    """Of maps, lists of maps, and plain values; those are written as JSON, which is YAML, too."""
    pad = "  " * depth
    lines: list[str] = []
    for name, inner in value.items():
        if isinstance(inner, dict):
            lines += [f"{pad}{name}:", *_lines(inner, depth + 1)]
        elif isinstance(inner, list):
            lines.append(f"{pad}{name}:")
            for entry in inner:
                first, *others = _lines(entry, depth + 1)
                lines += [f"{pad}- {first.strip()}", *others]
        else:
            lines.append(f"{pad}{name}: {json.dumps(inner)}")
    return lines
