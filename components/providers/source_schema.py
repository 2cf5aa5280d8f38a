"""`SourceSchema`: what change data capture needs in a PostgreSQL that this stack runs or that exists already."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from cdc import source
from cdc.postgres import Login, PostgresUnreachableError, session
from cdc.postgres_migrations import migrate
from cdc.preflight import generated_columns, preflight, setting
from cdc.source_spec import Duty, Role, SourceError, SourceSpec
from components.providers import base

PROVIDER_VERSION = "2"
"""Bumped when every source is to be visited again although no input changed."""
COMPUTED = ("generated_columns", "server_version", "schema_version", "drift", "retired")
NAMED = ("host", "port", "database", "admin_user", "debezium_user", "operator_user", "publication", "slot", "tables")
PASSWORDS = ("admin_password", "debezium_password", "operator_password", "reader_password", "application_password")
COMPARED = (*NAMED, *PASSWORDS, "reader_user", "application_user", "managed", "ca", "triggers", "provider_version")
RENAMES = {
    "slot": "slot",
    "publication": "publication",
    "debezium_user": "role",
    "operator_user": "role",
    "reader_user": "role",
    "application_user": "role",
}
ROLES = {
    "debezium": Duty.CAPTURE,
    "operator": Duty.OPERATE,
    "reader": Duty.READ,
    "application": Duty.APPLICATION,
}
READ_SECONDS = 10.0
DELETE_SECONDS = 20.0


class SourceSchemaProvider(base.Provider):
    """Looks before it acts, then makes the source as the inputs say. User tables are never dropped."""

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Only whether all is given: this runs in previews too, where nothing may be looked up."""
        return CheckResult(dict(news), base.required(news, NAMED))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Changed inputs, drift that `refresh` saw, and leftovers of a rename. Another database replaces."""
        replaces = base.changed(olds, news, ("database",), unknown=False)
        differs = base.changed(olds, news, COMPARED) or olds.get("drift") or olds.get("retired")
        return DiffResult(changes=bool(differs), replaces=replaces, delete_before_replace=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Preflight, then apply; safe to repeat after a failure."""
        return CreateResult(f"{base.text(props, 'database')}/{base.text(props, 'publication')}", _apply(props, []))

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Apply again. What was renamed is dropped by the next `up`, when the connector has moved on from it."""
        renamed = base.changed(olds, news, RENAMES, unknown=False)
        outs = _apply(news, base.strings(olds, "retired"))
        outs["retired"] += [f"{RENAMES[key]}:{base.text(olds, key)}" for key in renamed if olds.get(key)]
        return UpdateResult(outs)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Look for drift. A source that doesn't answer is drift too: `up` then waits for it or says what is wrong."""
        generated = base.strings(props, "generated_columns")
        with base.explained(_title(props), secrets=_secrets(props)):
            try:
                with session(_login(props), base.Deadline(READ_SECONDS)) as connection:
                    drift = source.drift(connection, _spec(props))
                    generated = generated_columns(connection, _spec(props).tables)
            except PostgresUnreachableError as error:
                drift = [str(error)]
        for line in drift:
            _report(line)
        return ReadResult(id_, {**props, "drift": drift, "generated_columns": generated})

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        """Take roles, publication, slot and triggers out of an external source; its data and `cdc` tables stay.

        A managed source goes with its volume. Where data is kept (`make down KEEP_DATA=1`), Kafka's offsets wait for
        the next `up`, and so must the slot.
        """
        if base.flag(props, "managed") or os.environ.get("CDC_KEEP_DATA") == "1":
            return
        with base.explained(_title(props), secrets=_secrets(props)):
            deadline = base.Deadline(DELETE_SECONDS)
            with session(_login(props), deadline) as connection:
                source.remove(connection, _spec(props), deadline, _report)
                source.retire(connection, _spec(props), base.strings(props, "retired"), _report)


