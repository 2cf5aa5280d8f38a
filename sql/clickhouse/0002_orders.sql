-- orders, from topic to view. Every table follows this shape (one file per table):
--   T_queue -> T_mv -> T_parsed -+-> T_final_mv -> T_final -> T_current_mv -> T_current -> view T, view T_as_of
--                                +-> T_errors_mv -> ingest_errors
-- T_final and T_current hold data. The rest holds none: the migrations make it anew when a parameter or a later file changes it.
-- T_mv comes last: it starts the flow, when everything it writes to is there.

-- History: each change once. The partition and the sorting key come from the event alone, so a redelivered event
-- lands on itself. Monthly: a backfill must not meet the limit of 100 partitions an insert.
CREATE TABLE IF NOT EXISTS {{database}}.orders_final {{on_cluster}}
(
    id                  Int32 CODEC(DoubleDelta, ZSTD),
    order_number        String CODEC(ZSTD),
    order_date          Date32 CODEC(DoubleDelta, ZSTD),
    order_time          Nullable(DateTime64(6, 'UTC')) CODEC(DoubleDelta, ZSTD),
    purchaser           Int32 CODEC(T64, ZSTD),
    quantity            Int32 CODEC(T64, ZSTD),
    product_id          Int32 CODEC(Delta, ZSTD),
    unit_price          Decimal(10, 2) CODEC(T64, ZSTD),
    total_amount        Decimal(12, 2) CODEC(T64, ZSTD),
    status              LowCardinality(Nullable(String)),
    created_at          Nullable(DateTime64(6, 'UTC')) CODEC(DoubleDelta, ZSTD),
    updated_at          Nullable(DateTime64(6, 'UTC')) CODEC(DoubleDelta, ZSTD),

    before_order_number Nullable(String) CODEC(ZSTD),
    before_order_date   Nullable(Date32) CODEC(ZSTD),
    before_order_time   Nullable(DateTime64(6, 'UTC')) CODEC(ZSTD),
    before_purchaser    Nullable(Int32) CODEC(T64, ZSTD),
    before_quantity     Nullable(Int32) CODEC(T64, ZSTD),
    before_product_id   Nullable(Int32) CODEC(ZSTD),
    before_unit_price   Nullable(Decimal(10, 2)) CODEC(ZSTD),
    before_total_amount Nullable(Decimal(12, 2)) CODEC(ZSTD),
    before_status       LowCardinality(Nullable(String)),
    before_created_at   Nullable(DateTime64(6, 'UTC')) CODEC(ZSTD),
    before_updated_at   Nullable(DateTime64(6, 'UTC')) CODEC(ZSTD),
    _extra              Map(String, String) CODEC(ZSTD) COMMENT 'what has no column here or did not fit it, as text',

    operation           LowCardinality(String) COMMENT 'Debezium op: c u d, r for a row read by a snapshot',
    operation_name      LowCardinality(String) DEFAULT transform(operation, ['c', 'u', 'd'], ['INSERT', 'UPDATE', 'DELETE'], 'READ'),
    source_time         DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD) COMMENT 'commit time in PostgreSQL',
    source_ts_ms        Int64 ALIAS toUnixTimestamp64Milli(source_time),
    lsn                 UInt64 CODEC(DoubleDelta, ZSTD),
    tx_id               Nullable(UInt64) CODEC(DoubleDelta, ZSTD),
    version             UInt128 CODEC(ZSTD) COMMENT 'place in commit order, see orders_mv',
    is_deleted          UInt8 CODEC(T64, ZSTD),
    kafka_partition     UInt32 CODEC(T64, ZSTD),
    kafka_offset        UInt64 CODEC(Delta, ZSTD),
    kafka_time          Nullable(DateTime64(3, 'UTC')) CODEC(DoubleDelta, ZSTD),
    _synced_at          DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(DoubleDelta, ZSTD),

    order_month         UInt32 MATERIALIZED toYYYYMM(order_date) CODEC(T64, ZSTD),
    order_hour          Nullable(UInt8) MATERIALIZED toHour(order_time) CODEC(T64, ZSTD)
)
ENGINE = {{replicated}}ReplacingMergeTree
PARTITION BY toYYYYMM(source_time)
ORDER BY (id, version)
SETTINGS ttl_only_drop_parts = 1;

