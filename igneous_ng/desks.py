"""The folder where the stages of one piece of work leave what the next ones need: a plan, marks of phases, tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import columns
from igneous_ng.geometry import Box, Grid, Vec3
from igneous_ng.io import IO

Array = npt.NDArray[Any]
T = TypeVar("T")


class Gridded(ABC):
    """A plan of work in the cells of a grid."""

    @property
    @abstractmethod
    def grid(self) -> Grid:
        """All cells."""

    @property
    def shape(self) -> Vec3:
        """Cells along each axis."""
        return self.grid.counts

    def at(self, cell: Box) -> Vec3:
        """The place of a cell in the grid."""
        return self.grid.at(cell)

    def box(self, at: Vec3) -> Box:
        """The cell at a place of the grid."""
        return self.grid.box(at)


@dataclass(frozen=True)
class Desk(ABC):
    """A folder of ``layer``, and what lies there."""

    again: ClassVar[str]
    """What to do where an object is missing."""

    io: IO
    layer: str

    @property
    @abstractmethod
    def url(self) -> str:
        """Where the folder is."""

    def done(self, phase: str) -> None:
        """Enter that a phase is finished."""
        self.io.put_json(f"{self.url}/done/{phase}.json", {})

    def need(self, phase: str, command: str) -> None:
        """DataError unless a phase is finished."""
        if not self.io.exists(f"{self.url}/done/{phase}.json"):
            raise DataError(f"{self.url}: `{command}` has not finished; wait for it, or run it")

    def put(self, what: str, at: Vec3, arrays: Mapping[str, Array]) -> None:
        """Write a table of a cell or node at a place, in the folder ``what``."""
        self.io.put(self._name(what, at), columns.pack(arrays))

    def read(self, what: str, at: Vec3, names: Sequence[str] | None = None) -> dict[str, Array]:
        """What :meth:`put` wrote, or only the columns called ``names``; DataError if it is not there."""
        url = self._name(what, at)
        return columns.unpack(self.get(url), url, names)

    def size(self, what: str, at: Vec3) -> int:
        """Bytes of what :meth:`read` gives."""
        url = self._name(what, at)
        return columns.size(self.get(url, columns.HEAD_SPAN), url)

    def get(self, url: str, span: tuple[int, int] | None = None) -> bytes:
        """An object that must be there; DataError that says what to do where it is not."""
        data = self.io.get(url, span)
        if data is None:
            raise DataError(f"{url} is missing; {self.again}")
        return data

    def _name(self, what: str, at: Vec3) -> str:
        return f"{self.url}/{what}/{'-'.join(map(str, at))}"


def agree(io: IO, url: str, new: dict[str, Any], otherwise: str, instead: str) -> None:
    """Write a plan, or accept the same; SpecError says in what another one differs.

    ``otherwise`` is what was done by that one, such as "cells were labelled", ``instead`` what can be done about it.
    """
    old = io.get_json(url)
    if old is None:
        io.put_json(url, new)
        return
    other = old if isinstance(old, dict) else {}
    if top := [key for key in new if other.get(key) != new[key]]:
        before, after = _flat(other), _flat(new)
        keys = [key for key in after if before.get(key) != after[key]]
        said = "; ".join(f"{key} {before.get(key)} there, {after[key]} asked for" for key in keys) or ", ".join(top)
        raise SpecError(f"{url}: {otherwise} otherwise ({said}); ask for the same, or {instead}")


def agreed(io: IO, url: str, parse: Callable[[Any, str], T], missing: str) -> T:
    """The plan that :func:`agree` wrote, by its ``parse``; DataError, which says what is ``missing``, without one."""
    raw = io.get_json(url)
    if raw is None:
        raise DataError(missing)
    return parse(raw, url)


def _flat(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A plan with what its parts hold in their place."""
    found: dict[str, Any] = {}
    for key, value in plan.items():
        found |= value if isinstance(value, dict) else {key: value}
    return found
