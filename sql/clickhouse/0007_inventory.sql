-- inventory.inventory, from topic to view; its shape is explained in 0002_orders.sql.
-- Written by `python -m cdc add-table inventory.inventory` from the catalog of PostgreSQL; review it.

-- History: each change once. The partition and the sorting key come from the event alone, so a redelivered event
-- lands on itself. Monthly: a backfill must not meet the limit of 100 partitions an insert.
CREATE TABLE IF NOT EXISTS {{database}}.inventory_final {{on_cluster}}
(
    product_id           Int32 CODEC(DoubleDelta, ZSTD),
    quantity             Int32 CODEC(T64, ZSTD),
    reserved             Int32 CODEC(T64, ZSTD),
    reorder_level        Int32 CODEC(T64, ZSTD),
    warehouse            String CODEC(ZSTD),
    updated_at           DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD),
    before_quantity      Nullable(Int32) CODEC(T64, ZSTD),
    before_reserved      Nullable(Int32) CODEC(T64, ZSTD),
    before_reorder_level Nullable(Int32) CODEC(T64, ZSTD),
    before_warehouse     Nullable(String) CODEC(ZSTD),
    before_updated_at    Nullable(DateTime64(6, 'UTC')) CODEC(ZSTD),
    _extra               Map(String, String) CODEC(ZSTD) COMMENT 'what has no column here or did not fit it, as text',
    operation            LowCardinality(String) COMMENT 'Debezium op: c u d, r for a row read by a snapshot',
    operation_name       LowCardinality(String) DEFAULT transform(operation, ['c', 'u', 'd'], ['INSERT', 'UPDATE', 'DELETE'], 'READ'),
    source_time          DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD) COMMENT 'commit time in PostgreSQL',
    source_ts_ms         Int64 ALIAS toUnixTimestamp64Milli(source_time),
    lsn                  UInt64 CODEC(DoubleDelta, ZSTD),
    tx_id                Nullable(UInt64) CODEC(DoubleDelta, ZSTD),
    version              UInt128 CODEC(ZSTD) COMMENT 'place in commit order, see inventory_mv',
    is_deleted           UInt8 CODEC(T64, ZSTD),
    kafka_partition      UInt32 CODEC(T64, ZSTD),
    kafka_offset         UInt64 CODEC(Delta, ZSTD),
    kafka_time           Nullable(DateTime64(3, 'UTC')) CODEC(DoubleDelta, ZSTD),
    _synced_at           DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(DoubleDelta, ZSTD)
)
ENGINE = {{replicated}}ReplacingMergeTree
PARTITION BY toYYYYMM(source_time)
ORDER BY (product_id, version)
SETTINGS ttl_only_drop_parts = 1
COMMENT 'Stock, one row for each product.';

-- Apart from the table, so that a changed number of days can be applied to a table that is full. DateTime ends in 2106:
-- without the limit a long time to live would wrap round and expire everything at once.
ALTER TABLE {{database}}.inventory_final {{on_cluster}}
    MODIFY TTL toDateTime(least(toUnixTimestamp64Second(source_time) + {{history_ttl_days}} * 86400, 4294967295));

-- The truth: the highest version of each key wins, in whatever order and however often events arrive.
-- Deleted rows stay as markers, or a late older update would bring the row back. Not partitioned: FINAL has to see
-- all versions of a key together, and a key's columns can change.
CREATE TABLE IF NOT EXISTS {{database}}.inventory_current {{on_cluster}}
(
    product_id    Int32 CODEC(DoubleDelta, ZSTD),
    quantity      Int32 CODEC(T64, ZSTD),
    reserved      Int32 CODEC(T64, ZSTD),
    reorder_level Int32 CODEC(T64, ZSTD),
    warehouse     String CODEC(ZSTD),
    updated_at    DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD),
    _extra        Map(String, String) CODEC(ZSTD) COMMENT 'what has no column here or did not fit it, as text',
    source_time   DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD),
    lsn           UInt64 CODEC(DoubleDelta, ZSTD),
    version       UInt128 CODEC(ZSTD),
    is_deleted    UInt8 CODEC(T64, ZSTD),
    _synced_at    DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD)
)
ENGINE = {{replicated}}ReplacingMergeTree(version, is_deleted)
ORDER BY product_id
COMMENT 'Stock, one row for each product.';

