"""Images built and run without a container engine: buildah on a base of debootstrap, then namespaces of the kernel.

What this machine needs to reach its package indices is handed to the build from outside; the Dockerfile is the one
that users have.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from igneous_ng import __version__

REPOSITORY = Path(__file__).parents[1]
TOOLS = ("apt-get", "buildah", "chroot", "debootstrap", "make", "pip", "setpriv", "unshare")
BASE = "localhost/base"

# As an engine does it: a root that cannot be written, /tmp in memory, few devices, the data; the command as PID 1.
_ENTER = """
root=$1 data=$2 user=$3 folder=$4; shift 4
mount --bind "$root" "$root"
mount -t tmpfs tmpfs "$root/dev"
for name in null zero full random urandom; do
  : > "$root/dev/$name"
  mount --bind "/dev/$name" "$root/dev/$name"
done
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/tmp"
mount --bind "$data" "$root/data"
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" env -i --chdir="$folder" "$@"
"""


def lacking() -> str:
    """What this machine lacks to build images and to run them; empty where it lacks nothing."""
    if os.geteuid() != 0:
        return "only root can build on a base of its own"
    if absent := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"not installed: {', '.join(absent)}"
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False).returncode:
        return "this machine allows no namespaces"
    return "" if mirror() else "apt knows no mirror of this release"


def release() -> str:
    """The name of this machine's release, such as bookworm."""
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line).get("VERSION_CODENAME", "")


def mirror() -> str:
    """Where this machine's own packages come from."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    wanted = (line.split()[0] for line in listed if line.split()[1:] == [release(), "main"])
    return next(wanted, "")


@dataclass(frozen=True)
class Buildah:
    """buildah with a store of its own in ``folder``, so that nothing stays behind."""

    folder: Path

    @property
    def command(self) -> list[str]:
        """The words before those of its own commands."""
        store, state = str(self.folder / "store"), str(self.folder / "state")
        return ["buildah", "--root", store, "--runroot", state, "--storage-driver", "vfs"]

    def run(self, *words: str) -> str:
        """One command; gives what it printed."""
        return subprocess.run([*self.command, *words], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()

    def base(self) -> None:
        """Make ``BASE``: this machine's release with Python and nothing else."""
        tree, archive = self.folder / "base", self.folder / "base.tar"
        command = [
            "unshare",
            "--mount",
            "debootstrap",
            "--variant=minbase",
            "--include=python3",
        ]  # its mounts end with it
        subprocess.run([*command, release(), str(tree), mirror()], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["tar", "-C", str(tree), "-cf", str(archive), "."], check=True)
        shutil.rmtree(tree)
        container = self.run("from", "scratch")
        self.run("add", "--quiet", container, str(archive), "/")
        self.run("commit", "--quiet", "--rm", container, BASE)
        archive.unlink()

    def image(self, name: str) -> str:
        """``make image`` on that base; gives the name of the image."""
        flags = ["--isolation=chroot", "--layers=false", "--format=docker", f"--build-arg=BASE={BASE}"]
        flags += ["--build-arg='BUILD_PACKAGES=g++ python3-dev python3-venv'", *self._indices()]
        words = [f"ENGINE={' '.join(self.command)}", f"IMAGE={name}", f"IMAGE_FLAGS={' '.join(flags)}"]
        subprocess.run(["make", "image", *words], cwd=REPOSITORY, check=True)
        return f"localhost/{name}:{__version__}"

    def _indices(self) -> Iterator[str]:
        """What lets pip reach in the build what it reaches here: its settings, and the folders that they name."""
        folder, settings = self.folder / "pip", pip_settings()
        folder.mkdir()
        if "cert" in settings:
            shutil.copy(settings["cert"], folder / "cert.pem")
            settings["cert"] = "/mnt/pip/cert.pem"
        lines = ["[global]", *(f"{name} = {value}" for name, value in settings.items())]
        (folder / "pip.conf").write_text("\n".join(lines) + "\n")
        indices = [
            urlsplit(word) for name in ("index-url", "extra-index-url") for word in settings.get(name, "").split()
        ]
        places = {
            Path(unquote(url.path)).parent for url in indices if url.scheme == "file"
        }  # files lie beside `simple`
        places |= {Path(word) for word in settings.get("find-links", "").split() if Path(word).is_dir()}
        yield from (f"--volume={place}:{place}:ro" for place in sorted(places))
        yield f"--volume={folder}:/mnt/pip:ro"
        yield f"--volume={folder / 'pip.conf'}:/etc/pip.conf:ro"


def pip_settings() -> dict[str, str]:
    """The settings of pip on this machine, those of the environment above those of files."""
    said = subprocess.run(["pip", "config", "list"], capture_output=True, text=True, check=True).stdout
    pairs = [line.partition("=") for line in said.splitlines()]
    pairs.sort(key=lambda pair: pair[0].startswith(":env:"))
    return {name.rpartition(".")[2]: value.strip("'\"") for name, _, value in pairs}


@dataclass(frozen=True)
class Image:
    """An image, unpacked in ``root``, and what it says of itself."""

    root: Path
    config: Mapping[str, Any]

    @classmethod
    def unpack(cls, buildah: Buildah, name: str) -> Image:
        """Take the image of that name out of the store."""
        said = json.loads(buildah.run("inspect", "--type", "image", name))
        container = buildah.run("from", "--pull-never", name)
        return cls(Path(buildah.run("mount", container)), said["Docker"]["config"])

    def command(
        self, *words: str, data: Path, user: str = "", entry: tuple[str, ...] = (), env: Mapping[str, str] | None = None
    ) -> list[str]:
        """The command that runs ``words`` in a container, as its entry point has it, with ``data`` as /data.

        ``user``, ``entry`` and ``env`` stand for the options of an engine that override or add to what the image says.
        """
        values = dict(one.split("=", 1) for one in self.config["Env"]) | {"HOME": "/home/igneous"} | dict(env or {})
        settings = [f"{name}={value}" for name, value in values.items()]
        spaces = ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child"]
        inside = [str(self.root), str(data), user or self.config["User"], self.config["WorkingDir"]]
        program = [*(entry or self.config["Entrypoint"]), *words]
        return [*spaces, "sh", "-euc", _ENTER, "sh", *inside, *settings, *program]

    def run(self, *words: str, data: Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run ``words`` to their end."""
        command = self.command(*words, data=data, **options)
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