-- Apart from the table, so that a changed number of days can be applied to a table that is full. DateTime ends in 2106:
-- without the limit a long time to live would wrap round and expire everything at once.
ALTER TABLE {{database}}.orders_final {{on_cluster}}
    MODIFY TTL toDateTime(least(toUnixTimestamp64Second(source_time) + {{history_ttl_days}} * 86400, 4294967295));

-- The truth: the highest version of each key wins, in whatever order and however often events arrive.
-- Deleted rows stay as markers, or a late older update would bring the row back. Not partitioned: FINAL has to see
-- all versions of a key together, and a key's columns can change.
CREATE TABLE IF NOT EXISTS {{database}}.orders_current {{on_cluster}}
(
    id              Int32 CODEC(DoubleDelta, ZSTD),
    order_number    String CODEC(ZSTD),
    order_date      Date32 CODEC(DoubleDelta, ZSTD),
    order_time      Nullable(DateTime64(6, 'UTC')) CODEC(DoubleDelta, ZSTD),
    purchaser       Int32 CODEC(T64, ZSTD),
    quantity        Int32 CODEC(T64, ZSTD),
    product_id      Int32 CODEC(Delta, ZSTD),
    unit_price      Decimal(10, 2) CODEC(T64, ZSTD),
    total_amount    Decimal(12, 2) CODEC(T64, ZSTD),
    status          LowCardinality(Nullable(String)),
    created_at      Nullable(DateTime64(6, 'UTC')) CODEC(DoubleDelta, ZSTD),
    updated_at      Nullable(DateTime64(6, 'UTC')) CODEC(DoubleDelta, ZSTD),
    _extra          Map(String, String) CODEC(ZSTD) COMMENT 'what has no column here or did not fit it, as text',

    source_time     DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD),
    lsn             UInt64 CODEC(DoubleDelta, ZSTD),
    version         UInt128 CODEC(ZSTD),
    is_deleted      UInt8 CODEC(T64, ZSTD),
    _synced_at      DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD),

    order_month     UInt32 MATERIALIZED toYYYYMM(order_date) CODEC(T64, ZSTD),
    order_hour      Nullable(UInt8) MATERIALIZED toHour(order_time) CODEC(T64, ZSTD)
)
ENGINE = {{replicated}}ReplacingMergeTree(version, is_deleted)
ORDER BY id;

-- One String a message: three times faster than typed columns. What is no JSON arrives in _error and _raw_message.
-- Every poll makes room for its whole batch anew: at the default, a block's size, that is most of what idling costs.
CREATE TABLE {{database}}.orders_queue {{on_cluster}}
(
    raw String
)
ENGINE = Kafka
SETTINGS
    kafka_broker_list = '{{kafka_brokers}}',
    kafka_topic_list = '{{topic_prefix}}.inventory.orders',
    kafka_group_name = 'clickhouse_orders_group',
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
CREATE TABLE {{database}}.orders_parsed {{on_cluster}}
(
    id                  Nullable(Int32),
    order_number        Nullable(String),
    order_date          Nullable(Date32),
    order_time          Nullable(DateTime64(6, 'UTC')),
    purchaser           Nullable(Int32),
    quantity            Nullable(Int32),
    product_id          Nullable(Int32),
    unit_price          Nullable(Decimal(10, 2)),
    total_amount        Nullable(Decimal(12, 2)),
    status              Nullable(String),
    created_at          Nullable(DateTime64(6, 'UTC')),
    updated_at          Nullable(DateTime64(6, 'UTC')),
    before_order_number Nullable(String),
    before_order_date   Nullable(Date32),
    before_order_time   Nullable(DateTime64(6, 'UTC')),
    before_purchaser    Nullable(Int32),
    before_quantity     Nullable(Int32),
    before_product_id   Nullable(Int32),
    before_unit_price   Nullable(Decimal(10, 2)),
    before_total_amount Nullable(Decimal(12, 2)),
    before_status       Nullable(String),
    before_created_at   Nullable(DateTime64(6, 'UTC')),
    before_updated_at   Nullable(DateTime64(6, 'UTC')),
    _extra              Map(String, String),
    operation           LowCardinality(String),
    source_time         DateTime64(6, 'UTC'),
    lsn                 UInt64,
    tx_id               Nullable(UInt64),
    version             UInt128,
    is_deleted          UInt8,
    kafka_topic         LowCardinality(String),
    kafka_partition     UInt32,
    kafka_offset        UInt64,
    kafka_time          Nullable(DateTime64(3, 'UTC')),
    kafka_key           String,
    raw                 String,
    _reason             String
)
ENGINE = Null;

