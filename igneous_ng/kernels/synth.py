"""Procedural electron microscopy with its truth: densely packed neurites, organelles and synapses.

``plan`` makes a small scene for a whole volume; ``render`` draws any box of it. A voxel depends only on the
seed, the volume and its place, so drawing in cells gives the same bytes as drawing the whole.
Arrays are ``[x, y, z]``, lengths nm unless they are said to be voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box, Vec3, Vec3f, vec
from igneous_ng.kernels import synth_field as fields
from igneous_ng.kernels import synth_noise as noise
from igneous_ng.kernels.synth_field import I32, Owned
from igneous_ng.kernels.synth_noise import F32
from igneous_ng.kernels.synth_scene import Scene, Skeleton, Synapse, check, plan

__all__ = [
    "POST",
    "PRE",
    "VOXEL_BYTES",
    "Pale",
    "Rendered",
    "Scene",
    "Skeleton",
    "Synapse",
    "check",
    "halo",
    "plan",
    "render",
]

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]

VOXEL_BYTES = 110
"""The most bytes that ``render`` holds per voxel of a box grown by its halo, the result included."""

# Grey values and lengths (nm), set so that the figures in docs/design/004-synth.md match real FIB-SEM.
CYTOPLASM, SPREAD = 151.0, 28.0
MEMBRANE, MEMBRANE_HALF = 88.0, 29.0
MATRIX = 80.0
_GRAIN = ((31.0, 20.0), (47.0, 20.0), (85.0, 20.0))
_BLUR = 9.0
_SHOT = 6.0
_BLUR_TAPS = 2
PRE, POST = 1, 2
"""The sides of a synapse, as drawn boxes name them."""
_EDGE = 400.0  # nm over which stain is taken up as it should be again
_PLAQUE = 0.5  # the share of a plaque's own grey from which on it is one
# Streams of the noise, far from those of the bent space (which uses the seed's own).
_STREAM = 1 << 32


@dataclass(frozen=True)
class Rendered:
    """A drawn box: grey values, body labels, and what is 0 elsewhere: mitochondria, clefts, sides; each ``[x, y, z]``.

    ``clefts`` has the id of the synapse whose plaque is there, ``sides`` which side of it: ``PRE`` or ``POST``.
    """

    em: U8
    labels: U64
    mitochondria: U64
    clefts: U64
    sides: U8


def halo(resolution: Vec3f) -> Vec3:
    """Voxels around a box that bear on it (the reach of the blur)."""
    return vec(_BLUR_TAPS if _BLUR / r > 0.2 else 0 for r in resolution)


@dataclass(frozen=True)
class Pale:
    """Where membranes and densities took up less stain: in ``box`` (voxels of the scene) ``lost`` of their contrast.

    Beyond the box that falls to nothing, smoothly, over ``_EDGE`` nm.
    """

    box: Box
    lost: float

    def left(self, box: Box, resolution: Vec3f) -> F32:
        """The part of the contrast that the voxels of ``box`` have left, 0 to 1."""
        found = np.full((1, 1, 1), self.lost, np.float32)
        for line, lo, hi, step in zip(noise.grid(box), self.box.lo, self.box.hi, resolution, strict=True):
            beyond = np.maximum(0, np.maximum(lo - line, line + 1 - hi)) * step
            found = found * _bump(beyond.astype(np.float32), _EDGE)
        return np.asarray(1 - found, np.float32)


def render(scene: Scene, box: Box, pale: Pale | None = None) -> Rendered:
    """Draw ``box`` (voxels of the scene, from 0); SpecError where it leaves the volume or is empty."""
    if box not in scene.bounds or not box.voxels:
        raise SpecError(f"box {box} is empty or leaves the synthetic volume {scene.bounds}; ask within")
    reach = halo(scene.resolution)
    wide = box.grow(reach, reach)
    owned = fields.own(scene.tubes, scene.seed, wide, scene.resolution)
    depth, mito = _mitochondria(scene, wide, owned)
    grey = _cytoplasm(scene, wide, owned)
    _nucleus(scene, wide, owned, mito, grey)
    _vesicles(scene, wide, owned, grey)
    _organelles(scene, wide, depth, mito, grey)
    stain = np.ones((1, 1, 1), np.float32) if pale is None else pale.left(wide, scene.resolution)
    _membranes(scene, wide, owned, grey, stain)
    clefts, sides = _densities(scene, wide, owned, grey, stain)
    inner = box.slices(wide.lo)
    em = _detect(scene, box, _blur(grey, scene.resolution, reach))
    labels = scene.labels[owned.body[inner]]
    return Rendered(em, labels, mito[inner].astype(np.uint64), clefts[inner].astype(np.uint64), sides[inner])


def _key(scene: Scene, stream: int) -> int:
    return scene.seed + _STREAM * stream


def _bump(distance: F32, reach: float) -> F32:
    """1 at 0, falling smoothly to 0 at ``reach`` and beyond."""
    t = np.maximum(np.float32(0), 1 - (distance * np.float32(1 / reach)) ** 2)
    return np.asarray(t * t)


def _cloud(scene: Scene, box: Box, stream: int, wavelength: float) -> F32:
    # Noise finer than the voxels would alias into a lattice pattern.
    return noise.cloud(_key(scene, stream), box, scene.resolution, max(wavelength, 1.5 * min(scene.resolution)))


def _cytoplasm(scene: Scene, box: Box, owned: Owned) -> F32:
    """A grey of its own for each body, grainy, with faint inner membranes here and there."""
    rows = np.arange(len(scene.labels))
    tone = noise.normal(noise.hashed(_key(scene, 1), rows))
    rough = 0.5 + 1.0 * (noise.hashed(_key(scene, 2), rows) >> np.uint64(40)).astype(np.float32) / 2**24
    grain = np.zeros(box.shape, np.float32)
    for stream, (wavelength, amplitude) in enumerate(_GRAIN):
        grain += np.float32(amplitude) * _cloud(scene, box, 20 + stream, wavelength)
    sheet = _bump(_cloud(scene, box, 6, 130.0), 0.07) * (_cloud(scene, box, 7, 420.0) > 0.15)
    grain -= np.float32(34.0) * sheet
    grain *= rough.astype(np.float32)[owned.body]
    grain += np.clip(CYTOPLASM + SPREAD * tone, 90, 195).astype(np.float32)[owned.body]
    return grain


def _nucleus(scene: Scene, box: Box, owned: Owned, mito: I32, grey: F32) -> None:
    """Nucleoplasm with clumps of chromatin, inside a double envelope; mitochondria stay out of it."""
    for x, y, z, radius, row in scene.nuclei:
        gap = [owned.place[i] - np.float32(c) for i, c in enumerate((x, y, z))]
        outside = np.sqrt(gap[0] * gap[0] + gap[1] * gap[1] + gap[2] * gap[2]) - np.float32(radius)
        own = owned.body == int(row)
        inside = own & (outside < 0)
        if not (own & (outside < 60)).any():
            continue
        clump = np.clip((_cloud(scene, box, 8, 420.0) + 0.5 * _cloud(scene, box, 9, 130.0)) * 4 - 0.6, 0, 1)
        texture = 148 + np.float32(20) * _cloud(scene, box, 20, _GRAIN[0][0]) - np.float32(42) * clump
        grey[inside] = texture[inside]
        mito[own & (outside < 60)] = 0
        envelope = np.maximum(_bump(outside, 16.0), _bump(outside - np.float32(36), 16.0)) * own
        grey += (np.float32(MEMBRANE) - grey) * np.float32(0.85) * envelope


def _near(scene: Scene, box: Box, centre: tuple[float, ...], reach: float) -> Box:
    """The part of ``box`` within ``reach`` nm of ``centre`` along each axis."""
    low = [int(np.floor((c - reach) / r)) for c, r in zip(centre, scene.resolution, strict=True)]
    high = [int(np.ceil((c + reach) / r)) + 1 for c, r in zip(centre, scene.resolution, strict=True)]
    return Box((low[0], low[1], low[2]), (high[0], high[1], high[2])) & box


def _centre(scene: Scene, synapse: Synapse) -> tuple[float, ...]:
    return tuple((p + 0.5) * r for p, r in zip(synapse.position, scene.resolution, strict=True))


def _distance(scene: Scene, box: Box, centre: tuple[float, ...]) -> F32:
    """nm from ``centre`` to each voxel of ``box``."""
    total = np.zeros((1, 1, 1))
    for line, step, c in zip(noise.grid(box), scene.resolution, centre, strict=True):
        total = total + ((line + 0.5) * step - c) ** 2
    return np.asarray(np.sqrt(total), np.float32)


def _vesicles(scene: Scene, box: Box, owned: Owned, grey: F32) -> None:
    """Round vesicles of some 40 nm, crowded on the presynaptic side."""
    for synapse in scene.synapses:
        centre = _centre(scene, synapse)
        part = _near(scene, box, centre, 420.0)
        if not part.voxels:
            continue
        at = part.slices(box.lo)
        weight = np.minimum(1, 2 * _bump(_distance(scene, part, centre), 420.0))
        weight = weight * (owned.body[at] == synapse.pre - 1)
        chosen = np.nonzero(weight)
        places = np.stack([(i + lo + 0.5) * r for i, lo, r in zip(chosen, part.lo, scene.resolution, strict=True)], 1)
        from_centre = _to_vesicle(_key(scene, 10), places)
        pale, rim = _bump(from_centre, 14.0), _bump(from_centre - 21, 11.0)
        old = grey[at][chosen]
        new = old + np.float32(20) * pale + (np.float32(86) - old) * rim
        grey[at][chosen] += weight[chosen] * (new - old)


def _to_vesicle(key: int, places: npt.NDArray[np.float64], spacing: float = 54.0) -> F32:
    """nm to the nearest of the jittered lattice points about each place (n, 3)."""
    best = np.full(len(places), np.inf)
    cell = np.floor(places / spacing - 0.5).astype(np.int64)
    for corner in np.ndindex(2, 2, 2):
        total = np.zeros(len(places))
        lattice = [cell[:, a] + corner[a] for a in range(3)]
        for axis in range(3):
            jitter = (noise.hashed(key + axis, *lattice) >> np.uint64(40)) * (0.8 / 2**24) - 0.4
            total += (places[:, axis] - (lattice[axis] + 0.5 + jitter) * spacing) ** 2
        best = np.minimum(best, total)
    return np.asarray(np.sqrt(best), np.float32)


def _mitochondria(scene: Scene, box: Box, owned: Owned) -> tuple[F32, I32]:
    """Signed distance (nm, at most 60) from the nearest mitochondrion of the voxel's own body, and its number."""
    tubes, rim = scene.mitochondria, 60.0
    depth, number = np.full(box.shape, rim, np.float32), np.zeros(box.shape, np.int32)
    if len(tubes.ra):
        low, high = owned.place.min(axis=(1, 2, 3)), owned.place.max(axis=(1, 2, 3))
        wide = np.maximum(tubes.ra, tubes.ra + tubes.taper)[:, None] + np.float32(rim + 1)
        ends = np.stack([tubes.a, tubes.a + tubes.along])
        touch = ((ends.min(0) - wide <= high) & (ends.max(0) + wide >= low)).all(1)
        for i in np.flatnonzero(touch):
            _draw_tube(scene, int(i), owned, box, (depth, number))
    number[(depth >= 0) | (owned.gap < 2 * 34.0)] = 0
    return depth, number


