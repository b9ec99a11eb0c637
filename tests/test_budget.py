"""The budget of the architecture, measured over the whole tree. What leaves it is named here, each with its reason.

Complexity and arguments are counted by ruff on every check; here it is held that ruff still does, and where it is told
not to.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("igneous_ng", "tests", "bench", "examples")
FILE, FUNCTION, USUAL, ARGUMENTS, COMPLEXITY, REPEATED = 400, 60, 25, 6, 10, 8
"""Lines of a file; of a function; of nine functions in ten; arguments; branches; lines that stand in two places."""

LONG_FILES = {
    "bench/align.py": "one benchmark of all of alignment: its parts share data, bounds and bookkeeping",
}
LONG_FUNCTIONS: dict[str, str] = {}
MANY_ARGUMENTS = {
    "igneous_ng/cli/verifying.py": "click hands each option of a command over as an argument",
    "igneous_ng/formats/info.py": "the eight things that define a volume, all by name",
    "igneous_ng/viewer/view.py": "the options of `view`, one each, all by name",
}
TESTED_ELSEWHERE = {
    "igneous_ng.adapters": "found by their names: test_adapters*.py and test_ingest_*.py read with each of them",
    "igneous_ng.cli": "by the commands themselves: test_cli*.py",
    "igneous_ng.formats.arrow_parts": "Parquet and Feather tables of others: test_stage_synapse_import.py",
    "igneous_ng.intensities": "how bright tiles are shown: test_stage_stitch_render.py",
    "igneous_ng.kernels.subpixel": "the last step of matching tiles: test_stage_stitch_match.py, against known shifts",
    "igneous_ng.models.onnx": "loaded by the kind of a model: test_models.py",
    "igneous_ng.models.torch": "loaded by the kind of a model: test_models.py",
    "igneous_ng.pages": "parts of one page: test_pages.py",
    "igneous_ng.partner_rows": "the rows of synapses: test_stage_synapse_assign.py",
    "igneous_ng.registering": "steps of one decision: test_stage_ingest_register.py",
    "igneous_ng.sources.whole": "by each format that is read whole: test_source_more.py",
}
DEF = re.compile(r"( *)(?:async )?def (\w+)")
IMPORT = re.compile(
    r"^ *from (igneous_ng[\w.]*) import (?:\(([^)]*)\)|(.*))$|^ *import (igneous_ng[\w.]*)", re.MULTILINE
)
ENDINGS = (".py", ".pyi", ".cpp", ".hpp", ".sh")


class Function(NamedTuple):
    """A function, where it stands, and its lines."""

    where: str
    lines: int


def files(part: str) -> list[Path]:
    return sorted(
        path for path in (ROOT / part).rglob("*") if path.suffix in ENDINGS and "__pycache__" not in path.parts
    )


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def functions(part: str) -> Iterator[Function]:
    """By their indentation, which the formatter keeps: to parse the tree would take ten times as long."""
    for path in (path for path in files(part) if path.suffix == ".py"):
        lines = text(path).splitlines()
        for at, line in enumerate(lines):
            if found := DEF.match(line):
                yield Function(f"{name(path)}:{found[2]}", length(lines, at, found[1]))


def length(lines: list[str], at: int, indent: str) -> int:
    """Lines of the function that begins at ``at``: up to the last one that stands deeper, or ends its arguments."""
    last = at
    for number in range(at + 1, len(lines)):
        line = lines[number]
        if line.strip():
            if not line.startswith((f"{indent} ", f"{indent})")):
                break
            last = number
    return last - at + 1


@pytest.mark.parametrize("part", PARTS)
def test_no_file_is_too_long(part: str) -> None:
    sizes = {name(path): len(text(path).splitlines()) for path in files(part)}
    long = {where: lines for where, lines in sizes.items() if lines > FILE and where not in LONG_FILES}
    assert not long, f"more than {FILE} lines; part the file by its ideas, or name it in LONG_FILES with a reason"


@pytest.mark.parametrize("part", PARTS)
def test_functions_are_short(part: str) -> None:
    found = sorted(functions(part), key=lambda one: one.lines)
    long = [one for one in found if one.lines > FUNCTION and one.where not in LONG_FUNCTIONS]
    assert not long, f"more than {FUNCTION} lines; part the function, or name it in LONG_FUNCTIONS with a reason"
    assert found[len(found) * 9 // 10].lines <= USUAL, f"of ten functions nine have at most {USUAL} lines"


def test_ruff_counts_arguments_and_branches_and_is_told_not_to_only_where_there_is_a_reason() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    assert lint["mccabe"]["max-complexity"] == COMPLEXITY
    assert lint["pylint"]["max-args"] == ARGUMENTS
    assert {"C90", "PLR0913", "PLR0912", "PLR0915"} <= set(lint["select"])
    assert not {"C90", "C901", "PLR0913", "PLR0912", "PLR0915"} & set(lint["ignore"])
    told = {name(path) for path in files("igneous_ng") if re.search(r"noqa: [A-Z0-9, ]*(PLR09|C90)", text(path))}
    assert told == set(MANY_ARGUMENTS)


def test_every_module_is_asked_by_a_test() -> None:
    """By name; or, of what only one thing uses, through the modules right above it."""
    modules = {module(path): imports(path) for path in files("igneous_ng") if path.suffix == ".py"}
    asked = {found for path in files("tests") if path.suffix == ".py" for found in imports(path)}
    through = {found for above, below in modules.items() if above in asked for found in below}
    left = {one for one in modules if one not in asked | through and not excused(one)}
    assert not left, "no test asks for them: write one, or name them in TESTED_ELSEWHERE with what does"


def excused(one: str) -> bool:
    return any(one == other or one.startswith(f"{other}.") for other in TESTED_ELSEWHERE)


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def imports(path: Path) -> frozenset[str]:
    """What a file imports of the package, anywhere in it; ``from a import b`` may mean the module ``a.b``."""
    found = set[str]()
    for package, many, few, whole in IMPORT.findall(text(path)):
        words = (many or few).replace(",", " ").split()
        found |= {package or whole, *(f"{package}.{word}" for word in words if package)}
    return frozenset(found)


def test_no_code_stands_in_two_places() -> None:
    places: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for path in (path for path in files("igneous_ng") if path.suffix != ".pyi"):
        lines = list(code(text(path)))
        for at in range(len(lines) - REPEATED + 1):
            window = lines[at : at + REPEATED]
            places[tuple(said for _, said in window)].append(f"{name(path)}:{window[0][0]}")
    twice = [found for found in places.values() if len(found) > 1]
    assert not twice, f"{REPEATED} lines stand in two places; write them once"


def code(source: str) -> Iterator[tuple[int, str]]:
    """Lines that say something, with their numbers: no blanks, comments, brackets alone, imports."""
    without = IMPORT.sub(lambda found: "\n" * found[0].count("\n"), source)
    for number, line in enumerate(without.splitlines(), 1):
        said = line.strip()
        if len(said) > 3 and not said.startswith(("#", "//", "from ", "import ", '"""')):
            yield number, said
