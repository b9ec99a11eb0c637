"""How commands answer: as JSON, quietly, in colours, with progress that suits where it is shown."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from igneous_ng import cli
from igneous_ng.cli import manual, telling
from igneous_ng.reporting import terminal

CLI = [sys.executable, "-m", "igneous_ng.cli"]
NO_ANSWER = {
    "execute": "it works; --log has a line of JSON for each task",
    "view": "it serves until it is ended",
    "completion": "it writes a script",
    "demo": "its report tells",
    "provenance": "it answers in JSON in any case",
}
"""Commands that answer nothing that JSON could have, and why."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "em.npy", np.arange(32 * 16 * 16, dtype=np.uint8).reshape(32, 16, 16))
    return tmp_path


def said(*words: str) -> Any:
    done = CliRunner().invoke(cli.main, words)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_every_command_that_answers_something_can_in_json() -> None:
    without = {
        name
        for name, command in manual.fixed()
        if not any(isinstance(param, click.Option) and "--json" in param.opts for param in command.params)
    }
    assert without == set(NO_ANSWER)


def test_a_run_from_its_plan_to_its_undoing_is_told_in_json(folder: Path) -> None:
    words = ("image", "create", "em.npy", "em", "--axes", "xyz")
    plan = said(*words, "--dry-run", "--json")
    assert (plan["units"], plan["message"]["run"]["stage"]["stage"]) == (1, "image create")
    (queued,) = said(*words, "--queue", "fq://queue", "--json")["runs"]
    assert queued["units"] == 1
    assert said("pause", "em", "--json")["id"] == queued["id"]
    assert said("resume", "em", "--json")["id"] == queued["id"]
    assert said("queue", "release", "fq://queue", "--json") == {"leases": 0}
    assert said("queue", "dead", "retry", "fq://queue", "--json") == {"messages": 0}
    assert said("queue", "purge", "fq://queue", "--yes", "--json") == {"messages": 1}
    assert said("cancel", "em", "--json")["folder"] == queued["folder"]
    (done,) = said("image", "create", "em.npy", "other", "--axes", "xyz", "--json")["runs"]
    assert (done["stage"], done["units"]) == ("image create", 1)
    assert said("redo", "other", "--json") == {"waves": [], "unchecked": 0}
    assert said("prune", "other", "--json")["runs"] == []
    assert said("clean", "other", "--dry-run", "--json")["removed"] is False
    assert said("archive", "other", "--json") == {"layer": f"file://{folder}/other", "archive": True}
    assert said("archive", "other", "--release", "--json")["archive"] is False
    assert said("rollback", "other", "--json")[0]["id"] == done["id"]


def test_quiet_leaves_answers_and_what_goes_wrong(folder: Path) -> None:
    for words in (("-q", "image", "create"), ("image", "create", "-q")):
        done = CliRunner().invoke(cli.main, [*words, "em.npy", f"em{words.index('-q')}", "--axes", "xyz"])
        assert (done.exit_code, done.output) == (0, "")
    wrong = CliRunner().invoke(cli.main, ["-q", "image", "downsample", "nowhere"])
    assert wrong.exit_code == 1
    assert "there is no layer" in wrong.stderr


@pytest.mark.parametrize(
    ("environment", "red"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_a_pipe_has_colours_only_where_they_are_forced(environment: dict[str, str], red: bool) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "NO_COLOR")}
    done = subprocess.run(
        [*CLI, "status", "/nowhere"], capture_output=True, text=True, check=False, env={**clean, **environment}
    )
    assert done.returncode == 1
    assert ("\x1b[31m" in done.stderr) is red
    assert "Error:" in done.stderr


def test_the_environment_speaks_for_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert telling.coloured() is None
    monkeypatch.setenv("NO_COLOR", "1")
    assert telling.coloured() is False


@pytest.mark.parametrize(
    ("environment", "drawn"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": ""}, False),
        ({"TERM": "xterm", "CI": "1"}, False),
    ],
)
def test_a_live_view_is_for_terminals_that_can_show_it(
    environment: dict[str, str], drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "CI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    leader, follower = pty.openpty()
    try:
        with os.fdopen(follower, "w") as shown:
            monkeypatch.setattr(sys, "stderr", shown)
            assert (terminal.console() is not None) is drawn
    finally:
        os.close(leader)
    monkeypatch.setattr(sys, "stderr", sys.__stdout__)


def on_terminal(words: list[str], **environment: str) -> str:
    """What a command shows in a terminal of 60 columns."""
    leader, follower = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR", "FORCE_COLOR")}
    size = {"COLUMNS": "60", "LINES": "24", "TERM": "xterm"}
    process = subprocess.Popen([*CLI, *words], stdout=follower, stderr=follower, env={**kept, **size, **environment})
    os.close(follower)
    shown = b""
    while True:
        try:
            shown += (more := os.read(leader, 65536))
        except OSError:
            break  # nobody writes any more
        if not more:
            break
    os.close(leader)
    assert process.wait() == 0
    return shown.decode()


@pytest.mark.long
def test_in_a_narrow_terminal_no_line_is_broken_and_colours_can_be_refused(folder: Path) -> None:
    words = ["image", "create", "em.npy"]
    shown = on_terminal([*words, "em", "--axes", "xyz"])
    assert "image create" in shown
    assert "1 of 1" in shown
    assert "━" not in shown, "there is no room for a bar"
    assert "\x1b[1m" in shown
    plain = on_terminal([*words, "again", "--axes", "xyz"], NO_COLOR="1")
    assert "\x1b[3" not in plain
    lines = on_terminal([*words, "dumb", "--axes", "xyz"], TERM="dumb")
    assert "\x1b" not in lines
    assert "image create: 0 of 1 unit" in lines