-- Versions of a row replace each other on one shard only, and a consumer stores what it reads where it runs: with several
-- shards each change goes to the shard of its key, whichever server read it. On one node the history is written directly.
-- The history carries all else along: what is fed by T_final is on the row's shard, too.
CREATE TABLE {{database}}.orders_route {{on_cluster}} AS {{database}}.orders_final
ENGINE = {{route}}orders_final{{route_by}}id{{route_end}};

CREATE MATERIALIZED VIEW {{database}}.orders_final_mv {{on_cluster}} TO {{database}}.orders_{{history}} AS
SELECT * EXCEPT (kafka_topic, kafka_key, raw, _reason)
FROM {{database}}.orders_parsed
WHERE _reason = '';

CREATE MATERIALIZED VIEW {{database}}.orders_current_mv {{on_cluster}} TO {{database}}.orders_current AS
SELECT
    id, order_number, order_date, order_time, purchaser, quantity, product_id, unit_price, total_amount, status,
    created_at, updated_at, _extra, source_time, lsn, version, is_deleted, _synced_at
FROM {{database}}.orders_final;

CREATE MATERIALIZED VIEW {{database}}.orders_truncations_mv {{on_cluster}} TO {{database}}.truncations AS
SELECT 'orders' AS source_table, version, source_time, lsn, tx_id
FROM {{database}}.orders_parsed
WHERE _reason = 'truncate';

CREATE MATERIALIZED VIEW {{database}}.orders_errors_mv {{on_cluster}} TO {{database}}.ingest_errors AS
SELECT
    kafka_topic AS topic,
    kafka_partition AS partition,
    kafka_offset AS offset,
    kafka_key AS key,
    raw,
    _reason AS reason,
    'orders' AS source_table,
    kafka_time
FROM {{database}}.orders_parsed
WHERE _reason NOT IN ('', 'truncate');

-- This shard's rows as they are now in PostgreSQL. What was there before the last TRUNCATE is gone.
CREATE OR REPLACE VIEW {{database}}.orders_here {{on_cluster}} AS
SELECT
    id, order_number, order_date, order_time, purchaser, quantity, product_id, unit_price, total_amount, status,
    created_at, updated_at, _extra, source_time, lsn, _synced_at, order_month, order_hour
FROM {{database}}.orders_current FINAL
WHERE is_deleted = 0 AND version > (SELECT max(version) FROM {{database}}.truncations WHERE source_table = 'orders');

-- What people query: the rows of all shards. Versions of a key are on one shard, so each finds the newest by itself.
CREATE OR REPLACE VIEW {{database}}.orders {{on_cluster}} AS
SELECT * FROM {{everywhere}}orders_here{{everywhere_end}};

-- The newest of all shards' rows with their versions, deleted ones too, some more than once: for recovery.
CREATE OR REPLACE VIEW {{database}}.orders_versions {{on_cluster}} AS
SELECT * FROM {{everywhere}}orders_current{{everywhere_end}};

-- The rows as they were: SELECT ... FROM orders_as_of(at = '2026-01-31 12:00:00'). Current rows take part, so that a row
-- whose last change is older than the history is still there; what it was before that change is gone with the history.
CREATE OR REPLACE VIEW {{database}}.orders_as_of {{on_cluster}} AS
SELECT * EXCEPT (version, is_deleted)
FROM
(
    SELECT *
    FROM
    (
        SELECT
    id, order_number, order_date, order_time, purchaser, quantity, product_id, unit_price, total_amount, status,
    created_at, updated_at, _extra, source_time, lsn, version, is_deleted, _synced_at, order_month, order_hour
        FROM {{everywhere}}orders_final{{everywhere_end}}
        UNION ALL
        SELECT
    id, order_number, order_date, order_time, purchaser, quantity, product_id, unit_price, total_amount, status,
    created_at, updated_at, _extra, source_time, lsn, version, is_deleted, _synced_at, order_month, order_hour
        FROM {{everywhere}}orders_current{{everywhere_end}}
    )
    WHERE source_time <= {at:DateTime64(6, 'UTC')}
    ORDER BY version DESC
    LIMIT 1 BY id
)
WHERE is_deleted = 0 AND version > (SELECT max(version) FROM {{database}}.truncations
    WHERE source_table = 'orders' AND source_time <= {at:DateTime64(6, 'UTC')});

