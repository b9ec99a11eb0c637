"""Datasets as Igneous makes them, below a folder. Runs in a Python that has igneous-pipeline; ours need not.

usage: make_igneous_datasets.py FOLDER
"""
# mypy: ignore-errors

import shutil
import sys
from pathlib import Path
from typing import Any

import igneous.task_creation as tc
import numpy as np
from cloudvolume import CloudVolume
from taskqueue import LocalTaskQueue

ROOT = Path(sys.argv[1])
ENCODINGS = ("raw", "compressed_segmentation", "compresso", "crackle")
PLACE = {"resolution": (8, 8, 16), "voxel_offset": (10, 20, 30), "chunk_size": (16, 16, 16)}
CELLS = {"mip": 0, "shape": (32, 32, 32)}


def labels(side: int = 48) -> Any:
    """A ball, a bar that bends, and a bar that ends where the layer does."""
    x, y, z = np.mgrid[:side, :side, :side]
    found = np.zeros((side, side, side), np.uint64)
    found[(x - 24) ** 2 + (y - 24) ** 2 + (z - 20) ** 2 < 15**2] = 7
    found[(abs(x - 10 - y // 4) < 4) & (abs(z - 38) < 5)] = 2**40 + 3
    found[40:46, 40:46, 2:] = 12
    return found


def layer(name: str, array: Any, kind: str = "segmentation", encoding: str = "compressed_segmentation") -> str:
    """A layer of an array; what Igneous' `image create` calls."""
    url = f"file://{ROOT / name}"
    CloudVolume.from_numpy(array, url, layer_type=kind, encoding=encoding, **PLACE)
    return url


def do(tasks: Any) -> None:
    """Carry out tasks here."""
    queue = LocalTaskQueue(parallel=1, progress=False)
    queue.insert(tasks)
    queue.execute()


def forged(name: str, sharded: bool) -> str:
    """A layer with pyramid and fragments, kept as it is then under ``name``-forged."""
    url = layer(name, labels())
    do(tc.create_downsampling_tasks(url, num_mips=1))
    do(tc.create_meshing_tasks(url, sharded=sharded, encoding="precomputed", **CELLS))
    teasar = {"scale": 1.5, "const": 30}
    do(tc.create_skeletonizing_tasks(url, sharded=sharded, dust_threshold=10, teasar_params=teasar, **CELLS))
    shutil.copytree(ROOT / name, ROOT / f"{name}-forged")
    return url


def main() -> None:
    """Make all of them."""
    np.save(ROOT / "labels.npy", labels())
    image = np.kron(np.random.default_rng(0).integers(0, 255, (6, 6, 6), np.uint8), np.ones((8, 8, 8), np.uint8))
    np.save(ROOT / "image.npy", image)
    for encoding in ENCODINGS:
        layer(encoding, labels(), encoding=encoding)
    layer("image", image, "image", "raw")
    source = layer("plain", labels(), encoding="raw")
    do(
        tc.create_image_shard_transfer_tasks(
            source, f"file://{ROOT / 'shards'}", mip=0, encoding="compressed_segmentation"
        )
    )
    one = forged("containers", sharded=True)
    do(tc.create_sharded_multires_mesh_tasks(one, num_lod=1))
    do(tc.create_sharded_skeleton_merge_tasks(one, dust_threshold=0, tick_threshold=0))
    two = forged("files", sharded=False)
    do(tc.create_mesh_manifest_tasks(two, magnitude=1))
    do(tc.create_unsharded_skeleton_merge_tasks(two, magnitude=1, dust_threshold=0, tick_threshold=0))
    three = layer("draco", labels())
    do(tc.create_meshing_tasks(three, sharded=True, encoding="draco", **CELLS))


if __name__ == "__main__":
    main()
