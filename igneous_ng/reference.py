"""``docs/reference``: a page and a JSON Schema for each stage, made from the stage itself; and a table of the modules.

``python -m igneous_ng.reference`` writes them; with ``--check`` it fails where one on disk is stale.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import sys
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, Literal

from igneous_ng import catalog
from igneous_ng.cli import manual
from igneous_ng.geometry import Box
from igneous_ng.stage import Layer, Stage, describe, field_types, plain

_ROOT = Path(__file__).parent.parent
FOLDER = _ROOT / "docs" / "reference"
_MODULES = """# Modules

Made by `python -m igneous_ng.reference` from the layers in pyproject.toml and the modules' own words. A module imports
only what stands in rows below its own.

| | module | |
| --- | --- | --- |
"""
_WORDS = {
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    str: {"type": "string"},
}


def page(cls: type[Stage]) -> str:
    """The reference page of a stage, in Markdown."""
    head = f"# {cls.name}\n\n{inspect.cleandoc(cls.__doc__ or '')}\n\n"
    usage = " ".join(f.name.upper() for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING)
    table = "| field | type | default | meaning |\n| --- | --- | --- | --- |\n"
    rows = "".join(_row(field, field_types(cls)[field.name]) for field in dataclasses.fields(cls))
    note = f"\nVersion {cls.version} of the task. Fields are options of the command: `num_mips` is `--num-mips`.\n"
    example = f"Example:\n\n    igneous-ng {cls.name} {cls.example}\n\n" if cls.example else ""
    return f"{head}    igneous-ng {cls.name} {usage} [OPTIONS]\n\n{example}{table}{rows}{note}"


def _row(field: dataclasses.Field[Any], hint: Any) -> str:
    default = "required" if field.default is dataclasses.MISSING else f"`{json.dumps(plain(field.default))}`"
    return f"| `{field.name}` | {describe(hint)} | {default} | {field.metadata['help']} |\n"


def schema(cls: type[Stage]) -> str:
    """The JSON Schema of a stage's task."""
    hints = field_types(cls)
    own = {"stage": {"const": cls.name}, "version": {"const": cls.version}}
    fields = {f.name: {**_type(hints[f.name]), "description": f.metadata["help"]} for f in dataclasses.fields(cls)}
    value = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": cls.name,
        "type": "object",
        "properties": {**own, **fields},
        "required": [*own, *fields],
        "additionalProperties": False,
    }
    return json.dumps(value, indent=2) + "\n"


def _type(hint: Any) -> dict[str, Any]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_type(a) for a in args if a is not type(None)] + [{"type": "null"}]}
    if origin is Literal:
        return {"enum": list(args)}
    if origin is tuple:
        sides = {} if args[-1] is Ellipsis else {"minItems": len(args), "maxItems": len(args)}
        return {"type": "array", "items": _type(args[0]), **sides}
    if hint is Box:
        return {"type": "string", "pattern": r"^-?\d+:-?\d+,-?\d+:-?\d+,-?\d+:-?\d+$"}
    return {"type": "string", "format": "uri"} if hint is Layer else _WORDS[hint]


def files() -> dict[str, str]:
    """Every generated file by its name in ``docs/reference``."""
    made = {"README.md": _index(), "commands.md": manual.page(), "modules.md": modules()}
    for name in catalog.entries():
        cls, stem = catalog.load(name), name.replace(" ", "-")
        made[f"{stem}.md"], made[f"{stem}.schema.json"] = page(cls), schema(cls)
    for name in catalog.chains():
        made[f"{name.replace(' ', '-')}.md"] = page(catalog.load(name))
    return made


def modules() -> str:
    """Which modules there are, in their layers, each in the words of its own first line."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rows = []
    for number, layer in enumerate(project["tool"]["importlinter"]["contracts"][0]["layers"], 1):
        names = layer.split(" | ")
        first = [number, *[""] * (len(names) - 1)]
        rows += [f"| {at} | `{name}` | {_first_line(name)} |" for at, name in zip(first, names, strict=True)]
    return _MODULES + "\n".join(rows) + "\n"


def _first_line(module: str) -> str:
    path = _ROOT / "igneous_ng" / f"{module}.py"
    source = path if path.exists() else path.with_suffix("") / "__init__.py"
    words = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return " ".join(words.partition("\n\n")[0].split()).replace("|", "\\|")


def _index() -> str:
    rows = [
        f"| [{name}]({name.replace(' ', '-')}.md) | {entry.summary}{' (a chain of stages)' if entry.chain else ''} |"
        for name, entry in catalog.everything().items()
    ]
    head = (
        "# Stages\n\nMade by `python -m igneous_ng.reference` from the stages themselves. What is no stage, such as\n"
    )
    head += "`execute`, `status` and `view`, is among the [commands](commands.md).\n\n"
    head += "| stage | |\n| --- | --- |\n"
    return head + "\n".join(rows) + "\n"


def stale(folder: Path) -> dict[str, str | None]:
    """The files in ``folder`` that differ from what the stages say, lack, or belong to no stage (None), and that."""
    made = files()
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*")}
    return {name: made.get(name) for name in sorted(made.keys() | there.keys()) if made.get(name) != there.get(name)}


def write(folder: Path) -> None:
    """Make ``folder`` hold exactly the generated files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in stale(folder).items():
        if text is None:
            (folder / name).unlink()
        else:
            (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if "--check" in sys.argv:
        if wrong := stale(FOLDER):
            sys.exit(f"stale: {', '.join(wrong)}; run python -m igneous_ng.reference")
    else:
        write(FOLDER)