-- Starts the flow. Every value is read as text and then converted, because a direct read would turn a wrong type into 0.
-- An MV must never throw: the stream would stand still at that message. So each conversion ends in NULL, and reason names it.
-- In steps that name the columns of the step before: as one query of aliases it cost 0.1 s of planning, for every block anew.
CREATE MATERIALIZED VIEW {{database}}.orders_mv {{on_cluster}} TO {{database}}.orders_parsed AS
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
        isNull(id), _explain('id', 'Int32', _new.id),
        isNull(order_number), _explain('order_number', 'text', _new.order_number),
        isNull(order_date), _explain('order_date', 'days since 1970', _new.order_date),
        _unreadable(order_time, _new.order_time), _explain('order_time', 'microseconds since 1970', _new.order_time),
        isNull(purchaser), _explain('purchaser', 'Int32', _new.purchaser),
        isNull(quantity), _explain('quantity', 'Int32', _new.quantity),
        isNull(product_id), _explain('product_id', 'Int32', _new.product_id),
        isNull(unit_price), _explain('unit_price', 'Decimal(10, 2)', _new.unit_price),
        isNull(total_amount) AND isNotNull(_new.quantity) AND isNotNull(_new.unit_price), 'total_amount is out of range',
        _unreadable(status, _new.status), _explain('status', 'text', _new.status),
        _unreadable(created_at, _new.created_at), _explain('created_at', 'microseconds since 1970', _new.created_at),
        _unreadable(updated_at, _new.updated_at), _explain('updated_at', 'microseconds since 1970', _new.updated_at),
        _unreadable(before_order_number, _old.order_number), _explain('before.order_number', 'text', _old.order_number),
        _unreadable(before_order_date, _old.order_date), _explain('before.order_date', 'days since 1970', _old.order_date),
        _unreadable(before_order_time, _old.order_time), _explain('before.order_time', 'microseconds since 1970', _old.order_time),
        _unreadable(before_purchaser, _old.purchaser), _explain('before.purchaser', 'Int32', _old.purchaser),
        _unreadable(before_quantity, _old.quantity), _explain('before.quantity', 'Int32', _old.quantity),
        _unreadable(before_product_id, _old.product_id), _explain('before.product_id', 'Int32', _old.product_id),
        _unreadable(before_unit_price, _old.unit_price) AND _old.unit_price != 'NAN', _explain('before.unit_price', 'Decimal(10, 2)', _old.unit_price),
        _unreadable(before_status, _old.status), _explain('before.status', 'text', _old.status),
        _unreadable(before_created_at, _old.created_at), _explain('before.created_at', 'microseconds since 1970', _old.created_at),
        _unreadable(before_updated_at, _old.updated_at), _explain('before.updated_at', 'microseconds since 1970', _old.updated_at),
        '') AS _reason
