"""Loads of the benchmark: inserts, a mix of changes, a snapshot; each ends when its last row has arrived."""
# ruff: noqa: S608  (tables and numbers in these queries are this module's own)

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import requests
from confluent_kafka import Consumer, TopicPartition

from cdc.connections import Connections, Postgres
from cdc.kafka import KafkaAdmin, Topic
from cdc.waiting import Deadline

BATCH: Final = 10_000
"""Rows of one transaction of the insert load."""
MIX: Final = (600, 300, 100)
"""Inserts, updates and deletes of one transaction of the mixed load."""
FIRST_KEY: Final = 1_000_000_000
"""Keys of the orders that are loaded straight into ClickHouse: above all that PostgreSQL gave."""
SNAPSHOT_TABLE: Final = "inventory.bench_orders"
SNAPSHOT_PREFIX: Final = "bench-snapshot"
SNAPSHOT_SLOT: Final = "bench_snapshot_slot"
INSERT: Final = (
    "INSERT INTO inventory.orders (purchaser, quantity, product_id, unit_price)"
    " SELECT c.ids[1 + mod(n, cardinality(c.ids))], 1 + mod(n, 5),"
    " p.ids[1 + mod(n, cardinality(p.ids))], 5 + mod(n, 400)"
    " FROM generate_series(1, %s) AS n, (SELECT array_agg(id) AS ids FROM inventory.customers) AS c,"
    " (SELECT array_agg(id) AS ids FROM inventory.products) AS p"
)
LOOK_SECONDS: Final = 0.25
"""How often a load looks whether its rows are there: also the error of its end."""
Show = Callable[[str], None]


class BenchError(Exception):
    """A measurement can't be made or its rows did not arrive; the message says which."""


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """``rows`` changes, committed within ``source_seconds``, all visible ``seconds`` after the first statement."""

    rows: int
    source_seconds: float
    seconds: float

    @property
    def rate(self) -> float:
        """Rows per second from the first statement to the last row seen."""
        return self.rows / self.seconds


def inserts(
    connections: Connections, rows: int, show: Show, *, batch: int = BATCH, patience: float = 300
) -> Throughput:
    """Insert ``rows`` orders in transactions of ``batch`` rows, as fast as PostgreSQL takes them."""
    with connections.postgres_application() as source:
        first, started, done = _highest(source), time.monotonic(), 0
        while done < rows:
            source.execute(INSERT, [min(batch, rows - done)])
            done += min(batch, rows - done)
        committed = time.monotonic() - started
        show(f"{rows:,} rows committed in {committed:.1f} s")
        expected = _count_above(source, first)
    query = f"SELECT count() FROM orders_current WHERE id > {first} AND id < {FIRST_KEY}"
    seconds = _await(connections, query, lambda seen: seen >= expected, started, patience, show)
    return Throughput(rows=rows, source_seconds=committed, seconds=seconds)