def _draw_tube(scene: Scene, i: int, owned: Owned, box: Box, out: tuple[F32, I32]) -> None:
    tube = scene.mitochondria.take(np.array([i]))
    depth, number = out
    # Bent space is off by at most the amplitudes' sum times the tallest deviate; the box around a tube allows for it.
    sway = 3.5 * sum(amplitude for _, amplitude in fields.WARP)
    reach = float(np.abs(tube.along).max() + tube.ra[0] + abs(tube.taper[0])) + 60.0 + sway
    part = _near(scene, box, tuple(map(float, tube.a[0])), reach)
    if not part.voxels:
        return
    at = part.slices(box.lo)
    here = owned.body[at] == scene.hosts[tube.body[0]]
    field = tube.field(owned.place[(slice(None), *at)][:, here])[0]
    before = depth[at][here]
    closer = field < before
    before[closer] = field[closer]
    depth[at][here] = before
    names = number[at][here]
    names[closer] = tube.body[0] + 1
    number[at][here] = names


def _organelles(scene: Scene, box: Box, depth: F32, mito: I32, grey: F32) -> None:
    """A dark matrix crossed by cristae, with a darker rim and a thin pale seam around it."""
    inside = mito > 0
    if not inside.any():
        return
    cristae = _bump(_cloud(scene, box, 11, 70.0), 0.2)
    texture = MATRIX + np.float32(10) * cristae + np.float32(10) * _cloud(scene, box, 12, 40.0)
    texture -= np.float32(12) * _bump(depth + np.float32(8), 12.0)
    grey[inside] = texture[inside]


