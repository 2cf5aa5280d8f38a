"""A plain HTTP request to a ClickHouse under test."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

from tests.sql.clickhouse_container import ADMIN, ClickHouseServer


def http(server: ClickHouseServer, path: str, **options: Any) -> tuple[int, Any, bytes]:
    """(status, headers, body) of a request as the admin user, unless headers say otherwise."""
    headers = options.pop("headers", {"X-ClickHouse-User": ADMIN, "X-ClickHouse-Key": server.users[ADMIN].password})
    request = urllib.request.Request(f"http://{server.host}:{server.http_port}{path}", headers=headers, **options)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()
