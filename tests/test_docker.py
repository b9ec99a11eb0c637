"""The image: linted; then built on a base of this machine's own, and run as an engine runs it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import __version__
from tests import images
from tests.images import REPOSITORY, Buildah, Image
from tests.test_worker_supervisor import tree

DOCKER = REPOSITORY / "docker"
HEALTHY = DOCKER / "igneous-ng-healthy"
CREATE = ("image", "create", "labels.npy", "seg", "--axes", "xyz", "--kind", "segmentation", "--resolution", "4,4,40")
CHUNKS = ("--chunk", "16,16,16", "--cell", "32,32,32")
STRANGER = "12345:12345"  # Apptainer and others run an image as whoever calls


# What needs no image.


def hadolint(path: Path) -> list[str]:
    program = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("hadolint is not installed")
    return subprocess.run(
        [program, "--no-color", path], capture_output=True, text=True, check=False
    ).stdout.splitlines()


def test_the_dockerfile_is_clean() -> None:
    assert hadolint(DOCKER / "Dockerfile") == []


def test_a_shell_as_entry_point_would_be_found(tmp_path: Path) -> None:
    spoilt = (DOCKER / "Dockerfile").read_text().replace('ENTRYPOINT ["igneous-ng"]', "ENTRYPOINT igneous-ng")
    (tmp_path / "Dockerfile").write_text(spoilt)
    (line,) = hadolint(tmp_path / "Dockerfile")
    assert "DL3025" in line


@pytest.mark.parametrize("target", ["image", "image-cuda"])
def test_make_gives_arguments_that_the_dockerfile_has_and_extras_that_the_package_has(target: str) -> None:
    said = subprocess.run(["make", "-n", target], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    text = (DOCKER / "Dockerfile").read_text()
    given = dict(re.findall(r"--build-arg (\w+)=(\S+)", said))
    assert given.keys() >= {"VERSION", "REVISION"}
    assert given["VERSION"] == __version__
    assert given.keys() <= set(re.findall(r"^ARG (\w+)", text, re.MULTILINE))
    extras = given.get("EXTRAS", "") or re.findall(r'^ARG EXTRAS="(.*)"', text, re.MULTILINE)[0]
    known = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras.split(",")) <= set(known)


def test_the_definition_for_apptainer_has_a_value_for_each_of_its_arguments() -> None:
    text = (DOCKER / "igneous-ng.def").read_text()
    header, *sections = re.split(r"^%", text, flags=re.MULTILINE)
    body = {one.split("\n")[0]: one.partition("\n")[2] for one in sections}
    assert dict(re.findall(r"(\w+): (.+)", header)) == {"Bootstrap": "docker-archive", "From": "{{ IMAGE }}"}
    assert body.keys() == {"arguments", "environment", "test", "help"}
    assert set(re.findall(r"{{ (\w+) }}", text)) == set(re.findall(r"(\w+)=", body["arguments"]))
    for section in ("environment", "test"):
        subprocess.run(["sh", "-n"], input=body[section], text=True, check=True)


def health(figures: Path) -> tuple[int, str]:
    env = {**os.environ, "IGNEOUS_NG_METRICS": str(figures)}
    done = subprocess.run([HEALTHY], env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip()


def test_a_worker_is_healthy_while_its_figures_are_younger_than_a_lease(tmp_path: Path) -> None:
    figures = tmp_path / "worker.prom"
    assert health(figures) == (0, f"no worker keeps figures in {figures}")
    figures.touch()
    assert health(figures) == (0, "the worker is alive")
    os.utime(figures, (time.time() - 110,) * 2)
    assert health(figures)[0] == 0
    os.utime(figures, (time.time() - 121,) * 2)
    code, said = health(figures)
    assert code == 1
    assert "no sign of life since 20" in said


# What needs one.


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    if reason := images.lacking():
        pytest.skip(f"no image can be built here: {reason}")
    buildah = Buildah(tmp_path_factory.mktemp("images"))
    buildah.base()
    yield Image.unpack(buildah, buildah.image("igneous-ng-test"))
    buildah.run("rm", "--all")
    shutil.rmtree(buildah.folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a user's, where anybody may write."""
    np.save(tmp_path / "labels.npy", np.random.default_rng(1).integers(0, 9, (96, 80, 64), np.uint32))
    tmp_path.chmod(0o777)
    return tmp_path


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_what_the_image_says_of_itself(image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    config = image.config
    assert config["Entrypoint"] == ["igneous-ng"]
    assert config["Cmd"] == ["--help"]
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"] == ["CMD", "igneous-ng-healthy"]
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert labels["licenses"] == "GPL-3.0-or-later"
    assert labels["version"] == __version__
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels["revision"])
    assert labels.keys() >= {"title", "description", "source"}
    with capsys.disabled():
        sys.stdout.write(
            f"\nthe image: {size(image.root) / 1e6:.0f} MB, {size(image.root / 'opt') / 1e6:.0f} MB ours\n"
        )


