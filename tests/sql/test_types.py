"""Every rule of docs/types.md on a real server: random rows as Debezium writes them, through the migration that the
generator writes from a real catalog."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cdc.add_table import add_table
from cdc.clickhouse import ClickHouse, Endpoint
from cdc.postgres import connect
from cdc.waiting import Deadline
from tests import kinds
from tests.sql import postgres_instance
from tests.sql.events import Feed, change, extend, install

pytestmark = pytest.mark.sql


@pytest.fixture(scope="module")
def kinds_feed(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Feed]:
    """The schema with a table of all types, as ``add-table`` writes it."""
    folder: Path = tmp_path_factory.mktemp("migrations")
    with postgres_instance.running() as server, connect(server.login(), Deadline(30)) as source:
        source.execute("CREATE SCHEMA inventory")
        for statement in kinds.DDL:
            source.execute(statement.encode())
        add_table(source, kinds.TABLE, folder=folder)
    with ClickHouse.connect(endpoint, Deadline(30)) as connection:
        feed = install(connection, "test_types")
        extend(feed, folder)
        yield feed
        connection.run("DROP DATABASE test_types SYNC")


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)
@given(rows=st.lists(kinds.ROWS, min_size=1, max_size=12))
def test_every_value_is_shown_or_kept(kinds_feed: Feed, rows: Sequence[kinds.Row]) -> None:
    kinds_feed.clear()
    sent = [{"id": number, **{name: row[name].json for name in row}} for number, row in enumerate(rows)]
    kinds_feed.send(*(change("c", lsn=100 + row["id"], after=row) for row in sent), table="kinds")
    kinds_feed.send(*(change("u", lsn=200 + row["id"], before=row, after=row) for row in sent), table="kinds")
    assert kinds_feed.reasons() == []
    found = kinds_feed.rows(f"{kinds.SHOWN}, _extra FROM @kinds ORDER BY id")
    wrong = kinds.differences(found, rows)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("whole", 2**31),
        ("whole", "seven"),
        ("exact", "0.0001"),
        ("exact", "1000000000.000"),
        ("flag", "yes"),
        ("day", "2026-01-01"),
        ("moment", "yesterday"),
        ("clock", 86_400_000_001),
        ("known", "no-uuid"),
        ("wholes", [1, "two"]),
        ("wholes", "{1,2}"),
        ("days", ["2026-01-01"]),
        ("exacts", ["1.0001"]),
    ],
)
def test_what_is_no_value_of_its_type_is_quarantined(kinds_feed: Feed, column: str, value: object) -> None:
    kinds_feed.clear()
    row = {"id": 1, **dict.fromkeys(kinds.COLUMNS)}
    kinds_feed.send(change("c", lsn=1, after={**row, column: value}), table="kinds")
    (reason,) = kinds_feed.reasons()
    assert reason.startswith(f"{column} is not "), reason
    assert kinds_feed.rows("count() FROM @kinds") == [(0,)]
