"""The main job on real tissue: create, three mips, meshes and skeletons through a queue, read back by others."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorstore as ts

from igneous_ng import queues, run
from igneous_ng.errors import DataError
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.kernels.pooling import pool
from igneous_ng.stage import Stage
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.stages.skeleton import SkeletonForge, SkeletonMerge
from igneous_ng.worker.policy import Policy
from tests.data import data

Labels = npt.NDArray[Any]
RESOLUTION = (16.0, 16.0, 40.0)
DUST = 1000
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the readers that check our output


@dataclass(frozen=True)
class Case:
    """A part of the real volume and where it is placed."""

    start: Vec3
    size: Vec3
    offset: Vec3
    dtype: str
    cell: int

    def labels(self) -> Labels:
        with np.load(data("pinky40", "seg_mip1_16x16x40.npz")) as file:
            window = file["labels"][Box.sized(self.start, self.size).slices()]
            return np.asfortranarray(window).astype(self.dtype)


CENTRE = (256, 256, 256)
CROP = Case(CENTRE, (128, 128, 96), (0, 0, 0), "uint32", 64)
ODD = Case(CENTRE, (150, 109, 83), (-101, -32, -7), "uint64", 96)
WHOLE = Case((0, 0, 0), (512, 512, 512), (0, 0, 0), "uint32", 256)


def through_queue(stage: Stage, url: str) -> None:
    run.enqueue(stage, url)
    run.execute(url, Policy(processes=2))
    counts = queues.connect(url).counts()
    assert (counts.waiting, counts.leased, counts.dead) == (0, 0, 0)


def pipeline(case: Case, tmp: Path) -> tuple[str, Labels]:
    labels, layer, url = case.labels(), f"file://{tmp}/seg", f"fq://{tmp}/queue"
    np.save(tmp / "labels.npy", labels)
    cell = (case.cell,) * 3
    for stage in (
        Create(
            source=str(tmp / "labels.npy"), layer=layer, kind="segmentation", axes="xyz", resolution=RESOLUTION,
            offset=case.offset, encoding="compressed_segmentation", chunk=(64, 64, 64),
        ),
        Downsample(layer=layer, num_mips=3),
        MeshForge(layer=layer, cell=cell),
        MeshMerge(layer=layer, dust=DUST),
        SkeletonForge(layer=layer, cell=cell),
        SkeletonMerge(layer=layer, dust=DUST),
    ):  # fmt: skip
        through_queue(stage, url)
    return layer, labels


def plain_copy(layer: str) -> str:
    """The layer's images with gzip undone, since TensorStore's file driver knows no ``.gz`` names."""
    source = Path(layer.removeprefix("file://"))
    target = source.with_name("plain")
    for path in (p for p in source.rglob("*") if p.is_file() and p.parent.name not in ("mesh", "skeletons")):
        copy = target / path.relative_to(source).with_name(path.name.removesuffix(".gz"))
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not copy.exists():
            copy.write_bytes(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
    return f"file://{target}/"


def check_images(layer: str, labels: Labels, offset: Vec3) -> None:
    from cloudvolume import CloudVolume

    expected, origin = labels[..., np.newaxis], offset
    for mip in range(4):
        if mip:
            expected, origin = pool(expected, origin, (2, 2, 1), "mode")
        volume = CloudVolume(layer, mip=mip, progress=False)
        assert vec(volume.bounds.minpt) == origin
        np.testing.assert_array_equal(volume[:], expected)
        spec = {"driver": "neuroglancer_precomputed", "kvstore": plain_copy(layer), "scale_index": mip}
        other = ts.open(spec).result()
        assert other.domain.origin[:3] == origin
        np.testing.assert_array_equal(other.read().result(), expected)


def inside(vertices: Labels, labels: Labels, label: int, offset: Vec3) -> None:
    """All vertices (nm) lie in the label's bounding box plus one voxel."""
    where = np.argwhere(labels == label)
    res = np.array(RESOLUTION)
    low, high = (where.min(0) + offset - 1) * res, (where.max(0) + offset + 2) * res
    assert (vertices >= low - 1e-3).all()
    assert (vertices <= high + 1e-3).all()


