"""Asks the running stack what Grafana would ask for a panel: macros and intervals filled in, its own time range."""

from __future__ import annotations

import re
import time
from typing import Any

import requests

from cdc.connections import Connections
from tests.dashboards import Query

UNITS = {"m": 60, "h": 3600, "d": 86400}
INTERVAL_SECONDS = 60


def seconds(start: str) -> int:
    """Length of a dashboard's range from its ``from``, for example now-1h."""
    match = re.fullmatch(r"now-(\d+)([mhd])", start)
    assert match, start
    return int(match[1]) * UNITS[match[2]]


def rows(connections: Connections, query: Query, span: int) -> list[Any]:
    """What comes back for the last ``span`` seconds. Raises what the data source says against the query."""
    if query.datasource == "prometheus":
        return promql(connections, query.text, span)
    if query.datasource == "clickhouse":
        return clickhouse(connections, query.text, span)
    with connections.postgres_operator() as connection:
        return list(connection.execute(query.text.encode()).fetchall())


def promql(connections: Connections, text: str, span: int = 3600) -> list[Any]:
    """Series of an instant query."""
    expression = text.replace("$__rate_interval", "1m").replace("$__range", f"{span}s")
    answer = requests.post(
        f"{connections.outputs['prometheusUrl']}/api/v1/query", data={"query": expression}, timeout=30
    ).json()
    assert answer["status"] == "success", answer
    return list(answer["data"]["result"])


def clickhouse(connections: Connections, text: str, span: int) -> list[Any]:
    """Rows over HTTP, as Grafana's plugin asks, with the user that only reads."""
    end = int(time.time()) + 1
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 >= toDateTime({end - span}) AND \1 <= toDateTime({end})", text)
    sql = re.sub(
        r"\$__timeInterval\((\w+)\)", rf"toStartOfInterval(toDateTime(\1), INTERVAL {INTERVAL_SECONDS} second)", sql
    )
    outputs = connections.outputs
    answer = requests.post(
        outputs["clickhouseUrl"],
        params={"database": outputs["clickhouseDatabase"], "default_format": "JSON"},
        headers={"X-ClickHouse-User": outputs["clickhouseUser"], "X-ClickHouse-Key": outputs["clickhousePassword"]},
        data=sql.encode(),
        timeout=30,
    )
    assert answer.ok, answer.text
    return list(answer.json()["data"])
