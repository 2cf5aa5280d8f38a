"""``python -m cdc rewind``: let ClickHouse read its topics again from the oldest message that Kafka keeps.

For a ClickHouse that lost its data: the consumer groups live in Kafka and would go on where they were. Reading a
message again changes nothing that is there, so tables that are full lose nothing either.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from clickhouse_driver import Client
from clickhouse_driver.errors import Error as ClickHouseError
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from cdc.canonical import ticked
from cdc.connections import Connections
from cdc.fence import Fence, FenceError, Queue, queues
from cdc.waiting import Deadline

CALL_SECONDS = 15.0
LEAVE_SECONDS = 60.0
"""How long the members of a group may take to leave it once their table is detached."""
FAILURES = (FenceError, ClickHouseError, KafkaException, OSError, EOFError)
Places = dict[tuple[str, int], int]
"""An offset for each topic and partition."""


def run(connections: Connections, *, tables: Sequence[str], since: datetime | None = None) -> int:
    """Set the groups of ``tables`` (none: all) back to the oldest message, or to ``since``; 0 done, 2 not done."""
    try:
        rewind(connections, tables=tables, since=since, report=print)
    except FAILURES as error:
        print(f"rewind: {error}", file=sys.stderr)
        return 2
    print("ClickHouse reads again; `python -m cdc reconcile` shows when it has all, --heal brings what Kafka had not")
    return 0


def rewind(
    connections: Connections, *, tables: Sequence[str], since: datetime | None, report: Callable[[str], None]
) -> None:
    """See ``run``; raises one of FAILURES. The Kafka tables are back in any case, even after a run that was killed."""
    client = connections.clickhouse_admin()
    try:
        _attach_left_behind(client)
        there = queues(client)
        wanted = _wanted(there, tables)
        admin = AdminClient(connections.kafka)
        with _detached(client, wanted):
            for queue in wanted:
                _wait_for_empty(admin, queue)
                places = _places(admin, queue.topic, since)
                _set(admin, queue.group, places)
                report(f"{queue.table}: {queue.group} is back at offset {', '.join(map(str, places.values()))}")
    finally:
        client.disconnect()


def lost(connections: Connections) -> list[str]:
    """Tables that are empty in ClickHouse although their consumer group has read messages: it lost its data, and what
    was read does not come again by itself. Raises one of FAILURES."""
    client = connections.clickhouse_operator()
    try:
        there = queues(client)
        fence = Fence(connections.kafka, there)
        try:
            captured = [str(table).rpartition(".")[2] for table in connections.outputs["tables"]]
            return [
                table
                for table in captured
                if table in there and _is_empty(client, table) and _has_read(fence, there[table])
            ]
        finally:
            fence.close()
    finally:
        client.disconnect()


def warning(tables: Sequence[str]) -> str:
    """What to say about ``lost`` tables."""
    return (
        f"ClickHouse has no rows of {', '.join(tables)}, but has read them from Kafka before: its data is lost, and"
        " these messages don't come again by themselves. `python -m cdc rewind` reads them again, then"
        " `python -m cdc reconcile --heal`: docs/runbooks/clickhouse-lost.md"
    )


def _wanted(there: Mapping[str, Queue], tables: Sequence[str]) -> list[Queue]:
    names = [table.rpartition(".")[2] for table in tables] or sorted(there)
    unknown = [name for name in names if name not in there]
    if unknown or not names:
        raise FenceError(f"ClickHouse has no Kafka table for {', '.join(unknown) or 'anything'}; `make up` makes them")
    return [there[name] for name in names]


@contextmanager
def _detached(client: Client, wanted: Sequence[Queue]) -> Iterator[None]:
    """No consumer reads meanwhile: offsets of a group that has members can't be set."""
    gone: list[str] = []
    try:
        for queue in wanted:
            client.execute(f"DETACH TABLE {ticked(f'{queue.table}_queue')} SYNC")
            gone.append(f"{queue.table}_queue")
        yield
    finally:
        for name in gone:
            client.execute(f"ATTACH TABLE {ticked(name)}")


def _attach_left_behind(client: Client) -> None:
    """Tables that a killed run left detached."""
    query = "SELECT table FROM system.detached_tables WHERE database = currentDatabase() AND endsWith(table, '_queue')"
    for (name,) in client.execute(query):
        client.execute(f"ATTACH TABLE {ticked(str(name))}")


def _wait_for_empty(admin: AdminClient, queue: Queue) -> None:
    deadline = Deadline(LEAVE_SECONDS)
    while members := len(_result(admin.describe_consumer_groups([queue.group]), queue.group).members):
        if deadline.expired:
            raise FenceError(
                f"{queue.group} still has {members} members {deadline.seconds:.0f} s after {queue.table}_queue was"
                " detached: something else reads with that group; stop it and run again"
            )
        deadline.sleep(0.5)


def _places(admin: AdminClient, topic: str, since: datetime | None) -> Places:
    """The oldest offset of each partition, or the first of a message from ``since`` on."""
    partitions = admin.list_topics(topic, timeout=CALL_SECONDS).topics[topic].partitions
    spec = OffsetSpec.for_timestamp(int(since.timestamp() * 1000)) if since else OffsetSpec.earliest()
    found = _offsets(admin, topic, partitions, spec)
    newest = _offsets(admin, topic, partitions, OffsetSpec.latest())
    # Nothing as young as that: -1, which stands for the end.
    return {place: offset if offset >= 0 else newest[place] for place, offset in found.items()}


def _offsets(admin: AdminClient, topic: str, partitions: Iterable[int], spec: OffsetSpec) -> Places:
    answers = admin.list_offsets({TopicPartition(topic, number): spec for number in partitions})
    return {
        (place.topic, place.partition): int(answer.result(timeout=CALL_SECONDS).offset)
        for place, answer in answers.items()
    }


def _set(admin: AdminClient, group: str, places: Places) -> None:
    wanted = [TopicPartition(topic, number, offset) for (topic, number), offset in places.items()]
    answer = _result(admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, wanted)]), group)
    for place in answer.topic_partitions:
        if place.error is not None:
            raise KafkaException(place.error)


def _result(answers: Mapping[str, Any], group: str) -> Any:  # noqa: ANN401 - confluent_kafka has no types
    return answers[group].result(timeout=CALL_SECONDS)


def _is_empty(client: Client, table: str) -> bool:
    """Deleted rows are rows here: a table that is empty in the source has read something all the same."""
    query = (
        "SELECT coalesce(sum(total_rows), 0) FROM system.tables WHERE database = currentDatabase() AND name IN %(t)s"
    )
    return int(client.execute(query, {"t": (f"{table}_final", f"{table}_current")})[0][0]) == 0


def _has_read(fence: Fence, queue: Queue) -> bool:
    return any(offset > 0 for offset in fence.stored(queue.group).values())
