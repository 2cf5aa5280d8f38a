"""What the looks at ClickHouse make of its tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clickhouse_driver import Client

from cdc import probes
from tests.sql.clickhouse_container import ClickHouseServer
from tests.sql.events import Feed

pytestmark = pytest.mark.sql


@pytest.fixture
def client(own_feed: Feed, clickhouse: ClickHouseServer) -> Iterator[Client]:
    client = clickhouse.client(database=own_feed.database)
    yield client
    client.disconnect()


def _compared(feed: Feed, *, hours_ago: int, differences: int = 0, error: str = "") -> None:
    feed.connection.run(
        f"INSERT INTO {feed.database}.reconcile_results (finished_at, source_table, differences, error)"
        f" SELECT now64(3) - INTERVAL {hours_ago} HOUR, 'inventory.orders', {differences}, '{error}'"
    )


def _seen(client: Client) -> probes.Reconciled:
    (seen,) = probes.delivery(client, ["inventory.orders"]).reconciled
    return seen


def test_a_comparison_that_failed_proves_nothing(own_feed: Feed, client: Client) -> None:
    _compared(own_feed, hours_ago=9, error="PostgreSQL is away")
    _compared(own_feed, hours_ago=8, error="PostgreSQL is away")
    seen = _seen(client)
    assert seen.age_seconds == pytest.approx(9 * 3600, abs=60), "the first try, while none came to its end"
    assert (seen.differences, seen.error) == (0, "PostgreSQL is away")

    _compared(own_feed, hours_ago=5, differences=3)
    _compared(own_feed, hours_ago=1, error="ClickHouse was restarted")
    seen = _seen(client)
    assert seen.age_seconds == pytest.approx(5 * 3600, abs=60)
    assert (seen.differences, seen.error) == (3, "ClickHouse was restarted"), "a failure must not hide what differs"

    _compared(own_feed, hours_ago=0)
    seen = _seen(client)
    assert seen.age_seconds == pytest.approx(0, abs=60)
    assert (seen.differences, seen.error) == (0, "")
