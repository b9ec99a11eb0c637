"""What Igneous leaves between forging and merging, written by hand: containers, files, spatial index, info."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import brotli
import google_crc32c
import numpy as np

from igneous_ng.forging import Bucket, Shelf
from igneous_ng.geometry import Box
from igneous_ng.io import IO

Pieces = dict[Box, dict[int, tuple[bytes, str]]]


def mapbuffer(values: Mapping[int, bytes], compress: str = "br", version: int = 1) -> bytes:
    """A MapBuffer, its labels in the order of the tree, breadth first, by which Igneous searches."""
    labels = _eytzinger(sorted(values))
    stored = [brotli.compress(values[label]) if compress == "br" else values[label] for label in labels]
    if version:
        stored = [body + google_crc32c.value(body).to_bytes(4, "little") for body in stored]
    start = 16 + 16 * len(labels)
    offsets = start + np.concatenate([[0], np.cumsum([len(body) for body in stored])])
    index = b"".join(struct.pack("<QQ", label, int(at)) for label, at in zip(labels, offsets, strict=False))
    head = b"mapbufr" + bytes([version]) + compress.zfill(4).encode() + struct.pack("<I", len(labels))
    return head + index + b"".join(stored)


def _eytzinger(ordered: list[int]) -> list[int]:
    """Sorted numbers as a complete binary tree lists them, level by level."""
    found = [0] * len(ordered)
    rest = iter(ordered)

    def fill(node: int) -> None:
        if node < len(found):
            fill(2 * node + 1)
            found[node] = next(rest)
            fill(2 * node + 2)

    fill(0)
    return found


def pieces(layer: str, folder: str, kind: str) -> Pieces:
    """What our own forging made in each cell: payloads by label, and where each comes from."""
    shelf = Shelf(IO(), layer, folder)
    plan = shelf.plan(kind)
    found: Pieces = {cell: {} for cell in plan.grid}
    for number in range(plan.buckets):
        bucket = Bucket(shelf, plan, number)
        for label, rows in bucket.objects():
            for row in range(rows.start, rows.stop):
                for payload in bucket.payloads(slice(row, row + 1)):
                    found[plan.grid[int(bucket.owners[row])]][label] = payload
    return found


def name(cell: Box, factor: tuple[float, ...] = (1, 1, 1)) -> str:
    """A box as Igneous calls files by it."""
    ends = zip(cell.lo, cell.hi, factor, strict=True)
    return "_".join(f"{int(a * size)}-{int(b * size)}" for a, b, size in ends)


def leave(
    folder: Path, cells: Mapping[Box, Mapping[int, bytes]], info: dict[str, Any], sharded: bool, indexed: bool = True
) -> None:
    """Write a folder as Igneous does after forging: of resolution 16 x 16 x 40 nm."""
    folder.mkdir()
    if not indexed:
        info = {key: value for key, value in info.items() if key != "spatial_index"}
    (folder / "info").write_text(json.dumps(info))
    for cell, fragments in cells.items():
        if indexed:
            boxes = {str(label): [0, 0, 0, 1, 1, 1] for label in fragments}
            (folder / f"{name(cell, (16, 16, 40))}.spatial.gz").write_bytes(gzip.compress(json.dumps(boxes).encode()))
        if sharded and fragments:  # of an empty cell of meshes there is none
            (folder / f"{name(cell)}.frags").write_bytes(mapbuffer(fragments))
        for label, fragment in () if sharded else fragments.items():
            (folder / f"{label}:0:{name(cell)}.gz").write_bytes(gzip.compress(fragment))
