-- The canary: one row of PostgreSQL, written every few seconds, whose every beat is kept with the time it passed each hop.
-- A redelivered beat must not look late: the earliest times win.
CREATE TABLE IF NOT EXISTS {{database}}.heartbeat {{on_cluster}}
(
    id             Int32,
    beat           Int64 CODEC(DoubleDelta, ZSTD),
    committed_at   SimpleAggregateFunction(min, DateTime64(6, 'UTC')) CODEC(DoubleDelta, ZSTD) COMMENT 'clock of PostgreSQL when the beat was written',
    connector_time SimpleAggregateFunction(min, DateTime64(6, 'UTC')) CODEC(DoubleDelta, ZSTD) COMMENT 'when Debezium made the event',
    kafka_time     SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(DoubleDelta, ZSTD) COMMENT 'when the Kafka producer sent it',
    visible_at     SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(DoubleDelta, ZSTD) COMMENT 'when ClickHouse wrote it',
    lsn            SimpleAggregateFunction(max, UInt64) CODEC(DoubleDelta, ZSTD)
)
ENGINE = {{replicated}}AggregatingMergeTree{{on_all_shards}}
ORDER BY (id, beat)
TTL toDateTime(committed_at) + INTERVAL 30 DAY;

CREATE TABLE {{database}}.heartbeat_queue {{on_cluster}}
(
    raw String
)
ENGINE = Kafka
SETTINGS
    kafka_broker_list = '{{kafka_brokers}}',
    kafka_topic_list = '{{topic_prefix}}.heartbeat',
    kafka_group_name = 'clickhouse_heartbeat_group',
    kafka_format = 'JSONAsString',
    kafka_handle_error_mode = 'stream',
    kafka_num_consumers = 1,
    kafka_thread_per_consumer = 1,
    kafka_flush_interval_ms = {{flush_interval_ms}},
    kafka_poll_timeout_ms = 20,
    kafka_consumer_reschedule_ms = 10,
    kafka_poll_max_batch_size = 2048;

CREATE TABLE {{database}}.heartbeat_parsed {{on_cluster}}
(
    id              Nullable(Int32),
    beat            Nullable(Int64),
    committed_at    Nullable(DateTime64(6, 'UTC')),
    connector_time  DateTime64(6, 'UTC'),
    kafka_time      DateTime64(3, 'UTC'),
    visible_at      DateTime64(3, 'UTC'),
    lsn             UInt64,
    kafka_topic     LowCardinality(String),
    kafka_partition UInt32,
    kafka_offset    UInt64,
    kafka_key       String,
    raw             String,
    reason          String
)
ENGINE = Null;

CREATE MATERIALIZED VIEW {{database}}.heartbeat_final_mv {{on_cluster}} TO {{database}}.heartbeat AS
SELECT id, beat, committed_at, connector_time, kafka_time, visible_at, lsn
FROM {{database}}.heartbeat_parsed
WHERE reason = '';

CREATE MATERIALIZED VIEW {{database}}.heartbeat_errors_mv {{on_cluster}} TO {{database}}.ingest_errors AS
SELECT
    kafka_topic AS topic,
    kafka_partition AS partition,
    kafka_offset AS offset,
    kafka_key AS key,
    raw,
    reason,
    'heartbeat' AS source_table,
    kafka_time
FROM {{database}}.heartbeat_parsed
WHERE reason NOT IN ('', 'delete');

-- Milliseconds a beat spent on each hop; the newest beat's age is the freshness of the whole pipeline.
CREATE OR REPLACE VIEW {{database}}.heartbeat_hops {{on_cluster}} AS
SELECT
    id,
    beat,
    committed_at,
    visible_at,
    dateDiff('millisecond', committed_at, connector_time) AS database_to_connector_ms,
    dateDiff('millisecond', connector_time, kafka_time) AS connector_to_kafka_ms,
    dateDiff('millisecond', kafka_time, visible_at) AS kafka_to_clickhouse_ms,
    dateDiff('millisecond', committed_at, visible_at) AS total_ms,
    lsn
FROM {{database}}.heartbeat FINAL;

CREATE MATERIALIZED VIEW {{database}}.heartbeat_mv {{on_cluster}} TO {{database}}.heartbeat_parsed AS
WITH
    JSONExtract(raw, 'Tuple(op String, ts_us Nullable(Int64), ts_ms Nullable(Int64), source Tuple(lsn Nullable(UInt64)), '
        || 'after Tuple(id Nullable(String), committed_at Nullable(String), beat Nullable(String)))') AS message,
    ifNull(message.ts_us, message.ts_ms * 1000) AS connector_micros
SELECT
    toInt32OrNull(message.after.id) AS id,
    toInt64OrNull(message.after.beat) AS beat,
    parseDateTime64BestEffortOrNull(message.after.committed_at, 6, 'UTC') AS committed_at,
    fromUnixTimestamp64Micro(if(connector_micros BETWEEN 0 AND 10413791999999999, assumeNotNull(connector_micros), 0), 'UTC') AS connector_time,
    ifNull(_timestamp_ms, now64(3)) AS kafka_time,
    now64(3) AS visible_at,
    ifNull(message.source.lsn, 0) AS lsn,
    _topic AS kafka_topic,
    _partition AS kafka_partition,
    _offset AS kafka_offset,
    _key AS kafka_key,
    if(_error = '', raw, _raw_message) AS raw,
    multiIf(
        _error != '', 'not JSON: ' || _error,
        message.op = 'd', 'delete',
        message.op NOT IN ('c', 'u', 'r'), 'no change event: op is ' || toJSONString(message.op),
        isNull(id), 'id is not Int32: ' || ifNull(message.after.id, 'missing'),
        isNull(beat), 'beat is not Int64: ' || ifNull(message.after.beat, 'missing'),
        isNull(committed_at), 'committed_at is not a timestamp: ' || ifNull(message.after.committed_at, 'missing'),
        isNull(connector_micros), 'ts_us is missing',
        '') AS reason
FROM {{database}}.heartbeat_queue;
