"""A model hub on this machine: the part of the Hugging Face hub's HTTP protocol that a pull meets.

Small files come from the hub itself, big ones by a redirect from a second server, as from the hub's CDN:
another origin, no token, ranges, addresses that may expire. Faults are scripted by file, for one answer each.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LFS_FROM_BYTES = 20_000
_API = re.compile(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?")
_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_PIECE_BYTES = 16_384


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer.

    status: answered instead of the file, when not 200. at_hub: before the redirect to the content server.
    cut_after: bytes of the body before the connection is closed. on_cut: called in between, with that number.
    wrong: one byte is another one. whole: the range that was asked for is ignored. shift: the range begins so
    many bytes later than it should.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    at_hub: bool = False
    cut_after: int | None = None
    on_cut: Callable[[int], object] = lambda _: None
    wrong: bool = False
    whole: bool = False
    shift: int = 0


@dataclass(frozen=True)
class Seen:
    """A request that came. server: hub or cdn. name: of the file, "" for the list of files."""

    server: str
    method: str
    name: str
    range: str
    authorization: str
    user_agent: str


@dataclass
class _Repo:
    commits: dict[str, dict[str, bytes]]
    newest: str
    license: str
    token: str | None


class HubStandIn:
    """What it serves, what goes wrong, and what was asked of it."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.sent: dict[str, int] = {}  # bytes of bodies, by file
        self.faults: dict[str, list[Fault]] = {}
        self.address = self.cdn_address = ""
        self._repos: dict[str, _Repo] = {}
        self._blobs: dict[str, tuple[str, bytes]] = {}

    def add(
        self,
        repo: str,
        files: Mapping[str, bytes],
        commit: str = COMMIT,
        *,
        license: str = "mit",
        token: str | None = None,
    ) -> None:
        """Make `files` the newest commit of the repository. token: who may read it, None for everybody."""
        known = self._repos.setdefault(repo, _Repo({}, commit, license, token))
        known.commits[commit] = dict(files)
        known.newest = commit
        for name, data in files.items():
            self._blobs[hashlib.sha256(data).hexdigest()] = (name, data)

    def fail(self, name: str, *faults: Fault) -> None:
        """Script what goes wrong with the next answers for that file; "" is the list of files."""
        self.faults.setdefault(name, []).extend(faults)

    def ranges(self, name: str) -> list[str]:
        """The ranges asked of whoever has the bytes of the file."""
        return [
            seen.range for seen in self.seen if seen.name == name and seen.server == self._server_of(name)
        ]

    def _server_of(self, name: str) -> str:
        return "cdn" if any(seen.server == "cdn" and seen.name == name for seen in self.seen) else "hub"

    def fault(self, name: str, *, at_hub: bool) -> Fault:
        waiting = self.faults.get(name, [])
        if waiting and (waiting[0].at_hub == at_hub or not name):
            return waiting.pop(0)
        return Fault()

    def repo(self, name: str) -> _Repo | None:
        return self._repos.get(name)

    def blob(self, sha256: str) -> tuple[str, bytes]:
        return self._blobs[sha256]


