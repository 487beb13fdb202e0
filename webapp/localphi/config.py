"""Settings, and the only place that reads or writes the environment.

LOCALPHI_HOME      folder of the model store (default: the platform's user data directory)
LOCALPHI_THREADS   threads the runtime computes with (default: every core this process may use)
LOCALPHI_API_KEYS  access keys of the server, `key` or `name:key`, apart by commas or white space
LOCALPHI_UPSTREAM_KEY  access key for the servers that compute in this one's place
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import platformdirs

DEMO_MODEL = "localphi-demo"
MAX_THREADS = 256
BackendName = Literal["auto", "paged", "generator", "openvino", "echo"]
EngineName = Literal["local", "remote", "ray"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
ProviderName = Literal["cpu", "cuda", "dml", "webgpu", "openvino"]
PROVIDERS: tuple[ProviderName, ...] = get_args(ProviderName)
BACKENDS: tuple[BackendName, ...] = ("auto", "paged", "generator", "openvino")  # those with a model


def available_threads() -> int:
    """Cores this process may run on. ONNX Runtime GenAI's own default is half of them, at half the speed."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def disable_telemetry() -> None:
    """Keep onnxruntime, OpenVINO and huggingface_hub from reporting home. Call before they are imported.

    Symptom otherwise: the official wheels create `deviceid` and an event database in the user's cache
    folder on import and start an upload thread (onnxruntime 1.31, onnxruntime-genai 0.18);
    huggingface_hub 2.4 tells the hub what else is installed, and asks it which programs to look for;
    openvino 2026.4 writes a client id into the user's home on import, and its converters send it off. It has
    no variable against that, but a stub that it takes where its telemetry package cannot be imported.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    if "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # an import of it fails


def quiet_ray() -> None:
    """Keep Ray from reporting home, and from filling the terminal. Call before it is imported.

    Symptom otherwise: `ray.init` starts to send usage statistics (Ray 2.60) after one line about it.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else a warning at each start
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # whoever has no token of this user may ask Ray nothing


def ray_on_loopback(token_file: Path) -> None:
    """Keep a Ray that is started here to this machine and this process. Call before it is imported.

    token_file: will hold what Ray's connections must know; else it is in the user's home, for all to read.
    Otherwise it takes an address that others can reach, also when it is given 127.0.0.1 (Ray 2.60). The name
    of the switch is of the days when only Linux had clusters.
    """
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    quiet_ray()
    token_file.touch(mode=0o600)
    token_file.write_text(secrets.token_hex(32), encoding="ascii")
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token_file)


def forget_secrets() -> None:
    """Take keys and tokens out of the environment, so that what is started from here does not have them."""
    for name in (
        "LOCALPHI_API_KEYS",
        "LOCALPHI_API_KEY",
        "LOCALPHI_UPSTREAM_KEY",
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
    ):
        os.environ.pop(name, None)


def offline_environment() -> dict[str, str]:
    """This process's environment for a child that shall ask no hub for anything and report nothing."""
    return dict(os.environ) | {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
    }


def program_folders() -> list[Path]:
    """Where programs are looked for: PATH, then the install folders of Windows."""
    names = ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")
    windows = [Path(os.environ[name]) for name in names if name in os.environ]
    return [Path(entry) for entry in os.get_exec_path()] + windows


def default_page_dir() -> Path:
    """The built page: inside an installed wheel, else `static/dist` of a source checkout."""
    package = Path(__file__).parent
    installed = package / "page"
    return installed if installed.is_dir() else package.parent.parent / "static" / "dist"


def _default_home() -> Path:
    return Path(platformdirs.user_data_dir("localphi", appauthor=False))


@dataclass(frozen=True)
class Settings:
    """Everything the server needs to know, passed in and never looked up again.

    model: id in the store, or path of a model folder; answers requests that name no model.
    provider: what ONNX Runtime computes with; None is what the model's own configuration names.
    max_requests: requests the server may hold, running and waiting; more are answered 429.
    max_active: requests a model works on at the same time.
    kv_budget_bytes: memory that the KV caches of one model may take together, those of answers at work and
    those kept for the turns that follow. Bounds the context, too.
    memory_budget_bytes: memory that all loaded models may take together, by estimate; None: three quarters of
    the machine's. idle_unload_s: a model that nobody wanted for so long is unloaded; 0: never.
    api_keys, key_file: access keys as `keys.parse_keys` reads them, beside those of the store.
    allow_hosts: names, beside its address, under which the server may be asked.
    allow_origins: origins of other pages that may use it.
    engine: who computes answers: this machine, other servers of OpenAI's API, or replicas in Ray.
    upstreams: addresses of those servers. upstream_key, upstream_key_file: the access key that they want.
    replicas: in Ray, at the most.
    trace_to: address of a collector that gets OpenTelemetry's spans.
    hub_token: for models that the hub gives to some people only.
    """

    home: Path = field(default_factory=_default_home)
    host: str = "127.0.0.1"
    port: int = 8000
    model: str = DEMO_MODEL
    backend: BackendName = "auto"
    provider: ProviderName | None = None
    threads: int = field(default_factory=available_threads)
    max_requests: int = 32
    max_active: int = 8
    kv_budget_bytes: int = 4 * 1024**3
    memory_budget_bytes: int | None = None
    idle_unload_s: float = 15 * 60
    page_dir: Path = field(default_factory=default_page_dir)
    api_keys: str = field(default="", repr=False)
    key_file: Path | None = None
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    engine: EngineName = "local"
    upstreams: tuple[str, ...] = ()
    replicas: int = 2
    trace_to: str | None = None
    upstream_key: str = field(default="", repr=False)
    upstream_key_file: Path | None = None
    hub_token: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, /, **overrides: object) -> Settings:
        """Settings with LOCALPHI_* applied, then `overrides` that are not None. Raises ValueError."""
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        if home := environ.get("LOCALPHI_HOME"):
            values["home"] = _folder("LOCALPHI_HOME", home)
        if threads := environ.get("LOCALPHI_THREADS"):
            values["threads"] = _thread_count("LOCALPHI_THREADS", threads)
        if keys := environ.get("LOCALPHI_API_KEYS"):
            values["api_keys"] = keys
        if key := environ.get("LOCALPHI_UPSTREAM_KEY"):
            values["upstream_key"] = key.strip()
        if token := environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN"):
            values["hub_token"] = token
        values.update({name: value for name, value in overrides.items() if value is not None})
        return cls(**values)


def _folder(name: str, text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # ~somebody who is not known here
        raise ValueError(f"{name} must be a folder, but is {text!r}: {error}") from error


def _thread_count(name: str, text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_THREADS:
        raise ValueError(f"{name} must be a whole number from 1 to {MAX_THREADS}, but is {text!r}.")
    return int(text)
