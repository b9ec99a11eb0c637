"""Lines of JSON that people write: an object a line, empty lines between them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from igneous_ng.errors import SpecError


def parse(text: str, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number of each line and its object; SpecError names the line of ``where`` that holds none."""
    for line, one in enumerate(text.split("\n"), 1):
        if not one.strip():
            continue
        try:
            row = json.loads(one)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise SpecError(f"{where}, line {line}: is no object in JSON: {one[:60]!r}")
        yield line, row
