"""The pipeline's own metrics: ``python -m cdc exporter``. Parts are asked in the background; no scrape waits."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from clickhouse_driver import Client
from prometheus_client import ProcessCollector, start_http_server
from prometheus_client.core import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from cdc import metrics, metrics_business, metrics_kafka, probes, probes_kafka
from cdc.connect import Status
from cdc.connections import Connections
from cdc.metrics_business import Business
from cdc.metrics_kafka import GroupTopic, LagReader
from cdc.polling import Poller
from cdc.postgres import Connection

EVERY_SECONDS = 5.0
BUSINESS_EVERY_SECONDS = 30.0
"""These queries read all orders."""
CALL_SECONDS = 10.0
STALE_SECONDS = EVERY_SECONDS + CALL_SECONDS + 5
GROWTH_SECONDS = 300.0
"""How far back a slot's growth is measured."""
ClientT = TypeVar("ClientT")
ValueT = TypeVar("ValueT")


class Kept(Generic[ClientT, ValueT]):
    """A probe with a connection that is opened when needed and dropped when anything goes wrong."""

    def __init__(
        self, connect: Callable[[], ClientT], probe: Callable[[ClientT], ValueT], close: Callable[[ClientT], None]
    ) -> None:
        self._connect = connect
        self._probe = probe
        self._close = close
        self._client: ClientT | None = None

    def __call__(self) -> ValueT:
        """Ask; raises what the client raises."""
        client = self._connect() if self._client is None else self._client
        self._client = None
        try:
            value = self._probe(client)
        except BaseException:
            self._close(client)
            raise
        self._client = client
        return value


class Growth:
    """Bytes per second by which the WAL that each slot holds back grew over the last minutes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, deque[tuple[float, int]]] = {}

    def of(self, slots: tuple[probes.Slot, ...]) -> dict[str, float]:
        """Note the slots' sizes and return the growth of each."""
        now = self._clock()
        self._seen = {slot.name: self._seen.get(slot.name, deque()) for slot in slots}
        rates = {}
        for slot in slots:
            seen = self._seen[slot.name]
            seen.append((now, slot.retained_bytes))
            while now - seen[0][0] > GROWTH_SECONDS:
                seen.popleft()
            (first, before), (last, after) = seen[0], seen[-1]
            rates[slot.name] = (after - before) / (last - first) if last > first else 0.0
        return rates


@dataclass(frozen=True, kw_only=True)
class KafkaSeen:
    """The cluster and how long unread messages wait."""

    cluster: probes_kafka.Kafka
    ages: Mapping[GroupTopic, float]


@dataclass(frozen=True, kw_only=True)
class SourceSeen:
    """The source and how fast its slots grow."""

    source: probes.Source
    growth: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Pollers:
    """One a part, and one for the queries on the orders."""

    postgres: Poller[SourceSeen]
    kafka: Poller[KafkaSeen]
    connect: Poller[Status | None]
    clickhouse: Poller[probes.Delivery]
    business: Poller[Business]

    def loops(self) -> dict[str, Callable[[threading.Event], None]]:
        """What each thread runs, by its name."""
        return {
            self.postgres.name: self.postgres.run,
            self.kafka.name: self.kafka.run,
            self.connect.name: self.connect.run,
            self.clickhouse.name: self.clickhouse.run,
            self.business.name: self.business.run,
        }


class PipelineCollector(Collector):
    """Turns the pollers' last answers into metrics; asks nobody."""

    def __init__(
        self,
        pollers: Pollers,
        *,
        connector: str,
        tables: Sequence[str],
        kafka_names: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pollers = pollers
        self._carried = ["heartbeat", *(table.rpartition(".")[2] for table in tables)]
        self._connector = connector
        self._kafka_names = kafka_names
        self._clock = clock

    def describe(self) -> Iterator[Metric]:
        """Nothing: the registry would ask for a first scrape otherwise."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """What is known now; a part that can't be asked shows nothing but ``cdc_up`` 0 and a freshness that grows."""
        pollers = self._pollers
        source, kafka = pollers.postgres.fresh(), pollers.kafka.fresh()
        connect_up, delivery = pollers.connect.answers(), pollers.clickhouse.fresh()
        yield metrics.up(
            {
                "postgres": source is not None,
                "kafka": kafka is not None,
                "connect": connect_up,
                "clickhouse": delivery is not None,
            }
        )
        yield from metrics.freshness(pollers.clickhouse.last, self._clock())
        if delivery is not None:
            yield from metrics.delivery(delivery, self._carried)
        if source is not None:
            yield from metrics.slots(source.source.slots, source.growth)
        if connect_up:
            yield from metrics.connector(self._connector, pollers.connect.fresh())
        if kafka is not None:
            if self._kafka_names:
                yield from metrics_kafka.cluster(kafka.cluster)
            yield metrics_kafka.lag_seconds(kafka.ages)
        if (business := pollers.business.fresh()) is not None:
            yield from metrics_business.families(business)


def pollers_of(connections: Connections) -> Pollers:
    """Pollers of a running pipeline."""
    growth = Growth()

    def source(connection: Connection) -> SourceSeen:
        seen = probes.source(connection)
        return SourceSeen(source=seen, growth=growth.of(seen.slots))

    def clickhouse() -> Client:
        return connections.clickhouse_operator(timeout=CALL_SECONDS)

    def poller(name: str, probe: Callable[[], ValueT]) -> Poller[ValueT]:
        return Poller(name, probe, every=EVERY_SECONDS, stale=STALE_SECONDS)

    return Pollers(
        postgres=poller("postgres", Kept(connections.postgres_operator, source, Connection.close)),
        kafka=poller("kafka", kafka_probe(connections.kafka)),
        connect=poller("connect", partial(connections.connector, seconds=CALL_SECONDS)),
        clickhouse=poller(
            "clickhouse",
            Kept(clickhouse, partial(probes.delivery, tables=connections.outputs["tables"]), Client.disconnect),
        ),
        business=Poller(
            "orders",
            Kept(clickhouse, metrics_business.business, Client.disconnect),
            every=BUSINESS_EVERY_SECONDS,
            stale=BUSINESS_EVERY_SECONDS + CALL_SECONDS + 5,
            sparing=True,
        ),
    )


def kafka_probe(options: Mapping[str, Any]) -> Callable[[], KafkaSeen]:
    """Asks the cluster, and for the age of what is unread."""
    admin, reader = probes_kafka.kafka_admin(options), LagReader(options)

    def probe() -> KafkaSeen:
        cluster = probes_kafka.kafka(admin)
        return KafkaSeen(cluster=cluster, ages=reader.ages(cluster.positions))

    return probe


def serve(connections: Connections, *, port: int, kafka_names: bool) -> int:
    """Export on ``port`` until the process is told to end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    pollers = pollers_of(connections)
    for thread_name, loop in pollers.loops().items():
        threading.Thread(target=loop, args=(stop,), name=thread_name, daemon=True).start()
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(
        PipelineCollector(
            pollers,
            connector=str(connections.outputs["connectorName"]),
            tables=connections.outputs["tables"],
            kafka_names=kafka_names,
        )
    )
    server, _ = start_http_server(port, registry=registry)
    logging.getLogger("exporter").info("metrics on port %d", port)
    stop.wait()
    server.shutdown()
    return 0
