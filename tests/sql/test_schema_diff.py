"""`schema-diff` between a real PostgreSQL and a real ClickHouse, and the migration that it writes."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from cdc import schema_diff
from cdc.add_table import add_table
from cdc.postgres import connect
from cdc.waiting import Deadline
from tests.sql import postgres_instance
from tests.sql.clickhouse_container import ClickHouseServer
from tests.sql.events import Feed, change, extend

pytestmark = pytest.mark.sql
CARTS = "inventory.carts"


def test_a_column_that_is_added_while_rows_flow_loses_no_value(
    clickhouse: ClickHouseServer, own_feed: Feed, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    client = clickhouse.client(database=own_feed.database)
    with postgres_instance.running() as server, connect(server.login(), Deadline(30)) as source:
        source.execute("CREATE SCHEMA inventory")
        source.execute("CREATE TABLE inventory.carts (id int PRIMARY KEY, note text)")
        source.execute("INSERT INTO inventory.carts VALUES (1, 'old'), (2, 'changed later')")
        assert [each.text for each in schema_diff.look(source, client, [CARTS], first)] == [
            "has no table in ClickHouse"
        ]
        extend(own_feed, add_table(source, CARTS, folder=first).parent)
        own_feed.send(
            change("c", lsn=1, after={"id": 1, "note": "old"}),
            change("c", lsn=2, after={"id": 2, "note": "changed later"}),
            table="carts",
        )
        source.execute(
            "ALTER TABLE inventory.carts ADD nickname text DEFAULT 'it''s', ADD points int NOT NULL DEFAULT 7,"
            " ADD born date"
        )
        row = {"id": 2, "note": "x", "nickname": "Zoë", "points": 70, "born": 1}
        own_feed.send(change("u", lsn=3, before={**row, "note": "y"}, after=row), table="carts")
        own_feed.send(change("c", lsn=4, after={"id": 3, "note": "z", "nickname": "", "points": 0, "born": None}),
                      table="carts")  # fmt: skip
        found = schema_diff.look(source, client, [CARTS], first)
        assert [(each.column, each.addable) for each in found] == [("nickname", True), ("points", True), ("born", True)]
        path = schema_diff.write(source, client, CARTS, [each.column for each in found], first)
        assert path.name == "0002_carts_nickname_points_born.sql"
        assert "-- nickname: a NULL that came meanwhile shows the default" in path.read_text()
        path.rename(second / path.name)
        extend(own_feed, second)
        assert schema_diff.look(source, client, [CARTS], first) == []

        own_feed.send(change("c", lsn=5, after={**row, "id": 4, "born": 2}), table="carts")
        expected = [
            (1, "old", "it's", 7, None),
            (2, "x", "Zoë", 70, date(1970, 1, 2)),
            (3, "z", "", 0, None),
            (4, "x", "Zoë", 70, date(1970, 1, 3)),
        ]
        assert own_feed.rows("id, note, nickname, points, born FROM @carts ORDER BY id") == expected
        history = "nickname FROM @carts_final FINAL WHERE id = 2 ORDER BY version"
        assert own_feed.rows(history) == [("it's",), ("Zoë",)]
        assert own_feed.reasons() == []

        source.execute("ALTER TABLE inventory.carts DROP born")
        source.execute("ALTER TABLE inventory.carts RENAME nickname TO called")
        source.execute("ALTER TABLE inventory.carts ALTER points TYPE bigint, ALTER points DROP NOT NULL")
        texts = [str(each) for each in schema_diff.look(source, client, [CARTS], first)]
        assert [text.split(" ", 1)[0] for text in texts] == [
            f"{CARTS}.{name}" for name in ("nickname", "born", "called", "points", "points")
        ]
        assert "renamed to called" in texts[0]
        assert "was dropped" in texts[1]
    client.disconnect()
