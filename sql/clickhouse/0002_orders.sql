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
    kafka_poll_timeout_ms = {{flush_interval_ms}},
    kafka_max_block_size = 65536;

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
    reason              String
)
ENGINE = Null;

CREATE MATERIALIZED VIEW {{database}}.orders_final_mv {{on_cluster}} TO {{database}}.orders_final AS
SELECT * EXCEPT (kafka_topic, kafka_key, raw, reason)
FROM {{database}}.orders_parsed
WHERE reason = '';

CREATE MATERIALIZED VIEW {{database}}.orders_current_mv {{on_cluster}} TO {{database}}.orders_current AS
SELECT * EXCEPT '^(before_|kafka_|operation|tx_id)'
FROM {{database}}.orders_final;

CREATE MATERIALIZED VIEW {{database}}.orders_errors_mv {{on_cluster}} TO {{database}}.ingest_errors AS
SELECT
    kafka_topic AS topic,
    kafka_partition AS partition,
    kafka_offset AS offset,
    kafka_key AS key,
    raw,
    reason,
    'orders' AS source_table,
    kafka_time
FROM {{database}}.orders_parsed
WHERE reason != '';

-- What people query: the rows as they are now in PostgreSQL.
CREATE OR REPLACE VIEW {{database}}.orders {{on_cluster}} AS
SELECT * EXCEPT (version, is_deleted), order_month, order_hour
FROM {{database}}.orders_current FINAL
WHERE is_deleted = 0;

-- The rows as they were: SELECT ... FROM orders_as_of(at = '2026-01-31 12:00:00'). Current rows take part, so that a row
-- whose last change is older than the history is still there; what it was before that change is gone with the history.
CREATE OR REPLACE VIEW {{database}}.orders_as_of {{on_cluster}} AS
SELECT * EXCEPT (version, is_deleted)
FROM
(
    SELECT *
    FROM
    (
        SELECT * EXCEPT '^(before_|kafka_|operation|tx_id)', order_month, order_hour FROM {{database}}.orders_final
        UNION ALL
        SELECT *, order_month, order_hour FROM {{database}}.orders_current
    )
    WHERE source_time <= {at:DateTime64(6, 'UTC')}
    ORDER BY version DESC
    LIMIT 1 BY id
)
WHERE is_deleted = 0;

-- Starts the flow. Every value is read as text and then converted, because a direct read would turn a wrong type into 0.
-- An MV must never throw: the stream would stand still at that message. So each conversion ends in NULL, and reason names it.
CREATE MATERIALIZED VIEW {{database}}.orders_mv {{on_cluster}} TO {{database}}.orders_parsed AS
WITH
    'id Nullable(String), order_number Nullable(String), order_date Nullable(String), order_time Nullable(String), '
        || 'purchaser Nullable(String), quantity Nullable(String), product_id Nullable(String), unit_price Nullable(String), '
        || 'status Nullable(String), created_at Nullable(String), updated_at Nullable(String)' AS columns,
    'lsn Nullable(UInt64), sequence Nullable(String), txId Nullable(UInt64), ts_us Nullable(Int64), ts_ms Nullable(Int64)' AS source_columns,
    JSONExtract(raw, 'Tuple(op String, before Tuple(' || columns || '), after Tuple(' || columns || '), source Tuple('
        || source_columns || '))') AS message,

    -- Debezium makes delete and create of an update that changes the message key. Where that is another column than the
    -- primary key, a changed primary key arrives as one update, and the row under its old key would stay for ever.
    -- A new key that can't be read splits nothing: the update is quarantined whole.
    arrayJoin(if(message.op = 'u' AND toInt32OrNull(message.before.id) != toInt32OrNull(message.after.id), ['d', 'c'],
        [message.op])) AS operation,
    if(operation = 'd', message.before, message.after) AS new,
    if(operation = 'c', JSONExtract('{}', 'Tuple(' || columns || ')'), message.before) AS old,

    -- Rows read by an incremental snapshot have no lsn; where the reader stood is the second of the sequence.
    if(isNull(message.source.lsn), toUInt64OrNull(JSONExtractString(ifNull(message.source.sequence, ''), 2)), message.source.lsn) AS position,
    -- The commit before this event's transaction: transactions arrive in the order of their commits, not of their LSNs.
    ifNull(toUInt64OrNull(JSONExtractString(ifNull(message.source.sequence, ''), 1)), 0) AS commit,

    -- An unchanged TOAST value that PostgreSQL did not send is no value.
    (text) -> nullIf(text, '__debezium_unavailable_value') AS to_text,
    -- Days and microseconds since 1970, inside what Date32 and DateTime64 hold on every version of the server.
    (text) -> if(toInt32OrNull(text) BETWEEN -25567 AND 120529,
        addDays(toDate32('1970-01-01'), toInt32OrNull(text)), NULL) AS to_date,
    (micros) -> fromUnixTimestamp64Micro(if(micros BETWEEN -2208988800000000 AND 10413791999999999, micros, NULL), 'UTC') AS to_time,
    -- More digits than the column has are an error, not a rounding.
    (text) -> if(toDecimal128OrNull(text, 10) = toDecimal128OrNull(text, 2) AND abs(toDecimal128OrNull(text, 2)) < 100000000,
        toDecimal64OrNull(text, 2), NULL) AS to_price,
    -- PostgreSQL does not send generated columns: quantity * unit_price is computed here.
    (count, price) -> if(abs(toDecimal128(price, 2) * count) < 10000000000, CAST(toDecimal128(price, 2) * count, 'Nullable(Decimal(12, 2))'), NULL) AS to_total,

    (value, text) -> isNull(value) AND isNotNull(text) AS unreadable,
    (name, type, text) -> concat(name, ' is not ', type, ': ', ifNull(text, 'missing')) AS explain