-- One String a message: three times faster than typed columns. What is no JSON arrives in _error and _raw_message.
-- Every poll makes room for its whole batch anew: at the default, a block's size, that is most of what idling costs.
CREATE TABLE {{database}}.inventory_queue {{on_cluster}}
(
    raw String
)
ENGINE = Kafka
SETTINGS
    kafka_broker_list = '{{kafka_brokers}}',
    kafka_topic_list = '{{topic_prefix}}.inventory.inventory',
    kafka_group_name = 'clickhouse_inventory_group',
    kafka_format = 'JSONAsString',
    kafka_handle_error_mode = 'stream',
    kafka_num_consumers = {{kafka_consumers}},
    kafka_thread_per_consumer = 1,
    kafka_flush_interval_ms = {{flush_interval_ms}},
    kafka_poll_timeout_ms = 20,
    kafka_consumer_reschedule_ms = 10,
    kafka_max_block_size = 65536,
    kafka_poll_max_batch_size = 2048;

-- Typed, not yet judged: values that could not be read are NULL and named in reason. A Null table, because two views on
-- one Kafka table can lose a block when the server starts.
CREATE TABLE {{database}}.inventory_parsed {{on_cluster}}
(
    product_id           Nullable(Int32),
    quantity             Nullable(Int32),
    reserved             Nullable(Int32),
    reorder_level        Nullable(Int32),
    warehouse            Nullable(String),
    updated_at           Nullable(DateTime64(6, 'UTC')),
    before_quantity      Nullable(Int32),
    before_reserved      Nullable(Int32),
    before_reorder_level Nullable(Int32),
    before_warehouse     Nullable(String),
    before_updated_at    Nullable(DateTime64(6, 'UTC')),
    _extra               Map(String, String),
    operation            LowCardinality(String),
    source_time          DateTime64(6, 'UTC'),
    lsn                  UInt64,
    tx_id                Nullable(UInt64),
    version              UInt128,
    is_deleted           UInt8,
    kafka_topic          LowCardinality(String),
    kafka_partition      UInt32,
    kafka_offset         UInt64,
    kafka_time           Nullable(DateTime64(3, 'UTC')),
    kafka_key            String,
    raw                  String,
    _reason              String
)
ENGINE = Null;

-- Versions of a row replace each other on one shard only, and a consumer stores what it reads where it runs: with several
-- shards each change goes to the shard of its key, whichever server read it. On one node the history is written directly.
-- The history carries all else along: what is fed by T_final is on the row's shard, too.
CREATE TABLE {{database}}.inventory_route {{on_cluster}} AS {{database}}.inventory_final
ENGINE = {{route}}inventory_final{{route_by}}product_id{{route_end}};

CREATE MATERIALIZED VIEW {{database}}.inventory_final_mv {{on_cluster}} TO {{database}}.inventory_{{history}} AS
SELECT * EXCEPT (kafka_topic, kafka_key, raw, _reason)
FROM {{database}}.inventory_parsed
WHERE _reason = '';

CREATE MATERIALIZED VIEW {{database}}.inventory_current_mv {{on_cluster}} TO {{database}}.inventory_current AS
SELECT
    product_id, quantity, reserved, reorder_level, warehouse, updated_at, _extra, source_time, lsn, version,
    is_deleted, _synced_at
FROM {{database}}.inventory_final;

CREATE MATERIALIZED VIEW {{database}}.inventory_truncations_mv {{on_cluster}} TO {{database}}.truncations AS
SELECT 'inventory' AS source_table, version, source_time, lsn, tx_id
FROM {{database}}.inventory_parsed
WHERE _reason = 'truncate';

CREATE MATERIALIZED VIEW {{database}}.inventory_errors_mv {{on_cluster}} TO {{database}}.ingest_errors AS
SELECT
    kafka_topic AS topic,
    kafka_partition AS partition,
    kafka_offset AS offset,
    kafka_key AS key,
    raw,
    _reason AS reason,
    'inventory' AS source_table,
    kafka_time
FROM {{database}}.inventory_parsed
WHERE _reason NOT IN ('', 'truncate');

-- This shard's rows as they are now in PostgreSQL. What was there before the last TRUNCATE is gone.
CREATE OR REPLACE VIEW {{database}}.inventory_here {{on_cluster}} AS
SELECT
    product_id, quantity, reserved, reorder_level, warehouse, updated_at, _extra, source_time, lsn, _synced_at
FROM {{database}}.inventory_current FINAL
WHERE is_deleted = 0 AND version > (SELECT max(version) FROM {{database}}.truncations WHERE source_table = 'inventory');

-- What people query: the rows of all shards. Versions of a key are on one shard, so each finds the newest by itself.
CREATE OR REPLACE VIEW {{database}}.inventory {{on_cluster}} AS
SELECT * FROM {{everywhere}}inventory_here{{everywhere_end}};

-- The newest of all shards' rows with their versions, deleted ones too, some more than once: for recovery.
CREATE OR REPLACE VIEW {{database}}.inventory_versions {{on_cluster}} AS
SELECT * FROM {{everywhere}}inventory_current{{everywhere_end}};

