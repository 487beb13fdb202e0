"""The last step of the export: canary, memory plan and localphi.json of a folder that holds the graph."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path

from localphi.models.manifest import (
    Canary,
    Manifest,
    PromptFormat,
    SamplingDefaults,
    Variant,
    describe_file,
    write_manifest,
)
from localphi.toolchain.demo.answer import Answerer
from localphi.toolchain.demo.export import CONFIG, GRAPH, TOKENIZER_FILES, WEIGHTS
from localphi.toolchain.demo.settings import (
    ASSISTANT,
    CONTROL_TOKENS,
    DATA_FOLDER,
    END,
    END_OF_TEXT,
    MODEL_ID,
    PLAN,
    SHAPE,
    SYSTEM,
    TOOL,
    TOOL_CALL,
    TOOL_CALL_CLOSE,
    TOOL_CLOSE,
    TOOL_RESPONSE,
    USER,
)

FILES = (CONFIG, *TOKENIZER_FILES, GRAPH, WEIGHTS)
DEVICES = ("server-cpu", "webgpu-f32", "wasm")
# After an exchange, so that the prompt is longer than 32 tokens: GPUs read long prompts with other kernels.
CANARY_QUESTIONS = ("What is localphi?", "What is a KV cache?")
CANARY_TOKENS = 8

PROMPT_FORMAT = PromptFormat(
    prefix="",
    roles={
        "system": (SYSTEM, END),
        "user": (USER, END),
        "assistant": (ASSISTANT, END),
        "tool": (TOOL_RESPONSE, END),
    },
    generation=ASSISTANT,
    end=(END, END_OF_TEXT),
    control=CONTROL_TOKENS,
    tools=(TOOL, TOOL_CLOSE),
    tool_call=(TOOL_CALL, TOOL_CALL_CLOSE),
)


def describe_folder(folder: Path, model_id: str = MODEL_ID) -> Manifest:
    """Write localphi.json for the files in `folder`; the canary is what the graph says on this CPU."""
    variant = Variant(
        files=FILES,
        weights_bytes=(folder / WEIGHTS).stat().st_size,
        kv_bytes_per_token=SHAPE.kv_bytes_per_token,
        canary=_canary(folder),
    )
    manifest = Manifest(
        id=model_id,
        name="localphi demo",
        description="A tiny Phi: the help of localphi, which can also call tools and fill JSON schemas.",
        family="phi3",
        license="MIT",
        origin={"source": "localphi.toolchain.demo", "revision": _revision(folder)},
        context_length=SHAPE.context,
        sampling=SamplingDefaults(temperature=0.0, top_p=1.0, top_k=0),
        system_prompt=None,
        prompt_format=PROMPT_FORMAT,
        files={name: describe_file(folder / name) for name in FILES},
        variants=dict.fromkeys(DEVICES, variant),
    )
    write_manifest(folder, manifest)
    return manifest


def _canary(folder: Path) -> Canary:
    answerer = Answerer(folder)
    first, second = CANARY_QUESTIONS
    turns = [(USER, first)]
    prompt = answerer.prompt([*turns, answerer.reply(turns), (USER, second)])
    return Canary(tuple(prompt), tuple(answerer.continue_ids(prompt, CANARY_TOKENS)))


def _revision(folder: Path) -> str:
    """Names what the weights were made from: shape, plan, data files and the weights themselves."""
    digest = hashlib.sha256(repr((asdict(SHAPE), asdict(PLAN))).encode())
    for path in (*sorted(DATA_FOLDER.glob("*.toml")), DATA_FOLDER / "other_text.txt", folder / WEIGHTS):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
