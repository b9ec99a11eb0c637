"""The keys for S3: those that cloud-files and CloudVolume would take, or else those that boto3 finds.

A file of keys is JSON with ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and, if need be, ``AWS_SESSION_TOKEN``
and ``AWS_DEFAULT_REGION``. It lies in the folder ``secrets`` in ``~/.cloudvolume`` (``CLOUD_VOLUME_DIR``) or
``~/.cloudfiles`` (``CLOUD_FILES_DIR``) and is called ``BUCKET-aws-secret.json`` or ``aws-secret.json``; for an
endpoint that has an alias (:mod:`igneous_ng.aliases`), ``BUCKET-ALIAS-secret.json`` or ``ALIAS-secret.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from igneous_ng import aliases
from igneous_ng.errors import ConfigurationError

_NAMES = {
    "AWS_ACCESS_KEY_ID": "aws_access_key_id",
    "AWS_SECRET_ACCESS_KEY": "aws_secret_access_key",
    "AWS_SESSION_TOKEN": "aws_session_token",
    "AWS_DEFAULT_REGION": "region_name",
}


@dataclass(frozen=True)
class Keys:
    """What boto3's session is to be made with, nothing where it finds keys itself, and where that is from."""

    options: dict[str, str] = field(repr=False)
    origin: str


def find(endpoint: str | None, bucket: str) -> Keys:
    """The keys in the first file that there is; ConfigurationError for one that holds none."""
    for path in _files(endpoint, bucket):
        if path.is_file():
            return Keys(_read(path), str(path))
    return Keys({}, "")


def looked_for(endpoint: str | None, bucket: str) -> str:
    """Where none were found, in words."""
    files = sorted({str(path.parent) for path in _files(endpoint, bucket)})
    names = dict.fromkeys(path.name for path in _files(endpoint, bucket))
    return (
        f"neither {' nor '.join(names)} in {' or '.join(files)}, nor AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
        "nor any in ~/.aws (AWS_PROFILE), nor a role of this machine"
    )


def _files(endpoint: str | None, bucket: str) -> Iterator[Path]:
    alias = aliases.named(endpoint) if endpoint else None
    for service in filter(None, (alias, "aws")):
        for name in (f"{bucket}-{service}-secret.json", f"{service}-secret.json"):
            for home in aliases.homes():
                yield home / "secrets" / name


def _read(path: Path) -> dict[str, str]:
    advice = "it must be JSON with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; mend or remove it"
    try:
        raw: Any = json.loads(path.read_text())
    except (OSError, ValueError):  # what they say may hold the secret
        raise ConfigurationError(f"{path} cannot be read as keys: {advice}") from None
    if not isinstance(raw, dict) or not all(raw.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")):
        raise ConfigurationError(f"{path} holds no keys: {advice}")
    return {option: str(raw[name]) for name, option in _NAMES.items() if raw.get(name)}
