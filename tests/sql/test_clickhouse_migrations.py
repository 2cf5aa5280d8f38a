"""The migrations and their provider on a real ClickHouse."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import pytest

from cdc import clickhouse_lease, migrations
from cdc.clickhouse import ClickHouse, ClickHouseError, Endpoint
from cdc.clickhouse_lease import lease
from cdc.clickhouse_migrations import ClickHouseTarget
from cdc.migrations import MigrationError, Plan
from cdc.waiting import Deadline
from components.providers import clickhouse_schema
from components.providers.base import ProviderError
from components.providers.clickhouse_schema import ClickHouseSchemaProvider
from tests.sql.clickhouse_container import ADMIN, clickhouse_server
from tests.sql.events import Feed, Message, change, install, order, parameters

pytestmark = pytest.mark.sql
PROVIDER = ClickHouseSchemaProvider()

# The shape of our files without Kafka, whose consumers take seconds to close when no broker answers.
FIRST = """
CREATE TABLE IF NOT EXISTS {{database}}.t {{on_cluster}} (a Int32, at DateTime DEFAULT now())
ENGINE = MergeTree ORDER BY a;
ALTER TABLE {{database}}.t MODIFY TTL at + INTERVAL {{history_ttl_days}} DAY;
CREATE TABLE {{database}}.source (a Int32) ENGINE = Null;
CREATE OR REPLACE VIEW {{database}}.v AS SELECT a FROM {{database}}.t;
CREATE MATERIALIZED VIEW {{database}}.mv TO {{database}}.t AS SELECT a + {{epoch}} AS a FROM {{database}}.source;
"""
RESTATED = (
    "CREATE MATERIALIZED VIEW {{{{database}}}}.mv TO {{{{database}}}}.t AS SELECT {} AS a FROM {{{{database}}}}.source;"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of this test's own, which the provider uses too."""
    (tmp_path / "0001_first.sql").write_text(FIRST)
    monkeypatch.setattr(clickhouse_schema, "FOLDER", tmp_path)
    return tmp_path


class Schema:
    """A database and the folder that is applied to it."""

    def __init__(self, connection: ClickHouse, database: str, folder: Path) -> None:
        self.connection, self.database, self.folder = connection, database, folder
        self.progress: list[str] = []

    def target(self, **changed: str) -> ClickHouseTarget:
        values = parameters(self.database, history_ttl_days="3650") | changed
        return ClickHouseTarget(self.connection, values, report=self.progress.append)

    def apply(self, **changed: str) -> Plan:
        values = parameters(self.database, history_ttl_days="3650") | changed
        return migrations.apply(self.target(**changed), self.folder, values)

    def feed(self, *values: int) -> list[int]:
        for value in values:
            self.connection.run(f"INSERT INTO {self.database}.source SELECT {value}")
        return [row[0] for row in self.connection.rows(f"SELECT a FROM {self.database}.t ORDER BY a")]

    def run(self, sql: str) -> None:
        self.connection.run(sql.replace("@", f"{self.database}."))

    def drift(self) -> list[str]:
        return self.target().objects.drift()


@pytest.fixture
def schema(connection: ClickHouse, database: str, folder: Path) -> Schema:
    return Schema(connection, database, folder)


def test_applied_twice_is_applied_once(schema: Schema) -> None:
    assert schema.target().objects.remembered() == {}
    assert len(schema.apply().steps) == 2
    assert schema.feed(1) == [1]
    schema.progress.clear()
    assert schema.apply().steps == ()
    assert schema.progress == []
    assert schema.drift() == []


def test_a_parameter_of_a_view_makes_the_path_anew_and_keeps_data(schema: Schema) -> None:
    schema.apply()
    schema.feed(1)
    schema.apply(epoch="100")
    assert schema.feed(2) == [1, 102]
    assert schema.progress[-1] == "pausing ingestion: mv will be made anew"


def test_a_parameter_of_a_ttl_is_applied_to_the_table_that_is_there(schema: Schema) -> None:
    schema.apply()
    schema.feed(1)
    schema.apply(history_ttl_days="77")
    assert "toIntervalDay(77)" in schema.target().objects.live()["t"].definition
    assert schema.feed() == [1]
    assert schema.drift() == []


