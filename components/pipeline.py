"""The whole system, composed once: source -> Kafka -> Connect -> ClickHouse, then what the providers do on top."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import pulumi_random as random

from components.configs.clickhouse import shard_parameters
from components.configs.connector import ConnectorConfigArgs, connector_config
from components.configs.images import Image, containers
from components.configs.readme import readme
from components.endpoints import (
    Address,
    ClickHouseEndpoint,
    ConnectEndpoint,
    Credential,
    KafkaEndpoint,
    PostgresEndpoint,
    Watched,
)
from components.names import ANALYTICS_DATABASE, APPLICATION_USER, DEBEZIUM_USER, OPERATOR_USER, READER_USER, Names
from components.platform import Part, Platform
from components.providers.clickhouse_schema import ClickHouseSchema, ClickHouseSchemaArgs
from components.providers.debezium_connector import DebeziumConnector, DebeziumConnectorArgs
from components.providers.new_tables import NewTables, NewTablesArgs
from components.providers.source_schema import SourceSchema, SourceSchemaArgs
from components.settings import Settings


class Pipeline(pulumi.ComponentResource):
    """One stack's pipeline; ``outputs`` is what the stack exports."""

    outputs: dict[str, Any]

    def __init__(self, name: str, *, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("cdc:index:Pipeline", name, None, opts)
        for warning in [*settings.warnings, *_tables_without_target(settings)]:
            pulumi.log.warn(warning)
        self._names = Names(settings=settings)
        self._settings = settings
        self._platform = _platform(self._names, self)
        self._source_user = Credential(user=DEBEZIUM_USER, password=self._password("debezium"))
        self._operator = Credential(user=OPERATOR_USER, password=self._password("postgres-operator"))
        self._reader = self._reader_user()
        self._application = self._application_user()

        source, database = self._source()
        kafka = self._platform.kafka()
        connect = self._platform.kafka_connect(kafka, self._source_user)
        clickhouse = self._platform.clickhouse(kafka)
        topics = self._platform.topics(kafka)
        schema = self._source_schema(source, database)
        tables = self._clickhouse_schema(clickhouse, kafka.endpoint, topics)
        connector = self._connector(connect, source, schema, after=[connect, topics, schema])
        self._new_tables(source, after=[connector, tables])

        self.outputs = _outputs(settings, self._platform.images, source, kafka.endpoint, clickhouse.endpoint)
        self.outputs |= _operator_outputs(self._operator, clickhouse.endpoint)
        if self._application:
            self.outputs |= {
                "applicationUser": self._application.user,
                "applicationPassword": self._application.password,
            }
        self.outputs |= {"connectUrl": connect.endpoint.url, "connectorState": connector.state}
        if self._reader:
            watched = Watched(
                source=source,
                source_operator=self._operator,
                source_reader=self._reader,
                kafka=kafka.endpoint,
                connect=connect.endpoint,
                clickhouse=clickhouse.endpoint,
            )
            self.outputs |= self._platform.monitoring(watched)
        self.outputs |= self._platform.outputs()
        self.outputs["readme"] = readme(self.outputs)
        self.register_outputs({})

    def _child(self, after: list[pulumi.Resource] | None = None) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=after or [])

    def _password(self, name: str) -> pulumi.Output[str]:
        return random.RandomPassword(name, length=32, special=False, opts=self._child()).result

    def _reader_user(self) -> Credential | None:
        """Without monitoring nobody reads as this user."""
        if not self._settings.monitoring:
            return None
        return Credential(user=READER_USER, password=self._password("postgres-reader"))

    def _application_user(self) -> Credential | None:
        """Somebody else's database has its own applications."""
        if self._settings.source != "managed":
            return None
        return Credential(user=APPLICATION_USER, password=self._password("application"))

    def _source(self) -> tuple[PostgresEndpoint, Part[PostgresEndpoint] | None]:
        settings = self._settings
        if settings.source == "managed":
            database = self._platform.source_database()
            return database.endpoint, database
        address = Address(host=settings.source_host, port=settings.source_port)
        admin = Credential(
            user=settings.source_admin_user,
            password=pulumi.Output.secret(settings.source_admin_password.get_secret_value()),
        )
        return PostgresEndpoint(inside=address, outside=address, database=settings.database, admin=admin), None

    def _source_schema(self, source: PostgresEndpoint, database: Part[PostgresEndpoint] | None) -> SourceSchema:
        settings = self._settings
        return SourceSchema(
            "source-schema",
            args=SourceSchemaArgs(
                host=source.outside.host,
                port=source.outside.port,
                database=source.database,
                admin_user=source.admin.user,
                admin_password=source.admin.password,
                debezium_user=self._source_user.user,
                debezium_password=self._source_user.password,
                operator_user=self._operator.user,
                operator_password=self._operator.password,
                reader_user=self._reader.user if self._reader else None,
                reader_password=self._reader.password if self._reader else None,
                application_user=self._application.user if self._application else None,
                application_password=self._application.password if self._application else None,
                publication=settings.publication,
                slot=settings.slot,
                tables=settings.tables,
                managed=settings.source == "managed",
                triggers=pulumi.Output.all(database.identity) if database else None,
                ca=source.ca,
                timeout_seconds=settings.timeout_seconds,
            ),
            opts=self._child(after=[database] if database else []),
        )

    def _clickhouse_schema(
        self, clickhouse: Part[ClickHouseEndpoint], kafka: KafkaEndpoint, topics: pulumi.Resource
    ) -> ClickHouseSchema:
        settings = self._settings
        endpoint = clickhouse.endpoint
        return ClickHouseSchema(
            "clickhouse-schema",
            args=ClickHouseSchemaArgs(
                host=endpoint.native.host,
                port=endpoint.native.port,
                user=endpoint.admin.user,
                password=endpoint.admin.password,
                database=ANALYTICS_DATABASE,
                parameters={
                    "database": ANALYTICS_DATABASE,
                    "replicated": "Replicated" if settings.replicated else "",
                    "on_cluster": f"ON CLUSTER '{endpoint.cluster}'" if endpoint.cluster else "",
                    "kafka_brokers": str(kafka.inside),
                    "topic_prefix": settings.topic_prefix,
                    "kafka_consumers": str(settings.kafka_consumers),
                    "flush_interval_ms": str(settings.flush_interval_ms),
                    "aggregate_seconds": str(settings.aggregate_seconds),
                    **shard_parameters(ANALYTICS_DATABASE, endpoint.cluster),
                    "epoch": str(settings.epoch),
                    "history_ttl_days": str(settings.history_ttl_days),
                },
                ca=endpoint.ca,
                triggers=pulumi.Output.all(clickhouse.identity),
                timeout_seconds=settings.timeout_seconds,
            ),
            opts=self._child(after=[clickhouse, topics]),
        )

    def _connector(
        self,
        connect: Part[ConnectEndpoint],
        source: PostgresEndpoint,
        schema: SourceSchema,
        *,
        after: list[pulumi.Resource],
    ) -> DebeziumConnector:
        settings = self._settings
        return DebeziumConnector(
            "connector",
            args=DebeziumConnectorArgs(
                url=connect.endpoint.url,
                connector=settings.connector,
                config=schema.generated_columns.apply(lambda columns: self._connector_config(source, connect, columns)),
                ca=connect.endpoint.ca,
                triggers=pulumi.Output.all(connect.identity),
                timeout_seconds=settings.timeout_seconds,
            ),
            opts=self._child(after=after),
        )

    def _new_tables(self, source: PostgresEndpoint, *, after: list[pulumi.Resource]) -> None:
        NewTables(
            "new-tables",
            args=NewTablesArgs(
                host=source.outside.host,
                port=source.outside.port,
                database=source.database,
                admin_user=source.admin.user,
                admin_password=source.admin.password,
                tables=self._settings.tables,
                keyed=sorted(self._settings.message_keys),
                ca=source.ca,
                timeout_seconds=self._settings.timeout_seconds,
            ),
            opts=self._child(after=after),
        )

    def _connector_config(
        self, source: PostgresEndpoint, connect: Part[ConnectEndpoint], generated_columns: list[str] | None
    ) -> dict[str, str]:
        settings = self._settings
        return connector_config(
            ConnectorConfigArgs(
                host=source.inside.host,
                port=source.inside.port,
                database=source.database,
                generated_columns=generated_columns or [],
                settings=settings,
                source_options=connect.endpoint.source_options,
            )
        )


