"""Other programs on the same weights in the same browser: what they need, and how the page gets it.

Their files come from an npm folder of the user's; only the bench's own server has them.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localphi.errors import BenchFailed
from localphi.models.genai_folder import is_weights
from localphi.models.store import ModelFolder

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

TRANSFORMERS_JS = "transformers.js"
_CODE = Path(__file__).parent / "peers"
_LIBRARY = "@huggingface/transformers"
_VARIANTS = {"webgpu": "webgpu-f32", "wasm": "wasm"}
DEVICES = tuple(_VARIANTS)
_ORT = "onnxruntime-web/dist/ort.webgpu.bundle.min.mjs"


@dataclass(frozen=True)
class TransformersJs:
    """transformers.js in a folder that npm filled, for one model."""

    modules: Path
    model: ModelFolder
    device: str

    @classmethod
    def found(cls, folder: Path, model: ModelFolder, device: str) -> TransformersJs:
        """Raises BenchFailed with the command that installs it."""
        modules = folder / "node_modules"
        library = modules / _LIBRARY / "dist" / "transformers.web.min.js"
        if not library.is_file() or not (modules / "onnxruntime-web").is_dir():
            command = f"npm install --prefix {folder} --ignore-scripts --omit=optional {_LIBRARY}@4"
            raise BenchFailed(f"{TRANSFORMERS_JS} is not in {modules}. Install it with: {command}")
        return cls(modules, model, device)

    @property
    def versions(self) -> dict[str, str]:
        return {name: _version(self.modules / name) for name in (_LIBRARY, "onnxruntime-web")}

    def put_beside(self, page_dir: Path) -> None:
        """Put all files that the page needs for it into the folder that a server serves."""
        place = page_dir / "bench-peers" / TRANSFORMERS_JS
        files = {
            "worker.mjs": (_CODE / "transformers_js_worker.mjs").read_bytes(),
            "library.mjs": self._library(),
            **{f"models/{self.model.id}/{name}": data for name, data in self._model_files().items()},
        }
        for name, data in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)
        (place / "ort").mkdir()
        for path in (self.modules / "onnxruntime-web" / "dist").glob("ort*asyncify*"):
            shutil.copyfile(path, place / "ort" / path.name)
        shutil.copyfile(self.modules / _ORT, place / "ort" / Path(_ORT).name)

    def attach(self, context: BrowserContext) -> None:
        """Make it known to the pages of the context."""
        context.add_init_script(path=_CODE / "transformers_js_page.js")

    def _library(self) -> bytes:
        """Its module with addresses in the place of names, which only bundlers resolve."""
        text = (self.modules / _LIBRARY / "dist" / "transformers.web.min.js").read_text(encoding="utf-8")
        return re.sub(r'"onnxruntime-(?:web/webgpu|common)"', f'"./ort/{Path(_ORT).name}"', text).encode()

    def _model_files(self) -> dict[str, bytes]:
        """Without a generation_config.json: so nothing ends an answer early."""
        config = json.loads((self.model.path / "genai_config.json").read_text(encoding="utf-8"))
        variant = self.model.manifest.variants.get(_VARIANTS[self.device])
        if variant is None:
            raise BenchFailed(f"The model '{self.model.id}' has no files for {self.device}.")
        graph = next(file for file in variant.files if file.endswith(".onnx"))
        weights = [file for file in variant.files if is_weights(file) and file != graph]
        return {
            "config.json": json.dumps(_config(config["model"], weights)).encode(),
            "onnx/model.onnx": (self.model.path / graph).read_bytes(),
        }


def _config(model: dict[str, Any], weights: list[str]) -> dict[str, Any]:
    """What transformers.js wants to know of a decoder."""
    decoder = model["decoder"]
    return {
        "model_type": "phi3",
        "architectures": ["Phi3ForCausalLM"],
        "vocab_size": model["vocab_size"],
        "hidden_size": decoder["hidden_size"],
        "head_dim": decoder["head_size"],
        "num_attention_heads": decoder["num_attention_heads"],
        "num_key_value_heads": decoder["num_key_value_heads"],
        "num_hidden_layers": decoder["num_hidden_layers"],
        "localphi_weights": weights,
    }


def _version(package: Path) -> str:
    return str(json.loads((package / "package.json").read_text(encoding="utf-8"))["version"])