def test_a_parameter_of_a_table_with_data_is_refused(schema: Schema) -> None:
    schema.apply()
    with pytest.raises(MigrationError, match=r"0001_first.sql statement 1 .* other parameters"):
        schema.apply(on_cluster="ON CLUSTER 'x'")


def test_a_new_file_restates_a_view_and_adds_a_column(schema: Schema) -> None:
    schema.apply()
    schema.feed(1)
    (schema.folder / "0002_more.sql").write_text(
        "ALTER TABLE {{database}}.t ADD COLUMN IF NOT EXISTS c Int32 DEFAULT 5;"
        "CREATE MATERIALIZED VIEW {{database}}.mv TO {{database}}.t AS SELECT a, 9 AS c FROM {{database}}.source;"
        "DROP VIEW IF EXISTS {{database}}.v;"
    )
    assert schema.apply().version == 2
    schema.feed(2)
    assert schema.connection.rows(f"SELECT a, c FROM {schema.database}.t ORDER BY a") == [(1, 5), (2, 9)]
    assert "v" not in schema.target().objects.live()
    assert schema.drift() == []
    assert schema.apply().steps == ()


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ("DROP VIEW @v", r"\.v is missing\. The next `pulumi up` makes it anew$"),
        ("DROP VIEW @mv", r"\.mv is missing\..*set the consumer group back"),
        ("CREATE OR REPLACE VIEW @v AS SELECT a, 1 AS x FROM @t", r"\.v was changed: .*"),
        ("DROP TABLE @source", r"\.source is missing"),
    ],
)
def test_objects_without_data_are_mended(schema: Schema, change: str, finding: str) -> None:
    schema.apply()
    schema.feed(1)
    schema.run(change)
    (line,) = schema.drift()
    assert re.search(finding, line), line
    schema.apply()
    assert schema.drift() == []
    assert schema.feed(2) == [1, 2]


def test_a_changed_table_is_reported_and_a_new_file_accepts_it(schema: Schema) -> None:
    schema.apply()
    schema.run("ALTER TABLE @t ADD COLUMN extra String")
    (line,) = schema.drift()
    assert "t holds data and was changed outside the migrations" in line
    assert "+ `extra` String" in line
    with pytest.raises(MigrationError, match="changed outside the migrations"):
        schema.apply()
    assert len(schema.drift()) == 1
    (schema.folder / "0002_extra.sql").write_text("ALTER TABLE {{database}}.t ADD COLUMN IF NOT EXISTS extra String;")
    schema.apply()
    assert schema.drift() == []


def test_a_missing_table_is_reported_and_never_made_anew(schema: Schema) -> None:
    schema.apply()
    schema.run("DROP TABLE @t SYNC")
    with pytest.raises(MigrationError, match=r"made by 0001_first.sql statement 1\) holds data and is missing"):
        schema.apply()
    assert "t" not in schema.target().objects.live()
    assert "Restore it from a backup" in schema.drift()[0]


def test_a_table_with_data_in_the_place_of_a_view_is_left_alone(schema: Schema) -> None:
    schema.run(f"CREATE DATABASE {schema.database} ENGINE = Atomic")
    schema.run("CREATE TABLE @v (a Int32) ENGINE = MergeTree ORDER BY a")
    with pytest.raises(MigrationError, match=r"v is a table with data \(MergeTree\)"):
        schema.apply()
    assert schema.target().objects.live()["v"].engine == "MergeTree"


def test_a_failed_statement_says_where_and_the_next_run_goes_on(schema: Schema) -> None:
    schema.apply()
    second = schema.folder / "0002_second.sql"
    second.write_text("INSERT INTO {{database}}.t (a) SELECT 7;\nINSERT INTO {{database}}.t (nothing) SELECT 1;")
    with pytest.raises(MigrationError, match=r"0002_second.sql statement 2 \(line 2: INSERT .*\) failed: code 16"):
        schema.apply()
    second.write_text("INSERT INTO {{database}}.t (a) SELECT 7;\nINSERT INTO {{database}}.t (a) SELECT 8;")
    schema.apply()
    assert schema.feed() == [7, 8]


