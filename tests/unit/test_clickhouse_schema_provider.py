"""The ClickHouse schema provider without a server: inputs, comparison, how it is stored."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import dill  # type: ignore[import-untyped]
import pytest
from pulumi.output import Unknown

from components.providers import clickhouse_schema
from components.providers.clickhouse_schema import COMPUTED, ClickHouseSchemaProvider
from tests.unit.test_migrations_clickhouse import PARAMETERS

PROVIDER = ClickHouseSchemaProvider()
UNKNOWN = Unknown()  # type: ignore[no-untyped-call]


def inputs(**changed: Any) -> dict[str, Any]:
    props = {
        "host": "127.0.0.1",
        "port": 9000.0,
        "user": "cdc_admin",
        "password": "s3cret",
        "database": "analytics",
        "parameters": dict(PARAMETERS),
        "files": {"0001_ingest_errors.sql": "ab12"},
        "timeout_seconds": 60.0,
        "provider_version": clickhouse_schema.PROVIDER_VERSION,
    }
    return {**props, **changed}


def outputs(**changed: Any) -> dict[str, Any]:
    computed = {"applied": ["0001_ingest_errors.sql"], "schema_version": "1", "server_version": "26.3", "drift": []}
    return {**inputs(), **computed, "__provider": "x", **changed}


def test_the_stored_provider_is_a_reference_and_the_same_every_time() -> None:
    stored = dill.dumps(ClickHouseSchemaProvider(), recurse=True)
    assert stored == dill.dumps(ClickHouseSchemaProvider(), recurse=True)
    assert b"components.providers.clickhouse_schema" in stored
    assert len(base64.b64encode(stored)) < 300


def test_nothing_changed_is_no_change() -> None:
    assert PROVIDER.diff("id", outputs(), inputs(port="9000", timeout_seconds=5)).changes is False


@pytest.mark.parametrize(
    "changed",
    [
        {"port": 9001},
        {"password": "new"},
        {"parameters": {**PARAMETERS, "flush_interval_ms": "500"}},
        {"files": {"0001_ingest_errors.sql": "ab12", "0002_orders.sql": "cd34"}},
        {"provider_version": "next"},
        {"triggers": ["another container"]},
        {"host": UNKNOWN},
    ],
)
def test_a_changed_input_is_an_update(changed: dict[str, Any]) -> None:
    result = PROVIDER.diff("id", outputs(), inputs(**changed))
    assert result.changes is True
    assert not result.replaces


def test_another_database_replaces() -> None:
    assert PROVIDER.diff("id", outputs(), inputs(database="other")).replaces == ["database"]


def test_drift_that_refresh_saw_is_an_update() -> None:
    assert PROVIDER.diff("id", outputs(drift=["analytics.orders is missing"]), inputs()).changes is True


def test_check_passes_good_inputs_and_those_not_known_yet() -> None:
    assert PROVIDER.check({}, inputs()).failures == []
    assert PROVIDER.check({}, inputs(password=UNKNOWN, parameters=UNKNOWN)).failures == []


@pytest.mark.parametrize("key", ["host", "port", "user", "password", "database", "parameters", "files"])
def test_check_names_an_input_that_is_absent(key: str) -> None:
    failures = PROVIDER.check({}, inputs(**{key: None})).failures
    assert [failure.property for failure in failures] == [key]


def test_check_names_a_missing_parameter_with_its_file() -> None:
    parameters = {key: value for key, value in PARAMETERS.items() if key != "epoch"}
    (failure,) = PROVIDER.check({}, inputs(parameters=parameters)).failures
    assert "0002_orders.sql" in failure.reason
    assert "{{epoch}}" in failure.reason


def test_check_reports_an_invalid_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "0001_broken.sql").write_text("SELECT 'x")
    monkeypatch.setattr(clickhouse_schema, "FOLDER", tmp_path)
    (failure,) = PROVIDER.check({}, inputs()).failures
    assert "0001_broken.sql: line 1" in failure.reason


def test_delete_only_forgets() -> None:
    PROVIDER.delete("id", outputs(host="nowhere.invalid"))


def test_an_unreachable_server_is_drift_and_names_address_and_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clickhouse_schema, "READ_SECONDS", 0.2)
    result = PROVIDER.read("analytics", outputs(port=1))
    assert result.id == "analytics"
    outs: dict[str, Any] = result.outs or {}
    assert "127.0.0.1:1 does not answer" in outs["drift"][0]
    assert {key: outs[key] for key in inputs()} == {**inputs(), "port": 1}
    assert set(COMPUTED) <= set(outs)