@contextmanager
def hub_stand_in() -> Iterator[HubStandIn]:
    """Serve on two free loopback ports until the block ends."""
    hub = HubStandIn()
    servers = [
        ThreadingHTTPServer(("127.0.0.1", 0), handler) for handler in (_hub_handler(hub), _cdn_handler(hub))
    ]
    hub.address, hub.cdn_address = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_name = ""
    hub: HubStandIn

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def note(self, name: str) -> None:
        header = self.headers.get
        self.hub.seen.append(
            Seen(
                self.server_name,
                self.command,
                name,
                header("Range", ""),
                header("Authorization", ""),
                header("User-Agent", ""),
            )
        )

    def answer(self, status: int, body: bytes = b"", /, **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_file(self, name: str, data: bytes, fault: Fault, **headers: str) -> None:
        """The file or the range that was asked for, with what goes wrong."""
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, status = 0, 200
        if match and not fault.whole:
            start, status = int(match[1]) + fault.shift, 206
            if start >= len(data):
                self.answer(416, Content_Range=f"bytes */{len(data)}")
                return
            headers["Content_Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = bytearray(data[start:])
        if fault.wrong:
            body[len(body) // 2] ^= 1
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self._send(name, bytes(body), fault)

    def _send(self, name: str, body: bytes, fault: Fault) -> None:
        cut = len(body) if fault.cut_after is None else min(fault.cut_after, len(body))
        for begin in range(0, cut, _PIECE_BYTES):
            piece = body[begin : min(begin + _PIECE_BYTES, cut)]
            self.wfile.write(piece)
            self.hub.sent[name] = self.hub.sent.get(name, 0) + len(piece)
        if fault.cut_after is not None:
            self.wfile.flush()
            fault.on_cut(cut)
            self.close_connection = True

    def handle(self) -> None:
        with suppress(ConnectionResetError, BrokenPipeError):  # the client was killed
            super().handle()


def _hub_handler(hub: HubStandIn) -> type[_Handler]:
    class Handler(_Handler):
        server_name = "hub"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            if match := _API.fullmatch(path):
                self._list(match[1], match[2])
            elif match := _RESOLVE.fullmatch(path):
                self._resolve(*match.groups())
            else:
                self.answer(404)

        do_HEAD = do_GET  # noqa: N815

        def _list(self, name: str, revision: str | None) -> None:
            self.note("")
            if (fault := hub.fault("", at_hub=True)).status != 200:
                self.answer(fault.status, **fault.headers)
                return
            found = self._find(name, revision)
            if not found:
                return
            commit, files = found
            with_sizes = "blobs" in parse_qs(urlsplit(self.path).query)
            siblings = [
                _sibling(file, data) if with_sizes else {"rfilename": file} for file, data in files.items()
            ]
            repo = hub.repo(name)
            assert repo
            document = {"id": name, "sha": commit, "siblings": siblings, "tags": [f"license:{repo.license}"]}
            self.answer(200, json.dumps(document).encode(), Content_Type="application/json")

        def _resolve(self, name: str, revision: str, file: str) -> None:
            self.note(file)
            found = self._find(name, revision)
            if not found:
                return
            commit, files = found
            if file not in files:
                self.answer(404, X_Error_Code="EntryNotFound")
                return
            data = files[file]
            big = len(data) >= LFS_FROM_BYTES
            fault = hub.fault(file, at_hub=True) if big else _any_fault(hub, file)
            if fault.status != 200:
                self.answer(fault.status, **fault.headers)
            elif big:
                sha256 = hashlib.sha256(data).hexdigest()
                linked = {
                    "X_Linked_Etag": f'"{sha256}"',
                    "X_Linked_Size": str(len(data)),
                    "X_Repo_Commit": commit,
                }
                self.answer(302, Location=f"{hub.cdn_address}/{sha256}?signature=1", **linked)
            else:
                self.answer_file(file, data, fault, ETag=f'"{_git_blob_id(data)}"', X_Repo_Commit=commit)

        def _find(self, name: str, revision: str | None) -> tuple[str, dict[str, bytes]] | None:
            repo = hub.repo(name)
            if repo and repo.token and self.headers.get("Authorization") != f"Bearer {repo.token}":
                self.answer(401, X_Error_Code="GatedRepo")
                return None
            if not repo:
                self.answer(404, X_Error_Code="RepoNotFound")
                return None
            commit = repo.newest if revision in (None, "main") else str(revision)
            if commit not in repo.commits:
                self.answer(404, X_Error_Code="RevisionNotFound")
                return None
            return commit, repo.commits[commit]

    Handler.hub = hub
    return Handler


def _cdn_handler(hub: HubStandIn) -> type[_Handler]:
    class Handler(_Handler):
        server_name = "cdn"

        def do_GET(self) -> None:
            name, data = hub.blob(urlsplit(self.path).path.strip("/"))
            self.note(name)
            fault = hub.fault(name, at_hub=False)
            if fault.status != 200:
                self.answer(fault.status, **fault.headers)
            else:
                self.answer_file(name, data, fault)

    Handler.hub = hub
    return Handler


def _any_fault(hub: HubStandIn, name: str) -> Fault:
    waiting = hub.faults.get(name, [])
    return waiting.pop(0) if waiting else Fault()


def _sibling(name: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": _git_blob_id(data)}
    if len(data) >= LFS_FROM_BYTES:
        entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return entry


def _git_blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
