-- What `python -m cdc reconcile` found, one row for each table and run: the proof that ClickHouse tells the truth, and
-- when it was last given. error says why a run could not compare.
CREATE TABLE IF NOT EXISTS {{database}}.reconcile_results {{on_cluster}}
(
    run_id       UUID,
    finished_at  DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD),
    source_table LowCardinality(String),
    fence_lsn    UInt64 CODEC(Delta, ZSTD) COMMENT 'everything committed before this was compared',
    rows_source  UInt64 CODEC(T64, ZSTD),
    rows_target  UInt64 CODEC(T64, ZSTD),
    differences  UInt64 CODEC(T64, ZSTD) COMMENT 'keys that differ, after healing where that was asked for',
    missing      UInt64 CODEC(T64, ZSTD),
    surplus      UInt64 CODEC(T64, ZSTD),
    different    UInt64 CODEC(T64, ZSTD),
    healed       UInt64 CODEC(T64, ZSTD),
    seconds      Float64,
    error        String CODEC(ZSTD)
)
ENGINE = {{replicated}}MergeTree{{on_all_shards}}
ORDER BY (source_table, finished_at)
TTL toDateTime(finished_at) + INTERVAL 365 DAY;
