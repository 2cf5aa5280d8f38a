"""The Debezium connector's configuration, a pure function of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from components.names import DDL_TABLE, DEBEZIUM_USER, HEARTBEAT_TABLE, SIGNAL_TABLE, Names
from components.settings import Settings

PASSWORD_PLACEHOLDER = "${file:/run/secrets/cdc/source.properties:password}"  # noqa: S105 - Connect resolves it
BEAT = (
    f"INSERT INTO {HEARTBEAT_TABLE} AS h (id, committed_at, beat) VALUES (1, clock_timestamp(), 1) "  # noqa: S608
    "ON CONFLICT (id) DO UPDATE SET committed_at = clock_timestamp(), beat = h.beat + 1"
)
POSITION_OPTIONS_SINCE = (3, 4)
PLUGIN = Path(__file__).parents[2] / "images" / "connect-plugin" / "whole-lsn.jar"
"""Beside the jars of Debezium in the plugin path of Kafka Connect; images/connect-plugin has the source."""
PLUGIN_CLASS = "cdc.debezium.WholeLsnPostgresConnector"
"""Debezium's connector, whose stored offset never points into the middle of an LSN (docs/decisions/0005)."""


@dataclass(frozen=True, kw_only=True)
class ConnectorConfigArgs:
    """The source as Kafka Connect reaches it. ``generated_columns`` are ``schema.table.column``; ``source_options`` are
    the platform's: where the password and the authority's certificate are."""

    host: str
    port: int
    database: str
    generated_columns: list[str]
    settings: Settings
    source_options: Mapping[str, str] = field(default_factory=dict)


def connector_config(args: ConnectorConfigArgs) -> dict[str, str]:
    """Every option of the connector as text, without ``name``; ``connectorOverrides`` win over all others."""
    return {
        **_source(args),
        **_position(args.settings),
        **_values(args),
        **_canary(args.settings),
        **_flow(args.settings),
        **_routes(args.settings),
        **args.source_options,
        **args.settings.connector_overrides,
    }


def _source(args: ConnectorConfigArgs) -> dict[str, str]:
    settings = args.settings
    return {
        "connector.class": PLUGIN_CLASS,
        "tasks.max": "1",
        "database.hostname": args.host,
        "database.port": str(args.port),
        "database.user": DEBEZIUM_USER,
        "database.password": PASSWORD_PLACEHOLDER,
        "database.dbname": args.database,
        "topic.prefix": settings.topic_prefix,
        "plugin.name": "pgoutput",
        "slot.name": settings.slot,
        "slot.drop.on.stop": "false",
        "publication.name": settings.publication,
        # The source provider owns the publication: a missing one is an error, not something to invent.
        "publication.autocreate.mode": "disabled",
        "table.include.list": ",".join([*settings.tables, HEARTBEAT_TABLE, DDL_TABLE]),
        # Applications may write logical messages; their topic does not exist and would stop the task.
        "message.prefix.exclude.list": ".*",
        # The default leaves TRUNCATE out, and the target would go on showing the rows.
        "skipped.operations": "none",
    }


def _position(settings: Settings) -> dict[str, str]:
    """Where to go on after a restart, chosen as one: Kafka's offset is the truth, and the slot follows it only after
    the offset is stored, so the slot is never ahead by the pipeline's own doing.

    A slot that is gone or no longer holds the offset's WAL fails the task. A slot that somebody advanced by hand
    is not noticed by 3.7.0, whatever ``trust_offset`` promises (tried): the gap shows in the heartbeat's ``beat``.
    ``when_needed`` would snapshot in silence and never see what was deleted meanwhile.
    """
    options = {"snapshot.mode": "initial"}
    version = tuple(int(part) for part in settings.debezium_version.split(".")[:2])
    if version >= POSITION_OPTIONS_SINCE:
        options |= {"lsn.flush.mode": "connector", "offset.mismatch.strategy": "trust_offset"}
    return options


def _values(args: ConnectorConfigArgs) -> dict[str, str]:
    """How rows are written down: schemaless JSON without loss."""
    options = {
        "decimal.handling.mode": "string",
        "time.precision.mode": "adaptive_time_microseconds",
        "binary.handling.mode": "base64",
        "interval.handling.mode": "string",
        "tombstones.on.delete": "false",
    }
    for converter in ("key.converter", "value.converter"):
        options |= {
            converter: "org.apache.kafka.connect.json.JsonConverter",
            f"{converter}.schemas.enable": "false",
            # Otherwise NULL in a column that has a default is sent as the default.
            f"{converter}.replace.null.with.default": "false",
        }
    # pgoutput sends generated columns in snapshots only; half a column is worse than none.
    if args.generated_columns:
        options["column.exclude.list"] = ",".join(sorted(args.generated_columns))
    keys = args.settings.message_keys
    if keys:
        options["message.key.columns"] = ";".join(f"{table}:{keys[table]}" for table in sorted(keys))
    return options


def _canary(settings: Settings) -> dict[str, str]:
    return {
        "heartbeat.interval.ms": str(settings.heartbeat_interval_ms),
        "heartbeat.action.query": BEAT,
        "signal.enabled.channels": "source",
        "signal.data.collection": SIGNAL_TABLE,
    }


def _flow(settings: Settings) -> dict[str, str]:
    """Batches, exactly-once transactions and patience; figures come from measuring this chain."""
    return {
        "exactly.once.support": "required",
        "transaction.boundary": "poll",
        "poll.interval.ms": str(settings.poll_interval_ms),
        "max.batch.size": "8192",
        "max.queue.size": "32768",
        # Bounds the heap when rows are wide; the count alone does not.
        "max.queue.size.in.bytes": str(64 * 1024 * 1024),
        # A killed worker's open transaction hides newer rows from readers for this long (default a minute).
        "producer.override.transaction.timeout.ms": "6000",
        "producer.override.linger.ms": "20",
        "producer.override.batch.size": str(512 * 1024),
        "producer.override.compression.type": "lz4",
        "status.update.interval.ms": "2000",
        # After a crash the server may hold the slot for the dead connection a little longer.
        "slot.max.retries": "60",
        "slot.retry.delay.ms": "1000",
        "errors.max.retries": "-1",
        "retriable.restart.connector.wait.ms": "2000",
    }


def _routes(settings: Settings) -> dict[str, str]:
    """Topics of the pipeline's own tables get names that say what they are; each expression fits one topic."""
    names = Names(settings=settings)
    routes = {
        "heartbeat": (names.table_topic(HEARTBEAT_TABLE), names.heartbeat_topic),
        "ddl": (names.table_topic(DDL_TABLE), names.schema_changes_topic),
    }
    options = {"transforms": ",".join(routes)}
    for route, (topic, name) in routes.items():
        options |= {
            f"transforms.{route}.type": "org.apache.kafka.connect.transforms.RegexRouter",
            f"transforms.{route}.regex": topic.replace(".", "\\."),
            f"transforms.{route}.replacement": name,
        }
    return options
