"""What all dynamic providers must keep: tiny references in the state, plain inputs, honest differences."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from pulumi.dynamic import ResourceProvider
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.output import Unknown

from components.providers import base
from components.providers.debezium_connector import DebeziumConnectorProvider
from components.providers.kafka_topics import KafkaTopicsProvider
from components.providers.source_schema import SourceSchemaProvider

UNKNOWN = Unknown()  # type: ignore[no-untyped-call]
PROVIDERS = [DebeziumConnectorProvider, KafkaTopicsProvider, SourceSchemaProvider]
CONNECTOR: dict[str, Any] = {
    "url": "http://127.0.0.1:8083",
    "connector": "c",
    "config": {"connector.class": "x", "topic.prefix": "p", "tasks.max": "1"},
    "provider_version": "1",
}
RUNNING = {**CONNECTOR, "state": "RUNNING", "task_states": ["RUNNING"], "type": "source"}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_provider_is_stored_by_reference(provider: type[ResourceProvider]) -> None:
    stored = serialize_provider(provider())
    assert stored == serialize_provider(provider())
    raw = base64.b64decode(stored)
    assert len(raw) < 200
    assert provider.__module__.encode() in raw
    assert provider.serialize_as_secret_always is False


@pytest.mark.parametrize("provider", PROVIDERS)
def test_check_does_not_choke_on_values_unknown_in_a_preview(provider: type[ResourceProvider]) -> None:
    unknown = {
        "url": UNKNOWN,
        "connector": UNKNOWN,
        "config": UNKNOWN,
        "topics": UNKNOWN,
        "bootstrap": UNKNOWN,
    }
    news = dict.fromkeys(
        ("host", "port", "database", "admin_user", "debezium_user", "operator_user", "slot", "tables"), UNKNOWN
    )
    result = provider().check({}, {**unknown, **news, "publication": UNKNOWN})
    assert result.failures == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_check_names_what_is_missing(provider: type[ResourceProvider]) -> None:
    assert len(provider().check({}, {}).failures) >= 2


def test_numbers_are_read_whatever_their_type() -> None:
    props = {"a": 8083.0, "b": "8083", "c": 8083, "d": "x"}
    assert {base.integer(props, key) for key in "abc"} == {8083}
    assert base.text(props, "a") == "8083"
    with pytest.raises(base.ProviderError, match="whole number, not 'x'"):
        base.integer(props, "d")
    with pytest.raises(base.ProviderError, match="`e` is missing"):
        base.text(props, "e")


def test_changed_compares_values_and_not_types() -> None:
    olds = {"a": 1.0, "b": ["x"], "c": {"k": 3.0, "gone": None}, "d": True}
    assert base.changed(olds, {"a": "1", "b": ["x"], "c": {"k": "3"}, "d": True}, "abcd") == []
    assert base.changed(olds, {"a": 2, "b": ["y"], "c": {"k": "4"}, "d": False}, "abcd") == list("abcd")
    assert base.changed(olds, {"a": UNKNOWN}, "a") == ["a"]
    assert base.changed(olds, {"a": UNKNOWN}, "a", unknown=False) == []


def test_failures_are_explained_without_secrets() -> None:
    with pytest.raises(base.ProviderError) as caught, base.explained("thing", secrets=["s3cret", ""]):
        raise ValueError("bad s3cret here")
    assert str(caught.value) == "thing: bad *** here"
    with pytest.raises(base.ProviderError, match="KeyError"), base.explained("thing"):
        raise KeyError("k")


def test_running_connector_without_changes_has_no_diff() -> None:
    result = DebeziumConnectorProvider().diff("c", RUNNING, CONNECTOR)
    assert result.changes is False
    assert result.replaces == []


@pytest.mark.parametrize(
    "seen",
    [
        {"state": "PAUSED", "task_states": ["PAUSED"]},
        {"task_states": ["FAILED"]},
        {"task_states": []},
        {"state": "UNREACHABLE", "task_states": []},
        {"config": {**CONNECTOR["config"], "poll.interval.ms": "1"}},
    ],
)
def test_what_refresh_found_is_a_change_in_place(seen: dict[str, Any]) -> None:
    result = DebeziumConnectorProvider().diff("c", {**RUNNING, **seen}, CONNECTOR)
    assert result.changes is True
    assert result.replaces == []


def test_another_name_or_prefix_replaces_after_deleting() -> None:
    provider = DebeziumConnectorProvider()
    renamed = provider.diff("c", RUNNING, {**CONNECTOR, "connector": "d"})
    assert (renamed.replaces, renamed.delete_before_replace) == (["connector"], True)
    moved = provider.diff("c", RUNNING, {**CONNECTOR, "config": {**CONNECTOR["config"], "topic.prefix": "q"}})
    assert moved.replaces == ["config"]
    unknown = provider.diff("c", RUNNING, {**CONNECTOR, "config": UNKNOWN, "connector": UNKNOWN})
    assert (unknown.changes, unknown.replaces) == (True, [])


def test_unreachable_connect_reads_as_unreachable() -> None:
    outs = {**RUNNING, "url": "http://127.0.0.1:1"}
    from components.providers import debezium_connector  # noqa: PLC0415

    original, debezium_connector.READ_SECONDS = debezium_connector.READ_SECONDS, 0.2
    try:
        seen = DebeziumConnectorProvider().read("c", outs)
    finally:
        debezium_connector.READ_SECONDS = original
    assert seen.id == "c"
    assert seen.outs is not None
    assert seen.outs["state"] == "UNREACHABLE"


def test_secret_inputs_come_back_under_the_same_name() -> None:
    """The engine marks an output secret only when the input of that name was."""
    provider = SourceSchemaProvider()
    olds = {"debezium_password": "a", "admin_password": "b", "drift": [], "retired": []}
    assert provider.diff("x", olds, {"debezium_password": "c", "admin_password": "b"}).changes is True
    assert provider.diff("x", olds, {"debezium_password": "a", "admin_password": "b"}).changes is False
    assert provider.diff("x", {**olds, "drift": ["role is missing"]}, olds).changes is True
