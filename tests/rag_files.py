"""Documents and embedding models, as small as they can be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from pypdf import PdfWriter
from pypdf.generic import IndirectObject
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from localphi_agents.rag.embedding import Kind, LocalEmbedding, Vectors, unit

VOCABULARY = ("[PAD]", "[UNK]", "cat", "dog", "car", "sleeps", "drives", "query", "passage", "fish")


def write_encoder(
    folder: Path,
    *,
    seed: int = 0,
    output: str = "last_hidden_state",
    pooling: str | None = None,
    max_length: int | None = None,
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """A model folder whose hidden states are a table's rows; gives the table, (V, D)."""
    folder.mkdir(parents=True, exist_ok=True)
    table = np.random.default_rng(seed).standard_normal((len(VOCABULARY), 8)).astype(np.float32)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "T"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])]
    shape: list[str | int] = ["B", "T", 8]
    if output == "sentence_embedding":
        nodes.append(helper.make_node("ReduceMax", ["last_hidden_state", "axis"], [output], keepdims=0))
        shape = ["B", 8]
    values = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1]), "axis")]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "encoder", inputs, outputs, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(folder / "model.onnx"))
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    if pooling is not None:
        (folder / "1_Pooling").mkdir(exist_ok=True)
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{pooling}": True}))
    if max_length is not None:
        (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": max_length}))
    return table


def hub_files(folder: Path, *, pooling: str = "mean_tokens", seed: int = 0) -> dict[str, bytes]:
    """An encoder as a repository of the hub has it, with other files beside those that are wanted."""
    write_encoder(folder, seed=seed, pooling=pooling, max_length=3)
    graph = (folder / "model.onnx").read_bytes()
    modules = [
        {"type": f"sentence_transformers.models.{kind}"} for kind in ("Transformer", "Pooling", "Normalize")
    ]
    return {
        "README.md": b"# An encoder",
        "model.safetensors": b"weights for others",
        "onnx/model.onnx": graph,
        "onnx/model_O4.onnx": graph,
        "modules.json": json.dumps(modules).encode(),
        "config_sentence_transformers.json": b'{"prompts": {"query": "", "document": ""}}',
        **{
            name: (folder / name).read_bytes()
            for name in ("tokenizer.json", "1_Pooling/config.json", "sentence_bert_config.json")
        },
    }


def pdf(pages: Sequence[str]) -> bytes:
    """A PDF with one line of text a page."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for n, text in enumerate(pages):
        drawn = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET" if text else ""
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * n} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream")
    body, offsets = "%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    end = f"trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    return f"{body}xref\n0 {size}\n0000000000 65535 f \n{table}{end}".encode("latin-1")


def with_outline(data: bytes, headings: Sequence[tuple[str, int, str | None]]) -> bytes:
    """The PDF with these headings: title, page from 0, and the title of the one above."""
    writer = PdfWriter(clone_from=BytesIO(data))
    made: dict[str | None, IndirectObject | None] = {None: None}
    for title, page, above in headings:
        made[title] = writer.add_outline_item(title=title, page_number=page, parent=made[above])
    file = BytesIO()
    writer.write(file)
    return file.getvalue()


class Letters(LocalEmbedding):
    """How often each letter is in a text: an embedding whose answers a reader can foretell."""

    def __init__(self, name: str = "letters") -> None:
        super().__init__(ai_model_id=name, service_id=name)

    @property
    def identity(self) -> str:
        return self.ai_model_id

    @property
    def dimensions(self) -> int:
        return 26

    def embed(self, texts: Sequence[str], kind: Kind = "passage") -> Vectors:
        counts = [[text.lower().count(chr(97 + n)) for n in range(26)] for text in texts]
        return unit(np.array(counts, np.float32).reshape(len(texts), 26))
