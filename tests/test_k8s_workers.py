"""What the manifests for Kubernetes say of workers against what workers do, in processes here."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import click
import pytest

from igneous_ng import queues, run
from tests.drill import CLI, data, drill, expected
from tests.manifests import K8S, OVERLAYS, Document, arguments, documents, parsed, quantity, workers

DOCS = K8S.parent / "docs"
__all__ = ["drill"]  # a fixture


# What they run.


def test_commands_are_understood() -> None:
    seen = set()
    for overlay, _, pod in workers():
        (container,) = pod["spec"]["containers"]
        assert "command" not in container, "the image's entry point is igneous-ng itself, which gets the signal"
        words = arguments(container)
        assert words[0] == "execute"
        found = parsed(words)
        assert found["processes"] == quantity(container["resources"]["requests"]["cpu"])
        assert found["gpus"] == (("auto",) if "nvidia.com/gpu" in container["resources"]["limits"] else ())
        assert len(found["roots"]) == 1, "a worker is kept to the layers that it is for"
        seen.add((overlay, found["queue"], found["roots"], found["wait"]))
    assert seen == {
        ("base", "sqs://REGION/QUEUE", ("ROOT",), True),
        ("overlays/eks", "sqs://us-east-1/igneous-ng", ("s3://my-bucket",), True),
        ("overlays/gpu", "sqs://us-east-1/igneous-ng-gpu", ("s3://my-bucket",), False),
        ("overlays/indexed", "fq:///shared/queue", ("/shared",), False),
        ("overlays/gke", "fq:///shared/queue", ("gs://my-bucket",), False),
    }


def test_pods_and_the_image_agree() -> None:
    """On who runs, and on what tells whether the worker lives."""
    docker = K8S.parent / "docker"
    if not docker.is_dir():
        pytest.skip("there is no docker/ here to compare with")
    image = (docker / "Dockerfile").read_text()
    for _, _, pod in workers():
        (container,) = pod["spec"]["containers"]
        user = pod["spec"]["securityContext"]
        assert f"\nUSER {user['runAsUser']}:{user['runAsGroup']}\n" in image
        assert '\nENTRYPOINT ["igneous-ng"]\n' in image
        probe = container["livenessProbe"]
        (check,) = probe["exec"]["command"]
        assert (docker / check).is_file()
        assert f'CMD ["{check}"]\n' in image
        assert probe["initialDelaySeconds"] >= 30, (
            "a container that is started anew first finds the figures of the last"
        )


def test_a_misspelt_option_is_refused() -> None:
    with pytest.raises(click.UsageError, match="--proceses"):
        parsed(["execute", "fq:///shared/queue", "--proceses", "4"])


@pytest.mark.parametrize("overlay", OVERLAYS[1:3])
def test_fleets_are_sized_by_all_queues_that_their_workers_look_into(overlay: str) -> None:
    (spec,) = (document["spec"] for document in documents(overlay) if "triggers" in document.get("spec", {}))
    ((_, _, pod),) = (found for found in workers() if found[0] == overlay)
    words = parsed(arguments(pod["spec"]["containers"][0]))
    _, _, region, name = words["queue"].split("/")
    settings = {trigger["name"]: trigger["metadata"] for trigger in spec["triggers"]}
    assert {each["queueURL"].rpartition("/")[2] for each in settings.values()} == {name, f"{name}-high", f"{name}-low"}
    for priority, each in settings.items():
        assert each["queueURL"].endswith({"normal": name}.get(priority, f"{name}-{priority}"))
        assert each["awsRegion"] == region
        assert each["queueURL"].startswith(f"https://sqs.{region}.amazonaws.com/")
        assert int(each["queueLength"]) == words["processes"]
        assert each["scaleOnInFlight"] == each["scaleOnDelayed"] == "true"
    if "advanced" in spec:
        modifiers = spec["advanced"]["scalingModifiers"]
        assert modifiers["formula"].split(" + ") == list(settings)
        assert int(modifiers["target"]) == words["processes"]
    else:
        assert spec["scalingStrategy"] == {"strategy": "default", "multipleScalersCalculation": "sum"}


# What workers do, and what the manifests say of it.


def command_of(overlay: str, folder: Path) -> list[str]:
    """The command line of an overlay's workers, on a queue and layers in this folder."""
    ((_, _, pod),) = (found for found in workers() if found[0] == overlay)
    words = arguments(pod["spec"]["containers"][0])
    words[1] = f"fq://{folder}/queue"
    words[words.index("--root") + 1] = str(folder)
    words[words.index("--processes") + 1] = "2"  # the machine of a test has no more
    return [*CLI, *words]


