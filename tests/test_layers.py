"""The shape of the house: import direction, one door for each outside system, light start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_imports_go_one_way_and_each_outside_system_has_one_door() -> None:
    pytest.importorskip("importlinter")
    # In a process of its own, for it configures logging and thereby silences loggers that are there.
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_listing_commands_imports_no_stage_and_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from igneous_ng import cli\n"
        "assert CliRunner().invoke(cli.main, ['--help']).exit_code == 0\n"
        "print(*sorted(m for m in sys.modules if m in ('numpy', 'cloudvolume', 'cloudfiles', 'taskqueue', 'boto3')"
        " or m.startswith('igneous_ng.stages.')))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == []


def test_the_supervisor_never_imports_heavy_libraries() -> None:
    code = (
        "import sys\n"
        "import igneous_ng.worker.supervisor\n"
        "print(*sorted(m for m in sys.modules if m in ('numpy', 'cloudvolume', 'cloudfiles', 'taskqueue', 'zmesh')))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == []
