"""Mend rows that differ: read them again through the pipeline, and mark as deleted what the source does not have.

Rows are read again by a blocking ad-hoc snapshot of exactly those keys (docs/decisions/0019): what it reads ranks above
everything that was committed before it, so it also outranks a wrong value, and below everything committed after.
"""
# ruff: noqa: S608  (identifiers cannot be query parameters; they come from the two catalogs, quoted)

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence

from clickhouse_driver import Client
from psycopg import sql

from cdc.canonical import Shape, ticked
from cdc.compared_tables import SourceTable, TargetTable
from cdc.postgres import Connection, table_identifier
from cdc.ranges import Key
from cdc.reconcile import Comparison, Difference
from cdc.waiting import Deadline

KEYS_A_SIGNAL = 500
"""The stream stands still while a snapshot reads, so each reads little."""
PATIENCE = 60.0
"""Seconds without any row healed after which the rest is given up."""
_MARKER = {
    "operation": "'d'",
    "is_deleted": "toUInt8(1)",
    "source_time": "now64(6, 'UTC')",
    # The next version outranks the row, and nothing that the source commits later: that is further away.
    "version": "version + 1",
}


def heal(running: Comparison, shape: Shape, differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """Mend ``differences``; returns those that are left when nothing more changes for ``PATIENCE`` seconds."""
    left = list(differences)
    patience = Deadline(PATIENCE)
    while left and not patience.expired:
        if ghosts := [each.key for each in left if each.kind == "surplus"]:
            running.report(f"{shape.table}: marking {len(ghosts)} keys as deleted that the source does not have")
            delete_ghosts(running.client, shape, ghosts)
        _read_again(running, shape, [each.key for each in left if each.kind != "surplus"])
        remaining = _after(running, shape, left)
        if len(remaining) < len(left):
            patience = Deadline(PATIENCE)
        left = remaining
    return tuple(left)


def _after(running: Comparison, shape: Shape, sent: Sequence[Difference]) -> list[Difference]:
    """What still differs a while after the signals were sent: they are worked off one after the other."""
    left, time = list(sent), Deadline(PATIENCE / 4)
    while left and not time.expired:
        before = len(left)
        certain, _ = running.settle({shape: [each.key for each in left]})
        left = certain.get(shape, [])
        running.report(f"{shape.table}: {len(left)} of {len(sent)} keys left to heal")
        if len(left) < before:
            time = Deadline(PATIENCE / 4)
    return left


def _read_again(running: Comparison, shape: Shape, keys: Sequence[Key]) -> None:
    if not keys:
        return
    running.report(f"{shape.table}: asking the connector to read {len(keys)} keys again")
    with running.connections.postgres_operator() as connection:
        for start in range(0, len(keys), KEYS_A_SIGNAL):
            statement = _select(connection, shape, keys[start : start + KEYS_A_SIGNAL])
            signal = {
                "type": "blocking",
                "data-collections": [shape.table.replace(".", "\\.")],
                # Not a pattern here: a name that does not fit makes the connector read the whole table.
                "additional-conditions": [{"data-collection": shape.table, "filter": statement}],
            }
            connection.execute(
                "INSERT INTO cdc.signal (id, type, data) VALUES (%s, 'execute-snapshot', %s)",
                [f"reconcile-{uuid.uuid4()}", json.dumps(signal)],
            )


def _select(connection: Connection, shape: Shape, keys: Sequence[Key]) -> str:
    """The statement that the snapshot runs for ``keys``."""
    condition = SourceTable(connection, shape).condition()
    for texts in zip(*keys, strict=True):
        condition = condition.replace("%s", sql.Literal(list(texts)).as_string(connection), 1)
    return f"SELECT * FROM {table_identifier(shape.table).as_string(connection)} WHERE {condition}"


def delete_ghosts(client: Client, shape: Shape, keys: Sequence[Key]) -> None:
    """Insert a deletion of each key where events come in, so that the history and all that hangs on it have it, too.

    The row may be on any shard; from where events come in the deletion finds the way to it.
    """
    parsed, versions = f"{shape.view}_parsed", f"{shape.view}_versions"
    query = "SELECT table, name FROM system.columns WHERE database = currentDatabase() AND table IN %(tables)s"
    found = client.execute(query, {"tables": (parsed, versions)})
    there = {name for table, name in found if table == versions}
    values = {}
    for table, name in found:
        old = name.removeprefix("before_")
        if table == parsed and (name in _MARKER or old in there):
            values[name] = _MARKER.get(name, ticked(old))
    columns = ", ".join(ticked(name) for name in values)
    target, key = TargetTable(client, shape), ", ".join(ticked(column.target_name) for column in shape.key)
    for start in range(0, len(keys), KEYS_A_SIGNAL):
        condition = target.condition(keys[start : start + KEYS_A_SIGNAL])
        # In a subquery: a value of a column in the list must not stand for the column in the condition.
        client.execute(
            f"INSERT INTO {ticked(parsed)} ({columns}) SELECT {', '.join(values.values())} FROM"
            f" (SELECT * FROM {ticked(versions)} WHERE {condition} ORDER BY version DESC LIMIT 1 BY {key})"
            " WHERE is_deleted = 0"
        )
