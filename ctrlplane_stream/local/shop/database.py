"""A service's own database: sqlite in memory, with a CLIENT span around each statement as the conventions ask.

OpenTelemetry semantic conventions for database client spans: https://opentelemetry.io/docs/specs/semconv/database/.
"""

import sqlite3
from collections.abc import Iterable

from opentelemetry.trace import SpanKind, Tracer

from ctrlplane_stream.local.shop.topology import Query

_ROWS = [(f"item {number}", number) for number in range(50)]


class Database:
    """Fifty rows in each table that the queries name, queried on the event loop: a statement takes microseconds."""

    def __init__(self, namespace: str, queries: Iterable[Query], tracer: Tracer) -> None:
        self._namespace = namespace
        self._tracer = tracer
        self._connection = sqlite3.connect(":memory:")
        for table in sorted({query.table for query in queries}):
            self._connection.execute(f"CREATE TABLE {table} (name TEXT PRIMARY KEY, quantity INTEGER NOT NULL)")
            self._connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", _ROWS)  # noqa: S608 (a name of our topology)

    def run(self, query: Query) -> list[tuple[object, ...]]:
        """The rows that the statement gives."""
        attributes = {
            "db.system.name": "sqlite",
            "db.namespace": self._namespace,
            "db.collection.name": query.table,
            "db.operation.name": query.operation,
            "db.query.text": query.statement,
        }
        with self._tracer.start_as_current_span(f"{query.operation} {query.table}", kind=SpanKind.CLIENT, attributes=attributes):
            return self._connection.execute(query.statement).fetchall()

    def close(self) -> None:
        """Drop the data."""
        self._connection.close()
