"""Synthetic EM: the same bytes however it is cut, bodies that hang together, synapses where they are said to be."""

from __future__ import annotations

import functools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import run
from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box, Vec3, Vec3f
from igneous_ng.io import IO
from igneous_ng.kernels import synth
from igneous_ng.kernels import synth_field as fields
from igneous_ng.kernels import synth_growth as growth
from igneous_ng.kernels import synth_noise as noise
from igneous_ng.stage import Layer, from_dict, to_dict
from igneous_ng.stages.synth_volume import Synth
from tests.layers import notes

FIB25 = Path(__file__).parents[2] / "shared" / "data" / "fib25" / "train_z000-124.npz"
SHAPE: Vec3 = (96, 80, 72)
TEN: Vec3f = (10.0, 10.0, 10.0)


@functools.cache
def scene(shape: Vec3 = SHAPE, resolution: Vec3f = TEN, seed: int = 3) -> synth.Scene:
    return synth.plan(shape, resolution, seed)


@functools.cache
def whole(shape: Vec3 = SHAPE, resolution: Vec3f = TEN, seed: int = 3) -> synth.Rendered:
    made = scene(shape, resolution, seed)
    return synth.render(made, made.bounds)


def borders(labels: np.ndarray) -> np.ndarray:
    """Voxels that touch another label by a face."""
    out = np.zeros(labels.shape, bool)
    for axis in range(3):
        low = (slice(None),) * axis + (slice(None, -1),)
        high = (slice(None),) * axis + (slice(1, None),)
        edge = labels[low] != labels[high]
        out[low] |= edge
        out[high] |= edge
    return out


def same(a: synth.Rendered, b: synth.Rendered) -> bool:
    return all(np.array_equal(array, vars(b)[name]) for name, array in vars(a).items())


@st.composite
def boxes(draw: st.DrawFn, shape: Vec3 = SHAPE) -> Box:
    low = [draw(st.integers(0, n - 1)) for n in shape]
    high = [draw(st.integers(a + 1, min(n, a + 20))) for a, n in zip(low, shape, strict=True)]
    return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))


@settings(max_examples=40, deadline=None)
@given(boxes())
def test_a_box_is_the_same_bytes_as_that_part_of_the_whole(box: Box) -> None:
    part, at = synth.render(scene(), box), box.slices()
    assert same(part, synth.Rendered(**{name: array[at] for name, array in vars(whole()).items()}))


@pytest.mark.long
def test_a_scene_made_again_renders_the_same_and_another_seed_does_not() -> None:
    again, other = synth.plan(SHAPE, TEN, 3), synth.plan(SHAPE, TEN, 4)
    assert again.synapses == scene().synapses
    assert same(synth.render(again, again.bounds), whole())
    drawn = synth.render(other, other.bounds)
    assert (drawn.em != whole().em).mean() > 0.9
    assert (drawn.labels != whole().labels).any()


def test_bodies_hang_together() -> None:
    from scipy import ndimage

    labels = whole().labels
    largest = pieces = 0
    ids = np.unique(labels)
    for label in ids:
        found, count = ndimage.label(labels == label, np.ones((3, 3, 3)))
        largest += int(np.bincount(found.ravel())[1:].max())
        pieces += count == 1
    assert largest / labels.size > 0.93
    assert pieces / len(ids) > 0.6
    assert ids.min() > 0
    assert labels.dtype == np.uint64


def test_neurites_branch_and_are_of_every_calibre() -> None:
    forest = growth.grow(np.array([2000.0, 2000.0, 1500.0]), np.random.default_rng(0))
    degree = np.bincount(forest.edges().ravel(), minlength=len(forest.radius))
    assert (degree == 3).sum() > 20
    thin, thick = np.percentile(forest.radius, [5, 99])
    assert 20 < thin < 70
    assert 180 < thick < 700
    nodes_of = np.bincount(forest.bodies())
    assert nodes_of[nodes_of > 0].min() >= 5