-- The rows as they were: SELECT ... FROM inventory_as_of(at = '2026-01-31 12:00:00'). Current rows take part, so that a row
-- whose last change is older than the history is still there; what it was before that change is gone with the history.
CREATE OR REPLACE VIEW {{database}}.inventory_as_of {{on_cluster}} AS
SELECT * EXCEPT (version, is_deleted)
FROM
(
    SELECT *
    FROM
    (
        SELECT
    product_id, quantity, reserved, reorder_level, warehouse, updated_at, _extra, source_time, lsn, version,
    is_deleted, _synced_at
        FROM {{everywhere}}inventory_final{{everywhere_end}}
        UNION ALL
        SELECT
    product_id, quantity, reserved, reorder_level, warehouse, updated_at, _extra, source_time, lsn, version,
    is_deleted, _synced_at
        FROM {{everywhere}}inventory_current{{everywhere_end}}
    )
    WHERE source_time <= {at:DateTime64(6, 'UTC')}
    ORDER BY version DESC
    LIMIT 1 BY product_id
)
WHERE is_deleted = 0 AND version > (SELECT max(version) FROM {{database}}.truncations
    WHERE source_table = 'inventory' AND source_time <= {at:DateTime64(6, 'UTC')});

-- Starts the flow. Every value is read as text and then converted, because a direct read would turn a wrong type into 0.
-- An MV must never throw: the stream would stand still at that message. So each conversion ends in NULL, and reason names it.
-- In steps that name the columns of the step before: as one query of aliases it cost 0.1 s of planning, for every block anew.
CREATE MATERIALIZED VIEW {{database}}.inventory_mv {{on_cluster}} TO {{database}}.inventory_parsed AS
WITH
    (value, text) -> isNull(value) AND isNotNull(text) AS _unreadable,
    (name, type, text) -> concat(name, ' is not ', type, ': ', ifNull(text, 'missing')) AS _explain
SELECT
    * EXCEPT (_new, _old, _position, _commit, _is_beyond_time, _error),
    multiIf(
        _error != '', 'not JSON: ' || _error,
        operation = 'm', 'logical decoding message, not a row',
        operation NOT IN ('c', 'u', 'd', 'r', 't'), 'no change event: op is ' || if(isValidJSON(raw), toJSONString(operation), 'missing, the text is not JSON'),
        isNull(_position), 'source.lsn is missing',
        greatest(lsn, _commit) >= bitShiftLeft(toUInt64(1), 55), 'source.lsn is beyond 2^55: ' || toString(greatest(lsn, _commit)),
        _is_beyond_time, 'source.ts_us is missing or out of range',
        operation = 't', 'truncate',
        isNull(product_id), _explain('product_id', 'Int32', _new.product_id),
        isNull(quantity), _explain('quantity', 'Int32', _new.quantity),
        isNull(reserved), _explain('reserved', 'Int32', _new.reserved),
        isNull(reorder_level), _explain('reorder_level', 'Int32', _new.reorder_level),
        isNull(warehouse), _explain('warehouse', 'text', _new.warehouse),
        isNull(updated_at), _explain('updated_at', 'microseconds since 1970', _new.updated_at),
        _unreadable(before_quantity, _old.quantity), _explain('before.quantity', 'Int32', _old.quantity),
        _unreadable(before_reserved, _old.reserved), _explain('before.reserved', 'Int32', _old.reserved),
        _unreadable(before_reorder_level, _old.reorder_level), _explain('before.reorder_level', 'Int32', _old.reorder_level),
        _unreadable(before_warehouse, _old.warehouse), _explain('before.warehouse', 'text', _old.warehouse),
        _unreadable(before_updated_at, _old.updated_at), _explain('before.updated_at', 'microseconds since 1970', _old.updated_at),
        '') AS _reason
