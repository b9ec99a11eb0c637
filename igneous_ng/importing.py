"""A table of synapses of others while it becomes one of ours: the file in parts, the plan, and the rows in portions.

What is read of a part is written portion by portion, so that the task of a portion reads its rows and no others.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import desks, folders
from igneous_ng.block_groups import Groups
from igneous_ng.errors import DataError
from igneous_ng.formats import arrow_parts, synapse_tables
from igneous_ng.formats.synapse_tables import Columns, Reading
from igneous_ng.geometry import Vec3f, vec
from igneous_ng.io import IO
from igneous_ng.spanned import Spanned
from igneous_ng.synapses import Frame

Array = npt.NDArray[Any]
_WORD = 8  # bytes
_SWOLLEN = 8  # bytes of numbers and words of Python for each of a file of text
ROW = 900
"""Bytes of a row in all its forms while it is converted."""


@dataclass(frozen=True)
class Source:
    """The file at ``url``: Parquet and Feather in parts, other forms as one."""

    io: IO
    url: str

    @cached_property
    def names(self) -> list[str]:
        """The columns."""
        return self._parts.names if self._parts is not None else list(self._whole[0])

    @property
    def resolution(self) -> Vec3f | None:
        """Voxels in nm, where the file tells them."""
        return None if self._parts is not None else self._whole[1]

    def __len__(self) -> int:
        return max(1, len(self._parts)) if self._parts is not None else 1

    def bytes(self, part: int) -> int:
        """What :meth:`read` of all columns takes."""
        if self._parts is not None:
            return self._parts.bytes(part) if len(self._parts) else 0
        return _SWOLLEN * self._size

    def read(self, part: int, names: list[str]) -> Columns:
        """Some columns of a part."""
        if self._parts is None:
            return {name: self._whole[0][name] for name in names}
        return self._parts.read(part, names) if len(self._parts) else {}

    def rows(self, part: int, reading: Reading) -> Columns:
        """The rows of a part; DataError names the first that is none."""
        raw = self.read(part, reading.names)
        empty = not raw or not len(next(iter(raw.values())))
        return {} if empty else synapse_tables.rows_of(raw, reading, lambda row, wrong: self._refused(part, row, wrong))

    def _refused(self, part: int, row: int, wrong: str) -> DataError:
        before = sum(self._count(one) for one in range(part)) if self._parts is not None else 0
        return DataError(f"{self.url}, row {before + row + 1}: {wrong}; correct the file, or leave the row out")

    def outside(self, part: int, row: int, frame: Frame, voxel: Array) -> DataError:
        """The error of a row, counted from 0 in its part, that lies outside of a table."""
        return self._refused(part, row, f"voxel {vec(voxel)} is outside of {frame.bounds}")

    def _count(self, part: int) -> int:
        return len(next(iter(self.read(part, self.names[:1]).values())))

    @property
    def _size(self) -> int:
        return folders.size(self.url) or 0

    @cached_property
    def _parts(self) -> arrow_parts.Parts | None:
        start = self.io.peek(self.url, (0, 6)) if self._size > len(arrow_parts.MAGIC[1]) else b""
        if not (start or b"").startswith(arrow_parts.MAGIC):
            return None
        file: Any = Spanned(self.io, self.url)
        return arrow_parts.Parts(file, file.size, self.url)

    @cached_property
    def _whole(self) -> tuple[Columns, Vec3f | None]:
        data = self.io.get(self.url)
        if data is None:
            raise DataError(f"{self.url}: there is no such file; check the path")
        return synapse_tables.decode(data, self.url)


@dataclass(frozen=True)
class Plan:
    """What is made of which file, in how many parts."""

    frame: Frame
    reading: Reading
    parts: int

    def to_json(self) -> dict[str, Any]:
        """The plan in JSON's types."""
        reading = asdict(self.reading)
        reading["columns"] = {role: list(names) for role, names in self.reading.columns.items()}
        lists = {name: list(reading[name]) for name in ("resolution", "nothing")}
        return {"frame": self.frame.to_json(), "reading": {**reading, **lists}, "parts": self.parts}

    @classmethod
    def parse(cls, raw: Any, where: str) -> Plan:
        """The plan that :meth:`to_json` gave; DataError, naming ``where``, for another value."""
        try:
            reading = dict(raw["reading"])
            reading["columns"] = {role: tuple(names) for role, names in reading["columns"].items()}
            reading |= {name: tuple(reading[name]) for name in ("resolution", "nothing")}
            return cls(Frame.parse(raw["frame"], where), Reading(**reading), int(raw["parts"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: not a plan of an import ({error!r}); import again") from error

    @cached_property
    def portions(self) -> Groups:
        """The portions."""
        return Groups(self.frame)


@dataclass(frozen=True)
class Desk(desks.Desk):
    """The folder ``TABLE/work``, where rows are until they are sorted."""

    again = "run `synapse read` again"

    @property
    def url(self) -> str:
        """Where the folder is."""
        return f"{self.layer}/work"

    def begin(self, plan: Plan) -> None:
        """Write the plan, or accept the same; SpecError says in what another one differs."""
        desks.agree(self.io, f"{self.url}/plan.json", plan.to_json(), "a table was read", f"remove {self.url}")

    @cached_property
    def plan(self) -> Plan:
        """The plan; DataError if there is none."""
        missing = f"{self.url}: no table is being imported here; run `synapse read` first"
        return desks.agreed(self.io, f"{self.url}/plan.json", Plan.parse, missing)

    def store(self, part: int, rows: Columns) -> None:
        """Write the rows of a part, ``voxel`` among their columns, portion by portion, and how many each has."""
        grid = self.plan.portions.grid
        count = len(grid)
        home = np.zeros(0, np.int64)
        if rows:
            x, y, z = (rows["voxel"] - grid.bounds.lo).T // grid.cell[0]
            home = x + grid.counts[0] * (y + grid.counts[1] * z)
        order = np.argsort(home, kind="stable")
        ends = np.searchsorted(home[order], np.arange(count + 1))
        for portion in np.flatnonzero(np.diff(ends)).tolist():
            mine = order[ends[portion] : ends[portion + 1]]
            self.put("portions", (part, portion, 0), {name: column[mine] for name, column in rows.items()})
        self.io.put(f"{self.url}/counts/{part}", np.diff(ends).astype("<u8").tobytes())

    def rows_in(self, portion: int) -> list[int]:
        """How many rows of each part lie in a portion."""
        span = (_WORD * portion, _WORD * (portion + 1))
        found = (self.get(f"{self.url}/counts/{part}", span) for part in range(self.plan.parts))
        return [int.from_bytes(word, "little") for word in found]

    def portion(self, number: int) -> Columns:
        """The rows of a portion, in the order of the file; empty where there are none."""
        parts = [part for part, rows in enumerate(self.rows_in(number)) if rows]
        found = [self.read("portions", (part, number, 0)) for part in parts]
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]} if found else {}