def test_a_node_owns_its_place() -> None:
    made = scene()
    axes = made.skeleton
    voxel = np.floor(axes.nodes / made.resolution).astype(int)
    inside = ((voxel >= 0) & (voxel < made.shape)).all(1)
    owner = whole().labels[tuple(voxel[inside].T)]
    assert (owner == axes.label[inside]).mean() > 0.97


def test_membranes_are_dark_and_as_many_as_in_tissue() -> None:
    edge, em = borders(whole().labels), whole().em
    assert 0.08 < edge.mean() < 0.22
    assert em[edge].mean() + 20 < em[~edge].mean()


@pytest.mark.long
def test_mitochondria_lie_within_one_body_and_are_dark() -> None:
    made = scene((128, 128, 96), TEN, 1)
    drawn = synth.render(made, made.bounds)
    mito = drawn.mitochondria
    assert 0.02 < (mito > 0).mean() < 0.25
    hosts = np.concatenate([[0], made.labels[made.hosts]])
    assert np.array_equal(hosts[mito[mito > 0]], drawn.labels[mito > 0])
    assert not (borders(drawn.labels) & (mito > 0)).any()
    assert drawn.em[mito > 0].mean() < 100


@pytest.mark.parametrize("resolution", [TEN, (8.0, 8.0, 30.0)])
def test_a_synapse_lies_in_pre_and_touches_post(resolution: Vec3f) -> None:
    from scipy import ndimage

    made, labels = scene((96, 80, 40), resolution, 2), whole((96, 80, 40), resolution, 2).labels
    assert made.synapses
    for synapse in made.synapses:
        assert synapse.pre != synapse.post
        assert labels[synapse.position] == synapse.pre
        alone = np.zeros(labels.shape, bool)
        alone[synapse.position] = True
        touched = ndimage.binary_dilation(alone) & (labels == synapse.post)
        assert touched.any()
    assert len({s.id for s in made.synapses}) == len(made.synapses)


@pytest.mark.long
def test_a_synapse_is_darker_than_other_contacts() -> None:
    made, drawn = scene((128, 128, 96), TEN, 1), whole((128, 128, 96), TEN, 1)
    plaque = [float(drawn.em[s.position]) for s in made.synapses]
    assert np.mean(plaque) < drawn.em[borders(drawn.labels)].mean() - 10


def plaque(made: synth.Scene, synapse: synth.Synapse) -> tuple[np.ndarray, np.ndarray]:
    """Where more than half of its grey is a synapse's own, on either side, of the whole volume, by definition."""
    owned = fields.own(made.tubes, made.seed, made.bounds, made.resolution)
    places = (np.indices(made.shape).T + 0.5).T * np.array(made.resolution)[:, None, None, None]
    centre = (np.array(synapse.position) + 0.5) * made.resolution
    radius = 120 + 100 * synth._share(synth._key(made, 14), synapse.id)
    far = np.sqrt(((places.T - centre) ** 2).sum(-1)).T / radius
    round_off = np.minimum(1, 2 * np.maximum(0, 1 - far**2) ** 2)
    sides = []
    for body, other, thick in ((synapse.pre, synapse.post, 34), (synapse.post, synapse.pre, 70)):
        deep = np.maximum(0, 1 - (owned.gap / 2 / thick) ** 2) ** 2
        sides.append((round_off * deep > 0.5) & (owned.body == body - 1) & (owned.other == other - 1))
    return sides[0], sides[1]


@pytest.mark.parametrize(("shape", "resolution"), [((96, 80, 64), TEN), ((96, 80, 40), (8.0, 8.0, 30.0))])
def test_clefts_and_sides_are_where_plaques_are_drawn(shape: Vec3, resolution: Vec3f) -> None:
    made, drawn = scene(shape, resolution, 2), whole(shape, resolution, 2)
    clefts, sides = np.zeros(shape, np.uint64), np.zeros(shape, np.uint8)
    for synapse in made.synapses:
        before, after = plaque(made, synapse)
        assert before.any() or after.any()
        clefts[before | after] = synapse.id
        sides[before], sides[after] = synth.PRE, synth.POST
    assert (drawn.clefts != clefts).sum() + (drawn.sides != sides).sum() <= 2  # of those at the limit
    assert drawn.clefts.dtype == np.uint64
    assert drawn.sides.dtype == np.uint8
    by_id = {synapse.id: synapse for synapse in made.synapses}
    for number in np.unique(drawn.clefts[drawn.clefts > 0]).tolist():
        assert set(drawn.labels[(drawn.clefts == number) & (drawn.sides == synth.PRE)]) <= {by_id[number].pre}
        assert set(drawn.labels[(drawn.clefts == number) & (drawn.sides == synth.POST)]) <= {by_id[number].post}


