"""docs/types.md against the real chain: random rows of every type, in a table that joins the running pipeline."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql

from cdc import migrations
from cdc.add_table import add_table
from cdc.clickhouse_migrations import DIALECT
from tests import kinds
from tests.e2e.running import Live, eventually
from tests.sql.events import parameters

OLD_ROWS = 1000
IDS = count(1, 10_000)
INSERT = sql.SQL("INSERT INTO inventory.kinds (id, {}) VALUES (%s, {})").format(
    sql.SQL(", ").join(map(sql.Identifier, kinds.COLUMNS)), sql.SQL(", ").join([sql.Placeholder()] * len(kinds.COLUMNS))
)


@pytest.fixture(scope="module")
def joined(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The pipeline with a table more, which held rows before; only its migration lies elsewhere than a user's."""
    for statement in (*kinds.UNDO, *kinds.DDL):
        live.source(statement)
    live.source("INSERT INTO inventory.kinds (id, whole) SELECT -n, n FROM generate_series(1, %s) n", OLD_ROWS)
    live.stack.write_config({"tables": [*live.tables, kinds.TABLE]})
    live.stack.make("up")
    folder: Path = tmp_path_factory.mktemp("migrations")
    with live.connections.postgres() as source:
        add_table(source, kinds.TABLE, folder=folder)
    admin = live.connections.clickhouse_admin()
    ((queue,),) = admin.execute("SELECT create_table_query FROM system.tables WHERE name = 'orders_queue'")
    brokers = re.findall(r"kafka_broker_list = '([^']+)'", queue)[0]
    made: list[str] = []
    for file in migrations.load(folder, parameters("analytics", kafka_brokers=brokers), DIALECT):
        for each in file.statements:
            admin.execute(each.sql)
            made += [each.meaning.name] if each.meaning.name else []
    yield live
    for name in reversed(made):
        admin.execute(f"DROP TABLE IF EXISTS analytics.{name} SYNC")
    admin.disconnect()
    live.stack.write_config()
    live.stack.make("up")
    for statement in kinds.UNDO:
        live.source(statement)
    # A group that nobody reads in is what the health check warns of.
    kafka = AdminClient(live.connections.kafka)
    (deleted,) = kafka.delete_consumer_groups(["clickhouse_kinds_group"], request_timeout=30).values()
    deleted.result()
    for topic in kafka.delete_topics([f"postgres-server.{kinds.TABLE}"], request_timeout=30).values():
        topic.result()


def test_rows_from_before_arrive_by_themselves_and_once(joined: Live) -> None:
    old = "SELECT count(), sum(whole) FROM kinds WHERE id < 0"
    eventually(lambda: joined.analytics(old) == [(OLD_ROWS, OLD_ROWS * (OLD_ROWS + 1) // 2)], 60, "the rows of before")
    joined.stack.make("up")
    signals = "SELECT count(*) FROM cdc.signal WHERE type = 'execute-snapshot' AND data LIKE '%kinds%'"
    assert joined.source(signals) == [(1,)]


@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)
@given(rows=st.lists(kinds.ROWS, min_size=30, max_size=60))
def test_every_value_is_shown_or_kept(joined: Live, rows: Sequence[kinds.Row]) -> None:
    first = next(IDS)
    with joined.connections.postgres(autocommit=False) as source:
        for number, row in enumerate(rows, first):
            source.execute(INSERT, [number, *(row[name].text for name in kinds.COLUMNS)])
        source.commit()
    # Changes carry the values of before, too.
    joined.source("UPDATE inventory.kinds SET id = id + 1000 WHERE id >= %s", first)
    there = f"SELECT count(), countIf(id >= {first + 1000}) FROM kinds WHERE id >= {first}"
    eventually(lambda: joined.analytics(there) == [(len(rows), len(rows))], 20, "the rows")
    assert joined.analytics("SELECT reason FROM ingest_errors WHERE source_table = 'kinds'") == []
    found = joined.analytics(f"SELECT {kinds.SHOWN}, _extra FROM kinds WHERE id >= {first} ORDER BY id")
    wrong = kinds.differences(found, rows)
    assert not wrong, "\n".join(wrong)
