"""The WSGI wrapper in front of every route: who may ask, and what browsers may do with the answers.

In this order, and before anything is routed:

* Host must be a name of this server: a foreign page that rebinds its DNS name to this machine gets 403.
* A request with an Origin must come from the page itself, or from one that was allowed by name.
* Where there are access keys, everything needs one, but for the page's files and the probes of life.
* COOP, COEP and CORP make the page cross-origin isolated, which WASM threads need; CSP keeps it to itself.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from localphi.config import Settings
from localphi.errors import KeysUnusable, ServerStartFailed
from localphi.keys import MAX_CHARS, Key, KeyRing, KeyStore, parse_keys

CLIENT = "localphi.client"
"""Where the environ says who asks: the name of the access key, else the remote address."""
ANONYMOUS = "localphi.anonymous"
"""Whether the server has keys, and this request for something public came without one."""

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_URL_CHARS = 8192
EVERY_ADDRESS = frozenset({"", "0.0.0.0", "::"})
_PROBES = frozenset({"/healthz", "/readyz"})
_PAGES = frozenset({"/", "/bench"})

_CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "font-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

HEADERS = (
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Embedder-Policy", "require-corp"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Content-Security-Policy", _CSP),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*))(?::[0-9]{1,5})?")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s*?#@]+")
_BEARER = re.compile(r"Bearer +(\S+)", re.IGNORECASE)
_TOKENS = re.compile(r"[A-Za-z0-9-]+(?: *, *[A-Za-z0-9-]+)*")
_PREFLIGHT_S = 600
_EXPOSED = "Retry-After, ETag, Content-Range, Accept-Ranges, X-Stream-Id"

Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Access:
    """Who may use a server. hosts: its names. any_address: numeric ones, too, whichever they are.

    origins: of other pages that may use it. is_page_file: whether a path is a file of the page.
    """

    keys: KeyRing
    hosts: frozenset[str]
    any_address: bool
    origins: frozenset[str]
    is_page_file: Callable[[str], bool]

    @classmethod
    def of(cls, settings: Settings, is_page_file: Callable[[str], bool]) -> Access:
        """What the settings say. Raises KeysUnusable, or ServerStartFailed for what would not be safe."""
        ring = _ring(settings)
        names = {_allowed_name(name) for name in settings.allow_hosts}
        every_address = settings.host in EVERY_ADDRESS
        if not every_address:
            names.add(_canonical(settings.host))
        foreign = sorted(name for name in names if not is_loopback(name))
        if (foreign or every_address) and not ring.closed:
            raise ServerStartFailed(_needs_keys(foreign[0] if foreign else settings.host))
        origins = frozenset(map(_allowed_origin, settings.allow_origins))
        return cls(ring, LOOPBACK_NAMES | names, every_address, origins, is_page_file)

    def answers_to(self, host: str) -> bool:
        """Whether a Host header is one of this server's names, with whatever port."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = _canonical(match[1] or match[2])
        return name in self.hosts or (self.any_address and _address(name) is not None)

    def is_public(self, environ: WSGIEnvironment) -> bool:
        path = str(environ.get("PATH_INFO", ""))
        reads = environ.get("REQUEST_METHOD") in ("GET", "HEAD")
        return reads and (path in _PROBES or path in _PAGES or self.is_page_file(path))


def is_loopback(name: str) -> bool:
    """Whether nobody but this machine can reach a server at that address."""
    address = _address(name)
    return name in LOOPBACK_NAMES if address is None else address.is_loopback


class SecureWsgi:
    """Checks every request, then adds the headers to whatever the application answers."""

    def __init__(self, app: WSGIApplication, access: Access) -> None:
        self._app = app
        self._access = access

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # 1. Is it for us, and may the page that sends it?
        headers = self._headers(environ)
        if _url_chars(environ) > MAX_URL_CHARS:
            return _too_long(headers, start_response)
        refusal = self._refusal(environ)
        if refusal is not None:
            return _forbid(refusal, headers, start_response)
        if self._is_preflight(environ):
            start_response("204 No Content", headers + _preflight(environ))
            return []
        # 2. Who asks?
        name: str | None = None
        if self._access.keys.closed:
            key = _presented(environ)
            name = self._access.keys.name_of(key) if key else None
            environ.update({ANONYMOUS: name is None})
            if name is None and not self._access.is_public(environ):
                return _ask_for_key(key is not None, headers, start_response)
        environ.update({CLIENT: name or str(environ.get("REMOTE_ADDR", ""))})
        # 3. Answer.
        return self._app(environ, _with_headers(start_response, headers))

    def _refusal(self, environ: WSGIEnvironment) -> str | None:
        host = str(environ.get("HTTP_HOST", ""))
        if not self._access.answers_to(host):
            names = ", ".join(sorted(self._access.hosts))
            return f"This server is not called '{_short(host)}', but {names}. More names: --allow-host."
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and _netloc(str(origin)) != host and origin not in self._access.origins:
            return (
                f"Pages of '{_short(str(origin))}' may not use this server; only its own page may, and those "
                "named with --allow-origin."
            )
        if origin is None and _is_of_another_page(environ):
            return "Other pages may not use this server."
        return None

    def _headers(self, environ: WSGIEnvironment) -> Headers:
        headers: Headers = list(HEADERS)
        if self._access.origins:
            headers.append(("Vary", "Origin"))
        origin = environ.get("HTTP_ORIGIN")
        if origin in self._access.origins:  # never with credentials: a key is sent on purpose
            headers += [
                ("Access-Control-Allow-Origin", str(origin)),
                ("Access-Control-Expose-Headers", _EXPOSED),
            ]
        return headers

    def _is_preflight(self, environ: WSGIEnvironment) -> bool:
        asks = environ.get("REQUEST_METHOD") == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
        return asks and environ.get("HTTP_ORIGIN") in self._access.origins


