"""Access keys: made, kept, read, recognised."""

from __future__ import annotations

import errno
import hmac
import json
import os
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from localphi import keys
from localphi.cli import main
from localphi.config import Settings
from localphi.doctor import examine
from localphi.errors import KeysUnusable
from localphi.keys import Key, KeyRing, KeyStore, digest_of, parse_keys

SECRET = "sk-this-is-the-secret-key"
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="modes of files")


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "home")


def test_a_new_key_opens_and_is_kept_as_a_hash_only(store: KeyStore) -> None:
    key = store.new("alice")
    assert KeyRing(store).name_of(key) == "alice"
    kept = store.path.read_text(encoding="utf-8")
    assert key not in kept
    assert key.removeprefix("localphi-") not in kept
    assert digest_of(key).hex() in kept


def test_keys_are_long_and_never_the_same(store: KeyStore) -> None:
    made = {store.new(f"k{number}") for number in range(20)}
    assert len(made) == 20
    assert all(len(key) >= 50 for key in made)


@POSIX
def test_only_the_owner_may_read_the_file(store: KeyStore) -> None:
    before = os.umask(0)
    try:
        store.new("alice")
        store.new("bob")
    finally:
        os.umask(before)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["", "a b", "-x", "a/b", "ä", "x" * 65, "a\n"])
def test_a_name_that_is_none_is_refused(store: KeyStore, name: str) -> None:
    with pytest.raises(KeysUnusable, match="1 to 64 characters"):
        store.new(name)
    assert not store.path.exists()


def test_names_are_told_apart_and_unknown_ones_are_named(store: KeyStore) -> None:
    store.new("alice")
    with pytest.raises(KeysUnusable, match="localphi keys rm alice"):
        store.new("alice")
    with pytest.raises(KeysUnusable, match="Known keys: alice"):
        store.remove("bob")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "[" * 100_000, '{"schema": 2, "keys": []}', '{"schema": 1, "keys": {}}',
     '{"schema": 1, "keys": [{"name": "a", "sha256": "00", "created": ""}]}',
     '{"schema": 1, "keys": [{"name": "a", "created": ""}]}'],
)  # fmt: skip
def test_a_file_that_is_none_of_ours_never_means_no_keys(store: KeyStore, text: str) -> None:
    store.path.parent.mkdir(parents=True)
    store.path.write_text(text, encoding="utf-8")
    with pytest.raises(KeysUnusable, match="holds no access keys"):
        KeyRing(store)
    with pytest.raises(KeysUnusable):
        store.new("alice")
    assert store.path.read_text(encoding="utf-8") == text


