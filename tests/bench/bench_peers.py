"""`localphi bench` with other servers beside ours, in turn in the same run, all with the same weights.

    python tests/bench/bench_peers.py MODEL_FOLDER --peer serial --peer openvino --peer llama.cpp [options]

serial      one Generator for each request (peers/serial_server.py)
openvino    `localphi serve --backend openvino`; the folder must have been made ready by `localphi convert`
llama.cpp   node-llama-cpp in LLAMA_CPP_MODULES (a node_modules folder), with MODEL_FOLDER.gguf from
            peers/gguf_of.py, or the file that --gguf names. It allocates its KV cache at the start, for
            --llama-streams sequences of --llama-context tokens: 393 MB for 1,000 tokens of Phi-3-mini

Everything is loaded at once and asked in turn. What is not known here goes to `localphi bench`: --quick,
--only streams, --rounds 2, --json, --plot FILE …
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
PEERS = Path(__file__).resolve().parent / "peers"
sys.path.insert(0, str(TESTS.parent / "webapp"))

from localphi.config import available_threads
from localphi.errors import BenchFailed
from localphi.toolchain.bench.targets import serve_command, started

NAMES = ("serial", "openvino", "llama.cpp")


def command(peer: str, options: argparse.Namespace) -> list[str]:
    threads = ["--threads", str(options.threads)]
    if peer == "serial":
        return [sys.executable, str(PEERS / "serial_server.py"), str(options.folder), *threads]
    if peer == "openvino":
        return serve_command(str(options.folder), [*threads, "--backend", "openvino"])
    modules = os.environ.get("LLAMA_CPP_MODULES")
    node = shutil.which("node")
    if not modules or not node:
        raise SystemExit(
            "llama.cpp needs node, and LLAMA_CPP_MODULES=…/node_modules with node-llama-cpp in it."
        )
    gguf = options.gguf or options.folder.with_name(options.folder.name + ".gguf")
    if not gguf.is_file():
        raise SystemExit(
            f"{gguf} is not there. Make it with: python {PEERS / 'gguf_of.py'} {options.folder} {gguf}"
        )
    room = ["--streams", str(options.llama_streams), "--context", str(options.llama_context)]
    return [node, str(PEERS / "llama_cpp.mjs"), str(gguf), "--modules", modules, *threads, *room]


def _started(stack: ExitStack, peer: str, options: argparse.Namespace) -> str:
    try:
        return stack.enter_context(started(command(peer, options), peer))
    except BenchFailed as error:
        raise SystemExit(error.message) from None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peer", choices=NAMES, action="append", default=[])
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--llama-streams", type=int, default=16)
    parser.add_argument("--llama-context", type=int, default=2400)
    parser.add_argument("--threads", type=int, default=available_threads())
    options, rest = parser.parse_known_args()
    with ExitStack() as stack:
        urls = [f"{peer}={_started(stack, peer, options)}" for peer in options.peer]
        bench = [sys.executable, "-c", "from localphi.cli import main; main()", "bench", str(options.folder)]
        for url in urls:
            bench += ["--url", url]
        peers = [word for peer in options.peer for word in ("--peer", peer)]
        typed = ["python", "tests/bench/bench_peers.py", options.folder.name, *peers, *rest]
        bench += ["--command", shlex.join(typed)]
        done = subprocess.run([*bench, "--threads", str(options.threads), *rest], check=False)
    raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
