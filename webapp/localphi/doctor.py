"""What this machine can do: runtime, cores, GPU, browsers, disk, models, page."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from localphi.config import Settings, available_threads, disable_telemetry, program_folders
from localphi.engine.providers import CUDA_PACKAGE, GENAI_PACKAGES, available_providers, installed
from localphi.errors import LocalphiError
from localphi.models.store import ModelFolder, ModelStore, find_damage
from localphi.security import key_names

_BROWSERS = (
    ("Edge", ("msedge", "microsoft-edge", "microsoft-edge-stable", "Microsoft/Edge/Application/msedge")),
    ("Chrome", ("google-chrome", "google-chrome-stable", "chrome", "Google/Chrome/Application/chrome")),
    ("Chromium", ("chromium", "chromium-browser")),
)
_GPU_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
_MAC_APPS = {"Edge": "Microsoft Edge.app", "Chrome": "Google Chrome.app", "Chromium": "Chromium.app"}


@dataclass(frozen=True)
class Finding:
    """One line of the report. needed: localphi does not work without it."""

    subject: str
    ok: bool
    detail: str
    needed: bool = False


def examine(settings: Settings) -> list[Finding]:
    """Every finding, in the order of the report. Loads no model and starts no server."""
    disable_telemetry()
    return [
        Finding("python", True, f"{platform.python_version()} on {platform.platform(terse=True)}"),
        _runtime(),
        _providers(),
        _openvino(),
        _gpu(),
        _threads(settings),
        _browsers(),
        _disk(settings),
        *_models(settings),
        _page(settings),
        _access(settings),
        Finding("telemetry", True, "off: onnxruntime and huggingface_hub report nothing"),
    ]


def find_browsers(folders: Iterable[Path] | None = None) -> dict[str, Path]:
    """Installed browsers that can run the page on WebGPU, by name."""
    folders = program_folders() if folders is None else list(folders)
    found: dict[str, Path] = {}
    for name, programs in _BROWSERS:
        candidates = [
            folder / (program + end) for folder in folders for program in programs for end in ("", ".exe")
        ]
        candidates.append(Path("/Applications") / _MAC_APPS[name])
        path = next((candidate for candidate in candidates if candidate.exists()), None)
        if path is not None:
            found[name] = path
    return found


def server_device() -> str:
    """The device that models for the server are best pulled for on this machine."""
    disable_telemetry()
    import onnxruntime

    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    return "server-cuda" if has_cuda and installed(CUDA_PACKAGE) else "server-cpu"


def _runtime() -> Finding:
    import onnxruntime

    genai = [name for name in GENAI_PACKAGES if installed(name)]
    if not genai:
        return Finding("runtime", False, "onnxruntime-genai is missing: install localphi again", needed=True)
    named = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in genai)
    detail = f"onnxruntime {onnxruntime.__version__}, {named}"
    if len(genai) > 1:
        detail += "; they install the same module, so keep one: README, 'Other providers'"
    return Finding("runtime", len(genai) == 1, detail, needed=True)


def _providers() -> Finding:
    """Which there are, and how to get one that is not."""
    available = available_providers()
    detail = ", ".join(available)
    if available == ("cpu",):
        detail += (
            "; the server computes on the CPU, the page can use a GPU through WebGPU. For the server: "
            "onnxruntime-genai-cuda (NVIDIA), onnxruntime-genai-directml (Windows), README 'Other providers'"
        )
    return Finding("providers", True, detail)


def _openvino() -> Finding:
    if not installed("openvino-genai"):
        return Finding(
            "openvino", True, "not installed; reads prompts faster on CPUs: pip install 'localphi[openvino]'"
        )
    return Finding("openvino", True, f"openvino-genai {importlib.metadata.version('openvino-genai')}")


def _gpu(cards: Path = Path("/sys/class/drm")) -> Finding:
    """What Linux lists; other systems keep it where only the browser looks it up."""
    if not cards.is_dir():
        return Finding("gpu", True, "not looked up on this system; edge://gpu or chrome://gpu shows it")
    vendors = {file.read_text(encoding="ascii").strip() for file in cards.glob("card*/device/vendor")}
    names = sorted(_GPU_VENDORS.get(vendor, f"vendor {vendor}") for vendor in vendors)
    if not names:
        return Finding("gpu", False, "none found; the page uses WASM")
    return Finding("gpu", True, ", ".join(names) + "; the page uses it through WebGPU where the browser can")


def _threads(settings: Settings) -> Finding:
    return Finding(
        "cores", True, f"{available_threads()} usable, the server computes with {settings.threads}"
    )


def _browsers() -> Finding:
    found = find_browsers()
    if not found:
        detail = "no Edge, Chrome or Chromium found; other browsers use WASM or the server route"
        return Finding("browser", False, detail)
    return Finding("browser", True, ", ".join(f"{name} ({path})" for name, path in found.items()))


def _disk(settings: Settings) -> Finding:
    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    free_gb = shutil.disk_usage(folder).free / 1e9
    detail = f"{free_gb:.1f} GB free for models in {settings.home}"
    return Finding(
        "disk", free_gb >= 5, detail + ("" if free_gb >= 5 else "; a full-size Phi needs about 5 GB")
    )


def _models(settings: Settings) -> list[Finding]:
    folders = ModelStore(settings.home).folders()
    if not folders:
        return [
            Finding(
                "model", False, "none found: the installation is incomplete, install it again", needed=True
            )
        ]
    findings = []
    for folder in folders:
        damage = find_damage(folder)
        size = f"{folder.size_bytes / 1e6:.1f} MB"
        detail = damage[0].message if damage else f"{size}, every file whole; {_served(folder)}"
        findings.append(Finding(f"model {folder.id}", not damage, detail, needed=True))
    return findings


def _served(folder: ModelFolder) -> str:
    variant = folder.manifest.server_variant
    if variant is None:
        return "for browsers only"
    return f"answers share a step on the server: {'yes' if variant.paged else 'no, it has no paged graph'}"


def _access(settings: Settings) -> Finding:
    """Who could use a server that is started with these settings."""
    try:
        names = key_names(settings)
    except LocalphiError as error:
        return Finding("access", False, error.message)
    if not names:
        detail = "open to every program of this machine, closed to others: there are no access keys"
        return Finding("access", True, detail)
    return Finding("access", True, f"closed: the server wants one of the access keys {', '.join(names)}")


def _page(settings: Settings) -> Finding:
    built = (settings.page_dir / "index.html").is_file()
    detail = (
        str(settings.page_dir)
        if built
        else "not built: run `make serve`, or `npm ci && npm run build` in static/"
    )
    return Finding("page", built, detail, needed=True)