@pytest.mark.parametrize("overlay", ["overlays/indexed", pytest.param("overlays/gpu", marks=pytest.mark.long)])
def test_workers_of_jobs_end_with_the_work_done(drill: Any, tmp_path: Path, overlay: str) -> None:
    run.enqueue(drill(count=12), f"fq://{tmp_path}/queue")
    done = subprocess.run(command_of(overlay, tmp_path), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert data(tmp_path) == expected(12)


@pytest.mark.long
def test_workers_of_deployments_wait_and_release_well_within_their_grace(drill: Any, tmp_path: Path) -> None:
    url = f"fq://{tmp_path}/queue"
    run.enqueue(drill(count=2), url)
    worker = subprocess.Popen(command_of("overlays/eks", tmp_path), stderr=subprocess.PIPE, text=True)
    _until(lambda: (tmp_path / "layer" / "published").exists())
    assert worker.poll() is None
    run.enqueue(drill(count=4, seconds=60, layer=str(tmp_path / "more")), url)
    _until(lambda: queues.connect(url).counts().leased > 0)
    _until(lambda: (tmp_path / "more" / "diary.txt").exists())
    worker.send_signal(signal.SIGTERM)
    begin = time.monotonic()
    _until(lambda: queues.connect(url).counts().leased == 0)
    seconds = time.monotonic() - begin
    _, said = worker.communicate(timeout=30)
    assert worker.returncode == 75, said
    grace = [pod["spec"]["terminationGracePeriodSeconds"] for _, _, pod in workers()]
    assert seconds < 5 <= min(grace) / 5
    assert {overlay: pod["spec"]["terminationGracePeriodSeconds"] for overlay, _, pod in workers()} == {
        **dict.fromkeys(OVERLAYS, 110),  # of 120 s on AWS
        "overlays/gke": 25,  # the most that Spot pods have
    }


def _until(reached: Any) -> None:
    end = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.long
def test_exit_statuses_tell_what_a_retry_can_mend(drill: Any, tmp_path: Path) -> None:
    """1, 2 and 64, which jobs do not retry, come again however often a pod is started."""
    (tmp_path / "none").mkdir()
    assert _exit(tmp_path / "none") == 2
    cases: dict[str, tuple[Document, list[int]]] = {
        "done": ({}, [0, 0]),
        "dead": ({"faults": ("0:data",)}, [1, 1]),
        "large": (
            {"needs": 1 << 60, "memory": 1 << 61},
            [64],
        ),  # the message is hidden for a minute: no second try here
        "accelerated": ({"device": 1000}, [64]),
    }
    for name, (options, statuses) in cases.items():
        folder = tmp_path / name
        run.enqueue(drill(count=1, layer=str(folder / "layer"), **options), f"fq://{folder}/queue")
        assert [_exit(folder) for _ in statuses] == statuses, name


def _exit(folder: Path) -> int:
    command = command_of("overlays/indexed", folder)
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode


def test_jobs_retry_what_may_pass_and_nothing_else() -> None:
    actions = {
        overlay: [(rule["action"], _condition(rule)) for rule in _rules(document)]
        for overlay, document, _ in workers()
        if document["kind"] != "Deployment"
    }
    machine_taken = ("Ignore", [("DisruptionTarget", "True")])
    by_index = [machine_taken, ("FailIndex", [1]), ("FailJob", [2, 64])]  # others may still have work to do
    assert actions == {
        "overlays/gpu": [machine_taken, ("FailJob", [1, 2, 64])],
        "overlays/indexed": by_index,
        "overlays/gke": by_index,
    }


def _rules(document: Document) -> list[Document]:
    job = document["spec"].get("jobTargetRef", document["spec"])
    assert job.get("backoffLimit", 0) + job.get("backoffLimitPerIndex", 0) >= 20
    return list(job["podFailurePolicy"]["rules"])


def _condition(rule: Document) -> list[Any]:
    if "onExitCodes" in rule:
        assert (rule["onExitCodes"]["operator"], rule["onExitCodes"]["containerName"]) == ("In", "worker")
        return list(rule["onExitCodes"]["values"])
    return [(condition["type"], condition["status"]) for condition in rule["onPodConditions"]]


# What the page about them says.


def test_commands_of_the_page_are_understood() -> None:
    page = (DOCS / "kubernetes.md").read_text().replace("\\\n", " ")
    lines = [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    ours = [found[1] for line in lines if (found := re.match(r"(?:kubectl .* -- )?igneous-ng (.*)", line))]
    assert len(ours) > 5
    for line in ours:
        parsed(shlex.split(line))
    folders = {word for line in lines for word in line.split() if word.startswith("k8s/")}
    assert folders
    assert all((K8S.parent / folder).is_dir() for folder in folders)


def test_rights_of_the_page_are_those_that_workers_use() -> None:
    page, queue = (DOCS / "kubernetes.md").read_text(), (DOCS / "sqs.md").read_text()
    policies = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    worker, operator = ({action for each in policy["Statement"] for action in each["Action"]} for policy in policies)
    (row,) = (line for line in queue.splitlines() if line.startswith("| worker"))
    told = set(re.findall(r"`(sqs:\w+)`", row)) - {"sqs:CreateQueue"}  # the page makes all queues first
    assert {action for action in worker if action.startswith("sqs:")} == told
    assert operator == {"sqs:GetQueueAttributes"}
    for policy in policies:
        assert all("*" not in action for each in policy["Statement"] for action in each["Action"])
