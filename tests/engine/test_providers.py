"""Which providers there are, and what is said about the others. None but the CPU's can be tried here."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from localphi.chat import ChatRequest, Message
from localphi.cli import main
from localphi.config import PROVIDERS, ProviderName, Settings
from localphi.doctor import _providers, _runtime
from localphi.engine.client import Engines
from localphi.engine.providers import available_providers, check_provider, genai_name
from localphi.errors import ProviderMissing
from localphi.models.store import ModelStore
from serving import DEMO

RUNTIME = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "dml": "DmlExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}


def _install(monkeypatch: pytest.MonkeyPatch, *, runtime: tuple[str, ...], genai: tuple[str, ...]) -> None:
    """Stand-ins for both packages that say they have these providers."""
    ort, og = ModuleType("onnxruntime"), ModuleType("onnxruntime_genai")
    ort.get_available_providers = lambda: [RUNTIME[name] for name in runtime]  # type: ignore[attr-defined]
    for name in ("cuda", "dml", "webgpu", "openvino"):
        setattr(og, f"is_{name}_available", lambda has=name in genai: has)
    monkeypatch.setitem(sys.modules, "onnxruntime", ort)
    monkeypatch.setitem(sys.modules, "onnxruntime_genai", og)


def test_the_installed_packages_have_the_cpu() -> None:
    assert "cpu" in available_providers()
    check_provider("cpu")


@pytest.mark.parametrize(
    ("runtime", "genai", "found"),
    [
        (("cpu",), ("webgpu", "openvino"), ("cpu",)),
        (("cpu", "cuda"), ("cuda",), ("cpu", "cuda")),
        (("cpu", "cuda"), (), ("cpu",)),
        (("cpu", "dml"), ("dml", "webgpu"), ("cpu", "dml")),
    ],
)
def test_a_provider_is_there_when_both_packages_have_it(
    monkeypatch: pytest.MonkeyPatch,
    runtime: tuple[str, ...],
    genai: tuple[str, ...],
    found: tuple[str, ...],
) -> None:
    """GenAI's CPU wheel says yes to WebGPU and OpenVINO, which the onnxruntime beside it does not have."""
    _install(monkeypatch, runtime=runtime, genai=genai)
    assert available_providers() == found


@pytest.mark.parametrize("name", [name for name in PROVIDERS if name != "cpu"])
@pytest.mark.parametrize("command", [["serve"], ["chat", "Hello"], ["bench"]])
def test_a_missing_provider_is_one_sentence_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str], name: str
) -> None:
    _install(monkeypatch, runtime=("cpu",), genai=("webgpu", "openvino"))
    monkeypatch.setenv("LOCALPHI_HOME", str(tmp_path))
    done = CliRunner().invoke(main, [*command, "--provider", name])
    assert done.exit_code == 1
    assert done.output.startswith(f"Error: The provider '{name}' is not installed, only cpu. ")
    assert done.output.count("\n") == 1


def test_the_worker_refuses_it_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who makes settings without the command line gets the same error, not one of the runtime's."""
    if "cuda" in available_providers():
        pytest.skip("CUDA is installed here")
    engines = Engines(ModelStore(tmp_path), Settings(home=tmp_path, provider="cuda"))
    try:
        with pytest.raises(ProviderMissing, match="onnxruntime-genai-cuda"):
            engines.get("localphi-demo").submit(ChatRequest((Message("user", "Hello"),)))
    finally:
        engines.close()


def test_the_cpu_can_be_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["chat", "--provider", "cpu", "--max-tokens", "3", "Hello"])
    assert done.exit_code == 0, done.output


def test_a_provider_beside_another_backend_is_refused() -> None:
    done = CliRunner().invoke(main, ["serve", "--backend", "openvino", "--provider", "cpu"])
    assert done.exit_code == 1
    assert "--provider is ONNX Runtime's" in done.output


def test_openvino_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    done = CliRunner().invoke(main, ["serve", "--backend", "openvino"])
    assert done.exit_code == 1
    assert "pip install 'localphi[openvino]'" in done.output


@pytest.mark.parametrize("name", PROVIDERS)
def test_genai_knows_the_names(name: ProviderName) -> None:
    assert "Unknown provider" in _refusal("nonsense")
    assert "Unknown provider" not in _refusal(genai_name(name))


def _refusal(provider: str) -> str:
    """What GenAI says when it shall load the demo for a provider; nothing where it does."""
    import onnxruntime_genai as og

    config = og.Config(str(DEMO))
    config.clear_providers()
    try:
        config.append_provider(provider)
        og.Model(config)
    except Exception as error:  # the binding raises bare RuntimeError and its subclasses for everything
        return str(error)
    return ""


def test_doctor_tells_how_to_get_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, runtime=("cpu",), genai=())
    finding = _providers()
    assert finding.ok
    assert "onnxruntime-genai-cuda" in finding.detail
    _install(monkeypatch, runtime=("cpu", "cuda"), genai=("cuda",))
    assert _providers().detail == "cpu, cuda"


def test_doctor_finds_two_runtimes_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localphi.doctor.installed", lambda name: name != "onnxruntime-genai-directml")
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0.18.0")
    finding = _runtime()
    assert not finding.ok
    assert "onnxruntime-genai 0.18.0, onnxruntime-genai-cuda 0.18.0; they install the same" in finding.detail
