-- Every change of a table's shape in PostgreSQL, as the source's event triggers wrote it down: what
-- `python -m cdc schema-diff` is asked after. One row for each, whatever is redelivered.
CREATE TABLE IF NOT EXISTS {{database}}.schema_changes {{on_cluster}}
(
    id              Int64 CODEC(DoubleDelta, ZSTD),
    happened_at     DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD) COMMENT 'clock of PostgreSQL',
    command_tag     LowCardinality(String) COMMENT 'such as ALTER TABLE',
    object_type     LowCardinality(String),
    schema_name     LowCardinality(String),
    object_identity String CODEC(ZSTD) COMMENT 'schema.table, or schema.table.column',
    ddl             String CODEC(ZSTD(3)) COMMENT 'text of the client''s whole query, passwords blanked',
    executed_by     LowCardinality(String),
    transaction_id  Nullable(Int64) CODEC(ZSTD),
    lsn             UInt64 CODEC(DoubleDelta, ZSTD) COMMENT 'byte position in the WAL, comparable with a row''s lsn',
    _synced_at      DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(DoubleDelta, ZSTD)
)
ENGINE = {{replicated}}ReplacingMergeTree{{on_all_shards}}
ORDER BY id;

CREATE TABLE {{database}}.schema_changes_queue {{on_cluster}}
(
    raw String
)
ENGINE = Kafka
SETTINGS
    kafka_broker_list = '{{kafka_brokers}}',
    kafka_topic_list = '{{topic_prefix}}.schema-changes',
    kafka_group_name = 'clickhouse_schema_changes_group',
    kafka_format = 'JSONAsString',
    kafka_handle_error_mode = 'stream',
    kafka_num_consumers = 1,
    kafka_thread_per_consumer = 1,
    kafka_flush_interval_ms = {{flush_interval_ms}},
    kafka_poll_timeout_ms = 20,
    kafka_consumer_reschedule_ms = 10,
    kafka_poll_max_batch_size = 2048;

CREATE TABLE {{database}}.schema_changes_parsed {{on_cluster}}
(
    id              Nullable(Int64),
    happened_at     Nullable(DateTime64(6, 'UTC')),
    command_tag     String,
    object_type     String,
    schema_name     String,
    object_identity String,
    ddl             String,
    executed_by     String,
    transaction_id  Nullable(Int64),
    lsn             UInt64,
    kafka_topic     LowCardinality(String),
    kafka_partition UInt32,
    kafka_offset    UInt64,
    kafka_time      Nullable(DateTime64(3, 'UTC')),
    kafka_key       String,
    raw             String,
    reason          String
)
ENGINE = Null;

CREATE MATERIALIZED VIEW {{database}}.schema_changes_final_mv {{on_cluster}} TO {{database}}.schema_changes AS
SELECT * EXCEPT (kafka_topic, kafka_partition, kafka_offset, kafka_time, kafka_key, raw, reason)
FROM {{database}}.schema_changes_parsed
WHERE reason = '';

CREATE MATERIALIZED VIEW {{database}}.schema_changes_errors_mv {{on_cluster}} TO {{database}}.ingest_errors AS
SELECT
    kafka_topic AS topic,
    kafka_partition AS partition,
    kafka_offset AS offset,
    kafka_key AS key,
    raw,
    reason,
    'schema_changes' AS source_table,
    kafka_time
FROM {{database}}.schema_changes_parsed
WHERE reason NOT IN ('', 'delete');

CREATE MATERIALIZED VIEW {{database}}.schema_changes_mv {{on_cluster}} TO {{database}}.schema_changes_parsed AS
WITH
    JSONExtract(raw, 'Tuple(op String, after Tuple(id Nullable(String), happened_at Nullable(String), command_tag String, '
        || 'object_type String, schema_name String, object_identity String, ddl String, executed_by String, '
        || 'transaction_id Nullable(String), lsn Nullable(String)))') AS message
SELECT
    toInt64OrNull(message.after.id) AS id,
    parseDateTime64BestEffortOrNull(message.after.happened_at, 6, 'UTC') AS happened_at,
    message.after.command_tag AS command_tag,
    message.after.object_type AS object_type,
    message.after.schema_name AS schema_name,
    message.after.object_identity AS object_identity,
    message.after.ddl AS ddl,
    message.after.executed_by AS executed_by,
    toInt64OrNull(message.after.transaction_id) AS transaction_id,
    ifNull(toUInt64OrNull(message.after.lsn), 0) AS lsn,
    _topic AS kafka_topic,
    _partition AS kafka_partition,
    _offset AS kafka_offset,
    _timestamp_ms AS kafka_time,
    _key AS kafka_key,
    if(_error = '', raw, _raw_message) AS raw,
    multiIf(
        _error != '', 'not JSON: ' || _error,
        -- Old entries may be deleted in the source; here they stay.
        message.op IN ('d', 't'), 'delete',
        message.op NOT IN ('c', 'u', 'r'), 'no change event: op is ' || toJSONString(message.op),
        isNull(id), 'id is not Int64: ' || ifNull(message.after.id, 'missing'),
        isNull(happened_at), 'happened_at is not a timestamp: ' || ifNull(message.after.happened_at, 'missing'),
        '') AS reason
FROM {{database}}.schema_changes_queue;
