"""`segment infer` stays within the memory that it declares, measured in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from igneous_ng.io import IO
from igneous_ng.stages.segment_infer import Infer
from tests import networks
from tests.layers import create, grey
from tests.measuring import insist

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, a ``big`` one and a ``small`` one that warms a process up, and masks of them."""
    found = tmp_path_factory.mktemp("memory")
    for name, side in (("big", 192), ("small", 32)):
        create(found / name, grey((side, side, 96, 1)), (0, 0, 0), (64, 64, 64), resolution=(8.0, 8.0, 8.0))
        kept = np.ones((side, side, 96, 1), "uint8")
        kept[0] = 0
        create(found / f"{name}-mask", kept, (0, 0, 0), (64, 64, 64), resolution=(8.0, 8.0, 8.0))
    return found


@pytest.mark.parametrize("output", ["affinities", "boundary"])
@pytest.mark.parametrize("which", ["sheet", "masked sheet", "turned sheet", "network"])
def test_a_task_takes_no_more_memory_than_it_declares(folder: Path, which: str, output: str) -> None:
    def stage(name: str) -> Infer:
        model, more = "sheet", {}
        if which == "network":
            pytest.importorskip("onnxruntime")
            model = networks.stored(f"file://{folder}/model", patch=(64, 64, 64))
        if which == "masked sheet":
            more = {"mask": f"{folder}/{name}-mask"}
        if which == "turned sheet":
            more = {"augment": "flips"}
        layer = f"{folder}/{name}-{which[0]}-{output}"
        made = Infer(image=f"{folder}/{name}", layer=layer, model=model, output=output, **more)  # type: ignore[arg-type]
        made.prepare(IO())
        return made

    _measured(stage, which)


@pytest.mark.long
def test_sixteen_classes_take_no_more_memory_than_declared(folder: Path) -> None:
    pytest.importorskip("onnxruntime")
    url = networks.classes(f"file://{folder}/classes", networks.weights(16), (64, 64, 64))

    def stage(name: str) -> Infer:
        made = Infer(image=f"{folder}/{name}", layer=f"{folder}/{name}-classes", model=url)
        made.prepare(IO())
        return made

    _measured(stage, "classes")


@pytest.mark.long
def test_the_network_that_ships_takes_no_more_memory_than_declared(folder: Path) -> None:
    pytest.importorskip("onnxruntime")

    warming = networks.stored(f"file://{folder}/warming", patch=(64, 64, 64))

    def stage(name: str) -> Infer:
        model = "net" if name == "big" else warming
        made = Infer(image=f"{folder}/ten-{name}", layer=f"{folder}/{name}-net", model=model)
        made.prepare(IO())
        return made

    for name, shape in (("big", (256, 128, 64, 1)), ("small", (32, 32, 32, 1))):  # of big ones two patches
        create(folder / f"ten-{name}", grey(shape), (0, 0, 0), (64, 64, 64), resolution=(10.0, 10.0, 10.0))
    _measured(stage, "net")


def _measured(stage: Callable[[str], Infer], which: str) -> None:
    insist(which, *(stage(name) for name in ("big", "small")))
