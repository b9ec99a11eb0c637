"""What the rows of an annotation table are: a kind of shape, columns with types, relationships to segments.

Rows are columns by name, arrays of numpy of one length; those of text hold Python's strings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import spelling
from igneous_ng.errors import SpecError
from igneous_ng.geometry import Vec3f

Array = npt.NDArray[Any]
INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
TYPES = ("bool", *INTEGERS, "float32", "float64", "string")
"""The types of a column."""
KINDS: dict[str, tuple[str, ...]] = {
    "point": ("x", "y", "z"),
    "line": ("start_x", "start_y", "start_z", "end_x", "end_y", "end_z"),
    "box": ("lo_x", "lo_y", "lo_z", "hi_x", "hi_y", "hi_z"),
    "ellipsoid": ("x", "y", "z", "radius_x", "radius_y", "radius_z"),
}
"""The shapes that rows may have, and the columns, float64, that say where they are."""
OWN = ("id", "supersedes")
"""The columns that the table itself gives: the number of a row, and that of the row that it stands for; 0: none."""
_NAME = re.compile(r"[a-z][a-zA-Z0-9_]*")
_RESERVED = (*OWN, "born", "died")


@dataclass(frozen=True)
class Column:
    """A column of one of :data:`TYPES`; text may be confined to ``choices``, and an ``optional`` one left out."""

    name: str
    type: str
    description: str = ""
    choices: tuple[str, ...] = ()
    optional: bool = False

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise SpecError(f"column {self.name}: there is no type {self.type!r}; {spelling.choices(self.type, TYPES)}")
        if self.choices and self.type != "string":
            raise SpecError(f"column {self.name}: choices are of text, and it is {self.type}")

    def checked(self, values: Any) -> Array:
        """``values`` as this column has them; SpecError, with the row, where they do not fit."""
        found = as_column(values, self.type, f"column {self.name}")
        if self.choices:
            allowed = {*self.choices, ""} if self.optional else set(self.choices)
            for row, value in enumerate(found.tolist()):
                if value not in allowed:
                    said = ", ".join(self.choices)
                    raise SpecError(f"column {self.name}, row {row}: {value!r} is none of its choices; give {said}")
        return found

    def nothing(self, count: int) -> Array:
        """What stands in for so many values that were left out: 0, no text, not a number."""
        if self.type == "string":
            return np.full(count, "", object)
        return np.full(count, np.nan if self.type.startswith("float") else 0, self.type)


@dataclass(frozen=True)
class Schema:
    """What a table holds. Positions are in ``units``: nm, or voxels of ``resolution`` nm, x, y, z."""

    kind: str
    columns: tuple[Column, ...] = ()
    relationships: tuple[str, ...] = ()
    description: str = ""
    units: str = "nm"
    resolution: Vec3f = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SpecError(f"no rows are of the kind {self.kind!r}; {spelling.choices(self.kind, KINDS)}")
        if self.units not in ("nm", "voxel"):
            raise SpecError(f"positions are in nm or voxel, not in {self.units!r}")
        if not all(0 < side < np.inf for side in self.resolution):
            raise SpecError(f"voxels of {self.resolution} nm; each side must be a positive number")
        names = [column.name for column in self._declared()]
        for name in names:
            if not _NAME.fullmatch(name) or name in _RESERVED:
                raise SpecError(f"{name!r} names no column; a small letter, then letters, digits and _, and not "
                                f"{', '.join(_RESERVED)}")  # fmt: skip
            if names.count(name) > 1:
                raise SpecError(f"two columns are called {name}; call one otherwise")

    @property
    def types(self) -> dict[str, str]:
        """The type of each column, the table's own first."""
        return {**dict.fromkeys(OWN, "uint64"), **{column.name: column.type for column in self._declared()}}

    @property
    def places(self) -> tuple[str, ...]:
        """The columns that say where a row is."""
        return KINDS[self.kind]

    def rows(self, given: Mapping[str, Any]) -> dict[str, Array]:
        """The columns ``given``, all but the table's own, checked and in order.

        SpecError, naming column and row, for what is unknown, missing, of another type or out of range.
        """
        declared = self._declared()
        if unknown := sorted(given.keys() - {column.name for column in declared}):
            raise SpecError(f"there is no column {unknown[0]!r}; there are: {', '.join(c.name for c in declared)}")
        lengths = {name: len(values) for name, values in given.items()}
        if len(set(lengths.values())) > 1:
            raise SpecError(f"columns are of different lengths: {lengths}")
        count = next(iter(lengths.values()), 0)
        found: dict[str, Array] = {}
        for column in declared:
            if column.name not in given and not column.optional:
                raise SpecError(f"the column {column.name} is missing; every column that is not optional must be given")
            values = given.get(column.name)
            found[column.name] = column.nothing(count) if values is None else column.checked(values)
        self._check_places(found)
        return found

    def nm(self, rows: Mapping[str, Array], at: str = "centre") -> Array:
        """The ``centre``, ``start`` or ``end`` of each row, in nm, float64 [n, 3], x, y, z.

        A box starts at its lower corner; points and ellipsoids have a centre alone.
        """
        parts = np.column_stack([rows[name] for name in self.places]).reshape(-1, len(self.places))
        found: Array = parts[:, :3]
        if self.kind in ("line", "box"):
            found = {"centre": (found + parts[:, 3:]) / 2, "start": found, "end": parts[:, 3:]}[at]
        elif at != "centre":
            raise SpecError(f"rows of the kind {self.kind} have a centre, and no {at}")
        return found * self.resolution if self.units == "voxel" else found

    def to_json(self) -> dict[str, Any]:
        """The schema in JSON's types."""
        return asdict(self)

    def _declared(self) -> tuple[Column, ...]:
        places = tuple(Column(name, "float64") for name in self.places)
        return places + tuple(Column(name, "uint64") for name in self.relationships) + self.columns

    def _check_places(self, rows: Mapping[str, Array]) -> None:
        for name in self.places:
            wrong = np.flatnonzero(~np.isfinite(rows[name]) | (name.startswith("radius") & (rows[name] < 0)))
            if len(wrong):
                raise SpecError(f"column {name}, row {wrong[0]}: {rows[name][wrong[0]]} is no place or size")
        for axis in "xyz" if self.kind == "box" else "":
            if len(wrong := np.flatnonzero(rows[f"lo_{axis}"] > rows[f"hi_{axis}"])):
                raise SpecError(f"column lo_{axis}, row {wrong[0]}: the box begins after its end")