def key_names(settings: Settings) -> list[str]:
    """The names of the keys that a server with these settings takes. Raises KeysUnusable."""
    return _ring(settings).names


def _ring(settings: Settings) -> KeyRing:
    return KeyRing(KeyStore(settings.home), _given_keys(settings))


def _given_keys(settings: Settings) -> tuple[Key, ...]:
    """The keys of the file and of the environment."""
    given = list(parse_keys(settings.api_keys, "LOCALPHI_API_KEYS"))
    if settings.key_file is not None:
        found = parse_keys(_read(settings.key_file), str(settings.key_file))
        if not found:
            raise KeysUnusable(f"{settings.key_file} holds no access key.")
        given += found
    return tuple(given)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise KeysUnusable(f"The access keys in {path} cannot be read: {why}.") from error


def _needs_keys(name: str) -> str:
    return (
        f"Without access keys localphi serves this machine only, but others can reach '{name or '0.0.0.0'}'. "
        "Make a key first: localphi keys new NAME. Or serve on one of "
        f"{', '.join(sorted(LOOPBACK_NAMES))}."
    )


def _allowed_name(name: str) -> str:
    canonical = _canonical(name)
    if _address(canonical) is None and not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", canonical):
        raise ServerStartFailed(
            f"--allow-host takes a name or an address, no scheme, port or wildcard, but is '{_short(name)}'."
        )
    return canonical


def _allowed_origin(origin: str) -> str:
    if not _ORIGIN.fullmatch(origin):
        raise ServerStartFailed(
            "--allow-origin takes one exact origin, such as https://app.example or http://localhost:5173, "
            f"but is '{_short(origin)}'."
        )
    return origin


def _canonical(name: str) -> str:
    address = _address(name)
    return name.lower() if address is None else address.compressed


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _netloc(origin: str) -> str:
    """Host and port of an origin, empty for `null` and whatever else is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _is_of_another_page(environ: WSGIEnvironment) -> bool:
    """Images and the like, which browsers send without an Origin. Following a link is fine."""
    site = environ.get("HTTP_SEC_FETCH_SITE", "none")
    return site in ("cross-site", "same-site") and environ.get("HTTP_SEC_FETCH_MODE") != "navigate"


def _url_chars(environ: WSGIEnvironment) -> int:
    return len(environ.get("PATH_INFO", "")) + len(environ.get("QUERY_STRING", ""))


def _presented(environ: WSGIEnvironment) -> str | None:
    """The key that came with a request, in either header; None for none. Two that differ are no key."""
    bearer = _BEARER.fullmatch(str(environ.get("HTTP_AUTHORIZATION", "")))
    keys = {bearer[1]} if bearer else set()
    if plain := environ.get("HTTP_X_API_KEY"):
        keys.add(str(plain))
    if not keys:
        return None
    (key, *others) = keys
    return "" if others or len(key) > MAX_CHARS else key


def _preflight(environ: WSGIEnvironment) -> Headers:
    headers: Headers = [
        ("Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE"),
        ("Access-Control-Max-Age", str(_PREFLIGHT_S)),
    ]
    asked = str(environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", ""))
    if _TOKENS.fullmatch(asked):
        headers.append(("Access-Control-Allow-Headers", asked))
    return headers


def _ask_for_key(wrong: bool, headers: Headers, start_response: StartResponse) -> Iterable[bytes]:
    message = "This access key is not known here." if wrong else "This server wants an access key."
    challenge = 'Bearer realm="localphi"' + (', error="invalid_token"' if wrong else "")
    return _error(
        "401 Unauthorized",
        f"{message} Send it as 'Authorization: Bearer KEY', or as 'X-Api-Key: KEY'.",
        ("authentication_error", "invalid_api_key"),
        [*headers, ("WWW-Authenticate", challenge)],
        start_response,
    )


def _forbid(reason: str, headers: Headers, start_response: StartResponse) -> Iterable[bytes]:
    return _error("403 Forbidden", reason, ("permission_error", "forbidden"), headers, start_response)


def _too_long(headers: Headers, start_response: StartResponse) -> Iterable[bytes]:
    message = f"The address of a request may have {MAX_URL_CHARS} characters."
    return _error("414 URI Too Long", message, ("invalid_request_error", None), headers, start_response)


def _error(
    status: str,
    message: str,
    kind: tuple[str, str | None],
    headers: Headers,
    start_response: StartResponse,
) -> Iterable[bytes]:
    error = {"message": message, "type": kind[0], "param": None, "code": kind[1]}
    body = json.dumps({"error": error}).encode()
    about = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(status, [*about, ("Cache-Control", "no-store"), *headers])
    return [body]


def _with_headers(start_response: StartResponse, added: Headers) -> StartResponse:
    """Adds the headers; what says nothing about caching is not kept."""

    def start(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
        says_so = any(name.lower() == "cache-control" for name, _ in headers)
        kept: Headers = [] if says_so else [("Cache-Control", "no-store")]
        return start_response(status, [*headers, *kept, *added], exc_info)

    return start


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:80] + "…"
