"""What `schema-diff` says of two shapes of one table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdc.schema_diff import Target, compare
from cdc.table_columns import added_columns
from cdc.table_model import SourceColumn, SourceTable, SourceType

TEXT, INTEGER, BIG = (SourceType(name=name, shown=name) for name in ("text", "int4", "int8"))
SOURCE = SourceTable(
    schema="shop",
    name="carts",
    columns=(
        SourceColumn(name="id", type=INTEGER, nullable=False),
        SourceColumn(name="note", type=TEXT),
        SourceColumn(name="count", type=INTEGER, nullable=False),
        SourceColumn(name="at", type=SourceType(name="timestamp", modifier=6, shown="timestamp(6)")),
    ),
    key=("id",),
)
TARGET = Target(
    types={"id": "Int32", "note": "Nullable(String)", "count": "Int32", "at": "Nullable(DateTime64(6, 'UTC'))"},
    key=("id",),
    expected={"at": "microseconds since 1970", "count": "Int32"},
)


def changed(**columns: SourceColumn | None) -> SourceTable:
    """The table with columns replaced, added, or (None) taken away."""
    there = {column.name: column for column in SOURCE.columns} | columns
    return replace(SOURCE, columns=tuple(column for column in there.values() if column is not None))


def said(source: SourceTable, target: Target = TARGET) -> list[str]:
    return [str(difference) for difference in compare(source, target)]


def test_equal_shapes_have_no_difference() -> None:
    assert said(SOURCE) == []
    wider = replace(TARGET, types={**TARGET.types, "count": "LowCardinality(Nullable(Int64))"})
    assert said(SOURCE, wider) == []


def test_an_added_column_can_be_written() -> None:
    (difference,) = compare(changed(extra=SourceColumn(name="extra", type=TEXT)), TARGET)
    assert difference.addable
    assert "_extra" in difference.text
    assert "schema-diff --write" in difference.plan


def test_an_added_column_that_cannot_be_carried_says_so() -> None:
    odd = SourceColumn(name="place", type=SourceType(name="pg_lsn", shown="pg_lsn"))
    (difference,) = compare(changed(place=odd), TARGET)
    assert not difference.addable
    assert "--without" in difference.plan
    assert compare(changed(place=odd), TARGET, without=["place"]) == ()


@pytest.mark.parametrize(("name", "fate"), [("note", "NULL"), ("count", "ingest_errors")])
def test_a_dropped_column_is_never_silent(name: str, fate: str) -> None:
    (text,) = said(changed(**{name: None}))
    assert text.startswith(f"shop.carts.{name} was dropped")
    assert fate in text


def test_a_renamed_column_is_named_with_its_new_name() -> None:
    first, second = said(changed(note=None, remark=SourceColumn(name="remark", type=TEXT)))
    assert first.startswith("shop.carts.note is gone in PostgreSQL, perhaps renamed to remark")
    assert second.startswith("shop.carts.remark is not in ClickHouse yet")


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (SourceColumn(name="count", type=BIG, nullable=False), "count is int8 now, ClickHouse has Int32"),
        (SourceColumn(name="note", type=INTEGER), "note is int4 now"),
        (SourceColumn(name="count", type=INTEGER), "count can be NULL now"),
        # The column's type is the same; the connector sends milliseconds.
        (
            SourceColumn(name="at", type=SourceType(name="timestamp", modifier=3, shown="timestamp(3)")),
            "at arrives as milliseconds since 1970 now, ClickHouse reads microseconds since 1970",
        ),
    ],
)
def test_a_changed_type_or_nullability_is_named(column: SourceColumn, text: str) -> None:
    (found,) = said(changed(**{column.name: column}))
    assert text in found


def test_another_primary_key_is_named() -> None:
    (text,) = said(replace(SOURCE, key=("count",)))
    assert "count is the primary key, ClickHouse has id" in text


def test_an_added_column_finds_the_shard_of_its_row() -> None:
    """A Distributed table has the columns that it was made with, so it is made anew, and after it what feeds it."""
    text = added_columns(changed(extra=SourceColumn(name="extra", type=TEXT)), ["extra"], defaults={})
    route = "CREATE TABLE {{database}}.carts_route {{on_cluster}} AS {{database}}.carts_final"
    feeds = "CREATE MATERIALIZED VIEW {{database}}.carts_final_mv {{on_cluster}} TO {{database}}.carts_{{history}} AS"
    assert text.index("ADD COLUMN") < text.index(route) < text.index(feeds)
    assert "ENGINE = {{route}}carts_final{{route_by}}id{{route_end}};" in text
