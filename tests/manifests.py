"""The manifests of ``k8s/`` as a cluster would get them, what is wrong with them, and the commands that they give."""

from __future__ import annotations

import copy
import functools
import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from igneous_ng.cli import main
from tests.data import data

K8S = Path(__file__).parent.parent / "k8s"
OVERLAYS = ("base", "overlays/eks", "overlays/gpu", "overlays/indexed", "overlays/gke")
VERSION = "1.33"  # of Kubernetes: the first in which retries by index are no longer beta
KEDA = {"ScaledObject": "scaledobjects", "ScaledJob": "scaledjobs", "TriggerAuthentication": "triggerauthentications"}
KNOWN = {  # where a schema takes any key: what these manifests have to say there
    "labels": {"app.kubernetes.io/name", "app.kubernetes.io/component"},
    "matchLabels": {"app.kubernetes.io/name", "app.kubernetes.io/component"},
    "annotations": {
        "eks.amazonaws.com/role-arn",
        "iam.gke.io/gcp-service-account",
        "karpenter.sh/do-not-disrupt",
    },
    "nodeSelector": {
        "cloud.google.com/gke-spot",
        "karpenter.k8s.aws/instance-gpu-manufacturer",
        "karpenter.sh/capacity-type",
    },
    "requests": {"cpu", "memory", "ephemeral-storage", "storage"},
    "limits": {"memory", "ephemeral-storage", "nvidia.com/gpu"},
    "triggers": {"awsRegion", "queueURL", "queueLength", "scaleOnInFlight", "scaleOnDelayed"},
}
_SUFFIXES = {"": "1", "m": "1e-3", "k": "1e3", "M": "1e6", "G": "1e9", "T": "1e12"} | {
    f"{letter}i": str(1024**power) for power, letter in enumerate("KMGT", 1)
}
Document = dict[str, Any]
Place = tuple[str | int, ...]


@functools.cache
def _kustomize() -> list[str]:
    if kustomize := shutil.which("kustomize"):
        return [kustomize, "build"]
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("neither kubectl nor kustomize is here, so overlays cannot be built")
    told = subprocess.run([kubectl, "version", "--client", "-o", "json"], capture_output=True, check=True)
    version = json.loads(told.stdout).get("kustomizeVersion", "v0.0")
    if tuple(map(int, version.removeprefix("v").split(".")[:2])) < (5, 4):  # older ones read components before settings
        pytest.skip(f"this kubectl has kustomize {version}; the overlays need 5.4 (kubectl 1.31) or newer")
    return [kubectl, "kustomize"]


def built(folder: Path) -> subprocess.CompletedProcess[str]:
    """What kustomize says of a folder."""
    return subprocess.run([*_kustomize(), str(folder)], capture_output=True, text=True, check=False)


@functools.cache
def _texts(overlay: str) -> tuple[str, ...]:
    if overlay == "base":  # needs no tool
        return tuple((K8S / "base" / name).read_text() for name in ("worker.yaml", "scaling.yaml"))
    done = built(K8S / overlay)
    assert done.returncode == 0, done.stderr
    return (done.stdout,)


def documents(overlay: str) -> list[Document]:
    """What an overlay sends to the cluster; the calling test is skipped where it cannot be built."""
    return [document for text in _texts(overlay) for document in yaml.safe_load_all(text)]


def all_documents() -> Iterator[tuple[str, Document]]:
    """(overlay, document) of all overlays."""
    return ((overlay, document) for overlay in OVERLAYS for document in documents(overlay))


# What is wrong with them.


@functools.cache
def _core(kind: str, api: str) -> Any:
    """A validator made of the strict schemas of kubernetes-validate, made once for many documents."""
    import referencing
    from jsonschema.validators import Draft202012Validator
    from kubernetes_validate.utils import schema_contents

    folder = f"kubernetes-json-schema/v{VERSION}.0-local-strict"
    schema = schema_contents(f"{folder}/{kind.lower()}-{api}.json", VERSION)
    shared = schema_contents(f"{folder}/_definitions.json", VERSION)
    registry = referencing.Registry().with_resources(
        (content["$id"], referencing.Resource.from_contents(content)) for content in (schema, shared)
    )
    return Draft202012Validator(schema, registry=registry)


@functools.cache
def _keda(kind: str) -> Any:
    """A validator made of a CRD, with nothing allowed that it does not name: what the API server would drop unseen."""
    from jsonschema.validators import Draft202012Validator

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where it can be: 0.7 MB
    definition = yaml.load(data("schemas", f"{KEDA[kind]}.yaml").read_text(), loader)
    (version,) = (v for v in definition["spec"]["versions"] if v["name"] == "v1alpha1")
    schema = _closed(version["schema"]["openAPIV3Schema"])
    schema["properties"]["apiVersion"]["const"] = f"{definition['spec']['group']}/v1alpha1"
    schema["properties"]["kind"]["const"] = definition["spec"]["names"]["kind"]
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    schema["properties"]["metadata"] = _object(name={}, namespace={}, labels=_texts_only(), annotations=_texts_only())
    return Draft202012Validator(schema)


