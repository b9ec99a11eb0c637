"""Completion: scripts for shells, and what they are told, without importing what need not be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from igneous_ng import cli

CLI = [sys.executable, "-m", "igneous_ng.cli"]


def completed(*words: str) -> list[str]:
    """What bash is told behind these words: lines of kind and text."""
    asked = {"_IGNEOUS_NG_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(["igneous-ng", *words]),
             "COMP_CWORD": str(len(words))}  # fmt: skip
    done = subprocess.run(CLI, capture_output=True, text=True, check=True, env={**os.environ, **asked})
    return done.stdout.splitlines()


def test_commands_options_choices_and_paths_are_completed() -> None:
    assert completed("im") == ["plain,image"]
    assert completed("image", "down") == ["plain,downsample"]
    assert completed("segment", "train", "t") == ["plain,trees"]
    assert completed("annotate", "table", "cr") == ["plain,create"]
    assert completed("image", "downsample", "--num") == ["plain,--num-mips"]
    assert completed("image", "downsample", "x", "--method", "st") == ["plain,stride"]
    assert completed("image", "downsample", "./s") == ["file,./s"]
    assert completed("status", "./s") == ["file,./s"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_asks_this_program(shell: str) -> None:
    made = CliRunner().invoke(cli.main, ["completion", shell])
    assert made.exit_code == 0
    assert f"_IGNEOUS_NG_COMPLETE={shell}_complete" in made.output


def test_an_unknown_shell_is_refused_with_those_there_are() -> None:
    refused = CliRunner().invoke(cli.main, ["completion", "bsh"])
    assert refused.exit_code == 2
    assert "did you mean 'bash'" in refused.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_itself_completes(tmp_path: Path) -> None:
    program = tmp_path / "igneous-ng"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m igneous_ng.cli "$@"\n')
    program.chmod(0o755)
    script = (
        f'PATH="{tmp_path}:$PATH"; eval "$(igneous-ng completion bash)"; '
        "COMP_WORDS=(igneous-ng mesh f); COMP_CWORD=2; _igneous_ng_completion igneous-ng; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["forge"]


def test_completing_a_verb_imports_no_stage() -> None:
    code = (
        "import sys\n"
        "from igneous_ng import cli\n"
        "import click\n"
        "area = cli.main.get_command(click.Context(cli.main), 'image')\n"
        "found = area.shell_complete(click.Context(area), '')\n"
        "assert len(found) > 10, found\n"
        "print(*sorted(m for m in sys.modules if m == 'numpy' or m.startswith('igneous_ng.stages.')))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == []
