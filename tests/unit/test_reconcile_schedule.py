"""When a scheduled comparison comes again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cdc import reconcile_run
from cdc.connections import Connections
from cdc.fence import FenceError
from cdc.reconcile import Result


class _EnoughError(Exception):
    """Ends the loop that has no end."""


def test_a_run_that_could_not_compare_is_tried_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Result(table="inventory.orders", error="PostgreSQL stops")
    outcomes: Iterator[FenceError | list[Result]] = iter([FenceError("ClickHouse starts"), [failed], []])
    pauses: list[float] = []

    def once(*_: object) -> list[Result]:
        outcome = next(outcomes)
        if isinstance(outcome, FenceError):
            raise outcome
        return outcome

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise _EnoughError

    monkeypatch.setattr(reconcile_run, "once", once)
    monkeypatch.setattr(reconcile_run, "_record_failure", lambda *_: None)
    monkeypatch.setattr("cdc.reconcile_run.time.sleep", sleep)
    monkeypatch.setattr("cdc.reconcile_run.signal.signal", lambda *_: None)
    with pytest.raises(_EnoughError):
        reconcile_run.every(Connections(outputs={}), reconcile_run.Options(), 900.0)
    assert pauses == [pytest.approx(60, abs=5), pytest.approx(60, abs=5), pytest.approx(900, abs=5)]
