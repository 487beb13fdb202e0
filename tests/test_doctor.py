from __future__ import annotations

from pathlib import Path

import pytest

from localphi.doctor import _gpu, find_browsers, server_device


def test_browsers_are_found_by_the_names_of_their_programs(tmp_path: Path) -> None:
    edge = tmp_path / "Microsoft" / "Edge" / "Application" / "msedge.exe"
    edge.parent.mkdir(parents=True)
    edge.touch()
    (tmp_path / "chromium").touch()
    assert find_browsers([tmp_path]) == {"Edge": edge, "Chromium": tmp_path / "chromium"}


@pytest.mark.parametrize(
    ("vendors", "ok", "said"),
    [([], False, "none found"), (["0x10de", "0x8086"], True, "Intel, NVIDIA"), (["0x1234"], True, "0x1234")],
)
def test_graphics_cards_are_told_by_their_makers(
    tmp_path: Path, vendors: list[str], ok: bool, said: str
) -> None:
    for number, vendor in enumerate(vendors):
        (tmp_path / f"card{number}" / "device").mkdir(parents=True)
        (tmp_path / f"card{number}" / "device" / "vendor").write_text(vendor + "\n", encoding="ascii")
    finding = _gpu(tmp_path)
    assert finding.ok is ok
    assert said in finding.detail


@pytest.mark.parametrize(
    ("provider", "installed", "device"),
    [
        ("CPUExecutionProvider", True, "server-cpu"),
        ("CUDAExecutionProvider", False, "server-cpu"),
        ("CUDAExecutionProvider", True, "server-cuda"),
    ],
)
def test_models_are_pulled_for_cuda_only_where_the_runtime_has_it(
    monkeypatch: pytest.MonkeyPatch, provider: str, installed: bool, device: str
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [provider])
    monkeypatch.setattr("localphi.doctor.installed", lambda _: installed)
    assert server_device() == device
