"""The source provider against a real PostgreSQL."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from cdc.waiting import Deadline
from components.providers.base import ProviderError
from components.providers.new_tables import NewTablesProvider
from components.providers.source_schema import SourceSchemaProvider
from tests.sql import postgres_instance
from tests.sql.postgres_instance import Instance

pytestmark = pytest.mark.sql
PROVIDER = SourceSchemaProvider()
Props = dict[str, Any]


@pytest.fixture(scope="module")
def server() -> Iterator[Instance]:
    with postgres_instance.running() as instance:
        yield instance


@pytest.fixture
def database(server: Instance) -> str:
    name = f"d{secrets.token_hex(4)}"
    with server.connect() as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return name


@pytest.fixture
def props(server: Instance, database: str) -> Props:
    """Inputs as the engine hands them over: numbers are floats."""
    return {
        "host": server.host,
        "port": float(server.port),
        "database": database,
        "admin_user": "postgres",
        "admin_password": server.password,
        "debezium_user": f"{database}_user",
        "debezium_password": "first-secret-password",
        "operator_user": f"{database}_operator",
        "operator_password": "operators-secret-password",
        "reader_user": f"{database}_reader",
        "reader_password": "readers-secret-password",
        "application_user": f"{database}_shop",
        "application_password": "shops-secret-password",
        "publication": "debezium_pub",
        "slot": f"{database}_slot",
        "tables": ["inventory.orders", "inventory.customers"],
        "managed": True,
        "timeout_seconds": 30.0,
        "provider_version": "1",
    }


def sql(server: Instance, database: str, *statements: str) -> list[Any]:
    with server.connect(database) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_managed_source_is_made_whole_and_stays_so(server: Instance, database: str, props: Props) -> None:
    made = PROVIDER.create(props)
    assert made.outs is not None
    assert made.outs["generated_columns"] == ["inventory.orders.total_amount"]
    assert made.outs["drift"] == []
    assert not PROVIDER.diff(made.id, made.outs, props).changes
    counts = sql(
        server,
        database,
        "SELECT (SELECT count(*) FROM inventory.customers), (SELECT count(*) FROM inventory.products),"
        " (SELECT count(*) FROM inventory.orders), (SELECT count(*) FROM cdc.heartbeat),"
        " (SELECT count(*) FROM inventory.orders WHERE total_amount <> quantity * unit_price)",
    )
    assert counts == [(20, 15, 60, 1, 0)]
    published = sql(server, database, "SELECT schemaname || '.' || tablename FROM pg_publication_tables ORDER BY 1")
    assert [row[0] for row in published] == [
        "cdc.heartbeat", "cdc.schema_changes", "cdc.signal", "inventory.customers", "inventory.orders",
    ]  # fmt: skip


def test_second_run_writes_nothing(server: Instance, database: str, props: Props) -> None:
    first = PROVIDER.create(props)
    before = sql(server, database, "SELECT pg_current_wal_insert_lsn()")
    again = PROVIDER.create(props)
    assert again.outs == first.outs
    # Reading can write hint bits but no rows: no transaction was given a number since.
    assert sql(server, database, "SELECT count(*) FROM cdc.schema_migrations WHERE state = 'failed'") == [(0,)]
    moved = sql(server, database, f"SELECT pg_current_wal_insert_lsn() - '{before[0][0]}'::pg_lsn")[0][0]
    assert moved < 20000


def test_password_is_rotated_and_never_logged(server: Instance, database: str, props: Props) -> None:
    made = PROVIDER.create(props)
    assert made.outs is not None
    user = props["debezium_user"]
    server_login = {"host": server.host, "port": server.port, "dbname": database, "user": user}
    psycopg.connect(**server_login, password="first-secret-password").close()
    news = {**props, "debezium_password": "second-secret-password"}
    assert PROVIDER.diff(made.id, made.outs, news).changes
    PROVIDER.update(made.id, made.outs, news)
    psycopg.connect(**server_login, password="second-secret-password").close()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(**server_login, password="first-secret-password")
    log = server.log()
    assert f'ALTER ROLE "{user}"' in log, "statements are logged here, or the next line proves nothing"
    assert "secret-password" not in log


def test_user_may_do_only_what_capturing_needs(server: Instance, database: str, props: Props) -> None:
    PROVIDER.create(props)
    login = {"host": server.host, "port": server.port, "dbname": database, "user": props["debezium_user"]}
    with psycopg.connect(**login, password=props["debezium_password"], autocommit=True) as connection:
        connection.execute("UPDATE cdc.heartbeat SET beat = beat + 1, committed_at = clock_timestamp()")
        connection.execute("INSERT INTO cdc.signal VALUES ('1', 'log', '{}')")
        assert connection.execute("SELECT count(*) FROM inventory.orders").fetchone() == (60,)
        for denied in (
            "UPDATE inventory.orders SET quantity = 1",
            "DELETE FROM cdc.schema_changes",
            "SELECT 1 FROM inventory.products",
            "CREATE TABLE cdc.mine (id int)",
            "SELECT * FROM cdc.schema_migrations",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(denied)


def test_the_operator_reads_what_is_captured_and_sends_signals(server: Instance, database: str, props: Props) -> None:
    PROVIDER.create(props)
    login = {"host": server.host, "port": server.port, "dbname": database, "user": props["operator_user"]}
    with psycopg.connect(**login, password=props["operator_password"], autocommit=True) as connection:
        connection.execute("INSERT INTO cdc.signal VALUES ('1', 'log', '{}')")
        assert connection.execute("SELECT count(*) FROM inventory.orders").fetchone() == (60,)
        assert connection.execute("SELECT count(*) FROM cdc.heartbeat").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM cdc.schema_migrations").fetchone() is not None
        assert connection.execute("SELECT pg_has_role('pg_monitor', 'MEMBER')").fetchone() == (True,)
        for denied in (
            "UPDATE inventory.orders SET quantity = 1",
            "UPDATE cdc.heartbeat SET beat = 0",
            "SELECT 1 FROM inventory.products",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(denied)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(**login, password=props["operator_password"], replication="database")


def test_the_reader_reads_and_writes_nothing(server: Instance, database: str, props: Props) -> None:
    PROVIDER.create(props)
    login = {"host": server.host, "port": server.port, "dbname": database, "user": props["reader_user"]}
    with psycopg.connect(**login, password=props["reader_password"], autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM inventory.orders").fetchone() == (60,)
        assert connection.execute("SELECT count(*) FROM cdc.heartbeat").fetchone() == (1,)
        assert connection.execute("SELECT pg_has_role('pg_monitor', 'MEMBER')").fetchone() == (True,)
        for denied in ("INSERT INTO cdc.signal VALUES ('1', 'log', '{}')", "DELETE FROM inventory.orders"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(denied)


def test_the_application_writes_its_own_tables_and_nothing_else(server: Instance, database: str, props: Props) -> None:
    PROVIDER.create(props)
    login = {"host": server.host, "port": server.port, "dbname": database, "user": props["application_user"]}
    with psycopg.connect(**login, password=props["application_password"], autocommit=True) as connection:
        connection.execute(
            "INSERT INTO inventory.orders (purchaser, quantity, product_id, unit_price) VALUES (1, 1, 1, 1)"
        )
        connection.execute("UPDATE inventory.products SET price = price + 1")
        connection.execute("DELETE FROM inventory.shipments")
        for denied in (
            "TRUNCATE inventory.shipments",
            "CREATE TABLE inventory.mine (id int)",
            "SELECT 1 FROM cdc.heartbeat",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(denied)


def test_rights_of_operator_and_application_are_watched(server: Instance, database: str, props: Props) -> None:
    made = PROVIDER.create(props)
    assert made.outs is not None
    operator, application = props["operator_user"], props["application_user"]
    sql(
        server,
        database,
        f'REVOKE pg_monitor FROM "{operator}"',
        "CREATE TABLE inventory.returns (id bigserial PRIMARY KEY)",
        f'GRANT UPDATE ON cdc.heartbeat TO "{application}"',
    )
    seen = PROVIDER.read(made.id, made.outs).outs
    assert seen is not None
    assert set(seen["drift"]) == {
        f"role {operator} is not a member of pg_monitor",
        f"{application} has UPDATE on table cdc.heartbeat, which it does not need",
        f"{application} lacks USAGE on sequence inventory.returns_id_seq",
        *(
            f"{application} lacks {right} on table inventory.returns"
            for right in ("SELECT", "INSERT", "UPDATE", "DELETE")
        ),
    }
    mended = PROVIDER.update(made.id, seen, props).outs
    assert mended is not None
    again = PROVIDER.read(made.id, mended).outs
    assert again is not None
    assert again["drift"] == []


def test_table_that_leaves_loses_grant_and_publication(server: Instance, database: str, props: Props) -> None:
    made = PROVIDER.create(props)
    assert made.outs is not None
    news = {**props, "tables": ["inventory.orders", "inventory.products"]}
    PROVIDER.update(made.id, made.outs, news)
    can_read = sql(
        server,
        database,
        f"SELECT has_table_privilege('{props['debezium_user']}', 'inventory.customers', 'SELECT'),"
        f" has_table_privilege('{props['debezium_user']}', 'inventory.products', 'SELECT')",
    )
    assert can_read == [(False, True)]
    published = sql(server, database, "SELECT tablename FROM pg_publication_tables WHERE schemaname = 'inventory'")
    assert sorted(published) == [("orders",), ("products",)]


def test_refresh_sees_drift_and_up_mends_it(server: Instance, database: str, props: Props) -> None:
    made = PROVIDER.create(props)
    assert made.outs is not None
    sql(
        server,
        database,
        "ALTER PUBLICATION debezium_pub DROP TABLE inventory.customers",
        "ALTER TABLE inventory.orders REPLICA IDENTITY DEFAULT",
        "DROP EVENT TRIGGER cdc_sql_drop",
        "DELETE FROM cdc.heartbeat",
        f'GRANT DELETE ON inventory.orders TO "{props["debezium_user"]}"',
        f'REVOKE SELECT ON inventory.customers FROM "{props["debezium_user"]}"',
    )
    seen = PROVIDER.read(made.id, made.outs).outs
    assert seen is not None
    text = "\n".join(seen["drift"])
    for part in (
        "inventory.customers",
        "REPLICA IDENTITY FULL",
        "cdc_sql_drop",
        "cdc.heartbeat",
        "DELETE",
        "lacks SELECT",
    ):
        assert part in text
    assert PROVIDER.diff(made.id, seen, props).changes
    mended = PROVIDER.update(made.id, seen, props).outs
    assert mended is not None
    read_again = PROVIDER.read(made.id, mended).outs
    assert read_again is not None
    assert read_again["drift"] == []
    assert not PROVIDER.diff(made.id, read_again, props).changes


def test_preflight_lists_everything_at_once(server: Instance, database: str, props: Props) -> None:
    sql(
        server,
        database,
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.no_key (name text)",
        "CREATE TABLE shop.with_unique (code text NOT NULL UNIQUE)",
        "CREATE UNLOGGED TABLE shop.fast (id int PRIMARY KEY)",
        "CREATE VIEW shop.seen AS SELECT 1 AS id",
        "CREATE TABLE shop.orders (id int PRIMARY KEY)",
        "CREATE PUBLICATION everything FOR ALL TABLES",
        f"SELECT pg_create_logical_replication_slot('{props['slot']}', 'test_decoding')",
    )
    try:
        with pytest.raises(ProviderError) as refused:
            PROVIDER.create(
                {
                    **props,
                    "managed": False,
                    "publication": "everything",
                    "tables": [
                        "shop.no_key",
                        "shop.with_unique",
                        "shop.fast",
                        "shop.seen",
                        "shop.order",
                        "shop.orders",
                    ],
                }
            )
        text = str(refused.value)
        for part in (
            "7 things stand in the way",
            "ALTER TABLE shop.no_key ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;",
            "ALTER TABLE shop.with_unique ADD PRIMARY KEY (code);",
            "ALTER TABLE shop.fast SET LOGGED;",
            "shop.seen is a view",
            "shop.order does not exist. Did you mean shop.orders",
            "FOR ALL TABLES",
            "test_decoding",
        ):
            assert part in text
        assert server.password not in text
        assert sql(server, database, "SELECT to_regnamespace('cdc')") == [(None,)], "nothing was made"
    finally:
        sql(server, database, f"SELECT pg_drop_replication_slot('{props['slot']}')")


def test_weak_admin_is_told_what_it_lacks(server: Instance, database: str, props: Props) -> None:
    admin = f"{database}_admin"
    sql(
        server,
        database,
        f"CREATE ROLE \"{admin}\" LOGIN PASSWORD 'weak'",
        "CREATE TABLE public.orders (id int PRIMARY KEY)",
    )
    with pytest.raises(ProviderError) as refused:
        PROVIDER.create(
            {**props, "managed": False, "admin_user": admin, "admin_password": "weak", "tables": ["public.orders"]}
        )
    for part in ("CREATEROLE", "GRANT CREATE ON DATABASE", "public.orders belongs to postgres"):
        assert part in str(refused.value)


def test_foreign_role_and_publication_are_not_taken_over(server: Instance, database: str, props: Props) -> None:
    sql(
        server,
        database,
        f"CREATE ROLE \"{props['debezium_user']}\" LOGIN PASSWORD 'theirs'",
        "CREATE PUBLICATION debezium_pub",
    )
    with pytest.raises(ProviderError) as refused:
        PROVIDER.create(props)
    assert "hand it over: COMMENT ON ROLE" in str(refused.value)
    assert "COMMENT ON PUBLICATION" in str(refused.value)


def test_wrong_admin_password_fails_at_once_with_the_cure(props: Props) -> None:
    deadline = Deadline(25)
    with pytest.raises(ProviderError, match="refused the password of postgres@"):
        PROVIDER.create({**props, "admin_password": "wrong-one"})
    assert deadline.remaining > 5, "a wrong password is not worth waiting for"


def test_ddl_is_recorded_and_never_stopped(server: Instance, database: str, props: Props) -> None:
    PROVIDER.create(props)
    assert sql(server, database, "SELECT count(*) FROM cdc.schema_changes") == [(0,)], "own DDL is no news"
    sql(
        server,
        database,
        f"CREATE ROLE app_{database}",
        f"GRANT USAGE, CREATE ON SCHEMA inventory TO app_{database}",
        f"SET ROLE app_{database}",
        "CREATE TABLE inventory.gifts (id int PRIMARY KEY)",
        "ALTER TABLE inventory.gifts ADD COLUMN note text",
        "ALTER TABLE inventory.gifts DROP COLUMN note",
        "DROP TABLE inventory.gifts",
        "CREATE TEMP TABLE scratch (id int)",
    )
    sql(server, database, "CREATE TABLE public.elsewhere (id int)")
    recorded = sql(server, database, "SELECT command_tag, object_identity FROM cdc.schema_changes ORDER BY id")
    assert recorded == [
        ("CREATE TABLE", "inventory.gifts"),
        ("ALTER TABLE", "inventory.gifts"),
        ("ALTER TABLE", "inventory.gifts"),
        ("DROP TABLE", "inventory.gifts"),
    ]
    with server.connect(database) as locker:
        locker.autocommit = False
        locker.execute("LOCK TABLE cdc.schema_changes IN ACCESS EXCLUSIVE MODE")
        started = Deadline(10)
        sql(server, database, "CREATE TABLE inventory.locked (id int PRIMARY KEY)")
        assert started.remaining > 5
    sql(server, database, "DROP TABLE cdc.schema_changes CASCADE", "CREATE TABLE inventory.still (id int PRIMARY KEY)")
    assert sql(server, database, "SELECT to_regclass('inventory.still')::text") == [("inventory.still",)]


def test_renamed_slot_is_dropped_once_it_is_free(server: Instance, database: str, props: Props) -> None:
    made = PROVIDER.create(props)
    assert made.outs is not None
    sql(server, database, f"SELECT pg_create_logical_replication_slot('{props['slot']}', 'pgoutput')")
    news = {**props, "slot": f"{database}_other"}
    outs = PROVIDER.update(made.id, made.outs, news).outs
    assert outs is not None
    assert outs["retired"] == [f"slot:{props['slot']}"]
    assert PROVIDER.diff(made.id, outs, news).changes
    outs = PROVIDER.update(made.id, outs, news).outs
    assert outs is not None
    assert outs["retired"] == []
    assert sql(server, database, f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{props['slot']}'") == [
        (0,)
    ]


def test_delete_takes_the_pipeline_out_of_an_external_source(server: Instance, database: str, props: Props) -> None:
    sql(
        server,
        database,
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.orders (id int PRIMARY KEY)",
        "INSERT INTO shop.orders VALUES (1)",
    )
    external = {**props, "managed": False, "tables": ["shop.orders"]}
    made = PROVIDER.create(external)
    assert made.outs is not None
    sql(server, database, f"SELECT pg_create_logical_replication_slot('{props['slot']}', 'pgoutput')")
    PROVIDER.delete(made.id, made.outs)
    left = sql(
        server,
        database,
        f"SELECT (SELECT count(*) FROM pg_publication), (SELECT count(*) FROM pg_event_trigger),"
        f" (SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{props['slot']}'),"
        f" (SELECT count(*) FROM pg_roles WHERE starts_with(rolname, '{database}_')),"
        f" (SELECT count(*) FROM shop.orders)",
    )
    assert left == [(0, 0, 0, 0, 1)]
    PROVIDER.delete(made.id, made.outs)


def test_lost_database_is_drift_and_not_a_crash(props: Props) -> None:
    outs = {**props, "port": 1.0, "generated_columns": ["inventory.orders.total_amount"], "drift": []}
    seen = PROVIDER.read("x", outs).outs
    assert seen is not None
    assert "did not answer" in seen["drift"][0]
    assert seen["generated_columns"] == outs["generated_columns"]
    PROVIDER.delete("x", outs)


def test_a_table_that_joins_a_running_connector_is_asked_for_once(
    server: Instance, database: str, props: Props
) -> None:
    """What is there when the connector starts is read by its initial snapshot; a later table by one signal, whatever
    is repeated; one that left and came back is read again."""
    requester = NewTablesProvider()
    made = PROVIDER.create(props)
    requester.create(props)
    signals = "SELECT data FROM cdc.signal"
    # Before the connector has made its slot, a table more is the initial snapshot's.
    more = {**props, "tables": [*props["tables"], "inventory.products"]}
    outs = PROVIDER.update(made.id, made.outs or {}, more).outs or {}
    requester.update(made.id, props, more)
    assert sql(server, database, signals) == []
    sql(server, database, f"SELECT pg_create_logical_replication_slot('{props['slot']}', 'pgoutput')")
    try:
        most = {**more, "tables": [*more["tables"], "inventory.shipments"]}
        outs = PROVIDER.update(made.id, outs, most).outs or {}
        assert sql(server, database, signals) == [], "the connector does not capture the table yet"
        assert requester.diff(made.id, more, most).changes
        for _ in range(2):
            requester.update(made.id, more, most)
        expected = ('{"type": "incremental", "data-collections": ["inventory.shipments"]}',)
        assert sql(server, database, signals) == [expected]
        outs = PROVIDER.update(made.id, outs, more).outs or {}
        PROVIDER.update(made.id, outs, most)
        requester.update(made.id, more, most)
        assert sql(server, database, signals) == [expected] * 2
        # Debezium would lose or misread rows of these.
        sql(server, database, "ALTER TABLE inventory.inventory ADD twice int GENERATED ALWAYS AS (quantity * 2) STORED")
        outs = PROVIDER.update(made.id, outs, more).outs or {}
        risky = {**most, "tables": [*most["tables"], "inventory.inventory"], "keyed": ["inventory.shipments"]}
        PROVIDER.update(made.id, outs, risky)
        requester.update(made.id, most, risky)
        assert sql(server, database, signals) == [expected] * 2
        by_hand = sql(server, database, "SELECT name FROM cdc.new_tables WHERE signal = 'by hand' ORDER BY name")
        assert by_hand == [("inventory.inventory",), ("inventory.shipments",)]
    finally:
        sql(server, database, f"SELECT pg_drop_replication_slot('{props['slot']}')")
