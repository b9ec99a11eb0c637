from __future__ import annotations

import json
from typing import Any

import pytest

from igneous_ng.errors import SpecError
from igneous_ng.formats.placements import Placement, parse


def test_lines_are_read_with_where_they_stand() -> None:
    rows: list[dict[str, Any]] = [
        {"z": 3, "action": "exclude", "note": "torn"},
        {"pair": [4, 2], "action": "match", "points": [[0, 0, 1, 1], [5, 5, 6, 6]]},
        {"z": 5, "action": "place", "matrix": [1, 0, 0, 1], "shift": [2, 3.5]},
        {"z": 6, "action": "source", "source": 7},
    ]
    found = parse(("\n".join(map(json.dumps, rows)) + "\n\n").encode(), "said")
    assert found == (
        Placement(1, "exclude", 3),
        Placement(2, "match", 4, 2, points=((0, 0, 1, 1), (5, 5, 6, 6))),
        Placement(3, "place", 5, matrix=(1, 0, 0, 1), shift=(2, 3.5)),
        Placement(4, "source", 6, source=7),
    )
    assert found[1].words == "line 2: match pair 4, 2"
    assert parse(b"", "said") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"z": 1}', "said, line 1: action is None; expected one of exclude"),
        ("\n[1]", "said, line 2: is no object in JSON"),
        ('{"z": 1, "action": "exclude", "shift": [1, 2]}', "exclude has no field 'shift'; it has: z"),
        ('{"z": 1, "action": "place", "shift": [1, 2]}', "place lacks matrix"),
        ('{"z": 1, "action": "place", "matrix": [1, 0, 0, 0], "shift": [1, 2]}', "leaves nothing of a section"),
        ('{"z": 1, "action": "place", "matrix": [1, 0, 1], "shift": [1, 2]}', "expected 4 numbers"),
        ('{"z": 1, "action": "place", "matrix": [1, 0, 0, NaN], "shift": [1, 2]}', "expected 4 numbers"),
        ('{"z": true, "action": "exclude"}', "z is True; expected the number of sections"),
        ('{"pair": [1], "action": "ignore"}', "expected two numbers of sections"),
        ('{"pair": [1, 1], "action": "ignore"}', "a pair of 1 and itself"),
        ('{"pair": [1, 3], "action": "swap"}', "1 and 3 are no neighbours"),
        ('{"pair": [1, 3], "action": "match", "points": [[1, 2, 3, 4]]}', "expected 2 or more"),
        ('{"pair": [1, 3], "action": "match", "points": [[1, 2, 3, 4], [1, 2]]}', "expected 4 numbers"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse(text.encode(), "said")


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(SpecError, match="no text in UTF-8"):
        parse(b"\xff\xfe\x00", "said")
