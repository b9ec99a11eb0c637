"""Where a server may send who asks it: to HTTP again, never from encryption to none, never from outside to inside.

A public server that could send a worker to this machine, its private network or a cloud's metadata (169.254.169.254)
would read with that worker's eyes. The address is looked up before it is asked; a name that changes its address between
the two is not caught.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urljoin, urlsplit

from igneous_ng.errors import SpecError

MOST = 5
"""Redirects that are followed for one request."""


def followed(url: str, location: str, number: int) -> str:
    """The URL that the answer of ``url`` names in its header ``Location``; SpecError where it may not be asked."""
    target = urljoin(url, location)
    if why := _refused(url, target, number):
        raise SpecError(f"{url}: the server sends to {target}, which is not asked: {why}; name the last place itself")
    return target


def _refused(url: str, target: str, number: int) -> str:
    old, new = urlsplit(url), urlsplit(target)
    if number >= MOST:
        return f"this is redirect number {number + 1}"
    if new.scheme not in ("http", "https"):
        return "only http and https are followed"
    if old.scheme == "https" and new.scheme == "http":
        return "it would be read without encryption"
    if old.hostname != new.hostname and _inside(new.hostname) and not _inside(old.hostname):
        return "that is an address of this machine or of its network, and who sends there is outside"
    return ""


def _inside(host: str | None) -> bool:
    """Whether a host has an address that is not one of the public internet; one that has none does not answer."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return any(not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_global for *_, address in found)
