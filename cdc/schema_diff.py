"""``python -m cdc schema-diff``: where captured tables and their tables in ClickHouse have gone apart.

Nothing of it stops the flow: an added column is kept in ``_extra``, a dropped or renamed one is NULL from then on,
a value that does not fit is quarantined. So it has to be seen, and each difference comes with its plan.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clickhouse_driver import Client

from cdc.add_table import MIGRATIONS
from cdc.connections import Connections
from cdc.postgres import Connection, PostgresError, rows
from cdc.table_columns import added_columns
from cdc.table_model import SourceTable, read_table
from cdc.table_sql import STORED, Column, columns
from cdc.type_map import TypeMapError, rule

COMMAND = "python -m cdc schema-diff"
DEFAULTS_QUERY = """
SELECT attname::text, (attmissingval::text::text[])[1] FROM pg_attribute
 WHERE attrelid = %s::regclass AND attnum > 0 AND atthasmissing
"""
_WRAPPED = re.compile(r"(?:LowCardinality|Nullable)\((.*)\)")
_INTEGER = re.compile(r"Int(\d+)")
_DECIMAL = re.compile(r"Decimal\((\d+), (\d+)\)")
_EXPECTED = re.compile(r"_explain\('((?:[^'\\]|\\.)*)', '((?:[^'\\]|\\.)*)'")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A table of ClickHouse: types by column, the columns of its key, and what its flow expects each text to be."""

    types: Mapping[str, str]
    key: tuple[str, ...]
    materialized: tuple[str, ...] = ()
    expected: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that differs. ``addable`` says that a migration which adds the column can be written."""

    table: str
    column: str
    text: str
    plan: str
    addable: bool = False

    def __str__(self) -> str:
        return f"{self.table}.{self.column} {self.text}. {self.plan}"


def compare(source: SourceTable, target: Target, *, without: Sequence[str] = ()) -> tuple[Difference, ...]:
    """All differences of one table; ``without`` are columns that its migration leaves out on purpose."""
    uncarried = {name: text for name, text in _uncarried(source).items() if name not in without}
    wanted = {column.name: column for column in columns(source, [*without, *uncarried])}
    missing = [column for name, column in wanted.items() if name not in target.types]
    known = wanted.keys() | {column.name for column in source.columns}
    found = [_difference(source, name, "is not in ClickHouse", text) for name, text in uncarried.items()]
    found += [_gone(source, name, kind, missing) for name, kind in target.types.items() if name not in known]
    found += [_missing(source, column) for column in missing]
    for name, column in wanted.items():
        found += _changed(source, column, target) if name in target.types else []
    key = tuple(name for part in source.key for name, column in wanted.items() if column.source.name == part)
    if key != target.key:
        text = f"is the primary key, ClickHouse has {'/'.join(target.key)}"
        plan = "Rows are told apart by the old key: make the table anew under another number, then read it again"
        found.append(_difference(source, "/".join(key), text, plan))
    return tuple(found)


def _gone(source: SourceTable, name: str, kind: str, missing: Sequence[Column]) -> Difference:
    required = "Nullable" not in kind and not kind.startswith("Array")
    fate = "every change of the table goes to ingest_errors" if required else "it is NULL in every row written since"
    twins = [column.source.name for column in missing if _bare(column.type) == _bare(kind)]
    if twins:
        return _difference(
            source, name, f"is gone in PostgreSQL, perhaps renamed to {' or '.join(twins)}: {fate}",
            f"If so: `{COMMAND} --write` gives ClickHouse {twins[0]}, then `python -m cdc reconcile --heal` fills it; "
            f"{name} keeps what it had. Or rename it back",
        )  # fmt: skip
    return _difference(
        source, name, f"was dropped in PostgreSQL: {fate}",
        "If that was a mistake, add it again with its values. If not, a migration restates the flow without it "
        "(`python -m cdc add-table` shows how); what it had stays in the history",
    )  # fmt: skip


def _missing(source: SourceTable, column: Column) -> Difference:
    if column.formula is not None:
        plan = "It is computed by PostgreSQL and not sent: add it to the table and its flow in a migration by hand"
        return _difference(source, column.source.name, "is not in ClickHouse", plan)
    return Difference(
        table=source.full_name,
        column=column.source.name,
        text="is not in ClickHouse yet; its values wait in _extra",
        plan=f"`{COMMAND} --write` writes the migration that adds it, `make up` applies it",
        addable=True,
    )


def _changed(source: SourceTable, column: Column, target: Target) -> list[Difference]:
    kind, name = target.types[column.name], column.source.name
    found = []
    if not _holds(_bare(kind), _bare(column.type)):
        found.append(_difference(
            source, name, f"is {column.source.type.shown} now, ClickHouse has {kind}: what does not fit is quarantined",
            f"A migration with ALTER TABLE ... MODIFY COLUMN {column.name} {column.type} (_final and _current, and "
            f"before_{column.name}) and the restated flow, then `python -m cdc replay-errors`",
        ))  # fmt: skip
    elif target.expected.get(column.name, column.rule.expected) != column.rule.expected:
        found.append(_difference(
            source, name, f"arrives as {column.rule.expected} now, ClickHouse reads {target.expected[column.name]}",
            "Its values are wrong or quarantined since: a migration with the restated flow (`python -m cdc add-table` "
            "shows it), then `python -m cdc reconcile --heal`",
        ))  # fmt: skip
    # A computed column is NULL where an operand is missing, whatever PostgreSQL says of it.
    if column.formula is None and "Nullable" in column.type and "Nullable" not in kind:
        found.append(_difference(
            source, name, "can be NULL now, ClickHouse requires a value: such rows are quarantined",
            f"A migration with ALTER TABLE ... MODIFY COLUMN {column.name} {column.type} and the restated flow",
        ))  # fmt: skip
    return found


def _difference(source: SourceTable, column: str, text: str, plan: str) -> Difference:
    return Difference(table=source.full_name, column=column, text=text, plan=plan)


def _bare(kind: str) -> str:
    while match := _WRAPPED.fullmatch(kind):
        kind = match[1]
    return kind


def _holds(kind: str, wanted: str) -> bool:
    """Whether every value of ``wanted`` has its place in ``kind``."""
    for pattern in (_INTEGER, _DECIMAL):
        if (has := pattern.fullmatch(kind)) and (needs := pattern.fullmatch(wanted)):
            room = [int(a) - int(b) for a, b in zip(has.groups(), needs.groups(), strict=True)]
            return all(spare >= 0 for spare in room) and room[0] >= room[-1]
    return kind == wanted


def look(connection: Connection, client: Client, tables: Sequence[str], folder: Path = MIGRATIONS) -> list[Difference]:
    """Compare every captured table; one that is missing on either side is named too."""
    found = []
    for table in tables:
        target = read_target(client, table.partition(".")[2])
        try:
            source = read_table(connection, table)
        except PostgresError as error:
            found.append(Difference(table=table, column="*", text=str(error), plan="It is captured: see `tables`"))
            continue
        if target is None:
            plan = f"`python -m cdc add-table {table}` writes its migration, `make up` applies it"
            found.append(Difference(table=table, column="*", text="has no table in ClickHouse", plan=plan))
        else:
            found += compare(source, target, without=left_out(table, folder))
    return found


def read_target(client: Client, name: str) -> Target | None:
    """The table as it is in the client's database; None where there is none."""
    found: list[tuple[Any, ...]] = client.execute(
        "SELECT name, type, default_kind FROM system.columns WHERE database = currentDatabase() AND table = %(table)s"
        " ORDER BY position",
        {"table": f"{name}_current"},
    )
    about: list[tuple[Any, ...]] = client.execute(
        "SELECT name, sorting_key, as_select FROM system.tables WHERE database = currentDatabase()"
        " AND name IN (%(current)s, %(flow)s)",
        {"current": f"{name}_current", "flow": f"{name}_mv"},
    )
    if not found:
        return None
    texts = {table: (str(key), str(query)) for table, key, query in about}
    own = [row for row in found if row[0] not in STORED]
    return Target(
        types={column: kind for column, kind, default in own if default not in ("MATERIALIZED", "ALIAS")},
        key=tuple(part.strip().strip("`") for part in texts[f"{name}_current"][0].split(",")),
        materialized=tuple(column for column, _, default in own if default == "MATERIALIZED"),
        expected=dict(_EXPECTED.findall(texts.get(f"{name}_mv", ("", ""))[1])),
    )


