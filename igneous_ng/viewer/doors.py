"""Who may ask the server of layers: programs and pages of this machine, or whoever has the token.

On loopback every program of this machine may ask, and no web page but our own may read: a page from elsewhere is of
another origin, to which browsers show nothing that is not allowed to it by name, and one whose name was rebound to this
machine (DNS rebinding) betrays itself by that name. On any other address each request needs the token: in the header
``Authorization: Bearer``, or in the cookie that the printed URL sets.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus, cookies
from urllib.parse import parse_qs

from igneous_ng.errors import SpecError

HOST = "127.0.0.1"
_EXPOSED = "Content-Range, Content-Encoding, Content-Length, ETag, Accept-Ranges"
_ASKED = "Range, If-None-Match, If-Range, Authorization"


class RefusedError(Exception):
    """A request that gets no content: the status to answer, and why."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class Door:
    """The rules of a server that listens on ``host``; pages of ``origins``, such as ``https://name``, may read, too."""

    host: str = HOST
    origins: tuple[str, ...] = ()
    token: str = field(init=False, repr=False)
    """What each request needs; empty on loopback."""

    def __post_init__(self) -> None:
        for origin in self.origins:
            scheme, found, name = origin.partition("://")
            if scheme not in ("http", "https") or not found or not name or "/" in name or "*" in name:
                raise SpecError(f"--cors {origin}: not the origin of a page; write https://NAME, without a path")
        object.__setattr__(self, "token", "" if is_loopback(self.host) else secrets.token_urlsafe(24))

    def check(self, headers: Message, port: int) -> None:
        """RefusedError where a request with such headers, to this port, may not be answered."""
        if self.token:
            if not any(hmac.compare_digest(self.token.encode(), one.encode()) for one in _given(headers, port)):
                raise RefusedError(HTTPStatus.UNAUTHORIZED, "this needs the token: open the URL that `view` printed")
            return
        name = (headers.get("Host") or self.host).rpartition("@")[2].split(":")[0].lower()
        if name not in (self.host, "localhost"):  # a foreign page whose name was rebound to this machine
            raise RefusedError(HTTPStatus.MISDIRECTED_REQUEST, f"this server is {self.host}, not that host")

    def entering(self, query: str, port: int) -> dict[str, str]:
        """The headers for who opens the printed URL, with this query, by which the browser keeps the token; or none."""
        given = parse_qs(query).get("token", [""])[0]
        if not self.token or not hmac.compare_digest(self.token.encode(), given.encode()):
            return {}
        return {"Set-Cookie": f"{_cookie(port)}={self.token}; Path=/; HttpOnly; SameSite=Lax"}

    def headers(self, origin: str | None) -> dict[str, str]:
        """What every answer says about who may read it, to a page of ``origin``."""
        if origin not in self.origins:
            return {"Cross-Origin-Resource-Policy": "same-origin"}
        return {
            "Access-Control-Allow-Origin": str(origin), "Access-Control-Expose-Headers": _EXPOSED, "Vary": "Origin",
        }  # fmt: skip

    def preflight(self, origin: str | None, methods: str) -> dict[str, str]:
        """What a page is told that asks whether it may ask."""
        if origin not in self.origins:
            return {}
        return {
            "Access-Control-Allow-Methods": methods, "Access-Control-Allow-Headers": _ASKED,
            "Access-Control-Max-Age": "86400",
        }  # fmt: skip


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on ``host``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _given(headers: Message, port: int) -> list[str]:
    """The tokens that a request has."""
    found = []
    kind, _, value = (headers.get("Authorization") or "").partition(" ")
    if kind.lower() == "bearer":
        found.append(value.strip())
    try:
        jar = cookies.SimpleCookie(headers.get("Cookie") or "")
    except cookies.CookieError:
        return found
    return [*found, *(one.value for name, one in jar.items() if name == _cookie(port))]


def _cookie(port: int) -> str:
    """Cookies are shared by all ports of a host."""
    return f"igneous_ng_{port}"
