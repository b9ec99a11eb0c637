"""CPU seconds of `igneous-ng --help` beside those of an empty Python; the smallest of ten runs each.

usage: python bench/startup.py
"""

from __future__ import annotations

import resource
import subprocess
import sys


def cpu(command: list[str]) -> float:
    """CPU seconds of one run of ``command``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


bare = min(cpu([sys.executable, "-c", "pass"]) for _ in range(10))
shown = min(cpu([sys.executable, "-m", "igneous_ng.cli", "--help"]) for _ in range(10))
print(f"python -c pass {bare:.3f} s, igneous-ng --help {shown:.3f} s: {shown - bare:.3f} s more")
