"""What the code never does with data: unpickle, evaluate, run a shell."""

from __future__ import annotations

import ast
import functools
import pickle
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import igneous_ng
from igneous_ng.errors import DataError
from igneous_ng.formats import annotation_columns, point_tables, remaps, synapse_tables
from igneous_ng.kernels import boosted_trees
from igneous_ng.sources import open_source

PACKAGE = Path(igneous_ng.__file__).parent
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "jsonpickle"}
CALLS = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {"os.system", "os.popen", "torch.load", "torch.export.load", "pd.read_pickle", "np.fromregex"}


@functools.cache
def sources() -> list[tuple[Path, ast.AST]]:
    files = sorted(PACKAGE.rglob("*.py"))
    return [(path, node) for path in files for node in ast.walk(ast.parse(path.read_text()))]


def test_no_module_that_unpickles_is_imported_and_nothing_is_evaluated() -> None:
    found = []
    for path, node in sources():
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [one.name.split(".")[0] for one in node.names if one.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in MODULES:
            names = [node.module]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            names = [called] if called in CALLS | ATTRIBUTES else []
            if any(one.arg == "shell" for one in node.keywords):
                names.append("shell=")
        found += [(path.name, name) for name in names]
    assert found == []


def test_numpy_never_unpickles() -> None:
    loads = [node for _, node in sources() if isinstance(node, ast.Call) and ast.unparse(node.func) in
             ("np.load", "npy.read_array", "np.lib.format.read_array")]  # fmt: skip
    assert len(loads) >= 8
    for call in loads:
        assert any(one.arg == "allow_pickle" and ast.unparse(one.value) == "False" for one in call.keywords), (
            ast.unparse(call)
        )


WENT_OFF = Path(tempfile.mkdtemp()) / "off"


class Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return (open, (str(WENT_OFF), "w"))


def bombs() -> list[bytes]:
    """A plain pickle, and arrays of objects in both of numpy's files."""
    array, npy, npz = np.array([Bomb()], object), BytesIO(), BytesIO()
    np.save(npy, array, allow_pickle=True)
    names = ("old", "new", "pre", "post", "points", "segments", "arr_0")
    np.savez(npz, **dict.fromkeys(names, array))  # type: ignore[arg-type]  # numpy takes any names
    return [pickle.dumps(Bomb()), npy.getvalue(), npz.getvalue()]


@pytest.mark.parametrize("data", bombs(), ids=["pickle", "npy", "npz"])
def test_pickles_in_files_do_not_go_off(data: bytes, tmp_path: Path) -> None:
    for suffix in (".npy", ".npz"):
        path = tmp_path / f"file{suffix}"
        path.write_bytes(data)
        with pytest.raises((DataError, ValueError)):
            open_source(str(path), axes="x", dataset="old" if suffix == ".npz" else "")
        for parse in (remaps.parse, point_tables.decode, synapse_tables.decode, annotation_columns.parse_arrays):
            with pytest.raises((DataError, ValueError)):
                parse(data, f"file:///x{suffix}")
    with pytest.raises(DataError):
        boosted_trees.from_bytes(data, "x")
    assert not WENT_OFF.exists()
