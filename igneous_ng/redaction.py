"""Passwords, keys and tokens in texts: found, and made unreadable before a text is stored or shown.

Two kinds are known: what stands where URLs and headers have secrets, and the values of this process's environment
variables that are called like secrets. What would steer a terminal, or cannot be stored as UTF-8, is spelled out.
"""

from __future__ import annotations

import functools
import logging
import os
import re
from pathlib import Path

HIDDEN = "[hidden]"
_LEAST = 8  # characters of a value in the environment: "1" or "true" is no secret, and is everywhere
_WORDS = "token|secret|password|passwd|credential|signature|api_?key|access_?key|private_?key|session_?key"
_USER = re.compile(r"(?<=://)[^/\s@'\"?#]*:[^/\s@'\"?#]*@|(?<=://)[^/\s@:'\"?#]{16,}@")
_QUERY = re.compile(
    rf"(?i)([?&;](?:x-amz-|x-goog-|aws|google)?(?:[\w-]*(?:{_WORDS})[\w-]*|accesskeyid|access_id|sig|key|auth|pwd)=)[^&;\s'\"#]+"
)
_HEADER = re.compile(r"(?i)\b((?:authorization['\"]?\s*[:=]\s*['\"]?)?(?:bearer|basic|token)\s+)[\w+/=.~-]{8,}")
_NAMED = re.compile(rf"(?i)(\b[\w-]*(?:{_WORDS})['\"]?\s*[:=]\s*['\"]?)[\w+/=.~-]{{8,}}")
_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")
_PRIVATE = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL)
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_VARIABLE = re.compile(rf"(?i)({_WORDS})")


def in_url(url: str) -> bool:
    """Whether there is a password or a token in ``url``."""
    return _USER.search(url) is not None or _QUERY.search(url) is not None


def redacted(text: str) -> str:
    """``text`` without what looks like a secret, and without the secrets of this process's environment."""
    for value in _values(frozenset(os.environ.items())):
        text = text.replace(value, HIDDEN)
    text = _PRIVATE.sub(HIDDEN, _USER.sub(f"{HIDDEN}@", text))
    for pattern in (_QUERY, _HEADER, _NAMED):
        text = pattern.sub(rf"\g<1>{HIDDEN}", text)
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), _KEY_ID.sub(HIDDEN, text))


class Formatter(logging.Formatter):
    """Formats what is logged without its secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record."""
        return redacted(super().format(record))


@functools.lru_cache(1)
def _values(environment: frozenset[tuple[str, str]]) -> tuple[str, ...]:
    """The values of variables that are called like secrets, the longest first; paths to files are none."""
    found = {value for name, value in environment if _VARIABLE.search(name) and _is_secret(value)}
    return tuple(sorted(found, key=lambda value: (-len(value), value)))


def _is_secret(value: str) -> bool:
    """Whether it is not the path of a file, or an address, in which a secret is found."""
    return len(value) >= _LEAST and "://" not in value and not Path(value).exists()
