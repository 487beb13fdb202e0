"""A server as the nearest rival builds it: ONNX Runtime GenAI, a Generator for each request, one at a time.

Flask and waitress, tokens streamed as they come. No batching, no reuse of a prompt that was read before, and
calls of GenAI in the process that answers HTTP. Threads are set to the machine's, which the rival leaves to
GenAI; without that it would be half as fast.

    python tests/bench/peers/serial_server.py MODEL_FOLDER [--threads 2] [--port 0]
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import waitress
from flask import Flask, Response, request

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "webapp"))

from localphi.config import available_threads, disable_telemetry

disable_telemetry()

import onnxruntime_genai as og


def application(folder: Path, threads: int) -> Flask:
    config = og.Config(str(folder))
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
    model = og.Model(config)
    tokenizer = og.Tokenizer(model)
    one_at_a_time = threading.Lock()
    app = Flask(__name__)

    @app.post("/v1/completions")
    def completions() -> Response:
        body = request.get_json()
        return Response(answer(body["prompt"], body["max_tokens"]), content_type="text/event-stream")

    def answer(prompt: list[int], max_tokens: int) -> Iterator[str]:
        yield ": queued\n\n"
        with one_at_a_time:
            params = og.GeneratorParams(model)
            length = len(prompt) + max_tokens
            params.set_search_options(max_length=length, min_length=length, do_sample=False)
            generator = og.Generator(model, params)
            stream = tokenizer.create_stream()
            generator.append_tokens(prompt)
            for number in range(1, max_tokens + 1):
                generator.generate_next_token()
                text = stream.decode(generator.get_next_tokens()[0])
                reason = "length" if number == max_tokens else None
                yield _event({"choices": [{"index": 0, "text": text, "finish_reason": reason}]})
        usage = {"prompt_tokens": len(prompt), "completion_tokens": max_tokens}
        yield _event({"choices": [], "usage": usage})
        yield "data: [DONE]\n\n"

    return app


def _event(document: Any) -> str:
    return f"data: {json.dumps(document)}\n\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    app = application(options.folder, options.threads)
    server = waitress.create_server(app, host="127.0.0.1", port=options.port, threads=40)
    print(f"page http://127.0.0.1:{server.effective_port}/", flush=True)
    server.run()


if __name__ == "__main__":
    main()
