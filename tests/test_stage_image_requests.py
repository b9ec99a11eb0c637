"""Requests drawn at random, many of them wrong: each is refused and changes nothing, or equals plain numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.info import new_info
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels.pooling import pool
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.image_transfer import Transfer

Array = npt.NDArray[Any]
BOX = Box((-5, 3, 1), (12, 14, 10))
DTYPES = ["uint8", "int8", "uint16", "int32", "uint64", "float32"]
ENCODINGS = st.sampled_from(["raw", "png", "compressed_segmentation", "compresso", "gif", ""])
FEW = [(1, 1, 1), (2, 2, 1), (2, 2, 2), (1, 3, 2), (0, 2, 2), (-2, 2, 1)]
METHODS = ["auto", "average", "mode", "min", "max", "stride", "median"]
corners = st.tuples(*[st.integers(-8, 16)] * 3)
rois = st.none() | st.builds(lambda lo, hi: ",".join(f"{a}:{b}" for a, b in zip(lo, hi, strict=True)), corners, corners)
chunks = st.tuples(*[st.sampled_from([3, 4, 8, 5, 0])] * 3)
memories = st.sampled_from([10**9, 10**6, 30_000, 500, 0])

POOLING: dict[str, st.SearchStrategy[Any]] = {
    "factor": st.sampled_from(FEW),
    "method": st.sampled_from(METHODS),
    "sparse": st.booleans(),
    "sharded": st.booleans(),
    "memory": memories,
    "compress": st.sampled_from(["gzip", "none", "brotli", "zstd", "lzma"]),
    "encoding": st.lists(ENCODINGS, max_size=2).map(tuple),
    "roi": rois,
    "mip": st.sampled_from([0, 0, 0, 1, -1]),
}
TRANSFER = POOLING | {
    "num_mips": st.sampled_from([0, 0, 1, 2, -1]),
    "translate": st.tuples(*[st.integers(-9, 9)] * 3),
    "chunk": st.none() | chunks,
    "dtype": st.sampled_from(["", "", *DTYPES, "float64", "intt"]),
    "window": st.sampled_from([None, None, (0.0, 100.0), (50.0, 10.0)]),
    "fill_missing": st.booleans(),
    "delete_background": st.booleans(),
}
DOWNSAMPLE = POOLING | {"num_mips": st.sampled_from([1, 1, 2, 3, 0])}
CREATE: dict[str, st.SearchStrategy[Any]] = {
    "axes": st.sampled_from(["xyzc", "xyzc", "xyz", "", "xyzz"]),
    "offset": corners,
    "chunk": chunks,
    "cell": st.tuples(*[st.sampled_from([4, 9, 64, 0])] * 3),
    "kind": st.sampled_from(["image", "segmentation", "labels"]),
    "dtype": TRANSFER["dtype"],
    "encoding": ENCODINGS,
    "compress": POOLING["compress"],
    "sharded": POOLING["sharded"],
    "resolution": st.sampled_from([(4.0, 4.0, 40.0), (0.5, 0.5, 1.5), (1e9, 1.0, 1.0)]),
    "memory": memories,
}


def some(options: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """A few options at a time, or every second request would be wrong in three ways."""
    names = st.lists(st.sampled_from(sorted(options)), max_size=4, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: options[name] for name in chosen}))


def starts_of(origin: int, size: int, factor: int) -> list[int]:
    """Where blocks begin along an axis."""
    return [i for i in range(size) if i == 0 or (origin + i) % factor == 0]


def reduced(array: Array, origin: Vec3, factor: Vec3, function: np.ufunc) -> Array:
    for axis in range(3):
        starts = starts_of(origin[axis], array.shape[axis], factor[axis])
        array = function.reduceat(array, starts, axis=axis)
    return array


def pooled(array: Array, origin: Vec3, factor: Vec3, method: str, sparse: bool, times: int) -> Array:
    """``times`` levels up, in plain numpy; modes, which have an oracle of their own, by the kernel."""
    total = vec(f**times for f in factor)
    if method == "mode":
        for _ in range(times):
            array, origin = pool(array, origin, factor, "mode", sparse)
        return array
    if method == "stride":
        starts = [starts_of(o, n, f) for o, n, f in zip(origin, array.shape, total, strict=False)]
        return array[np.ix_(*starts)]
    wide = array.astype(object if array.dtype == np.uint64 else np.float64)
    if method == "average":
        counted = (array != 0) | (not sparse)
        count = np.maximum(reduced(counted.astype(np.int64), origin, total, np.add), 1)
        mean = reduced(wide, origin, total, np.add) / count
        return (mean if array.dtype.kind == "f" else np.rint(mean.astype(np.float64))).astype(array.dtype)
    function, other = (np.minimum, np.inf) if method == "min" else (np.maximum, -np.inf)
    found = reduced(np.where(array == 0, other, wide) if sparse else wide, origin, total, function)
    return np.where(np.isinf(found.astype(np.float64)), 0, found).astype(array.dtype)


def snapshot(path: Path) -> dict[str, bytes]:
    """All but the records of runs."""
    found = (p for p in path.rglob("*") if p.is_file() and not {"runs", "provenance"} & {*p.relative_to(path).parts})
    return {str(p.relative_to(path)): p.read_bytes() for p in found}


def values(dtype: str, kind: str, channels: int, seed: int) -> Array:
    high = 4 if kind == "segmentation" else 120
    drawn = np.random.default_rng(seed).integers(0, high, (*BOX.shape, channels))
    drawn[:5] = 0
    return drawn.astype(dtype)


def layer(path: Path, dtype: str, kind: str, channels: int, seed: int) -> Array:
    array = values(dtype, kind, channels, seed)
    info = new_info(
        kind=kind, dtype=dtype, channels=channels, bounds=BOX, resolution=(4.0, 4.0, 40.0), chunk=(4, 4, 4),
        encoding="raw",
    )  # fmt: skip
    io = IO()
    io.create_layer(f"file://{path}", info)
    io.write(io.volume(f"file://{path}", 0), BOX, array)
    return array


def stored(path: Path, mip: int) -> tuple[Array, Box]:
    io = IO()
    volume = io.volume(f"file://{path}", mip, fill_missing=True)
    return io.read(volume, volume.bounds), volume.bounds


def done(folder: Path, cls: Any, **fields: Any) -> bool:
    """Whether the request was carried out; if not, nothing may have changed."""
    before = snapshot(folder)
    try:
        run.inline(cls(**fields))
    except SpecError:
        assert snapshot(folder) == before
        event("refused")
        return False
    except DataError as error:  # values that do not fit: found in the data, hence not shown
        if "do not fit" not in str(error) or (folder / "new" / "info").exists() == (cls is Transfer):
            raise
        event("did not fit")
        return False
    event("done")
    return True


def many(count: int) -> settings:
    return settings(deadline=None, max_examples=count, suppress_health_check=list(HealthCheck))


inputs = st.tuples(
    st.sampled_from(DTYPES), st.sampled_from(["image", "segmentation"]), st.sampled_from([1, 1, 2]), st.integers(0, 9)
).map(lambda drawn: (drawn[0], "image", *drawn[2:]) if drawn[0] == "float32" else drawn)


def transfers(folder: Path, given_layer: Any, fields: dict[str, Any]) -> None:
    array = layer(folder / "old", *given_layer)
    if not done(folder, Transfer, source=f"{folder}/old", layer=f"{folder}/new", **fields):
        return
    part = Box.parse(fields["roi"]) & BOX if fields.get("roi") else BOX
    expected = array[part.slices(BOX.lo)]
    bounds = part.shift(fields.get("translate", (0, 0, 0)))
    dtype = np.dtype(fields.get("dtype") or array.dtype)
    if fields.get("window"):
        share = np.clip(expected / 100.0, 0, 1)
        ends = None if dtype.kind == "f" else np.iinfo(dtype)
        expected = share if ends is None else np.rint(share * (float(ends.max) - float(ends.min)) + ends.min)
    check_levels(folder / "new", expected.astype(dtype), bounds, given_layer[1], fields, fields.get("num_mips", 0))


def downsamples(folder: Path, given_layer: Any, fields: dict[str, Any]) -> None:
    array = layer(folder / "new", *given_layer)
    fields = {key: value for key, value in fields.items() if key != "roi"}
    if done(folder, Downsample, layer=f"{folder}/new", **fields):
        check_levels(folder / "new", array, BOX, given_layer[1], fields, fields.get("num_mips", 1))


def check_levels(path: Path, array: Array, bounds: Box, kind: str, fields: dict[str, Any], count: int) -> None:
    method, factor = fields.get("method", "auto"), fields.get("factor", (2, 2, 1))
    method = {"image": "average", "segmentation": "mode"}[kind] if method == "auto" else method
    assert len(IO().info(f"file://{path}").scales) == count + 1
    for mip in range(count + 1):
        found, where = stored(path, mip)
        expected = pooled(array, bounds.lo, factor, method, fields.get("sparse", False), mip)
        assert found.dtype == array.dtype
        assert where == bounds // vec(f**mip for f in factor)
        np.testing.assert_allclose(found, expected, rtol=1e-6 if array.dtype.kind == "f" else 0)


def creates(folder: Path, given_layer: Any, fields: dict[str, Any]) -> None:
    array = values(*given_layer)
    np.save(folder / "a.npy", array)
    if done(folder, Create, source=f"{folder}/a.npy", layer=f"{folder}/new", **{"axes": "xyzc", **fields}):
        found, where = stored(folder / "new", 0)
        assert where == Box.sized(fields.get("offset", (0, 0, 0)), BOX.shape)
        assert found.dtype == (fields.get("dtype") or array.dtype)
        np.testing.assert_array_equal(found, array)


AREAS = {"transfer": (transfers, TRANSFER), "downsample": (downsamples, DOWNSAMPLE), "create": (creates, CREATE)}
each = pytest.mark.parametrize("area", list(AREAS))


def check(area: str, count: int, tmp: pytest.TempPathFactory) -> None:
    test, options = AREAS[area]

    def request(given_layer: Any, fields: dict[str, Any]) -> None:
        test(tmp.mktemp("request"), given_layer, fields)

    many(count)(given(inputs, some(options))(request))()


@each
def test_a_request_is_refused_or_right(tmp_path_factory: pytest.TempPathFactory, area: str) -> None:
    check(area, 33, tmp_path_factory)


@pytest.mark.long
@each
def test_a_thousand_requests_are_refused_or_right(tmp_path_factory: pytest.TempPathFactory, area: str) -> None:
    check(area, 334, tmp_path_factory)
