"""Chunk encodings: exact round trips, damage that is noticed, and agreement with two other readers."""

from __future__ import annotations

import gzip
import re
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.errors import ConfigurationError, DataError, SpecError
from igneous_ng.formats import codecs
from igneous_ng.formats.info import ENCODINGS, Info, new_info
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from tests.data import data

Array = npt.NDArray[Any]
PAIRS = [(encoding, dtype) for encoding, dtypes in ENCODINGS.items() for dtype in dtypes]
CHANNELS = {
    "raw": (1, 2, 5),
    "jpeg": (1, 3),
    "png": (1, 2, 3, 4),
    "fpzip": (1, 3),
    "zfpc": (1, 3),
    "compressed_segmentation": (1, 2, 3),
}
LOSSY = ("jpeg", "jxl")  # as they are by default
EXACT: dict[str, list[dict[str, Any]]] = {
    "png": [{}, {"png_level": 0}, {"png_level": 9}],
    "jxl": [{"jxl_quality": 100, "jxl_effort": effort} for effort in (1, 3)],
    "fpzip": [{}, {"fpzip_precision": 32}],
    "zfpc": [{}, {"zfpc_correlated_dims": [True] * 4}, {"zfpc_correlated_dims": [True, True, False, False]}],
    "compressed_segmentation": [{}, {"compressed_segmentation_block_size": [4, 16, 3]}],
}
LOSSLESS = [(e, d, parameters) for e, d in PAIRS if e != "jpeg" for parameters in EXACT.get(e, [{}])]
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


def back(array: Array, encoding: str, parameters: dict[str, Any] | None = None) -> Array:
    shape: Any = array.shape
    return codecs.decode(codecs.encode(array, encoding, parameters), encoding, shape, array.dtype, parameters)


def same_bits(found: Array, array: Array) -> bool:
    return (found.dtype, found.shape) == (array.dtype, array.shape) and bool(found.tobytes("F") == array.tobytes("F"))


@pytest.mark.parametrize(("encoding", "dtype", "parameters"), LOSSLESS)
def test_any_array_comes_back(encoding: str, dtype: str, parameters: dict[str, Any]) -> None:
    sides = [(1, 1, 1), (3, 5, 2), (8, 8, 8), (9, 17, 5), (16, 1, 33)]
    for xyz, channels in product(sides, CHANNELS.get(encoding, (1,))):
        array = noise((*xyz, channels), dtype)
        assert codecs.exact(encoding, parameters)
        assert same_bits(back(array, encoding, parameters), array)


@st.composite
def arrays(draw: st.DrawFn, dtype: str, channels: tuple[int, ...]) -> Array:
    """Labels, few or many, or noise; in either memory order or with gaps, perhaps not to be written to."""
    shape = draw(st.tuples(*[st.integers(1, 70)] * 3, st.sampled_from(channels)))
    count = draw(st.integers(0, 700))
    wide = (shape[0] * draw(st.sampled_from((1, 2))), *shape[1:])
    array = labels(wide, dtype, count) if count and dtype != "float32" else noise(wide, dtype, draw(st.integers(0, 9)))
    order = draw(st.sampled_from((np.ascontiguousarray, np.asfortranarray)))
    array = order(array)[:: wide[0] // shape[0]]
    array.flags.writeable = draw(st.booleans())
    return np.asarray(array)


@settings(deadline=None, max_examples=120)
@given(st.data())
def test_arrays_of_any_shape_and_order_come_back(data: st.DataObject) -> None:
    encoding, dtype, parameters = data.draw(st.sampled_from(LOSSLESS))
    array = data.draw(arrays(dtype, CHANNELS.get(encoding, (1,))))
    assert same_bits(back(array, encoding, parameters), array)


@pytest.mark.parametrize("encoding", ["raw", "fpzip", "zfpc"])
def test_every_float_comes_back_bit_by_bit(encoding: str) -> None:
    odd = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 3.4e38, 1.0]
    array = np.resize(np.array(odd, np.float32), (7, 6, 5, 2))
    assert same_bits(back(array, encoding), np.asfortranarray(array))


