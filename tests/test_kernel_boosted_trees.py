from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.errors import DataError
from igneous_ng.kernels import boosted_trees
from igneous_ng.kernels.boosted_trees import Forest, Growth

SMALL = Growth(trees=12, leaves=6, depth=5, least=3)


def toy(seed: int = 0, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Two features of four decide: one by a step, one by a product."""
    rng = np.random.default_rng(seed)
    features = np.asfortranarray(rng.normal(size=(count, 4)), np.float32)
    return features, (features[:, 1] > 0.3) ^ (features[:, 3] > 1)


def walked(forest: Forest, row: np.ndarray) -> float:
    """The probability by the definition, one sample at a time."""
    total = np.float32(forest.base)
    for root in forest.roots[:-1]:
        at = root
        while forest.feature[at] >= 0:
            at = root + forest.left[at] + (row[forest.feature[at]] > forest.threshold[at])
        total += np.float32(forest.value[at])
    return float(np.float32(1 / (1 + math.exp(-float(total)))))


def test_a_step_is_learnt_at_its_place() -> None:
    features = np.linspace(0, 1, 200, dtype=np.float32)[:, np.newaxis]
    truth = features[:, 0] > features[119, 0]
    forest = boosted_trees.fit(features, truth, Growth(trees=60, leaves=2, least=1, rate=0.5))
    assert set(forest.threshold[forest.feature == 0]) == {features[119, 0]}
    assert np.array_equal(forest.predict(features) > 0.5, truth)
    assert boosted_trees.loss(forest.predict(features), truth) < 0.01


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 99), count=st.integers(1, 40))
def test_predictions_are_those_of_a_plain_walk(seed: int, count: int) -> None:
    features, truth = toy(seed)
    forest = boosted_trees.fit(features, truth, SMALL)
    asked = np.asfortranarray(np.random.default_rng(seed).normal(size=(count, 4)), np.float32)
    assert forest.predict(asked).tolist() == [walked(forest, row) for row in asked]
    assert forest.predict(features[:3]).tolist() == forest.predict(features)[:3].tolist()


def test_the_first_split_is_the_best_one() -> None:
    """By all thresholds of all features, in doubles."""
    features, truth = toy(3, 120)
    forest = boosted_trees.fit(features, truth, Growth(trees=1, leaves=2, least=5, rate=1.0))
    slope, bend = truth.mean() - truth, np.full(len(truth), truth.mean() * (1 - truth.mean()))

    def score(kept: np.ndarray) -> float:
        return slope[kept].sum() ** 2 / (bend[kept].sum() + 1e-3) if kept.sum() >= 5 else -math.inf

    gains = {(f, t): score(features[:, f] <= t) + score(features[:, f] > t) for f in range(4) for t in features[:, f]}
    best = max(gains, key=lambda one: gains[one])
    assert (forest.feature[0], forest.threshold[0]) == best
    left = features[:, best[0]] <= best[1]
    assert forest.value[1] == pytest.approx(-slope[left].sum() / (bend[left].sum() + 1e-3), rel=1e-5)


def test_trees_are_as_large_as_they_may_be() -> None:
    features, truth = toy()
    forest = boosted_trees.fit(features, truth, Growth(trees=3, leaves=7, depth=3, least=2))
    for start, stop in zip(forest.roots[:-1], forest.roots[1:], strict=True):
        assert 1 < np.count_nonzero(forest.feature[start:stop] < 0) <= 7
        depth = np.zeros(stop - start, int)
        for at in np.flatnonzero(forest.feature[start:stop] >= 0):
            depth[forest.left[start + at] : forest.left[start + at] + 2] = depth[at] + 1
        assert depth.max() <= 3


def test_the_same_samples_give_the_same_bytes() -> None:
    features, truth = toy()
    one, two = (boosted_trees.to_bytes(boosted_trees.fit(features, truth, SMALL).pack()) for _ in range(2))
    assert one == two
    again = Forest.unpack(boosted_trees.from_bytes(one, "here"), 4, "here")
    assert np.array_equal(again.predict(features), boosted_trees.fit(features, truth, SMALL).predict(features))


def test_a_class_that_is_missing_is_refused() -> None:
    features, truth = toy()
    for flag in (True, False):
        with pytest.raises(DataError, match="of one class"):
            boosted_trees.fit(features, np.full_like(truth, flag), SMALL)


@pytest.mark.parametrize("wrong", ["feature", "left", "roots"])
def test_trees_that_lead_nowhere_are_refused(wrong: str) -> None:
    parts = boosted_trees.fit(*toy(), SMALL).pack()
    parts[wrong] = parts[wrong] + 1 if wrong != "feature" else parts[wrong] + 4
    with pytest.raises(DataError, match="here: these are no trees"):
        Forest.unpack(parts, 4, "here")


def test_a_file_that_is_none_of_ours_is_refused() -> None:
    for data in (b"", b"no zip", boosted_trees.to_bytes({"a": np.zeros(3)})[:-9]):
        with pytest.raises(DataError, match="here: not a file"):
            boosted_trees.from_bytes(data, "here")
    with pytest.raises(DataError, match="no trees"):
        Forest.unpack({"feature": np.zeros(1)}, 1, "here")


def test_it_is_as_good_as_that_of_others() -> None:
    ensemble = pytest.importorskip("sklearn.ensemble", reason="scikit-learn is the oracle")
    features, truth = toy(5, 6000)
    flipped = truth ^ (np.random.default_rng(1).random(len(truth)) < 0.05)
    learnt, asked = slice(0, 4000), slice(4000, None)
    mine = boosted_trees.fit(features[learnt], flipped[learnt], Growth(trees=60))
    other = ensemble.HistGradientBoostingClassifier(max_iter=60, learning_rate=0.12, max_depth=10, early_stopping=False)
    other.fit(features[learnt], flipped[learnt])
    theirs = boosted_trees.loss(other.predict_proba(features[asked])[:, 1], flipped[asked])
    assert boosted_trees.loss(mine.predict(features[asked]), flipped[asked]) < 1.05 * theirs
