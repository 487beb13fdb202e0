"""A Hugging Face folder with random weights. Runs in a process of its own, whose memory goes with it:

python -m localphi.toolchain.build.checkpoint FOLDER < config.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from localphi.toolchain.build.processes import run_python
from localphi.toolchain.build.shapes import Shape
from localphi.toolchain.build.vocabulary import write_tokenizer


def write_checkpoint(shape: Shape, layers: int, folder: Path, log: Path) -> None:
    """Fill `folder` with a model of that shape and so many layers, in bfloat16, and a tokenizer.

    The same weights each time. Raises CannotBuild, with what the process said last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = shape.with_layers(layers)
    run_python([__name__, str(folder)], log, "making random weights", stdin=json.dumps(config))
    (folder / "generation_config.json").write_text(
        json.dumps({"bos_token_id": config["bos_token_id"], "eos_token_id": list(shape.end)}),
        encoding="utf-8",
    )
    write_tokenizer(
        folder,
        config["vocab_size"],
        shape.tokens,
        begin=config["bos_token_id"],
        end=config["eos_token_id"],
        context=config["max_position_embeddings"],
    )


def _main(folder: Path, config: dict[str, Any]) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    parsed: Any = AutoConfig.for_model(**config)
    untyped: Any = AutoModelForCausalLM
    model = untyped.from_config(parsed, dtype=torch.bfloat16)
    model.save_pretrained(str(folder))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), json.load(sys.stdin))