@pytest.mark.long
def test_a_soma_has_a_nucleus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "FILL", ((growth.AXON, 0.03),))  # sparse, for speed
    monkeypatch.setattr(growth, "_fill_voids", lambda *_: None)
    made = synth.plan((30, 30, 30), (120.0, 120.0, 120.0), 0)
    assert len(made.nuclei) == 1
    assert made.nuclei[0, 3] > 700
    drawn = synth.render(made, made.bounds)
    centre = fields.unbend(0, made.nuclei[:, :3])[0] // 120
    at = tuple(centre.astype(int))
    assert drawn.labels[at] == made.labels[int(made.nuclei[0, 4])]
    assert drawn.mitochondria[at] == 0


@pytest.mark.parametrize(
    ("shape", "resolution"),
    [((1, 1, 1), TEN), ((37, 5, 3), TEN), ((33, 20, 9), (16.0, 16.0, 40.0)), ((9, 9, 9), (4.5, 4.5, 1.0))],
)
def test_odd_shapes_and_voxels(shape: Vec3, resolution: Vec3f) -> None:
    made = synth.plan(shape, resolution, 0)
    drawn = synth.render(made, made.bounds)
    assert drawn.em.shape == drawn.labels.shape == drawn.mitochondria.shape == shape
    cut = max(1, shape[0] // 2)
    part = Box((0, 0, 0), (cut, *shape[1:]))
    assert np.array_equal(synth.render(made, part).em, drawn.em[:cut])


def test_the_culled_field_is_the_full_field() -> None:
    rng = np.random.default_rng(0)
    start, along = rng.uniform(0, 600, (60, 3)), rng.normal(0, 80, (60, 3))
    radii = (rng.uniform(20, 120, 60), rng.uniform(20, 120, 60))
    tubes = fields.Tubes.between(start, start + along, radii, rng.integers(0, 12, 60))
    owned = fields.own(tubes, 5, Box((0, 0, 0), (40, 40, 40)), (15.0, 15.0, 15.0))
    every = tubes.field(owned.place.reshape(3, -1))
    per_body = np.full((12, every.shape[1]), np.inf, np.float32)
    for body, line in zip(tubes.body, every, strict=True):
        per_body[body] = np.minimum(per_body[body], line)
    ranked = np.sort(per_body, 0)
    assert np.array_equal(owned.depth.ravel(), ranked[0])
    assert np.array_equal(owned.gap.ravel(), np.minimum(ranked[1] - ranked[0], fields.FAR))
    assert np.array_equal(owned.body.ravel(), per_body.argmin(0))


def test_bending_is_undone() -> None:
    box = Box((0, 0, 0), (12, 11, 10))
    bent = fields.bend(9, box, (40.0, 40.0, 40.0)).reshape(3, -1).T.astype(float)
    straight = fields.unbend(9, bent) / 40.0 - 0.5
    assert np.abs(straight - np.indices(box.shape).reshape(3, -1).T).max() < 0.05


def test_noise_is_normal_and_knows_its_place() -> None:
    box = Box((-20, 5, 1000), (30, 45, 1040))
    grain = noise.speckle(7, box)
    assert abs(float(grain.mean())) < 0.02
    assert abs(float(grain.std()) - 1) < 0.02
    inner = Box((-3, 10, 1001), (9, 20, 1030))
    assert np.array_equal(noise.speckle(7, inner), grain[inner.slices(box.lo)])
    smooth = noise.cloud(7, box, (10.0, 10.0, 30.0), 95.0)
    assert np.array_equal(noise.cloud(7, inner, (10.0, 10.0, 30.0), 95.0), smooth[inner.slices(box.lo)])
    centres = (np.indices(box.shape).reshape(3, -1).T + box.lo + 0.5) * np.array((10.0, 10.0, 30.0))
    assert np.allclose(noise.cloud_at(7, centres, 95.0), smooth.ravel(), atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "resolution", "seed", "message"),
    [
        ((0, 4, 4), TEN, 0, "at least 1"),
        ((4, 4, 4), (0.0, 10.0, 10.0), 0, "1 to 200 nm"),
        ((4, 4, 4), (10.0, 10.0, float("nan")), 0, "1 to 200 nm"),
        ((4, 4, 4), TEN, -1, "seed -1"),
        ((4096, 4096, 4096), TEN, 0, "µm³"),
    ],
)
def test_a_wrong_request_is_refused(shape: Vec3, resolution: Vec3f, seed: int, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        synth.plan(shape, resolution, seed)


def test_a_box_outside_is_refused() -> None:
    for box in (Box((0, 0, 0), (97, 1, 1)), Box((0, 0, 0), (0, 1, 1)), Box((-1, 0, 0), (1, 1, 1))):
        with pytest.raises(SpecError, match="synthetic volume"):
            synth.render(scene(), box)


def test_the_stage_writes_layers_and_truth(tmp_path: Path) -> None:
    out = Layer.parse(str(tmp_path / "s"))
    stage = Synth(out=out, shape=(80, 70, 30), offset=(-7, 100, 3), seed=2, cell=(64, 64, 64))
    assert from_dict(Synth, to_dict(stage)) == stage
    io = IO()
    stage.prepare(io)
    units = stage.units(io)
    assert len(units) == 4
    for unit in reversed(units):
        assert stage.peak_bytes(unit, io) < stage.memory
        stage.execute(unit, io)
    stage.finish(io)
    drawn = whole((80, 70, 30), TEN, 2)
    for name in ("image", "segmentation", "mitochondria", "clefts", "sides"):
        array = vars(drawn)[{"image": "em", "segmentation": "labels"}.get(name, name)]
        volume = io.volume(f"{stage.out}/{name}", 0)
        assert volume.bounds == Box.sized((-7, 100, 3), (80, 70, 30))
        assert np.array_equal(io.read(volume, volume.bounds)[..., 0], array)
    table = io.get_json(f"{stage.out}/synapses.json")
    assert table is not None
    assert table["synapses"]
    for row in table["synapses"]:
        at = tuple(np.array(row["position"]) - stage.offset)
        assert drawn.labels[at] == int(row["pre"])
        assert isinstance(row["post"], str)
    truth = io.get_json(f"{stage.out}/truth.json")
    assert truth is not None
    assert len(truth["nodes"]) == len(truth["labels"]) == len(truth["radius"])


@pytest.mark.long
def test_the_declared_memory_holds_the_drawing() -> None:
    box = Box((4, 4, 4), (92, 76, 68))
    made = scene()
    tracemalloc.start()
    synth.render(made, box)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < box.grow((2, 2, 2), (2, 2, 2)).voxels * synth.VOXEL_BYTES + 2_000_000


def test_the_stage_refuses_an_empty_cell() -> None:
    with pytest.raises(SpecError, match="cell"):
        Synth(out=Layer("mem://x/y"), cell=(0, 1, 1))


@pytest.mark.skipif(not FIB25.exists(), reason="real FIB-SEM is in ../shared/data/fib25, which is not here")
@pytest.mark.long
def test_it_is_about_as_hard_as_real_tissue() -> None:
    with np.load(FIB25) as data:
        real = _figures(data["em"][:96].T, data["labels"][:96].T)
    # One such volume holds few thick processes, so its figures vary; four are averaged.
    made = [synth.plan((150, 150, 90), TEN, seed) for seed in range(4)]
    drawn = [synth.render(s, s.bounds) for s in made]
    ours = [_figures(d.em, d.labels) for d in drawn]
    for name, value in real.items():
        mean = sum(f[name] for f in ours) / len(ours)
        assert 0.75 < mean / value < 1.25, (name, value, mean)


def _figures(em: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Brightness, contrast, borders, and the average precision of darkness and of a sheet filter for them."""
    from scipy import ndimage

    grey, edge = em.astype(np.float32), borders(labels)
    far = ~ndimage.binary_dilation(edge, iterations=4)
    orders = [(2, 0, 0), (0, 2, 0), (0, 0, 2), (1, 1, 0), (1, 0, 1), (0, 1, 1)]
    xx, yy, zz, xy, xz, yz = (ndimage.gaussian_filter(grey, 1.8, order=o) for o in orders)
    thin = (slice(None, None, 2),) * 3  # every other voxel says as much, at an eighth of the cost
    hessian = np.stack([part[thin] for part in (xx, xy, xz, xy, yy, yz, xz, yz, zz)], -1)
    sheet = np.linalg.eigvalsh(hessian.reshape(*hessian.shape[:3], 3, 3))[..., 2]
    return {
        "mean": float(grey.mean()),
        "deviation": float(grey.std()),
        "border fraction": float(edge.mean()),
        "border brightness": float(grey[edge].mean()),
        "contrast to noise": float((grey[far].mean() - grey[edge].mean()) / grey[far].std()),
        "fine noise": float((grey - ndimage.gaussian_filter(grey, 1)).std()),
        "precision of darkness": _precision(-ndimage.gaussian_filter(grey, 1), edge),
        "precision of sheets": _precision(sheet, edge[thin]),
    }


def _precision(score: np.ndarray, truth: np.ndarray) -> float:
    hit = truth.ravel()[np.argsort(-score.ravel(), kind="stable")]
    return float((np.cumsum(hit) / np.arange(1, hit.size + 1))[hit].mean())


def test_pale_membranes_fade_in_the_image_alone_and_the_same_in_any_cells() -> None:
    made, pale = scene(), synth.Pale(Box((0, 0, 0), (30, 80, 72)), 0.6)
    box = Box((0, 0, 0), (96, 80, 16))
    usual, faded = synth.render(made, box), synth.render(made, box, pale)
    for name in ("labels", "mitochondria", "clefts", "sides"):
        assert (getattr(usual, name) == getattr(faded, name)).all()
    beyond = 30 + 40 + 2  # voxels in which stain is taken up as it should be again, and the reach of the blur
    assert (usual.em[beyond:] == faded.em[beyond:]).all()
    darker = usual.em[:30].astype(int) - faded.em[:30]
    assert darker.min() < -30
    assert np.percentile(darker, 99) <= 1  # nothing gets darker but for rounding
    cell = Box((20, 10, 3), (50, 40, 9))
    assert (synth.render(made, cell, pale).em == faded.em[cell.slices()]).all()
    assert (synth.render(made, cell, synth.Pale(pale.box, 0.0)).em == usual.em[cell.slices()]).all()


def test_the_stage_draws_the_pale_box_where_it_lies_in_the_layer(tmp_path: Path) -> None:
    at: Vec3 = (-64, 64, 0)
    box = Box((-64, 64, 0), (-44, 90, 20))
    run.inline(Synth(out=Layer.parse(str(tmp_path)), shape=(64, 64, 64), offset=at, seed=3, pale=box, paleness=1.0))
    volume = IO().volume(f"file://{tmp_path}/image", 0)
    drawn = IO().read(volume, volume.bounds)[..., 0]
    whole, pale = Box((0, 0, 0), (64, 64, 64)), synth.Pale(Box((0, 0, 0), (20, 26, 20)), 1.0)
    wanted = synth.render(scene((64, 64, 64)), whole, pale)
    assert (drawn == wanted.em).all()
    assert notes(tmp_path / "image")[0]["membranes"] > 0
    with pytest.raises(SpecError, match="paleness: 2; give a part"):
        Synth(out=Layer.parse(str(tmp_path)), paleness=2)
