"""Every stage that reads a layer takes the same mask: what it leaves out is as if it had been zero, and is not read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from igneous_ng import census, run
from igneous_ng.errors import DataError
from igneous_ng.io import IO
from igneous_ng.masks import Masked
from igneous_ng.stage import Stage
from igneous_ng.stages.ccl import Auto, Label
from igneous_ng.stages.image_count import Count
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.image_export import Export
from igneous_ng.stages.image_quantize import Quantize
from igneous_ng.stages.image_reorder import Reorder
from igneous_ng.stages.image_roi import Roi
from igneous_ng.stages.image_transfer import Transfer
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.stages.skeleton import SkeletonForge, SkeletonMerge
from tests.layers import create, files, notes, whole

Array = npt.NDArray[Any]
LO = (-8, 4, -3)
SHAPE = (24, 16, 9)
ORDER = (5, 0, 8, 1, 2, 3, 4, 6, 7)


def half(path: Path) -> Array:
    """A mask of voxels twice as large along x and y, label 2 in the half of low x but for a hole; where it keeps."""
    labels = np.zeros((SHAPE[0] // 2, SHAPE[1] // 2, SHAPE[2], 1), "uint8")
    labels[:6] = 2
    labels[2, 3, 4] = 1
    create(path, labels, (LO[0] // 2, LO[1] // 2, LO[2]), resolution=(8.0, 8.0, 40.0))
    kept: Array = np.repeat(np.repeat(labels == 2, 2, axis=0), 2, axis=1)
    return kept


def made(folder: Path, name: str, array: Array) -> str:
    """A layer whose chunks of high x, which the mask leaves out, are gone."""
    return str(create(folder / name, array, LO))


def blank(array: Array, kept: Array) -> Array:
    return np.where(kept, array, 0).astype(array.dtype)


def labels() -> Array:
    return np.random.default_rng(1).integers(0, 3, (*SHAPE, 1)).astype("uint32")


def transferred(source: str, to: str, mask: dict[str, Any]) -> Stage:
    return Transfer(source=source, layer=to, num_mips=1, memory=12_000, **mask)


def quantized(source: str, to: str, mask: dict[str, Any]) -> Stage:
    return Quantize(source=source, layer=to, cell=(8, 8, 8), **mask)


def reordered(source: str, to: str, mask: dict[str, Any]) -> Stage:
    return Reorder(source=source, layer=to, order=tuple(z + LO[2] for z in ORDER), cell=(8, 8, 8), **mask)


def auto(**fields: Any) -> None:
    for stage in Auto(**fields).steps(IO()):
        run.inline(stage)


def exported(source: str, to: str, mask: dict[str, Any]) -> Stage:
    return Export(layer=source, dest=to, format="ome-zarr-0.5", **mask)


@pytest.mark.parametrize(
    ("make", "dtype"), [(transferred, "uint8"), (quantized, "float32"), (reordered, "uint8"), (exported, "uint16")]
)
def test_a_masked_copy_is_that_of_a_layer_blanked_before(
    tmp_path: Path, make: Callable[[str, str, dict[str, Any]], Stage], dtype: str
) -> None:
    kept = half(tmp_path / "mask")
    array = (np.random.default_rng(0).random((*SHAPE, 2)) * (1 if dtype == "float32" else 200)).astype(dtype)
    run.inline(make(made(tmp_path, "blanked", blank(array, kept)), f"{tmp_path}/wanted", {}))
    source = made(tmp_path, "source", array)
    for chunk in Path(source, "4_4_40").glob("8-12_*"):
        chunk.unlink()  # the cells of high x are not read at all
    mask: dict[str, Any] = {"mask": f"{tmp_path}/mask", "mask_labels": (2,)}
    run.inline(make(source, f"{tmp_path}/found", mask))
    assert files(tmp_path / "found") == files(tmp_path / "wanted")
    with pytest.raises(DataError, match="missing"):
        run.inline(make(source, f"{tmp_path}/other", {**mask, "mask_keep": False}))


def test_coarser_levels_of_a_masked_layer_are_those_of_a_blanked_one(tmp_path: Path) -> None:
    kept, array = half(tmp_path / "mask"), labels().astype("uint8") * 80
    source, blanked = made(tmp_path, "source", array), made(tmp_path, "blanked", blank(array, kept))
    for layer, mask in ((source, {"mask": f"{tmp_path}/mask", "mask_labels": (2,)}), (blanked, {})):
        run.inline(Downsample(layer=layer, num_mips=2, memory=30_000, **mask))  # type: ignore[arg-type]
    for mip in (1, 2):
        assert np.array_equal(whole(Path(source), mip), whole(Path(blanked), mip))
    assert np.array_equal(whole(Path(source)), array)
    assert sum(note.get("masked_voxels", 0) for note in notes(Path(source))) >= (~kept).sum()


@pytest.mark.parametrize("limits", [{}, {"threshold_max": 1.0}])
def test_what_is_left_out_is_background_for_components_whatever_the_threshold(
    tmp_path: Path, limits: dict[str, float]
) -> None:
    kept, array = half(tmp_path / "mask"), labels()
    if limits:
        wanted = made(tmp_path, "blanked", np.where(kept, (array <= 1), 0).astype("uint32"))
    else:
        wanted = made(tmp_path, "blanked", blank(array, kept))
    mask: dict[str, Any] = {"mask": f"{tmp_path}/mask", "mask_labels": (2,)}
    plain: dict[str, Any] = {"cell": (8, 8, 8), "encoding": "raw"}
    auto(source=wanted, layer=f"{tmp_path}/wanted", **plain)
    auto(source=made(tmp_path, "source", array), layer=f"{tmp_path}/found", **plain, **limits, **mask)
    assert np.array_equal(whole(tmp_path / "found"), whole(tmp_path / "wanted"))


def test_what_is_left_out_is_not_counted(tmp_path: Path) -> None:
    kept, array = half(tmp_path / "mask"), labels()
    source = made(tmp_path, "source", array)
    fields: dict[str, Any] = {"layer": source, "cell": (8, 8, 8), "mask": f"{tmp_path}/mask", "mask_labels": (2,)}
    for level in (0, 1):
        run.inline(Count(level=level, **fields))
    found = census.voxels(IO(), f"file://{source}", 0, np.arange(3, dtype="uint64"))
    assert found.tolist() == np.bincount(array[kept], minlength=3).tolist()


def test_what_is_left_out_is_no_region(tmp_path: Path) -> None:
    half(tmp_path / "mask")
    array = np.ones((*SHAPE, 1), "uint8")
    source = made(tmp_path, "source", array)
    stage = Roi(layer=source, mask=f"{tmp_path}/mask", mask_labels=(2,))  # type: ignore[arg-type]
    run.inline(stage)
    assert stage.said(IO()) == "-8:4,4:20,-3:6"


def test_a_stage_is_masked_by_one_call(tmp_path: Path) -> None:
    """What another kind of stage needs: its own read is called for what is kept, and for nothing else."""
    kept = half(tmp_path / "mask")
    volume = IO().volume(f"file://{made(tmp_path, 'source', labels())}", 0)
    stage = _Toy(mask=f"{tmp_path}/mask", mask_labels=(2,))  # type: ignore[arg-type]
    io, asked = IO(), []

    def read(box: Any) -> Array:
        asked.append(box)
        return io.read(volume, box)

    found, left_out = stage.seen(io, volume.info, 0, volume.bounds, read)
    assert left_out is not None
    assert np.array_equal(left_out, ~kept[..., 0])
    assert np.array_equal(found, blank(labels(), kept))
    beyond = volume.bounds & volume.bounds.shift((12, 0, 0))
    assert not stage.seen(io, volume.info, 0, beyond, read)[0].any()
    assert asked == [volume.bounds]
    assert io.ledger.notes == {"masked_voxels": int((~kept).sum()) + beyond.voxels}
    assert _Toy().seen(io, volume.info, 0, beyond, read)[1] is None


class _Toy(Masked):
    name = "toy"


def test_labelling_otherwise_masked_is_another_plan(tmp_path: Path) -> None:
    half(tmp_path / "mask")
    source = made(tmp_path, "source", labels())
    run.inline(Label(source=source, layer=f"{tmp_path}/out", cell=(8, 8, 8)))
    with pytest.raises(Exception, match="cells were labelled otherwise .mask"):
        run.inline(Label(source=source, layer=f"{tmp_path}/out", cell=(8, 8, 8), mask=f"{tmp_path}/mask"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("forge", "merge"), [(MeshForge, MeshMerge), (SkeletonForge, SkeletonMerge)])
def test_objects_are_those_of_what_is_kept(tmp_path: Path, forge: Any, merge: Any) -> None:
    blocks = np.random.default_rng(2).integers(0, 4, (6, 4, 3, 1)).astype("uint32")
    array = blocks.repeat(4, 0).repeat(4, 1).repeat(3, 2)
    kept = half(tmp_path / "mask")
    mask = {"mask": str(tmp_path / "mask"), "mask_labels": (2,)}
    made: list[dict[str, bytes]] = []
    for name, voxels, masked in (("old", array, mask), ("blank", blank(array, kept), {})):
        layer = create(tmp_path / name, voxels, LO, kind="segmentation")
        run.inline(forge(layer=str(layer), dir="made", cell=(8, 8, 9), **masked))
        run.inline(merge(layer=str(layer), dir="made"))
        found = {path.name: path.read_bytes() for path in (layer / "made").iterdir() if path.is_file()}
        made.append(found)
    assert len(made[0]) > 3
    assert made[0] == made[1]
