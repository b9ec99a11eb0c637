"""SQL over folders of Parquet files, by DuckDB (Raasveldt and Muehleisen 2019); nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from igneous_ng.errors import ConfigurationError, SpecError

VIEWS = {"synapses": "synapses", "edges": "edges_pre", "nodes": "nodes"}
"""The views of a version of a graph, and the folders of their files."""


def query(views: Mapping[str, str], text: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The names of the columns and the rows of one query over ``views``, local folders of files by name.

    SpecError for a statement that is no query, or one that DuckDB refuses.
    """
    library = _library()
    connection = library.connect(":memory:")
    try:
        for view, folder in views.items():
            files, called = f"{folder}/*.parquet".replace("'", "''"), view.replace('"', '""')
            connection.execute(f"CREATE VIEW \"{called}\" AS SELECT * FROM read_parquet('{files}')")  # noqa: S608
        statements = connection.extract_statements(text)
        if len(statements) != 1 or statements[0].type != library.StatementType.SELECT:
            raise SpecError("graph sql: give one SELECT; graphs are changed by `graph build` alone")
        cursor = connection.cursor()  # one for each query: from version 2 on, results belong to what executed them
        cursor.execute(statements[0])
        return [column[0] for column in cursor.description], cursor.fetchall()
    except library.Error as error:
        raise SpecError(f"graph sql: {error}") from error
    finally:
        connection.close()


def _library() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise ConfigurationError("SQL over graphs needs duckdb: pip install 'igneous-ng[sql]'") from error
    return duckdb