def _apply(props: Mapping[str, Any], retired: list[str]) -> dict[str, Any]:
    spec, deadline = _spec(props), base.Deadline(base.integer(props, "timeout_seconds", 300))
    with base.explained(_title(props), secrets=_secrets(props)), session(_login(props), deadline) as connection:
        if base.flag(props, "managed"):
            migrate(connection, "inventory", deadline)
        findings = preflight(connection, spec)
        for finding in findings:
            if finding.level != "error":
                _report(f"{finding.level}: {finding}")
        if errors := [finding for finding in findings if finding.level == "error"]:
            raise SourceError(errors)
        plan = migrate(connection, "cdc", deadline)
        source.apply(connection, spec, _report)
        return {
            **{key: value for key, value in props.items() if key not in (*COMPUTED, "__provider")},
            "generated_columns": generated_columns(connection, spec.tables),
            "server_version": setting(connection, "server_version"),
            "schema_version": str(plan.version),
            "drift": [],
            "retired": source.retire(connection, spec, retired, _report),
        }


def _spec(props: Mapping[str, Any]) -> SourceSpec:
    return SourceSpec(
        database=base.text(props, "database"),
        roles=tuple(
            Role(name=base.text(props, f"{part}_user"), password=base.text(props, f"{part}_password"), duty=duty)
            for part, duty in ROLES.items()
            if props.get(f"{part}_user")
        ),
        publication=base.text(props, "publication"),
        slot=base.text(props, "slot"),
        tables=tuple(base.strings(props, "tables")),
    )


def _login(props: Mapping[str, Any]) -> Login:
    return Login(
        host=base.text(props, "host"),
        port=base.integer(props, "port"),
        database=base.text(props, "database"),
        user=base.text(props, "admin_user"),
        password=base.text(props, "admin_password"),
        ca=base.text(props, "ca", ""),
    )


def _title(props: Mapping[str, Any]) -> str:
    return f"SourceSchema {base.text(props, 'host')}:{base.text(props, 'port')}/{base.text(props, 'database')}"


def _secrets(props: Mapping[str, Any]) -> list[str]:
    return [base.text(props, key, "") for key in PASSWORDS]


def _report(line: str) -> None:
    print(f"source: {line}", flush=True)


@dataclass(frozen=True, kw_only=True)
class SourceSchemaArgs:
    """Where the source is and what is captured. ``tables`` are ``schema.table``; ``managed`` adds the demo schema,
    whose application logs in as ``application_user``; ``triggers`` holds anything whose change calls for another visit,
    such as the container's id. ``ca`` is the authority, PEM, that the server is verified against."""

    host: pulumi.Input[str]
    port: pulumi.Input[int]
    database: pulumi.Input[str]
    admin_user: pulumi.Input[str]
    admin_password: pulumi.Input[str]
    debezium_user: pulumi.Input[str]
    debezium_password: pulumi.Input[str]
    operator_user: pulumi.Input[str]
    operator_password: pulumi.Input[str]
    publication: pulumi.Input[str]
    slot: pulumi.Input[str]
    tables: pulumi.Input[list[str]]
    managed: pulumi.Input[bool]
    reader_user: pulumi.Input[str] | None = None
    reader_password: pulumi.Input[str] | None = None
    application_user: pulumi.Input[str] | None = None
    application_password: pulumi.Input[str] | None = None
    ca: pulumi.Input[str] | None = None
    timeout_seconds: pulumi.Input[int] = 300
    triggers: pulumi.Input[list[str]] | None = None


class SourceSchema(Resource, module="cdc", name="SourceSchema"):
    """Roles, grants, publication, replica identity, heartbeat, signal and DDL triggers of one source."""

    generated_columns: pulumi.Output[list[str]]
    server_version: pulumi.Output[str]
    schema_version: pulumi.Output[str]
    drift: pulumi.Output[list[str]]

    def __init__(self, name: str, *, args: SourceSchemaArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=list(PASSWORDS))
        props = {**vars(args), "provider_version": PROVIDER_VERSION, **dict.fromkeys(COMPUTED)}
        props |= {key: pulumi.Output.secret(props[key]) for key in PASSWORDS if props[key] is not None}
        super().__init__(SourceSchemaProvider(), name, props, pulumi.ResourceOptions.merge(secret, opts))
