"""The nursery of a worker: as a copy of its process as good as a fresh one, and begun again where it was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_SCRIPT = """
import os, threading, time
from pathlib import Path
from igneous_ng.worker import machine
machine.one_thread_each()
from igneous_ng.worker import child
from igneous_ng.worker.crew import Crew

kept = open(__file__)
stop = threading.Event()
if {threads}:
    threading.Thread(target=stop.wait).start()
with Crew() as crew:
    crew.prepare()
    early = Path(f"/proc/self/task/{{os.getpid()}}/children").read_text().split()
    born = crew.fork()
    nursery = int(Path(f"/proc/self/task/{{os.getpid()}}/children").read_text())
    born.ask("settled", runs=[])
    events, alive = [], True
    while alive and not events:
        events, alive = born.events()
    folders = [Path(f"/proc/{{pid}}/fd") for pid in (nursery, born.pid)]
    targets = [os.readlink(file) for folder in folders for file in folder.iterdir()]
    command = Path(f"/proc/{{nursery}}/cmdline").read_text()
    born.close()
stop.set()
left = Path(f"/proc/self/task/{{os.getpid()}}/children").read_text().split()
print(len(early), events[0]["event"], __file__ in targets, "nursery" in command, left)
"""

_KILLED = """
from igneous_ng.errors import TransientError
from igneous_ng.worker.crew import Crew

begin = Crew._found
deaths = iter(range({deaths}))

def killed(crew):
    line = begin(crew)
    for _ in deaths:
        crew._nursery.kill()
        crew._nursery.wait()
        break
    return line

Crew._found = killed
with Crew() as crew:
    try:
        born = crew.fork()
        print("born", len(list(deaths)))
        born.close()
    except TransientError as error:
        print(error)
"""


def said(folder: Path, threads: int) -> str:
    return told(folder, _SCRIPT.format(threads=threads))


def told(folder: Path, text: str) -> str:
    """What a script of its own process prints."""
    script = folder / "script.py"
    script.write_text(text)
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100, env=os.environ)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_a_copy_of_this_process_makes_children_and_holds_none_of_its_files(tmp_path: Path) -> None:
    assert said(tmp_path, threads=0) == "1 settled False False []"


def test_where_there_are_threads_the_nursery_is_a_program_of_its_own(tmp_path: Path) -> None:
    assert said(tmp_path, threads=1) == "0 settled False True []"


def test_nurseries_that_are_killed_one_after_the_other_are_begun_again(tmp_path: Path) -> None:
    assert told(tmp_path, _KILLED.format(deaths=3)) == "born 0"


def test_where_every_nursery_is_killed_the_worker_says_so_and_ends(tmp_path: Path) -> None:
    assert "no process can be started" in told(tmp_path, _KILLED.format(deaths=100))
