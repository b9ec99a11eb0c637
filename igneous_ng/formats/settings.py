"""Settings of encodings as users write them, ``jpeg_quality=85``, and those that an encoding has."""

from __future__ import annotations

import json

from igneous_ng import spelling
from igneous_ng.errors import SpecError
from igneous_ng.formats.codecs import CODECS, Parameters


def parse(texts: tuple[str, ...]) -> Parameters:
    """The settings written as ``name=value``; SpecError where no encoding has such a setting."""
    found = {}
    known = sorted({name for codec in CODECS.values() for name in codec.settings})
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name.strip()] = json.loads(value)
        except ValueError:
            raise SpecError(f"setting {text!r}: write name=value, such as jpeg_quality=85") from None
        if name.strip() not in known:
            raise SpecError(f"no encoding has the setting {name.strip()!r}; {spelling.choices(name, known)}")
    return found


def fitting(parameters: Parameters, encoding: str) -> Parameters:
    """Those of ``parameters`` that ``encoding`` has."""
    known = CODECS[encoding].settings if encoding in CODECS else {}
    return {name: value for name, value in parameters.items() if name in known}
