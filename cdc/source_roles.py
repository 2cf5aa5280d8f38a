"""The pipeline's roles in a PostgreSQL source: one per duty, each with exactly the rights that its duty needs."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
from psycopg import sql

from cdc.postgres import (
    Connection,
    PostgresError,
    rows,
    scram_verifier,
    table_identifier,
    value,
    verifier_matches,
)
from cdc.source_spec import PIPELINE_SCHEMA, PIPELINE_TABLES, SIGNAL, Duty, Report, Role, SourceSpec

PRIVILEGES_QUERY = """
SELECT 'schema', n.nspname::text, a.privilege_type
  FROM pg_namespace n, aclexplode(n.nspacl) a WHERE a.grantee = %s::regrole
UNION ALL
SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, n.nspname || '.' || c.relname, a.privilege_type
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
 WHERE a.grantee = %s::regrole AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
UNION ALL
SELECT 'database', d.datname::text, a.privilege_type
  FROM pg_database d, aclexplode(d.datacl) a WHERE a.grantee = %s::regrole AND d.datname = current_database()
"""
RELATIONS_QUERY = """
SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, n.nspname || '.' || c.relname
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%s) AND c.relkind IN ('r', 'p', 'S')
"""
APPLICATION_RIGHTS = {"table": ("SELECT", "INSERT", "UPDATE", "DELETE"), "sequence": ("USAGE",)}
WATCHING = (Duty.OPERATE, Duty.READ)
MONITOR = "pg_monitor"
"""PostgreSQL's own role for whoever watches the server: other sessions, slots, settings."""
Privilege = tuple[str, str, str]


def apply(connection: Connection, spec: SourceSpec, report: Report) -> None:
    """Make every role of ``spec`` with its password and rights; runs in the caller's transaction."""
    for role in spec.roles:
        _apply_role(connection, spec, role, report)
        _apply_privileges(connection, spec, role, report)


def drift(connection: Connection, spec: SourceSpec) -> Iterator[str]:
    """What differs from ``spec``, in words."""
    for role in spec.roles:
        if flaw := _flaw(connection, role):
            yield f"role {role.name} {flaw}"
            continue
        actual, wanted = _privileges(connection, role.name), _wanted(connection, spec, role)
        for kind, name, privilege in sorted(wanted - actual):
            yield f"{role.name} lacks {privilege} on {kind} {name}"
        for kind, name, privilege in sorted(actual - wanted):
            yield f"{role.name} has {privilege} on {kind} {name}, which it does not need"


def drop(connection: Connection, name: str, mark: str, report: Report) -> None:
    """Drop a role if its comment says that it is this pipeline's; one that others depend on loses its login."""
    query = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s"
    if value(connection, query, name) != mark:
        return
    for privilege in sorted(_privileges(connection, name)):
        _change_privilege(connection, name, privilege, grant=False)
    try:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
        report(f"role {name} dropped")
    except psycopg.errors.DependentObjectsStillExist as error:
        # It was given rights elsewhere, by hand: a role that can't log in is harmless and easily found.
        connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(name)))
        report(f"role {name} kept without login, other objects depend on it: {error.diag.message_detail}")


def _flaw(connection: Connection, role: Role) -> str | None:
    """What is wrong with a role; None when it is as wanted."""
    found = rows(
        connection,
        "SELECT rolcanlogin, rolreplication OR EXISTS (SELECT FROM pg_roles cloud WHERE cloud.rolname ="
        " 'rds_replication' AND pg_has_role(own.oid, cloud.oid, 'MEMBER')) FROM pg_roles own WHERE rolname = %s",
        role.name,
    )
    if not found:
        return "is missing"
    can_login, can_replicate = found[0]
    if not can_login or (role.duty is Duty.CAPTURE and not can_replicate):
        return "may not log in and replicate" if role.duty is Duty.CAPTURE else "may not log in"
    if role.duty in WATCHING and _lacks_monitor(connection, role):
        return f"is not a member of {MONITOR}"
    if value(connection, "SELECT has_table_privilege('pg_authid', 'SELECT')"):
        stored = value(connection, "SELECT rolpassword FROM pg_authid WHERE rolname = %s", role.name)
        if not verifier_matches(stored, role.password):
            return "has another password"
    return None


