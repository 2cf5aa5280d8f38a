"""What runs, where it answers, and a first query with live rows: the end of ``make up``."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

from clickhouse_driver import errors as clickhouse_errors

from cdc import rewind, schema_diff
from cdc.connections import Connections

FIRST_QUERY = "SELECT id, order_date, purchaser, quantity, total_amount, status FROM orders ORDER BY id DESC LIMIT 5"
ROWS_WITHIN_SECONDS = 60.0
URLS = ("connectUrl", "clickhouseUrl", "grafanaUrl", "prometheusUrl", "alertmanagerUrl", "kafdropUrl")
"""Shown of what runs."""


def print_summary(outputs: Mapping[str, Any]) -> bool:
    """Print the table of parts, the URLs and the first query; False when a part is down or no row arrived in time."""
    if "connectUrl" not in outputs:
        print("this stack has no outputs yet: bring it up with `make up`")
        return False
    rows = [("part", "version", "image", "health", "address"), *_parts(outputs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()
    for name in URLS:
        if name in outputs:
            print(f"{name:<15} {outputs[name]}")
    for uid, url in outputs.get("dashboards", {}).items():
        print(f"{'dashboard':<15} {uid}: {url}")
    print(f"{'connector':<15} {outputs['connectorName']}: {outputs.get('connectorState')}")
    connections = Connections(outputs=outputs)
    answered = _has_its_data(connections) and _first_query(connections)
    for line in schema_diff.warnings(connections):
        print(f"warning: {line}")
    return answered and all(row[3] == "healthy" for row in rows[1:])


def _parts(outputs: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    addresses = {
        "postgres": outputs["postgresAddress"],
        "kafka": outputs["kafkaBootstrap"],
        "kafka-connect": outputs["connectUrl"],
        "clickhouse": outputs["clickhouseUrl"],
        "prometheus": outputs.get("prometheusUrl", ""),
        "alertmanager": outputs.get("alertmanagerUrl", ""),
        "cdc-exporter": outputs.get("cdcExporterUrl", ""),
        "grafana": outputs.get("grafanaUrl", ""),
        "kafdrop": outputs.get("kafdropUrl", ""),
    }
    parts = []
    for part, container in outputs["containers"].items():
        image = outputs["images"][part]
        parts.append((part, image["version"], image["source"], _health(container), str(addresses.get(part, ""))))
    return parts


def _health(container: str) -> str:
    found = subprocess.run(
        ["docker", "inspect", "--format", "{{json .State}}", container], capture_output=True, text=True, check=False
    )
    if found.returncode:
        return "missing"
    state = json.loads(found.stdout)
    return str(state.get("Health", {}).get("Status") or state.get("Status"))


def _has_its_data(connections: Connections) -> bool:
    """Say so where ClickHouse lost its data: what it had read from Kafka would be missed in silence."""
    try:
        lost = rewind.lost(connections)
    except rewind.FAILURES as error:
        print(f"whether ClickHouse has what it read could not be seen: {error}")
        return False
    if lost:
        print(f"\nWARNING: {rewind.warning(lost)}")
    return not lost


def _first_query(connections: Connections) -> bool:
    deadline = time.monotonic() + ROWS_WITHIN_SECONDS
    client = connections.clickhouse()
    rows: Sequence[tuple[Any, ...]] = []
    while not rows and time.monotonic() < deadline:
        try:
            rows = client.execute(FIRST_QUERY)
        except (clickhouse_errors.Error, OSError) as error:
            print(f"the first query failed: {error}")
            return False
        if not rows:
            time.sleep(0.5)
    client.disconnect()
    print(f"\n{FIRST_QUERY};")
    for row in rows:
        print("  " + "  ".join(str(value) for value in row))
    if not rows:
        print(f"  no row within {ROWS_WITHIN_SECONDS:.0f} s; the log of the part that is not healthy says why")
    return bool(rows)
