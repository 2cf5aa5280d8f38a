"""Parts of the source's work that need no database."""

from __future__ import annotations

import pytest

from cdc.postgres import Login, PostgresUnreachableError, connect, verifier_matches
from cdc.source_spec import Duty, Finding, Role, SourceError, SourceSpec
from cdc.waiting import Deadline

SPEC = SourceSpec(
    database="shop",
    roles=(Role(name="u", password="hidden", duty=Duty.CAPTURE),),
    publication="p",
    slot="s",
    tables=("b.two", "a.one", "b.three"),
)


def test_published_tables_include_the_pipelines_own() -> None:
    assert SPEC.schemas == ("a", "b")
    assert SPEC.published == {"a.one", "b.two", "b.three", "cdc.heartbeat", "cdc.signal", "cdc.schema_changes"}


def test_passwords_are_in_no_representation() -> None:
    login = Login(host="h", port=1, database="d", user="u", password="hidden")
    assert "hidden" not in f"{login} {login!r} {SPEC!r}"


def test_every_finding_is_one_line() -> None:
    error = SourceError([Finding(level="error", thing="a is b", cure="Do c."), Finding(level="error", thing="d")])
    assert str(error).splitlines() == [
        "2 things stand in the way of capturing this database:", "  1. a is b. Do c.", "  2. d",
    ]  # fmt: skip


@pytest.mark.parametrize("verifier", [None, "", "md5abc", "SCRAM-SHA-256$x", "SCRAM-SHA-256$4096:a$b:c"])
def test_unusable_verifiers_match_nothing(verifier: str | None) -> None:
    assert not verifier_matches(verifier, "secret")


def test_absent_server_is_reported_at_the_deadline() -> None:
    login = Login(host="127.0.0.1", port=1, database="d", user="u", password="hidden")
    with pytest.raises(PostgresUnreachableError, match=r"u@127\.0\.0\.1:1/d did not answer within 1 s") as caught:
        connect(login, Deadline(1))
    assert "hidden" not in str(caught.value)


def test_pauses_grow_and_end_at_the_deadline() -> None:
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    deadline = Deadline(3, clock=lambda: now[0], sleep=sleep)
    attempt = 0
    while not deadline.expired:
        deadline.pause(attempt)
        attempt += 1
    assert sum(slept) == pytest.approx(3)
    assert slept[0] <= 0.25 < slept[2]
