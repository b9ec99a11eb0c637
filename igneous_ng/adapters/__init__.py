"""How microscopes and programs describe their tiles: an adapter each, found by its name.

Listing them reads their source and imports none. Another package adds its own by an entry point in the group
``igneous_ng.adapters``: any name, and as value a module such as :mod:`igneous_ng.adapters.base` asks for.
"""

from __future__ import annotations

import ast
import functools
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from igneous_ng import plugins, spelling
from igneous_ng.errors import SpecError

if TYPE_CHECKING:
    from igneous_ng.adapters.base import Adapter

GROUP = "igneous_ng.adapters"


@dataclass(frozen=True)
class Entry:
    """Where an adapter is defined, and the first line of its documentation."""

    name: str
    module: str
    summary: str


@functools.cache
def entries() -> dict[str, Entry]:
    """Every adapter by name, in alphabetical order."""
    found: dict[str, Entry] = {}
    for module, path in plugins.modules(GROUP, Path(__file__).parent):
        entry = _scan(module, path)
        if entry is None:
            continue
        if entry.name in found:
            raise SpecError(
                f"two adapters are called {entry.name!r}: {found[entry.name].module} and {module}; "
                "uninstall one of them"
            )
        found[entry.name] = entry
    return dict(sorted(found.items()))


def load(name: str) -> Adapter:
    """The adapter called ``name``; SpecError lists those there are."""
    entry = entries().get(name)
    if entry is None:
        raise SpecError(f"no format of tiles is called {name!r}; {spelling.choices(name, entries())}")
    return cast("Adapter", importlib.import_module(entry.module))


def _scan(module: str, path: Path) -> Entry | None:
    """The adapter in a file; None where it is none, but what adapters share."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "NAME":
            return Entry(ast.literal_eval(node.value), module, (ast.get_docstring(tree) or "").split("\n")[0])
    return None