FROM
(
    WITH
        -- An unchanged TOAST value that PostgreSQL did not send is no value.
        (text) -> nullIf(text, '__debezium_unavailable_value') AS _to_text,
        -- Microseconds since 1970, inside what DateTime64 holds on every version of the server; the nearest where it is beyond.
        (micros) -> fromUnixTimestamp64Micro(multiIf(micros < -2208988800000000, -2208988800000000,
            micros > 10413791999999999, 10413791999999999, micros), 'UTC') AS _to_time,
        (micros) -> ifNull(micros < -2208988800000000 OR micros > 10413791999999999, false) AS _beyond_time,

        -- Columns that this table does not have yet, and values that are sound in PostgreSQL but do not fit the column.
        ['product_id', 'quantity', 'reserved', 'reorder_level', 'warehouse', 'updated_at'] AS _known,
        if(operation = 'd', 'before', 'after') AS _image,
        arrayMap(item -> item.1, arrayFilter(item -> item.2, [
            ('updated_at', _beyond_time(toInt64OrNull(_new.updated_at)))])) AS _beyond,
        (_beyond_time(toInt64OrNull(_new.updated_at))) OR JSONExtractKeys(raw, _image) != _known AS _is_odd
    SELECT
        _new, _old, _position, _commit, _error,
        toInt32OrNull(_new.product_id) AS product_id,
        toInt32OrNull(_new.quantity) AS quantity,
        toInt32OrNull(_new.reserved) AS reserved,
        toInt32OrNull(_new.reorder_level) AS reorder_level,
        _to_text(_new.warehouse) AS warehouse,
        _to_time(toInt64OrNull(_new.updated_at)) AS updated_at,

        toInt32OrNull(_old.quantity) AS before_quantity,
        toInt32OrNull(_old.reserved) AS before_reserved,
        toInt32OrNull(_old.reorder_level) AS before_reorder_level,
        _to_text(_old.warehouse) AS before_warehouse,
        _to_time(toInt64OrNull(_old.updated_at)) AS before_updated_at,

        if(_is_odd,
            CAST(mapApply((name, text) -> (name, ifNull(text, 'null')),
                mapFilter((name, text) -> has(_beyond, name) OR (isNotNull(text) AND NOT has(_known, name)),
                    JSONExtract(raw, _image, 'Map(String, Nullable(String))'))), 'Map(String, String)'),
            CAST(map(), 'Map(String, String)')) AS _extra,
        operation,
        ifNull(_to_time(_committed), toDateTime64(0, 6, 'UTC')) AS source_time,
        ifNull(_position, 0) AS lsn,
        _tx_id AS tx_id,
        -- From the top: 15 bits epoch, 55 previous commit, 1 whether it is a change, 55 LSN, 2 operation. A snapshot's read
        -- loses against every transaction that was still open when it read, although that wrote at lower LSNs. On one LSN
        -- the create wins over the delete: a changed message key makes both.
        bitShiftLeft(toUInt128({{epoch}}), 113) + bitShiftLeft(toUInt128(_commit), 58)
            + if(operation = 'r', toUInt128(0), bitShiftLeft(toUInt128(1), 57))
            + toUInt128(lsn) * 4 + greatest(indexOf(['r', 'd', 'u', 'c'], operation), 1) - 1 AS version,
        operation = 'd' AS is_deleted,
        _topic AS kafka_topic,
        _partition AS kafka_partition,
        _offset AS kafka_offset,
        _timestamp_ms AS kafka_time,
        _key AS kafka_key,
        if(_error = '', raw, _raw_message) AS raw,
        isNull(_committed) OR _beyond_time(_committed) AS _is_beyond_time
    FROM
    (
        WITH
            _message.source AS _source
        SELECT
            -- Debezium makes delete and create of an update that changes the message key. Where that is another column than the
            -- primary key, a changed primary key arrives as one update, and the row under its old key would stay for ever.
            -- A new key that can't be read splits nothing: the update is quarantined whole.
            arrayJoin(if(_message.op = 'u' AND (toInt32OrNull(_message.before.product_id) != toInt32OrNull(_message.after.product_id)), ['d', 'c'],
            [_message.op])) AS operation,
            if(operation = 'd', _message.before, _message.after) AS _new,
            if(operation = 'c', defaultValueOfArgumentType(_message.before), _message.before) AS _old,
            -- Rows read by an incremental snapshot have no lsn; where the reader stood is the second of the sequence.
            if(isNull(_source.lsn), toUInt64OrNull(JSONExtractString(ifNull(_source.sequence, ''), 2)), _source.lsn) AS _position,
            -- The commit before this event's transaction: transactions arrive in the order of their commits, not of their LSNs.
            ifNull(toUInt64OrNull(JSONExtractString(ifNull(_source.sequence, ''), 1)), 0) AS _commit,
            ifNull(_source.ts_us, _source.ts_ms * 1000) AS _committed,
            _source.txId AS _tx_id,
            raw, _raw_message, _error, _topic, _partition, _offset, _timestamp_ms, _key
        FROM
        (
            WITH
                'product_id Nullable(String), quantity Nullable(String), reserved Nullable(String), reorder_level Nullable(String), warehouse Nullable(String), updated_at Nullable(String)' AS _columns,
                'lsn Nullable(UInt64), sequence Nullable(String), txId Nullable(UInt64), ts_us Nullable(Int64), ts_ms Nullable(Int64)' AS _source_columns
            SELECT
                JSONExtract(raw, 'Tuple(op String, before Tuple(' || _columns || '), after Tuple(' || _columns || '), source Tuple('
                    || _source_columns || '))') AS _message,
                raw, _raw_message, _error, _topic, _partition, _offset, _timestamp_ms, _key
            FROM {{database}}.inventory_queue
        )
    )
);
