from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from localphi.errors import LocalphiError, ModelDamaged, ModelFolderInvalid, ModelNotFound
from localphi.models.manifest import MANIFEST_NAME
from localphi.models.store import ModelStore, find_damage
from serving import DEMO


def test_the_demo_model_is_always_there(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "nowhere")
    assert [folder.id for folder in store.folders()] == ["localphi-demo"]
    assert store.default().bundled
    assert find_damage(store.default()) == []


def test_a_model_of_the_user_hides_the_bundled_one(tmp_path: Path, demo_copy: Path) -> None:
    folder = ModelStore(tmp_path / "home").get("localphi-demo")
    assert folder.path == demo_copy
    assert not folder.bundled


def test_an_unknown_id_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"'nope'.*localphi-demo"):
        ModelStore(tmp_path).get("nope")


@pytest.mark.parametrize("model_id", ["../../etc", "/etc", "", ".", "localphi-demo/.."])
def test_an_id_is_never_a_path(tmp_path: Path, model_id: str) -> None:
    with pytest.raises(ModelNotFound):
        ModelStore(tmp_path).get(model_id)


def test_a_folder_anywhere_can_be_pinned_and_comes_first(tmp_path: Path) -> None:
    folder = tmp_path / "my-phi"
    shutil.copytree(DEMO, folder)
    document = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    (folder / MANIFEST_NAME).write_text(json.dumps({**document, "id": "my-phi"}), encoding="utf-8")
    store = ModelStore(tmp_path / "home").pin(str(folder))
    assert [model.id for model in store.folders()] == ["my-phi", "localphi-demo"]


def test_a_missing_folder_is_told_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="gone"):
        ModelStore(tmp_path).pin(str(tmp_path / "gone"))


def test_a_broken_folder_hides_nothing_but_itself(tmp_path: Path) -> None:
    broken = tmp_path / "models" / "bad"
    broken.mkdir(parents=True)
    (broken / MANIFEST_NAME).write_text("[" * 100_000, encoding="utf-8")
    store = ModelStore(tmp_path)
    assert [folder.id for folder in store.folders()] == ["localphi-demo"]
    with pytest.raises(ModelFolderInvalid):
        store.get("bad")


def test_a_folder_that_is_no_model_is_told_apart_from_a_missing_one(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderInvalid):
        ModelStore(tmp_path).pin(str(tmp_path))


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_flipped_byte_is_found_and_repaired(tmp_path: Path, demo_copy: Path) -> None:
    store = ModelStore(tmp_path / "home")
    folder = store.get("localphi-demo")
    _flip(demo_copy / "model.onnx.data")
    (problem,) = find_damage(folder)
    assert problem.file == "model.onnx.data"
    assert f"localphi models repair {demo_copy}" in problem.message
    assert store.repair(folder) == ["model.onnx.data"]
    assert find_damage(folder) == []
    assert sorted(path.name for path in demo_copy.iterdir()) == sorted(path.name for path in DEMO.iterdir())


@pytest.mark.parametrize(
    ("damage", "said"), [(Path.unlink, "missing"), (lambda p: p.write_bytes(b"x"), "1 bytes")]
)
def test_missing_and_short_files_are_told(
    tmp_path: Path, demo_copy: Path, damage: Callable[[Path], object], said: str
) -> None:
    damage(demo_copy / "tokenizer.json")
    (problem,) = find_damage(ModelStore(tmp_path / "home").get("localphi-demo"))
    assert said in problem.message


def test_a_damaged_package_names_pip_and_is_not_touched(tmp_path: Path) -> None:
    bundled = tmp_path / "bundled"
    shutil.copytree(DEMO, bundled / "localphi-demo")
    _flip(bundled / "localphi-demo" / "model.onnx")
    store = ModelStore(tmp_path / "home", bundled)
    with pytest.raises(ModelDamaged, match="pip install --force-reinstall"):
        store.repair(store.get("localphi-demo"))


def test_a_removed_model_is_gone_and_the_bundled_one_is_back(tmp_path: Path, demo_copy: Path) -> None:
    store = ModelStore(tmp_path / "home")
    store.remove(store.get("localphi-demo"))
    assert list(store.models_dir.iterdir()) == []
    assert store.get("localphi-demo").bundled


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "elsewhere")
    store = ModelStore(tmp_path / "home")
    store.models_dir.mkdir(parents=True)
    (store.models_dir / "localphi-demo").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    store.remove(store.get("localphi-demo"))
    assert store.get("localphi-demo").bundled
    assert (tmp_path / "elsewhere" / MANIFEST_NAME).is_file()


def test_a_folder_outside_the_store_is_not_removed(tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "mine")
    store = ModelStore(tmp_path / "home")
    with pytest.raises(LocalphiError, match="delete the folder yourself"):
        store.remove(store.pin(str(tmp_path / "mine")).default())
    assert (tmp_path / "mine" / MANIFEST_NAME).is_file()


def test_folders_with_a_dot_are_no_models(tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "models" / ".pulling" / "half")
    shutil.copytree(DEMO, tmp_path / "models" / ".removed-1-x")
    assert [folder.bundled for folder in ModelStore(tmp_path).folders()] == [True]
    with pytest.raises(ModelNotFound):
        ModelStore(tmp_path).get(".removed-1-x")
