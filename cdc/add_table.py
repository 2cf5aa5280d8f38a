"""``python -m cdc add-table schema.table``: write the table's ClickHouse migration from the live catalog."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from cdc.connections import Connections
from cdc.postgres import Connection, PostgresError
from cdc.table_model import read_table
from cdc.table_sql import migration
from cdc.type_map import TypeMapError

MIGRATIONS = Path(__file__).resolve().parents[1] / "sql" / "clickhouse"


class AddTableError(Exception):
    """The migration can't be written; the message says why and what to do."""


def add_table(
    connection: Connection,
    table: str,
    *,
    number: int | None = None,
    without: Sequence[str] = (),
    folder: Path = MIGRATIONS,
) -> Path:
    """Write ``NNNN_<table>.sql`` (the next free number unless given) and return where it is.

    Raises AddTableError when there is a migration of that table or number already, TypeMapError for columns that can't
    be carried, PostgresError for a table that can't be captured.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*", table):
        raise AddTableError(f"{table!r} is not schema.table in lower case, for example inventory.returns")
    name = table.partition(".")[2]
    there = {int(path.name[:4]): path for path in sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))}
    for path in there.values():
        if path.stem[5:] == name:
            raise AddTableError(
                f"{path.name} makes {name} already; `python -m cdc schema-diff` says what it lacks, and "
                f"`python -m cdc add-table {table} --alter` writes the file that adds it"
            )
    chosen = number if number is not None else max(there, default=0) + 1
    if chosen in there:
        raise AddTableError(
            f"number {chosen:04} is taken by {there[chosen].name}; the next free one is {max(there) + 1}"
        )
    text = migration(read_table(connection, table), without=without)
    path = folder / f"{chosen:04}_{name}.sql"
    path.write_text(text, encoding="utf-8")
    return path


def run(connections: Connections, options: argparse.Namespace) -> int:
    """The verb: 0 when the file is written, 1 when it can't be."""
    try:
        with connections.postgres() as connection:
            path = add_table(connection, options.table, number=options.number, without=options.without)
    except (AddTableError, TypeMapError, PostgresError) as error:
        print(f"add-table: {error}", file=sys.stderr)
        return 1
    print(f"{path} written: review it, add {options.table} to `tables`, then run `make up`")
    return 0
