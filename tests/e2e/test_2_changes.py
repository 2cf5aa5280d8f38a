"""Every kind of change in every table, through the whole chain and back again."""

from __future__ import annotations

import pytest

from cdc import schema_diff
from tests.e2e.running import Live, eventually

ORDER = (
    "INSERT INTO inventory.orders (purchaser, product_id, quantity, unit_price)"
    " SELECT (SELECT min(id) FROM inventory.customers), (SELECT min(id) FROM inventory.products), 1, 2.50"
)
INSERTS = {
    "customers": "INSERT INTO inventory.customers (first_name, last_name, email)"
    " VALUES ('Ünï', 'Ç', gen_random_uuid() || '@example.org')",
    "products": "INSERT INTO inventory.products (sku, name, category, price, weight_kg)"
    " VALUES (gen_random_uuid(), 'a thing', 'things', 9.99, 0.125)",
    "orders": ORDER,
    "inventory": "WITH product AS (INSERT INTO inventory.products (sku, name, category, price)"
    " VALUES (gen_random_uuid(), 'stocked', 'things', 1) RETURNING id)"
    " INSERT INTO inventory.inventory (product_id, quantity) SELECT id, 5 FROM product",
    "shipments": "INSERT INTO inventory.shipments (order_id, carrier, shipped_at)"
    " SELECT min(id), 'carrier', now() FROM inventory.orders",
}
UPDATES = {
    "customers": "phone = NULL, city = 'Zürich'",
    "products": "price = price + 0.01, active = NOT active",
    "orders": "quantity = quantity + 1, status = 'CONFIRMED'",
    "inventory": "quantity = quantity + 7, reserved = 1",
    "shipments": "status = 'DELIVERED', delivered_at = now() + interval '1 day'",
}


@pytest.mark.parametrize("table", INSERTS)
def test_insert_update_and_delete(live: Live, table: str) -> None:
    key = "product_id" if table == "inventory" else "id"
    (row,) = live.source(f"{INSERTS[table]} RETURNING {key}")
    live.wait_equal(tables=[f"inventory.{table}"])
    live.source(f"UPDATE inventory.{table} SET {UPDATES[table]} WHERE {key} = %s", row[0])
    live.wait_equal(tables=[f"inventory.{table}"])
    live.source(f"DELETE FROM inventory.{table} WHERE {key} = %s", row[0])
    live.wait_equal(tables=[f"inventory.{table}"])
    history = f"SELECT operation FROM {table}_final FINAL WHERE {key} = %(row)s ORDER BY version"
    assert live.analytics(history, {"row": row[0]}) == [("c",), ("u",), ("d",)]


def test_several_changes_of_a_row_in_one_transaction(live: Live) -> None:
    (row,) = live.source(f"{INSERTS['products']} RETURNING id")
    with live.connections.postgres(autocommit=False) as source:
        for price in range(20):
            source.execute("UPDATE inventory.products SET price = %s WHERE id = %s", [price, row[0]])
        source.execute("DELETE FROM inventory.products WHERE id = %s", [row[0]])
        source.execute(
            "INSERT INTO inventory.products (id, sku, name, category, price) VALUES (%s, %s, 'again', 'things', 3)",
            [row[0], f"again-{row[0]}"],
        )
        source.execute("UPDATE inventory.products SET id = id + 1000000 WHERE id = %s", [row[0]])
        source.execute("UPDATE inventory.products SET price = 4 WHERE id = %s", [row[0] + 1000000])
        source.commit()
    live.wait_equal(tables=["inventory.products"])
    live.source("DELETE FROM inventory.products WHERE id = %s", row[0] + 1000000)
    live.wait_equal(tables=["inventory.products"])


def test_a_large_value_that_an_update_leaves_alone_stays(live: Live) -> None:
    """It is stored outside the row, and PostgreSQL sends it again only because of REPLICA IDENTITY FULL."""
    (row,) = live.source(f"{INSERTS['products']} RETURNING id")
    live.source(
        "UPDATE inventory.products SET description ="
        " (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 1000) n) WHERE id = %s",
        row[0],
    )
    live.wait_equal(tables=["inventory.products"])
    live.source("UPDATE inventory.products SET price = 77 WHERE id = %s", row[0])
    live.wait_equal(tables=["inventory.products"])
    shown = live.analytics("SELECT length(description), price = 77 FROM products WHERE id = %(id)s", {"id": row[0]})
    assert shown == [(32_000, 1)]
    live.source("DELETE FROM inventory.products WHERE id = %s", row[0])


def test_truncate_empties_and_what_comes_after_stays(live: Live) -> None:
    live.source(INSERTS["shipments"])
    live.wait_equal(tables=["inventory.shipments"])
    kept = live.source("SELECT order_id, carrier FROM inventory.shipments ORDER BY id")
    try:
        live.source("TRUNCATE inventory.shipments")
        live.source(INSERTS["shipments"])
        assert live.wait_equal(tables=["inventory.shipments"]) == 1
    finally:
        live.source("TRUNCATE inventory.shipments")
        for order, carrier in kept:
            live.source("INSERT INTO inventory.shipments (order_id, carrier) VALUES (%s, %s)", order, carrier)
    assert live.wait_equal(tables=["inventory.shipments"]) == len(kept)


def test_a_large_copy_arrives_whole_and_goes_whole(live: Live) -> None:
    count, name = 100_000, "copied"
    order = live.source("SELECT min(id) FROM inventory.orders")[0][0]
    with live.connections.postgres(autocommit=False) as source:
        with source.cursor().copy("COPY inventory.shipments (order_id, carrier) FROM STDIN") as copy:
            for _ in range(count):
                copy.write_row((order, name))
        source.commit()
    arrived = f"SELECT count() FROM shipments WHERE carrier = '{name}'"
    eventually(lambda: live.analytics(arrived) == [(count,)], 90, f"{count} copied rows", every=0.5)
    live.source("UPDATE inventory.shipments SET status = 'RETURNED' WHERE carrier = %s", name)
    updated = f"{arrived} AND status = 'RETURNED'"
    eventually(lambda: live.analytics(updated) == [(count,)], 90, f"{count} updated rows", every=0.5)
    live.source("DELETE FROM inventory.shipments WHERE carrier = %s", name)
    eventually(lambda: live.analytics(arrived) == [(0,)], 90, "copied rows gone", every=0.5)
    live.wait_equal(tables=["inventory.shipments"])


def test_a_column_that_is_added_while_rows_flow_is_kept_and_named(live: Live) -> None:
    live.source("ALTER TABLE inventory.customers ADD COLUMN nickname text")
    try:
        (row,) = live.source(
            "INSERT INTO inventory.customers (first_name, last_name, email, nickname)"
            " VALUES ('A', 'B', gen_random_uuid() || '@example.org', 'Zoë') RETURNING id"
        )
        kept = "SELECT _extra['nickname'] FROM customers WHERE id = %(id)s"
        eventually(lambda: live.analytics(kept, {"id": row[0]}) == [("Zoë",)], 30, "nickname in _extra")
        (warning,) = schema_diff.warnings(live.connections)
        assert warning.startswith("inventory.customers.nickname is not in ClickHouse yet")
        live.source("DELETE FROM inventory.customers WHERE id = %s", row[0])
    finally:
        live.source("ALTER TABLE inventory.customers DROP COLUMN nickname")
    live.wait_equal(tables=["inventory.customers"])
    assert schema_diff.warnings(live.connections) == []
