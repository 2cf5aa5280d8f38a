"""`NewTables`: the rows of tables that were added to a running pipeline, asked for once the connector captures them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, Resource, UpdateResult

from cdc import new_tables
from cdc.postgres import Login, session
from components.providers import base

PROVIDER_VERSION = "1"
"""Bumped when every source is to be visited again although no input changed."""
NAMED = ("host", "port", "database", "admin_user", "tables")
COMPARED = (*NAMED, "keyed", "admin_password", "ca", "provider_version")


class NewTablesProvider(base.Provider):
    """Sends what ``SourceSchema`` noted; the source itself remembers what was sent."""

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Only whether all is given."""
        return CheckResult(dict(news), base.required(news, NAMED))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Changed inputs: there is nothing outside that could drift."""
        return DiffResult(changes=bool(base.changed(olds, news, COMPARED)), replaces=[], delete_before_replace=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Ask for what is noted; on a first run that is nothing."""
        return CreateResult(base.text(props, "database"), _request(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Ask for what is noted and not asked for yet."""
        return UpdateResult(_request(news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Nothing to undo: what was noted stays with the source."""


def _request(props: Mapping[str, Any]) -> dict[str, Any]:
    login = Login(
        host=base.text(props, "host"),
        port=base.integer(props, "port"),
        database=base.text(props, "database"),
        user=base.text(props, "admin_user"),
        password=base.text(props, "admin_password"),
        ca=base.text(props, "ca", ""),
    )
    deadline = base.Deadline(base.integer(props, "timeout_seconds", 300))
    with base.explained(f"NewTables {login}", secrets=[login.password]), session(login, deadline) as connection:
        new_tables.request(connection, base.strings(props, "keyed"), lambda line: print(f"source: {line}", flush=True))
    return {key: value for key, value in props.items() if key != "__provider"}


@dataclass(frozen=True, kw_only=True)
class NewTablesArgs:
    """Where the source is, and which ``tables`` (``schema.table``) the connector captures by now; the messages of the
    ``keyed`` ones have another key than the table."""

    host: pulumi.Input[str]
    port: pulumi.Input[int]
    database: pulumi.Input[str]
    admin_user: pulumi.Input[str]
    admin_password: pulumi.Input[str]
    tables: pulumi.Input[list[str]]
    keyed: pulumi.Input[list[str]]
    ca: pulumi.Input[str] | None = None
    timeout_seconds: pulumi.Input[int] = 300


class NewTables(Resource, module="cdc", name="NewTables"):
    """One signal to the connector for each table that it did not read when it was made."""

    def __init__(self, name: str, *, args: NewTablesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["admin_password"])
        props = {**vars(args), "provider_version": PROVIDER_VERSION}
        props["admin_password"] = pulumi.Output.secret(args.admin_password)
        super().__init__(NewTablesProvider(), name, props, pulumi.ResourceOptions.merge(secret, opts))