def test_a_definition_that_fails_leaves_the_old_path_working(schema: Schema) -> None:
    schema.apply()
    schema.feed(1)
    second = schema.folder / "0002_second.sql"
    second.write_text(RESTATED.format("no"))
    with pytest.raises(MigrationError, match=r"0002_second.sql statement 1 .* failed: .*`no`"):
        schema.apply()
    assert schema.progress[-1] == "ingestion goes on as before"
    assert schema.feed(2) == [1, 2]
    second.write_text(RESTATED.format("a * 10"))
    schema.apply()
    assert schema.feed(3) == [1, 2, 30]


def test_an_insert_whose_end_nobody_saw_is_settled_by_hand(schema: Schema) -> None:
    schema.apply()
    (schema.folder / "0002_second.sql").write_text("INSERT INTO {{database}}.t (a) SELECT 7;")
    target = schema.target()
    (_, second) = migrations.load(schema.folder, parameters(schema.database, history_ttl_days="3650"), target)
    statement = second.statements[0]
    started = migrations.Record(
        version=2,
        name=second.name,
        statement=1,
        checksum=migrations.checksum(statement.source),
        rendered=migrations.checksum(statement.sql),
        state="started",
    )
    target.record(started)
    with pytest.raises(MigrationError, match="end was never recorded") as refusal:
        schema.apply()
    schema.connection.run(str(refusal.value).split("`")[1])
    schema.apply()
    assert schema.feed() == []


def test_history_survives_what_an_engine_says(schema: Schema) -> None:
    schema.apply()
    text = "it's \\ 100 %(x)s \n日本"
    target = schema.target()
    target.record(
        migrations.Record(
            version=9, name="x", statement=1, checksum="c", rendered="r", state="failed", error=text, duration_ms=3
        )
    )
    assert target.history()[-1].error == text


def _hold(endpoint: Endpoint, table: str, owner: str, wait: float) -> Any:
    return lease(endpoint, table, owner, wait_seconds=wait, report=lambda _: None)


def test_the_lease_has_one_holder(schema: Schema, endpoint: Endpoint) -> None:
    schema.apply()
    table = f"{schema.database}.schema_lock"
    with (
        _hold(endpoint, table, "a:1", 5),
        pytest.raises(MigrationError, match=r"a:1 .* is applying migrations"),
        _hold(endpoint, table, "b:2", 0.1),
    ):
        pass
    with _hold(endpoint, table, "b:2", 5):
        pass


