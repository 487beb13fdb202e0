"""Access keys: made here, kept as hashes, recognised in constant time.

Keys come from three places: the store's file (made by `localphi keys new`, which holds SHA-256 hashes only),
a file of the user's, and the environment. A key of ours has 256 random bits, so that a fast hash is enough.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from localphi.errors import KeysUnusable

MIN_CHARS, MAX_CHARS = 16, 256
_PREFIX = "localphi-"
_FILE = "access-keys.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_KEY = re.compile(rf"[A-Za-z0-9._~+/=-]{{{MIN_CHARS},{MAX_CHARS}}}")  # what a Bearer header may carry
_SCHEMA = 1


@dataclass(frozen=True)
class Key:
    """digest: SHA-256 of the key. created: a UTC date, empty where nobody wrote it down."""

    name: str
    digest: bytes
    created: str = ""


def digest_of(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def parse_keys(text: str, source: str) -> tuple[Key, ...]:
    """Keys written as `key` or `name:key`, apart by white space or commas; `#` begins a comment.

    source: how errors call the place. Raises KeysUnusable, which tells which entry is wrong, never the key.
    """
    lines = (line.partition("#")[0] for line in text.splitlines())
    entries = [entry for line in lines for entry in re.split(r"[\s,]+", line) if entry]
    keys = tuple(_parse(entry, number, source) for number, entry in enumerate(entries, 1))
    names = [key.name for key in keys]
    if twice := {name for name in names if names.count(name) > 1}:
        raise KeysUnusable(f"{source} has several keys of the name '{min(twice)}'; each needs its own.")
    return keys


def _parse(entry: str, number: int, source: str) -> Key:
    name, colon, key = entry.rpartition(":")
    if not _KEY.fullmatch(key):
        raise KeysUnusable(
            f"Key {number} of {source} must have {MIN_CHARS} to {MAX_CHARS} letters, digits and signs of "
            "._~+/=-. Make a good one with: localphi keys new NAME"
        )
    if colon and not _NAME.fullmatch(name):
        raise KeysUnusable(f"The name of key {number} of {source} {_NAME_RULE}.")
    return Key(name or f"key-{number}", digest_of(key))


_NAME_RULE = "must have 1 to 64 characters of letters, digits and ._@-, and begin with a letter or a digit"


class KeyStore:
    """The keys that `localphi keys` made: one file in the store's folder, for its owner's eyes only."""

    def __init__(self, home: Path) -> None:
        self.path = home / _FILE

    def keys(self) -> tuple[Key, ...]:
        """Every key, oldest first. Raises KeysUnusable when the file cannot be read."""
        try:
            return tuple(_stored(entry) for entry in self._entries())
        except OSError as error:
            raise KeysUnusable(f"The access keys in {self.path} cannot be read: {error.strerror}.") from error
        except (ValueError, TypeError, KeyError) as error:
            raise KeysUnusable(
                f"{self.path} holds no access keys. Delete it and make new ones: localphi keys new NAME"
            ) from error

    def new(self, name: str) -> str:
        """A new key under that name. It cannot be shown again: only its hash is kept. Raises KeysUnusable."""
        if not _NAME.fullmatch(name):
            raise KeysUnusable(f"The name of a key {_NAME_RULE}.")
        key = _PREFIX + secrets.token_urlsafe(32)
        created = datetime.now(UTC).date().isoformat()
        with self._lock():
            keys = self.keys()
            if any(known.name == name for known in keys):
                raise KeysUnusable(f"There is a key '{name}' already. Remove it: localphi keys rm {name}")
            self._write([*keys, Key(name, digest_of(key), created)])
        return key

    def remove(self, name: str) -> None:
        """A running server stops taking it at once. Raises KeysUnusable when there is none of that name."""
        with self._lock():
            keys = self.keys()
            if all(key.name != name for key in keys):
                known = ", ".join(key.name for key in keys) or "none"
                raise KeysUnusable(f"There is no key '{name}' in the store. Known keys: {known}.")
            self._write(key for key in keys if key.name != name)

    def stamp(self) -> tuple[int, ...] | None:
        """Changes whenever the file does; None where there is no file."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return (status.st_mtime_ns, status.st_size, status.st_ino)

    def _entries(self) -> list[Any]:
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except RecursionError:
            raise ValueError from None
        if document["schema"] != _SCHEMA or not isinstance(document["keys"], list):
            raise ValueError
        return list(document["keys"])

    def _lock(self) -> FileLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.path.with_suffix(".lock"), mode=0o600)

    def _write(self, keys: Iterable[Key]) -> None:
        """Whole or not at all: a full disk leaves the old file."""
        entries = [{"name": key.name, "sha256": key.digest.hex(), "created": key.created} for key in keys]
        text = json.dumps({"schema": _SCHEMA, "keys": entries}, indent=1)
        partial = self.path.with_name(f".{_FILE}-{secrets.token_hex(8)}")
        try:
            with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self.path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink()
            raise KeysUnusable(f"{self.path} cannot be written: {error.strerror}.") from error


def _stored(entry: dict[str, str]) -> Key:
    digest = bytes.fromhex(entry["sha256"])
    if len(digest) != hashlib.sha256().digest_size or not _NAME.fullmatch(entry["name"]):
        raise ValueError
    return Key(entry["name"], digest, str(entry["created"]))


class KeyRing:
    """Every key that opens a server: those given at its start, and those in the store as it is now."""

    def __init__(self, store: KeyStore, given: Sequence[Key] = ()) -> None:
        """Raises KeysUnusable when the store's file cannot be read."""
        self._store = store
        self._given = tuple(given)
        self._lock = threading.Lock()
        self._stamp = store.stamp()
        self._stored = store.keys()
        self._closed = bool(self._given or self._stored)

    @property
    def names(self) -> list[str]:
        return [key.name for key in self._known()]

    @property
    def closed(self) -> bool:
        """Whether a key is needed. Once it is, it stays so, even when the last key is removed."""
        self._known()
        return self._closed

    def name_of(self, key: str) -> str | None:
        """The name under which a key is known. Takes as long for every key that is not."""
        presented = digest_of(key)
        found: str | None = None
        for known in self._known():
            if hmac.compare_digest(known.digest, presented) and found is None:
                found = known.name
        return found

    def _known(self) -> tuple[Key, ...]:
        with self._lock:
            try:
                stamp = self._store.stamp()
                if stamp != self._stamp:
                    self._stored, self._stamp = self._store.keys(), stamp
            except (OSError, KeysUnusable):  # damaged while we serve: better nobody than everybody
                self._stored, self._stamp, self._closed = (), (), True
            self._closed = self._closed or bool(self._stored)
            return (*self._given, *self._stored)