def _lacks_monitor(connection: Connection, role: Role) -> bool:
    """Whether the role could be made a member and is not: an admin who may not grant it leaves no drift."""
    return bool(
        value(
            connection,
            "SELECT NOT pg_has_role(%s, %s, 'MEMBER') AND ((SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
            " OR pg_has_role(%s, 'MEMBER WITH ADMIN OPTION'))",
            role.name,
            MONITOR,
            MONITOR,
        )
    )


def _apply_role(connection: Connection, spec: SourceSpec, role: Role, report: Report) -> None:
    flaw = _flaw(connection, role)
    can_verify = value(connection, "SELECT has_table_privilege('pg_authid', 'SELECT')")
    if flaw is None and can_verify:
        return
    identifier = sql.Identifier(role.name)
    if flaw == "is missing":
        connection.execute(sql.SQL("CREATE ROLE {}").format(identifier))
        connection.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(identifier, sql.Literal(spec.mark)))
    # A verifier, not the password: this statement may end up in the server's log.
    verifier = sql.Literal(scram_verifier(connection, role.name, role.password))
    connection.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(identifier, verifier))
    if role.duty is Duty.CAPTURE and value(
        connection, "SELECT NOT rolreplication FROM pg_roles WHERE rolname = %s", role.name
    ):
        _allow_replication(connection, identifier)
    if role.duty in WATCHING and _lacks_monitor(connection, role):
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(MONITOR), identifier))
    if flaw is not None:
        report(f"role {role.name} {flaw}: mended")


def _allow_replication(connection: Connection, role: sql.Identifier) -> None:
    try:
        with connection.transaction():
            connection.execute(sql.SQL("ALTER ROLE {} REPLICATION").format(role))
    except psycopg.errors.InsufficientPrivilege as error:
        # Amazon keeps the attribute to itself and lends it through a role.
        if not value(connection, "SELECT to_regrole('rds_replication')"):
            raise PostgresError(
                f"the admin may not make a role that replicates ({error.diag.message_primary}). "
                "ALTER ROLE <admin> REPLICATION; as a superuser, or use a superuser as admin."
            ) from None
        connection.execute(sql.SQL("GRANT rds_replication TO {}").format(role))


def _wanted(connection: Connection, spec: SourceSpec, role: Role) -> set[Privilege]:
    login = {("database", spec.database, "CONNECT")}
    if role.duty is Duty.APPLICATION:
        # The application's tables are those that are there now, captured or not.
        found = rows(connection, RELATIONS_QUERY, list(spec.schemas))
        return (
            login
            | {("schema", name, "USAGE") for name in spec.schemas}
            | {(kind, name, right) for kind, name in found for right in APPLICATION_RIGHTS[kind]}
        )
    readable = (
        login
        | {("schema", name, "USAGE") for name in (*spec.schemas, PIPELINE_SCHEMA)}
        | {("table", table, "SELECT") for table in spec.tables}
    )
    if role.duty in WATCHING:
        found = rows(connection, RELATIONS_QUERY, [PIPELINE_SCHEMA])
        own = {("table", name, "SELECT") for kind, name in found if kind == "table"}
        return readable | own | ({("table", SIGNAL, "INSERT")} if role.duty is Duty.OPERATE else set())
    return readable | {("table", table, right) for table, rights in PIPELINE_TABLES.items() for right in rights}


def _privileges(connection: Connection, role: str) -> set[Privilege]:
    quoted = value(connection, "SELECT quote_ident(%s)", role)
    return {(row[0], row[1], row[2]) for row in rows(connection, PRIVILEGES_QUERY, quoted, quoted, quoted)}


def _change_privilege(connection: Connection, role: str, privilege: Privilege, *, grant: bool) -> None:
    kind, name, right = privilege
    target = table_identifier(name) if kind in ("table", "sequence") else sql.Identifier(name)
    # Kind and right come from our own list or the catalog's fixed words, never from a user.
    template = f"GRANT {right} ON {kind} {{}} TO {{}}" if grant else f"REVOKE {right} ON {kind} {{}} FROM {{}} CASCADE"
    connection.execute(sql.SQL(template).format(target, sql.Identifier(role)))


def _apply_privileges(connection: Connection, spec: SourceSpec, role: Role, report: Report) -> None:
    actual, wanted = _privileges(connection, role.name), _wanted(connection, spec, role)
    for privilege in sorted(actual - wanted):
        _change_privilege(connection, role.name, privilege, grant=False)
        report(f"{role.name}: {privilege[2]} on {privilege[1]} revoked")
    for privilege in sorted(wanted - actual):
        _change_privilege(connection, role.name, privilege, grant=True)