def _membranes(scene: Scene, box: Box, owned: Owned, grey: F32, stain: F32) -> None:
    """Dark sheets where two bodies meet; as thick as the voxels can show."""
    coarse = float(np.prod(scene.resolution)) ** (1 / 3)
    half = (MEMBRANE_HALF**2 + (0.55 * max(0.0, coarse - 10.0)) ** 2) ** 0.5
    weight = _bump(owned.gap * np.float32(0.5), half)
    dark = MEMBRANE + np.float32(28) * _cloud(scene, box, 13, 110.0)
    grey += (dark - grey) * (weight * stain)


def _densities(scene: Scene, box: Box, owned: Owned, grey: F32, stain: F32) -> tuple[I32, U8]:
    """The dark plaques of synapses, thick on the postsynaptic side, thin on the other: whose they are, and the sides.

    Where plaques overlap the later synapse's counts, as it is drawn over the others.
    """
    clefts, sides = np.zeros(box.shape, np.int32), np.zeros(box.shape, np.uint8)
    stain = np.broadcast_to(stain, box.shape)
    for synapse in scene.synapses:
        centre = _centre(scene, synapse)
        radius = 120.0 + 100.0 * _share(_key(scene, 14), synapse.id)
        part = _near(scene, box, centre, radius)
        if not part.voxels:
            continue
        at = part.slices(box.lo)
        body, other = owned.body[at], owned.other[at]
        pre, post = synapse.pre - 1, synapse.post - 1
        half = owned.gap[at] * np.float32(0.5)
        after = (body == post) & (other == pre)
        band = _bump(half, 70.0) * after
        band += _bump(half, 34.0) * ((body == pre) & (other == post))
        weight = np.minimum(1, 2 * _bump(_distance(scene, part, centre), radius)) * band
        grey[at] += (np.float32(58) - grey[at]) * (weight * stain[at])
        drawn = weight > _PLAQUE
        clefts[at][drawn] = synapse.id
        sides[at][drawn] = np.where(after, POST, PRE)[drawn]
    return clefts, sides


