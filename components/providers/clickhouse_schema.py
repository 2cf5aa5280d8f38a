"""`ClickHouseSchema`: the numbered files of ``sql/clickhouse`` applied to one ClickHouse database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from cdc import migrations
from cdc.clickhouse import ClickHouse, ClickHouseError, Endpoint
from cdc.clickhouse_migrations import DIALECT, ClickHouseTarget
from components.providers import base

FOLDER = Path(__file__).resolve().parents[2] / "sql" / "clickhouse"
PROVIDER_VERSION = "1"
"""Bumped when every schema is to be visited again although no input changed."""
COMPUTED = ("applied", "schema_version", "server_version", "drift")
NAMED = ("host", "port", "user", "password", "database", "parameters", "files")
COMPARED = (*NAMED, "ca", "triggers", "provider_version")
READ_SECONDS = 10.0


class ClickHouseSchemaProvider(base.Provider):
    """Applies what is not applied yet and makes objects without data match. Nothing here ever drops data."""

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Whether all is given and the files can be read with these parameters; asks no server."""
        failures = base.required(news, NAMED)
        if base.known(news, "parameters") and not failures:
            try:
                migrations.load(FOLDER, _parameters(news), DIALECT)
            except migrations.MigrationError as error:
                failures.append(CheckFailure("parameters", str(error)))
        return CheckResult(dict(news), failures)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Changed inputs and drift that `refresh` saw. Another database replaces; the old one stays, with its data."""
        replaces = base.changed(olds, news, ("database",), unknown=False)
        differs = base.changed(olds, news, COMPARED) or olds.get("drift")
        return DiffResult(changes=bool(differs), replaces=replaces, delete_before_replace=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Apply; safe to repeat after a failure, because the database itself knows how far it came."""
        return CreateResult(base.text(props, "database"), _apply(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Apply again: new files, changed parameters, drift."""
        return UpdateResult(_apply(news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Compare the database with what was noted down. A server that doesn't answer is drift: `up` waits for it."""
        try:
            with _connect(props, READ_SECONDS) as connection:
                target = ClickHouseTarget(connection, _parameters(props))
                if not target.objects.remembered():
                    return ReadResult(None, {})  # how a vanished resource is reported
                drift = target.objects.drift()
        except ClickHouseError as error:
            drift = [str(error)]
        for line in drift:
            _report(line)
        return ReadResult(id_, {**props, "drift": drift})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Forget the schema. The tables and their data stay; they go with the volume."""


def _apply(props: Mapping[str, Any]) -> dict[str, Any]:
    seconds = base.integer(props, "timeout_seconds", 300)
    parameters = _parameters(props)
    with base.explained(_title(props), secrets=_secrets(props)), _connect(props, seconds) as connection:
        target = ClickHouseTarget(connection, parameters, report=_report, lock_seconds=seconds)
        plan = migrations.apply(target, FOLDER, parameters)
        return {
            **{key: value for key, value in props.items() if key not in (*COMPUTED, "__provider")},
            "applied": [file.name for file in plan.files],
            "schema_version": str(plan.version),
            "server_version": target.objects.server(),
            "drift": [],
        }


def _connect(props: Mapping[str, Any], seconds: float) -> ClickHouse:
    endpoint = Endpoint(
        host=base.text(props, "host"),
        port=base.integer(props, "port"),
        user=base.text(props, "user"),
        password=base.text(props, "password"),
        ca=base.text(props, "ca", ""),
    )
    return ClickHouse.connect(endpoint, base.Deadline(seconds))


def _parameters(props: Mapping[str, Any]) -> dict[str, str]:
    named = {key: str(value) for key, value in base.mapping(props, "parameters").items()}
    return {**named, "database": base.text(props, "database")}


def _title(props: Mapping[str, Any]) -> str:
    return f"ClickHouseSchema {base.text(props, 'host')}:{base.text(props, 'port')}/{base.text(props, 'database')}"


def _secrets(props: Mapping[str, Any]) -> list[str]:
    return [base.text(props, "password", "")]


def _report(line: str) -> None:
    print(f"clickhouse: {line}", flush=True)


@dataclass(frozen=True, kw_only=True)
class ClickHouseSchemaArgs:
    """Where the server is and with which parameters the files are filled in. ``port`` is that of the native protocol,
    ``ca`` the authority, PEM, that the server is verified against; ``triggers`` holds anything whose change calls for
    another visit, such as the container's id."""

    host: pulumi.Input[str]
    port: pulumi.Input[int]
    user: pulumi.Input[str]
    password: pulumi.Input[str]
    database: pulumi.Input[str]
    parameters: pulumi.Input[Mapping[str, pulumi.Input[str]]]
    ca: pulumi.Input[str] | None = None
    timeout_seconds: pulumi.Input[int] = 300
    triggers: pulumi.Input[list[str]] | None = None


class ClickHouseSchema(Resource, module="cdc", name="ClickHouseSchema"):
    """Tables, views and Kafka consumers of the analytics database."""

    applied: pulumi.Output[list[str]]
    schema_version: pulumi.Output[str]
    server_version: pulumi.Output[str]
    drift: pulumi.Output[list[str]]

    def __init__(self, name: str, *, args: ClickHouseSchemaArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["password"])
        files = {path.name: migrations.checksum(path.read_text()) for path in sorted(FOLDER.glob("*.sql"))}
        props = {**vars(args), "files": files, "provider_version": PROVIDER_VERSION, **dict.fromkeys(COMPUTED)}
        props["password"] = pulumi.Output.secret(args.password)
        super().__init__(ClickHouseSchemaProvider(), name, props, pulumi.ResourceOptions.merge(secret, opts))
