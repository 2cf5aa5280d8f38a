-- TRUNCATE: one row for each, and everything of that table with a lower version is gone. Nothing is deleted here, so it
-- does not matter in which order the events arrive or how often; the history keeps what was there.
CREATE TABLE IF NOT EXISTS {{database}}.truncations {{on_cluster}}
(
    source_table LowCardinality(String),
    version      UInt128 CODEC(ZSTD) COMMENT 'its place in commit order, comparable with a row''s',
    source_time  DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD) COMMENT 'commit time in PostgreSQL',
    lsn          UInt64 CODEC(DoubleDelta, ZSTD),
    tx_id        Nullable(UInt64) CODEC(DoubleDelta, ZSTD),
    _synced_at   DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(DoubleDelta, ZSTD)
)
ENGINE = {{replicated}}ReplacingMergeTree{{on_all_shards}}
ORDER BY (source_table, version);
