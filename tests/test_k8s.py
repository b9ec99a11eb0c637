"""The manifests for Kubernetes against its schemas and KEDA's, each key misspelt, and what they allow.

There is no cluster here. What one would do with them is not tested.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from igneous_ng.worker import machine
from tests.manifests import (
    K8S,
    KEDA,
    KNOWN,
    OVERLAYS,
    VERSION,
    Document,
    Place,
    arguments,
    built,
    documents,
    faults,
    free_place,
    misspelt,
    oddities,
    parsed,
    places,
    quantity,
    template,
    workers,
)

DOCS = K8S.parent / "docs"


# Their form.


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kinds_of_kubernetes_fit_its_schemas(overlay: str) -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    own = [document for document in documents(overlay) if document["kind"] not in KEDA]
    assert own
    for document in own:
        validate(document, VERSION, strict=True)
        assert faults(document) == oddities(document) == []


@pytest.mark.parametrize("overlay", OVERLAYS[:3])
def test_kinds_of_keda_fit_their_definitions(overlay: str) -> None:
    pytest.importorskip("jsonschema")
    own = [document for document in documents(overlay) if document["kind"] in KEDA]
    assert own
    for document in own:
        assert faults(document) == oddities(document) == []


@pytest.mark.parametrize("kinds", ["kubernetes", "keda"])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_misspelt_key_is_refused(overlay: str, kinds: str) -> None:
    pytest.importorskip("kubernetes_validate")
    unseen, tried = [], 0
    for document in documents(overlay):
        if (document["kind"] in KEDA) != (kinds == "keda"):
            continue
        for place in places(document):
            wrong = misspelt(document, place)
            tried += 1
            if not (faults(wrong) or (free_place(place) and oddities(wrong))):
                unseen.append((document["kind"], place))
    assert unseen == []
    assert bool(tried) == (kinds == "kubernetes" or overlay in OVERLAYS[:3])


def test_what_stands_in_the_wrong_place_or_is_of_the_wrong_type_is_refused() -> None:
    pytest.importorskip("kubernetes_validate")
    for _, document, _ in workers():
        if document["kind"] in KEDA:
            continue
        wrong = copy.deepcopy(document)
        pod = template(wrong)
        assert pod
        pod["spec"]["readOnlyRootFilesystem"] = True  # it belongs to the container
        assert any("readOnlyRootFilesystem" in fault for fault in faults(wrong))
        wrong = copy.deepcopy(document)
        pod = template(wrong)
        assert pod
        pod["spec"]["terminationGracePeriodSeconds"] = "110"
        assert any("110" in fault for fault in faults(wrong))


@pytest.mark.parametrize("overlay", OVERLAYS[1:])
def test_names_lead_to_what_is_there(overlay: str) -> None:
    found = documents(overlay)
    names = {(document["kind"], document["metadata"]["name"]) for document in found}
    for document in found:
        spec, pod = document.get("spec", {}), template(document)
        for trigger in spec.get("triggers", ()):
            assert ("TriggerAuthentication", trigger["authenticationRef"]["name"]) in names
        if document["kind"] == "ScaledObject":
            assert ("Deployment", spec["scaleTargetRef"]["name"]) in names
        if pod is None:
            continue
        assert ("ServiceAccount", pod["spec"]["serviceAccountName"]) in names
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        claims = [volume["persistentVolumeClaim"] for volume in volumes.values() if "persistentVolumeClaim" in volume]
        assert all(("PersistentVolumeClaim", claim["claimName"]) in names for claim in claims)
        assert "REGION" not in json.dumps(document)
        assert not re.search(r'"(QUEUE|ROOT|ROLE)', json.dumps(document)), "a setting has not reached its place"
        selected = spec.get("selector", {}).get("matchLabels", {})
        assert selected.items() <= pod["metadata"]["labels"].items()
    assert {document["metadata"].get("namespace") for document in found} == {found[0]["metadata"]["namespace"]}


@pytest.mark.long
@pytest.mark.parametrize("file", sorted(str(path.relative_to(K8S)) for path in K8S.rglob("kustomization.yaml")))
def test_every_misspelt_key_of_a_kustomization_is_noticed(tmp_path: Path, file: str) -> None:
    """By kustomize, or in what it builds. Patches are texts of YAML, whose keys are misspelt, too."""
    pytest.importorskip("kubernetes_validate")
    shutil.copytree(K8S, tmp_path / "k8s")
    path = tmp_path / "k8s" / file
    parent = str(Path(file).parent)
    folder = parent if parent in OVERLAYS[1:] else "overlays/eks"
    right, unseen, tried = documents(folder), [], 0
    for wrong, place in _misspelt_kustomizations(yaml.safe_load(path.read_text())):
        path.write_text(yaml.safe_dump(wrong))
        done, tried = built(tmp_path / "k8s" / folder), tried + 1
        if done.returncode:
            continue
        got = list(yaml.safe_load_all(done.stdout))
        if not any(faults(document) or oddities(document) for document in got) and _kinds(got) == _kinds(right):
            unseen.append(place)
    assert tried > 3
    assert unseen == []


def _kinds(found: list[Document]) -> list[str]:
    return sorted(document["kind"] for document in found)


def _misspelt_kustomizations(tree: Document) -> Iterator[tuple[Document, Place]]:
    """(tree, place) for each key, those in texts of patches among them."""
    for place in places(tree):
        yield misspelt(tree, place), place
        owner: Any = tree
        for key in place:
            owner = owner[key]
        if place[-1] == "patch":
            patch = yaml.safe_load(owner)
            for inner in places(patch):
                changed = copy.deepcopy(tree)
                last: Any = changed
                for key in place[:-1]:
                    last = last[key]
                last["patch"] = yaml.safe_dump(misspelt(patch, inner))
                yield changed, (*place, *inner)


# What they allow.


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_pod_has_rights_that_it_does_not_need(overlay: str) -> None:
    pods = [pod["spec"] for pod in map(template, documents(overlay)) if pod]
    assert pods
    for spec in pods:
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "shareProcessNamespace"} & spec.keys()
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert not {"envFrom", "ports"} & container.keys()
        for volume in spec["volumes"]:
            assert "hostPath" not in volume
            assert "secret" not in volume
            assert "emptyDir" not in volume or volume["emptyDir"].keys() == {"sizeLimit"}
    assert not {"Secret", "ClusterRole", "Role", "RoleBinding"} & {document["kind"] for document in documents(overlay)}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_memory_and_disk_are_limited_to_what_is_asked_for(overlay: str) -> None:
    for pod in filter(None, map(template, documents(overlay))):
        (container,) = pod["spec"]["containers"]
        asked, most = container["resources"]["requests"], container["resources"]["limits"]
        assert "cpu" not in most  # a limit would hold back what the machine has to spare
        assert asked["cpu"]
        for name in ("memory", "ephemeral-storage"):
            assert quantity(asked[name]) == quantity(most[name]) > 0
        volumes = [volume["emptyDir"] for volume in pod["spec"]["volumes"] if "emptyDir" in volume]
        assert sum(quantity(volume["sizeLimit"]) for volume in volumes) < quantity(most["ephemeral-storage"])


def test_tasks_of_usual_size_fit_all_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A stage plans tasks within its ``memory``; the worker takes what its control group leaves it."""
    pages = "".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    (usual,) = {int(number) for number in re.findall(r"^\| `memory` \| int \| `(\d+)` ", pages, re.MULTILINE)}
    for _, _, pod in workers():
        (container,) = pod["spec"]["containers"]
        limit = int(quantity(container["resources"]["limits"]["memory"]))
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        with monkeypatch.context() as patched:
            patched.setattr(machine.Cgroup, "mine", lambda: machine.Cgroup(tmp_path))
            patched.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096}.get(name, 1 << 28))
            granted = machine.granted_memory()
        asked = parsed(arguments(container))
        assert asked["memory"] is None, "the worker reads the limit; a number could only contradict it"
        assert asked["processes"] * usual <= granted <= limit


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("14Gi", 14 << 30),
        ("500m", 0.5),
        ("4", 4),
        (4, 4),
        ("1.5k", 1500),
        ("2e3", 2000),
        ("3Mi", 3 << 20),
        ("1T", 10**12),
    ],
)
def test_quantities_are_read_as_kubernetes_reads_them(text: str | int, value: float) -> None:
    assert quantity(text) == value


@pytest.mark.parametrize("text", ["14GB", "14gi", "", "Gi", "1 Gi"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(AssertionError, match="no quantity"):
        quantity(text)


def test_known_keys_are_used() -> None:
    text = "".join(path.read_text() for path in K8S.rglob("*.yaml"))
    assert [key for keys in KNOWN.values() for key in keys if f"{key}:" not in text] == []
