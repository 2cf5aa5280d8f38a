"""The Prometheus endpoint, with the names that the official server exports."""

from __future__ import annotations

import logging
import re
import resource
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Final

from server.service import Service

log = logging.getLogger("metrics")

_SOURCES: Final = (
    ("ClickHouseMetrics_", "gauge", "SELECT metric, toString(value), description FROM system.metrics"),
    ("ClickHouseProfileEvents_", "counter",
     "SELECT event, toString(value), description FROM system.events SETTINGS system_events_show_zero_values = 1"),
)  # fmt: skip
# The library computes no asynchronous metrics. These are the ones that rules and dashboards ask for.
_ASYNCHRONOUS: Final = """
    SELECT 'Uptime', toString(uptime()), 'Seconds since the engine started'
    UNION ALL SELECT 'NumberOfDatabases', toString(count()), 'Databases' FROM system.databases
    UNION ALL SELECT 'NumberOfTables', toString(count()), 'Tables' FROM system.tables
    UNION ALL SELECT 'TotalRowsOfMergeTreeTables', toString(sum(rows)), 'Rows in active parts' FROM system.parts
              WHERE active
    UNION ALL SELECT 'TotalBytesOfMergeTreeTables', toString(sum(bytes_on_disk)), 'Bytes in active parts'
              FROM system.parts WHERE active
    UNION ALL SELECT 'TotalPartsOfMergeTreeTables', toString(count()), 'Active parts' FROM system.parts WHERE active
    UNION ALL SELECT 'MaxPartCountForPartition', toString(max(c)), 'Most active parts in one partition'
              FROM (SELECT count() AS c FROM system.parts WHERE active GROUP BY database, table, partition_id)
    UNION ALL SELECT 'DiskAvailable_' || name, toString(free_space), 'Free bytes of the disk' FROM system.disks
    UNION ALL SELECT 'DiskTotal_' || name, toString(total_space), 'Size of the disk in bytes' FROM system.disks
"""
_BAD_SIGN: Final = re.compile(r"[^a-zA-Z0-9_:]")


def exposition(service: Service) -> str:
    """All metrics in Prometheus' text format."""
    lines: list[str] = []
    for prefix, kind, query in (*_SOURCES, ("ClickHouseAsyncMetrics_", "gauge", _ASYNCHRONOUS)):
        for row in service.engine.ask(query).splitlines():
            name, value, description = row.split("\t", 2)
            _add(lines, prefix + name, kind, value, description)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    _add(lines, "ClickHouseAsyncMetrics_MemoryResident", "gauge", str(resident), "Bytes of memory in use by the server")
    return "\n".join(lines) + "\n"


def _add(lines: list[str], name: str, kind: str, value: str, description: str) -> None:
    clean = _BAD_SIGN.sub("_", name)
    lines += [f"# HELP {clean} {description}", f"# TYPE {clean} {kind}", f"{clean} {value}"]


class MetricsHandler(BaseHTTPRequestHandler):
    """Answers /metrics."""

    service: Service

    def do_GET(self) -> None:
        """The metrics, or 404 for other paths."""
        if self.path.split("?")[0] != "/metrics":
            self.send_error(404, "only /metrics")
            return
        try:
            body = exposition(self.service).encode()
        except RuntimeError as error:
            log.warning("metrics: %s", error)
            self.send_error(503, "the engine did not answer")
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Scrapes are not logged."""