@pytest.mark.parametrize("parameters", [{"zfpc_tolerance": 0.01}, {"zfpc_precision": 20}, {"zfpc_rate": 16}], ids=str)
def test_zfp_loses_what_it_is_told_to(parameters: dict[str, Any]) -> None:
    array = np.sin(np.indices((16, 16, 16, 1), np.float32).sum(0) / 3)
    assert not codecs.exact("zfpc", parameters)
    assert len(codecs.encode(array, "zfpc", parameters)) < len(codecs.encode(array, "zfpc"))
    assert 0 < np.abs(back(array, "zfpc", parameters) - array).max() <= 0.01


@pytest.mark.parametrize("encoding", LOSSY)
def test_flat_pictures_of_any_shape_stay_flat(encoding: str) -> None:
    sides = [(1, 1, 1), (3, 5, 2), (9, 17, 5), (16, 1, 33)]
    for xyz, channels in product(sides, CHANNELS.get(encoding, (1,))):
        array = np.broadcast_to(noise((1, 1, 1, channels), "uint8"), (*xyz, channels))
        found = back(array, encoding)
        assert (found.shape, found.dtype) == (array.shape, array.dtype)
        assert np.abs(found.astype(int) - array).max() <= 2


def test_quality_and_effort_are_heeded() -> None:
    x, y, z, _ = np.indices((40, 40, 40, 1))
    array = (128 + 90 * np.sin(x / 5) * np.cos(y / 7 + z / 9) + noise(x.shape, "uint8") // 16).astype(np.uint8)
    sizes = [len(codecs.encode(array, "jpeg", {"jpeg_quality": quality})) for quality in (30, 60, 90, 100)]
    assert sizes == sorted(set(sizes))
    sizes = [len(codecs.encode(array, "jxl", {"jxl_quality": quality})) for quality in (30, 60, 90, 100)]
    assert sizes == sorted(set(sizes))
    assert len(codecs.encode(array, "png", {"png_level": 9})) < len(codecs.encode(array, "png", {"png_level": 0}))
    coarse = codecs.encode(noise((9, 9, 9, 1), "float32"), "fpzip", {"fpzip_precision": 12})
    assert len(coarse) < len(codecs.encode(noise((9, 9, 9, 1), "float32"), "fpzip"))
    for encoding, quality in (("jpeg", "jpeg_quality"), ("jxl", "jxl_quality")):
        assert np.abs(back(array, encoding, {quality: 95}).astype(int) - array).mean() < 2


@pytest.mark.parametrize("encoding", ["fpzip", "zfpc"])
def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    array = noise((2, 2, 2, 1), "float32")
    data = codecs.encode(array, encoding)
    monkeypatch.setitem(sys.modules, encoding, None)
    for call in (
        lambda: codecs.encode(array, encoding),
        lambda: codecs.decode(data, encoding, (2, 2, 2, 1), array.dtype),
    ):
        with pytest.raises(ConfigurationError, match=rf"needs {encoding}.*igneous-ng\[codecs\]"):
            call()


# What may go together.


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (("jpeg", "uint16", 1, False, {}), "'jpeg' cannot hold uint16 of 1 channel(s); these can: raw, png, compresso"),
        (
            ("jpeg", "uint8", 1, True, {}),
            "cannot hold labels of uint8 of 1 channel(s); these can: raw, png, compresso, c",
        ),
        (("crackle", "uint32", 2, True, {}), "these can: raw, compressed_segmentation"),
        (("png", "float32", 1, False, {}), "these can: raw, fpzip, zfpc"),
        (("raw", "float64", 1, False, {}), "hold no float64"),
        (("zip", "uint8", 1, False, {}), "did you mean 'fpzip'? there are: raw, jpeg, png, jxl, fpzip"),
        (
            ("jpeg", "uint8", 1, False, {"png_level": 1}),
            "png_level is no parameter of encoding 'jpeg'; there are: jpeg_",
        ),
        (("raw", "uint8", 1, False, {"level": 1}), "there are: none"),
        (
            ("jpeg", "uint8", 1, False, {"jpeg_quality": 101}),
            "jpeg_quality is 101; give one of the whole numbers from 1",
        ),
        (("png", "uint8", 1, False, {"png_level": 1.5}), "png_level is 1.5"),
        (("png", "uint8", 1, False, {"png_level": float("nan")}), "png_level is nan"),
        (("png", "uint8", 1, False, {"png_level": "6"}), "png_level is '6'"),
        (("zfpc", "float32", 1, False, {"zfpc_rate": 8, "zfpc_tolerance": 1}), "exclude each other"),
        (("zfpc", "float32", 1, False, {"zfpc_correlated_dims": [1, 1]}), "give 4 whole numbers from 0 to 1"),
        (
            ("compressed_segmentation", "uint32", 1, True, {"compressed_segmentation_block_size": 8}),
            "give 3 whole numbers from 1 to 64",
        ),
    ],
    ids=str,
)
def test_a_wrong_combination_is_refused_with_the_right_ones(request_: Any, said: str) -> None:
    with pytest.raises(SpecError, match=re.escape(said)):
        codecs.check(*request_)


