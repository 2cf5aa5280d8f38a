"""The tables tell the truth in whatever order, however often and in whatever blocks the events arrive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sql.events import Feed, Message, change, order, restate

pytestmark = pytest.mark.sql


@dataclass
class Source:
    """A model of the source: rows as they are, and the events of every change in the order of the log."""

    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    events: list[Message] = field(default_factory=list)
    lsn: int = 100

    def step(self, kind: str, key: int) -> None:
        """Do one thing to one row; what is impossible for the row becomes what is possible."""
        self.lsn += 1
        before = self.rows.get(key)
        after = order(id=key, quantity=self.lsn % 97 + 1, order_number=f"ORD-{self.lsn}", purchaser=self.lsn)
        if before is None or kind == "insert":
            if before is None:
                self._emit(change("c", lsn=self.lsn, after=after), key, after)
        elif kind == "update":
            self._emit(change("u", lsn=self.lsn, before=before, after=after), key, after)
        elif kind == "delete":
            self._emit(change("d", lsn=self.lsn, before=before), key, None)
        elif kind == "message key":
            self._emit(change("d", lsn=self.lsn, before=before), key, None)
            self._emit(change("c", lsn=self.lsn, after=after), key, after)
        elif kind == "snapshot":
            self._emit(change("r", lsn=self.lsn, after=before), key, before)
            # The next change of the row may carry the LSN at which it was read.
            self.lsn -= 1
        elif kind == "primary key":
            other = key + 100
            if other not in self.rows:
                self._emit(change("d", lsn=self.lsn, before=before), key, None)
                self._emit(change("c", lsn=self.lsn, after={**after, "id": other}), other, {**after, "id": other})

    def _emit(self, message: Message, key: int, row: dict[str, Any] | None) -> None:
        self.events.append(message.at(len(self.events), partition=self.lsn % 3))
        if row is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = row

    @property
    def expected(self) -> list[tuple[int, int, str, int]]:
        """The rows as the view must show them."""
        return sorted((key, r["quantity"], r["order_number"], r["purchaser"]) for key, r in self.rows.items())


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["insert", "update", "delete", "message key", "snapshot", "primary key"]), st.integers(1, 3)
    ),
    min_size=1,
    max_size=14,
)


def _delivery(events: list[Message], random: Random) -> Iterator[list[Message]]:
    """Every event at least once, some twice, shuffled and cut into blocks."""
    sent = events + random.choices(events, k=random.randint(0, len(events)))
    random.shuffle(sent)
    while sent:
        size = random.randint(1, len(sent))
        yield sent[:size]
        sent = sent[size:]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, random=st.randoms(use_true_random=False))
def test_any_order_and_any_repetition_gives_the_source(
    feed: Feed, steps: list[tuple[str, int]], random: Random
) -> None:
    source = Source()
    for kind, key in steps:
        source.step(kind, key)
    feed.clear()
    for block in _delivery(source.events, random):
        feed.send(*block)
    shown = "id, quantity, order_number, purchaser FROM"
    assert feed.rows(f"{shown} @orders ORDER BY id") == source.expected
    assert feed.rows(f"{shown} @orders_as_of(at = '2200-01-01') ORDER BY id") == source.expected
    # The history has each change once. Two snapshot reads of one row at one LSN are the same change.
    distinct = {(message.raw) for message in source.events}
    assert feed.rows("count() FROM @orders_final FINAL") == [(len(distinct),)]
    assert feed.reasons() == []


@pytest.mark.parametrize("create_first", [True, False])
@pytest.mark.parametrize("one_block", [True, False])
def test_a_changed_message_key_keeps_the_row(feed: Feed, create_first: bool, one_block: bool) -> None:
    feed.send(change("c", lsn=10, after=order()))
    pair = [change("d", lsn=20, before=order(), offset=1), change("c", lsn=20, after=order(purchaser=8), offset=2)]
    if create_first:
        pair.reverse()
    if one_block:
        feed.send(*pair)
    else:
        for message in pair:
            feed.send(message)
    assert feed.rows("id, purchaser FROM @orders") == [(1, 8)]
    feed.connection.run(f"OPTIMIZE TABLE {feed.database}.orders_current FINAL")
    assert feed.rows("id, purchaser FROM @orders") == [(1, 8)]


def test_a_snapshot_read_ranks_below_a_change_at_the_same_or_a_later_position(feed: Feed) -> None:
    feed.send(change("u", lsn=50, before=order(), after=order(quantity=9)))
    feed.send(change("r", lsn=50, after=order(quantity=1)), change("r", lsn=49, after=order(quantity=2)))
    assert feed.rows("quantity FROM @orders") == [(9,)]
    feed.send(change("d", lsn=60, before=order(quantity=9)))
    feed.send(change("r", lsn=60, after=order(quantity=9)))
    assert feed.rows("count() FROM @orders") == [(0,)]


def test_a_transaction_open_during_a_snapshot_wins_over_what_the_snapshot_read(feed: Feed) -> None:
    """It wrote at LSN 30, the snapshot read the old row at 50, then it committed: PostgreSQL shows what it wrote."""
    feed.send(change("r", lsn=50, after=order(quantity=1)))
    feed.send(change("u", lsn=30, commit=45, before=order(quantity=1), after=order(quantity=2)))
    assert feed.rows("quantity FROM @orders") == [(2,)]


def test_an_incremental_read_wins_over_what_was_committed_before_it_and_loses_to_what_came_after(feed: Feed) -> None:
    feed.send(change("u", lsn=30, commit=20, before=order(quantity=1), after=order(quantity=2)))
    feed.send(change("r", lsn=50, commit=45, after=order(quantity=3)))
    assert feed.rows("quantity FROM @orders") == [(3,)]
    feed.send(change("u", lsn=40, commit=45, before=order(quantity=3), after=order(quantity=4)))
    assert feed.rows("quantity FROM @orders") == [(4,)]


def test_transactions_rank_by_commit_and_not_by_lsn(feed: Feed) -> None:
    """Of two rows' changes in one log, the LSNs interleave; of one row's, the commits never do."""
    feed.send(change("u", lsn=90, commit=60, before=order(), after=order(quantity=5)))
    feed.send(change("u", lsn=85, commit=95, before=order(quantity=5), after=order(quantity=6)))
    assert feed.rows("quantity FROM @orders") == [(6,)]


def test_a_higher_epoch_wins_over_any_position(own_feed: Feed) -> None:
    feed = own_feed
    feed.send(change("c", lsn=2**54, after=order(quantity=1)))
    restate(feed, "orders_mv", epoch="1")
    feed.send(change("u", lsn=5, before=order(), after=order(quantity=2)))
    assert feed.rows("quantity FROM @orders") == [(2,)]
    assert feed.rows("max(version) FROM @orders_current") == [((1 << 113) + (4 << 58) + (1 << 57) + 5 * 4 + 2,)]


def test_positions_up_to_the_last_bit_keep_their_order(feed: Feed) -> None:
    feed.send(change("u", lsn=2**55 - 1, before=order(), after=order(quantity=2), ts_us=1))
    feed.send(change("c", lsn=2**55 - 2, after=order(quantity=1), ts_us=2))
    assert feed.rows("quantity FROM @orders") == [(2,)]


def test_the_commit_time_does_not_decide(feed: Feed) -> None:
    feed.send(change("u", lsn=20, before=order(), after=order(quantity=2), ts_us=1_767_225_600_000_000))
    feed.send(change("u", lsn=10, before=order(), after=order(quantity=1), ts_us=1_798_761_600_000_000))
    assert feed.rows("quantity FROM @orders") == [(2,)]


def test_a_redelivered_beat_does_not_look_late(feed: Feed) -> None:
    # Of today: old beats expire. The message's time in Kafka is always that of the test's feed.
    now = datetime.now(UTC).replace(microsecond=0)
    committed = int(now.timestamp()) * 1_000_000
    row = {"id": 1, "committed_at": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "beat": 4}
    beat = change("u", lsn=10, after=row, ts_us=committed)
    feed.send(beat, table="heartbeat")
    first = feed.rows("visible_at FROM @heartbeat FINAL")
    feed.send(beat, table="heartbeat")
    assert feed.rows("visible_at FROM @heartbeat FINAL") == first
    assert feed.rows("beat, committed_at, database_to_connector_ms, lsn FROM @heartbeat_hops") == [(4, now, 40, 10)]
    assert feed.rows("total_ms BETWEEN 0 AND 60000 FROM @heartbeat_hops") == [(1,)]


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        ({"id": 1, "committed_at": "soon", "beat": 4}, "committed_at is not a timestamp: soon"),
        ({"id": 1, "committed_at": "2026-01-01T00:00:10Z"}, "beat is not Int64: missing"),
        ({"committed_at": "2026-01-01T00:00:10Z", "beat": 4}, "id is not Int32: missing"),
    ],
)
def test_a_broken_beat_is_kept_with_its_reason(feed: Feed, after: dict[str, Any], reason: str) -> None:
    feed.send(change("u", lsn=10, after=after), table="heartbeat")
    assert feed.reasons() == [reason]
    assert feed.rows("count() FROM @heartbeat") == [(0,)]
