-- Typed, not yet judged: values that could not be read are NULL and named in reason. A Null table, because two views on
-- one Kafka table can lose a block when the server starts.
CREATE TABLE {{database}}.${table}_parsed {{on_cluster}}
(
${parsed_columns}
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
CREATE TABLE {{database}}.${table}_route {{on_cluster}} AS {{database}}.${table}_final
ENGINE = {{route}}${table}_final{{route_by}}${key}{{route_end}};

CREATE MATERIALIZED VIEW {{database}}.${table}_final_mv {{on_cluster}} TO {{database}}.${table}_{{history}} AS
SELECT * EXCEPT (kafka_topic, kafka_key, raw, _reason)
FROM {{database}}.${table}_parsed
WHERE _reason = '';

CREATE MATERIALIZED VIEW {{database}}.${table}_current_mv {{on_cluster}} TO {{database}}.${table}_current AS
SELECT
${stored}
FROM {{database}}.${table}_final;

CREATE MATERIALIZED VIEW {{database}}.${table}_truncations_mv {{on_cluster}} TO {{database}}.truncations AS
SELECT '${table}' AS source_table, version, source_time, lsn, tx_id
FROM {{database}}.${table}_parsed
WHERE _reason = 'truncate';

CREATE MATERIALIZED VIEW {{database}}.${table}_errors_mv {{on_cluster}} TO {{database}}.ingest_errors AS
SELECT
    kafka_topic AS topic,
    kafka_partition AS partition,
    kafka_offset AS offset,
    kafka_key AS key,
    raw,
    _reason AS reason,
    '${table}' AS source_table,
    kafka_time
FROM {{database}}.${table}_parsed
WHERE _reason NOT IN ('', 'truncate');

-- This shard's rows as they are now in PostgreSQL. What was there before the last TRUNCATE is gone.
CREATE OR REPLACE VIEW {{database}}.${table}_here {{on_cluster}} AS
SELECT
${shown}
FROM {{database}}.${table}_current FINAL
WHERE is_deleted = 0 AND version > (SELECT max(version) FROM {{database}}.truncations WHERE source_table = '${table}');

-- What people query: the rows of all shards. Versions of a key are on one shard, so each finds the newest by itself.
CREATE OR REPLACE VIEW {{database}}.${table} {{on_cluster}} AS
SELECT * FROM {{everywhere}}${table}_here{{everywhere_end}};

-- The newest of all shards' rows with their versions, deleted ones too, some more than once: for recovery.
CREATE OR REPLACE VIEW {{database}}.${table}_versions {{on_cluster}} AS
SELECT * FROM {{everywhere}}${table}_current{{everywhere_end}};

-- The rows as they were: SELECT ... FROM ${table}_as_of(at = '2026-01-31 12:00:00'). Current rows take part, so that a row
-- whose last change is older than the history is still there; what it was before that change is gone with the history.
CREATE OR REPLACE VIEW {{database}}.${table}_as_of {{on_cluster}} AS
SELECT * EXCEPT (version, is_deleted)
FROM
(
    SELECT *
    FROM
    (
        SELECT
${stored_and_made}
        FROM {{everywhere}}${table}_final{{everywhere_end}}
        UNION ALL
        SELECT
${stored_and_made}
        FROM {{everywhere}}${table}_current{{everywhere_end}}
    )
    WHERE source_time <= {at:DateTime64(6, 'UTC')}
    ORDER BY version DESC
    LIMIT 1 BY ${key}
)
WHERE is_deleted = 0 AND version > (SELECT max(version) FROM {{database}}.truncations
    WHERE source_table = '${table}' AND source_time <= {at:DateTime64(6, 'UTC')});

-- Starts the flow. Every value is read as text and then converted, because a direct read would turn a wrong type into 0.
-- An MV must never throw: the stream would stand still at that message. So each conversion ends in NULL, and reason names it.
-- In steps that name the columns of the step before: as one query of aliases it cost 0.1 s of planning, for every block anew.
CREATE MATERIALIZED VIEW {{database}}.${table}_mv {{on_cluster}} TO {{database}}.${table}_parsed AS
WITH
${check_conversions}    (value, text) -> isNull(value) AND isNotNull(text) AS _unreadable,
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
${checks}
        '') AS _reason
FROM
(
    WITH
${conversions}

        -- Columns that this table does not have yet, and values that are sound in PostgreSQL but do not fit the column.
        [${json_names}] AS _known,
        if(operation = 'd', 'before', 'after') AS _image,
        ${beyond} AS _beyond,
        (${is_beyond}) OR JSONExtractKeys(raw, _image) != _known AS _is_odd
    SELECT
        _new, _old, _position, _commit, _error,
${new_values}

${old_values}

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
${key_conversions}            _message.source AS _source
        SELECT
            -- Debezium makes delete and create of an update that changes the message key. Where that is another column than the
            -- primary key, a changed primary key arrives as one update, and the row under its old key would stay for ever.
            -- A new key that can't be read splits nothing: the update is quarantined whole.
            arrayJoin(if(_message.op = 'u' AND (${key_differs}), ['d', 'c'],
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
                '${json_columns}' AS _columns,
                'lsn Nullable(UInt64), sequence Nullable(String), txId Nullable(UInt64), ts_us Nullable(Int64), ts_ms Nullable(Int64)' AS _source_columns
            SELECT
                JSONExtract(raw, 'Tuple(op String, before Tuple(' || _columns || '), after Tuple(' || _columns || '), source Tuple('
                    || _source_columns || '))') AS _message,
                raw, _raw_message, _error, _topic, _partition, _offset, _timestamp_ms, _key
            FROM {{database}}.${table}_queue
        )
    )
);
