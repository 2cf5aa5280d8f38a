"""Rows arrive with the right types and values, whatever is done to them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from tests.e2e.running import Live, eventually

ANYONE = "(SELECT min(id) FROM inventory.customers)"
ANYTHING = "(SELECT min(id) FROM inventory.products)"


def _insert(live: Live, columns: str, values: str) -> int:
    row = live.source(
        f"INSERT INTO inventory.orders (purchaser, product_id, {columns})"
        f" VALUES ({ANYONE}, {ANYTHING}, {values}) RETURNING id"
    )[0]
    return int(row[0])


def test_types_and_values_are_those_of_postgres(live: Live) -> None:
    order = _insert(
        live,
        "order_number, order_date, order_time, quantity, unit_price, status, created_at",
        "'ORD-Ünïcødé-名前-🚚', DATE '1999-12-31', TIMESTAMP '2024-02-29 23:59:59.123456', 800000,"
        " 12345.67, 'SHIPPED', NULL",
    )
    live.wait_equal()
    shown = live.analytics(
        "SELECT order_number, order_date, order_time, quantity, unit_price, total_amount, status, created_at"
        " FROM orders WHERE id = %(id)s",
        {"id": order},
    )
    total = Decimal("12345.67") * 800000
    assert shown == [
        (
            "ORD-Ünïcødé-名前-🚚",
            date(1999, 12, 31),
            datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC),
            800000,
            Decimal("12345.67"),
            total,
            "SHIPPED",
            None,
        )
    ]


@pytest.mark.parametrize("status", ["NULL", "'PENDING'"])
def test_a_null_stays_a_null(live: Live, status: str) -> None:
    order = _insert(live, "quantity, unit_price, status, order_time", f"1, 0.01, {status}, NULL")
    live.wait_equal()
    expected = None if status == "NULL" else "PENDING"
    assert live.analytics("SELECT status, order_time FROM orders WHERE id = %(id)s", {"id": order}) == [
        (expected, None)
    ]


def test_an_update_replaces_and_the_history_keeps_both(live: Live) -> None:
    order = _insert(live, "quantity, unit_price", "1, 10.00")
    live.source("UPDATE inventory.orders SET quantity = 2, status = 'CONFIRMED' WHERE id = %s", order)
    live.source("UPDATE inventory.orders SET quantity = 3 WHERE id = %s", order)
    live.wait_equal()
    history = live.analytics(
        "SELECT operation, quantity, before_quantity FROM orders_final FINAL WHERE id = %(id)s ORDER BY version",
        {"id": order},
    )
    assert history == [("c", 1, None), ("u", 2, 1), ("u", 3, 2)]


def test_a_delete_removes_and_the_history_knows_what_was_there(live: Live) -> None:
    order = _insert(live, "quantity, unit_price", "5, 1.50")
    live.wait_equal()
    live.source("DELETE FROM inventory.orders WHERE id = %s", order)
    live.wait_equal()
    assert live.analytics("SELECT count() FROM orders WHERE id = %(id)s", {"id": order}) == [(0,)]
    gone = live.analytics(
        "SELECT quantity, total_amount FROM orders_final FINAL WHERE id = %(id)s AND operation = 'd'", {"id": order}
    )
    assert gone == [(5, Decimal("7.50"))]


def test_a_row_deleted_and_inserted_again_in_one_transaction_is_there(live: Live) -> None:
    order = _insert(live, "quantity, unit_price", "1, 1.00")
    with live.connections.postgres(autocommit=False) as source:
        source.execute("UPDATE inventory.orders SET quantity = 8 WHERE id = %s", [order])
        source.execute("DELETE FROM inventory.orders WHERE id = %s", [order])
        source.execute(
            "INSERT INTO inventory.orders (id, purchaser, product_id, quantity, unit_price)"
            f" VALUES (%s, {ANYONE}, {ANYTHING}, 9, 2.00)",
            [order],
        )
        source.commit()
    live.wait_equal()
    assert live.analytics("SELECT quantity FROM orders WHERE id = %(id)s", {"id": order}) == [(9,)]


def test_another_purchaser_moves_the_row_to_another_partition_and_keeps_it(live: Live) -> None:
    """The topic is keyed by purchaser: Debezium sends delete and create with one LSN, on two partitions."""
    orders = [_insert(live, "quantity, unit_price", "1, 1.00") for _ in range(10)]
    live.source(
        "UPDATE inventory.orders SET purchaser = (SELECT max(id) FROM inventory.customers) WHERE id = ANY(%s)", orders
    )
    live.wait_equal()


def test_another_primary_key_leaves_no_ghost(live: Live) -> None:
    order = _insert(live, "quantity, unit_price", "4, 1.00")
    live.source("UPDATE inventory.orders SET id = id + 1000000 WHERE id = %s", order)
    live.wait_equal()
    assert live.analytics("SELECT count() FROM orders WHERE id = %(id)s", {"id": order}) == [(0,)]
    live.source("DELETE FROM inventory.orders WHERE id = %s", order + 1_000_000)
    live.wait_equal()


def test_the_canary_travels_the_whole_chain(live: Live) -> None:
    before = live.analytics("SELECT max(beat) FROM heartbeat")[0][0]
    eventually(lambda: live.analytics("SELECT max(beat) FROM heartbeat")[0][0] > before, 30, "another heartbeat")
    lag = live.analytics("SELECT dateDiff('millisecond', max(committed_at), now64(3)) FROM heartbeat")[0][0]
    assert 0 <= lag < 30_000
