"""What was found in the file of a tile: a line of JSON in the verified files of its section, and rows of findings."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from igneous_ng.errors import DataError

OK, WARN, BAD = "ok", "warn", "bad"
SEVERITIES = (OK, WARN, BAD)
"""How grave a finding is: said for the record; to be looked at; the tile cannot be used."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to be known of a tile, of one of its pictures, or, without a tile, of a section."""

    code: str
    """What it is, in a word that never changes."""
    severity: str
    """One of :data:`SEVERITIES`."""
    said: str
    """The same for people, with figures."""
    tile: str = ""
    channel: int | None = None
    url: str = ""
    """The file, where it is of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one line of a manifest turned out to be. What cannot be known of a file that cannot be read is None."""

    tile: str
    channel: int
    url: str
    part: str = ""
    bytes: int | None = None
    """Of the file; of the pixels, for a part of a file."""
    sha256: str | None = None
    """Of the same bytes."""
    pixels: str | None = None
    """Digest of type, shape and pixels: the same for the same picture in another file."""
    width: int | None = None
    height: int | None = None
    depth: int | None = None
    """Values of a pixel."""
    dtype: str | None = None
    min: float | None = None
    max: float | None = None
    p1: float | None = None
    p50: float | None = None
    p99: float | None = None
    mean: float | None = None
    std: float | None = None
    dark: float | None = None
    """Fraction of values that are the smallest of all."""
    bright: float | None = None
    """Fraction of values that are the largest of all."""
    focus: float | None = None
    """See :func:`igneous_ng.kernels.tile_quality.focus`."""
    still: tuple[int, int] | None = None
    """The longest run of rows that show nothing new: the first, and how many."""
    hash: str | None = None
    """Perceptual hash, 16 hexadecimal digits."""
    findings: tuple[Finding, ...] = ()

    @property
    def bad(self) -> bool:
        """Whether it cannot be used."""
        return any(one.severity == BAD for one in self.findings)


def encode(lines: Iterable[Seen]) -> bytes:
    """A line a file; what is not known is left out."""
    return b"".join(_line(_kept(one)) for one in lines)


def decode(data: bytes, where: str) -> list[Seen]:
    """The lines of a verified file; DataError names the line of ``where`` that is none."""
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    return [_seen(line, f"{where}, line {n}") for n, line in enumerate(lines, 1)]


def encode_findings(z: int | None, found: Iterable[Finding]) -> bytes:
    """The rows of a section's findings, or of those of no one section."""
    return b"".join(_line({**({} if z is None else {"z": z}), **_kept(one)}) for one in found)


def _kept(one: Seen | Finding) -> dict[str, Any]:
    values = {f.name: getattr(one, f.name) for f in dataclasses.fields(one)}
    if isinstance(one, Seen):
        values["findings"] = [_kept(f) for f in one.findings]
    return {name: value for name, value in values.items() if value not in (None, "", [])}


def _line(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, separators=(",", ":"), ensure_ascii=False) + "\n").encode()


def _seen(line: bytes, where: str) -> Seen:
    try:
        raw = json.loads(line)
        found = tuple(Finding(**one) for one in raw.get("findings", ()))
        still = tuple(raw["still"]) if "still" in raw else None
        return Seen(**{**raw, "findings": found, "still": still})
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{where}: does not say what a file is ({error!r}); run `ingest verify` again") from None
