"""Tables that are captured from now on: the rows that they hold already are read once, by a signal to the connector.

The connector's initial snapshot reads what is captured when it starts first; later it only follows changes.
``note`` is called when a table joins the publication, ``request`` when the connector runs with it. The rows are read by
a blocking snapshot: an incremental one loses rows where messages have another key than the table (docs/decisions/0019).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable

from cdc.postgres import Connection, rows, value
from cdc.source_spec import Report


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


def request(connection: Connection, report: Report) -> list[str]:
    """Ask a connector that captures them for the rows of all new tables, once; returns their names.

    The signal and the memory of it are one transaction, so however often this is called, each table is read once.
    """
    with connection.transaction():
        found = rows(connection, "SELECT name FROM cdc.new_tables WHERE signal IS NULL ORDER BY name FOR UPDATE")
        for (name,) in found:
            signal = f"new-table-{uuid.uuid4()}"
            data = {"type": "blocking", "data-collections": [str(name).replace(".", "\\.")]}
            connection.execute(
                "INSERT INTO cdc.signal (id, type, data) VALUES (%s, 'execute-snapshot', %s)",
                [signal, json.dumps(data)],
            )
            connection.execute("UPDATE cdc.new_tables SET signal = %s WHERE name = %s", [signal, name])
    for (name,) in found:
        report(f"{name} is captured from now on: the connector was asked to read the rows that it holds already")
    return [str(name) for (name,) in found]
