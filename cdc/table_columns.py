"""Writes the ClickHouse migration that gives a table the columns which PostgreSQL has and it has not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cdc.table_model import SourceTable
from cdc.table_sql import (
    ALWAYS,
    Column,
    before_codec,
    column_comment,
    columns,
    conversions,
    fill,
    flow,
    literal,
    quoted,
)


def added_columns(
    table: SourceTable,
    added: Sequence[str],
    *,
    defaults: Mapping[str, str],
    without: Sequence[str] = (),
    materialized: Sequence[str] = (),
) -> str:
    """The whole file. ``added`` are columns of PostgreSQL; ``defaults`` are the values, as PostgreSQL writes them, that
    rows of before have there. ``materialized`` are columns that only ClickHouse has."""
    new = [column for column in columns(table, without) if column.source.name in added]
    read = {c.name: c.rule.convert.replace("{}", _kept(c)) for c in new}
    values = {
        "table": table.name,
        "final_added": _added([line for c in new for line in _both_images(c, defaults)]),
        "current_added": _added([_definition(c, defaults) for c in new]),
        "conversions": conversions("\n".join(read.values()), ALWAYS).rstrip(","),
        "back_filled": ",\n".join(
            f"    if({_was_kept(c)}, {_required(c, read[c.name])}, {quoted(c.name)}) AS {quoted(c.name)}" for c in new
        ),
        "was_kept": " OR ".join(_was_kept(c) for c in new),
    }
    head = [
        f"-- {table.full_name} has more columns: {', '.join(c.source.name for c in new)}.",
        "-- Written by `python -m cdc schema-diff --write` from the catalog of PostgreSQL; review it.",
    ]
    head += [
        f"-- {c.source.name}: a NULL that came meanwhile shows the default; `python -m cdc reconcile --heal` mends it"
        for c in new
        if c.source.nullable and c.source.name in defaults
    ]
    restated = flow(table, without=without, materialized=materialized)
    return "\n".join(head) + "\n\n" + fill("table_columns", values) + "\n" + restated


def _added(lines: Sequence[str]) -> str:
    return ",\n".join(f"    ADD COLUMN IF NOT EXISTS {line}" for line in lines)


def _both_images(column: Column, defaults: Mapping[str, str]) -> list[str]:
    before = f"{quoted('before_' + column.name)} {column.before_type}{before_codec(column)}"
    return [_definition(column, defaults), before]


def _definition(column: Column, defaults: Mapping[str, str]) -> str:
    default = defaults.get(column.source.name)
    # Arrays, bytes and the like are written another way by PostgreSQL than here: those rows are read again.
    has_default = default is not None and not unread_default(column)
    made = f" DEFAULT CAST({literal(default or '')}, {literal(column.type)})" if has_default else ""
    return f"{quoted(column.name)} {column.type}{made}{column.codec}{column_comment(column)}"


def unread_default(column: Column) -> bool:
    """Whether a default in PostgreSQL's words can't be taken over."""
    plain = column.rule.expected in ("text", "number") or column.rule.clickhouse != "String"
    return column.rule.element is not None or not plain


def _kept(column: Column) -> str:
    return f"CAST(_extra[{literal(column.source.name)}], 'Nullable(String)')"


def _was_kept(column: Column) -> str:
    return f"mapContains(_extra, {literal(column.source.name)})"


def _required(column: Column, value: str) -> str:
    """What can't be read stays in ``_extra`` only."""
    return value if "Nullable" in column.type else f"ifNull({value}, {quoted(column.name)})"