def test_of_many_at_once_one_after_the_other_holds_the_lease(schema: Schema, endpoint: Endpoint) -> None:
    schema.apply()
    inside, most, guard = 0, 0, threading.Lock()

    def work(owner: str) -> None:
        nonlocal inside, most
        with _hold(endpoint, f"{schema.database}.schema_lock", owner, 60):
            with guard:
                inside += 1
                most = max(most, inside)
            Deadline(0.2).sleep(0.2)
            with guard:
                inside -= 1

    workers = [threading.Thread(target=work, args=(f"host:{n}",)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (inside, most) == (0, 1)


def test_a_dead_holders_lease_ends(schema: Schema, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    schema.apply()
    monkeypatch.setattr(clickhouse_lease, "LEASE_SECONDS", 2)
    table = f"{schema.database}.schema_lock"
    schema.run(
        "INSERT INTO @schema_lock (owner, acquired, expires) SELECT 'dead:1', now64(6), now64(6) + INTERVAL 2 SECOND"
    )
    with _hold(endpoint, table, "next:2", 30):
        pass


def _props(endpoint: Endpoint, database: str, **changed: Any) -> dict[str, Any]:
    props = {
        "host": endpoint.host,
        "port": float(endpoint.port),
        "user": endpoint.user,
        "password": endpoint.password,
        "database": database,
        "parameters": parameters(database, history_ttl_days="3650"),
        "files": {"0001_first.sql": "x"},
        "timeout_seconds": 60.0,
        "provider_version": "1",
        "__provider": "stored",
    }
    return {**props, **changed}


def test_the_provider_from_create_to_delete(schema: Schema, endpoint: Endpoint) -> None:
    props = _props(endpoint, schema.database)
    created = PROVIDER.create(props)
    outs: dict[str, Any] = created.outs or {}
    assert created.id == schema.database
    assert outs["applied"] == ["0001_first.sql"]
    assert outs["schema_version"] == "1"
    assert outs["drift"] == []
    assert {key: outs[key] for key in props if key != "__provider"} == {
        key: value for key, value in props.items() if key != "__provider"
    }
    assert PROVIDER.diff(created.id, outs, props).changes is False

    read = PROVIDER.read(created.id, outs)
    assert (read.id, read.outs) == (created.id, outs)
    schema.run("DROP VIEW @v")
    seen: dict[str, Any] = PROVIDER.read(created.id, outs).outs or {}
    assert "v is missing" in seen["drift"][0]
    assert PROVIDER.diff(created.id, seen, props).changes is True
    assert PROVIDER.update(created.id, seen, props).outs == outs
    assert "v" in schema.target().objects.live()

    PROVIDER.delete(created.id, outs)
    assert schema.feed(1) == [1]


def test_a_database_that_is_gone_is_a_resource_that_is_gone(schema: Schema, endpoint: Endpoint) -> None:
    assert PROVIDER.read(schema.database, _props(endpoint, schema.database)).id is None


def test_a_wrong_password_names_user_and_cure_and_not_the_password(endpoint: Endpoint, database: str) -> None:
    with pytest.raises(ProviderError, match=r"refuses user 'cdc_admin'.*users\.d") as error:
        PROVIDER.create(_props(endpoint, database, password="wrong-one"))
    assert "wrong-one" not in str(error.value)


def test_nobody_answers_in_time(endpoint: Endpoint, database: str) -> None:
    with pytest.raises(ProviderError, match=r"127.0.0.1:1 does not answer.*tried for 1 s.*docker ps"):
        PROVIDER.create(_props(endpoint, database, port=1, timeout_seconds=1))


def test_our_own_files_from_nothing_to_a_changed_interval(connection: ClickHouse, database: str) -> None:
    schema = Schema(connection, database, clickhouse_schema.FOLDER)
    schema.apply()
    assert schema.drift() == []
    assert schema.apply(flush_interval_ms="500").steps == ()
    live = schema.target().objects.live()
    assert "kafka_flush_interval_ms = 500" in live["orders_queue"].definition
    assert {"orders_mv", "orders_final_mv", "orders_current_mv", "orders_errors_mv"} <= set(live)
    assert schema.drift() == []


def test_an_error_of_the_server_has_no_stack_trace(connection: ClickHouse) -> None:
    with pytest.raises(ClickHouseError, match=r"code 60: .*nowhere") as error:
        connection.rows("SELECT 1 FROM nowhere")
    assert "Stack trace" not in str(error.value)


def test_our_schema_comes_back_after_a_kill() -> None:
    """The server writes definitions down in its own words and must be able to read them again."""
    with clickhouse_server() as server:
        endpoint = Endpoint(
            host=server.host, port=server.native_port, user=ADMIN, password=server.users[ADMIN].password
        )
        with ClickHouse.connect(endpoint, Deadline(30)) as connection:
            feed = install(connection, "analytics")
            feed.send(change("c", lsn=1, after=order()))
        server.restart(kill=True)
        with ClickHouse.connect(endpoint, Deadline(30)) as connection:
            feed = Feed(connection=connection, database="analytics")
            feed.send(change("u", lsn=2, before=order(), after=order(quantity=5)), Message(raw="{}"))
            assert feed.rows("quantity FROM @orders") == [(5,)]
            assert feed.rows("quantity FROM @orders_as_of(at = '2026-01-01 00:00:01')") == [(3,)]
            assert feed.reasons() == ['no change event: op is ""']