def test_labels_may_be_jxl_where_nothing_is_lost() -> None:
    codecs.check("jxl", "uint8", 1, True, {"jxl_quality": 100})
    with pytest.raises(SpecError, match="cannot hold labels"):
        codecs.check("jxl", "uint8", 1, True, {"jxl_quality": 99})


@pytest.mark.parametrize(("encoding", "dtype", "parameters"), LOSSLESS)
def test_what_is_allowed_is_what_works(encoding: str, dtype: str, parameters: dict[str, Any]) -> None:
    codecs.check(encoding, dtype, 1, dtype != "float32", parameters)


# What others encoded.


def test_crackle_of_others_is_understood() -> None:
    folder = data("codec_goldens")
    for stem in ("pinky40", "random"):
        array = np.load(folder / f"{stem}.npy")[..., np.newaxis]
        for coded in folder.glob(f"{stem}*.ckl"):
            found = codecs.decode(coded.read_bytes(), "crackle", array.shape, array.dtype)
            assert np.array_equal(found, array), coded
    for coded in [path for value in ("zeros", "ones") for path in folder.glob(f"{value}?.ckl")]:
        dtype = np.dtype(f"u{coded.stem[-1]}")
        found = codecs.decode(coded.read_bytes(), "crackle", (32, 32, 32, 1), dtype)
        assert (found == coded.stem.startswith("ones")).all()


def test_raw_labels_of_others_are_understood() -> None:
    coded = data("codec_goldens", "neuroglancer_64x64x64-raw-uint64-segmentation.dat").read_bytes()
    found = codecs.decode(coded, "raw", (64, 64, 64, 1), np.dtype("uint64"))
    for encoding in ("compressed_segmentation", "compresso", "crackle"):
        assert same_bits(back(found, encoding), found)
    assert codecs.encode(found, "raw") == coded


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
    if encoding == "fpzip":
        pytest.skip("its streams do not say where they end: gzip around them does")
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
    block_size = {"compressed_segmentation_block_size": list(block)}
    data = codecs.encode(array, "compressed_segmentation", block_size)
    found = codecs.decode(data, "compressed_segmentation", (20, 17, 9, 2), array.dtype, block_size)
    assert np.array_equal(found, array)


def test_an_unknown_encoding_is_a_wrong_request() -> None:
    with pytest.raises(SpecError, match="'zip'; did you mean 'fpzip'\\? there are: raw, jpeg"):
        codecs.encode(noise((1, 1, 1, 1), "uint8"), "zip")
    with pytest.raises(SpecError, match="'zip'; did you mean 'fpzip'\\? there are: raw, jpeg"):
        codecs.decode(b"", "zip", (1, 1, 1, 1), np.dtype("uint8"))


# Layers with a negative offset, sides that no chunk divides and a fractional resolution, read by others.

BOX = Box((-7, 3, -100), (-7 + 21, 3 + 13, -100 + 19))
READ = [(e, d, c) for e, d in PAIRS for c in CHANNELS.get(e, (1,)) if c in (1, 3)]
ONLY_CLOUDVOLUME = ("compresso", "crackle", "jxl", "fpzip", "zfpc")


def layer(place: Path, encoding: str, dtype: str, channels: int) -> tuple[Info, Array]:
    kind = "segmentation" if encoding.startswith(("compress", "crackle")) else "image"
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
    return info, io.read(io.volume(f"file://{place}", 0), BOX) if encoding in LOSSY else array


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
    assert np.abs(found.astype(float) - array).max() <= (2 if encoding in LOSSY else 0)


@pytest.mark.parametrize(("encoding", "dtype", "channels"), [r for r in READ if r[0] not in ONLY_CLOUDVOLUME])
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
    assert np.abs(found.astype(float) - array).max() <= (2 if encoding in LOSSY else 0)
