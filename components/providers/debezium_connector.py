"""`DebeziumConnector`: one connector on Kafka Connect, created, changed, watched and mended over REST."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, DiffResult, ReadResult, Resource, UpdateResult
from pulumi.runtime import rpc

from cdc.connect import ConnectClient, ConnectUnreachableError, NoConnectorError
from components.providers import base

PROVIDER_VERSION = "1"
"""Bumped when every connector is to be configured again although no input changed."""
COMPUTED = ("state", "task_states", "type")
COMPARED = ("url", "config", "ca", "triggers", "provider_version")
IDENTITY = ("connector.class", "topic.prefix", "database.dbname")
"""Settings that make it another connector: stored offsets belong to them."""
READ_SECONDS = 20.0
STALLED_SECONDS = 8.0
"""A running connector whose offset stands still for so long is not reading; at least three heartbeats."""


class DebeziumConnectorProvider(base.Provider):
    """Owner of one connector; Connect's REST answers hold placeholders for passwords, so nothing here is secret."""

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """All given, and a class named; the plugin's own checks run in create and update."""
        failures = base.required(news, ("url", "connector", "config"))
        if not failures and not rpc.contains_unknowns(news["config"]) and "connector.class" not in news["config"]:
            failures.append(CheckFailure("config", "`connector.class` must be set"))
        return CheckResult(dict(news), failures)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Changed inputs, and a connector that `refresh` found changed, paused, stopped or failed."""
        replaces = base.changed(olds, news, ("connector",), unknown=False)
        if base.known(news, "config"):
            before, after = base.mapping(olds, "config"), base.mapping(news, "config")
            replaces += ["config"] if base.changed(before, after, IDENTITY, unknown=False) else []
        differs = bool(replaces or base.changed(olds, news, COMPARED) or not _runs(olds))
        return DiffResult(changes=differs, replaces=replaces, delete_before_replace=True)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Configure and wait until it runs; repeating it is harmless."""
        return CreateResult(base.text(props, "connector"), _ensure(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Configure, resume or restart, and wait until it runs."""
        return UpdateResult(_ensure(news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """The live configuration and states; a connector that is gone reads as gone, an unreachable one as such."""
        name = base.text(props, "connector")
        with base.explained(_title(props)):
            client = _client(props, READ_SECONDS)
            try:
                config = client.config(name)
                live = {"config": config, **_outcome(client, name)}
                if _runs(live) and not client.moves(name, config, STALLED_SECONDS):
                    live["state"] = "STALLED"
            except NoConnectorError:
                return ReadResult("", {})
            except ConnectUnreachableError as error:
                print(f"connector {name}: {error}", flush=True)
                live = {"state": "UNREACHABLE", "task_states": []}
        return ReadResult(id_, {**props, **live})

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        """Delete it; slot, topics and stored offsets stay, so that the same connector can go on where it stopped."""
        with base.explained(_title(props)):
            client = _client(props, READ_SECONDS)
            name = base.text(props, "connector")
            try:
                if not client.delete(name):
                    print(f"connector {name}: was gone already", flush=True)
            except ConnectUnreachableError as error:
                # What can't be asked must not keep the rest from being removed; its home goes with Kafka's volume.
                print(f"connector {name}: left in Kafka Connect's own topics, {error}", flush=True)


def _ensure(props: Mapping[str, Any]) -> dict[str, Any]:
    name = base.text(props, "connector")
    config = {key: base.text(props["config"], key) for key in props["config"]}
    with base.explained(_title(props)):
        client = _client(props, base.integer(props, "timeout_seconds", 300))
        client.ensure(name, config)
        outcome = _outcome(client, name)
    kept = {key: value for key, value in props.items() if key not in (*COMPUTED, "__provider")}
    return {**kept, **outcome}


def _client(props: Mapping[str, Any], seconds: float) -> ConnectClient:
    return ConnectClient(base.text(props, "url"), base.Deadline(seconds), ca=base.text(props, "ca", ""))


def _outcome(client: ConnectClient, name: str) -> dict[str, Any]:
    status = client.status(name)
    return {"state": status.connector, "task_states": list(status.tasks), "type": status.kind}


def _runs(outs: Mapping[str, Any]) -> bool:
    """Whether the last look saw all of it running."""
    tasks = base.strings(outs, "task_states")
    return base.text(outs, "state", "") == "RUNNING" and bool(tasks) and set(tasks) == {"RUNNING"}


def _title(props: Mapping[str, Any]) -> str:
    return f"DebeziumConnector {base.text(props, 'connector')}"


@dataclass(frozen=True, kw_only=True)
class DebeziumConnectorArgs:
    """Connect's REST ``url``, the ``connector``'s name and its flat configuration (without ``name``); ``ca`` is the
    authority, PEM, that an https address is verified against."""

    url: pulumi.Input[str]
    connector: pulumi.Input[str]
    config: pulumi.Input[dict[str, str]]
    ca: pulumi.Input[str] | None = None
    timeout_seconds: pulumi.Input[int] = 300
    triggers: pulumi.Input[list[str]] | None = None


class DebeziumConnector(Resource, module="cdc", name="DebeziumConnector"):
    """A connector that runs, with all of its tasks."""

    config: pulumi.Output[dict[str, str]]
    state: pulumi.Output[str]
    task_states: pulumi.Output[list[str]]
    type: pulumi.Output[str]

    def __init__(self, name: str, *, args: DebeziumConnectorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        props = {**vars(args), "provider_version": PROVIDER_VERSION, **dict.fromkeys(COMPUTED)}
        super().__init__(DebeziumConnectorProvider(), name, props, opts)
