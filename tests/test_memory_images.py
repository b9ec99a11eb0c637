"""Image stages stay within the memory that they declare, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.io import IO
from igneous_ng.stage import Stage, to_dict
from igneous_ng.stages.image_blackout import Blackout
from igneous_ng.stages.image_clahe import Clahe
from igneous_ng.stages.image_contrast import Apply, Measure
from igneous_ng.stages.image_quantize import Quantize
from igneous_ng.stages.image_reorder import Reorder
from igneous_ng.stages.image_touch import Touch
from tests.layers import create, grey
from tests.test_memory import MEASURE

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and floats, ``big`` ones and ``small`` ones that warm a process up, with a mask of each."""
    folder = tmp_path_factory.mktemp("memory")
    for name, side in (("big", 320), ("small", 32)):
        for dtype in ("uint8", "uint16"):
            image = create(folder / f"{name}-{dtype}", grey((side, side, 64, 1), dtype), (0, 0, 0), (64, 64, 64))
            run.inline(Measure(layer=str(image)))
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
}


@pytest.mark.parametrize("which", STAGES)
def test_a_task_takes_no_more_memory_than_it_declares(layers: Path, which: str) -> None:
    words = [json.dumps(to_dict(STAGES[which](layers, name))) for name in ("big", "small")]
    done = subprocess.run([sys.executable, "-c", MEASURE, *words], capture_output=True, text=True, check=True)
    taken, declared = json.loads(done.stdout)
    assert taken <= declared, f"{which} took {taken / 1e6:.0f} MB and declares {declared / 1e6:.0f} MB"
    print(f"{which}: {taken / 1e6:.0f} of {declared / 1e6:.0f} MB")  # noqa: T201 - shown with -s
