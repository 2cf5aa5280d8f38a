"""Bring a PostgreSQL source to its desired state, see where it differs, and take the pipeline out of it again.

Every step looks before it acts, so that a second run changes nothing and takes no locks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psycopg
from psycopg import sql

from cdc import new_tables, source_roles
from cdc.postgres import Connection, PostgresError, rows, table_identifier, value
from cdc.preflight import may_create_event_triggers
from cdc.source_spec import EVENT_TRIGGERS, PIPELINE_SCHEMA, PIPELINE_TABLES, Report, SourceSpec
from cdc.waiting import Deadline

PUBLICATION_QUERY = """
SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate AND pubviaroot,
       ARRAY(SELECT n.nspname || '.' || c.relname
               FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid
               JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.prpubid = p.oid)
  FROM pg_publication p WHERE pubname = %s
"""
IDENTITY_QUERY = """
WITH RECURSIVE member AS (
    SELECT c.oid, c.relkind, c.relreplident, n.nspname || '.' || c.relname AS name
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname || '.' || c.relname = ANY (%s)
    UNION
    SELECT c.oid, c.relkind, c.relreplident, n.nspname || '.' || c.relname
      FROM member JOIN pg_inherits i ON i.inhparent = member.oid
      JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition JOIN pg_namespace n ON n.oid = c.relnamespace)
