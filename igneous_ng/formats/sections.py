"""How files of a section are called, in every folder that has one for each."""

from __future__ import annotations


def name(z: int) -> str:
    """The name of section ``z``, without what follows it: ``z000012``."""
    return f"z{z:06d}"
