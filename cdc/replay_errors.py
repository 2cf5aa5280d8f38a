"""``python -m cdc replay-errors``: send quarantined messages through again once the cause is mended.

Each goes to the topic and partition it came from, unchanged. Its place in commit order is in its text, so a late one
covers nothing newer and one that is sent twice is one change. Its entry is closed by ``replayed_at``; what still can't
be read comes back as a new entry.
"""

from __future__ import annotations

import base64
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from clickhouse_driver import Client
from clickhouse_driver.errors import Error as ClickHouseError
from confluent_kafka import KafkaException, Message, Producer

from cdc.connections import Connections, NoStackError
from cdc.fence import Fence, FenceError, Queue, queues
from cdc.waiting import Deadline

BATCH = 1000
"""Messages sent and followed at once."""
SEND_SECONDS = 30.0
SHOWN = 20
"""Reasons printed."""
FAILURES = (FenceError, ClickHouseError, KafkaException, OSError, EOFError)
Place = tuple[str, int, int]
"""Topic, partition, offset."""
_OPEN = "FROM ingest_errors FINAL WHERE replayed_at IS NULL AND toUnixTimestamp64Milli(seen_at) <= %(until)s"
_ONE_TABLE = " AND source_table = %(table)s"
_COLUMNS = "topic, partition, offset, key, raw, reason, source_table, kafka_time, seen_at"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A quarantined message."""

    place: Place
    key: bytes
    raw: bytes
    table: str
    reason: str


@dataclass(kw_only=True)
class Replayed:
    """How many messages were sent again, and of those that could not be read again the reason."""

    sent: int = 0
    failed: list[tuple[str, str]]

    @property
    def through(self) -> int:
        """How many became rows."""
        return self.sent - len(self.failed)


def run(connections: Connections, *, table: str | None, dry_run: bool, timeout: float) -> int:
    """Replay and print; 0 when nothing is left, 1 when messages can't be read still, 2 when it could not be done."""
    name = table.rpartition(".")[2] if table else None
    client = connections.clickhouse_operator()
    try:
        until = client.execute("SELECT toUnixTimestamp64Milli(now64(3))")[0][0]
        if dry_run:
            return _show(client, until, name)
        with _replay(connections, client, timeout) as replay:
            return _report(replay.all(until, name))
    except FAILURES as error:
        print(
            f"replay-errors: {error}. What was not closed is sent again next time; that does no harm", file=sys.stderr
        )
        return 2
    finally:
        client.disconnect()


def _show(client: Client, until: int, table: str | None) -> int:
    query = f"SELECT source_table, reason, count() {_OPEN}{_ONE_TABLE if table else ''} GROUP BY ALL ORDER BY 3 DESC"
    found = client.execute(query, {"until": until, "table": table})
    print(f"{sum(count for *_, count in found):,} messages would be sent again")
    for source_table, reason, count in found[:SHOWN]:
        print(f"  {count:>6,}  {source_table}: {reason}")
    return 1 if found else 0


def _report(done: Replayed) -> int:
    print(f"{done.sent:,} messages sent again: {done.through:,} went through, {len(done.failed):,} still can't be read")
    for (table, reason), count in Counter(done.failed).most_common(SHOWN):
        print(f"  {count:>6,}  {table}: {reason}")
    return 1 if done.failed else 0


@contextmanager
def _replay(connections: Connections, client: Client, timeout: float) -> Iterator[_Replay]:
    readers = queues(client)
    fence = Fence(connections.kafka, readers)
    producer = Producer({**connections.kafka, "enable.idempotence": True})
    try:
        by_topic = {queue.topic: queue for queue in readers.values()}
        yield _Replay(client=client, fence=fence, producer=producer, readers=by_topic, timeout=timeout)
    finally:
        fence.close()


