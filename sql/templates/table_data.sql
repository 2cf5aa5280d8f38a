-- History: each change once. The partition and the sorting key come from the event alone, so a redelivered event
-- lands on itself. Monthly: a backfill must not meet the limit of 100 partitions an insert.
CREATE TABLE IF NOT EXISTS {{database}}.${table}_final {{on_cluster}}
(
${final_columns}
${before_columns}
    _extra              Map(String, String) CODEC(ZSTD) COMMENT 'what has no column here or did not fit it, as text',
    operation           LowCardinality(String) COMMENT 'Debezium op: c u d, r for a row read by a snapshot',
    operation_name      LowCardinality(String) DEFAULT transform(operation, ['c', 'u', 'd'], ['INSERT', 'UPDATE', 'DELETE'], 'READ'),
    source_time         DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD) COMMENT 'commit time in PostgreSQL',
    source_ts_ms        Int64 ALIAS toUnixTimestamp64Milli(source_time),
    lsn                 UInt64 CODEC(DoubleDelta, ZSTD),
    tx_id               Nullable(UInt64) CODEC(DoubleDelta, ZSTD),
    version             UInt128 CODEC(ZSTD) COMMENT 'place in commit order, see ${table}_mv',
    is_deleted          UInt8 CODEC(T64, ZSTD),
    kafka_partition     UInt32 CODEC(T64, ZSTD),
    kafka_offset        UInt64 CODEC(Delta, ZSTD),
    kafka_time          Nullable(DateTime64(3, 'UTC')) CODEC(DoubleDelta, ZSTD),
    _synced_at          DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(DoubleDelta, ZSTD)
)
ENGINE = {{replicated}}ReplacingMergeTree
PARTITION BY toYYYYMM(source_time)
ORDER BY (${key}, version)
SETTINGS ttl_only_drop_parts = 1${table_comment};

-- Apart from the table, so that a changed number of days can be applied to a table that is full. DateTime ends in 2106:
-- without the limit a long time to live would wrap round and expire everything at once.
ALTER TABLE {{database}}.${table}_final {{on_cluster}}
    MODIFY TTL toDateTime(least(toUnixTimestamp64Second(source_time) + {{history_ttl_days}} * 86400, 4294967295));

-- The truth: the highest version of each key wins, in whatever order and however often events arrive.
-- Deleted rows stay as markers, or a late older update would bring the row back. Not partitioned: FINAL has to see
-- all versions of a key together, and a key's columns can change.
CREATE TABLE IF NOT EXISTS {{database}}.${table}_current {{on_cluster}}
(
${current_columns}
    _extra              Map(String, String) CODEC(ZSTD) COMMENT 'what has no column here or did not fit it, as text',
    source_time         DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD),
    lsn                 UInt64 CODEC(DoubleDelta, ZSTD),
    version             UInt128 CODEC(ZSTD),
    is_deleted          UInt8 CODEC(T64, ZSTD),
    _synced_at          DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD)
)
ENGINE = {{replicated}}ReplacingMergeTree(version, is_deleted)
ORDER BY ${current_key}${table_comment};

-- One String a message: three times faster than typed columns. What is no JSON arrives in _error and _raw_message.
-- Every poll makes room for its whole batch anew: at the default, a block's size, that is most of what idling costs.
CREATE TABLE {{database}}.${table}_queue {{on_cluster}}
(
    raw String
)
ENGINE = Kafka
SETTINGS
    kafka_broker_list = '{{kafka_brokers}}',
    kafka_topic_list = '{{topic_prefix}}.${source}',
    kafka_group_name = 'clickhouse_${table}_group',
    kafka_format = 'JSONAsString',
    kafka_handle_error_mode = 'stream',
    kafka_num_consumers = {{kafka_consumers}},
    kafka_thread_per_consumer = 1,
    kafka_flush_interval_ms = {{flush_interval_ms}},
    kafka_poll_timeout_ms = 20,
    kafka_consumer_reschedule_ms = 10,
    kafka_max_block_size = 65536,
    kafka_poll_max_batch_size = 2048;
