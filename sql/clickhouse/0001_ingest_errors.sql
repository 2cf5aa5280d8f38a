-- Every message that could not become a row: nothing is dropped in silence, and after a fix the raw text can be replayed.
-- A redelivered message has the same place, text and reason, so it stays one row (read with FINAL). The place alone would
-- not do: a topic that was made anew counts its offsets from 0 again.
CREATE TABLE IF NOT EXISTS {{database}}.ingest_errors {{on_cluster}}
(
    topic        LowCardinality(String),
    partition    UInt32 CODEC(T64, ZSTD),
    offset       UInt64 CODEC(Delta, ZSTD),
    key          String CODEC(ZSTD),
    raw          String CODEC(ZSTD(3)),
    reason       String CODEC(ZSTD),
    source_table LowCardinality(String),
    kafka_time   Nullable(DateTime64(3, 'UTC')),
    seen_at      DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = {{replicated}}ReplacingMergeTree{{on_all_shards}}
ORDER BY (topic, partition, offset, cityHash64(raw), reason);