def _platform(names: Names, parent: pulumi.Resource) -> Platform:
    """The platform that the settings ask for; the other one's SDK is not even loaded."""
    if names.settings.platform == "kubernetes":
        from components.kubernetes.platform import KubernetesPlatform  # noqa: PLC0415

        return KubernetesPlatform(names=names, parent=parent)
    from components.docker.platform import DockerPlatform  # noqa: PLC0415

    return DockerPlatform(names=names, parent=parent)


def _tables_without_target(settings: Settings) -> list[str]:
    """Warnings for tables that would reach Kafka and end there."""
    made = {path.stem.split("_", 1)[1] for path in Path("sql/clickhouse").glob("[0-9]*_*.sql")}
    return [
        f"{table} is captured, but no migration in sql/clickhouse brings it into ClickHouse"
        for table in settings.tables
        if table.split(".")[1] not in made
    ]


def _outputs(
    settings: Settings,
    images: dict[str, Image],
    source: PostgresEndpoint,
    kafka: KafkaEndpoint,
    clickhouse: ClickHouseEndpoint,
) -> dict[str, Any]:
    return {
        "clickhouseUrl": clickhouse.url,
        "clickhouseNativeAddress": str(clickhouse.native),
        "clickhouseDatabase": ANALYTICS_DATABASE,
        "clickhouseUser": clickhouse.reader.user,
        "clickhousePassword": clickhouse.reader.password,
        "kafkaBootstrap": str(kafka.outside),
        "postgresAddress": str(source.outside),
        "postgresDatabase": source.database,
        "postgresUser": source.admin.user,
        "postgresPassword": source.admin.password,
        "connectorName": settings.connector,
        "topicPrefix": settings.topic_prefix,
        "tables": settings.tables,
        "images": {
            part: {"version": image.version, "source": image.source, "reference": image.reference}
            for part, image in containers(images).items()
        },
    }


def _operator_outputs(operator: Credential, clickhouse: ClickHouseEndpoint) -> dict[str, Any]:
    """One name on both sides; ``clickhouseAdmin*`` is for recovery, which takes Kafka tables off and on again."""
    return {
        "operatorUser": operator.user,
        "postgresOperatorPassword": operator.password,
        "clickhouseOperatorPassword": clickhouse.operator.password,
        "clickhouseAdminUser": clickhouse.admin.user,
        "clickhouseAdminPassword": clickhouse.admin.password,
    }
