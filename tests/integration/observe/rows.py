"""What Application Insights makes of envelopes: rows of its tables, in a database that KQL can be run on."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb_kql

from tests.integration.observe.collector import Envelope

# The columns that queries use, of the tables that reclaim's envelopes go to. Another test has Microsoft's parser check
# the queries against all columns.
SPAN = "name VARCHAR, duration DOUBLE, resultCode VARCHAR, success VARCHAR, customMeasurements JSON"
TABLES = {
    "requests": SPAN,
    "dependencies": SPAN,
    "customMetrics": "name VARCHAR, value DOUBLE",
    "traces": "message VARCHAR",
}
OF_ALL = "timestamp TIMESTAMP, operation_Id VARCHAR, customDimensions JSON"


class Insights:
    """A resource: put envelopes in, and ask."""

    def __init__(self) -> None:
        self._database = duckdb_kql.connect()
        for table, columns in TABLES.items():
            self._database.sql(f"CREATE TABLE {table} ({OF_ALL}, {columns})")

    def take(self, envelopes: Sequence[Envelope], minutes_ago: float = 0) -> None:
        """Take envelopes as if they had come some minutes ago."""
        for envelope in envelopes:
            table, values = _row(envelope)
            at = datetime.fromisoformat(envelope["time"]).astimezone(UTC) - timedelta(minutes=minutes_ago)
            dimensions = envelope["data"]["baseData"].get("properties", {})
            row = [at.replace(tzinfo=None), envelope["tags"]["ai.operation.id"], json.dumps(dimensions), *values]
            self._database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The rows that a query returns."""
        answer = duckdb_kql.kql(self._database, query)
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.fetchall()]


def _row(envelope: Envelope) -> tuple[str, list[Any]]:
    """The table of an envelope, and what stands in its row beside the columns that all tables have."""
    data = envelope["data"]["baseData"]
    match envelope["data"]["baseType"]:
        case "RequestData":
            return "requests", _span(data, data["responseCode"])
        case "RemoteDependencyData":
            return "dependencies", _span(data, data["resultCode"])
        case "MetricData":
            (point,) = data["metrics"]
            return "customMetrics", [point["name"], point["value"]]
        case _:
            return "traces", [data["message"]]


def _span(data: dict[str, Any], result: str) -> list[Any]:
    days, _, clock = data["duration"].partition(".")
    hours, minutes, seconds = clock.split(":")
    took = timedelta(days=int(days), hours=int(hours), minutes=int(minutes), seconds=float(seconds))
    milliseconds = took / timedelta(milliseconds=1)
    return [data["name"], milliseconds, result, str(data["success"]), json.dumps(data["measurements"])]
