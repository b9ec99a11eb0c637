"""Edges of a connectome graph in the files and objects of other programs. Ids are whole numbers everywhere.

Edges come as tables, one after the other, with the columns of :data:`EDGE`; only NPZ and NetworkX hold all at once.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import ConfigurationError, SpecError

Array = npt.NDArray[Any]
Table = Mapping[str, Array]
EDGE = ("pre", "post", "n", "voxels", "confidence", "n_exc", "n_inh", "x", "y", "z")
SUFFIXES = (".csv", ".graphml", ".npz")


def write(path: str, tables: Iterable[Table], segments: Iterable[int]) -> None:
    """Write a file whose kind its name tells; ``segments`` are the nodes. SpecError for another kind."""
    suffix = Path(path).suffix
    if suffix == ".csv":
        to_csv(path, tables)
    elif suffix == ".npz":
        to_npz(path, tables)
    elif suffix == ".graphml":
        to_graphml(path, tables, segments)
    else:
        raise SpecError(f"{path}: graphs are exported to files that end in {', '.join(SUFFIXES)}")


def to_csv(path: str, tables: Iterable[Table]) -> None:
    """A line an edge, with a heading."""
    with Path(path).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(EDGE)
        for table in tables:
            writer.writerows(_rows(table))


def to_npz(path: str, tables: Iterable[Table]) -> None:
    """An array for each column."""
    found = list(tables)
    with Path(path).open("wb") as file:
        arrays: dict[str, Any] = {name: np.concatenate([table[name] for table in found]) for name in EDGE}
        np.savez_compressed(file, **arrays)


def to_graphml(path: str, tables: Iterable[Table], segments: Iterable[int]) -> None:
    """GraphML (Brandes et al. 2002) of a directed graph, whose nodes are called by their segments."""
    with Path(path).open("w") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n')
        file.writelines(f'<key id="{name}" for="edge" attr.name="{name}" attr.type="long"/>\n' for name in EDGE[2:])
        file.write('<graph edgedefault="directed">\n')
        file.writelines(f'<node id="{segment}"/>\n' for segment in segments)
        for table in tables:
            for pre, post, *values in _rows(table):
                data = "".join(f'<data key="{name}">{v}</data>' for name, v in zip(EDGE[2:], values, strict=True))
                file.write(f'<edge source="{pre}" target="{post}">{data}</edge>\n')
        file.write("</graph>\n</graphml>\n")


def to_networkx(tables: Iterable[Table], segments: Iterable[int]) -> Any:
    """A ``networkx.DiGraph`` with Python's integers as nodes, and the columns as attributes of edges."""
    try:
        import networkx
    except ImportError as error:
        raise ConfigurationError("graphs of NetworkX need networkx: pip install 'igneous-ng[networkx]'") from error
    graph = networkx.DiGraph()
    graph.add_nodes_from(segments)
    for table in tables:
        graph.add_edges_from((pre, post, dict(zip(EDGE[2:], rest, strict=True))) for pre, post, *rest in _rows(table))
    return graph


def _rows(table: Table) -> Iterable[tuple[int, ...]]:
    return zip(*(table[name].tolist() for name in EDGE), strict=True)
