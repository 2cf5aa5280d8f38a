"""Everything that could stop change data capture from a PostgreSQL, looked up in one go and without changing it."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from cdc.postgres import Connection, rows, value
from cdc.source_spec import PIPELINE_SCHEMA, Finding, SourceSpec

OLDEST_SERVER = 140000
CLOUD_ADMINS = ("rds_superuser", "cloudsqlsuperuser", "azure_pg_admin")
"""Roles of managed clouds that may create event triggers without being superuser."""

TABLES_QUERY = """
SELECT n.nspname || '.' || c.relname, c.relkind::text, c.relpersistence::text, c.relreplident::text,
       pg_has_role(c.relowner, 'USAGE'), pg_get_userbyid(c.relowner),
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary),
       (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.place)
          FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k (number, place), pg_attribute a
         WHERE i.indexrelid = (
                   SELECT u.indexrelid FROM pg_index u
                    WHERE u.indrelid = c.oid AND u.indisunique AND u.indpred IS NULL AND u.indexprs IS NULL
                    ORDER BY u.indnkeyatts, u.indexrelid LIMIT 1)
           AND a.attrelid = c.oid AND a.attnum = k.number),
       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'id' AND NOT a.attisdropped),
       ARRAY(SELECT a.attname::text FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attgenerated <> '' AND NOT a.attisdropped ORDER BY a.attnum)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname || '.' || c.relname = ANY (%s)
