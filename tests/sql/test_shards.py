"""Two shards as two databases of one server: every view shows the rows of both, whichever is asked."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cdc.canonical import Column, Shape
from cdc.clickhouse import ClickHouse
from cdc.heal import delete_ghosts
from tests.sql.clickhouse_container import ClickHouseServer
from tests.sql.events import DAYS, MICROS, Feed, change, install, order
from tests.sql.test_aggregates import AGGREGATE, recomputed, spread

pytestmark = pytest.mark.sql


@pytest.fixture
def shards(connection: ClickHouse) -> Iterator[tuple[Feed, Feed]]:
    """Both with the parameters of a cluster, but that a shard is a database: `cluster()` becomes `merge()`."""
    name = f"test_{uuid.uuid4().hex[:8]}"
    both = {"everywhere": f"merge(REGEXP('^{name}_[12]$'), '^", "everywhere_end": "$')"}
    databases = [f"{name}_{number}" for number in (1, 2)]
    try:
        yield install(connection, databases[0], **both), install(connection, databases[1], **both)
    finally:
        for database in databases:
            connection.run(f"DROP DATABASE IF EXISTS {database} SYNC")


def test_rows_history_and_aggregates_are_those_of_both_shards(shards: tuple[Feed, Feed]) -> None:
    rows = [spread(order(id=number, quantity=number)) for number in range(1, 21)]
    for lsn, row in enumerate(rows, start=100):
        shards[row["id"] // 40_000 % 2].send(change("c", lsn=lsn, after=row))
    gone, shard = rows.pop(), shards[0]
    shard.send(change("d", lsn=200, before=gone))
    for each in shards:
        each.connection.run(f"SYSTEM REFRESH VIEW {each.database}.orders_hourly_cells_mv")
        each.connection.run(f"SYSTEM WAIT VIEW {each.database}.orders_hourly_cells_mv")
    for each in shards:
        assert each.rows("id FROM @orders ORDER BY id") == [(row["id"],) for row in rows]
        assert each.rows("count() FROM @orders_distributed") == [(19,)]
        assert each.rows(AGGREGATE) == recomputed(rows)
        assert each.rows("sum(record_count) FROM @orders_by_status") == [(19,)]
        assert each.rows("sum(record_count) FROM @orders_hourly_changes") == [(21,)]
        at = f"fromUnixTimestamp64Micro({MICROS + 150 * 1_000_000}, 'UTC')"
        assert each.rows(f"count() FROM @orders_as_of(at = {at})") == [(20,)]


def test_orders_find_customers_of_another_shard(shards: tuple[Feed, Feed]) -> None:
    first, second = shards
    first.send(change("c", lsn=100, after=order(id=1, purchaser=7)))
    customer = {
        "registration_date": DAYS,
        "id": 7,
        "first_name": "Ada",
        "last_name": "Byron",
        "email": "ada@example.com",
        "country": "UK",
        "created_at": MICROS,
        "updated_at": MICROS,
    }
    message = change("c", lsn=101, after=customer)
    second.send(replace(message, topic="postgres-server.inventory.customers"), table="customers")
    assert second.reasons() == []
    for each in shards:
        assert each.rows("order_id, customer_name FROM @unified_analytics") == [(1, "Ada Byron")]


def test_a_ghost_of_another_shard_gets_its_deletion(shards: tuple[Feed, Feed], clickhouse: ClickHouseServer) -> None:
    """Here it stays where it is inserted; with a cluster T_route takes it to the shard of its key."""
    first, second = shards
    second.send(change("c", lsn=100, after=order(quantity=4)), change("u", lsn=110, before=order(), after=order()))
    first.send(change("c", lsn=101, after=order(id=2)), change("d", lsn=102, before=order(id=3)))
    key = Column(name="id", target_name="id", type="integer", source="id::text", target="toString(id)", free=False)
    shape = Shape(table="inventory.orders", view="orders", key=(key,), columns=(key,), position="id", skipped=())
    client = clickhouse.client(database=first.database)
    delete_ghosts(client, shape, [("1",), ("3",)])
    client.disconnect()
    ((version,),) = second.rows("version FROM @orders_current FINAL")
    # One for the ghost, ranked right above it; what was deleted already gets no second one.
    (ghost,) = first.rows("operation, version, quantity FROM @orders_final FINAL WHERE id = 1")
    assert ghost == ("d", version + 1, 3)
    assert first.rows("operation, lsn, quantity FROM @orders_final FINAL WHERE id = 3") == [("d", 102, 3)]
    assert first.reasons() == []
