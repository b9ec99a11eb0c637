"""The models that come with the package."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import models
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels import boundaries, synth
from igneous_ng.kernels.augmenting import Turn
from igneous_ng.models import greys, opening
from igneous_ng.models.asking import Asked
from igneous_ng.models.base import Machine, grey
from igneous_ng.models.greys import Greys

SHAPE, RESOLUTION = (112, 112, 112), (10.0, 10.0, 10.0)


@functools.cache
def tissue() -> synth.Rendered:
    """Tissue that nothing was learnt from."""
    return synth.render(synth.plan(SHAPE, RESOLUTION, 4711), Box((0, 0, 0), SHAPE))


def test_models_are_small_and_part_of_the_package() -> None:
    for file in Path(models.__file__).parent.glob("*/model.onnx"):
        assert file.stat().st_size <= 1_000_000
        assert (file.parent / "model.json").exists()


@pytest.mark.long
def test_the_network_of_synapses_finds_them_in_tissue_that_it_never_saw() -> None:
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is optional")
    drawn = tissue()
    card = opening.card(IO(), "cleft", RESOLUTION, SHAPE)
    assert card.classes == ("pre", "post")
    model = opening.load(opening.learnt(IO(), "cleft", card), card, Machine("cpu"))
    own, margin = Greys.of(greys.counted(grey(drawn.em))), card.shape.margin
    seen = np.asfortranarray(np.pad(drawn.em, [(m, m) for m in margin], mode="reflect"))
    said = Asked(model, [Turn()], own, card.levels, classes=True).of(seen)
    said = said[tuple(slice(m, -m) for m in margin)]
    evidence = said.max(axis=3)
    assert np.median(evidence[drawn.clefts > 0]) > 20 * np.median(evidence[drawn.clefts == 0])
    numbers, sizes = np.unique(drawn.clefts[drawn.clefts > 0], return_counts=True)
    large = numbers[sizes > 500]
    assert len(large)
    assert all(np.percentile(evidence[drawn.clefts == number], 90) > 0.85 for number in large)
    assert np.percentile(evidence[drawn.clefts == 0], 99) < 0.7 < np.median(evidence[drawn.clefts > 0])


def test_the_network_tells_cells_apart_in_tissue_that_it_never_saw() -> None:
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is optional")
    drawn = tissue()
    card = opening.card(IO(), "net", RESOLUTION, SHAPE)
    model = opening.load(opening.learnt(IO(), "net", card), card, Machine("cpu"))
    own = Greys.of(greys.counted(grey(drawn.em)))
    said = Asked(model, [Turn()], own, card.levels).of(drawn.em)
    joined, known = boundaries.affinities(drawn.labels.astype(np.uint32), RESOLUTION)
    inside = np.zeros(SHAPE, bool)
    inside[tuple(slice(m, -m) for m in card.shape.margin)] = True
    for axis in range(3):
        counted = inside & (known[..., axis] > 0)
        apart = counted & (joined[..., axis] == 0)
        assert np.median(said[..., axis][apart]) < 0.3
        assert np.median(said[..., axis][counted & ~apart]) > 0.8