def check_objects(layer: str, labels: Labels, offset: Vec3) -> None:
    from cloudvolume import CloudVolume

    volume = CloudVolume(layer, progress=False)
    names, sizes = np.unique(labels[labels > 0], return_counts=True)
    big = names[sizes > DUST]
    assert len(big) >= 10
    folder = Path(layer.removeprefix("file://"))
    meshed = {int(p.name[:-2]) for p in (folder / "mesh").glob("*:0")}
    assert meshed == set(big.tolist())
    traced = {int(p.name.removesuffix(".gz")) for p in (folder / "skeletons").glob("[0-9]*.gz")}
    assert traced == set(big.tolist())
    for label in big.tolist():
        mesh, skeleton = volume.mesh.get(label), volume.skeleton.get(label)
        mesh = mesh[label] if isinstance(mesh, dict) else mesh
        assert len(mesh.faces) > 0
        assert len(skeleton.vertices) > 0
    for label in np.random.default_rng(0).choice(big, 10, replace=False).tolist():
        mesh = volume.mesh.get(label)
        inside((mesh[label] if isinstance(mesh, dict) else mesh).vertices, labels, label, offset)
        inside(volume.skeleton.get(label).vertices, labels, label, offset)


@pytest.mark.parametrize("case", [CROP, ODD], ids=["crop", "odd uint64 at a negative offset"])
def test_a_crop_of_real_tissue(case: Case, tmp_path: Path) -> None:
    layer, labels = pipeline(case, tmp_path)
    check_images(layer, labels, case.offset)
    check_objects(layer, labels, case.offset)


@pytest.mark.long
def test_the_first_mip_equals_the_published_one(tmp_path: Path) -> None:
    from cloudvolume import CloudVolume

    np.save(tmp_path / "labels.npy", CROP.labels())
    layer = f"file://{tmp_path}/seg"
    run.inline(Create(source=str(tmp_path / "labels.npy"), layer=layer, kind="segmentation", axes="xyz"))
    run.inline(Downsample(layer=layer))
    with np.load(data("pinky40", "seg_mip2_32x32x40.npz")) as file:
        np.testing.assert_array_equal(
            CloudVolume(layer, mip=1, progress=False)[:][..., 0], file["labels"][128:192, 128:192, 256:352]
        )


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_whole_of_the_real_volume(tmp_path: Path) -> None:
    from cloudvolume import CloudVolume

    layer, labels = pipeline(WHOLE, tmp_path)
    check_images(layer, labels, WHOLE.offset)
    with np.load(data("pinky40", "seg_mip2_32x32x40.npz")) as file:
        np.testing.assert_array_equal(CloudVolume(layer, mip=1, progress=False)[:][..., 0], file["labels"])
    check_objects(layer, labels, WHOLE.offset)


@pytest.mark.parametrize("offset", [(0, 0, 0), (-101, -33, -7)], ids=["at zero", "negative offset"])
@pytest.mark.parametrize("stage", [Downsample, MeshForge, SkeletonForge])
def test_a_missing_chunk_is_named_and_can_be_filled(stage: type[Any], offset: Vec3, tmp_path: Path) -> None:
    source, layer = str(tmp_path / "labels.npy"), f"file://{tmp_path}/seg"
    np.save(source, CROP.labels()[:96, :96, :64])
    run.inline(
        Create(source=source, layer=layer, kind="segmentation", axes="xyz", resolution=RESOLUTION, offset=offset)
    )
    hole = Box((0, 64, 0), (64, 96, 64)).shift(offset)
    name = "_".join(f"{a}-{b}" for a, b in zip(hole.lo, hole.hi, strict=True))
    (tmp_path / "seg" / "16_16_40" / f"{name}.gz").unlink()
    with pytest.raises(DataError, match=f"seg mip 0: the chunk {hole} is missing .*--fill-missing"):
        run.inline(stage(layer=layer))
    run.inline(stage(layer=layer, fill_missing=True))