SELECT name FROM member WHERE relreplident <> 'f' AND relkind IN ('r', 'p') ORDER BY name
"""


def apply(connection: Connection, spec: SourceSpec, report: Report) -> None:
    """Make roles, grants, replica identity, publication and DDL triggers as ``spec`` says. One line to ``report``
    for each thing that was changed; raises PostgresError or psycopg errors."""
    with connection.transaction():
        _apply_schemas(connection, spec)
        source_roles.apply(connection, spec, report)
    # One table at a time: a lock that can't be had in time must not undo the others.
    for table in _without_full_identity(connection, spec):
        connection.execute(sql.SQL("ALTER TABLE {} REPLICA IDENTITY FULL").format(table_identifier(table)))
        report(f"{table}: replica identity is FULL now")
    with connection.transaction():
        _apply_publication(connection, spec, report)
    _apply_triggers(connection, report)


def drift(connection: Connection, spec: SourceSpec) -> list[str]:
    """What in the database differs from ``spec``, in words; empty when all is as it should be."""
    return list(_drift(connection, spec))


def _drift(connection: Connection, spec: SourceSpec) -> Iterator[str]:
    gone = [name for name in PIPELINE_TABLES if not value(connection, "SELECT to_regclass(%s)", name)]
    if gone:
        yield f"table {', '.join(sorted(gone))} is missing"
        return
    yield from source_roles.drift(connection, spec)
    yield from (f"{table} is not REPLICA IDENTITY FULL" for table in _without_full_identity(connection, spec))
    found = rows(connection, PUBLICATION_QUERY, spec.publication)
    if not found:
        yield f"publication {spec.publication} is missing"
    elif found[0][0] is not True or frozenset(found[0][1]) != spec.published:
        odd = sorted(frozenset(found[0][1]) ^ spec.published)
        yield f"publication {spec.publication} differs: {', '.join(odd) or 'its options'}"
    if may_create_event_triggers(connection):
        yield from (f"event trigger {name} is missing or disabled" for name in _missing_triggers(connection))
    if value(connection, "SELECT count(*) FROM cdc.heartbeat") != 1:
        yield "the row of cdc.heartbeat is missing"


def retire(connection: Connection, spec: SourceSpec, names: list[str], report: Report) -> list[str]:
    """Drop what a rename left behind (``slot:name``, ``publication:name``, ``role:name``) unless ``spec`` uses it.
    Returns the slots that are still in use: their connector has not moved on yet."""
    remaining = []
    for entry in names:
        kind, _, name = entry.partition(":")
        if name in (spec.slot, spec.publication, *(role.name for role in spec.roles)):
            continue
        if kind == "slot":
            try:
                _drop_slot(connection, replace(spec, slot=name), Deadline(0), report)
            except PostgresError:
                remaining.append(entry)
        elif kind == "publication":
            _drop_publication(connection, replace(spec, publication=name), report)
        elif kind == "role":
            source_roles.drop(connection, name, spec.mark, report)
    return remaining


def remove(connection: Connection, spec: SourceSpec, deadline: Deadline, report: Report) -> None:
    """Take the pipeline out: triggers, publication, slot, roles. User tables, their replica identity and the schema
    ``cdc`` with its history stay. Raises PostgresError when the slot is still in use at the deadline."""
    for name in EVENT_TRIGGERS:
        if may_create_event_triggers(connection):
            connection.execute(sql.SQL("DROP EVENT TRIGGER IF EXISTS {}").format(sql.Identifier(name)))
    _drop_publication(connection, spec, report)
    _drop_slot(connection, spec, deadline, report)
    for role in spec.roles:
        source_roles.drop(connection, role.name, spec.mark, report)


def _apply_schemas(connection: Connection, spec: SourceSpec) -> None:
    connection.execute(
        "INSERT INTO cdc.heartbeat (id, committed_at, beat) VALUES (1, clock_timestamp(), 0)"
        " ON CONFLICT (id) DO NOTHING"
    )
    connection.execute("DELETE FROM cdc.captured_schemas WHERE name <> ALL (%s)", [list(spec.schemas)])
    connection.execute(
        "INSERT INTO cdc.captured_schemas SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING",
        [list(spec.schemas)],
    )


def _without_full_identity(connection: Connection, spec: SourceSpec) -> list[str]:
    return [row[0] for row in rows(connection, IDENTITY_QUERY, list(spec.tables))]


def _apply_publication(connection: Connection, spec: SourceSpec, report: Report) -> None:
    found = rows(connection, PUBLICATION_QUERY, spec.publication)
    name = sql.Identifier(spec.publication)
    tables = sql.SQL(", ").join(table_identifier(table) for table in sorted(spec.published))
    options = sql.SQL("(publish = 'insert, update, delete, truncate', publish_via_partition_root = true)")
    if not found:
        connection.execute(sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH {}").format(name, tables, options))
        connection.execute(sql.SQL("COMMENT ON PUBLICATION {} IS {}").format(name, sql.Literal(spec.mark)))
        report(f"publication {spec.publication} made for {len(spec.published)} tables")
        if value(connection, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", spec.slot):
            # Decoding looks the publication up as it was at the change: there it does not exist yet.
            report(
                f"warning: the slot {spec.slot} is older than the publication; if the connector can't read on, "
                "drop the slot and snapshot again (playbook `slot lost`)"
            )
        return
    sound, actual = found[0]
    if not sound:
        connection.execute(sql.SQL("ALTER PUBLICATION {} SET {}").format(name, options))
        report(f"publication {spec.publication}: options set")
    for verb, names in (("ADD", spec.published - set(actual)), ("DROP", set(actual) - spec.published)):
        if names:
            listed = sql.SQL(", ").join(table_identifier(table) for table in sorted(names))
            connection.execute(sql.SQL("ALTER PUBLICATION {} {} TABLE {}").format(name, sql.SQL(verb), listed))
            report(f"publication {spec.publication}: {verb.lower()} {', '.join(sorted(names))}")
    new_tables.note(connection, spec.slot, (spec.published - set(actual)) & set(spec.tables))
    new_tables.forget(connection, set(actual) - spec.published)


def _missing_triggers(connection: Connection) -> list[str]:
    there = {row[0] for row in rows(connection, "SELECT evtname::text FROM pg_event_trigger WHERE evtenabled <> 'D'")}
    return [name for name in EVENT_TRIGGERS if name not in there]


def _apply_triggers(connection: Connection, report: Report) -> None:
    missing = _missing_triggers(connection)
    if not missing or not may_create_event_triggers(connection):
        return
    for name in missing:
        event = EVENT_TRIGGERS[name]
        with connection.transaction():
            connection.execute(sql.SQL("DROP EVENT TRIGGER IF EXISTS {}").format(sql.Identifier(name)))
            connection.execute(
                sql.SQL("CREATE EVENT TRIGGER {} ON {} EXECUTE FUNCTION {}()").format(
                    sql.Identifier(name), sql.SQL(event), sql.Identifier(PIPELINE_SCHEMA, f"on_{event}")
                )
            )
        report(f"event trigger {name} made")


def _drop_publication(connection: Connection, spec: SourceSpec, report: Report) -> None:
    query = "SELECT obj_description(oid, 'pg_publication') FROM pg_publication WHERE pubname = %s"
    if value(connection, query, spec.publication) == spec.mark:
        connection.execute(sql.SQL("DROP PUBLICATION {}").format(sql.Identifier(spec.publication)))
        report(f"publication {spec.publication} dropped")


def _drop_slot(connection: Connection, spec: SourceSpec, deadline: Deadline, report: Report) -> None:
    query = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s AND database = %s"
    attempt = 0
    while found := rows(connection, query, spec.slot, spec.database):
        pid = found[0][0]
        if pid is None:
            try:
                connection.execute("SELECT pg_drop_replication_slot(%s)", [spec.slot])
            except psycopg.errors.ObjectInUse:
                pid = "another session"
            else:
                report(f"slot {spec.slot} dropped")
                return
        if deadline.expired:
            raise PostgresError(
                f"the slot {spec.slot} is still in use by {pid}: stop the connector that reads it, then run again. "
                f"Left behind, it fills the server's disk. By hand: SELECT pg_drop_replication_slot('{spec.slot}');"
            )
        deadline.pause(attempt)
        attempt += 1
