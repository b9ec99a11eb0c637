from __future__ import annotations

import io
import json

import numpy as np
import pytest

from igneous_ng.errors import DataError
from igneous_ng.formats import remaps

BIG = 2**64 - 1


def stored(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def saved(array: object) -> bytes:
    file = io.BytesIO()
    np.save(file, array)  # type: ignore[arg-type]
    return file.getvalue()


PAIRS = np.array([[7, 1], [BIG, 5], [3, BIG]], np.uint64)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.json", json.dumps({"7": 1, str(BIG): "5", "3": BIG}).encode()),
        ("a.csv", f"supervoxel,object\n7,1\n{BIG},5\n\n3,{BIG}\n".encode()),
        ("a.csv", f"7,1\n{BIG},5\n3,{BIG}".encode()),
        ("a.npz", stored(old=PAIRS[:, 0], new=PAIRS[:, 1])),
        ("a.npy", saved(PAIRS)),
    ],
)
def test_every_kind_of_table_is_read_exactly(name: str, data: bytes) -> None:
    old, new = remaps.parse(data, name)
    assert (old.tolist(), new.tolist()) == ([3, 7, BIG], [BIG, 1, 5])
    assert {old.dtype.name, new.dtype.name} == {"uint64"}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", b""),
        ("a.json", b"[1, 2]"),
        ("a.json", b"{"),
        ("a.json", b'{"a": 1}'),
        ("a.json", b'{"1": -1}'),
        ("a.csv", b"1,2\n3,x"),
        ("a.csv", b"1,2\n3"),
        ("a.csv", b"1,2\n1,3"),
        ("a.npz", stored(old=PAIRS[:, 0])),
        ("a.npz", stored(old=[1.5], new=[2])),
        ("a.npz", b""),
        ("a.npy", saved(np.array([-1, 2]))),
        ("a.npy", saved(np.arange(3))),
    ],
)
def test_what_is_no_table_is_refused_by_name(name: str, data: bytes) -> None:
    with pytest.raises(DataError, match=f"^{name}: "):
        remaps.parse(data, name)


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.npy", "a.npz"])
def test_what_a_table_takes_grows_with_its_rows(name: str) -> None:
    def data(rows: int) -> bytes:
        pairs = np.zeros((rows, 2), np.uint64)
        pairs[:, 0] = np.arange(rows)
        named = dict.fromkeys(range(rows), 0)
        texts = {"a.json": json.dumps(named), "a.csv": "\n".join(f"{a},{b}" for a, b in named.items())}
        if name in texts:
            return texts[name].encode()
        file = io.BytesIO()
        np.savez_compressed(file, old=pairs[:, 0], new=pairs[:, 1]) if name == "a.npz" else np.save(file, pairs)
        return file.getvalue()

    assert remaps.held_bytes(data(1000), name) > 5 * 16_000
    assert remaps.held_bytes(data(10_000), name) > 8 * remaps.held_bytes(data(1000), name)


def test_what_is_no_archive_is_refused() -> None:
    with pytest.raises(DataError, match="not a table"):
        remaps.held_bytes(b"no zip", "a.npz")
