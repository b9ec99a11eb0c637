"""What a question of HTTP says, part by part; RefusedError with status 400 where that is not what may be said."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import parse_qsl

from igneous_ng.geometry import Vec3, Vec3f, vec
from igneous_ng.viewer.doors import RefusedError

Value = TypeVar("Value")
_FIELDS = 16  # of a question


@dataclass(frozen=True)
class Query:
    """What a question says; each part is taken once, and nothing may be left."""

    parts: dict[str, str]

    @classmethod
    def parse(cls, query: str) -> Query:
        """What the text after the question mark says."""
        try:
            pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_FIELDS, errors="strict")
        except ValueError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"the question cannot be read: {error}") from error
        if len(dict(pairs)) < len(pairs):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "something is asked twice; ask once")
        return cls(dict(pairs))

    def take(self, name: str, read: Callable[[str], Value], default: Value | None = None) -> Value:
        """What is said of ``name``, by ``read``, or ``default``; without one it must be said."""
        text = self.parts.pop(name, None)
        if text is None and default is not None:
            return default
        if text is None:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"say {name}=")
        try:
            return read(text)
        except (ValueError, OverflowError) as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"{name}={text}: {error}") from error

    def done(self) -> None:
        """Refuse what nobody has taken."""
        if self.parts:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"{', '.join(sorted(self.parts))}: means nothing here")


def words(text: str) -> str:
    """Any text."""
    return text


def whole(text: str) -> int:
    """A number of a few digits."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ValueError("give a whole number from 0 on")
    return int(text)


def label(text: str) -> int:
    """A label of 64 bits."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 20 and int(text) < 1 << 64):
        raise ValueError("give a label, from 0 to 2^64 - 1")
    return int(text)


def voxel(text: str) -> Vec3:
    """A voxel, x,y,z."""
    parts = text.split(",")
    if len(parts) != 3 or not all(part.removeprefix("-").isdecimal() and len(part) < 20 for part in parts):
        raise ValueError("give three whole numbers x,y,z, or units=nm")
    return vec(map(int, parts))


def nm(resolution: Vec3f) -> Callable[[str], Vec3]:
    """The voxel, of such a size in nm, that holds a place in nm."""

    def read(text: str) -> Vec3:
        places = [float(part) for part in text.split(",")]
        if len(places) != 3 or not all(map(math.isfinite, places)):
            raise ValueError("give three numbers x,y,z")
        return vec(math.floor(place / side) for place, side in zip(places, resolution, strict=True))

    return read


def one_of(*allowed: str) -> Callable[[str], str]:
    """One of some words."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"give {' or '.join(allowed)}")
        return text

    return read