@dataclass(frozen=True, kw_only=True)
class _Replay:
    client: Client
    fence: Fence
    producer: Producer
    readers: Mapping[str, Queue]
    timeout: float

    def all(self, until: int, table: str | None) -> Replayed:
        """Replay everything that was quarantined by ``until``, milliseconds since 1970; raises one of FAILURES."""
        done = Replayed(failed=[])
        while entries := self._entries(until, table):
            messages = {(entry.place, entry.raw): entry for entry in entries}
            placed = self._send(list(messages.values()))
            self._wait(placed)
            done.sent += len(messages)
            done.failed += self._failed(placed, until)
            self._close({entry.place for entry in entries}, until)
            print(f"  {done.sent:,} sent and read", file=sys.stderr, flush=True)
        return done

    def _entries(self, until: int, table: str | None) -> list[Entry]:
        # As base64: what is quarantined need not be UTF-8.
        query = (
            f"SELECT topic, partition, offset, base64Encode(key), base64Encode(raw), source_table, reason {_OPEN}"
            f"{_ONE_TABLE if table else ''} ORDER BY topic, partition, offset LIMIT {BATCH}"
        )
        return [
            Entry(
                place=(topic, partition, offset),
                key=base64.b64decode(key),
                raw=base64.b64decode(raw),
                table=source_table,
                reason=reason,
            )
            for topic, partition, offset, key, raw, source_table, reason in self.client.execute(
                query, {"until": until, "table": table}
            )
        ]

    def _send(self, entries: Sequence[Entry]) -> set[Place]:
        """Produce the messages; returns where they are now."""
        unread = sorted({entry.place[0] for entry in entries} - self.readers.keys())
        if unread:
            raise FenceError(f"no Kafka table reads {', '.join(unread)}: run `make up`, or name a --table")
        placed: set[Place] = set()
        failures: list[str] = []
        for entry in entries:
            topic, partition, _ = entry.place
            self.producer.produce(
                topic, entry.raw, entry.key or None, partition, on_delivery=_delivered(placed, failures)
            )
            self.producer.poll(0)
        left = self.producer.flush(SEND_SECONDS)
        if left or failures:
            raise FenceError(
                f"{left + len(failures)} messages could not be sent: {', '.join(failures[:3]) or 'no answer'}"
            )
        return placed

    def _wait(self, placed: set[Place]) -> None:
        """Until ClickHouse has read what was sent."""
        deadline = Deadline(self.timeout)
        while behind := self._unread(placed):
            if deadline.expired:
                raise FenceError(
                    f"ClickHouse did not read {', '.join(sorted(behind))} within {deadline.seconds:.0f} s;"
                    " system.kafka_consumers shows why"
                )
            deadline.sleep(0.2)

    def _unread(self, placed: set[Place]) -> set[str]:
        stored: dict[tuple[str, int], int] = {}
        for topic in {topic for topic, _, _ in placed}:
            stored |= self.fence.stored(self.readers[topic].group)
        return {topic for topic, partition, offset in placed if stored.get((topic, partition), 0) <= offset}

    def _failed(self, placed: set[Place], until: int) -> list[tuple[str, str]]:
        query = (
            "SELECT topic, partition, offset, source_table, reason FROM ingest_errors"
            " WHERE toUnixTimestamp64Milli(seen_at) > %(until)s AND (topic, partition, offset) IN %(places)s"
            " LIMIT 1 BY topic, partition, offset"
        )
        found: Any = self.client.execute(query, {"until": until, "places": tuple(placed)})
        return [(table, reason) for *_, table, reason in found]

    def _close(self, places: set[Place], until: int) -> None:
        query = (
            f"INSERT INTO ingest_errors ({_COLUMNS}, replayed_at) SELECT {_COLUMNS}, now64(3, 'UTC') {_OPEN}"
            " AND (topic, partition, offset) IN %(places)s"
        )
        self.client.execute(query, {"until": until, "places": tuple(places)})


def _delivered(placed: set[Place], failures: list[str]) -> Callable[[object, Message], None]:
    def on_delivery(error: object, message: Message) -> None:
        if error is not None:
            failures.append(str(error))
        else:
            placed.add((str(message.topic()), int(message.partition() or 0), int(message.offset() or 0)))

    return on_delivery


def check_table(connections: Connections, table: str | None) -> None:
    """Raise NoStackError for a table that no message can be meant for."""
    known = [str(each).rpartition(".")[2] for each in connections.outputs["tables"]] + ["heartbeat", "schema_changes"]
    if table and table.rpartition(".")[2] not in known:
        raise NoStackError(f"{table} is not a table of this pipeline; there are {', '.join(known)}")
