"""Objects behind ``http://`` and ``https://``, which are only read.

What a server answers with 403 is not there, for so a public bucket answers that does not let everybody list it.
"""

from __future__ import annotations

import itertools
import os
import threading
from typing import Any

from igneous_ng.remote import errors, redirects
from igneous_ng.remote.s3 import Found
from igneous_ng.remote.trying import insist

_TIMEOUT_S = (10, 60)
_CONNECTIONS = 32
_ABSENT = (403, 404)
_PART, _BEHIND = 206, 416
_SESSIONS: dict[int, Any] = {}
_GUARD = threading.Lock()


def get(url: str, span: tuple[int, int] | None = None) -> Found | None:
    """An object, or some of its bytes; None: there is none."""
    part = {} if span is None else {"Range": f"bytes={span[0]}-{span[1] - 1}"}
    answer = _asked("GET", url, part)
    if answer is None:
        return None
    code, content, headers = answer
    if code == _BEHIND:
        return Found(b"", None, "")
    if span is not None and code != _PART:  # a server without ranges sends the whole
        content = content[span[0] : span[1]]
    return Found(content, headers.get("Content-Encoding") or None, headers.get("ETag", ""))


def size(url: str) -> int | None:
    """Bytes of an object as it is stored; None: there is none, or the server does not say."""
    answer = _asked("HEAD", url, {})
    length = answer[2].get("Content-Length") if answer else None
    return None if length is None else int(length)


def exists(url: str) -> bool:
    """Whether there is an object."""
    return _asked("HEAD", url, {}) is not None


def _asked(verb: str, url: str, headers: dict[str, str]) -> tuple[int, bytes, Any] | None:
    """Status, content as it was sent, and headers; None: there is no such object."""

    wanted = {"Accept-Encoding": "gzip, br, zstd", **headers}
    with errors.told(url, "read"):
        return insist(lambda _: _answered(verb, url, wanted))


def _answered(verb: str, url: str, headers: dict[str, str]) -> tuple[int, bytes, Any] | None:
    """What the last of the servers answered to which others sent."""
    for number in itertools.count():
        request = _session().request(verb, url, headers=headers, stream=True, timeout=_TIMEOUT_S, allow_redirects=False)
        with request as got:
            if got.status_code in _ABSENT:
                return None
            if not got.is_redirect:
                if got.status_code != _BEHIND:
                    got.raise_for_status()
                return got.status_code, got.raw.read(decode_content=False), got.headers
            url = redirects.followed(url, got.headers["Location"], number)
    raise AssertionError  # no end of counting


def _session() -> Any:
    import requests
    from requests.adapters import HTTPAdapter

    with _GUARD:
        session = _SESSIONS.get(os.getpid())
        if session is None:
            session = _SESSIONS[os.getpid()] = requests.Session()
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
        return session
