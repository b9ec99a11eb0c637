"""Tables of synapses that others make: which of their columns say what, and the rows that these are.

Names are known of CAVE (`pre_pt_root_id`, `ctr_pt_position` ...), neuPrint (`x`, `y`, `z`), synful (`id_skel_pre`,
`location_pre`; Buhmann et al. 2021), this package's tables and its synthetic truth. A column of a place holds three
numbers, or is three columns.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import spelling
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Vec3f

Array = npt.NDArray[Any]
Columns = dict[str, Array]
PLACES = ("place", "pre_place", "post_place")
_ROOTS = {
    "pre": ("pre", "pre_pt_root_id", "pre_root_id", "pre_segid", "id_skel_pre", "bodyId_pre"),
    "post": ("post", "post_pt_root_id", "post_root_id", "post_segid", "id_skel_post", "bodyId_post"),
}
_SUPERVOXELS = {
    "pre": ("pre_pt_supervoxel_id", "pre_supervoxel_id", "pre_sv", "id_segm_pre"),
    "post": ("post_pt_supervoxel_id", "post_supervoxel_id", "post_sv", "id_segm_post"),
}
_OTHERS = {
    "place": ("place", "ctr_pt_position", "ctr_pt", "position", "centroid", ""),
    "pre_place": ("pre_place", "pre_pt_position", "pre_pt", "location_pre", "pre"),
    "post_place": ("post_place", "post_pt_position", "post_pt", "location_post", "post"),
    "voxels": ("voxels", "size"),
    "confidence": ("confidence", "score", "cleft_score", "connection_score"),
    "side": ("type",),
}
ROLES = ("pre", "post", *_OTHERS)
"""What a column can say; ``side`` is `pre` or `post` in tables of the sites of one neuron."""
_NM = {"place", "pre_place", "post_place", "location_pre", "location_post"}  # others are voxels
_ZYX = {"location_pre", "location_post"}  # others are x, y, z
_MOST = float(1 << 31)  # nm, and voxels


@dataclass(frozen=True)
class Reading:
    """How rows are read: columns by role, one each or three of a place; ``axes``; ``unit``, voxels of ``resolution``.

    ``sure`` is the score of full confidence: larger ones are no surer. None: 1 of fractions, 255 of whole numbers.
    ``neuron`` is the segment that sites belong to of which only the side is known; ``nothing`` are labels of none.
    """

    columns: dict[str, tuple[str, ...]]
    axes: str
    unit: str
    resolution: Vec3f
    sure: float | None = None
    neuron: int = 0
    nothing: tuple[int, ...] = ()

    @property
    def names(self) -> list[str]:
        """All columns that are read."""
        return list(dict.fromkeys(name for names in self.columns.values() for name in names))


def chosen(present: Sequence[str], asked: Mapping[str, tuple[str, ...]], keys: str) -> dict[str, tuple[str, ...]]:
    """The columns of each role: those ``asked`` for, or the first that are known; SpecError where there is no place."""
    known = {**(_ROOTS if keys == "root" else _SUPERVOXELS), **_OTHERS}
    if unknown := sorted(asked.keys() - set(ROLES)):
        raise SpecError(f"no column can say {unknown[0]!r}; {spelling.choices(unknown[0], ROLES)}")
    for role, names in asked.items():
        if absent := [name for name in names if name not in present]:
            raise SpecError(f"{role}: there is no column {absent[0]!r}; {spelling.choices(absent[0], present)}")
        if len(names) not in ((1, 3) if role in PLACES else (1,)):
            raise SpecError(f"{role}: {len(names)} columns; give one, or three of a place, such as x/y/z")
    found = dict(asked)
    for role in ROLES:
        options = [option for name in known[role] for option in _options(role, name)]
        names = next((option for option in options if set(option) <= set(present)), ())
        if names:
            found.setdefault(role, names)
    if not set(found) & set(PLACES):
        raise SpecError(f"no column says where synapses are; there are: {', '.join(present)}; give --columns place=...")
    return found


def _options(role: str, name: str) -> list[tuple[str, ...]]:
    if role not in PLACES:
        return [(name,)]
    three = tuple(f"{name}_{axis}" if name else axis for axis in "xyz")
    return [(name,), three] if name and name not in ("pre", "post") else [three]


def measured(columns: Mapping[str, tuple[str, ...]], unit: str, axes: str) -> tuple[str, str]:
    """The unit and the order of axes: as said, or as is usual of these columns; SpecError where that is not one."""
    names = {columns[role][0] for role in PLACES if role in columns}
    if not unit and names & _NM and names - _NM:
        raise SpecError(f"some of {', '.join(sorted(names))} are in nm by custom and some in voxels; give --unit")
    usual = "zyx" if names <= _ZYX else "xyz"
    return unit or ("nm" if names & _NM else "voxel"), axes or usual


# Files of other forms than Parquet and Feather, whole.


def decode(data: bytes, where: str) -> tuple[Columns, Vec3f | None]:
    """The columns of a file of JSON, numpy (`npz`) or text with commas, and the resolution in nm where it tells one."""
    if data.startswith(b"PK"):
        return _numpy(data, where), None
    if data.lstrip()[:1] in (b"[", b"{"):
        return _objects(data, where)
    return _text(data, where), None


def _numpy(data: bytes, where: str) -> Columns:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{where}: not arrays of numpy ({error}); write it again") from error
    if len({len(column) for column in found.values() if column.ndim}) != 1:
        raise DataError(f"{where}: its arrays are of different lengths; a row is one of each")
    return found


def _objects(data: bytes, where: str) -> tuple[Columns, Vec3f | None]:
    try:
        raw = json.loads(data)
        rows = raw["synapses"] if isinstance(raw, dict) else raw
        names = list(dict.fromkeys(name for row in rows for name in row))
        columns = {name: _array([row.get(name) for row in rows]) for name in names}
        resolution = raw.get("resolution") if isinstance(raw, dict) else None
        x, y, z = map(float, resolution) if resolution else (0.0, 0.0, 0.0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where}: not a list of synapses in JSON ({error!r})") from error
    return columns, (x, y, z) if resolution else None


def _text(data: bytes, where: str) -> Columns:
    try:
        rows = [row for row in csv.reader(io.StringIO(data.decode())) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where}: neither a table of text nor one of another known form ({error})") from error
    head, *rest = rows or [[]]
    for line, row in enumerate(rest, 2):
        if len(row) != len(head):
            raise DataError(f"{where}, line {line}: {len(row)} columns and not {len(head)}")
    return {name.strip(): _cells([row[at].strip() for row in rest]) for at, name in enumerate(head)}


def _array(values: list[Any]) -> Array:
    """Integers where all are, [n] or [n, 3]; floats; or the values as they are."""
    kinds = {type(value) for value in values}
    if kinds <= {int}:
        return _integers(values)
    if kinds == {list} and all(len(value) == 3 for value in values):
        return _array([number for value in values for number in value]).reshape(-1, 3)
    if kinds <= {int, float}:
        return np.array(values, np.float64)
    found = np.empty(len(values), object)
    found[:] = values
    return found


def _integers(values: list[int]) -> Array:
    low, high = min(values, default=0), max(values, default=0)
    if low >= -(1 << 63) and high < 1 << 63:
        return np.array(values, np.int64)
    return np.array(values, np.uint64 if low >= 0 and high < 1 << 64 else object)


def _cells(cells: list[str]) -> Array:
    """The column of cells of text: brackets hold places."""
    if cells and all(cell[:1] in "[(" and cell[-1:] in ")]" for cell in cells if cell):
        split = [cell.strip("[]()").replace(",", " ").split() for cell in cells]
        if all(len(one) == 3 for one in split):
            return _cells([word for one in split for word in one]).reshape(-1, 3)
    for kind in (int, float):
        try:
            return _array([kind(cell) for cell in cells])
        except ValueError:
            continue
    return _array([cell or None for cell in cells])


# What columns say.


def rows_of(raw: Mapping[str, Array], reading: Reading, refuse: Callable[[int, str], DataError]) -> Columns:
    """The rows in the columns of :data:`igneous_ng.synapses.COLUMNS` that are known, and ``voxel``, int64 [n, 3].

    A place that is not told is that of the cleft, and the cleft's the middle of both. ``refuse`` makes the error of a
    row, counted from 0, of which the second argument tells what is wrong.
    """
    places = {role: _place(raw, reading, role, refuse) for role in PLACES if role in reading.columns}
    if "place" not in places:
        ends = [places[role] for role in PLACES[1:] if role in places]
        nm = ends[0][0] if len(ends) == 1 else (ends[0][0] + ends[1][0]) // 2
        places["place"] = nm, np.floor(nm / np.array(reading.resolution)).astype(np.int64)
    nm, voxel = places["place"]
    found = {role: places.get(role, (nm,))[0].astype(np.int32) for role in PLACES}
    labels = {role: _labels(raw, reading, role, len(nm), refuse) for role in ("pre", "post")}
    if "side" in reading.columns and reading.neuron:
        sides = raw[reading.columns["side"][0]]
        for role in ("pre", "post"):
            labels[role][sides == role] = reading.neuron
    confidence = _confidence(raw, reading, len(nm), refuse)
    voxels = _labels(raw, reading, "voxels", len(nm), refuse)
    return {**found, **labels, "voxels": voxels, "confidence": confidence, "voxel": voxel}


def _place(raw: Mapping[str, Array], reading: Reading, role: str, refuse: Callable[[int, str], DataError]) -> Any:
    """The nm, int64 [n, 3], and the voxels, of a place."""
    names = reading.columns[role]
    told = raw[names[0]] if len(names) == 1 else np.ma.stack([raw[name] for name in names], axis=1)
    if told.ndim != 2 or told.shape[1] != 3 or told.dtype.kind not in "iuf":
        row = next((n for n, one in enumerate(told) if not isinstance(one, list) or len(one) != 3), 0)
        raise refuse(row, f"{'/'.join(names)} is no place of three numbers")
    plain = np.ma.getdata(told)
    unlike: Array = ~(np.abs(plain.astype(np.float64)) < _MOST)
    wrong = (np.ma.getmaskarray(told) | unlike).any(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise refuse(row, f"{'/'.join(names)} is {told[row].tolist()}, which is no place")
    if reading.axes == "zyx" and len(names) == 1:
        plain = plain[:, ::-1]
    whole, resolution = plain.dtype.kind in "iu", np.array(reading.resolution)
    if reading.unit == "nm":
        nm = np.rint(plain).astype(np.int64)
        return nm, np.floor(plain / resolution).astype(np.int64)
    middles = plain + 0.5 if whole else plain
    nm = np.rint(middles * resolution)
    if (far := ~(np.abs(nm) < _MOST).all(axis=1)).any():
        raise refuse(int(np.flatnonzero(far)[0]), "lies farther than 2**31 nm from the origin")
    return nm.astype(np.int64), np.floor(middles).astype(np.int64)


def _labels(
    raw: Mapping[str, Array], reading: Reading, role: str, count: int, refuse: Callable[[int, str], DataError]
) -> Array:
    """The labels, uint64, or numbers of voxels; 0 where nothing is told."""
    if role not in reading.columns:
        return np.zeros(count, np.uint64)
    name = reading.columns[role][0]
    told = raw[name]
    if reading.nothing:
        told = np.where(np.isin(told, reading.nothing), 0, told)
    if told.dtype.kind == "f":
        told = _whole(told, name, refuse)
    elif told.dtype.kind not in "iu":
        return _parsed(told, name, refuse)
    plain = np.ma.filled(told, 0) if isinstance(told, np.ma.MaskedArray) else told
    if plain.dtype.kind == "i" and (plain < 0).any():
        row = int(np.flatnonzero(plain < 0)[0])
        raise refuse(row, f"{name} is {plain[row]}, and labels are not negative")
    return plain.astype(np.uint64)


def _whole(told: Array, name: str, refuse: Callable[[int, str], DataError]) -> Array:
    """Integers that are stored as fractions, as some do where labels are missing; those are 0."""
    there = ~np.isnan(told)
    wrong = there & ((told != np.floor(told)) | (np.abs(told) >= 1 << 53))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise refuse(
            row, f"{name} is {float(told[row])!r}, a fraction or too large to be exact; store labels as integers"
        )
    return np.where(there, told, 0).astype(np.int64)


def _parsed(told: Array, name: str, refuse: Callable[[int, str], DataError]) -> Array:
    """Labels in text, or with gaps."""
    found = np.zeros(len(told), np.uint64)
    for row, value in enumerate(told.tolist()):
        try:
            number = 0 if value in (None, "") else int(value) if not isinstance(value, float) else -1
        except (TypeError, ValueError):
            number = -1
        if not 0 <= number < 1 << 64:
            raise refuse(row, f"{name} is {value!r}, and labels are integers from 0 to 2**64 - 1")
        found[row] = number
    return found


def _confidence(
    raw: Mapping[str, Array], reading: Reading, count: int, refuse: Callable[[int, str], DataError]
) -> Array:
    """The scores as uint8: all are sure where there are none."""
    if "confidence" not in reading.columns:
        return np.full(count, 255, np.uint8)
    name = reading.columns["confidence"][0]
    told = raw[name]
    if told.dtype.kind not in "iuf" or (np.ma.getmaskarray(told) | np.isnan(np.ma.getdata(told))).any():
        wrong = (
            np.flatnonzero(np.ma.getmaskarray(told) | np.isnan(np.ma.getdata(told)))
            if told.dtype.kind in "iuf"
            else [0]
        )
        raise refuse(int(wrong[0]), f"{name} is {told[int(wrong[0])]!r}, which is no score")
    sure = reading.sure or (1.0 if told.dtype.kind == "f" else 255.0)
    return np.rint(255 * np.clip(np.ma.getdata(told) / sure, 0, 1)).astype(np.uint8)
