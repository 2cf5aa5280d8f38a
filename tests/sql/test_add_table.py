"""The generator of table migrations against a real catalog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc.add_table import MIGRATIONS, AddTableError, add_table
from cdc.postgres import Connection, PostgresError, connect
from cdc.postgres_migrations import migrate
from cdc.table_model import read_table
from cdc.table_sql import columns
from cdc.type_map import TypeMapError
from cdc.waiting import Deadline
from tests.sql import postgres_instance

pytestmark = pytest.mark.sql


@pytest.fixture(scope="module")
def source() -> Iterator[Connection]:
    """A database with the demonstration's tables."""
    with postgres_instance.running() as server, connect(server.login(), Deadline(30)) as connection:
        migrate(connection, "inventory", Deadline(60))
        yield connection


@pytest.mark.parametrize("name", ["customers", "products", "inventory", "shipments"])
def test_our_migrations_are_what_the_generator_writes(source: Connection, tmp_path: Path, name: str) -> None:
    written = add_table(source, f"inventory.{name}", number=1, folder=tmp_path)
    (landed,) = MIGRATIONS.glob(f"[0-9]*_{name}.sql")
    assert written.read_text() == landed.read_text()


def test_the_generated_column_of_orders_is_computed(source: Connection) -> None:
    total = next(column for column in columns(read_table(source, "inventory.orders")) if column.name == "total_amount")
    assert total.type == "Nullable(Decimal(12, 2))"
    assert total.formula is not None
    assert total.formula.operands == ("quantity", "unit_price")


def test_keys_nulls_comments_and_names_are_the_catalogs(source: Connection, tmp_path: Path) -> None:
    source.execute(
        """
        CREATE TABLE inventory.returns (
            "order" integer, line smallint, version bigint NOT NULL, reason varchar(20) CHECK (reason IN ('a', 'b')),
            note text, tax numeric(10, 3) NOT NULL, net integer NOT NULL,
            doubled numeric(20, 3) GENERATED ALWAYS AS (net * 2 - tax) STORED,
            shout text GENERATED ALWAYS AS (upper(note)) STORED,
            PRIMARY KEY (line, "order"));
        COMMENT ON TABLE inventory.returns IS 'what came back; it''s little';
        COMMENT ON COLUMN inventory.returns.note IS '{{free}} text'"""
    )
    text = add_table(source, "inventory.returns", folder=tmp_path).read_text()
    assert "ORDER BY (line, order, version)" in text
    assert "ORDER BY (line, order);" not in text, "a table's comment stands behind its key"
    assert "COMMENT 'what came back; it\\'s little'" in text
    assert "COMMENT '{ {free}} text'" in text
    types = {column.name: column.type for column in columns(read_table(source, "inventory.returns"))}
    assert types == {
        "order": "Int32",
        "line": "Int16",
        "version_": "Int64",
        "reason": "LowCardinality(Nullable(String))",
        "note": "Nullable(String)",
        "tax": "Decimal(10, 3)",
        "net": "Int32",
        "doubled": "Nullable(Decimal(20, 3))",
    }
    assert "-- version is version_ here" in text
    assert "-- shout is left out" in text
    source.execute("DROP TABLE inventory.returns")


def test_what_cannot_be_carried_is_named_with_all_its_columns(source: Connection, tmp_path: Path) -> None:
    source.execute("CREATE TABLE inventory.odd (id int PRIMARY KEY, place pg_lsn, times time[], fine text)")
    with pytest.raises(TypeMapError, match=r"(?s)place is pg_lsn.*times is time without time zone\[\].*--without"):
        add_table(source, "inventory.odd", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    text = add_table(source, "inventory.odd", without=["place", "times"], folder=tmp_path).read_text()
    assert "-- place (pg_lsn) was left out on request" in text
    source.execute("DROP TABLE inventory.odd")


def test_a_table_without_key_or_a_taken_number_is_refused(source: Connection, tmp_path: Path) -> None:
    source.execute("CREATE TABLE inventory.keyless (a int)")
    with pytest.raises(PostgresError, match="no primary key"):
        add_table(source, "inventory.keyless", folder=tmp_path)
    source.execute("DROP TABLE inventory.keyless")
    with pytest.raises(PostgresError, match=r"inventory\.keyless does not exist"):
        add_table(source, "inventory.keyless", folder=tmp_path)
    add_table(source, "inventory.customers", folder=tmp_path)
    with pytest.raises(AddTableError, match=r"0001_customers\.sql makes customers already"):
        add_table(source, "inventory.customers", folder=tmp_path)
    with pytest.raises(AddTableError, match="number 0001 is taken by 0001_customers"):
        add_table(source, "inventory.products", number=1, folder=tmp_path)
