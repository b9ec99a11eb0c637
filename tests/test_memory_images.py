"""Image stages stay within the memory that they declare, measured in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.io import IO
from igneous_ng.stage import Stage
from igneous_ng.stages.image_blackout import Blackout
from igneous_ng.stages.image_clahe import Clahe
from igneous_ng.stages.image_contrast import Apply, Measure
from igneous_ng.stages.image_count import Count
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.image_export import Export
from igneous_ng.stages.image_quantize import Quantize
from igneous_ng.stages.image_reorder import Reorder
from igneous_ng.stages.image_touch import Touch
from igneous_ng.stages.image_transfer import Transfer
from tests.layers import create, grey
from tests.measuring import insist

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and floats, ``big`` ones and ``small`` ones that warm a process up, with a mask of each."""
    folder = tmp_path_factory.mktemp("memory")
    for name, side in (("big", 320), ("small", 32)):
        for dtype in ("uint8", "uint16"):
            image = create(folder / f"{name}-{dtype}", grey((side, side, 64, 1), dtype), (0, 0, 0), (64, 64, 64))
            run.inline(Measure(layer=str(image)))
            run.inline(Downsample(layer=str(image), keep_sums=True))
        wide = grey((side, side, 64, 1), "uint16")  # one chunk, much larger than what a process pages in by itself
        create(folder / f"{name}-wide", wide, (0, 0, 0), (side, side, 64))
        floats = np.random.default_rng(0).random((side, side, 64, 1), "float32")
        create(folder / f"{name}-float32", floats, (0, 0, 0), (64, 64, 64))
        ones = np.ones((side // 4, side // 4, 64, 1), "uint8")
        ones[0] = 0
        create(folder / f"{name}-mask", ones, (0, 0, 0), (64, 64, 64), resolution=(16.0, 16.0, 40.0))
    return folder


def derived(cls: Any, dtype: str, **fields: Any) -> Callable[[Path, str], Stage]:
    def make(folder: Path, name: str) -> Stage:
        stage: Stage = cls(source=f"{folder}/{name}-{dtype}", layer=f"{folder}/{name}-{cls.__name__}-{dtype}", **fields)
        stage.prepare(IO())
        return stage

    return make


def transferred(source: str, **fields: Any) -> Callable[[Path, str], Stage]:
    def make(folder: Path, name: str) -> Stage:
        place = f"{folder}/{name}-transfer-{len(list(folder.iterdir()))}"
        given = {key: value.format(f"{folder}/{name}") if key == "mask" else value for key, value in fields.items()}
        return Transfer(source=f"{folder}/{name}-{source}", layer=place, **given)

    return make


def exported(source: str, form: Any, **fields: Any) -> Callable[[Path, str], Stage]:
    def make(folder: Path, name: str) -> Stage:
        given = {key: value.format(f"{folder}/{name}") if key == "mask" else value for key, value in fields.items()}
        return Export(layer=f"{folder}/{name}-{source}", dest=f"{folder}/{name}-{form}-{source}", format=form, **given)

    return make


def own(cls: Any, **fields: Any) -> Callable[[Path, str], Stage]:
    return lambda folder, name: cls(
        layer=f"{folder}/{name}-uint8",
        **{k: v.format(f"{folder}/{name}") if k == "mask" else v for k, v in fields.items()},
    )


STAGES = {
    "measure": own(Measure),
    "measure, masked": own(Measure, mask="{}-mask", dir="masked"),
    "apply": derived(Apply, "uint8"),
    "apply, 16 bit": derived(Apply, "uint16"),
    "clahe": derived(Clahe, "uint8", tile=(64, 64)),
    "clahe, 16 bit": derived(Clahe, "uint16", tile=(64, 64)),
    "clahe, one tile": derived(Clahe, "uint16", tile=(512, 512), encoding="raw", compress="none"),
    "quantize": derived(Quantize, "float32"),
    "reorder": derived(Reorder, "uint16", order=tuple(range(63, -1, -1))),
    "touch": own(Touch),
    "blackout": own(Blackout, mask="{}-mask"),
    "transfer, copied": transferred("uint8"),
    "transfer, chunked anew": transferred("uint8", chunk=(32, 32, 32)),
    "transfer, several levels": transferred("uint8", num_mips=3),
    "transfer, encoded": transferred("uint16", encoding=("png",)),
    "transfer, in shards": transferred("uint8", sharded=True, num_mips=1),
    "transfer, a window": transferred("uint16", dtype="uint8", window=(0.0, 60000.0)),
    "transfer, a wider type": transferred("uint8", dtype="uint64"),
    "transfer, floats": transferred("float32", num_mips=1),
    "transfer, masked": transferred("uint8", mask="{}-mask"),
    "export, tiff": exported("uint16", "tiff"),
    "export, hdf5": exported("uint8", "hdf5"),
    "export, npy": exported("float32", "npy"),
    "export, npy, masked": exported("uint8", "npy", mask="{}-mask"),
    "export, ome-zarr": exported("wide", "ome-zarr-0.5"),
    "downsample, masked": own(Downsample, mask="{}-mask", num_mips=2),
    "downsample, keeping sums": own(Downsample, keep_sums=True, num_mips=1),
    "downsample, from sums": own(Downsample, from_sums=True, mip=1),
    "count, masked": own(Count, mask="{}-mask"),
}


@pytest.mark.parametrize("which", STAGES)
def test_a_task_takes_no_more_memory_than_it_declares(layers: Path, which: str) -> None:
    insist(which, *(STAGES[which](layers, name) for name in ("big", "small")), least=0)