FROM
(
    WITH
        -- An unchanged TOAST value that PostgreSQL did not send is no value.
        (text) -> nullIf(text, '__debezium_unavailable_value') AS _to_text,
        -- Days since 1970, inside what Date32 holds on every version of the server; the nearest day where it is beyond.
        (text) -> addDays(toDate32('1970-01-01'), multiIf(toInt64OrNull(text) < -25567, -25567, toInt64OrNull(text) > 120529, 120529,
            toInt64OrNull(text))) AS _to_date,
        (text) -> ifNull(toInt64OrNull(text) < -25567 OR toInt64OrNull(text) > 120529, false) AS _beyond_date,
        -- Microseconds since 1970, inside what DateTime64 holds on every version of the server; the nearest where it is beyond.
        (micros) -> fromUnixTimestamp64Micro(multiIf(micros < -2208988800000000, -2208988800000000,
            micros > 10413791999999999, 10413791999999999, micros), 'UTC') AS _to_time,
        (micros) -> ifNull(micros < -2208988800000000 OR micros > 10413791999999999, false) AS _beyond_time,
        -- More digits than the column has are an error, not a rounding.
        (text) -> if(toDecimal128OrNull(text, 12) = toDecimal128OrNull(text, 2) AND abs(toDecimal128OrNull(text, 2)) < toDecimal128('100000000', 2),
            CAST(toDecimal128OrNull(text, 2), 'Nullable(Decimal(10, 2))'), NULL) AS _to_decimal_10_2,

        -- Columns that this table does not have yet, and values that are sound in PostgreSQL but do not fit the column.
        ['id', 'order_number', 'order_date', 'order_time', 'purchaser', 'quantity', 'product_id', 'unit_price', 'status', 'created_at', 'updated_at'] AS _known,
        if(operation = 'd', 'before', 'after') AS _image,
        arrayMap(item -> item.1, arrayFilter(item -> item.2, [
            ('order_date', _beyond_date(_new.order_date)),
            ('order_time', _beyond_time(toInt64OrNull(_new.order_time))),
            ('created_at', _beyond_time(toInt64OrNull(_new.created_at))),
            ('updated_at', _beyond_time(toInt64OrNull(_new.updated_at)))])) AS _beyond,
        (_beyond_date(_new.order_date) OR _beyond_time(toInt64OrNull(_new.order_time)) OR _beyond_time(toInt64OrNull(_new.created_at)) OR _beyond_time(toInt64OrNull(_new.updated_at))) OR JSONExtractKeys(raw, _image) != _known AS _is_odd
    SELECT
        _new, _old, _position, _commit, _error,
        toInt32OrNull(_new.id) AS id,
        _to_text(_new.order_number) AS order_number,
        _to_date(_new.order_date) AS order_date,
        _to_time(toInt64OrNull(_new.order_time)) AS order_time,
        toInt32OrNull(_new.purchaser) AS purchaser,
        toInt32OrNull(_new.quantity) AS quantity,
        toInt32OrNull(_new.product_id) AS product_id,
        _to_decimal_10_2(_new.unit_price) AS unit_price,
        accurateCastOrNull((toDecimal256(toInt32OrNull(_new.quantity), 0) * toDecimal256(_to_decimal_10_2(_new.unit_price), 2)), 'Decimal(12, 2)') AS total_amount,
        _to_text(_new.status) AS status,
        _to_time(toInt64OrNull(_new.created_at)) AS created_at,
        _to_time(toInt64OrNull(_new.updated_at)) AS updated_at,

        _to_text(_old.order_number) AS before_order_number,
        _to_date(_old.order_date) AS before_order_date,
        _to_time(toInt64OrNull(_old.order_time)) AS before_order_time,
        toInt32OrNull(_old.purchaser) AS before_purchaser,
        toInt32OrNull(_old.quantity) AS before_quantity,
        toInt32OrNull(_old.product_id) AS before_product_id,
        _to_decimal_10_2(_old.unit_price) AS before_unit_price,
        accurateCastOrNull((toDecimal256(toInt32OrNull(_old.quantity), 0) * toDecimal256(_to_decimal_10_2(_old.unit_price), 2)), 'Decimal(12, 2)') AS before_total_amount,
        _to_text(_old.status) AS before_status,
        _to_time(toInt64OrNull(_old.created_at)) AS before_created_at,
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
            arrayJoin(if(_message.op = 'u' AND (toInt32OrNull(_message.before.id) != toInt32OrNull(_message.after.id)), ['d', 'c'],
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
                'id Nullable(String), order_number Nullable(String), order_date Nullable(String), order_time Nullable(String), purchaser Nullable(String), quantity Nullable(String), product_id Nullable(String), unit_price Nullable(String), status Nullable(String), created_at Nullable(String), updated_at Nullable(String)' AS _columns,
                'lsn Nullable(UInt64), sequence Nullable(String), txId Nullable(UInt64), ts_us Nullable(Int64), ts_ms Nullable(Int64)' AS _source_columns
            SELECT
                JSONExtract(raw, 'Tuple(op String, before Tuple(' || _columns || '), after Tuple(' || _columns || '), source Tuple('
                    || _source_columns || '))') AS _message,
                raw, _raw_message, _error, _topic, _partition, _offset, _timestamp_ms, _key
            FROM {{database}}.orders_queue
        )
    )
);
