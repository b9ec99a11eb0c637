"""Chunk encodings: exact round trips, damage that is noticed, and agreement with two other readers."""

from __future__ import annotations

import gzip
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import codecs
from igneous_ng.formats.info import ENCODINGS, Info, new_info
from igneous_ng.geometry import Box
from igneous_ng.io import IO

Array = npt.NDArray[Any]
PAIRS = [(encoding, dtype) for encoding, dtypes in ENCODINGS.items() for dtype in dtypes]
CHANNELS = {"raw": (1, 2, 5), "jpeg": (1, 3), "png": (1, 2, 3, 4), "compressed_segmentation": (1, 2, 3)}
each = pytest.mark.parametrize(("encoding", "dtype"), PAIRS)


def noise(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Array:
    """All bit patterns of integers, and floats that are numbers."""
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return np.asarray(rng.normal(size=shape), dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def labels(shape: tuple[int, ...], dtype: str, count: int) -> Array:
    """Large objects of few labels, the largest of the type among them."""
    field = np.indices(shape).sum(0) // 3 % count
    return np.asarray(~field.astype(dtype))


def back(array: Array, encoding: str) -> Array:
    shape: Any = array.shape
    return codecs.decode(codecs.encode(array, encoding), encoding, shape, array.dtype)


@each
def test_any_array_comes_back(encoding: str, dtype: str) -> None:
    sides = [(1, 1, 1), (3, 5, 2), (8, 8, 8), (9, 17, 5), (16, 1, 33)]
    for xyz, channels in product(sides, CHANNELS.get(encoding, (1,))):
        array = noise((*xyz, channels), dtype)
        if encoding == "jpeg":
            array = np.broadcast_to(array[:1, :1, :1], array.shape)
        found = back(array, encoding)
        assert found.shape == array.shape
        assert found.dtype == array.dtype
        tolerance = 2 if encoding == "jpeg" else 0
        assert np.abs(found.astype(float) - array).max() <= tolerance
        assert encoding == "jpeg" or np.array_equal(found, array)


@settings(deadline=None, max_examples=60)
@given(st.tuples(*[st.integers(1, 19)] * 3), st.integers(1, 700), st.sampled_from([p for p in PAIRS if p[1][0] == "u"]))
def test_labels_come_back(shape: tuple[int, int, int], count: int, pair: tuple[str, str]) -> None:
    encoding, dtype = pair
    if encoding != "jpeg":
        array = labels((*shape, 1), dtype, count)
        assert np.array_equal(back(array, encoding), array)


@each
def test_the_memory_order_of_an_array_does_not_matter(encoding: str, dtype: str) -> None:
    array = noise((7, 6, 5, 1), dtype)
    wide = noise((14, 6, 5, 2), dtype)
    wide[::2, :, :, :1] = array
    kinds = [np.ascontiguousarray(array), np.asfortranarray(array), wide[::2, :, :, :1]]
    frozen = np.asfortranarray(array)
    frozen.flags.writeable = False
    assert len({codecs.encode(a, encoding) for a in [*kinds, frozen, frozen]}) == 1


@pytest.mark.parametrize("dtype", ["uint16", "uint64", "float32"])
def test_raw_is_little_endian_x_fastest(dtype: str) -> None:
    array = noise((3, 4, 5, 2), dtype)
    stored = codecs.encode(array, "raw")
    assert stored == array.astype(f"<{array.dtype.kind}{array.dtype.itemsize}").tobytes("F")
    assert stored == codecs.encode(array.astype(array.dtype.newbyteorder(">")), "raw")


def test_jpeg_is_near_and_grey_stays_grey() -> None:
    x, y, z, _ = np.indices((32, 31, 9, 1))
    smooth = (128 + 90 * np.sin(x / 9) * np.cos(y / 7) + z).astype(np.uint8)
    error = np.abs(back(smooth, "jpeg").astype(int) - smooth)
    assert error.mean() < 1
    assert error.max() <= 12


def damaged(data: bytes) -> list[bytes]:
    cuts = {0, 1, 3, 4, 8, 12, len(data) // 3, len(data) // 2, *range(max(0, len(data) - 13), len(data))}
    return [data[:n] for n in sorted(cuts) if n < len(data)]


@each
def test_a_torn_chunk_is_noticed(encoding: str, dtype: str) -> None:
    for channels in CHANNELS.get(encoding, (1,)):
        chunks = [noise((9, 6, 5, channels), dtype)]
        if dtype[0] == "u":
            chunks += [labels((17, 9, 5, channels), dtype, count) for count in (1, 2, 7)]
        for array in chunks:
            shape: Any = array.shape
            for torn in damaged(codecs.encode(array, encoding)):
                with pytest.raises(DataError, match=f"{len(torn)} bytes are no {encoding} chunk"):
                    codecs.decode(torn, encoding, shape, array.dtype)


@each
def test_garbage_and_the_chunk_of_another_shape_are_noticed(encoding: str, dtype: str) -> None:
    array = noise((9, 6, 5, 1), dtype)
    data = codecs.encode(array, encoding)
    rng = np.random.default_rng(1)
    for extra in (0, 1, 4):
        garbage = rng.bytes(len(data) + extra)
        if encoding == "raw" and not extra:
            continue  # any bytes of the right number are raw voxels
        with pytest.raises(DataError, match="write this chunk again"):
            codecs.decode(garbage, encoding, (9, 6, 5, 1), array.dtype)
    with pytest.raises(DataError, match="write this chunk again"):
        codecs.decode(data, encoding, (9, 6, 50, 1), array.dtype)


@pytest.mark.parametrize(("encoding", "dtype"), [p for p in PAIRS if p[0].startswith("compress") and p[1] != "uint8"])
def test_a_flipped_bit_never_leads_a_decoder_astray(encoding: str, dtype: str) -> None:
    array = labels((9, 10, 8, 1), dtype, 40)
    data = codecs.encode(array, encoding)
    for bit in range(0, 8 * len(data), 7):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            found = codecs.decode(bytes(flipped), encoding, (9, 10, 8, 1), array.dtype)
        except DataError:
            continue
        assert found.shape == array.shape


def test_a_compresso_chunk_with_bytes_behind_it_is_refused() -> None:
    data = codecs.encode(labels((9, 10, 8, 1), "uint32", 4), "compresso")
    with pytest.raises(DataError, match="fewer or more voxels"):
        codecs.decode(data + bytes(4), "compresso", (9, 10, 8, 1), np.dtype("uint32"))


def test_a_png_or_compresso_of_another_type_is_refused() -> None:
    with pytest.raises(DataError, match="the picture is uint16"):
        codecs.decode(codecs.encode(noise((4, 4, 4, 1), "uint16"), "png"), "png", (4, 4, 4, 1), np.dtype("uint8"))
    data = codecs.encode(labels((4, 4, 4, 1), "uint64", 2), "compresso")
    with pytest.raises(DataError, match="of 8 bytes"):
        codecs.decode(data, "compresso", (4, 4, 4, 1), np.dtype("uint32"))


@pytest.mark.parametrize("block", [(8, 8, 8), (4, 4, 4), (16, 8, 2)])
def test_compressed_segmentation_has_the_block_that_it_is_told(block: tuple[int, int, int]) -> None:
    array = labels((20, 17, 9, 2), "uint64", 50)
    data = codecs.encode(array, "compressed_segmentation", block)
    found = codecs.decode(data, "compressed_segmentation", (20, 17, 9, 2), array.dtype, block)
    assert np.array_equal(found, array)


def test_an_unknown_encoding_is_a_wrong_request() -> None:
    with pytest.raises(SpecError, match="'zip'; there are: raw, jpeg"):
        codecs.encode(noise((1, 1, 1, 1), "uint8"), "zip")
    with pytest.raises(SpecError, match="'zip'; there are: raw, jpeg"):
        codecs.decode(b"", "zip", (1, 1, 1, 1), np.dtype("uint8"))


# Layers with a negative offset, sides that no chunk divides and a fractional resolution, read by others.

BOX = Box((-7, 3, -100), (-7 + 21, 3 + 13, -100 + 19))
READ = [(e, d, c) for e, d in PAIRS for c in CHANNELS.get(e, (1,)) if c in (1, 3)]


def layer(place: Path, encoding: str, dtype: str, channels: int) -> tuple[Info, Array]:
    kind = "segmentation" if encoding.startswith("compress") else "image"
    info = new_info(
        kind=kind,
        dtype=dtype,
        channels=channels,
        bounds=BOX,
        resolution=(4.5, 4.5, 33.25),
        chunk=(8, 16, 5),
        encoding=encoding,
    )
    array = np.asfortranarray(noise((*BOX.shape, channels), dtype))
    io = IO()
    io.create_layer(f"file://{place}", info)
    io.write(io.volume(f"file://{place}", 0), BOX, array)
    return info, io.read(io.volume(f"file://{place}", 0), BOX) if encoding == "jpeg" else array


@pytest.mark.parametrize(("encoding", "dtype", "channels"), [r for r in READ if r != ("jpeg", "uint8", 3)])
def test_cloudvolume_reads_the_same(tmp_path: Path, encoding: str, dtype: str, channels: int) -> None:
    from cloudvolume import CloudVolume  # its colour jpegs are its own: TensorStore and Neuroglancer disagree

    if encoding == "png":
        pytest.importorskip("pyspng", reason="cloud-volume reads png by pyspng-seunglab")
    _, array = layer(tmp_path, encoding, dtype, channels)
    volume = CloudVolume(f"file://{tmp_path}", progress=False)
    found = np.asarray(volume[BOX.slices()])
    assert tuple(volume.resolution) == (4.5, 4.5, 33.25)
    assert tuple(volume.voxel_offset) == BOX.lo
    assert np.abs(found.astype(float) - array).max() <= (2 if encoding == "jpeg" else 0)


@pytest.mark.parametrize(("encoding", "dtype", "channels"), [r for r in READ if r[0] != "compresso"])
def test_tensorstore_reads_the_same(tmp_path: Path, encoding: str, dtype: str, channels: int) -> None:
    tensorstore = pytest.importorskip("tensorstore")
    _, array = layer(tmp_path, encoding, dtype, channels)
    for packed in tmp_path.rglob("*.gz"):  # on files it knows no compression suffix
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    opened = tensorstore.open(
        {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{tmp_path}/"}}
    ).result()
    assert opened.domain.origin[:3] == BOX.lo
    found = opened.read().result()
    assert np.abs(found.astype(float) - array).max() <= (2 if encoding == "jpeg" else 0)
