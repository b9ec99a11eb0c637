from __future__ import annotations

import pytest

from igneous_ng.errors import DataError
from igneous_ng.formats import points


def test_a_table_is_read() -> None:
    text = "x, y, z, label, type\n1.5,-2,3e3,18446744073709551615,7\n4,5,6,,\n"
    found = points.parse(text.encode(), "x")
    assert found["at"].tolist() == [[1.5, -2, 3000], [4, 5, 6]]
    assert found["label"].tolist() == [2**64 - 1, 0]
    assert found["type"].tolist() == [7, 0]
    assert points.parse(b"z,y,x\n1,2,3\n", "x")["at"].tolist() == [[3, 2, 1]]
    assert len(points.parse(b"x,y,z\n", "x")) == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "first line"),
        (b"1,2,3\n", "first line"),
        (b"x,y,z,w\n", "first line"),
        (b"x,y,z\n1,2\n", "line 2"),
        (b"x,y,z\n1,2,3\n1,2,a\n", "line 3"),
        (b"x,y,z,type\n1,2,3,256\n", "line 2"),
        (b"x,y,z,label\n1,2,3,-1\n", "line 2"),
        (b"x,y,z\nnan,2,3\n", "no place"),
        (b"\xff", "not a table"),
    ],
)
def test_other_files_are_refused(text: bytes, said: str) -> None:
    with pytest.raises(DataError, match=f"^here.*{said}"):
        points.parse(text, "here")
