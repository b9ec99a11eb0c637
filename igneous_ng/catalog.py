"""Which stages there are. Listing them reads their source and imports none; a stage is imported when it is used.

A stage of this package is a class in ``igneous_ng/stages/``, and so is a chain of stages. Another package adds its own
by an entry point in the group ``igneous_ng.stages``: any name, and as value the module that holds the classes.
"""

from __future__ import annotations

import ast
import functools
import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from igneous_ng import plugins, spelling
from igneous_ng.errors import SpecError, VersionError
from igneous_ng.stage import Stage, from_dict

GROUP = "igneous_ng.stages"
_FOLDER = Path(__file__).parent / "stages"


@dataclass(frozen=True)
class Entry:
    """Where a stage is defined, the first line of its documentation, and whether it is a chain."""

    name: str
    module: str
    cls: str
    summary: str
    chain: bool = False


def entries() -> dict[str, Entry]:
    """Every stage by name, in alphabetical order."""
    return {name: entry for name, entry in everything().items() if not entry.chain}


def chains() -> dict[str, Entry]:
    """Every chain by name, in alphabetical order. No message names one."""
    return {name: entry for name, entry in everything().items() if entry.chain}


@functools.cache
def everything() -> dict[str, Entry]:
    """Stages and chains by name, in alphabetical order."""
    found: dict[str, Entry] = {}
    for module, path in plugins.modules(GROUP, _FOLDER):
        for entry in _scan(module, path):
            if entry.name in found:
                raise SpecError(
                    f"two stages are called {entry.name!r}: in {found[entry.name].module} and {module}; "
                    "uninstall one of them"
                )
            found[entry.name] = entry
    return dict(sorted(found.items()))


_HEAD = re.compile(r'^class \w+\([^:]*\bname=[^:]*\):\n {4}"""[^"]*"""', re.MULTILINE)
_NAMED = re.compile(r"^class \w+\([^:]*\bname=", re.MULTILINE)


def _classes(source: str) -> list[ast.stmt]:
    """The stages of a module, if it can be without their bodies: to parse all would take most of a command's time."""
    heads = [found[0] for found in _HEAD.finditer(source)]
    whole = len(heads) < len(_NAMED.findall(source))  # some are written otherwise
    return ast.parse(source if whole else "\n".join(heads)).body


def _scan(module: str, path: Path) -> Iterator[Entry]:
    for node in _classes(path.read_text(encoding="utf-8")):
        if isinstance(node, ast.ClassDef):
            for keyword in node.keywords:
                if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
                    summary = (ast.get_docstring(node) or "").split("\n")[0]
                    chain = any(isinstance(base, ast.Name) and base.id == "Chain" for base in node.bases)
                    yield Entry(str(keyword.value.value), module, node.name, summary, chain)


def load(name: str) -> type[Stage]:
    """The stage or chain called ``name``; SpecError lists those there are."""
    entry = everything().get(name)
    if entry is None:
        raise SpecError(f"no stage is called {name!r}; {spelling.choices(name, everything())}")
    cls: type[Stage] = getattr(importlib.import_module(entry.module), entry.cls)
    return cls


def decode(raw: Any) -> Stage:
    """The stage that JSON values describe, checked field by field; VersionError where only others know it."""
    if not isinstance(raw, dict) or not isinstance(raw.get("stage"), str):
        raise SpecError(f"a task is a JSON object with the name of a stage, got {json.dumps(raw)[:80]}")
    if raw["stage"] not in entries():
        raise VersionError(
            f"no stage is called {raw['stage']!r} here; there are: {', '.join(entries())}; "
            "install the version or the package that has it"
        )
    return from_dict(load(raw["stage"]), raw)