def test_a_full_disk_leaves_the_keys_as_they_were(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.new("alice")
    before = store.path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(KeysUnusable, match="No space left"):
        store.new("bob")
    assert store.path.read_bytes() == before
    assert {path.name for path in store.path.parent.iterdir()} <= {store.path.name, "access-keys.lock"}


def test_keys_made_at_the_same_time_are_all_kept(store: KeyStore) -> None:
    makers = [threading.Thread(target=store.new, args=(f"k{number}",)) for number in range(8)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len(store.keys()) == 8


def test_a_running_server_takes_notice_of_new_and_removed_keys(store: KeyStore) -> None:
    ring = KeyRing(store)
    assert not ring.closed
    key = store.new("alice")
    assert ring.closed
    assert ring.name_of(key) == "alice"
    store.remove("alice")
    assert ring.name_of(key) is None
    assert ring.closed, "the last key is gone, which opens nothing"


def test_a_file_damaged_or_deleted_while_serving_lets_nobody_in(store: KeyStore) -> None:
    key = store.new("alice")
    ring = KeyRing(store)
    store.path.write_text("broken", encoding="utf-8")
    assert (ring.name_of(key), ring.closed) == (None, True)
    store.path.unlink()
    assert (ring.name_of(key), ring.closed) == (None, True)


def test_a_file_damaged_while_an_open_server_runs_closes_it(store: KeyStore) -> None:
    ring = KeyRing(store)
    store.path.parent.mkdir(parents=True)
    store.path.write_text("broken", encoding="utf-8")
    assert ring.closed


def test_every_key_is_compared_whichever_it_is(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [Key(f"k{number}", digest_of(f"secret-number-{number:04}")) for number in range(5)]
    ring = KeyRing(store, given)
    compared: list[bytes] = []

    def compare(known: Any, presented: Any) -> bool:
        compared.append(known)
        return hmac.compare_digest(known, presented)

    monkeypatch.setattr(keys, "hmac", type("Hmac", (), {"compare_digest": staticmethod(compare)}))
    for key, name in (("secret-number-0000", "k0"), ("secret-number-0004", "k4"), ("nope", None)):
        compared.clear()
        assert ring.name_of(key) == name
        assert len(compared) == 5


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (SECRET, ["key-1"]),
        (f"alice:{SECRET}", ["alice"]),
        (f"# ours\nalice:{SECRET}  # hers\n\n{SECRET}2\n", ["alice", "key-2"]),
        (f"a:{SECRET},b:{SECRET}2", ["a", "b"]),
        ("", []),
        ("# nobody\n", []),
    ],
)
def test_keys_are_read_with_and_without_names(text: str, names: list[str]) -> None:
    assert [key.name for key in parse_keys(text, "keys.txt")] == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("short", "Key 1 of keys.txt must have 16 to 256"),
        (f"{SECRET}\n{'x' * 257}", "Key 2 of keys.txt"),
        ("ünïcödé-secret-of-length", "letters, digits"),
        (f"a/b:{SECRET}", "The name of key 1"),
        (f"a:{SECRET} a:{SECRET}2", "several keys of the name 'a'"),
    ],
)
def test_a_bad_entry_is_told_without_the_key(text: str, said: str) -> None:
    with pytest.raises(KeysUnusable, match=said) as caught:
        parse_keys(text, "keys.txt")
    assert SECRET not in caught.value.message
    assert "short" not in caught.value.message


def test_settings_never_show_their_keys() -> None:
    settings = Settings.from_environment({"LOCALPHI_API_KEYS": f"alice:{SECRET}"})
    assert settings.api_keys == f"alice:{SECRET}"
    assert SECRET not in repr(settings)


def _run(home: Path, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["keys", *arguments], env={"LOCALPHI_HOME": str(home)})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_command_shows_a_key_once(tmp_path: Path) -> None:
    code, key, said = _run(tmp_path, "new", "alice")
    assert (code, key.count("\n")) == (0, 1), "the key alone, to be piped into a file"
    assert "not be shown again" in said
    assert KeyRing(KeyStore(tmp_path)).name_of(key.strip()) == "alice"
    _, listed, _ = _run(tmp_path, "list")
    assert listed.startswith("alice  20")
    assert key.strip() not in listed
    assert _run(tmp_path, "rm", "alice")[0] == 0
    assert "localphi keys new" in _run(tmp_path, "list")[2]


def test_the_command_fails_with_a_sentence(tmp_path: Path) -> None:
    code, _, said = _run(tmp_path, "rm", "nobody")
    assert code == 1
    assert "There is no key 'nobody'" in said


def test_doctor_says_whether_the_server_is_open(tmp_path: Path) -> None:
    def access(settings: Settings) -> tuple[bool, str]:
        (finding,) = (finding for finding in examine(settings) if finding.subject == "access")
        return finding.ok, finding.detail

    assert "open to every program of this machine" in access(Settings(home=tmp_path))[1]
    KeyStore(tmp_path).new("alice")
    detail = access(Settings(home=tmp_path, api_keys=f"bob:{SECRET}"))[1]
    assert detail == "closed: the server wants one of the access keys bob, alice"
    KeyStore(tmp_path).path.write_text(json.dumps({}), encoding="utf-8")
    assert access(Settings(home=tmp_path))[0] is False