SELECT
    toInt32OrNull(new.id) AS id,
    to_text(new.order_number) AS order_number,
    to_date(new.order_date) AS order_date,
    to_time(toInt64OrNull(new.order_time)) AS order_time,
    toInt32OrNull(new.purchaser) AS purchaser,
    toInt32OrNull(new.quantity) AS quantity,
    toInt32OrNull(new.product_id) AS product_id,
    to_price(new.unit_price) AS unit_price,
    to_total(quantity, unit_price) AS total_amount,
    to_text(new.status) AS status,
    to_time(toInt64OrNull(new.created_at)) AS created_at,
    to_time(toInt64OrNull(new.updated_at)) AS updated_at,

    to_text(old.order_number) AS before_order_number,
    to_date(old.order_date) AS before_order_date,
    to_time(toInt64OrNull(old.order_time)) AS before_order_time,
    toInt32OrNull(old.purchaser) AS before_purchaser,
    toInt32OrNull(old.quantity) AS before_quantity,
    toInt32OrNull(old.product_id) AS before_product_id,
    to_price(old.unit_price) AS before_unit_price,
    to_total(before_quantity, before_unit_price) AS before_total_amount,
    to_text(old.status) AS before_status,
    to_time(toInt64OrNull(old.created_at)) AS before_created_at,
    to_time(toInt64OrNull(old.updated_at)) AS before_updated_at,

    operation,
    ifNull(to_time(ifNull(message.source.ts_us, message.source.ts_ms * 1000)), toDateTime64(0, 6, 'UTC')) AS source_time,
    ifNull(position, 0) AS lsn,
    message.source.txId AS tx_id,
    -- From the top: 15 bits epoch, 55 previous commit, 1 whether it is a change, 55 LSN, 2 operation. A snapshot's read
    -- loses against every transaction that was still open when it read, although that wrote at lower LSNs. On one LSN
    -- the create wins over the delete: a changed message key makes both.
    bitShiftLeft(toUInt128({{epoch}}), 113) + bitShiftLeft(toUInt128(commit), 58)
        + if(operation = 'r', toUInt128(0), bitShiftLeft(toUInt128(1), 57))
        + toUInt128(lsn) * 4 + indexOf(['r', 'd', 'u', 'c'], operation) - 1 AS version,
    operation = 'd' AS is_deleted,
    _topic AS kafka_topic,
    _partition AS kafka_partition,
    _offset AS kafka_offset,
    _timestamp_ms AS kafka_time,
    _key AS kafka_key,
    if(_error = '', raw, _raw_message) AS raw,
    multiIf(
        _error != '', 'not JSON: ' || _error,
        operation = 't', 'truncate not applied',
        operation = 'm', 'logical decoding message, not a row',
        operation NOT IN ('c', 'u', 'd', 'r'), 'no change event: op is ' || if(isValidJSON(raw), toJSONString(operation), 'missing, the text is not JSON'),
        isNull(position), 'source.lsn is missing',
        greatest(lsn, commit) >= bitShiftLeft(toUInt64(1), 55), 'source.lsn is beyond 2^55: ' || toString(greatest(lsn, commit)),
        isNull(to_time(ifNull(message.source.ts_us, message.source.ts_ms * 1000))), 'source.ts_us is missing or out of range',
        isNull(id), explain('id', 'Int32', new.id),
        isNull(order_number), explain('order_number', 'text', new.order_number),
        isNull(order_date), explain('order_date', 'days in Date32', new.order_date),
        isNull(purchaser), explain('purchaser', 'Int32', new.purchaser),
        isNull(quantity), explain('quantity', 'Int32', new.quantity),
        isNull(product_id), explain('product_id', 'Int32', new.product_id),
        isNull(unit_price), explain('unit_price', 'Decimal(10, 2)', new.unit_price),
        isNull(total_amount), 'total_amount is out of range',
        unreadable(order_time, new.order_time), explain('order_time', 'microseconds in DateTime64', new.order_time),
        unreadable(status, new.status), explain('status', 'text', new.status),
        unreadable(created_at, new.created_at), explain('created_at', 'microseconds in DateTime64', new.created_at),
        unreadable(updated_at, new.updated_at), explain('updated_at', 'microseconds in DateTime64', new.updated_at),
        unreadable(before_order_number, old.order_number), explain('before.order_number', 'text', old.order_number),
        unreadable(before_order_date, old.order_date), explain('before.order_date', 'days in Date32', old.order_date),
        unreadable(before_order_time, old.order_time), explain('before.order_time', 'microseconds in DateTime64', old.order_time),
        unreadable(before_purchaser, old.purchaser), explain('before.purchaser', 'Int32', old.purchaser),
        unreadable(before_quantity, old.quantity), explain('before.quantity', 'Int32', old.quantity),
        unreadable(before_product_id, old.product_id), explain('before.product_id', 'Int32', old.product_id),
        unreadable(before_unit_price, old.unit_price), explain('before.unit_price', 'Decimal(10, 2)', old.unit_price),
        unreadable(before_status, old.status), explain('before.status', 'text', old.status),
        unreadable(before_created_at, old.created_at), explain('before.created_at', 'microseconds in DateTime64', old.created_at),
        unreadable(before_updated_at, old.updated_at), explain('before.updated_at', 'microseconds in DateTime64', old.updated_at),
        '') AS reason
FROM {{database}}.orders_queue;