def left_out(table: str, folder: Path = MIGRATIONS) -> list[str]:
    """Columns that the table's migrations leave out on request, as their first lines say."""
    texts = [text for path in sorted(folder.glob("*.sql")) if f"-- {table}" in (text := path.read_text("utf-8"))]
    return [name for text in texts for name in re.findall(r"^-- (\S+) \(.*\) was left out on request", text, re.M)]


def write(connection: Connection, client: Client, table: str, added: Sequence[str], folder: Path = MIGRATIONS) -> Path:
    """Write ``NNNN_<table>_<columns>.sql``, which adds columns, and return where it is."""
    source, target = read_table(connection, table), read_target(client, table.partition(".")[2])
    paths = sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    without = [*left_out(table, folder), *_uncarried(source)]
    text = added_columns(
        source,
        added,
        defaults={str(name): str(value) for name, value in rows(connection, DEFAULTS_QUERY, table)},
        without=without,
        materialized=target.materialized if target else (),
    )
    number = max((int(path.name[:4]) for path in paths), default=0) + 1
    path = folder / f"{number:04}_{source.name}_{'_'.join(added)}.sql"
    path.write_text(text, encoding="utf-8")
    return path


def _uncarried(source: SourceTable) -> dict[str, str]:
    """Columns that can't be carried, each with the reason."""
    found = {}
    for column in source.columns:
        try:
            rule(column)
        except TypeMapError as error:
            found[column.name] = str(error)
    return found


def warnings(connections: Connections) -> list[str]:
    """The differences of a running stack, a line each."""
    with connections.postgres_operator() as connection:
        client = connections.clickhouse_operator(timeout=30)
        try:
            return [str(each) for each in look(connection, client, connections.outputs["tables"])]
        finally:
            client.disconnect()


def run(connections: Connections, options: argparse.Namespace) -> int:
    """The verb: 0 where both sides have the same shape, 1 where they differ."""
    with connections.postgres_operator() as connection:
        client = connections.clickhouse_operator(timeout=30)
        found = look(connection, client, connections.outputs["tables"])
        for each in found:
            print(each, file=sys.stderr)
        if options.write:
            for table in dict.fromkeys(each.table for each in found if each.addable):
                added = [each.column for each in found if each.table == table and each.addable]
                path = write(connection, client, table, added)
                print(f"{path} written: review it, run `make up`, then `python -m cdc reconcile`")
        client.disconnect()
    if not found:
        print(f"{len(connections.outputs['tables'])} tables have the same columns on both sides")
    return 1 if found else 0
