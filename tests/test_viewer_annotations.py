"""Annotations in Neuroglancer itself: those of the segments that are selected, and no others."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from igneous_ng.viewer.view import view
from tests.annotated import build
from tests.test_viewer_screenshot import RESOLUTION, SIDE, chromium, write_volume


def gold(picture: bytes) -> tuple[int, int]:
    """Pixels in the colour of annotations, in the left and the right half of the x-y panel."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)[120:420, :600]
    hits = np.all(np.abs(pixels - (255, 215, 0)) < 12, axis=2)
    return int(hits[:, :300].sum()), int(hits[:, 300:].sum())


@pytest.mark.long
@chromium
@pytest.mark.parametrize("kind", ["point", "line"])
def test_a_picture_shows_annotations_of_the_selected_segment(tmp_path: Path, kind: str) -> None:
    layer = write_volume(tmp_path / "seg", np.zeros((SIDE, SIDE, SIDE), np.uint32), "segmentation")
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(5, 25, 200), rng.uniform(40, 60, 200)])
    rows: dict[str, Any] = {"x": x, "y": rng.uniform(5, 60, 400), "z": np.full(400, SIDE // 2 + 0.5)}
    if kind == "line":
        rows = {f"{axis}{end}": column + (end == 2) * (axis != "z") for axis, column in rows.items() for end in (1, 2)}
    np.savez(tmp_path / "t.npz", body=np.repeat([1, 2], 200), **rows)
    build(
        tmp_path / "t.npz",
        tmp_path / "marks",
        relationships=("body",),
        resolution=tuple(map(float, RESOLUTION)),
        limit=50,
    )
    counts = {}
    for segments in ((1,), (2,), (1, 2)):
        view(
            [layer, f"file://{tmp_path}/marks"],
            segments=segments,
            screenshot=tmp_path / "shot.png",
            announce=lambda _: None,
        )
        counts[segments] = gold((tmp_path / "shot.png").read_bytes())
    assert counts[1,][0] > 200
    assert counts[1,][1] == 0
    assert counts[2,][0] == 0
    assert counts[2,][1] > 200
    assert min(counts[1, 2]) > 200
