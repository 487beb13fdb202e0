"""Write the vectors that server and page share. Run it after the demo has changed: `make vectors`.

tokenizer.json: ids and text of hard strings, by the Rust reference implementation (`tokenizers`), which
neither the server (ONNX Runtime GenAI) nor the page (JavaScript) uses. sampler.json: among which tokens is
drawn, and how likely each is, by the server's sampler in numpy. parity.json: greedy ids of the demo
model by ONNX Runtime GenAI on the CPU; the page must generate the same ids on every device. guided.json: its
greedy answers under tools and formats. schemas.json: which bytes a schema lets stand where. masks.json: which
tokens of the demo may come next.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).resolve().parent
sys.path.insert(0, str(VECTORS.parent))

from localphi.chat import ChatRequest, Chunk, Message, Role, Sampling  # noqa: E402
from localphi.config import disable_telemetry  # noqa: E402
from localphi.engine.sampler import Sampler  # noqa: E402
from localphi.models.manifest import load_manifest  # noqa: E402
from serving import DEMO  # noqa: E402  found through the line above
from tokenizer_folders import TOKENIZERS  # noqa: E402
from vectors.guided_vectors import guided_vectors  # noqa: E402
from vectors.mask_vectors import mask_vectors  # noqa: E402
from vectors.schema_vectors import schema_vectors  # noqa: E402

TEXTS = (
    "",
    "Hello, world!",
    "What is localphi?",
    " leading and trailing  ",
    "tabs\tand\nnew\n\nlines\r\n",
    "a   lot     of      spaces",
    "naïve café, Ångström, Straße, e\u0301",
    "日本語のテキスト、中文字符，한국어",
    "emoji 😀 👩‍👩‍👧‍👦 🇩🇪 👍🏽",
    "Привет, мир! مرحبا שלום",
    "def f(x): return {'a': [1, 2.5e-3, None]}",
    "1234567890 3.14159 0xDEADBEEF",
    "don't WON'T it's I'll we've",
    "https://example.org/a?b=c&d=%20#e",
    "\u200b\u00a0\ufeff\u2028",
    "a\u0085 b \ufeff c\ufeffd",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ∑∫√ ½ ²",
    "<|user|>Hi<|end|><|assistant|>",
    "x<\u200b|end|>y",
    "<| end |> <|notatoken|>",
    "localphi serve --port 8001",
)
QUESTIONS: tuple[list[tuple[Role, str]], ...] = (
    [("user", "What is localphi?")],
    [("user", "hello")],
    [("user", "How do I start it?")],
    [("user", "What is WebGPU?")],
    [("user", "which models does it run")],
    [("user", "What is the capital of France?")],
    [("system", "You are the help of localphi."), ("user", "What is a KV cache?")],
    [("user", "Hi"), ("assistant", "Hello!"), ("user", "Is my data sent anywhere?")],
    [("user", "日本語 😀 <|end|>")],
)
MAX_TOKENS = 48


def tokenizer_vectors() -> list[dict[str, Any]]:
    from tokenizers import Tokenizer

    documents = []
    for name, folder in TOKENIZERS.items():
        if not (folder / "tokenizer.json").is_file():
            raise SystemExit(f"{folder} is not there; the vectors of {name} need it.")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        cases = [_case(tokenizer, text) for text in TEXTS]
        documents.append({"tokenizer": name, "cases": cases})
    return documents


def _case(tokenizer: Any, text: str) -> dict[str, Any]:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return {"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=True)}


def parity_vectors() -> dict[str, Any]:
    disable_telemetry()
    from localphi.engine.generator import GeneratorBackend

    backend = GeneratorBackend(DEMO, load_manifest(DEMO), threads=2, max_active=1, kv_budget_bytes=2**30)
    return {
        "model": "localphi-demo",
        "max_tokens": MAX_TOKENS,
        "cases": [_answer(backend, q) for q in QUESTIONS],
    }


def _answer(backend: Any, question: list[tuple[Role, str]]) -> dict[str, Any]:
    messages = tuple(Message(role, content) for role, content in question)
    backend.submit(0, ChatRequest(messages, max_tokens=MAX_TOKENS))
    chunks: list[Chunk] = []
    while backend.busy:
        chunks += [event for _, event in backend.step() if isinstance(event, Chunk)]
    ids = [token for chunk in chunks for token in chunk.token_ids]
    turns = [{"role": role, "content": content} for role, content in question]
    return {"messages": turns, "ids": ids, "text": "".join(chunk.text for chunk in chunks)}


SAMPLINGS: dict[str, dict[str, float]] = {
    "temperature alone": {},
    "a low temperature": {"temperature": 0.2},
    "top-k": {"top_k": 5},
    "top-k keeps or drops equals together": {"top_k": 3, "temperature": 1.3},
    "top-p": {"top_p": 0.8},
    "top-p of nearly all": {"top_p": 0.999, "temperature": 2.0},
    "top-p of what top-k left": {"top_k": 6, "top_p": 0.7},
    "min-p": {"min_p": 0.1},
    "min-p after top-p": {"top_p": 0.9, "min_p": 0.2},
    "repetition penalty": {"repetition_penalty": 1.4},
    "presence penalty": {"presence_penalty": 1.5},
    "frequency penalty": {"frequency_penalty": 0.8},
    "everything": {
        **{"temperature": 0.9, "top_k": 12, "top_p": 0.95, "min_p": 0.02},
        **{"repetition_penalty": 1.2, "presence_penalty": -0.5, "frequency_penalty": 0.7},
    },
}
PROMPT, GENERATED = (3, 5, 8, 13), (5, 7, 7, 21)


def sampler_vectors() -> list[dict[str, Any]]:
    import numpy as np

    random = np.random.default_rng(20261126)
    cases = []
    for name, fields in SAMPLINGS.items():
        logits = random.normal(0, 2.5, 32).round(2).astype(np.float32)  # (V)
        logits[[2, 9, 17]] = logits.max() - np.float32(0.5)  # equals
        options: dict[str, Any] = {"temperature": 1.0, **fields}
        sampling = Sampling(**options)
        sampler = Sampler(sampling, PROMPT)
        for token in GENERATED:
            sampler.push(token)
        adjusted = sampler.adjusted(logits)
        ids, weights = sampler.candidates(adjusted, int(adjusted.argmax()))
        found = range(len(logits)) if ids is None else ids.tolist()
        likely = dict(sorted(zip(found, (weights / weights.sum()).tolist(), strict=True)))
        named = {key: value for key, value in asdict(sampling).items() if key not in ("seed", "logit_bias")}
        cases.append(
            {
                **{"name": name, "sampling": named, "prompt": PROMPT, "generated": GENERATED},
                **{"logits": [round(float(logit), 2) for logit in logits], "ids": list(likely)},
                "probabilities": [round(share, 6) for share in likely.values()],
            }
        )
    return cases


def _write(name: str, document: Any) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=None, separators=(", ", ": "))
    (VECTORS / name).write_text(text.replace('{"', '\n{"') + "\n", encoding="utf-8")


if __name__ == "__main__":
    _write("tokenizer.json", tokenizer_vectors())
    _write("sampler.json", sampler_vectors())
    _write("parity.json", parity_vectors())
    _write("guided.json", guided_vectors())
    _write("schemas.json", schema_vectors())
    _write("masks.json", mask_vectors())