def size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_image_has_all_of_the_package_and_nothing_of_its_making(image: Image) -> None:
    (packages,) = (image.root / "opt/igneous-ng/lib").glob("python3.*/site-packages")
    package = packages / "igneous_ng"
    ours = set(map(Path, tracked("igneous_ng")))
    there = {p.relative_to(packages) for p in package.rglob("*") if p.is_file() and p.suffix not in (".so", ".pyc")}
    assert there == ours
    kernels = {p.name.partition(".")[0] for p in (package / "native").glob("*.so")}
    assert kernels == {Path(p).stem for p in tracked("igneous_ng/native") if p.endswith(".cpp")}
    for absent in ("opt/source", "opt/build", "usr/bin/g++", "root/.cache", "opt/igneous-ng/bin/pip"):
        assert not (image.root / absent).exists(), absent
    assert not [p.name for p in packages.iterdir() if p.name.partition("-")[0] in ("pip", "numba", "llvmlite", "jax")]


def tracked(folder: str) -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_all_code_of_the_package_is_compiled_and_never_checked_against_its_source(image: Image) -> None:
    (package,) = (image.root / "opt/igneous-ng/lib").glob("python3.*/site-packages/igneous_ng")
    sources = sorted(package.rglob("*.py"))
    assert len(sources) > 100
    for source in sources:
        (compiled,) = (source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc")
        assert compiled.read_bytes()[4:8] == b"\1\0\0\0", "by hash, unchecked"


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("user", ["", STRANGER])
def test_the_root_cannot_be_written_and_the_user_is_not_root(image: Image, folder: Path, user: str) -> None:
    say = "import os, sys; print(os.getuid(), os.getgid(), os.getgroups(), os.getpid(), os.statvfs('/').f_flag & 1)"
    done = image.run("-c", say, data=folder, user=user, entry=("python",))
    assert done.stdout.split() == [*(user or "10001:10001").split(":"), "[]", "1", "1"], done.stderr
    shown = image.run("--version", data=folder, user=user)
    assert (shown.returncode, shown.stdout) == (0, f"igneous-ng, version {__version__}\n"), shown.stderr
    shown = image.run(*image.config["Cmd"], data=folder, user=user)
    assert shown.returncode == 0
    assert "image downsample" in shown.stdout


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_extras_can_be_used_and_none_reports_home(image: Image, folder: Path) -> None:
    used = "import duckdb, networkx, onnxruntime, pyarrow"
    done = image.run("-W", "error", "-c", used, data=folder, entry=("python",))
    assert (done.returncode, done.stderr) == (0, ""), "onnxruntime complains where it may report and cannot"


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("user", ["", STRANGER])
def test_a_task_in_the_image_leaves_the_bytes_of_one_outside(image: Image, folder: Path, user: str) -> None:
    steps = [
        (*CREATE, *CHUNKS, "--queue", "fq:///data/queue"),
        ("execute", "fq:///data/queue", "-p", "2"),
        ("image", "downsample", "seg", "--num-mips", "2", "--queue", "fq:///data/queue"),
        ("execute", "fq:///data/queue", "-p", "2"),
        ("mesh", "forge", "seg", "--mip", "1", "-p", "2"),
        ("mesh", "merge", "seg", "-p", "2"),
    ]
    outside = folder / "outside"
    outside.mkdir()
    shutil.copy(folder / "labels.npy", outside)
    for step in steps:
        done = image.run(*step, data=folder, user=user)
        assert done.returncode == 0, (step, done.stdout, done.stderr)
        words = [word.replace("/data/", f"{outside}/") for word in step]
        subprocess.run([sys.executable, "-m", "igneous_ng.cli", *words], cwd=outside, check=True, capture_output=True)
    inside = tree(folder / "seg")
    assert inside == tree(outside / "seg")
    assert len(inside) > 100
    owners = {path.stat().st_uid for path in (folder / "seg").rglob("*")}
    assert owners == {int((user or "10001").split(":")[0])}
    (described,) = (folder / "seg/runs/environments").iterdir()
    assert f"igneous-ng {__version__}" in described.read_text()


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_worker_shows_that_it_lives_and_gives_back_its_leases_when_it_is_stopped(image: Image, folder: Path) -> None:
    assert image.run(*CREATE, "--queue", "fq:///data/queue", data=folder).returncode == 0
    figures = folder / "worker.prom"
    command = image.command(
        "execute", "fq:///data/queue", "--wait", data=folder, env={"IGNEOUS_NG_METRICS": "/data/worker.prom"}
    )
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as engine:
        try:
            said = shown_and_stopped(engine, figures)
        finally:
            engine.kill()
    assert engine.returncode == 75, f"PID 1 hears its signal: {said}"


def shown_and_stopped(engine: subprocess.Popen[str], figures: Path) -> str:
    """A worker of an empty queue is seen to live, to hang, and to end; gives its last words."""
    first = when_renewed(figures, 0.0)
    assert when_renewed(figures, when_renewed(figures, first)) - first < 60
    assert health(figures) == (0, "the worker is alive")
    (worker,) = map(int, Path(f"/proc/{engine.pid}/task/{engine.pid}/children").read_text().split())
    os.kill(worker, signal.SIGSTOP)
    time.sleep(1)
    stopped = figures.stat().st_mtime
    time.sleep(12)
    assert figures.stat().st_mtime == stopped, "who hangs renews nothing"
    os.kill(worker, signal.SIGCONT)
    os.kill(worker, signal.SIGTERM)
    return engine.communicate(timeout=60)[1]


def when_renewed(figures: Path, before: float) -> float:
    """The time of the file once it is another than ``before``."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if figures.exists() and (now := figures.stat().st_mtime) != before:
            return now
        time.sleep(0.1)
    pytest.fail("the worker wrote no figures within a minute")
