"""Edges of a graph in the files and objects of other programs. Ids are whole numbers everywhere.

Edges come as tables, one after the other, with the columns of their :class:`Form`; only NPZ and NetworkX hold all at
once.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import ConfigurationError, SpecError

Array = npt.NDArray[Any]
Table = Mapping[str, Array]
SUFFIXES = (".csv", ".graphml", ".npz")


@dataclass(frozen=True)
class Form:
    """The columns of edges, of which the first two are the ends, and whether they lead from one end to the other."""

    columns: tuple[str, ...]
    directed: bool

    @property
    def values(self) -> tuple[str, ...]:
        """All columns but the ends."""
        return self.columns[2:]

    def rows(self, table: Table) -> Iterable[tuple[int, ...]]:
        """The rows of a table, in Python's integers."""
        return zip(*(table[name].tolist() for name in self.columns), strict=True)


SYNAPSES = Form(("pre", "post", "n", "voxels", "confidence", "n_exc", "n_inh", "x", "y", "z"), True)
CONTACTS = Form(
    ("segment", "partner", "area", "face_area", "faces_x", "faces_y", "faces_z", "x", "y", "z",
     "lo_x", "lo_y", "lo_z", "hi_x", "hi_y", "hi_z"), False,
)  # fmt: skip


def write(path: str, tables: Iterable[Table], segments: Iterable[int], form: Form = SYNAPSES) -> None:
    """Write a file whose kind its name tells; ``segments`` are the nodes. SpecError for another kind."""
    suffix = Path(path).suffix
    if suffix == ".csv":
        to_csv(path, tables, form)
    elif suffix == ".npz":
        to_npz(path, tables, form)
    elif suffix == ".graphml":
        to_graphml(path, tables, segments, form)
    else:
        raise SpecError(f"{path}: graphs are exported to files that end in {', '.join(SUFFIXES)}")


def to_csv(path: str, tables: Iterable[Table], form: Form = SYNAPSES) -> None:
    """A line an edge, with a heading."""
    with Path(path).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(form.columns)
        for table in tables:
            writer.writerows(form.rows(table))


def to_npz(path: str, tables: Iterable[Table], form: Form = SYNAPSES) -> None:
    """An array for each column."""
    found = list(tables)
    with Path(path).open("wb") as file:
        arrays: dict[str, Any] = {name: np.concatenate([table[name] for table in found]) for name in form.columns}
        np.savez_compressed(file, **arrays)


def to_graphml(path: str, tables: Iterable[Table], segments: Iterable[int], form: Form = SYNAPSES) -> None:
    """GraphML (Brandes et al. 2002), whose nodes are called by their segments."""
    names, way = form.values, "directed" if form.directed else "undirected"
    with Path(path).open("w") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n')
        file.writelines(f'<key id="{name}" for="edge" attr.name="{name}" attr.type="long"/>\n' for name in names)
        file.write(f'<graph edgedefault="{way}">\n')
        file.writelines(f'<node id="{segment}"/>\n' for segment in segments)
        for table in tables:
            for one, other, *values in form.rows(table):
                data = "".join(f'<data key="{name}">{v}</data>' for name, v in zip(names, values, strict=True))
                file.write(f'<edge source="{one}" target="{other}">{data}</edge>\n')
        file.write("</graph>\n</graphml>\n")


def to_networkx(tables: Iterable[Table], segments: Iterable[int], form: Form = SYNAPSES) -> Any:
    """A ``networkx.DiGraph`` or ``Graph`` with Python's integers as nodes, and the columns as attributes of edges."""
    try:
        import networkx
    except ImportError as error:
        raise ConfigurationError("graphs of NetworkX need networkx: pip install 'igneous-ng[networkx]'") from error
    graph = networkx.DiGraph() if form.directed else networkx.Graph()
    graph.add_nodes_from(segments)
    for table in tables:
        rows = form.rows(table)
        graph.add_edges_from((one, other, dict(zip(form.values, rest, strict=True))) for one, other, *rest in rows)
    return graph
