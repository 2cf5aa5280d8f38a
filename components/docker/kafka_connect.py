"""Kafka Connect with the Debezium PostgreSQL plugin on Docker."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components.configs.connector import PLUGIN
from components.configs.images import Image
from components.configs.kafka import LOGGING_OPTION, LOGGING_PATH, logging_config, worker_properties
from components.configs.resources import memory
from components.docker.jmx import jmx_agent
from components.docker.network import Network
from components.docker.service import PUBLISHED_ON, File, ServiceArgs, service
from components.endpoints import Address, ConnectEndpoint, Credential, KafkaEndpoint
from components.names import Names
from components.platform import Part

PART = "kafka-connect"
DEBEZIUM = "/kafka/connect/debezium-connector-postgres"
PROPERTIES = "/etc/kafka/cdc/connect-distributed.properties"
START = f"exec /kafka/bin/connect-distributed.sh {PROPERTIES}"
JMX_PORT = 9102
SOURCE_SECRET = "/run/secrets/cdc/source.properties"  # noqa: S105 - where it is, not what it is
HEALTH = (
    "exec 3<>/dev/tcp/127.0.0.1/8083 && printf 'GET /connectors HTTP/1.0\\r\\n\\r\\n' >&3"
    " && head -n 1 <&3 | grep -q ' 200 '"
)
"""Answers only once the worker has joined its group."""

PERFORMANCE_OPTIONS = "-XX:+UseParallelGC -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true"
"""Records die young here. G1 took as much of the processor as decoding did (docs/performance.md)."""


@dataclass(frozen=True, kw_only=True)
class KafkaConnectArgs:
    """Image, network, the broker, and the source user whose password connectors read from a file."""

    names: Names
    image: Image
    network: Network
    kafka: KafkaEndpoint
    source_user: Credential


class KafkaConnect(Part[ConnectEndpoint]):
    """One Connect worker; connectors are registered by the DebeziumConnector provider."""

    def __init__(self, name: str, *, args: KafkaConnectArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("cdc:docker:KafkaConnect", name, None, opts)
        settings = args.names.settings
        limits = memory(PART, settings.resource_scale)
        agent, agent_files = jmx_agent(settings, args.image, rules="connect", port=JMX_PORT)
        properties = worker_properties(args.names, bootstrap=str(args.kafka.inside), replication=args.kafka.replication)
        container = service(
            PART,
            ServiceArgs(
                names=args.names,
                image=args.image,
                network=args.network,
                memory=limits,
                env={
                    "KAFKA_HEAP_OPTS": limits.jvm_options,
                    "KAFKA_JVM_PERFORMANCE_OPTS": PERFORMANCE_OPTIONS,
                    "LOG_DIR": "/tmp/connect-logs",  # noqa: S108 - of the container
                },
                files=[
                    *agent_files,
                    File(path=PROPERTIES, content=properties),
                    File(path=LOGGING_PATH, content=logging_config()),
                    File(path=f"{DEBEZIUM}/{PLUGIN.name}", content=PLUGIN.read_bytes()),
                    File(
                        path=SOURCE_SECRET,
                        content=pulumi.Output.format(
                            "user={0}\npassword={1}\n", args.source_user.user, args.source_user.password
                        ),
                    ),
                ],
                entrypoint=["/bin/bash", "-c", f"{LOGGING_OPTION} {agent} {START}"],
                ports={8083: settings.connect_port},
                health=["CMD", "/bin/bash", "-c", HEALTH],
            ),
            # Pulumi does not hand a component's dependencies down to its children.
            opts=pulumi.ResourceOptions(parent=self, depends_on=opts.depends_on if opts else None),
        )
        self.identity = container.id
        self.endpoint = ConnectEndpoint(
            inside=Address(host=PART, port=8083),
            outside=Address(host=PUBLISHED_ON, port=settings.connect_port),
        )
        self.register_outputs({})