"""
NOT_A_TABLE = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
    "i": "an index",
}


def generated_columns(connection: Connection, tables: tuple[str, ...]) -> list[str]:
    """Generated columns of the captured tables as ``schema.table.column``: pgoutput never sends their values."""
    found = {row[0]: row[9] for row in rows(connection, TABLES_QUERY, list(tables))}
    return [f"{table}.{column}" for table in sorted(found) for column in found[table]]


def preflight(connection: Connection, spec: SourceSpec) -> list[Finding]:
    """All findings of all checks; nothing is changed and no check hides another."""
    checks = (_server, _capacity, _retention, _rights, _tables, _role, _publication, _slot)
    return [finding for check in checks for finding in check(connection, spec)]


def _error(thing: str, cure: str) -> Finding:
    return Finding(level="error", thing=thing, cure=cure)


def _warning(thing: str, cure: str) -> Finding:
    return Finding(level="warning", thing=thing, cure=cure)


def setting(connection: Connection, name: str) -> str | None:
    """A server setting as text, None where this version has no such setting."""
    found = value(connection, "SELECT current_setting(%s, true)", name)
    return None if found is None else str(found)


def _server(connection: Connection, _spec: SourceSpec) -> Iterator[Finding]:
    if connection.info.server_version < OLDEST_SERVER:
        yield _error(
            f"the server is PostgreSQL {setting(connection, 'server_version')}, Debezium needs 14 or newer",
            "Upgrade it.",
        )
    if setting(connection, "wal_level") != "logical":
        yield _error(
            f"wal_level is {setting(connection, 'wal_level')}, logical decoding needs `logical`",
            "ALTER SYSTEM SET wal_level = 'logical'; then restart the server "
            "(managed clouds: rds.logical_replication = 1, cloudsql.logical_decoding = on).",
        )
    if value(connection, "SELECT pg_is_in_recovery()"):
        yield _error("this server is a standby and takes no changes", "Give the host of the primary as sourceHost.")


def _capacity(connection: Connection, spec: SourceSpec) -> Iterator[Finding]:
    slots = value(connection, "SELECT count(*) FROM pg_replication_slots")
    own = rows(connection, "SELECT active FROM pg_replication_slots WHERE slot_name = %s", spec.slot)
    is_active = bool(own and own[0][0])
    most_slots = int(setting(connection, "max_replication_slots") or 0)
    if not own and slots >= most_slots:
        yield _error(
            f"no replication slot is free: {slots} of max_replication_slots = {most_slots} are taken",
            "Drop an unused one (SELECT pg_drop_replication_slot('name')), or raise the setting and restart.",
        )
    senders = value(connection, "SELECT count(*) FROM pg_stat_replication")
    most_senders = int(setting(connection, "max_wal_senders") or 0)
    if not is_active and senders >= most_senders:
        yield _error(
            f"no WAL sender is free: {senders} of max_wal_senders = {most_senders} are in use",
            f"ALTER SYSTEM SET max_wal_senders = {senders + 5}; then restart the server.",
        )


def _retention(connection: Connection, _spec: SourceSpec) -> Iterator[Finding]:
    if setting(connection, "max_slot_wal_keep_size") == "-1":
        yield _warning(
            "max_slot_wal_keep_size is -1: a connector that stays down fills this server's disk with WAL",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'; SELECT pg_reload_conf(); and alert on wal_status.",
        )
    idle = setting(connection, "idle_replication_slot_timeout")
    if idle not in (None, "0"):
        yield _error(
            f"idle_replication_slot_timeout is {idle}: a connector down for longer loses its slot and changes",
            "ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf();",
        )


def _rights(connection: Connection, spec: SourceSpec) -> Iterator[Finding]:
    user, is_super, makes_roles, on_database = rows(
        connection,
        "SELECT rolname, rolsuper, rolcreaterole, has_database_privilege(current_database(), 'CREATE')"
        " FROM pg_roles WHERE rolname = current_user",
    )[0]
    if is_super:
        return
    if not makes_roles:
        yield _error(
            f"{user} may not create roles, {spec.roles[0].name} can't be made", f'ALTER ROLE "{user}" CREATEROLE;'
        )
    if not on_database:
        yield _error(
            f"{user} may not create a schema or a publication in {spec.database}",
            f'GRANT CREATE ON DATABASE "{spec.database}" TO "{user}";',
        )
    owner = value(
        connection,
        "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = %s AND NOT pg_has_role(nspowner, 'USAGE')",
        PIPELINE_SCHEMA,
    )
    if owner:
        yield _error(
            f"the schema {PIPELINE_SCHEMA} belongs to {owner}",
            f'ALTER SCHEMA {PIPELINE_SCHEMA} OWNER TO "{user}"; and the tables in it, or use {owner} as admin.',
        )
    if not may_create_event_triggers(connection):
        yield _warning(
            f"{user} is no superuser and can't create event triggers: schema changes will not be recorded",
            "Use a superuser as admin once, or live without the schema-changes topic.",
        )


def may_create_event_triggers(connection: Connection) -> bool:
    """Whether the current user is a superuser or a managed cloud's stand-in for one."""
    return bool(
        value(
            connection,
            "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND rolsuper)"
            " OR EXISTS (SELECT FROM pg_roles WHERE rolname = ANY (%s) AND pg_has_role(oid, 'MEMBER'))",
            list(CLOUD_ADMINS),
        )
    )


def _tables(connection: Connection, spec: SourceSpec) -> Iterator[Finding]:
    found = {row[0]: row[1:] for row in rows(connection, TABLES_QUERY, list(spec.tables))}
    user = value(connection, "SELECT current_user")
    for table in spec.tables:
        if table not in found:
            yield _missing(connection, table)
            continue
        kind, persistence, identity, owned, owner, has_key, unique, has_id, generated = found[table]
        if kind in NOT_A_TABLE:
            yield _error(
                f"{table} is {NOT_A_TABLE[kind]}, which has no changes to capture",
                "Capture the tables behind it instead.",
            )
            continue
        if persistence != "p":
            yield _error(f"{table} is unlogged: its changes never reach the WAL", f"ALTER TABLE {table} SET LOGGED;")
        if not has_key:
            yield _error(f"{table} has no primary key, rows could not be told apart", _key_cure(table, unique, has_id))
        if not owned:
            yield _error(
                f"{table} belongs to {owner}: {user} can neither publish it nor grant on it",
                f'GRANT "{owner}" TO "{user}"; or use {owner} as admin.',
            )
        if kind == "p":
            yield _warning(
                f"{table} is partitioned: changes are published as the parent's",
                "Set REPLICA IDENTITY FULL on each new partition, or run `pulumi refresh` and `up` after adding one.",
            )
        if generated:
            yield Finding(
                level="info",
                thing=f"{table} has generated columns ({', '.join(generated)}): not captured, computed downstream",
            )
        if identity != "f":
            yield Finding(level="info", thing=f"{table} gets REPLICA IDENTITY FULL: more WAL for updates and deletes")


