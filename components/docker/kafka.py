"""Kafka on Docker: one node, broker and controller."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_random as random

from components.configs.images import Image
from components.configs.kafka import LOGGING_OPTION, LOGGING_PATH, broker_properties, logging_config
from components.configs.resources import memory
from components.docker.jmx import jmx_agent
from components.docker.network import Network
from components.docker.service import PUBLISHED_ON, File, ServiceArgs, service
from components.endpoints import Address, KafkaEndpoint
from components.names import Names
from components.platform import Part

PART = "kafka"
HOME = "/opt/kafka"
PROPERTIES = "/etc/kafka/cdc/server.properties"
FORMAT = f"{HOME}/bin/kafka-storage.sh format --ignore-formatted --cluster-id=$CLUSTER_ID --config {PROPERTIES}"
"""Formats the volume the first time only; the cluster id is the stack's."""
START = f"exec {HOME}/bin/kafka-server-start.sh {PROPERTIES}"
JMX_PORT = 9101


@dataclass(frozen=True, kw_only=True)
class KafkaArgs:
    """Image and network of the broker."""

    names: Names
    image: Image
    network: Network


class Kafka(Part[KafkaEndpoint]):
    """A KRaft node with one listener for the networks and one for the host."""

    def __init__(self, name: str, *, args: KafkaArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("cdc:docker:Kafka", name, None, opts)
        settings = args.names.settings
        limits = memory(PART, settings.resource_scale)
        agent, agent_files = jmx_agent(settings, args.image, rules="kafka", port=JMX_PORT)
        cluster = random.RandomId("kafka-cluster", byte_length=16, opts=pulumi.ResourceOptions(parent=self))
        container = service(
            PART,
            ServiceArgs(
                names=args.names,
                image=args.image,
                network=args.network,
                memory=limits,
                env={"KAFKA_HEAP_OPTS": limits.jvm_options, "LOG_DIR": "/tmp/kafka-logs"},  # noqa: S108 - of the container
                files=[
                    *agent_files,
                    File(path=PROPERTIES, content=broker_properties(external_port=settings.kafka_port)),
                    File(path=LOGGING_PATH, content=logging_config()),
                    File(path="/etc/kafka/cdc/cluster-id", content=cluster.b64_url),
                ],
                entrypoint=[
                    "/bin/bash",
                    "-c",
                    f"CLUSTER_ID=$(cat /etc/kafka/cdc/cluster-id) && {FORMAT} && {LOGGING_OPTION} {agent} {START}",
                ],
                volumes={"data": "/var/lib/kafka/data"},
                ports={9092: settings.kafka_port} | ({JMX_PORT: settings.kafka_jmx_port} if agent else {}),
                health=["CMD", "/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/29092"],
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.identity = container.id
        self.endpoint = KafkaEndpoint(
            inside=Address(host=PART, port=29092),
            outside=Address(host=PUBLISHED_ON, port=settings.kafka_port),
            replication=1,
        )
        self.register_outputs({})
