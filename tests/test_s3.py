"""Whole runs with layers on S3 and the queue on SQS, by the commands that users type; a worker dies, requests fail."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from igneous_ng import history, queues, records
from igneous_ng.store import Store
from tests import clouds
from tests.drill import CLI
from tests.layers import files

EXAMPLE = Path(__file__).parent.parent / "examples" / "segmentation.toml"
WORDS = ["run", "pipe.toml", "--set", "cell=[24, 24, 24]", "--set", "axes=xyz"]
HIDDEN = ("runs/", "provenance")  # who did what and when
FEW = ("503 SlowDown", "500 InternalError", "reset", "cut", "lost")


def labels(folder: Path) -> Path:
    """A folder with the example and a file of labels: some touching boxes and a tube."""
    folder.mkdir()
    shutil.copy(EXAMPLE, folder / "pipe.toml")
    made = np.random.default_rng(0).integers(1, 6, (3, 3, 3)).astype(np.uint32)
    made = made.repeat(16, 0).repeat(16, 1).repeat(16, 2)
    made[20:28, 20:28, :] = 9
    np.save(folder / "labels.npy", made)
    return folder


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The objects of a layer in a folder, made here by one process."""
    folder = labels(tmp_path_factory.mktemp("calm") / "place")
    done = subprocess.run([*CLI, *WORDS], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name.removesuffix(".gz"): data for name, data in files(folder / "data" / "seg").items()}


def layer(address: str, bucket: str) -> dict[str, bytes]:
    """The objects of the layer in a bucket, by their names there."""
    found = {key.removeprefix("seg/"): data for key, data in clouds.objects(address, bucket).items()}
    return {name: data for name, data in found.items() if not name.startswith(HIDDEN)}


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("share", [0.0, 0.03])
def test_a_fleet_on_s3_and_sqs_makes_what_one_process_makes_in_a_folder(
    tmp_path: Path, calm: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    address, bucket = clouds.s3(monkeypatch)
    place, queue, url = labels(tmp_path / "place"), f"sqs://{uuid.uuid4().hex}", f"s3://{bucket}/seg"
    work = [*CLI, "execute", queue, "--wait", "--lease", "15s", "--root", f"s3://{bucket}", "--root", str(place)]
    with clouds.proxied(address, clouds.now_and_then(share, 7, FEW)) as proxy:
        environment = {**os.environ, "AWS_ENDPOINT_URL": proxy.url}
        words = [*WORDS, "--queue", queue, "--set", f"layer={url}"]
        driver = subprocess.Popen([*CLI, *words], cwd=place, env=environment, stderr=subprocess.PIPE, text=True)
        fleet: list[subprocess.Popen[bytes]] = []
        try:
            wait_for(lambda: bool(runs(url)), driver)
            fleet += [subprocess.Popen(work, env=environment, start_new_session=True) for _ in range(2)]
            wait_for(lambda: any(key.startswith("seg/mesh/") for key in clouds.objects(address, bucket)), driver)
            os.killpg(fleet[0].pid, signal.SIGKILL)  # the machine is gone, with all that was on it
            fleet.append(subprocess.Popen(work, env=environment, start_new_session=True))
            _, said = driver.communicate(timeout=1200)
        finally:
            driver.terminate()
            for one in fleet:
                one.terminate()
            ended = [one.wait(60) for one in fleet]
    assert driver.returncode == 0, said
    assert ended[1:] == [75, 75], "told to stop"
    assert layer(address, bucket) == calm
    assert bool(proxy.met) == bool(share)


@pytest.mark.long
def test_a_worker_without_keys_leaves_the_work_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address, bucket = clouds.s3(monkeypatch)
    place, url, queue = labels(tmp_path / "place"), f"s3://{bucket}/seg", f"fq://{tmp_path}/queue"
    words = ["image", "create", str(place / "labels.npy"), url, "--axes", "xyz", "--resolution", "4,4,40"]

    def igneous(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", **more}
        environment = {name: value for name, value in environment.items() if value}
        return subprocess.run([*CLI, *words], env=environment, capture_output=True, text=True, check=False, timeout=300)

    assert igneous(*words, "--queue", queue).returncode == 0
    with clouds.proxied(address, lambda _: "403 AccessDenied") as proxy:
        none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_ENDPOINT_URL": proxy.url}
        done = igneous("execute", queue, **none)
    assert done.returncode == 64, done.stderr
    assert "no keys were found" in done.stderr
    counts = queues.connect(queue).counts()
    assert (counts.waiting, counts.leased, counts.dead) == (1, 0, 0)
    assert igneous("execute", queue).returncode == 0


def runs(url: str) -> list[records.Run]:
    return list(history.runs(Store(), url))


def wait_for(there: Callable[[], bool], driver: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 600
    while not there():
        assert driver.poll() is None, driver.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.2)
