"""Views over several tables, and aggregates after a TRUNCATE. Rows are put where the streams of the tables put them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.sql.events import Feed, change, order
from tests.sql.test_aggregates import refresh

pytestmark = pytest.mark.sql


def test_a_truncate_empties_every_bucket_at_once(own_feed: Feed) -> None:
    feed = own_feed
    feed.send(*(change("c", lsn=10 + n, after=order(id=n * 70_000)) for n in range(8)))
    refresh(feed)
    assert feed.rows("sum(record_count) FROM @orders_by_status") == [(8,)]
    # As if the orders had come long ago: only the TRUNCATE is new.
    feed.connection.run(
        f"ALTER TABLE {feed.database}.orders_current UPDATE _synced_at = '2020-01-01' WHERE 1"
        " SETTINGS mutations_sync = 2"
    )
    feed.connection.run(
        f"INSERT INTO {feed.database}.truncations (source_table, version, source_time, lsn)"
        f" SELECT 'orders', max(version) + 1, now64(6), 99 FROM {feed.database}.orders_current"
    )
    refresh(feed)
    assert feed.rows("sum(record_count) FROM @orders_by_status") == [(0,)]


def test_an_order_is_there_before_its_customer_and_product(own_feed: Feed) -> None:
    own_feed.send(change("c", lsn=10, after=order(quantity=2)))
    shown = "order_id, customer_name, product_name, total_amount, discount_amount FROM @unified_analytics"
    assert own_feed.rows(shown) == [(1, None, None, Decimal("25.00"), None)]