def mixed(connections: Connections, rows: int, show: Show, *, patience: float = 300) -> Throughput:
    """Commit ``rows`` changes: 60 % inserts, 30 % updates, 10 % deletes, a thousand in a transaction."""
    transactions = max(1, rows // sum(MIX))
    with connections.postgres_application() as source:
        first, started = _highest(source), time.monotonic()
        for _ in range(transactions):
            low = _highest(source)
            with source.transaction():
                source.execute(INSERT, [MIX[0]])
                # Of the orders that this transaction placed; keys may have gaps, so they are counted, not computed.
                source.execute(
                    "UPDATE inventory.orders SET quantity = quantity + 1, status = 'CONFIRMED' WHERE id IN"
                    " (SELECT id FROM inventory.orders WHERE id > %s ORDER BY id LIMIT %s)",
                    [low, MIX[1]],
                )
                source.execute(
                    "DELETE FROM inventory.orders WHERE id IN"
                    " (SELECT id FROM inventory.orders WHERE id > %s ORDER BY id DESC LIMIT %s)",
                    [low, MIX[2]],
                )
        committed = time.monotonic() - started
        show(f"{transactions * sum(MIX):,} changes committed in {committed:.1f} s")
        source.execute(INSERT, [1])
        row = source.execute("SELECT sum(quantity) FROM inventory.orders WHERE id > %s", [first]).fetchone()
        last, expected = _highest(source), int(row[0]) if row else 0
    # Topics are ordered by partition only: the last row may overtake others. The sum is right when all kinds are there.
    fence = f"SELECT count() FROM orders_current WHERE id = {last}"
    _await(connections, fence, lambda seen: seen >= 1, started, patience, show)
    query = f"SELECT sum(quantity) FROM orders WHERE id > {first} AND id < {FIRST_KEY}"
    seconds = _await(connections, query, lambda seen: seen == expected, started, patience, show)
    return Throughput(rows=transactions * sum(MIX), source_seconds=committed, seconds=seconds)


def snapshot(connections: Connections, rows: int, show: Show, *, patience: float = 900) -> Throughput:
    """Read ``rows`` existing rows through a second connector of the same worker into a topic of its own."""
    # A name of its own each time: offsets of the last run would say that there is nothing to read.
    topic, name = f"{SNAPSHOT_PREFIX}.{SNAPSHOT_TABLE}", f"{SNAPSHOT_PREFIX}-{time.time():.0f}"
    _prepare_snapshot(connections, rows)
    _kafka(connections).delete([topic])
    _kafka(connections).ensure({topic: Topic(partitions=3, replication=1, config={"retention.ms": "3600000"})})
    url = f"{connections.connect_url}/connectors"
    config = requests.get(f"{url}/{connections.outputs['connectorName']}/config", timeout=30).json()
    routes = ("transforms", "heartbeat", "signal", "message.key.columns", "column.exclude.list", "name")
    config = {key: value for key, value in config.items() if not key.startswith(routes)} | {
        "snapshot.mode": "initial_only",
        "slot.name": SNAPSHOT_SLOT,
        "topic.prefix": SNAPSHOT_PREFIX,
        "table.include.list": SNAPSHOT_TABLE,
    }
    started = time.monotonic()
    try:
        requests.put(f"{url}/{name}/config", json=config, timeout=60).raise_for_status()
        seconds = _await_topic(connections, topic, rows, started, patience, show)
    finally:
        requests.delete(f"{url}/{name}", timeout=60)
        _clean_snapshot(connections, topic)
    return Throughput(rows=rows, source_seconds=0, seconds=seconds)


def _prepare_snapshot(connections: Connections, rows: int) -> None:
    with connections.postgres() as source:
        source.execute("SELECT set_config('cdc.quiet', 'on', false)")
        source.execute(f"DROP TABLE IF EXISTS {SNAPSHOT_TABLE}".encode())
        # Unlogged: the rows are to be read, not streamed.
        made = (
            f"CREATE UNLOGGED TABLE {SNAPSHOT_TABLE} AS SELECT n AS id, 'ORD-' || n AS order_number,"
            " CURRENT_DATE AS order_date, LOCALTIMESTAMP AS order_time, n % 1000 AS purchaser, n % 5 AS quantity,"
            " n % 15 AS product_id, (n % 400)::decimal(10,2) AS unit_price, 'PENDING'::varchar(20) AS status,"
            f" LOCALTIMESTAMP AS created_at, LOCALTIMESTAMP AS updated_at FROM generate_series(1, {rows}) AS n"
        )
        source.execute(made.encode())
        source.execute(f"ALTER TABLE {SNAPSHOT_TABLE} ADD PRIMARY KEY (id)".encode())
        source.execute(f"GRANT SELECT ON {SNAPSHOT_TABLE} TO debezium_user".encode())


def _clean_snapshot(connections: Connections, topic: str) -> None:
    """Take away table, slot and topic; the slot is held until the connector has stopped."""
    with connections.postgres() as source:
        source.execute(f"DROP TABLE IF EXISTS {SNAPSHOT_TABLE}".encode())
        deadline = Deadline(60)
        while source.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", [SNAPSHOT_SLOT]).fetchone():
            source.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                " WHERE slot_name = %s AND NOT active",
                [SNAPSHOT_SLOT],
            )
            if deadline.expired:
                raise BenchError(f"replication slot {SNAPSHOT_SLOT} is still in use: drop it, it holds back WAL")
            deadline.sleep(0.5)
    _kafka(connections).delete([topic])


def _kafka(connections: Connections) -> KafkaAdmin:
    return KafkaAdmin(str(connections.outputs["kafkaBootstrap"]), Deadline(60))


def _highest(source: Postgres) -> int:
    row = source.execute("SELECT coalesce(max(id), 0) FROM inventory.orders").fetchone()
    return int(row[0]) if row else 0


def _count_above(source: Postgres, first: int) -> int:
    row = source.execute("SELECT count(*) FROM inventory.orders WHERE id > %s", [first]).fetchone()
    return int(row[0]) if row else 0


def _await(
    connections: Connections, query: str, enough: Callable[[int], bool], started: float, patience: float, show: Show
) -> float:
    """Seconds since ``started`` when ``query`` gives enough. Raises BenchError after ``patience`` more seconds."""
    client, deadline, shown = connections.clickhouse(), Deadline(patience), time.monotonic()
    try:
        while not enough(seen := int(client.execute(query)[0][0])):
            if deadline.expired:
                raise BenchError(f"after {patience:.0f} s ClickHouse shows {seen:,} rows: {query}")
            if time.monotonic() - shown >= 5:
                shown = time.monotonic()
                show(f"{seen:,} rows visible after {shown - started:.0f} s")
            # Looking costs the server CPU that the load needs.
            time.sleep(LOOK_SECONDS)
        return time.monotonic() - started
    finally:
        client.disconnect()


def _await_topic(connections: Connections, topic: str, rows: int, started: float, patience: float, show: Show) -> float:
    """Seconds until ``topic`` holds ``rows`` messages; the few markers of transactions count as rows."""
    group = {**connections.kafka, "group.id": SNAPSHOT_PREFIX}
    consumer, deadline, shown = Consumer(group), Deadline(patience), time.monotonic()
    try:
        while True:
            marks = [consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=10) for n in range(3)]
            seen = sum(mark[1] for mark in marks if mark)
            if seen >= rows:
                return time.monotonic() - started
            if deadline.expired:
                raise BenchError(f"after {patience:.0f} s the snapshot has written {seen:,} of {rows:,} rows")
            if time.monotonic() - shown >= 5:
                shown = time.monotonic()
                show(f"snapshot: {seen:,} of {rows:,} rows after {shown - started:.0f} s")
            time.sleep(0.1)
    finally:
        consumer.close()