def _share(key: int, number: int) -> float:
    """A uniform deviate in [0, 1)."""
    return float(noise.hashed(key, np.array([number]))[0] >> np.uint64(11)) / 2**53


def _blur(grey: F32, resolution: Vec3f, reach: Vec3) -> F32:
    """A short Gaussian along each axis; the result loses ``reach`` at both ends."""
    for axis, (step, taps) in enumerate(zip(resolution, reach, strict=True)):
        if not taps:
            continue
        weights = np.exp(-0.5 * (np.arange(-taps, taps + 1) * step / _BLUR) ** 2)
        weights = (weights / weights.sum()).astype(np.float32)
        size = grey.shape[axis] - 2 * taps
        total = np.zeros((), np.float32)
        for k, weight in enumerate(weights):
            total = total + weight * np.take(grey, np.arange(k, k + size), axis)
        grey = total
    return grey


def _detect(scene: Scene, box: Box, grey: F32) -> U8:
    """Shot noise that grows with brightness, a gain and an offset for each section, 8 bits."""
    sections = np.arange(box.lo[2], box.hi[2])
    gain = 1 + np.float32(0.006) * noise.normal(noise.hashed(_key(scene, 15), sections))
    offset = np.float32(1.0) * noise.normal(noise.hashed(_key(scene, 16), sections))
    grey = np.clip(grey, 1, 254)
    grey += np.float32(_SHOT) * np.sqrt(grey * np.float32(1 / 128)) * noise.speckle(_key(scene, 17), box)
    grey = grey * gain + offset
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)
