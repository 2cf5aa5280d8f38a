"""Our own programs beside the pipeline, one container each: `python -m cdc <verb>`."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components.configs.images import Image
from components.configs.resources import memory
from components.docker.network import Network
from components.docker.service import PUBLISHED_ON, File, ServiceArgs, service
from components.endpoints import Watched
from components.names import ANALYTICS_DATABASE, Names

EXPORTER = "cdc-exporter"
EXPORTER_PORT = 9117
RECONCILE = "cdc-reconcile"
RUNNING = ["CMD", "grep", "-q", "^State:[[:space:]][RS]", "/proc/1/status"]
"""Alive and not frozen; whether it compares is what cdc_reconcile_age_seconds says."""
ANSWERS = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{EXPORTER_PORT}/metrics', timeout=5)"
OUTPUTS_FILE = "/run/secrets/cdc/outputs.json"


@dataclass(frozen=True, kw_only=True)
class OperationsArgs:
    """Image and network of our programs, and what they work on."""

    names: Names
    image: Image
    network: Network
    watched: Watched
    kafka_exporter: bool
    """Whether a Kafka exporter runs beside ours and shows topics and groups."""


class Operations(pulumi.ComponentResource):
    """The pipeline exporter, and the comparison of ClickHouse with its source."""

    url: str

    def __init__(self, name: str, *, args: OperationsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("cdc:docker:Operations", name, None, opts)
        settings = args.names.settings
        kafka_names = ["--no-kafka-names"] if args.kafka_exporter else []
        self._program(
            args,
            EXPORTER,
            ["exporter", "--port", str(EXPORTER_PORT), *kafka_names],
            health=["CMD", "python3", "-c", ANSWERS],
            ports={EXPORTER_PORT: settings.cdc_exporter_port},
        )
        self._program(
            args, RECONCILE, ["reconcile", "--every", str(settings.reconcile_every_seconds)], health=RUNNING, ports={}
        )
        self.url = f"http://{PUBLISHED_ON}:{settings.cdc_exporter_port}/metrics"
        self.register_outputs({})

    def _program(
        self, args: OperationsArgs, name: str, verb: list[str], *, health: list[str], ports: dict[int, int]
    ) -> None:
        service(
            name,
            ServiceArgs(
                names=args.names,
                image=args.image,
                network=args.network,
                memory=memory(name, args.names.settings.resource_scale),
                command=["--outputs", OUTPUTS_FILE, *verb],
                files=[File(path=OUTPUTS_FILE, content=inside_outputs(args))],
                ports=ports,
                health=health,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )


def inside_outputs(args: OperationsArgs) -> pulumi.Output[str]:
    """The stack's outputs as JSON with the addresses of the inside: how `cdc` finds the pipeline in a container."""
    settings, watched = args.names.settings, args.watched
    return pulumi.Output.json_dumps(
        {
            "postgresAddress": str(watched.source.inside),
            "postgresDatabase": watched.source.database,
            "operatorUser": watched.source_operator.user,
            "postgresOperatorPassword": watched.source_operator.password,
            "clickhouseNativeAddress": str(watched.clickhouse.inside_native),
            "clickhouseDatabase": ANALYTICS_DATABASE,
            "clickhouseOperatorPassword": watched.clickhouse.operator.password,
            "kafkaBootstrap": str(watched.kafka.inside),
            "connectUrl": f"http://{watched.connect.inside}",
            "connectorName": settings.connector,
            "topicPrefix": settings.topic_prefix,
            "tables": settings.tables,
        }
    )
