"""Evidence as integers, and what is known of parts of clefts, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from igneous_ng import clefts
from igneous_ng.kernels.cleft_parts import least, measured, quantised
from igneous_ng.native import run_sums


def test_evidence_is_quantised_value_by_value() -> None:
    eight = np.arange(256, dtype=np.uint8)
    assert np.array_equal(quantised(eight), eight)
    sixteen = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(quantised(sixteen), np.arange(65536) // 257)
    real = np.array([0, 0.5, 1, -1, 2, np.nan, np.inf, -np.inf, 0.4 / 255, 0.6 / 255, 254.5 / 255], np.float32)
    assert quantised(real).tolist() == [0, 128, 255, 0, 255, 0, 255, 0, 0, 1, 254]
    exact = np.random.default_rng(0).random(1000).astype(np.float32)
    assert np.array_equal(quantised(exact), [np.rint(np.float32(255) * one) for one in exact])
    assert [least(f) for f in (1e-9, 1 / 255, 0.2, 0.5, 0.999, 1.0, 0.0)] == [1, 1, 51, 128, 255, 255, 0]


def test_a_part_is_known_by_sums_and_limits() -> None:
    array = np.asfortranarray(np.random.default_rng(5).integers(0, 256, (7, 6, 5)).astype(np.uint8))
    inside = (array > 150).astype(np.uint8)
    inside[:, 2:4, 2], inside[2, 5, 4] = 1, 1  # runs that fill rows
    runs, parts, known = measured(inside, array, 6, (10, 20, 30))
    labels = runs.paint(np.arange(len(parts.first) + 1, dtype=np.uint32), (7, 6, 5))
    for part, row in enumerate(known.tolist(), 1):
        at = np.argwhere(labels == part)
        values, at = array[tuple(at.T)].astype(int), at + np.array((10, 20, 30))
        wanted = [len(at), values.sum(), values.max(), *at.sum(axis=0), *at.min(axis=0), *at.max(axis=0) + 1]
        assert row == wanted
    assert len(known) == labels.max()


def test_runs_that_do_not_fit_the_evidence_are_refused() -> None:
    array = np.zeros((4, 3, 2), np.uint8, order="F")
    for lengths, ids, words in (([24, 1], [0, 1], "do not fit"), ([23], [1], "end before"), ([24], [2], "do not fit"),
                                ([24], [0, 1], "as many")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            run_sums.sums(np.array(lengths), np.array(ids), array, 1)


def test_means_are_rounded_halves_up() -> None:
    assert clefts.means(np.array([3, 5, 10, 255 * 7]), np.array([2, 4, 4, 7])).tolist() == [2, 1, 3, 255]
