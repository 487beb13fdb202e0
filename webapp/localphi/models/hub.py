"""The hub, asked through huggingface_hub: which files a repository has, and their bytes from any point on.

The one door to the network, opened by `localphi models search` and `pull`, and by a server that is asked to
pull. The client brings address (HF_ENDPOINT), token (HF_TOKEN), offline switch (HF_HUB_OFFLINE), proxies and
redirects. Its
`hf_hub_download` is not used: it starts an interrupted file again from nothing, be it by HTTP or by Xet
(2.4; huggingface/huggingface_hub#4196). So bytes come by plain HTTP ranges, and whoever reads appends them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from localphi.config import disable_telemetry
from localphi.errors import DownloadDamaged, HubRefused, HubUnreachable

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_AGAIN = (408, 425, 429, 500, 502, 503, 504)  # statuses that may be another one a moment later
_EXPIRED = 403  # what a content server says to an address that was signed too long ago


class Interrupted(Exception):
    """The hub did not answer, or stopped in the middle: asking again may help.

    retry_after_s: what the hub asked to wait, None when it did not say.
    """

    def __init__(self, problem: str, retry_after_s: float | None = None) -> None:
        super().__init__(problem)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class RemoteFile:
    """name: inside the repository. sha256: hex, of big files only. blob_id: git's SHA-1, for small ones."""

    name: str
    size: int
    sha256: str | None
    blob_id: str | None

    @property
    def identity(self) -> str:
        return self.sha256 or self.blob_id or ""


@dataclass(frozen=True)
class RemoteRepo:
    """A repository at one commit. license: as its card says, None when it does not."""

    repo: str
    commit: str
    license: str | None
    files: tuple[RemoteFile, ...]


class Hub:
    """A model hub.

    endpoint: its address, None for HF_ENDPOINT or the public one. token: None for what the client finds in
    the environment or in its own file.
    """

    def __init__(self, endpoint: str | None = None, token: str | None = None) -> None:
        disable_telemetry()
        from huggingface_hub import constants

        self.address = (endpoint or constants.ENDPOINT).rstrip("/")
        self._token = token

    def describe(self, repo: str, revision: str | None = None) -> RemoteRepo:
        """What the repository holds at the revision, None for the newest.

        Raises HubUnreachable, HubRefused, or Interrupted where asking again may help.
        """
        from huggingface_hub import HfApi
        from huggingface_hub.constants import HF_HUB_ETAG_TIMEOUT

        api = HfApi(endpoint=self.address, token=self._token, library_name="localphi")
        with self._errors(f"{repo} at {revision or 'its newest revision'}"):
            info = api.model_info(repo, revision=revision, files_metadata=True, timeout=HF_HUB_ETAG_TIMEOUT)
        if info.sha is None:
            raise HubRefused(
                f"{self.address} does not say which revision of {repo} it has. Is it a model hub?"
            )
        licenses = [tag.removeprefix("license:") for tag in info.tags or () if tag.startswith("license:")]
        files = tuple(_remote_file(sibling) for sibling in info.siblings or ())
        return RemoteRepo(repo, info.sha, licenses[0] if licenses else None, files)

    def read(self, repo: RemoteRepo, file: RemoteFile, start: int) -> Iterator[bytes]:
        """The bytes of the file from `start` on, in pieces of any size, as they arrive.

        Raises Interrupted when they stop coming, HubUnreachable, HubRefused, or DownloadDamaged when the file
        has another size than the hub's list says.
        """
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

        url = hf_hub_url(repo.repo, file.name, revision=repo.commit, endpoint=self.address)
        headers = build_hf_headers(token=self._token, library_name="localphi")
        headers |= {"Range": f"bytes={start}-", "Accept-Encoding": "identity"}
        asked = get_session().stream("GET", url, headers=headers, timeout=HF_HUB_DOWNLOAD_TIMEOUT)
        with self._errors(f"{file.name} of {repo.repo}"), asked as response:
            if response.is_error:
                response.read()
            hf_raise_for_status(response)
            skipped = start - _first_byte(response, file, start)
            for data in response.iter_bytes():
                yield data[skipped:]
                skipped = max(0, skipped - len(data))

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Turns what the client raises into our errors."""
        import httpx2
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

        try:
            yield
        except OfflineModeIsEnabled as error:
            raise HubUnreachable("HF_HUB_OFFLINE is set, so the hub is not asked.") from error
        except HFValidationError as error:
            raise HubRefused(f"This is no name of a repository: {error}") from error
        except HfHubHTTPError as error:
            raise self._refusal(what, error.response) from error
        except httpx2.TransportError as error:
            raise Interrupted(f"{type(error).__name__}: {error}") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError, TypeError) as error:
            raise HubRefused(f"{self.address} does not answer as a model hub does: {error}") from error

    def _refusal(self, what: str, response: Any) -> Exception:
        status = response.status_code
        expired = status == _EXPIRED and not str(response.url).startswith(self.address + "/")
        if status in _AGAIN or expired:
            return Interrupted(f"it answered {status}", _seconds_to_wait(response.headers))
        if status in (401, 403):
            advice = "Accept its terms there if it has any, and set HF_TOKEN to a token that may read it."
            return HubRefused(f"{self.address} does not give {what} ({status}). {advice}")
        if status == 404:
            return HubRefused(f"{self.address} has no {what}.")
        return HubRefused(f"{self.address} answered {status} when asked for {what}.")


def _remote_file(sibling: Any) -> RemoteFile:
    sha256 = sibling.lfs.sha256 if sibling.lfs else None
    size = sibling.lfs.size if sibling.lfs else sibling.size
    return RemoteFile(sibling.rfilename, size or 0, sha256, sibling.blob_id)


def _first_byte(response: Any, file: RemoteFile, start: int) -> int:
    """Where the body begins: at `start`, or at 0 when the server does not know ranges."""
    if response.status_code == 200:
        return 0
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if not match or int(match[1]) != start:
        raise Interrupted("it sent another part of the file than it was asked for")
    if int(match[2]) != file.size:
        raise DownloadDamaged(
            f"{file.name} has {match[2]} bytes, but the hub lists {file.size}. Nothing of it is used."
        )
    return start


def _seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """What a refusal says about when to come back: the hub's own header, or the usual one."""
    from huggingface_hub.utils import parse_ratelimit_headers

    limit = parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    retry_after = headers.get("Retry-After", "")
    return float(retry_after) if retry_after.isdecimal() else None
