"""The command `execute`, as schedulers end it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import click
import pytest

from igneous_ng import run
from igneous_ng.cli.commands import PREEMPTED
from igneous_ng.cli.working import execute


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_supervisor_hears_any_is_an_interruption(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(5)
        pytest.fail("the signal was not heard")

    before: Callable[..., object] | int | None = signal.getsignal(number)
    monkeypatch.setattr(run, "execute", slow)
    with pytest.raises(SystemExit) as ended:
        execute.main(["fq://anywhere"], standalone_mode=False)
    assert ended.value.code == PREEMPTED
    assert signal.getsignal(number) is before, "who called has its own handler back"
    assert isinstance(execute, click.Command)
