"""Pages of the documentation, as tests look at them: their blocks, and the commands of ours in these."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
_END = {"&&", "||", "|", ";", "&", ">", ">>", "<", "(", ")"}
_COMMAND = """#!/bin/sh
# `view` serves until somebody ends it: here that is when it has said where.
if [ "$1" != view ] || echo "$*" | grep -q -e --screenshot; then exec {python} -m igneous_ng.cli "$@"; fi
said=$(mktemp)
{python} -m igneous_ng.cli "$@" > "$said" 2>&1 &
until grep -q http "$said"; do kill -0 $! || {{ cat "$said"; exit 1; }}; sleep 0.2; done
cat "$said"
kill $!
"""


def written() -> list[Path]:
    """All pages that people wrote, those of the top of the repository among them."""
    return sorted([*ROOT.glob("*.md"), *(page for page in DOCS.rglob("*.md") if page.parent.name != "reference")])


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in these languages."""
    kinds = "|".join(languages)
    return re.findall(rf"^ *```(?:{kinds})\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def spans(page: Path) -> list[str]:
    """What stands in backticks within the text of a page."""
    text = re.sub(r"^ *(````?)\w*\n.*?^ *\1$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of ours in a script, without its name; what another program says there is 1."""
    for line in re.sub(r"\$\((?!igneous)[^)]*\)", "1", text.replace("\\\n", " ")).splitlines():
        if "igneous-ng " in line and not line.lstrip().startswith("#"):
            yield from _commands_of(line)


def _commands_of(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    for word in lexer:
        parts.append([]) if word in _END else parts[-1].append(word)
    for words in parts:
        at = next((number for number in range(len(words)) if _is_command(words, number)), None)
        if at is not None:
            yield words[at + 1 :]
        for word in words if at is None else []:
            if "igneous-ng " in word:
                yield from _commands_of(word)


def _is_command(words: list[str], at: int) -> bool:
    """Whether this word is our program, and no name of a thing that is called like it."""
    before = words[at - 1] if at else "do"
    return words[at].split("/")[-1] == "igneous-ng" and (before in ("do", "exec", "--") or "=" in before)


def environment(folder: Path) -> dict[str, str]:
    """The environment, with `igneous-ng` as this Python has it, and this tree; ``folder`` gets the command."""
    folder.mkdir()
    script = folder / "igneous-ng"
    script.write_text(_COMMAND.format(python=shlex.quote(sys.executable)), encoding="utf-8")
    script.chmod(0o755)
    paths = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return {**os.environ, **paths}