def parse(raw: Any, where: str) -> Schema:
    """The schema that ``raw`` describes, in JSON's types; SpecError, naming ``where``, for another value."""
    try:
        columns = tuple(_column(dict(one)) for one in raw.get("columns", ()))
        x, y, z = map(float, raw.get("resolution", (1, 1, 1)))
        known = {name: str(raw[name]) for name in ("kind", "description", "units") if name in raw}
        names = ("columns", "relationships", "resolution", *known)
        if unknown := sorted(raw.keys() - set(names)):
            raise SpecError(f"there is nothing called {unknown[0]!r} in a schema")
        relationships = tuple(map(str, raw.get("relationships", ())))
        return Schema(columns=columns, relationships=relationships, resolution=(x, y, z), **known)
    except (AttributeError, KeyError, TypeError, ValueError, SpecError) as error:
        raise SpecError(f"{where}: not the schema of a table ({error})") from error


def _column(raw: dict[str, Any]) -> Column:
    return Column(**{**raw, "choices": tuple(raw.get("choices", ()))})


def as_column(values: Any, kind: str, where: str) -> Array:
    """``values``, an array or a sequence, as an array of a type of :data:`TYPES`; no integer is cut or rounded.

    SpecError, naming ``where`` and the row, for what does not fit.
    """
    if kind in INTEGERS:
        return _integers(values, kind, where)
    array = values if isinstance(values, np.ndarray) else np.array(list(values), object)
    if kind == "string":
        listed = array.tolist()
        _each(listed, lambda value: isinstance(value, str), "text", where)
        found = np.empty(len(listed), object)
        found[:] = listed
        return found
    if kind == "bool":
        if array.dtype != bool:
            _each(array.tolist(), lambda value: isinstance(value, bool), "true or false", where)
        return array.astype(bool)
    if array.dtype.kind not in "fui":
        _each(array.tolist(), lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
              "a number", where)  # fmt: skip
    return array.astype(kind)


def _integers(values: Any, kind: str, where: str) -> Array:
    limits = np.iinfo(kind)
    if isinstance(values, np.ndarray) and values.dtype.kind in "ui":
        wide = values.size and (int(values.min()) < limits.min or int(values.max()) > limits.max)
        if not wide:
            return values.astype(kind)
    listed = values.tolist() if isinstance(values, np.ndarray) else list(values)

    def fits(value: Any) -> bool:
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        return whole and limits.min <= value <= limits.max

    _each(listed, fits, f"a whole number from {limits.min} to {limits.max}", where)
    return np.array(listed, kind)


def _each(values: list[Any], fits: Any, wanted: str, where: str) -> None:
    for row, value in enumerate(values):
        if not fits(value):
            raise SpecError(f"{where}, row {row}: {value!r} is not {wanted}")