def _object(**properties: Any) -> Document:
    return {"type": "object", "properties": properties, "required": ["name"], "additionalProperties": False}


def _texts_only() -> Document:
    return {"type": "object", "additionalProperties": {"type": "string"}}


def _closed(schema: Any) -> Any:
    """A structural schema, closed: objects take what it lists, or what their ``additionalProperties`` say."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _closed(part) for key, part in schema.items()}
    opened = "additionalProperties" in found or found.get("x-kubernetes-preserve-unknown-fields")
    if found.get("type") == "object" and not opened:
        found["additionalProperties"] = False
    return found


def faults(document: Document) -> list[str]:
    """What the schema of its kind says against a document."""
    kind = document.get("kind", "")
    if kind in KEDA:
        checker = _keda(kind)
    else:
        api = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", str(document.get("apiVersion")))
        try:
            checker = _core(kind, api)
        except FileNotFoundError:
            return [f"there is no kind {kind} in {api}"]
    return [f"{error.json_path}: {error.message[:200]}" for error in checker.iter_errors(document)]


def oddities(document: Document) -> list[str]:
    """What a schema takes and means nothing: unknown keys where any may stand, and what an API server checks itself."""
    return [*_unknown(document), *_unworkable(document)]


def _unworkable(document: Document) -> list[str]:
    pod, found = template(document) or {}, []
    spec = pod.get("spec", {})
    if "podFailurePolicy" in json.dumps(document) and spec.get("restartPolicy") != "Never":
        found.append("a policy of failures needs pods that are never restarted")
    mounted = {mount.get("name") for each in spec.get("containers", ()) for mount in each.get("volumeMounts", ())}
    if mounted != {volume.get("name") for volume in spec.get("volumes", ())}:
        found.append("volumes are not those that are mounted")
    return found


def _unknown(document: Document) -> list[str]:
    return [
        f"{'.'.join(map(str, place))} is not known there"
        for place in places(document)
        for free in [free_place(place)]
        if free and place[-1] not in KNOWN[free]
    ]


def free_place(place: Place) -> str | None:
    """Which of the places that take any key this is in; None where the schema has a say."""
    if len(place) > 3 and place[-2] == "metadata" and place[-4] == "triggers":
        return "triggers"
    parent = place[-2] if len(place) > 1 else ""
    return str(parent) if parent in KNOWN and parent != "triggers" else None


def places(tree: Any, before: Place = ()) -> Iterator[Place]:
    """The place of every key of a document, at every depth."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield (*before, key)
            yield from places(value, (*before, key))
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from places(value, (*before, number))


def misspelt(document: Document, place: Place) -> Document:
    """A copy in which the key at ``place`` lacks its last letter."""
    changed = copy.deepcopy(document)
    owner: Any = changed
    for key in place[:-1]:
        owner = owner[key]
    key = str(place[-1])
    owner[key[:-1] if len(key) > 1 else f"{key}x"] = owner.pop(key)
    return changed


# What they run.


def template(document: Document) -> Document | None:
    """The metadata and spec of a document's pods; None where it makes none."""
    spec = document.get("spec", {})
    if document["kind"] == "Pod":
        return {"metadata": document["metadata"], "spec": spec}
    found: Document | None = spec.get("jobTargetRef", spec).get("template")
    return found


def workers() -> list[tuple[str, Document, Document]]:
    """(overlay, document, pod) of all that runs workers."""
    found = [(overlay, document, template(document)) for overlay, document in all_documents()]
    return [(overlay, document, pod) for overlay, document, pod in found if pod and document["kind"] != "Pod"]


def quantity(text: str | float) -> Decimal:
    """What Kubernetes reads in ``14Gi``, ``500m``, ``1e3`` or 4."""
    match = re.fullmatch(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)(m|k|[MGT]|[KMGT]i)?", str(text))
    assert match, f"{text!r} is no quantity"
    return Decimal(match[1]) * Decimal(_SUFFIXES[match[2] or ""])


def arguments(container: Document) -> list[str]:
    """The words after the entry point, with variables in their places."""
    values = {each["name"]: _value(each, container["resources"]) for each in container["env"]}
    return [re.sub(r"\$\((\w+)\)", lambda name: values[name[1]], word) for word in container["args"]]


def _value(variable: Document, resources: Document) -> str:
    if "value" in variable:
        return str(variable["value"])
    where, _, name = variable["valueFrom"]["resourceFieldRef"]["resource"].partition(".")
    return str(math.ceil(quantity(resources[where][name])))


def parsed(words: list[str]) -> dict[str, Any]:
    """The parameters that our own command line finds in these words; nothing is run."""
    context = click.Context(main, info_name="igneous-ng")
    command: click.Command = main
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found, f"there is no command {words[0]}"
        command, words = found, words[1:]
    return dict(command.make_context("igneous-ng", list(words), parent=context).params)
