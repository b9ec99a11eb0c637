"""The door to pyarrow, which is optional."""

from __future__ import annotations

from typing import Any

from igneous_ng.errors import ConfigurationError


def arrow() -> Any:
    """The library that reads and writes tables; ConfigurationError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigurationError("tables in Parquet need pyarrow: pip install 'igneous-ng[parquet]'") from error
    return pyarrow
