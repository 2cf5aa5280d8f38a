"""Tables that are captured from now on: the rows that they hold already are read once, by a signal to the connector.

The connector's initial snapshot reads what is captured when it starts first; later it only follows changes.
``note`` is called when a table joins the publication, ``request`` when the connector runs with it. The rows are read by
an incremental snapshot, beside the stream. Debezium 3.7.0 does that rightly only for tables whose messages have the
table's own key and which have no generated columns (docs/decisions/0019); others are left to `reconcile --heal`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable

from cdc.postgres import Connection, rows, value
from cdc.source_spec import Report

BY_HAND = "by hand"
"""Stands for a signal where none is sent."""
UNASKED_QUERY = """
SELECT new.name, EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass(new.name) AND a.attgenerated <> '')
  FROM cdc.new_tables AS new WHERE new.signal IS NULL ORDER BY new.name FOR UPDATE
"""


def note(connection: Connection, slot: str, added: Iterable[str]) -> None:
    """Remember tables whose rows have to be asked for; without a slot, the initial snapshot is still to come."""
    if value(connection, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", slot):
        connection.execute(
            "INSERT INTO cdc.new_tables (name) SELECT unnest(%s::text[])"
            " ON CONFLICT (name) DO UPDATE SET added_at = clock_timestamp(), signal = NULL",
            [sorted(added)],
        )


def forget(connection: Connection, removed: Iterable[str]) -> None:
    """Tables that are no longer captured; should they come back, their rows are read again."""
    connection.execute("DELETE FROM cdc.new_tables WHERE name = ANY (%s)", [sorted(removed)])


def request(connection: Connection, keyed: Iterable[str], report: Report) -> list[str]:
    """Ask a connector that captures them for the rows of all new tables, once; returns the names of those asked for.

    ``keyed`` are the tables whose messages have another key than the table. The signal and the memory of it are one
    transaction, so however often this is called, each table is read once.
    """
    others, asked = set(keyed), []
    with connection.transaction():
        found = rows(connection, UNASKED_QUERY)
        for name, generated in found:
            signal = BY_HAND if generated or name in others else f"new-table-{uuid.uuid4()}"
            if signal != BY_HAND:
                data = {"type": "incremental", "data-collections": [str(name)]}
                connection.execute(
                    "INSERT INTO cdc.signal (id, type, data) VALUES (%s, 'execute-snapshot', %s)",
                    [signal, json.dumps(data)],
                )
                asked.append(str(name))
            connection.execute("UPDATE cdc.new_tables SET signal = %s WHERE name = %s", [signal, name])
    for name, _ in found:
        how = "the connector was asked to read the rows that it holds already"
        if name not in asked:
            how = f"the rows that it holds already come with `python -m cdc reconcile --table {name} --heal`"
        report(f"{name} is captured from now on: {how}")
    return asked
