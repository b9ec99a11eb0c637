"""A log of what processes open for writing, remove, rename, start or unpickle: as `sitecustomize` on their path."""

from __future__ import annotations

from pathlib import Path

_HOOK = """
import os, sys
_LOG, _SECRET = os.environ["WATCH_LOG"], os.environ["WATCH_SECRET"]
_BUSY = False
_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
            "os.chown", "shutil.rmtree", "os.utime", "os.setxattr"}
_OTHERS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pickle.find_class", "socket.connect",
           "socket.bind"}

def _say(what, args):
    global _BUSY
    if _BUSY:
        return
    _BUSY = True
    try:
        handle = os.open(_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, (what + "\\t" + "\\t".join(map(ascii, args)) + "\\n").encode())
        os.close(handle)
    finally:
        _BUSY = False

def _hook(event, args):
    if event == "open":
        path, mode, flags = args
        if isinstance(path, int):
            return
        path = os.path.realpath(os.fsdecode(path))
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND):
            _say("write", [path])
        elif path.startswith(_SECRET):
            _say("read", [path])
    elif event == "os.listdir" and os.path.realpath(os.fsdecode(args[0] or ".")).startswith(_SECRET):
        _say("read", [os.fsdecode(args[0])])
    elif event in _CHANGES:
        for path in args[:2]:
            if isinstance(path, (str, bytes)):
                folder, name = os.path.split(os.path.abspath(os.fsdecode(path)))
                _say("write", [os.path.join(os.path.realpath(folder), name)])
    elif event in _OTHERS:
        _say(event, args[:2])

sys.addaudithook(_hook)
"""


def install(folder: Path, log: Path, secret: Path) -> dict[str, str]:
    """Variables by which Python programs started with them log to ``log``; reads only below ``secret``."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_HOOK)
    return {"PYTHONPATH": str(folder), "WATCH_LOG": str(log), "WATCH_SECRET": str(secret)}


def events(log: Path) -> list[tuple[str, str]]:
    """What was logged: a word and its details."""
    import ast

    found = []
    for line in log.read_text().splitlines():
        what, *details = line.split("\t")
        found.append((what, ast.literal_eval(details[0]) if what in ("write", "read") else "\t".join(details)))
    return found
