"""What results are made with: the code itself, Python and its packages, the system and the machine.

It is described once for each kind of environment and named by its digest, in ``<home>/runs/environments``.
"""

from __future__ import annotations

import functools
import getpass
import json
import os
import platform
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from blake3 import blake3

from igneous_ng import __version__
from igneous_ng.store import Store, digest

_PACKAGE = Path(__file__).parent
_DISTRIBUTION = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)(?:-py[\d.]+)?\.(?:dist|egg)-info")
_GPUS = Path("/proc/driver/nvidia/gpus")
_GIT_S = 10.0


@functools.cache
def own() -> dict[str, Any]:
    """This process's environment; nothing in it tells one machine of a kind from another."""
    return {
        "code": {"version": __version__, "digest": _code()},
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": _packages(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "accelerators": _accelerators(),
        "container": os.environ.get("IGNEOUS_NG_IMAGE", ""),
    }


@functools.cache
def name() -> str:
    """The digest by which it is known."""
    return digest(json.dumps(own(), sort_keys=True).encode())


def keep(store: Store, home: str) -> None:
    """Describe it among the runs of ``home``, if that is not done."""
    url = f"{home}/runs/environments/{name()}.json"
    if not store.exists(url):
        store.put_json(url, own())


def host() -> str:
    """The name of this machine."""
    return socket.gethostname()


def person() -> str:
    """Who asks, as far as the machine knows."""
    try:
        return f"{getpass.getuser()}@{host()}"
    except (OSError, KeyError):  # no such user, as in some containers
        return f"{os.getuid()}@{host()}"


@functools.cache
def revision() -> dict[str, Any]:
    """The commit of a checkout of this package and whether files differ from it; empty where it is none."""
    if not (_PACKAGE.parent / ".git").exists():
        return {}
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", _PACKAGE.name)
    return {} if commit is None else {"commit": commit, "changed": changed != ""}


def _git(*words: str) -> str | None:
    command = ["git", "-C", str(_PACKAGE.parent), *words]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def _code() -> str:
    """The digest of this package's own files, whatever made them: a commit, edits, a compiler."""
    hasher = blake3()
    for path in sorted(_PACKAGE.rglob("*")):
        if path.suffix in (".py", ".so", ".pyd"):
            hasher.update(f"{path.relative_to(_PACKAGE)}\0{path.stat().st_size}\0".encode())
            hasher.update(path.read_bytes())
    return hasher.hexdigest(length=16)


def _packages() -> dict[str, str]:
    """The version of each package that can be imported, by its name; told from the names of their folders."""
    found: dict[str, str] = {}
    for folder in map(Path, sys.path):
        for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
            if part := _DISTRIBUTION.fullmatch(entry.name):
                found.setdefault(part["name"].lower().replace("_", "-"), part["version"])
    return dict(sorted(found.items()))


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") if os.path.exists("/proc/cpuinfo") else open(os.devnull) as lines:  # noqa: PTH110, PTH123
        names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        return next(names, platform.processor())


def _accelerators() -> list[str]:
    """The model of each NVIDIA device."""
    pages = sorted(_GPUS.glob("*/information")) if _GPUS.is_dir() else []
    found = (re.search(r"Model:\s*(.+)", page.read_text()) for page in pages)
    return [model[1].strip() for model in found if model]
