-- Every message that could not become a row: nothing is dropped in silence, and after a fix the raw text can be replayed.
-- A redelivered message has the same topic, partition and offset, so it stays one row (read with FINAL).
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
ENGINE = {{replicated}}ReplacingMergeTree
ORDER BY (topic, partition, offset);
