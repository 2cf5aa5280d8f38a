"""All hops of a pipeline looked at together: each as it is, or why it could not be asked."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import psycopg
from clickhouse_driver import errors as clickhouse_errors
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from cdc import probes, probes_kafka
from cdc.connect import ConnectError, ConnectUnreachableError, Status
from cdc.connections import Connections

CONNECT_PATIENCE = 4.0
"""Seconds for Kafka Connect to answer; a worker that starts is asked again until then."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Away:
    """A part that could not be asked. ``reason`` is one line."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was seen of each hop at one moment. ``connector`` is None where Connect has no such connector."""

    source: probes.Source | Away
    kafka: probes_kafka.Kafka | Away
    connector: Status | Away | None
    delivery: probes.Delivery | Away


class Surveyor:
    """Looks at one pipeline again and again; a part that is away never keeps the others from being seen."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._admin: AdminClient | None = None

    def look(self) -> Survey:
        """One look at every hop, all at once; takes as long as the slowest, at most about 20 s."""
        with ThreadPoolExecutor(4) as pool:
            source = pool.submit(_asked, self._source)
            kafka = pool.submit(_asked, self._kafka)
            connector = pool.submit(_asked, self._connector)
            delivery = pool.submit(_asked, self._delivery)
            return Survey(
                source=source.result(), kafka=kafka.result(), connector=connector.result(), delivery=delivery.result()
            )

    def _source(self) -> probes.Source:
        with self._connections.postgres_operator() as connection:
            return probes.source(connection)

    def _kafka(self) -> probes_kafka.Kafka:
        self._admin = self._admin or probes_kafka.kafka_admin(self._connections.kafka)
        return probes_kafka.kafka(self._admin)

    def _connector(self) -> Status | None:
        return self._connections.connector(seconds=CONNECT_PATIENCE)

    def _delivery(self) -> probes.Delivery:
        client = self._connections.clickhouse_operator()
        try:
            return probes.delivery(client, self._connections.outputs["tables"])
        finally:
            client.disconnect()


def _asked(probe: Callable[[], T]) -> T | Away:
    try:
        return probe()
    except (psycopg.Error, ConnectError, KafkaException, clickhouse_errors.Error, OSError, EOFError) as error:
        return Away(reason=_one_line(error))


def _one_line(error: Exception) -> str:
    if isinstance(error, ConnectUnreachableError):
        return "no answer from its REST API"
    text = error.args[0].str() if isinstance(error, KafkaException) else str(error)
    return text.strip().split("\n", 1)[0].split("Stack trace:", 1)[0][:200] or type(error).__name__
