"""Short names of object stores, as ``cloudfiles alias add NAME s3://https://HOST/`` keeps them.

They are spelled out where a URL is given, so that messages, records and other machines need not know them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def homes() -> tuple[Path, Path]:
    """The folders in which CloudVolume and cloud-files keep what is theirs."""
    return _home("CLOUD_VOLUME_DIR", "~/.cloudvolume"), _home("CLOUD_FILES_DIR", "~/.cloudfiles")


def _home(variable: str, usual: str) -> Path:
    given = os.environ.get(variable)
    return Path(given or os.path.expanduser(usual))  # noqa: PTH111 - bears users without a home


def known() -> dict[str, str]:
    """What each name stands for, such as ``s3://https://HOST/``; empty where nobody made one."""
    try:
        raw: Any = json.loads((homes()[1] / "aliases.json").read_text())
        return {str(name): f"{str(one['host']).rstrip('/')}/" for name, one in raw.items()}
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return {}


def spelled_out(url: str) -> str:
    """``url`` with what its scheme stands for in its place, if that is a name."""
    scheme, found, path = url.partition("://")
    meant = known().get(scheme) if found else None
    return url if meant is None else f"{meant}{path}"


def named(endpoint: str) -> str | None:
    """The name of the store at an endpoint such as ``https://HOST``, if it has one."""
    wanted = f"s3://{endpoint}/"
    return next((name for name, meant in known().items() if meant == wanted), None)
