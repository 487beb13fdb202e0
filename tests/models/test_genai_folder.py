from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from localphi.errors import ModelFolderInvalid
from localphi.models.catalogue import catalogue
from localphi.models.genai_folder import CONFIG, TOKENIZER_CONFIG, prompt_format_of, read_genai_config
from tiny_phi import PHI_3, PHI_4, Family, small_files


def _folder(path: Path, family: Family, **changes: dict[str, Any]) -> Path:
    """A folder of the family. changes: fields of files, by the file's name without `.json`."""
    for name, data in small_files(family).items():
        document = json.loads(data) | changes.get(name.removesuffix(".json"), {})
        (path / name).write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize(("family", "name"), [(PHI_3, "phi-3"), (PHI_4, "phi-4")])
def test_the_format_of_a_family_gets_the_control_tokens_of_the_tokenizer(
    tmp_path: Path, family: Family, name: str
) -> None:
    assert prompt_format_of(_folder(tmp_path, family), catalogue().families[name]) == family.prompt_format


def test_a_tokenizer_without_tool_tokens_gives_a_format_without_them(tmp_path: Path) -> None:
    found = prompt_format_of(_folder(tmp_path, PHI_3), catalogue().families["phi-4"])
    assert (found.tools, found.tool_call) == (None, None)
    assert set(found.roles) == {"system", "user", "assistant"}


def test_runs_of_spaces_are_no_control_tokens(tmp_path: Path) -> None:
    tokens = [{"content": text} for text in ("<|endoftext|>", "    ", "\t\t")]
    folder = _folder(tmp_path, PHI_3, tokenizer={"added_tokens": tokens})
    assert prompt_format_of(folder, catalogue().families["phi-2"]).control == ("<|endoftext|>",)


@pytest.mark.parametrize(
    ("config", "prefix"),
    [
        ({"bos_token": "<s>", "chat_template": "{{ bos_token }}{{ messages }}"}, "<s>"),
        ({"bos_token": {"content": "<s>"}, "chat_template": "{{ bos_token }}{{ messages }}"}, "<s>"),
        ({"bos_token": "<s>", "chat_template": "{{ messages }}"}, ""),
        ({"bos_token": "<s>", "chat_template": "{{ bos_token }}", "add_bos_token": True}, ""),
        ({"bos_token": None, "chat_template": None}, ""),
    ],
)
def test_the_beginning_token_is_written_where_the_template_writes_it(
    tmp_path: Path, config: dict[str, Any], prefix: str
) -> None:
    folder = _folder(tmp_path, PHI_3, tokenizer_config=config)
    assert prompt_format_of(folder, catalogue().families["phi-3"]).prefix == prefix


def test_a_template_in_a_file_of_its_own_counts(tmp_path: Path) -> None:
    folder = _folder(tmp_path, PHI_3, tokenizer_config={"bos_token": "<s>"})
    (folder / "chat_template.jinja").write_text("{{ bos_token }}", encoding="utf-8")
    assert prompt_format_of(folder, catalogue().families["phi-3"]).prefix == "<s>"


def test_bytes_of_a_token_follow_from_the_shapes(tmp_path: Path) -> None:
    shapes = read_genai_config(_folder(tmp_path, PHI_4))
    assert shapes.kv_bytes_per_token(2) == 2 * 1 * 2 * 16 * 2
    assert (shapes.context_length, shapes.graph) == (32_768, "model.onnx")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "model"),
        ('{"model": {"context_length": 0, "decoder": {}}}', "context_length is 0"),
        ('{"model": {"context_length": true, "decoder": {}}}', "context_length is True"),
        ('{"model": []}', CONFIG),
        ("[]", "not a JSON object"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_a_broken_config_is_refused_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / CONFIG).write_text(text, encoding="utf-8")
    with pytest.raises(ModelFolderInvalid, match=said):
        read_genai_config(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (_folder(tmp_path, PHI_3) / TOKENIZER_CONFIG).unlink()
    with pytest.raises(ModelFolderInvalid, match=TOKENIZER_CONFIG):
        prompt_format_of(tmp_path, catalogue().families["phi-3"])