def _missing(connection: Connection, table: str) -> Finding:
    names = rows(
        connection,
        "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog',"
        " 'information_schema', %s)",
        PIPELINE_SCHEMA,
    )
    near = get_close_matches(table, [row[0] for row in names], n=3)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    return _error(f"{table} does not exist", f"{hint}Create it, or take it out of `tables`.")


def _key_cure(table: str, unique: str | None, has_id: bool) -> str:
    if unique:
        return f"ALTER TABLE {table} ADD PRIMARY KEY ({unique});"
    if has_id:
        return f"ALTER TABLE {table} ADD PRIMARY KEY (id);"
    return f"ALTER TABLE {table} ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;"


def _role(connection: Connection, spec: SourceSpec) -> Iterator[Finding]:
    names = [role.name for role in spec.roles]
    query = "SELECT rolname, rolsuper, shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = ANY (%s)"
    for name, is_super, comment in rows(connection, query, names):
        if is_super:
            yield _error(f"the role {name} is a superuser", f'ALTER ROLE "{name}" NOSUPERUSER; or drop it.')
        if comment != spec.mark:
            yield _error(
                f"the role {name} exists and is not this pipeline's (its password and rights would be replaced)",
                f"Drop it, or hand it over: COMMENT ON ROLE \"{name}\" IS '{spec.mark}';",
            )


def _publication(connection: Connection, spec: SourceSpec) -> Iterator[Finding]:
    found = rows(
        connection,
        "SELECT puballtables, pg_has_role(pubowner, 'USAGE'), pg_get_userbyid(pubowner),"
        " obj_description(oid, 'pg_publication') FROM pg_publication WHERE pubname = %s",
        spec.publication,
    )
    if not found:
        return
    all_tables, owned, owner, comment = found[0]
    if all_tables:
        yield _error(
            f"the publication {spec.publication} is FOR ALL TABLES and can't be narrowed",
            f'DROP PUBLICATION "{spec.publication}"; or give another name as publication.',
        )
    if not owned:
        yield _error(f"the publication {spec.publication} belongs to {owner}", "Give another name as publication.")
    if comment != spec.mark and not all_tables:
        yield _error(
            f"the publication {spec.publication} exists and is not this pipeline's (its tables would be replaced)",
            f"Give another name, or hand it over: COMMENT ON PUBLICATION \"{spec.publication}\" IS '{spec.mark}';",
        )


def _slot(connection: Connection, spec: SourceSpec) -> Iterator[Finding]:
    found = rows(
        connection,
        "SELECT database, plugin, wal_status FROM pg_replication_slots WHERE slot_name = %s",
        spec.slot,
    )
    if not found:
        return
    database, plugin, wal_status = found[0]
    if (database, plugin) != (spec.database, "pgoutput"):
        yield _error(
            f"the slot {spec.slot} is used by {plugin or 'physical replication'} of {database or 'the server'}",
            "Give another name as slot.",
        )
    elif wal_status == "lost":
        yield _error(
            f"the slot {spec.slot} is lost: the WAL it needed is gone, and changes with it",
            f"SELECT pg_drop_replication_slot('{spec.slot}'); then snapshot again (docs: slot lost).",
        )
